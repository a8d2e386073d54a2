// Compiled once for many tests: what nearly every file of them begins with. They include what they use all the same; that they do is
// checked by compiling without this (-Db_pch=false).

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/testing.hpp>
#include <weft/weft.hpp>

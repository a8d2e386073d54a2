// The scenarios of weft's half of the comparison, a list per theme; weft_bench.cpp has the first one and the main function.
#pragma once

#include <span>

#include "harness.hpp"

std::span<const compare::Scenario> lock_scenarios();
std::span<const compare::Scenario> context_scenarios();
std::span<const compare::Scenario> pool_scenarios();

#pragma once

// Everything: runtime, channels and sync.

#include "weft/chan.hpp"
#include "weft/context.hpp"
#include "weft/err_group.hpp"
#include "weft/errc.hpp"
#include "weft/error.hpp"
#include "weft/future.hpp"
#include "weft/go.hpp"
#include "weft/goroutine_local.hpp"
#include "weft/map.hpp"
#include "weft/mutex.hpp"
#include "weft/runtime.hpp"
#include "weft/select.hpp"
#include "weft/selector.hpp"
#include "weft/single_flight.hpp"
#include "weft/stats.hpp"
#include "weft/sync_map.hpp"
#include "weft/time.hpp"
#include "weft/timer.hpp"
#include "weft/wait_group.hpp"
#include "weft/worker_pool.hpp"

#pragma once

// Helpers for tests of concurrent code: order events by what goroutines do, not by sleeping.

#include <cstdint>

namespace weft::testing {

/// Blocks until the goroutine is parked or has ended. The goroutine must have been started: its number comes from
/// this_goroutine::id(). Works from goroutines (which yield meanwhile) and from threads.
void wait_parked(std::uint64_t goroutine_id);

}  // namespace weft::testing

#pragma once

// Where an exception that leaves a goroutine was thrown.
//
// When run_task() catches it the stack is gone. But before anything is unwound, the unwinder asks each frame whether it will
// catch ("phase 1"), and a frame between run_task() and the goroutine's function is asked only if nobody inside catches. That
// frame is ours: it walks the stack, which is still whole, and says no. Costs nothing until then; then some microseconds.

#include "switch_walk.hpp"

namespace weft::detail {

/// Calls f(argument), which may throw. If it does, `site` then has the stack of the throw (a copy from malloc, or nullptr if
/// that failed or the processor is none of those we know): the caller frees it with delete.
void call_watched(void (*f)(void*), void* argument, Frames*& site);

}  // namespace weft::detail

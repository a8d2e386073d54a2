#pragma once

// Where an exception that leaves a goroutine was thrown.
//
// When run_task() catches it the stack is gone. But before anything is unwound, the unwinder asks each frame whether it will
// catch ("phase 1"), and a frame between run_task() and the goroutine's function is asked only if nobody inside catches. That
// frame is ours: it walks the stack, which is still whole, and says no. Costs nothing until then; then some microseconds.

#include "switch_walk.hpp"

namespace weft::detail {

struct ThrowSite {
  const bool* is_ignored;    // read when something is thrown: no stack is wanted
  Frames* frames = nullptr;  // of the last throw that left f; for the owner to delete

  explicit ThrowSite(const bool& ignored) noexcept : is_ignored(&ignored) {}
  ThrowSite(const ThrowSite&) = delete;
  ThrowSite& operator=(const ThrowSite&) = delete;
  ~ThrowSite() {
    if (frames != nullptr) [[unlikely]]
      delete frames;
  }
};

/// Calls f(argument), which may throw: then `site` has the stack of the throw, if there was memory for it and the processor is
/// one of those that are known here.
void call_watched(void (*f)(void*), void* argument, ThrowSite& site);

}  // namespace weft::detail

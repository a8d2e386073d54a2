#pragma once

// What the threads of a runtime run at this moment: each is asked by a signal, whose handler walks the stack that it has
// interrupted. For reports only; no signal decides what runs.
//
// The signal is a real-time one that nobody used when it was first needed; its handler stays, since a thread that had its
// signals blocked may answer late. Who does not answer in time is left out.

#include <cstdint>
#include <vector>

#include "switch_walk.hpp"

namespace weft::detail {

class Scheduler;

/// A goroutine that was on a thread.
struct Photo {
  std::uint64_t id = 0;  // of the goroutine
  Frames frames;
};

/// Of all threads of the runtime but the caller's. Blocks up to a fifth of a second. One call at a time.
std::vector<Photo> take_photos(Scheduler& scheduler);

/// Of the caller, if it is a goroutine.
bool photograph_self(Photo& out) noexcept;

}  // namespace weft::detail

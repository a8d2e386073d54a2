#pragma once

// What the threads of a runtime run at this moment: each is asked by a signal, whose handler walks the stack that it has
// interrupted. For reports only; no signal decides what runs.
//
// The signal is a real-time one that nobody used when it was first needed; its handler stays, since a thread that had its
// signals blocked may answer late. Who does not answer in time is left out.
// With the same signal all threads of the process can be stopped for a while, for who must see the memory at one instant.

#include <cstddef>
#include <cstdint>
#include <span>
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

/// A thread that was stopped where it was.
struct StoppedThread {
  int id = 0;                        // the kernel's
  std::uintptr_t stack_pointer = 0;  // when the signal came
  std::uintptr_t frame = 0;          // the handler's; the registers are saved above it, on the same stack
  std::uintptr_t signal_stack = 0;   // where that stack begins, if it is a signal stack of its own; else 0
};

/// Every other thread of the process stands still in the signal's handler while this lives, whatever it was about: so it may
/// hold any lock, the allocator's included, and whoever has made this one must take none. Threads that would neither do nor
/// know anything that matters may be excepted. One at a time.
class StoppedWorld {
 public:
  static constexpr std::size_t kMostThreads = 4096;  // with more of them it is not complete

  /// Blocks up to a second for threads that do not come; then the others go on.
  StoppedWorld() noexcept;
  ~StoppedWorld() { let_go(); }
  StoppedWorld(const StoppedWorld&) = delete;
  StoppedWorld& operator=(const StoppedWorld&) = delete;

  [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }
  [[nodiscard]] std::span<const StoppedThread> threads() const noexcept;

  /// The calling thread has its signals blocked and is excepted.
  static void except_this_thread() noexcept;

 private:
  bool stop_all() noexcept;
  void let_go() noexcept;
  bool is_complete_ = false;
};

}  // namespace weft::detail

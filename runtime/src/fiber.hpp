#pragma once

// A fiber: a stack with its saved state. The control block sits at the hot end of its own stack, so that a parked
// goroutine costs one page.
//
// States and who owns the fiber (I1):
//   kFree      the pool
//   kRunnable  exactly one run queue, or the worker that is about to run it
//   kRunning   the worker whose `current` it is
//   kWaiting   the wait point; whoever calls ready() takes it over

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "barrier.hpp"
#include "switch.hpp"
#include "task.hpp"
#include "weft/detail/park.hpp"

namespace weft::detail {

class Bubble;
struct LocalNode;
struct Worker;

enum class FiberStatus : std::uint8_t { kFree, kRunnable, kRunning, kWaiting };

/// What to do with a fiber once its stack has been left.
enum class AfterSwitch : std::uint8_t {
  kNothing,  // a worker's own stack
  kPark,     // run the commit of its wait point
  kBlock,    // the same for a member of a bubble
  kYield,    // put it at the end of the queue
  kHome,     // put it into the global queue: its processor was taken
  kExit,     // give the stack back
};

/// Whether somebody walks its stack. kFenced: nobody does, but there is no membarrier, so a look takes a fence.
enum class Hold : std::uint8_t { kNone, kFenced, kHeld };
inline Hold no_hold() noexcept { return has_membarrier ? Hold::kNone : Hold::kFenced; }

struct alignas(kCacheLine) Fiber : Runnable {
  Fiber() noexcept : Runnable(false) {}

  ExecutionState state;
  Task* task = nullptr;             // owner only
  WaitPoint* wait_point = nullptr;  // written by the owner before it parks
  // See above. relaxed, being handed over with the fiber; but whoever ends its running does so with release, for those who
  // walk its stack.
  std::atomic<FiberStatus> status{FiberStatus::kFree};
  AfterSwitch after = AfterSwitch::kNothing;  // owner only
  bool owns_stack = false;                    // not from the slabs
  bool is_warm = false;  // owner only: it has left from fiber_main's loop, and goes on there with its next goroutine
  std::atomic<WaitReason> wait_reason{WaitReason::kNone};  // of its last park, for reports; relaxed: a snapshot
  std::atomic<bool> is_durable{false};                     // likewise
  bool is_pinned = false;                                  // owner only: it runs on pinned_to's thread, and alone there
  bool is_counted_out = false;                             // parked durably; written before the commit, by the waker
  std::atomic<Hold> hold{no_hold()};                       // somebody walks its stack: see traces.hpp
  std::uint16_t chaos_holds = 0;                           // chaos mode: how many scopes forbid it to yield
  std::uint16_t chaos_moves = 0;                           // chaos mode: how often it was sent on
  std::atomic<std::int64_t> parked_ns{0};                  // when it parked last (Processor::clock_ns); likewise
  Scheduler* scheduler = nullptr;
  Bubble* bubble = nullptr;     // of the task
  LocalNode* locals = nullptr;  // owner only: what GoroutineLocals have made for the goroutine; empty once it has ended
  Worker* pinned_to = nullptr;  // owner only: while is_pinned
  std::uint32_t pins = 0;       // owner only: how many PinGuards live
  const void* last_worker = nullptr;  // chaos mode

  /// Where the stack begins: below the control block.
  [[nodiscard]] std::byte* hot_end() noexcept { return reinterpret_cast<std::byte*>(this); }
};

/// Nothing if it is a plain thread that sleeps.
inline Fiber* fiber_of(SleeperHandle sleeper) noexcept {
  return (sleeper.bits() & SleeperHandle::kThreadBit) != 0 ? nullptr : reinterpret_cast<Fiber*>(sleeper.bits());
}

/// They are to run here before long, and have mostly left the caches, or are in another processor's: as after a global queue, or a
/// theft. What is touched of each before it goes on.
inline void prefetch_all(std::span<Runnable* const> batch) noexcept {
  constexpr std::size_t kMostOfStack = 8 * kCacheLine;
  for (const Runnable* runnable : batch) {
    const auto* at = reinterpret_cast<const std::byte*>(runnable);
    for (std::size_t line = 0; line < sizeof(Fiber); line += kCacheLine) prefetch(at + line);
  }
  for (const Runnable* runnable : batch) {
    if (runnable->is_task) continue;
    const auto& fiber = static_cast<const Fiber&>(*runnable);
    const auto* line = static_cast<const std::byte*>(fiber.state.context);
    const std::byte* const end = std::min(line + kMostOfStack, reinterpret_cast<const std::byte*>(&fiber));
    for (; line < end; line += kCacheLine) prefetch(line);
    fiber.task->prefetch();
  }
}

}  // namespace weft::detail

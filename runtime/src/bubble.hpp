#pragma once

// A bubble: goroutines with a clock of their own, which stands still while any of them can run and jumps to the next
// deadline when none can (weft::testing::run).
//
// Counted in one word: members that live, and members that are active. Active is who is not durably blocked: running,
// runnable, or waiting for something that the world outside may end (a mutex, a channel from outside).
//   B1 A member that parks durably is counted out after its wait has been committed; whoever readies it counts it in
//      before it can run. Only members and settle() ready such a member (channels and timers of a bubble refuse everybody
//      else). The member may have been readied, and have run and ended, before the worker that committed its wait comes to
//      count it out: until then the count is too high by one, never too low.
//   B2 So when the active count reaches zero the bubble is at rest: every wait is committed (deadlines are in the heap), and
//      nobody but the one who brought the count there acts on the bubble. He calls settle(), and passes the bubble on
//      exactly once: to the caller of wait(), to those whose time has come, or, if nobody can ever go on or nobody is left,
//      to the caller of run().
//   B3 settle() counts itself as active while it readies those who are due, so that all of an instant's timers fire
//      before the clock moves again.
// Dropped: counting out before the commit. The last one to block then settled while another one's deadline was still on
// its way into the heap (time jumped past it, or a deadlock was reported), or readied a caller of wait() who had not left
// its stack yet.
// Answers to Go's internal/synctest.

#include <atomic>
#include <cstdint>
#include <vector>

#include "timer_heap.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/runtime.hpp"

namespace weft::detail {

class Bubble {
 public:
  Bubble() noexcept;
  ~Bubble();
  Bubble(const Bubble&) = delete;
  Bubble& operator=(const Bubble&) = delete;

  // --- members ---
  /// A goroutine of the bubble is about to become runnable for the first time.
  void begin() noexcept { counts_.fetch_add(kOneLives | kOneActs, std::memory_order_relaxed); }
  /// It has ended, and its record is gone.
  void end() noexcept { leave(kOneLives | kOneActs); }
  /// The wait of a member that parks durably has been committed.
  void block() noexcept { leave(kOneActs); }
  void unblock() noexcept { counts_.fetch_add(kOneActs, std::memory_order_relaxed); }

  // --- run and wait (testing.cpp) ---
  void main_ended() noexcept { main_has_ended_ = true; }
  /// For the caller of run(): until everybody has ended, or nobody can go on. Nothing, or Go's words for it.
  [[nodiscard]] const char* await_end() noexcept;
  /// False: somebody else waits already.
  [[nodiscard]] bool set_waiter(SleeperHandle waiter) noexcept;

  [[nodiscard]] std::int64_t now_ns() const noexcept { return now_ns_.load(std::memory_order_relaxed); }

  const std::uint32_t id;
  TimerHeap timers;

 private:
  static constexpr std::uint64_t kOneActs = 1;
  static constexpr std::uint64_t kOneLives = std::uint64_t{1} << 32U;
  static std::uint32_t active(std::uint64_t counts) noexcept { return static_cast<std::uint32_t>(counts); }
  /// The last access, unless it brings the bubble to rest: another one may bring it to its end.
  void leave(std::uint64_t count) noexcept {
    // acq_rel [bubble]: what every member did before it blocked or ended is visible to the one who settles.
    const std::uint64_t left = counts_.fetch_sub(count, std::memory_order_acq_rel) - count;
    if (active(left) == 0) settle(left);
  }
  void settle(std::uint64_t counts) noexcept;
  void fire_due() noexcept;

  std::atomic<std::uint64_t> counts_{0};   // living << 32 | active
  std::atomic<std::int64_t> now_ns_;       // relaxed: changes only while the bubble is at rest (B2)
  std::atomic<std::uintptr_t> waiter_{0};  // who is in wait()
  bool main_has_ended_ = false;            // written by a member, read at rest
  const char* deadlock_ = nullptr;         // written at rest, read after completion_
  std::vector<TimerHeap::Expired> due_;    // of settle()
  Completion completion_;
};

}  // namespace weft::detail

#pragma once

// Deadlines at which something else than the end of a wait happens: what timers, tickers and after_func stand on. (A wait
// with a deadline uses park_until.)
//
// Rules
//   A1 An object guards its Alarm with a lock of its own, which is taken before a heap's, never after. It may be held over a
//      park until the commit: so expire is never called by a worker between a goroutine's park() and its commit.
//   A2 While a heap holds the alarm, the object is alive: it gives the heap a reference when set() says so, and takes it
//      back when clear() says so, or in expire or forget.
//   A3 Between the moment at which the deadline has left its heap and the call of expire, the alarm still counts as held:
//      set() and clear() change nothing then, and expire, which looks at the object under its lock, does what is right by
//      now.

#include <cstdint>

#include "weft/detail/park.hpp"

namespace weft::detail {

class Bubble;
class Scheduler;
class TimerHeap;
struct TimerNode;

/// What is done with an alarm that has left its heap. Called on a worker, without locks.
struct AlarmOps {
  /// The deadline has passed. Returns whom to ready, if anybody.
  SleeperHandle (*expire)(TimerNode&, std::int64_t now_ns) noexcept;
  /// The heap is being destroyed, with its bubble or its runtime (null: a bubble).
  void (*forget)(TimerNode&, const Scheduler* dying) noexcept;
};

/// A place in a heap of deadlines: that of a wait (claim and sleeper), or an alarm's (ops).
struct TimerNode {
  static constexpr std::uint32_t kNotQueued = UINT32_MAX;

  TimerHeap* home = nullptr;
  std::uint32_t index = kNotQueued;  // guarded by home's lock
  std::uint32_t claim_id = 0;
  Claim* claim = nullptr;
  SleeperHandle sleeper;
  const AlarmOps* ops = nullptr;
};

/// One deadline of one object. All calls under the object's lock (A1).
class Alarm : public TimerNode {
 public:
  /// Belongs to the bubble of the calling goroutine, if it is in one.
  explicit Alarm(const AlarmOps& what) noexcept;

  /// Sets the deadline, or moves it. True: a heap holds the alarm from now on (A2).
  [[nodiscard]] bool set(std::int64_t deadline_ns) noexcept;
  /// True: no heap holds the alarm any more (A2). False: none did, or expire is about to be called.
  [[nodiscard]] bool clear() noexcept;
  [[nodiscard]] bool is_held() const noexcept { return is_held_; }
  /// For expire and forget: the heap has let go.
  void left_heap() noexcept { is_held_ = false; }

  /// By the clock that the deadline is meant for.
  [[nodiscard]] std::int64_t now_ns() const noexcept;
  /// Throws Panic `what` unless the caller is in the alarm's bubble, or the alarm is in none.
  void check_bubble(const char* what) const;
  [[nodiscard]] std::uint32_t bubble_id() const noexcept { return bubble_id_; }

 private:
  Bubble* const bubble_;           // may be gone once nobody inside can call
  const std::uint32_t bubble_id_;  // 0: none
  bool is_held_ = false;
};

}  // namespace weft::detail

#pragma once

// Where the values of a timer's or ticker's channel come from.
//
// Nothing runs when the deadline passes: whoever looks at the channel finds the value there if its time has come (Go 1.23's
// synchronous timer channels). So stop() and reset() leave no stale value behind, since there is none; a timer that nobody
// waits for costs no wake-up, and dropping it frees it. Only while a receiver is parked on the channel does a heap hold
// the deadline (await, withdrawn).
//
// T1 Everything here is guarded by the channel's lock. The heap's lock is taken under it, never the other way round.
// T2 While a heap holds the alarm, the channel has one reference more.
// T3 If the timer is armed and a receiver is queued, the alarm is held (or the wait's commit, which comes, will see to it):
//    so nobody who waits is forgotten. If no receiver is queued, it is not held, or about to find out.
// Answers to Go's time.go (maybeRunChan, blockTimerChan).

#include <cstdint>

#include "weft/detail/chan_core.hpp"
#include "weft/detail/timer.hpp"

namespace weft::detail {

struct ChanTimer : Alarm {
  /// A channel with one reference, whose first value is due after that time.
  static ChanCore* make(std::int64_t after_ns, std::int64_t period_ns);
  /// The channel's last reference is gone.
  void destroy() noexcept;

  // --- by the channel, under its lock ---
  /// Whether take() would.
  [[nodiscard]] bool is_due() noexcept { return is_due(now_ns()); }
  /// If a value is due, and nobody has waited longer for it: constructs it at `slot`.
  bool take(void* slot) noexcept;
  /// A receiver has queued up and is about to park.
  void await() noexcept;
  /// A receiver may have left the queue without a value.
  void withdrawn() noexcept;

  // --- by Timer and Ticker ---
  /// True if a value was still to come, or had come and was not received.
  static bool halt(ChanCore& chan) noexcept;
  /// The same. Throws Panic from outside the bubble.
  static bool stop(ChanCore& chan);
  /// The same. From now on the next value is due after that time.
  static bool reset(ChanCore& chan, std::int64_t after_ns, std::int64_t period_ns);

  ChanCore& chan;
  std::int64_t when_ns;
  std::int64_t period_ns;  // 0: once
  bool is_armed = true;

 private:
  ChanTimer(ChanCore& owner, std::int64_t after_ns, std::int64_t period) noexcept;
  [[nodiscard]] bool is_due(std::int64_t now_ns) noexcept;
  void put(void* slot, std::int64_t now_ns) noexcept;
  [[nodiscard]] SleeperHandle deliver(std::int64_t now_ns) noexcept;
  static SleeperHandle expire(TimerNode& node, std::int64_t now_ns) noexcept;
  static void forget(TimerNode& node, const Scheduler* dying) noexcept;
  static constexpr AlarmOps kAlarmOps{&expire, &forget};
};

}  // namespace weft::detail

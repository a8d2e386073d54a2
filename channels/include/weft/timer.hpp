#pragma once

// Timers as channels: After, Timer, Ticker; and functions that run later. Go 1.23's rules: a timer's channel looks unbuffered
// (size and capacity 0), and no value of an earlier setting can be received after stop() or reset().
//
// A timer that nobody waits for costs nothing but its memory: no heap holds it, nothing runs when its time comes, and
// dropping it frees it. Values are TimePoints of the runtime's clock: the instant at which they were due.

#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weft/chan.hpp"
#include "weft/detail/after_func.hpp"
#include "weft/error.hpp"
#include "weft/time.hpp"

namespace weft {
namespace detail {

/// Owns a timer's channel; the channel outlives it in the hands of others, but stopped.
class TimerChan {
 public:
  TimerChan() noexcept = default;
  TimerChan(std::int64_t after_ns, std::int64_t period_ns) : chan_(make(after_ns, period_ns)) {}
  TimerChan(TimerChan&&) noexcept = default;
  TimerChan& operator=(TimerChan&& other) noexcept {
    TimerChan old(std::move(*this));
    chan_ = std::move(other.chan_);
    return *this;
  }
  ~TimerChan() { stop_quietly(); }

  [[nodiscard]] const RecvChan<TimePoint>& chan() const noexcept { return chan_; }
  [[nodiscard]] bool is_nil() const noexcept { return chan_ == nullptr; }
  bool stop();
  bool reset(std::int64_t after_ns, std::int64_t period_ns);
  /// Without an owner: it fires when its time comes, if anybody still looks.
  static RecvChan<TimePoint> make(std::int64_t after_ns, std::int64_t period_ns);

 private:
  void stop_quietly() noexcept;
  RecvChan<TimePoint> chan_;
};

}  // namespace detail

/// A channel that delivers one value when d has passed; d <= 0: it is there at once. Dropping the channel frees the timer.
/// Throws: std::bad_alloc. Cost: one allocation. Go: time.After.
template <class Rep, class Period>
[[nodiscard]] RecvChan<TimePoint> after(std::chrono::duration<Rep, Period> d) {
  return detail::TimerChan::make(detail::saturated_ns(d), 0);
}

/// The channel of a ticker that nobody can stop; the nil channel if d <= 0. Go: time.Tick.
template <class Rep, class Period>
[[nodiscard]] RecvChan<TimePoint> tick(std::chrono::duration<Rep, Period> d) {
  const std::int64_t ns = detail::saturated_ns(d);
  return ns <= 0 ? RecvChan<TimePoint>() : detail::TimerChan::make(ns, ns);
}

/// One event in the future. Move-only; stops when destroyed (its channel then stays silent for ever).
/// All methods are safe from any number of goroutines and threads at once, except moving and destroying it.
/// Go: time.Timer, by the rules of Go 1.23.
class Timer {
 public:
  /// Of a Timer without a channel: stop and reset throw Panic.
  Timer() noexcept = default;
  /// Its channel delivers one value when d has passed; d <= 0: it is there at once. Cost: one allocation. Go: NewTimer.
  template <class Rep, class Period>
  explicit Timer(std::chrono::duration<Rep, Period> d) : timer_(detail::saturated_ns(d), 0) {}

  /// Where the value comes from; the same channel for the timer's whole life.
  [[nodiscard]] RecvChan<TimePoint> chan() const noexcept { return timer_.chan(); }

  /// True if this call kept a value from being received: it was still to come, or had come and nobody had received it.
  /// False if it was received, or the timer had been stopped. Never closes the channel, never blocks.
  /// Throws: Panic for a Timer without a channel, and from outside the bubble it was made in.
  bool stop() {
    if (timer_.is_nil()) detail::throw_panic("time: Stop called on uninitialized Timer");
    return timer_.stop();
  }

  /// Sets it anew: one value when d has passed from now, and none of the old setting. True in the same case as stop().
  template <class Rep, class Period>
  bool reset(std::chrono::duration<Rep, Period> d) {
    if (timer_.is_nil()) detail::throw_panic("time: Reset called on uninitialized Timer");
    return timer_.reset(detail::saturated_ns(d), 0);
  }

 private:
  detail::TimerChan timer_;
};

/// An event every d: the first after d, and each a whole number of periods after the start. At most one tick waits to be
/// received; those missed meanwhile are dropped. Move-only; stops when destroyed. Go: time.Ticker.
class Ticker {
 public:
  Ticker() noexcept = default;
  /// Throws: Panic "non-positive interval for NewTicker".
  template <class Rep, class Period>
  explicit Ticker(std::chrono::duration<Rep, Period> d)
      : Ticker(checked(detail::saturated_ns(d), "non-positive interval for NewTicker")) {}

  [[nodiscard]] RecvChan<TimePoint> chan() const noexcept { return timer_.chan(); }

  /// No tick can be received any more; the channel is not closed. Does nothing on a Ticker without a channel.
  void stop() {
    if (!timer_.is_nil()) static_cast<void>(timer_.stop());
  }

  /// The next tick comes after d from now, the others every d. Throws: Panic "non-positive interval for Ticker.Reset", and
  /// for a Ticker without a channel.
  template <class Rep, class Period>
  void reset(std::chrono::duration<Rep, Period> d) {
    const std::int64_t ns = checked(detail::saturated_ns(d), "non-positive interval for Ticker.Reset").ns;
    if (timer_.is_nil()) detail::throw_panic("time: Reset called on uninitialized Ticker");
    static_cast<void>(timer_.reset(ns, ns));
  }

 private:
  struct Interval {
    std::int64_t ns;
  };
  static Interval checked(std::int64_t ns, const char* otherwise) {
    if (ns <= 0) detail::throw_panic(otherwise);
    return {ns};
  }
  explicit Ticker(Interval interval) : timer_(interval.ns, interval.ns) {}

  detail::TimerChan timer_;
};

/// What after_func returns. A handle: copies refer to the same function; dropping all of them changes nothing.
class AfterFunc {
 public:
  AfterFunc() noexcept = default;

  /// True if f will not run because of this call. False if it has been started already (this does not wait for it), or
  /// had been stopped. Throws: Panic as Timer::stop.
  bool stop() {
    if (!func_) detail::throw_panic("time: Stop called on uninitialized Timer");
    return func_->stop();
  }

  /// Lets f run when d has passed from now. True: it was still to run, and will run once in all. False: it will run (once
  /// more), perhaps while an earlier run still goes on. Throws: as go() and Timer::reset.
  template <class Rep, class Period>
  bool reset(std::chrono::duration<Rep, Period> d) {
    if (!func_) detail::throw_panic("time: Reset called on uninitialized Timer");
    return func_->reset(detail::saturated_ns(d));
  }

 private:
  template <class Rep, class Period, class F>
    requires detail::Spawnable<F>
  friend AfterFunc after_func(std::chrono::duration<Rep, Period> d, F&& f);
  explicit AfterFunc(detail::DelayedCallRef func) noexcept : func_(std::move(func)) {}

  detail::DelayedCallRef func_;
};

/// Runs f in a goroutine of its own when d has passed; at once if d <= 0. The goroutine belongs to the caller's runtime (to
/// the default one, elsewhere). f is destroyed once nobody can make it run again.
/// Throws: as go(): what the goroutine will need is had now. Go: time.AfterFunc.
template <class Rep, class Period, class F>
  requires detail::Spawnable<F>
AfterFunc after_func(std::chrono::duration<Rep, Period> d, F&& f) {
  if (detail::is_nil_callable<std::decay_t<F>>(f)) detail::fatal("go of nil func value");
  detail::DelayedCallRef func(new detail::DelayedFunction<std::decay_t<F>>(std::forward<F>(f)));
  static_cast<void>(func->reset(detail::saturated_ns(d)));
  return AfterFunc(std::move(func));
}

}  // namespace weft

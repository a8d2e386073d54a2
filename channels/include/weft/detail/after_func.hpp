#pragma once

// A function that a goroutine of its own will run at a deadline, if nobody stops it before.
//
// F1 A pending call owns the record of its goroutine: what go() may lack is missed when the call is set, not when it is due.
// F2 References: one for each handle, one while a heap holds the alarm (timer.hpp, A2), one for each goroutine that runs it.
//    The heap's passes to the goroutine.
// F3 The function is destroyed by the last handle, by the goroutine that ran it last, or with its bubble or runtime: never
//    by a worker between two goroutines, where its destructor could not park.
// F4 While lock_ is free: a call is pending if and only if the alarm is held, by a heap or on its way from there to expire
//    (timer.hpp, A3). Heap and record belong to the same runtime or bubble, that of whoever set the call last: so neither
//    outlives the other. stop() and reset() wait out an alarm on its way, and change both together.

#include <atomic>
#include <cstdint>
#include <utility>

#include "weft/detail/spawn.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/timer.hpp"

namespace weft::detail {

class DelayedCall : private Alarm {
 public:
  DelayedCall() noexcept;
  DelayedCall(const DelayedCall&) = delete;
  DelayedCall& operator=(const DelayedCall&) = delete;
  virtual ~DelayedCall() = default;

  /// True if the call was pending, and is not any more.
  bool stop();
  /// Pending from now on; true if it was before.
  bool reset(std::int64_t after_ns);

  void retain() noexcept {
    // relaxed: the caller has a reference.
    references_.fetch_add(1, std::memory_order_relaxed);
  }
  void release() noexcept {
    // acq_rel [delayed.refs]: what each holder did happens before the last one destroys.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  struct Run;
  virtual void call() = 0;
  /// The runtime or bubble that was to make the call is gone, and a reference with it.
  virtual void forgotten() noexcept {}
  Task* prepare();
  bool take_out() noexcept;
  static SleeperHandle expire(TimerNode& node, std::int64_t now_ns) noexcept;
  static void forget(TimerNode& node, const Scheduler* dying) noexcept;
  static constexpr AlarmOps kAlarmOps{&expire, &forget};

  Spinlock lock_;
  Task* pending_ = nullptr;  // guarded by lock_
  std::atomic<std::uint32_t> references_{1};
};

template <class F>
class DelayedFunction final : public DelayedCall {
 public:
  template <class G>
  explicit DelayedFunction(G&& f) : f_(std::forward<G>(f)) {}

 private:
  void call() override { static_cast<void>(detail::invoke(f_)); }
  F f_;
};

/// A counted reference.
class DelayedCallRef {
 public:
  DelayedCallRef() noexcept = default;
  explicit DelayedCallRef(DelayedCall* adopted) noexcept : call_(adopted) {}
  DelayedCallRef(const DelayedCallRef& other) noexcept : call_(other.call_) {
    if (call_ != nullptr) call_->retain();
  }
  DelayedCallRef(DelayedCallRef&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  DelayedCallRef& operator=(DelayedCallRef other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~DelayedCallRef() {
    if (call_ != nullptr) call_->release();
  }
  explicit operator bool() const noexcept { return call_ != nullptr; }
  DelayedCall* operator->() const noexcept { return call_; }

 private:
  DelayedCall* call_ = nullptr;
};

}  // namespace weft::detail

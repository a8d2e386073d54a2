#include "weft/detail/after_func.hpp"

namespace weft::detail {

/// What the goroutine runs. Trivially destructible: a record that is cancelled may forget it.
struct DelayedCall::Run {
  DelayedCall* self;

  void operator()() const {
    const DelayedCallRef reference(self);  // the goroutine's (F2)
    self->call();
  }
};

DelayedCall::DelayedCall() noexcept : Alarm(kAlarmOps) {}

/// Of the bubble in which the call was made, if any: what is made outside runs outside, whoever sets it.
Task* DelayedCall::prepare() {
  Task* task = prepare_closure(nullptr, Run{this});
  if (bubble_id() == 0) leave_bubble(task);
  return task;
}

/// F3. Whoever is between the heap and expire is a few instructions away from it, on another thread.
void DelayedCall::await_departure(std::uint32_t seen) noexcept {
  Backoff backoff;
  for (;;) {
    {
      SpinGuard guard(lock_);
      if (departures_ != seen) return;
    }
    backoff.pause();
  }
}

bool DelayedCall::stop() {
  check_bubble("stop of synctest timer from outside bubble");
  lock_.lock();
  Task* cancelled = std::exchange(pending_, nullptr);
  const bool is_let_go = clear();
  const bool is_leaving = is_held();
  const std::uint32_t seen = departures_;
  lock_.unlock();
  if (is_leaving) await_departure(seen);
  if (cancelled != nullptr) cancel_spawn(cancelled);
  if (is_let_go) release();  // not the last one: the caller has a handle
  return cancelled != nullptr;
}

bool DelayedCall::reset(std::int64_t after_ns) {
  check_bubble("reset of synctest timer from outside bubble");
  // On the caller's runtime now, whatever it was before.
  Task* prepared = prepare();
  bool is_let_go = false;
  bool is_leaving = false;
  lock_.lock();
  Task* replaced = std::exchange(pending_, after_ns > 0 ? prepared : nullptr);
  if (after_ns > 0) {
    when_ns_ = saturating_deadline(now_ns(), after_ns);
    if (set(when_ns_)) retain();
  } else {
    is_let_go = clear();
    is_leaving = is_held();
  }
  const std::uint32_t seen = departures_;
  lock_.unlock();
  if (is_leaving) await_departure(seen);
  if (replaced != nullptr) cancel_spawn(replaced);
  if (after_ns <= 0) {
    if (!is_let_go) retain();  // else the heap's reference is the goroutine's now
    commit_spawn(prepared, &run_and_destroy<Run>);
  }
  return replaced != nullptr;
}

SleeperHandle DelayedCall::expire(TimerNode& node, std::int64_t now_ns) noexcept {
  auto& self = static_cast<DelayedCall&>(node);
  Task* due = nullptr;
  self.lock_.lock();
  self.left_heap();
  ++self.departures_;
  // It may have been set anew since it left the heap (A3); then nobody has looked at it meanwhile, and set() says true.
  if (self.pending_ == nullptr) {
    self.release();  // not the last one: whoever left nothing pending waits for this (F3)
  } else if (self.when_ns_ > now_ns) {
    static_cast<void>(self.set(self.when_ns_));
  } else {
    due = std::exchange(self.pending_, nullptr);
  }
  self.lock_.unlock();
  if (due != nullptr) commit_spawn(due, &run_and_destroy<Run>);
  return {};
}

void DelayedCall::forget(TimerNode& node, const Scheduler* dying) noexcept {
  auto& self = static_cast<DelayedCall&>(node);
  Task* cancelled = nullptr;
  bool is_held = false;
  self.lock_.lock();
  self.left_heap();
  ++self.departures_;
  if (self.pending_ != nullptr) {
    // The goroutine may belong to a runtime that lives on: set anew from there, since the alarm left its heap.
    if (dying == nullptr || is_spawned_on(self.pending_, dying)) {
      cancelled = std::exchange(self.pending_, nullptr);
    } else {
      is_held = self.set(self.when_ns_);
    }
  }
  self.lock_.unlock();
  if (cancelled != nullptr) cancel_spawn(cancelled);
  if (!is_held) self.release();
}

}  // namespace weft::detail

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

/// Under lock_, which it gives away while an alarm that has left its heap (A3) is on its way to expire, on another thread:
/// a few instructions. Afterwards no heap holds the alarm. True: the heap's reference is the caller's.
bool DelayedCall::take_out() noexcept {
  Backoff backoff;
  while (is_held()) {
    if (clear()) return true;
    lock_.unlock();
    backoff.pause();
    lock_.lock();
  }
  return false;
}

bool DelayedCall::stop() {
  check_bubble("stop of synctest timer from outside bubble");
  lock_.lock();
  const bool has_reference = take_out();
  Task* cancelled = std::exchange(pending_, nullptr);
  lock_.unlock();
  if (cancelled != nullptr) cancel_spawn(cancelled);
  if (has_reference) release();  // not the last one: the caller has a handle
  return cancelled != nullptr;
}

bool DelayedCall::reset(std::int64_t after_ns) {
  check_bubble("reset of synctest timer from outside bubble");
  // On the caller's runtime now, whatever it was before.
  Task* prepared = prepare();
  const bool is_due = after_ns <= 0;
  lock_.lock();
  if (!take_out()) retain();  // for the heap, or for the goroutine
  Task* replaced = std::exchange(pending_, is_due ? nullptr : prepared);
  if (!is_due) static_cast<void>(set(saturating_deadline(now_ns(), after_ns)));
  lock_.unlock();
  if (replaced != nullptr) cancel_spawn(replaced);
  if (is_due) commit_spawn(prepared, &run_and_destroy<Run>);
  return replaced != nullptr;
}

SleeperHandle DelayedCall::expire(TimerNode& node, std::int64_t /*now_ns*/) noexcept {
  auto& self = static_cast<DelayedCall&>(node);
  self.lock_.lock();
  self.left_heap();
  Task* due = std::exchange(self.pending_, nullptr);  // never null (F4)
  self.lock_.unlock();
  commit_spawn(due, &run_and_destroy<Run>);  // with the heap's reference
  return {};
}

void DelayedCall::forget(TimerNode& node, const Scheduler* /*dying*/) noexcept {
  auto& self = static_cast<DelayedCall&>(node);
  self.lock_.lock();
  self.left_heap();
  Task* cancelled = std::exchange(self.pending_, nullptr);
  self.lock_.unlock();
  cancel_spawn(cancelled);
  self.forgotten();
  self.release();
}

}  // namespace weft::detail

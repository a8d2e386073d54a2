// Alarms: deadlines of objects, in the heap of the caller's bubble or processor.

#include <exception>

#include "bubble.hpp"
#include "sched.hpp"
#include "weft/detail/timer.hpp"
#include "weft/error.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

Bubble* bubble_of_caller() noexcept {
  const Worker* worker = current_worker();
  return worker == nullptr ? nullptr : worker->current->bubble;
}

Scheduler& scheduler_for_thread() noexcept {
  try {
    return default_scheduler("a timer");
  } catch (const std::exception& error) {
    fatal(error.what());  // in a forked child; nobody above can take an exception, the object's lock is held
  }
}

/// The caller may be a goroutine, a worker between two goroutines (in a commit, say), or a plain thread.
void add_to_processor(TimerNode& node, std::int64_t deadline_ns) noexcept {
  Worker* worker = current_worker();
  Scheduler& scheduler = worker != nullptr ? worker->scheduler : scheduler_for_thread();
  (worker != nullptr ? worker->timers() : scheduler.processors.front()->timers).add(node, deadline_ns);
  // A worker on its way to sleep looks at all deadlines itself.
  if (worker != nullptr && !worker->goes_on()) return;
  if (Worker* keeper = scheduler.idle.keeper_to_poke(deadline_ns)) keeper->parker.unpark();
}

}  // namespace

Alarm::Alarm(const AlarmOps& what) noexcept
    : bubble_(bubble_count.load(std::memory_order_relaxed) == 0 ? nullptr : bubble_of_caller()),
      bubble_id_(bubble_ == nullptr ? 0 : bubble_->id) {
  ops = &what;
}

bool Alarm::set(std::int64_t deadline_ns) noexcept {
  const bool was_held = is_held_;
  if (was_held && !TimerHeap::remove(*this)) return false;  // A3
  is_held_ = true;
  if (bubble_ != nullptr) {
    bubble_->timers.add(*this, deadline_ns);
  } else {
    add_to_processor(*this, deadline_ns);
  }
  return !was_held;
}

bool Alarm::clear() noexcept {
  if (!is_held_ || !TimerHeap::remove(*this)) return false;
  is_held_ = false;
  return true;
}

std::int64_t Alarm::now_ns() const noexcept {
  if (bubble_ != nullptr) return bubble_->now_ns();
  // Not detail::now_ns(): a worker between two goroutines would ask the clock of the one it comes from.
  const Worker* worker = current_worker();
  return worker == nullptr ? steady_time().now_ns() : worker->scheduler.now_ns();
}

void Alarm::check_bubble(const char* what) const {
  if (bubble_id_ != 0 && bubble_id_ != current_bubble()) throw_panic(what);
}

}  // namespace weft::detail

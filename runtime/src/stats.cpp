// What is known about goroutines, for people: counters and lists.

#include "weft/stats.hpp"

#include "sched.hpp"
#include "worker.hpp"

namespace weft::detail {

std::uint64_t Scheduler::spawned() const noexcept {
  std::uint64_t n = foreign_spawned_.load(std::memory_order_seq_cst);
  for (const auto& p : processors) n += p->spawned.get();
  return n;
}

std::uint64_t Scheduler::finished() const noexcept {
  std::uint64_t n = abandoned_.load(std::memory_order_seq_cst) + detached_finished_.load(std::memory_order_seq_cst);
  for (const auto& p : processors) n += p->finished.get();
  return n;
}

std::uint64_t Scheduler::live() const noexcept {
  // Ends are read first: each goroutine counted as ended has been counted as started by then. So the difference is never
  // too low; it is exact if none ended meanwhile, else too high by those that came and went between the two looks.
  std::uint64_t ended = finished();
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint64_t started = spawned();
    const std::uint64_t ended_by_now = finished();
    if (ended_by_now == ended) return started - ended;
    ended = ended_by_now;
  }
  return spawned() - ended;
}

Stats Scheduler::stats() noexcept {
  Stats s;
  s.live = live();
  s.spawned = spawned();
  tasks.for_each([&](Task& task) {
    if (task.is_abandoned.load(std::memory_order_relaxed)) return;
    Fiber* fiber = task.fiber.load(std::memory_order_acquire);
    const FiberStatus status =
        fiber == nullptr ? FiberStatus::kRunnable : fiber->status.load(std::memory_order_relaxed);
    s.runnable += status == FiberStatus::kRunnable ? 1 : 0;
    s.running += status == FiberStatus::kRunning ? 1 : 0;
    s.waiting += status == FiberStatus::kWaiting ? 1 : 0;
    if (fiber != nullptr) s.stack_bytes += fiber->state.stack.size;
  });
  for (const auto& p : processors) {
    s.parks += p->parks.get();
    s.steals += p->steals.get();
  }
  s.parks += detached_parks_.load(std::memory_order_relaxed);
  s.wakes = wakes.load(std::memory_order_relaxed);
  s.handoffs = handoffs.load(std::memory_order_relaxed);
  s.processors = processor_count();
  SpinGuard guard(workers_lock_);
  s.threads = static_cast<unsigned>(workers_.size());
  return s;
}

GoroutineInfo Scheduler::describe(const Task& task) {
  GoroutineInfo info;
  info.id = task.id.load(std::memory_order_relaxed);
  if (task.extras != nullptr) info.name = task.extras->name;
  info.spawn_site = describe_address(task.spawn_site.load(std::memory_order_relaxed));
  Fiber* fiber = task.fiber.load(std::memory_order_acquire);
  switch (fiber == nullptr ? FiberStatus::kRunnable : fiber->status.load(std::memory_order_relaxed)) {
    case FiberStatus::kWaiting:
      info.state = "waiting";
      info.wait_reason = to_string(fiber->wait_reason.load(std::memory_order_relaxed));
      if (fiber->is_durable.load(std::memory_order_relaxed)) info.wait_reason += " (durable)";
      break;
    case FiberStatus::kRunning:
      info.state = "running";
      break;
    default:
      info.state = "runnable";
      break;
  }
  return info;
}

std::vector<GoroutineInfo> Scheduler::goroutines() {
  std::vector<GoroutineInfo> all;
  tasks.for_each([&](const Task& task) {
    if (task.is_abandoned.load(std::memory_order_relaxed)) return;
    GoroutineInfo info = describe(task);
    // A record whose goroutine has ended meanwhile, and that was given to another one perhaps, tells of both.
    if (info.id != 0 && task.id.load(std::memory_order_acquire) == info.id) all.push_back(std::move(info));
  });
  return all;
}

}  // namespace weft::detail

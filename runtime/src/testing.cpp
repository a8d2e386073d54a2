#include "weft/testing.hpp"

#include "deadlock.hpp"
#include "sched.hpp"
#include "weft/go.hpp"
#include "worker.hpp"

namespace weft::testing {
namespace {

/// A goroutine that is not found has ended.
bool is_parked_or_gone(std::uint64_t id) {
  bool is_going = false;
  detail::DeadlockRegistry::for_each([&](detail::Scheduler& scheduler) {
    scheduler.tasks.for_each([&](detail::Task& task) {
      if (task.id.load(std::memory_order_relaxed) != id) return;
      const detail::Fiber* fiber = task.fiber.load(std::memory_order_acquire);
      // acquire: what the goroutine did before it parked is visible to who waited for it.
      if (fiber == nullptr || fiber->status.load(std::memory_order_acquire) != detail::FiberStatus::kWaiting)
        is_going = true;
    });
  });
  return !is_going;
}

}  // namespace

void wait_parked(std::uint64_t goroutine_id) {
  while (!is_parked_or_gone(goroutine_id)) yield();
}

}  // namespace weft::testing

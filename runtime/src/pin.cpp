// Goroutines that are pinned to their threads. Answers to Go's LockOSThread, stoplockedm and startlockedm.
//
// A pinned goroutine and its worker belong to each other. The worker runs nothing else:
//   - When the goroutine parks or yields, it switches to root, never to another goroutine; root hands the processor to
//     another worker and sleeps (wait_for_own).
//   - It is readied, queued and stolen as any other one. Whoever picks it cannot run it: from root it hands the processor
//     that it holds to the goroutine's worker, and goes to sleep without one (pass_on). Whoever picks it on a goroutine's
//     stack leaves it in_hand and switches to root (is_for_root).
// The two hand-overs, and why they lose no work and no wake-up: idle.hpp.

#include "weft/pin_guard.hpp"

#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "barrier.hpp"
#include "forked.hpp"
#include "keep_errno.hpp"
#include "sched.hpp"
#include "weft/error.hpp"
#include "weft/goroutine_local.hpp"
#include "worker.hpp"
#include "worker_hot.hpp"

namespace weft::detail {

void Worker::yield_pinned(Runnable* other) noexcept {
  in_hand = other;
  current->after = AfterSwitch::kYield;
  switch_to_fiber(&root, false)->exit();
}

/// On root, once the goroutine has left. Returns it when it may go on; nullptr: the runtime stops.
Runnable* Worker::wait_for_own() noexcept {
  if (!has_processor()) return wait_for_own_detached();
  Runnable* first = std::exchange(in_hand, nullptr);
  const Idle::HandOverResult result = scheduler.idle.set_aside(*this, first);
  Idle::HandOver outcome = result.outcome;
  if (outcome == Idle::HandOver::kDone) {
    scheduler.handoffs.fetch_add(1, std::memory_order_relaxed);  // counter
    result.to->parker.unpark();
  } else {
    if (first != nullptr) requeue(first);
    if (outcome == Idle::HandOver::kNobody) {
      if (scheduler.idle.has_surplus()) scheduler.drain(*processor);
      outcome = scheduler.idle.set_aside_freeing(*this);
      heavy_barrier();
      if (outcome == Idle::HandOver::kDone && scheduler.has_work()) scheduler.wake_one();
    }
    if (outcome == Idle::HandOver::kRecalled) return pinned;
  }
  while (scheduler.idle.is_set_aside(*this)) {
    if (scheduler.is_stopping()) return nullptr;
    parker.park_until(kForever);
  }
  return pinned;
}

/// The same for a worker whose processor was taken: there is nothing to hand over.
Runnable* Worker::wait_for_own_detached() noexcept {
  if (scheduler.idle.set_aside_detached(*this)) scheduler.submit_foreign(pinned);
  scheduler.end_detached();
  // From here on the monitor may not keep the time any more: a sleeper does, once it has looked again.
  if (Worker* sleeper = scheduler.idle.any_sleeper()) sleeper->parker.unpark();
  while (scheduler.idle.is_set_aside(*this)) {
    if (scheduler.is_stopping()) return nullptr;
    // It may have been the last that was not asleep.
    const bool is_quiet = scheduler.idle.free_processors() == scheduler.processor_count();
    parker.park_until(is_quiet ? scheduler.on_quiet() : kForever);
  }
  lease.store(held_lease(), std::memory_order_relaxed);  // recall() has given it one
  return pinned;
}

/// On root, with what was just picked. True: it was not for this thread. The worker may have slept since.
bool Worker::pass_on(Runnable* runnable) noexcept {
  if (runnable->is_task || !static_cast<Fiber*>(runnable)->is_pinned) return false;
  Worker& own = *static_cast<Fiber*>(runnable)->pinned_to;
  if (!scheduler.idle.recall(own, *this)) return true;
  scheduler.handoffs.fetch_add(1, std::memory_order_relaxed);  // counter
  own.parker.unpark();
  wait_as_spare();
  return true;
}

/// On the sleepers' list, having freed no processor: there is nothing to look for and no time to keep. Returns with a
/// processor, or because the runtime stops.
void Worker::wait_as_spare() noexcept {
  while (scheduler.idle.is_asleep(*this)) {
    if (scheduler.is_stopping()) {
      scheduler.idle.remove(*this);
      return;
    }
    parker.park_until(kForever);
  }
}

void Worker::end_unusually(Fiber* self) noexcept {
  if (current_worker() == nullptr) die_after_fork("a goroutine has ended in a forked child");
  destroy_locals();
  if (self->is_pinned) fatal("weft: PinGuard: a goroutine has ended while it was pinned");
}

void Scheduler::start_spare() {
  workers_.push_back(std::make_unique<Worker>(*this, static_cast<unsigned>(workers_.size())));
  Worker& worker = *workers_.back();
  worker.starts_spare = true;
  try {
    worker.thread = std::thread([&worker] { worker.main(); });
  } catch (...) {
    workers_.pop_back();
    throw;
  }
  idle.add_sleeper(worker);
  worker.is_listed.store(true, std::memory_order_release);  // [worker.is_listed]: pairs with the acquire in main()
  worker.parker.unpark();
}

void Scheduler::pin() {
  const KeepErrno keep_errno;
  SpinGuard guard(workers_lock_);
  // A runtime that stops starts nobody: the goroutine is left at its next runtime call.
  while (workers_.size() < processors.size() + pinned_ + 1 && !stopping_.load(std::memory_order_seq_cst)) {
    if (workers_.size() >= options.max_threads) {
      throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again),
                              "weft: PinGuard: the runtime may have " + std::to_string(options.max_threads) +
                                  " threads (RuntimeOptions::max_threads)");
    }
    start_spare();
  }
  ++pinned_;
}

void Scheduler::unpin() noexcept {
  SpinGuard guard(workers_lock_);
  --pinned_;
}

}  // namespace weft::detail

namespace weft {

PinGuard::PinGuard() : goroutine_(0) {
  detail::Worker* worker = detail::current_worker();
  if (worker == nullptr || worker->current == &worker->root) return;
  detail::Fiber& fiber = *worker->current;
  if (fiber.pins == 0) {
    worker->scheduler.pin();
    fiber.is_pinned = true;
    fiber.pinned_to = worker;
    worker->pinned = &fiber;
  }
  ++fiber.pins;
  goroutine_ = fiber.task->id.load(std::memory_order_relaxed);
}

PinGuard::~PinGuard() {
  if (goroutine_ == 0) return;
  detail::Worker* worker = detail::current_worker();
  if (worker == nullptr && detail::is_forked_child()) return;  // the thread is its own now
  if (worker == nullptr || worker->current == &worker->root ||
      worker->current->task->id.load(std::memory_order_relaxed) != goroutine_) {
    detail::fatal("weft: PinGuard: destroyed by another goroutine than the one that made it");
  }
  detail::Fiber& fiber = *worker->current;
  if (--fiber.pins != 0) return;
  fiber.is_pinned = false;
  worker->pinned = nullptr;
  worker->scheduler.unpin();
}

}  // namespace weft

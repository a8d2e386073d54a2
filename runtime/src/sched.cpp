#include "sched.hpp"

#include <algorithm>
#include <chrono>
#include <random>

#include "deadlock.hpp"
#include "thread_parker.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

class SteadyTime final : public TimeSource {
 public:
  std::int64_t now_ns() noexcept override { return std::chrono::steady_clock::now().time_since_epoch().count(); }
};

std::uint64_t system_seed() { return (std::uint64_t{std::random_device{}()} << 32U) ^ std::random_device{}(); }

}  // namespace

TimeSource& steady_time() noexcept {
  static SteadyTime time;
  return time;
}

Scheduler::Scheduler(const RuntimeOptions& opts, const SchedulerTuning& tuning, Runtime* owner)
    : options(opts),
      runtime(owner),
      inject(opts.processors),
      fibers(opts.stack_size, opts.processors),
      chaos(tuning.chaos),
      time_(tuning.time != nullptr ? *tuning.time : steady_time()) {
  Random seeds(tuning.seed != 0 ? tuning.seed : chaos != 0 ? chaos : system_seed());
  for (unsigned i = 0; i < opts.processors; ++i) {
    processors.push_back(std::make_unique<Processor>(i, seeds.next()));
    if (chaos != 0) processors.back()->interval = 1;
  }
}

Scheduler::~Scheduler() {
  for (const auto& processor : processors) fibers.flush(processor->fibers);
}

// --- submitting ---

void Scheduler::push_overflow(Worker& worker, Runnable* runnable) noexcept {
  Processor& p = *worker.processor;
  Runnable* batch[RunQueue::kCapacity / 2 + 1];
  std::size_t n = 0;
  if (runnable->is_task) {
    while (n < RunQueue::kCapacity / 2) {
      Runnable* oldest = p.fresh.take_oldest();
      if (oldest == nullptr) break;
      batch[n++] = oldest;
    }
  } else {
    n = p.ready.steal(batch, RunQueue::kCapacity / 2);
  }
  batch[n++] = runnable;
  inject.push(p.index, batch, n);
}

void Scheduler::submit_fresh(Worker& worker, Task* task) noexcept {
  if (chaos != 0 && worker.processor->random.below(4) == 0) {
    Runnable* item = task;
    inject.push(worker.processor->index, &item, 1);
  } else if (!worker.processor->fresh.push(task)) {
    push_overflow(worker, task);
  }
  notify();
}

void Scheduler::submit_last(Worker& worker, Runnable* runnable) noexcept {
  if (!worker.processor->ready.push(runnable)) push_overflow(worker, runnable);
  notify();
}

void Scheduler::submit_ready(Worker& worker, Fiber* fiber) noexcept {
  Processor& p = *worker.processor;
  if (chaos != 0 && p.random.below(2) == 0) {
    Runnable* item = fiber;
    inject.push(p.index, &item, 1);
    notify();
    return;
  }
  if (Runnable* kicked = p.next.put(fiber)) {
    if (!p.ready.push(kicked)) push_overflow(worker, kicked);
    // More than this processor can run at once: no use in letting the searcher sleep on.
    if (Worker* napping = napper.load(std::memory_order_relaxed)) {  // hint
      if (napping->nap.load(std::memory_order_relaxed) != 0 && napping->nap.exchange(0, std::memory_order_relaxed) != 0) {
        futex_wake(napping->nap, 1);
      }
    }
  }
  notify();
}

void Scheduler::submit_foreign(Runnable* runnable) noexcept {
  inject.push_foreign(runnable);
  notify();
}

void Scheduler::wake_one() noexcept {
  if (stopping_.load(std::memory_order_seq_cst)) return;
  const Idle::Wake wake = idle.claim_wake();
  if (wake.processor == nullptr) return;
  wakes.fetch_add(1, std::memory_order_relaxed);  // counter
  if (wake.worker != nullptr) {
    handoffs.fetch_add(1, std::memory_order_relaxed);  // counter
    wake.worker->parker.unpark();
    return;
  }
  try {
    start_worker(*wake.processor);
  } catch (...) {
    // No thread to be had: those that run go on; the processor stays free, and the next submission tries again.
    idle.give_back(*wake.processor);
    static_cast<void>(idle.leave_search());
  }
}

// --- for workers ---

bool Scheduler::has_work() noexcept {
  if (inject.size() != 0) return true;
  std::int64_t deadline = kForever;
  for (const auto& p : processors) {
    if (p->has_local_work()) return true;
    deadline = std::min(deadline, p->timers.next_deadline());
  }
  return deadline != kForever && deadline <= now_ns();
}

std::int64_t Scheduler::earliest_deadline() const noexcept {
  std::int64_t deadline = kForever;
  for (const auto& p : processors) deadline = std::min(deadline, p->timers.next_deadline());
  return deadline;
}

void Scheduler::on_quiet() noexcept {
  if (draining_.load(std::memory_order_seq_cst)) {
    quiet_word_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(quiet_word_, 1);
  }
  DeadlockRegistry::check_all();
}

// --- lifecycle ---

void Scheduler::start_worker(Processor& processor) {
  SpinGuard guard(workers_lock_);
  if (workers_.size() >= options.max_threads) {
    fatal("thread exhaustion: the runtime may have " + std::to_string(options.max_threads) +
          " threads (RuntimeOptions::max_threads)");
  }
  workers_.push_back(std::make_unique<Worker>(*this, static_cast<unsigned>(workers_.size())));
  Worker& worker = *workers_.back();
  worker.processor = &processor;
  worker.is_searching = true;
  try {
    worker.thread = std::thread([&worker] { worker.main(); });
  } catch (...) {
    workers_.pop_back();
    throw;
  }
}

void Scheduler::start() {
  DeadlockRegistry::add(*this);
  for (std::size_t i = processors.size(); i-- > 1;) idle.give_back(*processors[i]);
  idle.start_search();
  start_worker(*processors[0]);
}

bool Scheduler::wait_drained(std::int64_t deadline_ns) noexcept {
  draining_.store(true, std::memory_order_seq_cst);
  for (;;) {
    const std::uint32_t seen = quiet_word_.load(std::memory_order_seq_cst);
    // The last goroutine's end is followed by a quiet moment, which moves the word.
    if (live() == 0) return true;
    if (steady_time().now_ns() >= deadline_ns) return false;
    futex_wait(quiet_word_, seen, deadline_ns);
  }
}

void Scheduler::stop() noexcept {
  DeadlockRegistry::remove(*this);
  stopping_.store(true, std::memory_order_seq_cst);
  for (const auto& p : processors) p->attention.store(true, std::memory_order_seq_cst);
  // From here on nobody outside starts a worker (wake_one looks at stopping_).
  while (foreign_calls.load(std::memory_order_seq_cst) != 0) cpu_pause();
  // A worker that is being started by another one is in workers_ before that one can stop.
  for (std::size_t i = 0;; ++i) {
    Worker* worker = nullptr;
    {
      SpinGuard guard(workers_lock_);
      if (i < workers_.size()) worker = workers_[i].get();
    }
    if (worker == nullptr) break;
    worker->parker.unpark();
    worker->thread.join();
  }
}

void Scheduler::abandon_all() noexcept {
  tasks.for_each([](Task& task) {
    Fiber* fiber = task.fiber.load(std::memory_order_relaxed);
    if (fiber == nullptr || fiber->status.load(std::memory_order_acquire) != FiberStatus::kWaiting) return;
    const WaitOps& ops = *fiber->wait_point->ops;
    if (ops.abandon == nullptr || ops.abandon(*fiber->wait_point)) return;
    // Somebody has claimed it and is between that and ready(): a few instructions.
    while (fiber->status.load(std::memory_order_acquire) == FiberStatus::kWaiting) cpu_pause();
  });
  // A foreign ready() may still be on its way out.
  while (foreign_calls.load(std::memory_order_acquire) != 0) cpu_pause();
}

}  // namespace weft::detail

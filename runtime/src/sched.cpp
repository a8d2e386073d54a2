#include "sched.hpp"

#include <algorithm>
#include <chrono>
#include <random>
#include <stdexcept>

#include "deadlock.hpp"
#include "keep_errno.hpp"
#include "netpoll.hpp"
#include "thread_parker.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

class SteadyTime final : public TimeSource {
 public:
  std::int64_t now_ns() noexcept override { return std::chrono::steady_clock::now().time_since_epoch().count(); }
};

constexpr std::int64_t kDeadlockRecheckNs = 1'000'000'000;

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
      overflow(opts.processors),
      fibers(opts.stack_size, opts.processors),
      chaos(tuning.chaos),
      wanted_processors_(opts.processors),
      follows_default_(tuning.follows_default),
      seeds_(tuning.seed != 0 ? tuning.seed
             : chaos != 0     ? chaos
                              : system_seed()),
      time_(tuning.time != nullptr ? *tuning.time : steady_time()) {
  for (unsigned i = 0; i < opts.processors; ++i) add_processor();
}

/// One caller at a time.
Processor& Scheduler::add_processor() {
  Processor& processor = processors.add(seeds_.next(), options.measure_latency);
  if (chaos != 0) {
    processor.interval = 1;
    processor.attention.fetch_or(Attention::kChaos, std::memory_order_relaxed);
  }
  if (options.measure_latency) processor.attention.fetch_or(Attention::kTimed, std::memory_order_relaxed);
  processor.clock_ns.store(now_ns(), std::memory_order_relaxed);
  return processor;
}

Scheduler::~Scheduler() {
  for (const auto& processor : processors) fibers.flush(processor->fibers);
}

// --- submitting ---

void Scheduler::push_overflow(Worker& worker, Runnable* runnable) noexcept {
  Processor& p = *worker.processor;
  Runnable* batch[RunQueue::kCapacity / 2 + 1];
  const bool is_task = runnable->is_task;
  std::size_t n =
      is_task ? p.fresh.take_oldest(batch, RunQueue::kCapacity / 2) : p.ready.steal(batch, RunQueue::kCapacity / 2);
  batch[n++] = runnable;
  (is_task ? overflow : inject).push(p.index, batch, n);
}

void Scheduler::submit_fresh(Worker& worker, Task* task) noexcept {
  Processor& p = *worker.processor;
  if (p.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return submit_fresh_slow(worker, task);
  if (!p.fresh.push(task)) [[unlikely]]
    push_overflow(worker, task);
  notify();
}

[[gnu::noinline]] void Scheduler::submit_fresh_slow(Worker& worker, Task* task) noexcept {
  Processor& p = *worker.processor;
  if (p.is(Attention::kNotesTimes)) worker.note_spawn(*task);
  if (chaos != 0 && p.random.below(4) == 0) {
    Runnable* item = task;
    inject.push(p.index, &item, 1);
  } else if (!p.fresh.push(task)) {
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
  if (p.is(Attention::kNotesTimes)) worker.note_ready(*fiber);
  if (chaos != 0 && p.random.below(2) == 0) {
    Runnable* item = fiber;
    inject.push(p.index, &item, 1);
    notify();
    return;
  }
  if (Runnable* kicked = p.next.put(fiber)) {
    if (!p.ready.push(kicked)) push_overflow(worker, kicked);
    // More than this processor can run at once: no use in letting the searcher sleep on, unless it has just seen that a lone
    // one does not wait here for long.
    if (p.ready.size() > 1 || p.brisk_looks.load(std::memory_order_relaxed) == 0) {
      if (Worker* napping = napper.load(std::memory_order_acquire)) napping->end_nap();
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
  monitor.notice_busy();
  if (wake.worker != nullptr) {
    handoffs.fetch_add(1, std::memory_order_relaxed);  // counter
    wake.worker->parker.unpark();
    return;
  }
  try {
    start_worker(*wake.processor);
  } catch (...) {
    // No thread to be had: those that run go on; the processor stays free, and the next submission tries again. A worker
    // that went to sleep meanwhile has relied on this search: it is woken in the stead of the thread.
    idle.give_back(*wake.processor);
    static_cast<void>(idle.leave_search());
    heavy_barrier();
    if (has_work() && idle.has_sleepers()) wake_one();
  }
}

// --- for workers ---

bool Scheduler::has_work() noexcept {
  if (has_global_work()) return true;
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

std::int64_t Scheduler::on_quiet() noexcept {
  if (draining_.load(std::memory_order_seq_cst)) {
    quiet_word_.fetch_add(1, std::memory_order_seq_cst);
    futex_wake(quiet_word_, 1);
  }
  return DeadlockRegistry::check_all() ? steady_time().now_ns() + kDeadlockRecheckNs : kForever;
}

// --- lifecycle ---

void Scheduler::start_worker(Processor& processor) {
  const KeepErrno keep_errno;
  SpinGuard guard(workers_lock_);
  // Under the lock: stop() has either seen this worker, or set the flag before.
  if (stopping_.load(std::memory_order_seq_cst))
    throw std::runtime_error("the runtime stops");  // wake_one() catches it
  if (workers_.size() >= options.max_threads) {
    // Those that are stuck come back: then there is a thread for the processor.
    if (detached.load(std::memory_order_seq_cst) != 0) throw std::runtime_error("enough threads");
    fatal("thread exhaustion: the runtime may have " + std::to_string(options.max_threads) +
          " threads (RuntimeOptions::max_threads)");
  }
  workers_.push_back(std::make_unique<Worker>(*this, static_cast<unsigned>(workers_.size())));
  Worker& worker = *workers_.back();
  worker.processor = &processor;
  processor.holder.store(&worker, std::memory_order_release);
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
  for (std::size_t i = processors.size(); i-- > 0;) idle.add(*processors[i], i != 0);
  idle.start_search();
  monitor.start();
  try {
    start_worker(*processors[0]);
  } catch (...) {
    monitor.stop();
    DeadlockRegistry::remove(*this);
    throw;
  }
}

bool Scheduler::can_grow() noexcept {
  if (idle.has_sleepers()) return true;
  SpinGuard guard(workers_lock_);
  return workers_.size() < options.max_threads;
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

bool Scheduler::stop(std::int64_t patience_ns) noexcept {
  DeadlockRegistry::remove(*this);
  stopping_.store(true, std::memory_order_seq_cst);
  for (const auto& p : processors) p->call();
  monitor.stop();
  // From here on nobody outside starts a worker (wake_one looks at stopping_).
  while (foreign_calls.load(std::memory_order_seq_cst) != 0) cpu_pause();
  const Worker* self = current_worker();
  const bool is_inside = self != nullptr && &self->scheduler == this;
  const std::int64_t now = steady_time().now_ns();
  const std::int64_t deadline = patience_ns > kForever - now ? kForever : now + patience_ns;
  for (;;) {
    const std::uint32_t exited = exited_workers_.load(std::memory_order_acquire);
    std::uint32_t started = 0;
    {
      SpinGuard guard(workers_lock_);  // a worker may still be starting another one
      for (const auto& worker : workers_) worker->parker.unpark();
      started = static_cast<std::uint32_t>(workers_.size());
    }
    if (exited + (is_inside ? 1 : 0) == started) break;
    if (steady_time().now_ns() >= deadline) return false;
    futex_wait(exited_workers_, exited, deadline);
  }
  for (const auto& worker : workers_) {
    if (worker.get() == self) {
      worker->thread.detach();
    } else {
      worker->thread.join();
    }
  }
  if (is_inside) return false;
  stopped_.store(true, std::memory_order_release);
  return true;
}

void Scheduler::abandon_all() noexcept {
  if (Netpoll* poller = Netpoll::get()) poller->drop_starters(*this);
  tasks.for_each([](Task& task) {
    Fiber* fiber = task.fiber.load(std::memory_order_relaxed);
    if (fiber == nullptr || fiber->wait_point == nullptr) return;  // not in a wait
    WaitPoint& point = *fiber->wait_point;
    if (fiber->status.load(std::memory_order_acquire) == FiberStatus::kWaiting) {
      if (point.ops->abandon == nullptr || point.ops->abandon(point)) return;
      // Somebody has claimed it and is between that and ready(): a few instructions.
      while (fiber->status.load(std::memory_order_acquire) == FiberStatus::kWaiting) cpu_pause();
    }
    // Its wait has ended, but it will not run to know of it.
    if (point.ops->forsake != nullptr) point.ops->forsake(point);
  });
  // A foreign ready() may still be on its way out.
  while (foreign_calls.load(std::memory_order_acquire) != 0) cpu_pause();
  // No wait is left in the heaps.
  for (const auto& p : processors) p->timers.forget_all(this);
}

void Scheduler::abandon_bubble(const Bubble& bubble) noexcept {
  tasks.for_each([&](Task& task) {
    Fiber* fiber = task.fiber.load(std::memory_order_acquire);
    if (task.bubble.load(std::memory_order_relaxed) != &bubble || fiber == nullptr || fiber->wait_point == nullptr)
      return;
    // The bubble is at rest (B2): nobody else ends this wait.
    const WaitPoint& point = *fiber->wait_point;
    if (point.ops->abandon != nullptr) point.ops->abandon(*fiber->wait_point);
    fiber->wait_point = nullptr;
    task.is_abandoned.store(true, std::memory_order_relaxed);
    abandoned_.fetch_add(1, std::memory_order_seq_cst);
  });
}

}  // namespace weft::detail

// WorkerPool: workers that range over a channel of jobs, and a count of what is on its way.
//
// P1 A job is pending from before it is offered to the channel until it has run or was cancelled, and until it was refused if
//    it was. Its counters are settled before its future is ready.
// P2 The pool may go the moment that nothing is pending (HZ-5). So workers hold a reference to the core, and so does whoever settles
//    a job otherwise, from before that; whoever has handed a job to the channel does not touch the core any more.
// P3 A worker is counted until it will not take another job.
// P4 offered_ and ended_ only grow, and ended_ <= offered_; pending is their difference. Whoever reads ended_ first, and
//    then the same number in offered_, knows that nothing was pending when it read ended_: neither has changed in between.
// P5 No wake-up is lost: wait() raises has_waiters_ and then looks at the counts, settle() counts and then looks at
//    has_waiters_, all seq_cst, so one of them sees the other. Of several that settle, the one that is last in the order of
//    ended_ sees all of them. Then both go by lock_, under which waiters_ and has_waiters_ change.
// P6 A worker counts what it does in a cache line of its own, by plain stores: nobody else writes there.

#include "weft/worker_pool.hpp"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>

#include "weft/chan.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/queue_wait.hpp"
#include "weft/errc.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/runtime.hpp"

namespace weft {
namespace detail {

namespace {

class PoolWait final : public QueueWait {
 public:
  using QueueWait::QueueWait;
};

std::exception_ptr canceled_error() { return std::make_exception_ptr(std::system_error(errc::canceled)); }

}  // namespace

std::size_t default_workers() {
  const Runtime* runtime = Runtime::current();
  const unsigned processors = (runtime != nullptr ? *runtime : Runtime::process_default()).stats().processors;
  return processors == 0 ? 1 : processors;
}

void QueuedJob::cancel() noexcept {
  const StateRef<Job> job = take();
  job->cancel(canceled_error());
  job->complete();
}

/// What a worker has done (P6).
struct alignas(kCacheLine) WorkerCounts {
  std::atomic<std::uint64_t> completed{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<bool> is_busy{false};
};

class PoolCore {
 public:
  PoolCore(std::size_t workers, std::size_t queue)
      : jobs(make_chan<QueuedJob>(queue)),
        worker_count(workers),
        bubble(current_bubble()),
        counts_(std::make_unique<WorkerCounts[]>(workers)) {}

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }  // relaxed: the caller has one
  void release() noexcept {
    // acq_rel [worker_pool.refs]: what each holder did happens before the last one destroys.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  void work(std::size_t index) {
    WorkerCounts& mine = counts_[index];
    for (;;) {
      Received<QueuedJob> next = jobs.recv();
      if (!next) break;
      const StateRef<Job> job = next->take();
      mine.is_busy.store(true, std::memory_order_relaxed);  // these three: counters, read by stats()
      std::atomic<std::uint64_t>& ends = job->execute() == JobEnd::kReturned ? mine.completed : mine.failed;
      ends.store(ends.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
      mine.is_busy.store(false, std::memory_order_relaxed);
      job->complete();
      settle();
    }
    remove_worker();
  }

  void add_worker() noexcept {
    const SpinGuard guard(lock_);
    ++alive_;
  }
  void remove_worker() noexcept {
    {
      const SpinGuard guard(lock_);
      --alive_;
    }
    wake_if_over();
  }

  // seq_cst [worker_pool.pending]: P5
  void expect() noexcept { offered_.fetch_add(1, std::memory_order_seq_cst); }
  void settle() noexcept {
    ended_.fetch_add(1, std::memory_order_seq_cst);
    if (has_waiters_.load(std::memory_order_seq_cst) && is_idle()) [[unlikely]]
      wake_if_over();
  }
  void refuse() noexcept {
    retain();                                          // P2
    refused_.fetch_add(1, std::memory_order_release);  // counter: see stats()
    settle();
    release();
  }
  void cancel(Received<QueuedJob> next) noexcept {
    canceled_.fetch_add(1, std::memory_order_relaxed);  // counter
    { const QueuedJob dropped(std::move(*next)); }
    settle();
  }

  /// False: it was closed before.
  bool close() {
    {
      const SpinGuard guard(lock_);
      if (is_closed_) return false;
      is_closed_ = true;
    }
    jobs.close();
    return true;
  }

  /// False: the limit was reached.
  bool wait(const Limit& limit) noexcept {
    chaos_point();
    lock_.lock();
    has_waiters_.store(true, std::memory_order_seq_cst);  // [worker_pool.pending]: P5
    const bool is_in_time = is_over();
    if (is_in_time || limit.has_passed()) {
      has_waiters_.store(!waiters_.empty(), std::memory_order_relaxed);  // guarded by lock_
      lock_.unlock();
      return is_in_time;
    }
    PoolWait wait(lock_, waiters_, WaitReason::kWaitGroupWait, bubble != 0 && bubble == current_bubble());
    return wait.run(limit) == WaitEnd::kWoken;
  }

  [[nodiscard]] WorkerPoolStats stats() const {
    // relaxed: counters, a snapshot. An offer that is being refused may be among those submitted for a moment.
    WorkerPoolStats stats{
        .workers = worker_count, .queued = jobs.size(), .canceled = canceled_.load(std::memory_order_relaxed)};
    for (std::size_t i = 0; i < worker_count; ++i) {
      stats.busy += counts_[i].is_busy.load(std::memory_order_relaxed) ? 1 : 0;
      stats.completed += counts_[i].completed.load(std::memory_order_relaxed);
      stats.failed += counts_[i].failed.load(std::memory_order_relaxed);
    }
    // acquire [worker_pool.counts]: a job that is seen as waiting or refused is seen as offered. A refused one does not wait any more
    // when it is counted, so none is subtracted twice.
    const std::uint64_t refused = refused_.load(std::memory_order_acquire);
    const std::uint64_t waiting = blocked.load(std::memory_order_acquire);
    const std::uint64_t accepted = offered_.load(std::memory_order_acquire) - refused - waiting;
    // Whose job is taken, and perhaps over, counts as waiting until it has left send().
    stats.submitted = std::max(accepted, stats.completed + stats.failed + stats.canceled);
    return stats;
  }

  const Chan<QueuedJob> jobs;
  const std::size_t worker_count;
  const std::uint32_t bubble;
  std::atomic<std::uint64_t> blocked{0};  // offered, and waiting for room

 private:
  [[nodiscard]] bool is_idle() const noexcept {
    // seq_cst [worker_pool.pending]: what the jobs did is visible.
    const std::uint64_t ended = ended_.load(std::memory_order_seq_cst);  // first: P4
    return ended == offered_.load(std::memory_order_seq_cst);
  }
  /// With lock_.
  [[nodiscard]] bool is_over() const noexcept { return is_idle() && (!is_closed_ || alive_ == 0); }
  void wake_if_over() noexcept {
    WakeList woken;
    {
      const SpinGuard guard(lock_);
      if (!is_over()) return;
      woken.add_all(waiters_);
      has_waiters_.store(false, std::memory_order_relaxed);  // guarded by lock_
    }
    woken.ready_all();
  }

  const std::unique_ptr<WorkerCounts[]> counts_;
  std::atomic<std::uint64_t> refused_{0};
  std::atomic<std::uint64_t> canceled_{0};
  std::atomic<std::uint32_t> references_{1};
  Spinlock lock_;
  bool is_closed_ = false;                                     // guarded by lock_
  std::size_t alive_ = 0;                                      // guarded by lock_: workers
  WaitQueue waiters_;                                          // guarded by lock_
  std::atomic<bool> has_waiters_{false};                       // written under lock_
  alignas(kCacheLine) std::atomic<std::uint64_t> offered_{0};  // those who submit write this line,
  alignas(kCacheLine) std::atomic<std::uint64_t> ended_{0};    // the workers that one
};

namespace {

/// An offered job that waits for room. With a reference: when it has got room the pool may be gone (P2).
class Blocked {
 public:
  explicit Blocked(PoolCore& core) noexcept : core_(core) {
    core_.retain();
    core_.blocked.fetch_add(1, std::memory_order_release);  // counter: see stats()
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  ~Blocked() {
    core_.blocked.fetch_sub(1, std::memory_order_release);  // likewise
    core_.release();
  }

 private:
  PoolCore& core_;
};

/// Counts a job as pending, unless the queue refuses it.
template <class Send>
bool offer(PoolCore& core, QueuedJob& job, const char* when_closed, Send send) {
  core.expect();
  try {
    if (send()) return true;  // the core is not ours to touch any more: P2
  } catch (const RuntimePanic&) {
    { const QueuedJob dropped(std::move(job)); }
    core.refuse();
    throw_panic(when_closed);
  } catch (...) {
    core.refuse();
    throw;
  }
  core.refuse();
  return false;
}

constexpr const char* kSubmitToClosed = "weft: WorkerPool::submit: send on closed channel: the pool has been closed";
constexpr const char* kTrySubmitToClosed =
    "weft: WorkerPool::try_submit: send on closed channel: the pool has been closed";

}  // namespace
}  // namespace detail

WorkerPool::WorkerPool(const WorkerPoolOptions& options)
    : core_(new detail::PoolCore(options.workers != 0 ? options.workers : detail::default_workers(), options.queue)) {
  const std::string name = options.name.empty() ? "worker" : options.name;
  for (std::size_t i = 0; i < core_->worker_count; ++i) {
    core_->add_worker();
    try {
      weft::go({.name = name + "-" + std::to_string(i)}, [core = core_, i] { core->work(i); });
    } catch (...) {
      core_->remove_worker();
      core_->close();
      static_cast<void>(core_->wait({}));
      throw;
    }
  }
}

WorkerPool::~WorkerPool() {
  core_->close();
  static_cast<void>(core_->wait({}));
}

std::uint32_t WorkerPool::bubble() const noexcept { return core_->bubble; }

void WorkerPool::send(detail::StateRef<detail::Job> job) {
  detail::PoolCore& core = *core_;
  detail::QueuedJob queued(std::move(job));
  static_cast<void>(detail::offer(core, queued, detail::kSubmitToClosed, [&] {
    if (core.jobs.try_send(std::move(queued)) == ChanStatus::ok) return true;
    const detail::Blocked blocked(core);
    core.jobs.send(std::move(queued));  // NOLINT(bugprone-use-after-move): a value that was refused has not moved
    return true;
  }));
}

bool WorkerPool::send(const Context& ctx, detail::QueuedJob& job) {
  detail::PoolCore& core = *core_;
  return detail::offer(core, job, detail::kSubmitToClosed, [&] {
    if (ctx.is_done()) return false;
    if (core.jobs.try_send(std::move(job)) == ChanStatus::ok) return true;
    const detail::Blocked blocked(core);
    return core.jobs.send(ctx, std::move(job)) == ChanStatus::ok;  // NOLINT(bugprone-use-after-move): as above
  });
}

bool WorkerPool::try_send(detail::QueuedJob& job) {
  detail::PoolCore& core = *core_;
  return detail::offer(core, job, detail::kTrySubmitToClosed,
                       [&] { return core.jobs.try_send(std::move(job)) == ChanStatus::ok; });
}

void WorkerPool::close() {
  if (!core_->close())
    detail::throw_panic("weft: WorkerPool::close: close of closed channel: the pool is closed already");
}

void WorkerPool::wait() { static_cast<void>(core_->wait({})); }

bool WorkerPool::wait(const Context& ctx) { return !ctx.is_done() && core_->wait({.done = ctx.done_core()}); }

void WorkerPool::cancel_pending() {
  const detail::StateRef<detail::PoolCore> core = core_;  // P2
  for (std::size_t left = core->jobs.size(); left > 0; --left) {
    Received<detail::QueuedJob> next = core->jobs.try_recv();
    if (!next) return;
    core->cancel(std::move(next));
  }
}

WorkerPoolStats WorkerPool::stats() const { return core_->stats(); }

}  // namespace weft

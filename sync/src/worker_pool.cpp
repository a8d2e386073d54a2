// WorkerPool: workers that range over a channel of jobs, and a count of what is on its way.
//
// P1 A job is pending from before it is offered to the channel until it has run or was cancelled, and until it was refused if
//    it was. Its counters are settled before its future is ready.
// P2 Workers hold a reference to the core, so the pool may go while the last of them is on its way out (HZ-5).
// P3 A worker is counted until it will not take another job. wait() looks at both counts under lock_.

#include "weft/worker_pool.hpp"

#include <atomic>
#include <system_error>

#include "weft/chan.hpp"
#include "weft/detail/bubble.hpp"
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

class PoolCore {
 public:
  PoolCore(std::size_t workers, std::size_t queue)
      : jobs(make_chan<QueuedJob>(queue)), worker_count(workers), bubble(current_bubble()) {}

  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }  // relaxed: the caller has one
  void release() noexcept {
    // acq_rel [worker_pool.refs]: what each holder did happens before the last one destroys.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  void work() {
    for (;;) {
      Received<QueuedJob> next = jobs.recv();
      if (!next) break;
      const StateRef<Job> job = next->take();
      busy.fetch_add(1, std::memory_order_relaxed);  // these four: counters
      const JobEnd end = job->execute();
      busy.fetch_sub(1, std::memory_order_relaxed);
      (end == JobEnd::kReturned ? completed : failed).fetch_add(1, std::memory_order_relaxed);
      job->complete();
      settle();
    }
    change(alive_, -1);
  }

  void expect() noexcept { change(pending_, 1); }
  void settle() noexcept { change(pending_, -1); }
  void add_worker() noexcept { change(alive_, 1); }
  void remove_worker() noexcept { change(alive_, -1); }

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
    for (;;) {
      lock_.lock();
      const bool is_over = pending_ == 0 && (!is_closed_ || alive_ == 0);
      if (is_over || limit.has_passed()) {
        lock_.unlock();
        return is_over;
      }
      PoolWait wait(lock_, waiters_, WaitReason::kWaitGroupWait, bubble != 0 && bubble == current_bubble());
      if (wait.run(limit) != WaitEnd::kWoken) return false;
    }
  }

  const Chan<QueuedJob> jobs;
  const std::size_t worker_count;
  const std::uint32_t bubble;
  std::atomic<std::size_t> busy{0};
  std::atomic<std::uint64_t> submitted{0};
  std::atomic<std::uint64_t> completed{0};
  std::atomic<std::uint64_t> failed{0};
  std::atomic<std::uint64_t> canceled{0};

 private:
  void change(std::size_t& count, int by) noexcept {
    WakeList woken;
    lock_.lock();
    count = by < 0 ? count - 1 : count + 1;
    if (by < 0 && count == 0) woken.add_all(waiters_);
    lock_.unlock();
    woken.ready_all();
  }

  Spinlock lock_;
  bool is_closed_ = false;   // guarded by lock_
  std::size_t pending_ = 0;  // guarded by lock_
  std::size_t alive_ = 0;    // guarded by lock_: workers
  WaitQueue waiters_;        // guarded by lock_
  std::atomic<std::uint32_t> references_{1};
};

namespace {

/// Counts a job as pending, unless the queue refuses it.
template <class Send>
bool offer(PoolCore& core, const char* when_closed, Send send) {
  core.expect();
  bool is_accepted = false;
  try {
    is_accepted = send();
  } catch (const RuntimePanic&) {
    core.settle();
    throw_panic(when_closed);
  } catch (...) {
    core.settle();
    throw;
  }
  if (is_accepted) {
    core.submitted.fetch_add(1, std::memory_order_relaxed);  // counter
  } else {
    core.settle();
  }
  return is_accepted;
}

}  // namespace
}  // namespace detail

WorkerPool::WorkerPool(const WorkerPoolOptions& options)
    : core_(new detail::PoolCore(options.workers != 0 ? options.workers : detail::default_workers(), options.queue)) {
  const std::string name = options.name.empty() ? "worker" : options.name;
  for (std::size_t i = 0; i < core_->worker_count; ++i) {
    core_->add_worker();
    try {
      weft::go({.name = name + "-" + std::to_string(i)}, [core = core_] { core->work(); });
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
  detail::offer(*core_, "weft: WorkerPool::submit: send on closed channel: the pool has been closed", [&] {
    core_->jobs.send(detail::QueuedJob(std::move(job)));
    return true;
  });
}

bool WorkerPool::send(const Context& ctx, detail::QueuedJob& job) {
  return detail::offer(*core_, "weft: WorkerPool::submit: send on closed channel: the pool has been closed",
                       [&] { return core_->jobs.send(ctx, std::move(job)) == ChanStatus::ok; });
}

bool WorkerPool::try_send(detail::QueuedJob& job) {
  return detail::offer(*core_, "weft: WorkerPool::try_submit: send on closed channel: the pool has been closed",
                       [&] { return core_->jobs.try_send(std::move(job)) == ChanStatus::ok; });
}

void WorkerPool::close() {
  if (!core_->close())
    detail::throw_panic("weft: WorkerPool::close: close of closed channel: the pool is closed already");
}

void WorkerPool::wait() { static_cast<void>(core_->wait({})); }

bool WorkerPool::wait(const Context& ctx) { return !ctx.is_done() && core_->wait({.done = ctx.done_core()}); }

void WorkerPool::cancel_pending() {
  for (std::size_t left = core_->jobs.size(); left > 0; --left) {
    Received<detail::QueuedJob> next = core_->jobs.try_recv();
    if (!next) return;
    core_->canceled.fetch_add(1, std::memory_order_relaxed);  // counter
    { const detail::QueuedJob dropped(std::move(*next)); }
    core_->settle();
  }
}

WorkerPoolStats WorkerPool::stats() const {
  // relaxed: counters, a snapshot.
  return {.workers = core_->worker_count,
          .busy = core_->busy.load(std::memory_order_relaxed),
          .queued = core_->jobs.size(),
          .submitted = core_->submitted.load(std::memory_order_relaxed),
          .completed = core_->completed.load(std::memory_order_relaxed),
          .failed = core_->failed.load(std::memory_order_relaxed),
          .canceled = core_->canceled.load(std::memory_order_relaxed)};
}

}  // namespace weft

#pragma once

// WorkerPool: a fixed number of goroutines that run jobs from a bounded queue. For streams of values see map.hpp, which comes
// with it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "weft/context.hpp"
#include "weft/detail/future_state.hpp"
#include "weft/future.hpp"
#include "weft/map.hpp"

namespace weft {

struct WorkerPoolOptions {
  /// How many jobs run at once. 0: as many as the runtime has processors.
  std::size_t workers = 0;
  /// How many accepted jobs may wait for a worker. 0: a job is accepted when a worker takes it.
  std::size_t queue = 0;
  /// What the worker goroutines are called, followed by their index: "name-0". Empty: "worker".
  std::string name = {};
};

/// A snapshot. Each submitted job is queued, busy, or one of completed, failed and canceled; it is counted there before its
/// future is ready.
struct WorkerPoolStats {
  std::size_t workers = 0;      ///< how many the pool has
  std::size_t busy = 0;         ///< jobs that are running
  std::size_t queued = 0;       ///< jobs that wait in the queue
  std::uint64_t submitted = 0;  ///< jobs accepted so far
  std::uint64_t completed = 0;  ///< jobs that have returned
  std::uint64_t failed = 0;     ///< jobs that have thrown, or ended by exit_goroutine
  std::uint64_t canceled = 0;   ///< jobs that cancel_pending() has taken out of the queue
};

namespace detail {

class PoolCore;

/// A job on its way: in the queue, or in the hands of who submits it. Dropped before it ran (its runtime was stopped), its
/// future gets system_error(errc::canceled), so that nobody waits for ever.
class QueuedJob {
 public:
  explicit QueuedJob(StateRef<Job> job) noexcept : job_(std::move(job)) {}
  QueuedJob(QueuedJob&&) noexcept = default;
  QueuedJob(const QueuedJob&) = delete;
  QueuedJob& operator=(const QueuedJob&) = delete;
  QueuedJob& operator=(QueuedJob&&) = delete;
  ~QueuedJob() {
    if (job_) cancel();
  }
  [[nodiscard]] StateRef<Job> take() noexcept { return std::exchange(job_, StateRef<Job>()); }

 private:
  void cancel() noexcept;
  StateRef<Job> job_;
};

}  // namespace detail

/// Jobs are functions; what they return or throw goes to the Future that submit() returns. A job is destroyed, with all it
/// captured, as soon as it has run or was cancelled, before its Future is ready. A job that ends by exit_goroutine has failed;
/// its worker goes on with the next one.
///
/// The workers belong to the runtime of whoever makes the pool (elsewhere the default one), which must outlive the pool: with
/// abandoned workers the destructor, like wait(), waits for ever. All calls are safe from any number
/// of goroutines and threads, but wait() and the destructor must not be called by a job: it would wait for itself. A job may
/// submit jobs; with all workers waiting for room in the queue nobody goes on (a deadlock, and reported as one).
/// Ordering: what happens before submit() happens before the job; the job happens before its Future is ready, and before the
/// return of the wait() that sees its end. Go: goroutines that range over a channel of jobs.
class WorkerPool {
 public:
  /// Starts the workers. Throws: as go(); std::bad_alloc.
  explicit WorkerPool(const WorkerPoolOptions& options);
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  /// close() unless it is closed, and wait(): queued jobs still run. (cancel_pending() first, for a quick end.)
  ~WorkerPool();

  /// Queues f. Blocks: while the queue is full (without a queue: until a worker takes f). Throws: Panic if the pool is closed,
  /// or is closed while it waits. Cost: one allocation, for job, result and waiters together.
  template <class F>
    requires detail::Spawnable<F>
  auto submit(F&& f) -> Future<detail::FutureResult<F>> {
    auto job = detail::make_function_state(bubble(), std::forward<F>(f));
    Future<detail::FutureResult<F>> future(job.second());
    send(std::move(job));
    return future;
  }
  /// The same unless ctx is done, or is done before there is room: nothing then, and f is untouched (if it was given as an
  /// rvalue and moving it cannot throw).
  template <class F>
    requires detail::Spawnable<F>
  auto submit(const Context& ctx, F&& f) -> std::optional<Future<detail::FutureResult<F>>> {
    return submit_if([&](detail::QueuedJob& job) { return send(ctx, job); }, std::forward<F>(f));
  }
  /// Queues f if there is room at once (without a queue: if a worker is waiting for a job); nothing otherwise, and f is
  /// untouched, as above. Never blocks. Throws: Panic if the pool is closed.
  template <class F>
    requires detail::Spawnable<F>
  auto try_submit(F&& f) -> std::optional<Future<detail::FutureResult<F>>> {
    return submit_if([&](detail::QueuedJob& job) { return try_send(job); }, std::forward<F>(f));
  }

  /// No more jobs: submit() throws, also in those who wait for room. Queued jobs still run; after the last one the workers end.
  /// Never blocks. Throws: Panic if it is closed already.
  void close();
  /// Blocks until no job is queued or running, nor waits for room; after close() until the workers have ended too. The pool
  /// may be destroyed as soon as it has returned.
  void wait();
  /// The same until ctx is done at the latest: whether it came to that. A context that is done already wins.
  bool wait(const Context& ctx);
  void close_and_wait() {
    close();
    wait();
  }

  /// Takes the jobs out of the queue that wait in it now, and destroys them: their futures get
  /// std::system_error(errc::canceled). Running jobs, and those who wait for room, are not touched; the pool stays open.
  void cancel_pending();

  [[nodiscard]] WorkerPoolStats stats() const;

 private:
  template <class Send, class F>
  auto submit_if(Send send_job, F&& f) -> std::optional<Future<detail::FutureResult<F>>> {
    auto job = detail::make_function_state(bubble(), std::forward<F>(f));
    detail::QueuedJob queued{detail::StateRef<detail::Job>(job.second())};
    if (send_job(queued)) return Future<detail::FutureResult<F>>(std::move(job));
    static_cast<void>(queued.take());
    using Stored = std::decay_t<F>;
    if constexpr (std::is_same_v<F, Stored> && std::is_nothrow_move_constructible_v<Stored>) job->give_back(f);
    return std::nullopt;
  }
  [[nodiscard]] std::uint32_t bubble() const noexcept;
  void send(detail::StateRef<detail::Job> job);
  bool send(const Context& ctx, detail::QueuedJob& job);
  bool try_send(detail::QueuedJob& job);

  detail::StateRef<detail::PoolCore> core_;  // shared with the workers: the last of them may be on its way out (HZ-5)
};

}  // namespace weft

#pragma once

// ErrGroup: goroutines that work on one thing together: the first that fails ends the others' context, and its error is
// what waiting for all of them results in.

#include <cstdint>
#include <exception>
#include <type_traits>
#include <utility>

#include "weft/context.hpp"
#include "weft/detail/group_task.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/spawn.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/go.hpp"
#include "weft/runtime.hpp"

namespace weft {

/// Exceptions are the errors. An exception that leaves a task does not end the process: the first one in time is kept,
/// becomes the cause with which context() is cancelled, and is rethrown by wait(); later ones are dropped. A task that ends
/// by exit_goroutine has finished without an error.
///
/// Safe from: any number of goroutines and threads, tasks of the group included; a task must not call wait().
/// Ordering: what a task did, destructors of its captures included, happens before the return of the wait() that sees its end.
/// Go: golang.org/x/sync/errgroup, where errors are returned and panics end the process.
class ErrGroup {
 public:
  /// Its context is derived from background().
  ErrGroup();
  /// Its context is derived from this one. Throws: Panic "cannot create context from nil parent".
  explicit ErrGroup(const Context& parent);
  ErrGroup(const ErrGroup&) = delete;
  ErrGroup& operator=(const ErrGroup&) = delete;
  /// Waits for all tasks; an error that wait() has not reported is dropped. If it is an exception that destroys the group,
  /// context() is cancelled first, so that tasks which heed it end soon.
  ~ErrGroup();

  /// Ends with the first error, which is its cause, or when wait() returns: after that it is of no use to new tasks.
  [[nodiscard]] Context context() const { return context_; }

  /// At most n tasks run at once; negative: any number. With 0 every go() blocks for ever.
  /// Throws: Panic "errgroup: modify limit while N goroutines in the group are still active".
  void set_limit(std::int64_t n);

  /// Starts f as a goroutine, once the limit allows. Callers that wait for a place get one in the order of their arrival. f is
  /// destroyed before the task counts as finished. From inside a task it works too, but if all places wait for places nobody
  /// goes on.
  /// Blocks: while as many tasks as the limit allows are running. Throws: as go(); Panic if goroutines of a bubble
  /// (weft::testing::run) and others use the group at the same time. Cost: that of go(), and two short locks.
  template <class F>
    requires detail::Spawnable<F>
  [[gnu::always_inline]] inline void go(F&& f) {
    static_cast<void>(start(Wanted::kWait, {}, nullptr, std::forward<F>(f)));
  }
  template <class F>
    requires detail::Spawnable<F>
  [[gnu::always_inline]] inline void go(const GoOptions& options, F&& f) {
    static_cast<void>(start(Wanted::kWait, {}, &options, std::forward<F>(f)));
  }
  /// The same unless ctx is done, or is done while it waits for a place: whether it was started. f is untouched if not.
  template <class F>
    requires detail::Spawnable<F>
  [[gnu::always_inline]] inline bool go(const Context& ctx, F&& f) {
    return !ctx.is_done() && start(Wanted::kWait, {.done = ctx.done_core()}, nullptr, std::forward<F>(f));
  }

  /// Starts f if the limit allows that at once: whether it did. f is untouched if not. Never blocks.
  template <class F>
    requires detail::Spawnable<F>
  [[nodiscard, gnu::always_inline]] inline bool try_go(F&& f) {
    return start(Wanted::kTry, {}, nullptr, std::forward<F>(f));
  }
  template <class F>
    requires detail::Spawnable<F>
  [[nodiscard, gnu::always_inline]] inline bool try_go(const GoOptions& options, F&& f) {
    return start(Wanted::kTry, {}, &options, std::forward<F>(f));
  }

  /// Blocks until no task is running, ends context(), and rethrows the first error if there was one: each time it is called,
  /// for the error sticks. All places are free then. The group may be destroyed as soon as it has returned or thrown.
  void wait();
  /// The same until ctx is done at the latest: whether no task was running. If not, context() has not ended, and nothing is
  /// thrown. A context that is done already wins.
  bool wait(const Context& ctx);

 private:
  enum class Wanted : std::uint8_t { kTry, kWait };

  template <class F>
  [[gnu::always_inline]] inline bool start(Wanted wanted, const detail::Limit& limit, const GoOptions* options, F&& f) {
    if (detail::is_nil_callable<std::decay_t<F>>(f)) detail::fatal("go of nil func value");
    if (!enter(wanted, limit)) return false;
    try {
      detail::spawn(nullptr, options, Member<std::decay_t<F>>(*this, std::forward<F>(f)));
    } catch (...) {
      leave();
      throw;
    }
    return true;
  }

  template <class F>
  class Member : public detail::GroupTask<ErrGroup, F> {
   public:
    using detail::GroupTask<ErrGroup, F>::GroupTask;
    void operator()() noexcept {
      try {
        static_cast<void>(detail::invoke(this->function()));
      } catch (const detail::GoroutineExit&) {
        // Finished: this goroutine has nothing more to do, so it ends as it was told to.
      } catch (...) {
        this->group().fail(std::current_exception());
      }
      this->end().leave();
    }
  };

  class PlaceWait;
  /// Takes a place. False: none was free (kTry), or the limit of the wait was reached.
  bool enter(Wanted wanted, const detail::Limit& limit);
  /// Gives a place back: to whoever waits for one, if anybody does.
  void leave() noexcept;
  void fail(std::exception_ptr error) noexcept;
  bool await_all(const detail::Limit& limit) noexcept;
  void report();
  [[nodiscard]] bool has_place() const noexcept { return limit_ < 0 || active_ < limit_; }

  detail::Spinlock lock_;
  std::int64_t limit_ = -1;       // guarded by lock_
  std::int64_t active_ = 0;       // guarded by lock_: places that are taken
  std::uint32_t bubble_ = 0;      // guarded by lock_: of those who took them; 0: none
  detail::WaitQueue want_place_;  // guarded by lock_
  detail::WaitQueue want_all_;    // guarded by lock_: wait for active_ to be 0
  std::exception_ptr error_;      // guarded by lock_ until it is set, constant after it
  Context context_;
  CancelFunc cancel_;
  const int exceptions_in_flight_;  // when it was made
};

}  // namespace weft

#pragma once

// WaitGroup: waits for a set of goroutines to finish.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weft/detail/group_task.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/spawn.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/runtime.hpp"
#include "weft/time.hpp"

namespace weft {

class Context;
namespace detail {
struct Limit;
}

/// A counter that goroutines and threads can wait on to reach zero. The zero value is ready to use; it may be used
/// again once every wait() has returned. It may be destroyed as soon as wait() has returned.
/// Ordering: what happens before done() happens before the return of the wait() that it releases.
/// Go: sync.WaitGroup.
class WaitGroup {
 public:
  WaitGroup() noexcept = default;
  WaitGroup(const WaitGroup&) = delete;
  WaitGroup& operator=(const WaitGroup&) = delete;

  /// Adds n, which may be negative; at zero all waiters are released. A positive add from zero must happen before
  /// wait(). Throws: Panic "sync: negative WaitGroup counter"; Panic "sync: WaitGroup misuse: ..." if it is detected
  /// that wait() runs already. Fatal: on a WaitGroup that was added to in another bubble (weft::testing::run).
  /// Cost: one atomic operation.
  void add(int n = 1);
  /// add(-1).
  void done() { add(-1); }

  /// Parks until the counter is zero; returns at once if it is.
  void wait();
  /// The same until ctx is done: true if the counter was zero; false also if ctx is done already.
  bool wait(const Context& ctx);
  /// The same for at most d: true if the counter was zero.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) {
    return wait_until_ns(detail::deadline_after(detail::saturated_ns(d)));
  }

  /// add(1), run f as a goroutine, done() when f returns or ends by exit_goroutine. An exception that leaves f ends the
  /// process with a report; wait() is not released by it. The WaitGroup must outlive the goroutine's use of it.
  /// Throws: as go(). Go: WaitGroup.Go.
  template <class F>
    requires detail::Spawnable<F>
  [[gnu::always_inline]] inline void go(F&& f) {
    go_impl(nullptr, std::forward<F>(f));
  }
  template <class F>
    requires detail::Spawnable<F>
  [[gnu::always_inline]] inline void go(const GoOptions& options, F&& f) {
    go_impl(&options, std::forward<F>(f));
  }

 private:
  template <class F>
  [[gnu::always_inline]] inline void go_impl(const GoOptions* options, F&& f) {
    if (detail::is_nil_callable<std::decay_t<F>>(f)) detail::fatal("go of nil func value");
    add(1);
    try {
      detail::spawn(nullptr, options, Member<std::decay_t<F>>(*this, std::forward<F>(f)));
    } catch (...) {
      done();
      throw;
    }
  }
  bool wait_until_ns(std::int64_t deadline_ns);
  bool wait_within(const detail::Limit& limit);
  void release_waiters() noexcept;
  void note_bubble() noexcept;

  template <class F>
  class Member : public detail::GroupTask<WaitGroup, F> {
   public:
    using detail::GroupTask<WaitGroup, F>::GroupTask;
    void operator()() {
      try {
        static_cast<void>(detail::invoke(this->function()));
      } catch (const detail::GoroutineExit&) {
        this->end().done();
        throw;
      }
      this->end().done();
    }
  };

  struct Wait;
  static const detail::WaitOps kWaitOps;

  // High 32 bits: the counter. Bit 0: locked. Bit 1: somebody waits (see wait_group.cpp).
  std::atomic<std::uint64_t> state_{0};
  detail::WaitQueue waiters_;             // guarded by bit 0 of state_
  std::atomic<std::uint32_t> bubble_{0};  // whose it is, from the first add() in a bubble to the wait() that sees zero
};

}  // namespace weft

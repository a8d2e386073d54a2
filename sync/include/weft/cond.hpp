#pragma once

// Cond: waiting until somebody says that something may have changed.

#include <chrono>
#include <cstdint>
#include <type_traits>

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/time.hpp"

namespace weft {

class Cond;
class Context;
namespace detail {
class ChanCore;
struct Limit;

template <class Lock>
concept BasicLockable = requires(Lock& lock) {
  lock.lock();
  lock.unlock();
};

template <class Predicate>
concept WaitPredicate = std::is_invocable_r_v<bool, Predicate&>;

/// A place in a Cond's queue, from before the user's lock is released until the wait has ended.
class CondWait : private WaitPoint {
 public:
  explicit CondWait(Cond& cond) noexcept;
  CondWait(const CondWait&) = delete;
  CondWait& operator=(const CondWait&) = delete;
  /// If wait() did not come to be called, a notification goes to the next one.
  ~CondWait();

  /// Parks until it is notified: true, or until the limit is reached: false. Called once.
  bool wait() noexcept;
  bool wait_until_ns(std::int64_t deadline_ns) noexcept;
  bool wait(ChanCore* done) noexcept;

 private:
  friend class weft::Cond;
  enum class State : std::uint8_t { kQueued, kTakenOff, kNotified };
  static const WaitOps kOps;
  bool wait_within(const Limit& limit) noexcept;
  bool leave() noexcept;
  void let_go() noexcept;
  void check_bubble() const noexcept;

  Cond& cond_;
  Waiter waiter_;
  Claim claim_;
  Spinlock lock_;                 // guards what follows; held over a park until the commit
  State state_ = State::kQueued;  // kTakenOff: by a notification that came after its limit
  bool is_parked_ = false;        // whoever notifies it has to ready it
  bool is_single_ = false;        // notified by notify_one
  CondWait* next_ = nullptr;      // of whoever notifies it and others
  bool is_done_ = false;          // the owner's: wait() was called
  const std::uint32_t bubble_;
};
}  // namespace detail

/// A queue of waiters for a change of something that a lock guards: any lock with lock() and unlock(), such as Mutex,
/// std::unique_lock<Mutex>, or an RWMutex's rlocker() (then several may be about to wait at once).
///
/// wait() is called with the lock held. It queues first, then unlocks, then parks; so a notification by whoever takes the
/// lock after that is not lost. It returns with the lock held again, and only because it was notified (no spurious
/// wake-ups); what it waits for may have passed by then all the same, so call it in a loop, or with a predicate. Waiters are
/// notified in the order in which they queued. A notification without a waiter is not remembered.
///
/// Cannot be copied (so Go's panic "sync.Cond is copied" cannot happen). Safe from: any number of goroutines and threads. It
/// may be destroyed when nobody waits, or when all who wait have been notified by notify_all, though they may not have
/// returned. Ordering: a notification happens before the return of the wait that it ends. In a bubble (weft::testing::run)
/// waiting is durable, and a notification of such a waiter from outside is fatal. Go: sync.Cond.
class Cond {
 public:
  Cond() noexcept = default;
  Cond(const Cond&) = delete;
  Cond& operator=(const Cond&) = delete;

  /// Blocks: until it is notified; then until it has the lock again. Throws: what the lock's functions throw.
  template <detail::BasicLockable Lock>
  void wait(Lock& lock) {
    detail::CondWait place(*this);
    lock.unlock();
    static_cast<void>(place.wait());
    lock.lock();
  }
  /// Until ready() is true, which is called with the lock held.
  template <detail::BasicLockable Lock, detail::WaitPredicate Predicate>
  void wait(Lock& lock, Predicate ready) {
    while (!ready()) wait(lock);
  }

  /// Blocks: until it is notified: true; or until ctx is done: false, and no notification was used up. If ctx is done already
  /// the lock is not released. Go has none of the forms with a limit.
  template <detail::BasicLockable Lock>
  [[nodiscard]] bool wait(const Context& ctx, Lock& lock) {
    if (is_done(ctx)) return false;
    detail::ChanCore* done = done_core(ctx);  // may throw, so before the lock is released
    detail::CondWait place(*this);
    lock.unlock();
    const bool is_notified = place.wait(done);
    lock.lock();
    return is_notified;
  }
  /// Until ready() is true or ctx is done. Returns what ready() said last.
  template <detail::BasicLockable Lock, detail::WaitPredicate Predicate>
  [[nodiscard]] bool wait(const Context& ctx, Lock& lock, Predicate ready) {
    while (!ready()) {
      if (!wait(ctx, lock)) return static_cast<bool>(ready());
    }
    return true;
  }

  /// Blocks: until it is notified: true; or for d: false, and no notification was used up. The lock is released in between
  /// even if d is not positive.
  template <detail::BasicLockable Lock, class Rep, class Period>
  bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> d) {
    return wait_until_ns(lock, detail::deadline_after(detail::saturated_ns(d)));
  }
  /// Until ready() is true, or for d. Returns what ready() said last.
  template <detail::BasicLockable Lock, class Rep, class Period, detail::WaitPredicate Predicate>
  bool wait_for(Lock& lock, std::chrono::duration<Rep, Period> d, Predicate ready) {
    const std::int64_t deadline_ns = detail::deadline_after(detail::saturated_ns(d));
    while (!ready()) {
      if (!wait_until_ns(lock, deadline_ns)) return static_cast<bool>(ready());
    }
    return true;
  }

  /// Ends the wait of the one that has waited longest. With or without the lock. Go: Signal.
  void notify_one() noexcept;
  /// Ends the wait of all that wait by now. Go: Broadcast.
  void notify_all() noexcept;

 private:
  friend class detail::CondWait;
  template <class Lock>
  bool wait_until_ns(Lock& lock, std::int64_t deadline_ns) {
    detail::CondWait place(*this);
    lock.unlock();
    const bool is_notified = place.wait_until_ns(deadline_ns);
    lock.lock();
    return is_notified;
  }
  static bool is_done(const Context& ctx) noexcept;
  static detail::ChanCore* done_core(const Context& ctx);
  void wake_first() noexcept;
  detail::CondWait* take_first(bool is_single) noexcept;

  detail::Spinlock lock_;
  detail::WaitQueue waiters_;  // guarded by lock_
};

}  // namespace weft

#pragma once

// Mutex: mutual exclusion for goroutines and threads.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "weft/detail/park.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/time.hpp"

namespace weft {

class Context;
class RWMutex;
namespace detail {
struct Limit;
}

/// A lock without owner: any goroutine or thread may unlock it. Not recursive. Meets TimedLockable's try_lock_for and
/// Lockable, so std::lock_guard, std::unique_lock and std::scoped_lock work. Fair under starvation: a waiter that
/// has waited for more than 1 ms gets the lock handed over.
/// Ordering: the n-th unlock happens before the (n+1)-th lock returns. It may be destroyed as soon as it is unlocked and
/// nobody is about to lock it. Go: sync.Mutex.
class Mutex {
 public:
  Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  /// Parks until the lock is free. Cost: one atomic operation when it is.
  void lock() noexcept {
    // acquire [mutex]: pairs with the release in unlock(). Whoever sets the bit has the mutex, whatever the others say (X5).
    if ((state_.fetch_or(kLocked, std::memory_order_acquire) & kLocked) != 0) return lock_slow();
    note_owner_if_asked();
  }
  /// Parks until the lock is free, or ctx is done: false, and it has not got the lock. A context that is done already wins.
  [[nodiscard]] bool lock(const Context& ctx);

  /// True if it took the lock. Never parks. False also while the lock is being handed to a starving waiter.
  [[nodiscard]] bool try_lock() noexcept;

  /// Parks for at most d.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> d) noexcept {
    const std::int64_t ns = detail::saturated_ns(d);
    return try_lock() || (ns > 0 && lock_until_ns(detail::deadline_after(ns)));
  }

  /// Unlock of an unlocked mutex is fatal: "sync: unlock of unlocked mutex". Cost: one atomic operation unless
  /// somebody is to be woken.
  void unlock() noexcept {
    Word expected = kLocked;
    // release [mutex]: publishes the critical section to the next lock().
    if (!state_.compare_exchange_strong(expected, 0, std::memory_order_release, std::memory_order_relaxed)) {
      unlock_slow();
    }
  }

 private:
  friend class RWMutex;
  using Word = std::uint16_t;
  void lock_slow() noexcept;
  bool lock_slow(const detail::Limit& limit) noexcept;
  bool lock_until_ns(std::int64_t deadline_ns) noexcept;
  void unlock_slow() noexcept;
  /// unlock() for who must not yield in the middle of something. True: it should yield soon, to a waiter that starves.
  bool release() noexcept {
    Word expected = kLocked;
    return !state_.compare_exchange_strong(expected, 0, std::memory_order_release, std::memory_order_relaxed) &&
           release_slow();
  }
  bool release_slow() noexcept;
  void note_owner_if_asked() noexcept {
    if (detail::tracks_lock_owners.load(std::memory_order_relaxed)) [[unlikely]]
      note_owner();
  }
  void note_owner() noexcept;
  bool acquire(Word& state, int next) noexcept;
  void lock_queue() noexcept;
  void unlock_queue() noexcept;
  [[nodiscard]] Word wake_bit() const noexcept;
  void pass_on_wake() noexcept;

  struct QueuedWaiter;
  struct Wait;
  static const detail::WaitOps kWaitOps;
  static constexpr Word kLocked = 1;    // held, or owned by a waiter that is being woken (starving hand-off)
  static constexpr Word kQueue = 2;     // spin bit: guards waiters_ and has_woken_
  static constexpr Word kWake = 4;      // somebody waits, and nobody is on the way: unlock wakes one (X4)
  static constexpr Word kStarving = 8;  // unlock hands over; newcomers queue
  static constexpr Word kOwned = 16;    // the holder has left its number in owner_

  std::atomic<Word> state_{0};
  bool has_woken_ = false;               // guarded by kQueue: a waiter was woken and is about to compete
  std::atomic<std::uint32_t> owner_{0};  // X6
  detail::WaitQueue waiters_;            // guarded by kQueue
};

}  // namespace weft

#pragma once

// RWMutex: one writer or many readers.

#include <atomic>
#include <chrono>
#include <cstdint>

#include "weft/detail/park.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/mutex.hpp"
#include "weft/time.hpp"

namespace weft {

class Context;
class RLocker;
namespace detail {
struct Limit;
}

/// A lock that any number of readers or one writer holds. No owner: anybody may unlock. Meets SharedLockable and Lockable:
/// std::shared_lock, std::unique_lock and std::scoped_lock work.
///
/// Phases alternate, so neither side starves: a writer that waits keeps later readers out, and when a writer leaves, all
/// readers that wait by then get in before the next writer. So a goroutine must not take it for reading twice (a writer
/// may come in between: all three wait for ever, unlike with many a std::shared_mutex), nor change from reading to writing
/// or back without unlocking.
///
/// Safe from: any number of goroutines and threads. It may be destroyed as soon as it is unlocked and nobody is about to
/// lock it. Ordering: a writer's unlock happens before later locks of both kinds return; a reader's unlock before the
/// return of the next writer's lock. Go: sync.RWMutex.
class RWMutex {
 public:
  RWMutex() noexcept = default;
  RWMutex(const RWMutex&) = delete;
  RWMutex& operator=(const RWMutex&) = delete;

  /// Blocks: until no writer and no reader holds it. Cost: two atomic operations when it is free.
  void lock() noexcept {
    writer_.lock();
    // acquire [rwmutex]: pairs with the releases of all unlocks.
    if (std::uint64_t free = 0;
        !state_.compare_exchange_strong(free, kSlow | kHeld, std::memory_order_acquire, std::memory_order_relaxed)) {
      lock_slow();
    }
  }
  /// The same, until ctx is done: false, and it has not got the lock. A context that is done already wins.
  [[nodiscard]] bool lock(const Context& ctx);
  /// True if it took the lock; false if a reader or writer holds it or a writer waits. Never parks.
  [[nodiscard]] bool try_lock() noexcept {
    if (!writer_.try_lock()) return false;
    std::uint64_t free = 0;
    if (state_.compare_exchange_strong(free, kSlow | kHeld, std::memory_order_acquire, std::memory_order_relaxed)) {
      return true;
    }
    writer_.unlock();
    return false;
  }
  /// Blocks: as lock(), for at most d. Readers that came after it get in when it gives up.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_for(std::chrono::duration<Rep, Period> d) noexcept {
    const std::int64_t ns = detail::saturated_ns(d);
    return try_lock() || (ns > 0 && lock_until_ns(detail::deadline_after(ns)));
  }
  /// Fatal if no writer holds it: "sync: Unlock of unlocked RWMutex". Cost: two atomic operations when nobody waits.
  void unlock() noexcept {
    // relaxed: whoever may call this has set it, or was told by whoever did.
    if ((state_.load(std::memory_order_relaxed) & kHeld) == 0) [[unlikely]]
      unlock_unlocked();
    const bool should_yield = writer_.release();  // first: the word must be the last that is touched (R7)
    std::uint64_t alone = kSlow | kHeld;
    // release [rwmutex]: publishes the critical section to the next lock of either kind.
    if (!state_.compare_exchange_strong(alone, 0, std::memory_order_release, std::memory_order_relaxed)) unlock_slow();
    if (should_yield) [[unlikely]]
      detail::yield_to_ready();
  }

  /// Blocks: while a writer holds it or has come first. Cost: one atomic operation when there is no writer.
  void lock_shared() noexcept {
    // acquire [rwmutex]: pairs with the release in unlock.
    if ((state_.fetch_add(kReader, std::memory_order_acquire) & kSlow) != 0) lock_shared_slow();
  }
  /// The same, until ctx is done: false, and it has not got the lock. A context that is done already wins.
  [[nodiscard]] bool lock_shared(const Context& ctx);
  /// True if it took the lock for reading; false only if a writer holds it or waits. Never parks.
  [[nodiscard]] bool try_lock_shared() noexcept;
  /// Blocks: as lock_shared(), for at most d.
  template <class Rep, class Period>
  [[nodiscard]] bool try_lock_shared_for(std::chrono::duration<Rep, Period> d) noexcept {
    const std::int64_t ns = detail::saturated_ns(d);
    return try_lock_shared() || (ns > 0 && lock_shared_until_ns(detail::deadline_after(ns)));
  }
  /// Fatal if no reader holds it: "sync: RUnlock of unlocked RWMutex". Cost: one atomic operation when no writer waits.
  void unlock_shared() noexcept {
    // release [rwmutex]: the reader is done before the next writer. The last access unless a writer has come.
    const std::uint64_t old = state_.fetch_sub(kReader, std::memory_order_release);
    if ((old & kSlow) != 0 || (old & kReaders) == 0) [[unlikely]]
      unlock_shared_slow(old);
  }

  /// The side of the readers as a lock of its own: its lock and unlock are lock_shared and unlock_shared. For whatever wants a
  /// lock: std::lock_guard, Cond. Go: RLocker.
  [[nodiscard]] RLocker rlocker() noexcept;

 private:
  struct Wait;
  struct WriterWait;
  struct ReaderWait;
  bool lock_until_ns(std::int64_t deadline_ns) noexcept;
  bool lock_shared_until_ns(std::int64_t deadline_ns) noexcept;
  void lock_slow() noexcept;
  bool lock_slow(const detail::Limit& limit) noexcept;
  void unlock_slow() noexcept;
  [[noreturn]] static void unlock_unlocked() noexcept;
  void lock_shared_slow() noexcept;
  bool lock_shared_slow(const detail::Limit& limit) noexcept;
  void unlock_shared_slow(std::uint64_t old) noexcept;
  std::uint64_t lock_queues() noexcept;
  void unlock_queues() noexcept;
  void next_phase(bool is_writers_turn) noexcept;
  bool let_writer_in() noexcept;
  bool let_readers_in() noexcept;
  void writer_left(bool was_first) noexcept;
  detail::WakeList admit_queued(std::uint32_t& count) noexcept;

  static constexpr std::uint64_t kReader = 1;
  static constexpr std::uint64_t kReaders = 0xffff'ffff;    // readers inside, and those who wait or are about to
  static constexpr std::uint64_t kLock = 1ULL << 32;        // spin bit: guards everything below
  static constexpr std::uint64_t kSlow = 1ULL << 33;        // readers go through kLock: a writer holds or waits, or did
  static constexpr std::uint64_t kHeld = 1ULL << 34;        // a writer has it
  static constexpr std::uint64_t kHasWriters = 1ULL << 35;  // writers_ is not empty

  Mutex writer_;  // held by the one writer who holds or waits for the rest; the others wait for this (R9)
  std::atomic<std::uint64_t> state_{0};
  detail::WaitQueue readers_;  // guarded by kLock
  detail::WaitQueue writers_;  // guarded by kLock; the first one is the one that keeps readers out
  std::uint32_t inside_ = 0;   // guarded by kLock; while kSlow is set: readers who have got in and not left
  std::uint32_t passes_ = 0;   // guarded by kLock; of the readers who have got in, those who do not know it yet
};

/// The readers' side of an RWMutex as a lock; see RWMutex::rlocker(). Cheap to copy.
class RLocker {
 public:
  void lock() const noexcept { mutex_->lock_shared(); }
  [[nodiscard]] bool try_lock() const noexcept { return mutex_->try_lock_shared(); }
  void unlock() const noexcept { mutex_->unlock_shared(); }

 private:
  friend class RWMutex;
  explicit RLocker(RWMutex& mutex) noexcept : mutex_(&mutex) {}
  RWMutex* mutex_;
};

inline RLocker RWMutex::rlocker() noexcept { return RLocker(*this); }

}  // namespace weft

#pragma once

// A lock for critical sections of a few dozen instructions in which nobody parks and no user code runs (moves of a
// channel's element excepted). It may be released on another stack than the one that it was taken on: a park's commit does that.

#include <atomic>

#include "weft/detail/platform.hpp"

namespace weft::detail {

/// Waits out somebody's few instructions, even if that thread has been preempted meanwhile.
class Backoff {
 public:
  void pause() noexcept {
    if (++rounds_ % kSpins != 0) {
      cpu_pause();
    } else {
      give_up_cpu();
    }
  }

 private:
  static constexpr int kSpins = 100;
  static void give_up_cpu() noexcept;
  int rounds_ = 0;
};

class Spinlock {
 public:
  Spinlock() noexcept = default;
  Spinlock(const Spinlock&) = delete;
  Spinlock& operator=(const Spinlock&) = delete;

  /// True: somebody else had it.
  bool lock() noexcept {
    // acquire [spinlock]: pairs with the release in unlock().
    if (!locked_.exchange(true, std::memory_order_acquire)) [[likely]]
      return false;
    lock_slow();
    return true;
  }

  bool try_lock() noexcept {
    // relaxed: hint; the exchange decides.
    return !locked_.load(std::memory_order_relaxed) && !locked_.exchange(true, std::memory_order_acquire);
  }

  /// For reports.
  [[nodiscard]] bool is_locked() const noexcept { return locked_.load(std::memory_order_relaxed); }  // a snapshot

  void unlock() noexcept {
    // release [spinlock]: publishes the critical section to the next acquire in lock().
    locked_.store(false, std::memory_order_release);
  }

 private:
  void lock_slow() noexcept;  // spins, then gives the CPU away: the holder may have been preempted

  std::atomic<bool> locked_{false};
};

/// std::lock_guard without <mutex>.
template <class Lock>
class SpinGuard {
 public:
  explicit SpinGuard(Lock& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~SpinGuard() { lock_.unlock(); }
  SpinGuard(const SpinGuard&) = delete;
  SpinGuard& operator=(const SpinGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace weft::detail

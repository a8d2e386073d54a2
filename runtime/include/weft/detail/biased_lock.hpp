#pragma once

// A Spinlock that costs no locked instruction while one worker takes it again and again: the lock of a channel whose goroutines run
// on one processor, which is the usual thing. Taken and released on the same thread, which a park's commit is on too (park.hpp).
//
// After a thousand acquisitions that were the same worker's, as far as samples tell, the lock is biased to that worker: it enters
// by a store and a look. Whoever else wants the lock takes the spinlock in it, and revokes the bias by a membarrier, some
// microseconds; each revocation doubles how many acquisitions it takes to be biased anew, so that these cost next to nothing.
//   BL1 bias_ is written by who holds spin_ only. Who holds spin_ and has seen bias_ 0, or revoked it, has the lock.
//   BL2 The favoured worker enters by B1-B3, and has the lock if B3 still sees its number. Another one revokes by R1-R3. By the
//       barrier pair (barrier.hpp) either B3 sees R1, and the worker leaves again; or R3 sees B1 or something later: if it says
//       "not inside", that is the end of that hold or of an attempt that was given up.
//   BL3 How it is held, is_biased_hold_, is written by its holder, and read by it to unlock.
//   BL4 What a biased holder did is published by is_inside_ (release), which R3 acquires; what another holder did before the bias
//       was set, by the unlock of spin_, and the favoured worker itself has had it since, when it set the bias.
//   BL5 is_inside_ is written by the favoured worker, and by one that was: it may be anywhere between its look at bias_ and B3 when the
//       favour is revoked, and find out an hour later. So the favour goes to another worker only after the former one has been
//       seen to take the lock like anybody, which it does not do in the middle of an entry (is_awaited_). If it never comes, there
//       is no other favourite.
//   BL6 Numbers of workers that are gone are given to new ones, under a lock: what the old one did happened before.
// Nobody is favoured where there is no membarrier.

#include <atomic>
#include <cstdint>

#include "weft/detail/caller.hpp"
#include "weft/detail/spinlock.hpp"

namespace weft::detail {

/// For a worker. Given back when its thread has ended.
LockUser take_lock_user() noexcept;
void give_back_lock_user(LockUser user) noexcept;
/// In a forked child, whose parent's numbers stay taken.
void forget_lock_users_lock() noexcept;
/// The calling thread: not to be kept over a switch.
LockUser current_lock_user() noexcept;

class BiasedLock {
 public:
  BiasedLock() noexcept = default;
  BiasedLock(const BiasedLock&) = delete;
  BiasedLock& operator=(const BiasedLock&) = delete;

  /// True: somebody who was not favoured had it. `me`: current_lock_user().
  bool lock(LockUser me) noexcept { return lock_as_favourite(me) ? false : lock_as_anybody(); }
  /// Without a call. False: nothing has been done, lock() it is.
  [[nodiscard]] bool lock_quickly(LockUser me) noexcept {
    if (lock_as_favourite(me)) return true;
    if (!spin_.try_lock()) return false;
    if (bias_.load(std::memory_order_relaxed) != kNobody || (uses_ + 1) % kSample == 0) [[unlikely]] {
      spin_.unlock();
      return false;
    }
    is_biased_hold_ = false;
    ++uses_;
    return true;
  }
  bool lock() noexcept {
    return bias_.load(std::memory_order_relaxed) == kNobody ? lock_as_anybody() : lock(current_lock_user());
  }

  void unlock() noexcept {
    if (is_biased_hold_) {
      is_inside_.store(false, std::memory_order_release);  // release [bias.inside]: pairs with R3
    } else {
      spin_.unlock();
    }
  }

  /// For reports: a snapshot.
  [[nodiscard]] bool is_locked() const noexcept {
    return spin_.is_locked() || is_inside_.load(std::memory_order_relaxed);
  }
  /// For tests: a snapshot.
  [[nodiscard]] bool is_biased() const noexcept { return bias_.load(std::memory_order_relaxed) != kNobody; }

 private:
  static constexpr LockUser kNobody = 0;
  static constexpr unsigned kSample = 32;          // looks at who takes it, once in so many acquisitions
  static constexpr unsigned kFirstStreak = 1'024;  // acquisitions
  static constexpr unsigned kMostDoublings = 5;    // of that; 16 bits must do

  bool lock_as_favourite(LockUser me) noexcept {
    if (bias_.load(std::memory_order_relaxed) != me) return false;  // relaxed: a hint, B3 decides
    is_inside_.store(true, std::memory_order_relaxed);              // B1
    std::atomic_signal_fence(std::memory_order_seq_cst);            // B2: light_barrier, as there is a membarrier
    if (bias_.load(std::memory_order_acquire) == me) [[likely]] {   // B3
      is_biased_hold_ = true;
      return true;
    }
    is_inside_.store(false, std::memory_order_release);
    return false;
  }
  bool lock_as_anybody() noexcept {
    const bool has_waited = spin_.lock();
    if (bias_.load(std::memory_order_relaxed) != kNobody) [[unlikely]]  // BL1
      revoke();
    is_biased_hold_ = false;
    if (++uses_ % kSample == 0) [[unlikely]]
      sample();
    return has_waited;
  }
  void revoke() noexcept;
  void sample() noexcept;

  Spinlock spin_;
  std::atomic<bool> is_inside_{false};   // written by the favoured worker
  std::atomic<LockUser> bias_{kNobody};  // the favoured worker
  // Guarded by the lock.
  LockUser user_ = kNobody;  // whom samples have seen last
  std::uint16_t uses_ = 0;   // since samples have seen nobody else
  std::uint8_t doublings_ : 7 = 0;
  bool is_awaited_ : 1 = false;  // user_ was the favourite: nobody else is until it has been here
  bool is_biased_hold_ = false;
};

}  // namespace weft::detail

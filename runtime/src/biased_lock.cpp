#include "weft/detail/biased_lock.hpp"

#include <bitset>
#include <memory>

#include "barrier.hpp"
#include "forked.hpp"
#include "thread_count.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr LockUser kMostUsers = 1024;  // further workers are not favoured

Spinlock users_lock;
constinit std::bitset<kMostUsers> is_taken;  // guarded by users_lock; number 0 is nobody

}  // namespace

LockUser take_lock_user() noexcept {
  const SpinGuard guard(users_lock);
  for (LockUser user = 1; user < kMostUsers; ++user) {
    if (is_taken[user]) continue;
    is_taken[user] = true;
    return user;
  }
  return kNeverFavoured;
}

void give_back_lock_user(LockUser user) noexcept {
  if (user == kNeverFavoured) return;
  const SpinGuard guard(users_lock);
  is_taken[user] = false;
}

void forget_lock_users_lock() noexcept { std::construct_at(&users_lock); }

void BiasedLock::revoke() noexcept {
  bias_.store(kNobody, std::memory_order_relaxed);  // R1; ordered by R2
  heavy_barrier();                                  // R2
  Backoff backoff;
  std::uint32_t rounds = 0;
  while (is_inside_.load(std::memory_order_acquire)) {  // R3: acquire [bias.inside]
    backoff.pause();
    // As in Spinlock::lock_slow.
    if (++rounds % (1U << 20U) == 0 && is_forked_child() && count_threads() == 1)
      die_after_fork("an internal lock was held when the process was forked");
  }
  is_awaited_ = true;  // user_, who has been the favourite
  uses_ = 1;
  if (doublings_ < kMostDoublings) doublings_ = (doublings_ + 1U) & 0x7fU;
}

void BiasedLock::sample() noexcept {
  const LockUser me = current_lock_user();
  if (!has_membarrier) return;
  if (user_ != me) {
    if (!is_awaited_ && me != kNeverFavoured) user_ = me;
    uses_ = 1;  // odd: whoever takes turns with another one is not seen alone
    return;
  }
  is_awaited_ = false;
  if (uses_ >= kFirstStreak << doublings_) {
    bias_.store(me, std::memory_order_relaxed);  // BL1: published by the unlock of spin_
  }
}

}  // namespace weft::detail

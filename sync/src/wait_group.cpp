// One word holds counter, lock bit and waiters bit, so that the add() that reaches zero without waiters is a single atomic
// operation after which the object is not touched.
//
// W1 Bit 0 (kLock) guards waiters_. It is a spin bit, held for a few instructions, and over a park until the commit.
// W2 kWaiters is set under kLock, together with the observation that the counter is not zero.
// W3 The add() that brings the counter to zero with kWaiters set takes kLock, takes all waiters off, and clears both bits
//    in one store: its last access. wait() does not return while the counter is zero and either bit is set. So nobody can
//    destroy the object under that add() (HZ-5); the waiters it took off do not touch the object when they wake.

#include "weft/wait_group.hpp"

#include "weft/context.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft {
namespace {

using detail::Claim;
using detail::Waiter;

constexpr std::uint64_t kLock = 1;
constexpr std::uint64_t kWaiters = 2;
constexpr int kCounterShift = 32;

std::int32_t counter_of(std::uint64_t state) noexcept { return static_cast<std::int32_t>(state >> kCounterShift); }

}  // namespace

struct WaitGroup::Wait : detail::WaitPoint {
  WaitGroup* group;
  Waiter waiter;

  void lock() const noexcept {
    detail::Backoff backoff;
    // acquire [wg.lock]: pairs with the releases of whoever clears the bit.
    while ((group->state_.fetch_or(kLock, std::memory_order_acquire) & kLock) != 0) backoff.pause();
  }

  /// Off the queue. False: somebody has taken it off already.
  bool withdraw() noexcept {
    lock();
    const bool removed = group->waiters_.remove(waiter);
    const bool is_empty = group->waiters_.empty();
    std::uint64_t state = group->state_.load(std::memory_order_relaxed);
    std::uint64_t next = 0;
    do {
      // With the counter at zero the add() that brought it there is about to come for kWaiters, which keeps wait() from
      // returning until then (W3).
      const bool is_last = is_empty && counter_of(state) != 0;
      next = state & ~(is_last ? kLock | kWaiters : kLock);
    } while (!group->state_.compare_exchange_weak(state, next, std::memory_order_release, std::memory_order_relaxed));
    return removed;
  }
};

const detail::WaitOps WaitGroup::kWaitOps{
    // release [wg.lock]: the waiter is queued.
    [](detail::WaitPoint& point) noexcept {
      static_cast<Wait&>(point).group->state_.fetch_and(~kLock, std::memory_order_release);
    },
    [](detail::WaitPoint& point) noexcept { return static_cast<Wait&>(point).withdraw(); },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<Wait&>(point);
      if (!wait.waiter.is_ok) static_cast<void>(wait.withdraw());  // timed out or cancelled: it may still be queued
    },
};

/// The first add() in a bubble makes the WaitGroup the bubble's: then waiting for it is durable. Before the counter is
/// touched: after that the object may be gone.
void WaitGroup::note_bubble() noexcept {
  const std::uint32_t mine = detail::current_bubble();
  const std::uint32_t owner = bubble_.load(std::memory_order_relaxed);  // a misuse is found on a best effort
  if (owner == mine) return;
  if (owner != 0) {
    detail::fatal(mine == 0 ? "sync: WaitGroup.Add called from inside and outside synctest bubble"
                            : "sync: WaitGroup.Add called from multiple synctest bubbles");
  }
  if (counter_of(state_.load(std::memory_order_relaxed)) == 0) bubble_.store(mine, std::memory_order_relaxed);
}

void WaitGroup::add(int n) {
  // relaxed: see current_bubble(). A bubble that has ended still owns what it left in use.
  if (detail::bubble_count.load(std::memory_order_relaxed) != 0 || bubble_.load(std::memory_order_relaxed) != 0)
      [[unlikely]]
    note_bubble();
  const auto delta = static_cast<std::uint64_t>(static_cast<std::int64_t>(n)) << kCounterShift;
  // acq_rel [wg.count]: what happened before each done() is visible to whoever sees zero.
  const std::uint64_t old = state_.fetch_add(delta, std::memory_order_acq_rel);
  const std::int32_t before = counter_of(old);
  const std::int32_t after = counter_of(old + delta);
  if (after < 0) detail::throw_panic("sync: negative WaitGroup counter");
  if ((old & kWaiters) == 0) return;  // the last access
  if (before == 0 && n > 0) detail::throw_panic("sync: WaitGroup misuse: Add called concurrently with Wait");
  if (after == 0) release_waiters();
}

void WaitGroup::release_waiters() noexcept {
  detail::Backoff backoff;
  while ((state_.fetch_or(kLock, std::memory_order_acquire) & kLock) != 0) backoff.pause();
  detail::WakeList woken;
  while (Waiter* waiter = waiters_.claim_front()) {
    waiter->is_ok = true;
    woken.add(*waiter);
  }
  bubble_.store(0, std::memory_order_relaxed);
  // release [wg.count]: the last access (W3).
  state_.fetch_and(~(kLock | kWaiters), std::memory_order_release);
  woken.ready_all();
}

void WaitGroup::wait() { static_cast<void>(wait_within({})); }

bool WaitGroup::wait_until_ns(std::int64_t deadline_ns) { return wait_within({.deadline_ns = deadline_ns}); }

bool WaitGroup::wait(const Context& ctx) { return !ctx.is_done() && wait_within({.done = ctx.done_core()}); }

bool WaitGroup::wait_within(const detail::Limit& limit) {
  detail::chaos_point();
  detail::Backoff backoff;
  // acquire [wg.count]: zero is seen with all that happened before the done() calls.
  std::uint64_t state = state_.load(std::memory_order_acquire);
  for (;;) {
    if (counter_of(state) == 0 && (state & (kLock | kWaiters)) == 0) {
      bubble_.store(0, std::memory_order_relaxed);
      return true;
    }
    if (counter_of(state) == 0 || (state & kLock) != 0) {
      backoff.pause();  // W3: an add() is on its way out
      state = state_.load(std::memory_order_acquire);
      continue;
    }
    if (limit.has_passed()) return false;
    if (state_.compare_exchange_weak(state, state | kLock | kWaiters, std::memory_order_acquire)) break;
  }
  detail::Sleeper self;
  Claim claim;
  Wait wait;
  wait.ops = &kWaitOps;
  wait.reason = detail::WaitReason::kWaitGroupWait;
  const std::uint32_t owner = bubble_.load(std::memory_order_relaxed);  // guarded by kLock, or a misuse
  wait.is_durable = owner != 0 && owner == detail::current_bubble();
  wait.group = this;
  wait.waiter.sleeper = self.handle();
  wait.waiter.claim = limit.is_none() ? nullptr : &claim;
  waiters_.push_back(wait.waiter);
  detail::LimitedPark limited(limit, claim);
  if (limited.park(self, wait) == detail::WaitEnd::kWoken) return true;
  static_cast<void>(wait.withdraw());
  return false;
}

}  // namespace weft

// Policy: normal and starving, as Go's. Normal: an unlock wakes the waiter that has waited longest, which then competes
// with whoever comes along; a waiter that loses queues again in front. A waiter that has waited for more than 1 ms and lost
// again makes the mutex starve: then an unlock hands it over, and newcomers queue, until the queue is short.
//
// X1 waiters_ and has_woken_ are guarded by kQueue, a spin bit; it is held over a park until the commit.
// X2 A locker queues only in the same compare-and-swap that sees the mutex held and takes kQueue: so the holder's unlock finds
//    state_ other than kLocked, takes the slow way, waits for kQueue, and sees the waiter.
// X3 release_slow() takes a waiter off while the mutex is still held, and gives mutex and queue free in one store, its last
//    access to the object: somebody may lock, unlock and destroy it right after (HZ-5). Nobody else writes state_ meanwhile:
//    queueing needs kQueue, locking needs the mutex free. The same holds for a woken waiter that takes mutex and queue.
// X4 With has_woken_ one waiter is on its way and will either take the mutex, queue again, or pass_on_wake(); each of these
//    clears it, under kQueue. Until then unlock need not wake another, whoever waits: so it is not told. Outside of kQueue,
//    kWake is set exactly when somebody waits and has_woken_ is not set. (A mutex that many want is unlocked by one swap that
//    way, as a free one is: mutex_8 32 -> 17 ns.)
// X5 kStarving is never set without kLocked: it is set in a swap that sees the mutex held, and while it is set an unlock
//    either hands the mutex over, locked, or clears both. So a mutex is free when kLocked is clear, and the quick lock()
//    may set that bit blindly: on a mutex that is held it changes nothing, not even under the store of X3.
// X6 Who holds it, for reports, if somebody has asked for it (tracks_lock_owners): the holder writes the low half of its number
//    into owner_ and then sets kOwned. With kOwned an unlock takes the slow way, which writes 0 before it gives the mutex free
//    or hands it over. So whoever reads a number there while that goroutine rests knows that it holds the mutex now: it
//    has written it, and all that it did since is visible, so it has not unlocked (unless somebody else is just doing it in
//    its place, which is legal, but rare). 0 says nothing. Unless asked for it costs lock() one load, and unlock() nothing. kOwned
//    is set by the holder only, and not after its unlock: so not under the stores of X3 either.

#include "weft/mutex.hpp"

#include "weft/context.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"

namespace weft {
namespace {

constexpr std::int64_t kStarvingNs = 1'000'000;
constexpr int kSpinRounds = 4;
constexpr int kSpinPauses = 30;

}  // namespace

/// A waiter that remembers when it first queued.
struct Mutex::QueuedWaiter : detail::Waiter {
  std::int64_t since_ns = 0;
};

struct Mutex::Wait : detail::WaitPoint {
  Mutex* mutex;
  QueuedWaiter waiter;

  bool withdraw() noexcept {
    mutex->lock_queue();
    const bool removed = mutex->waiters_.remove(waiter);
    if (mutex->waiters_.empty()) mutex->state_.fetch_and(static_cast<Word>(~kStarving), std::memory_order_relaxed);
    mutex->unlock_queue();
    return removed;
  }
};

const detail::WaitOps Mutex::kWaitOps{
    [](detail::WaitPoint& point) noexcept { static_cast<Wait&>(point).mutex->unlock_queue(); },
    [](detail::WaitPoint& point) noexcept { return static_cast<Wait&>(point).withdraw(); },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<Wait&>(point);
      const detail::Claim* claim = wait.waiter.claim;
      if (claim != nullptr && claim->winner() != wait.waiter.claim_id) {
        static_cast<void>(wait.withdraw());
      } else if (wait.waiter.is_ok) {
        wait.mutex->unlock();  // it owned the mutex
      } else {
        wait.mutex->pass_on_wake();
      }
    },
    [](const detail::WaitPoint& point, detail::WaitTargets& out) noexcept {
      const Mutex* mutex = static_cast<const Wait&>(point).mutex;
      out.add_lock(mutex, mutex->owner_.load(std::memory_order_relaxed));  // X6
    },
};

void Mutex::note_owner() noexcept {
  owner_.store(static_cast<std::uint32_t>(this_goroutine::id()), std::memory_order_relaxed);  // X6
  state_.fetch_or(kOwned, std::memory_order_relaxed);
}

/// Acquires what the new bits are locks of.
bool Mutex::acquire(Word& state, int next) noexcept {
  return state_.compare_exchange_weak(state, static_cast<Word>(next), std::memory_order_acquire,
                                      std::memory_order_relaxed);
}

void Mutex::lock_queue() noexcept {
  detail::Backoff backoff;
  // acquire [mutex.queue]: pairs with the releases of whoever clears the bit.
  while ((state_.fetch_or(kQueue, std::memory_order_acquire) & kQueue) != 0) backoff.pause();
}

/// kWake as X4 wants it.
Mutex::Word Mutex::wake_bit() const noexcept { return has_woken_ || waiters_.empty() ? 0 : kWake; }

/// The last access to the object. Meanwhile others may set bits that are not kQueue's.
void Mutex::unlock_queue() noexcept {
  const int was = state_.load(std::memory_order_relaxed) & kWake;  // guarded by kQueue
  // release [mutex.queue]
  state_.fetch_add(static_cast<Word>(wake_bit() - was - kQueue), std::memory_order_release);
}

bool Mutex::try_lock() noexcept {
  Word state = state_.load(std::memory_order_relaxed);  // re-checked by the swap
  while ((state & (kLocked | kStarving)) == 0) {
    // acquire [mutex]: as in lock().
    if (!acquire(state, state | kLocked)) continue;
    note_owner_if_asked();
    return true;
  }
  return false;
}

void Mutex::lock_slow() noexcept { static_cast<void>(lock_slow(detail::Limit{})); }

bool Mutex::lock_until_ns(std::int64_t deadline_ns) noexcept { return lock_slow({.deadline_ns = deadline_ns}); }

bool Mutex::lock(const Context& ctx) {
  if (ctx.is_done()) return false;
  return try_lock() || lock_slow({.done = ctx.done_core()});
}

bool Mutex::lock_slow(const detail::Limit& limit) noexcept {
  detail::chaos_point();
  detail::Backoff backoff;
  std::int64_t since_ns = 0;  // 0: has not waited yet
  bool is_woken = false;      // it is for this call that has_woken_ is set
  bool is_starving = false;
  int spins = detail::spinning_helps() ? kSpinRounds : 0;
  Word state = state_.load(std::memory_order_relaxed);  // re-checked by each swap
  for (;;) {
    const bool is_free = (state & (kLocked | kStarving)) == 0;
    if (is_free && !is_woken) {
      // acquire [mutex]: pairs with the release in unlock.
      if (!acquire(state, state | kLocked)) continue;
      note_owner_if_asked();
      return true;
    }
    if (!is_free && spins > 0 && (state & kStarving) == 0) {
      --spins;
      for (int i = 0; i < kSpinPauses; ++i) detail::cpu_pause();
      state = state_.load(std::memory_order_relaxed);
      continue;
    }
    if ((state & kQueue) != 0) {
      backoff.pause();
      state = state_.load(std::memory_order_relaxed);
      continue;
    }
    if (is_free) {
      // acquire [mutex], [mutex.queue]
      if (!acquire(state, state | kLocked | kQueue)) continue;
      has_woken_ = false;
      state_.store(kLocked | wake_bit(), std::memory_order_release);  // release [mutex.queue]: X3
      note_owner_if_asked();
      return true;
    }
    const std::int64_t now = detail::now_ns();
    if (limit.has_passed()) {
      if (is_woken) pass_on_wake();
      return false;
    }
    // acquire [mutex.queue]
    if (!acquire(state, state | kQueue | (is_starving ? kStarving : 0))) continue;
    if (is_woken) has_woken_ = false;
    is_woken = false;

    detail::Sleeper self;
    detail::Claim claim;
    Wait wait;
    wait.ops = &kWaitOps;
    wait.reason = detail::WaitReason::kMutexLock;
    wait.mutex = this;
    wait.waiter.sleeper = self.handle();
    wait.waiter.claim = limit.is_none() ? nullptr : &claim;
    if (since_ns == 0) {
      since_ns = now;
      waiters_.push_back(wait.waiter);
    } else {
      waiters_.push_front(wait.waiter);
    }
    wait.waiter.since_ns = since_ns;
    detail::LimitedPark limited(limit, claim);
    if (limited.park(self, wait) != detail::WaitEnd::kWoken) {
      static_cast<void>(wait.withdraw());
      return false;
    }
    if (wait.waiter.is_ok) {  // handed over
      note_owner_if_asked();
      return true;
    }
    is_woken = true;
    is_starving = is_starving || detail::now_ns() - since_ns > kStarvingNs;
    state = state_.load(std::memory_order_relaxed);
  }
}

/// In the place of a woken waiter that will not compete (X4).
void Mutex::pass_on_wake() noexcept {
  detail::Backoff backoff;
  Word state = state_.load(std::memory_order_relaxed);  // re-checked by the swap
  for (;;) {
    if ((state & kQueue) != 0) {
      backoff.pause();
      state = state_.load(std::memory_order_relaxed);
      continue;
    }
    // acquire [mutex], [mutex.queue]: a mutex that is free is taken, for its unlock wakes the next one.
    if (acquire(state, state | kQueue | kLocked)) break;
  }
  has_woken_ = false;
  if ((state & kLocked) != 0) return unlock_queue();
  state_.store(kLocked | wake_bit(), std::memory_order_release);  // release [mutex.queue]: X3
  unlock();
}

void Mutex::unlock_slow() noexcept {
  if (release_slow()) detail::yield_to_ready();  // it has waited long enough
}

/// True: a starving waiter has been handed the mutex, and should run now.
bool Mutex::release_slow() noexcept {
  detail::Backoff backoff;
  Word state = state_.load(std::memory_order_relaxed);  // re-checked by the swap
  for (;;) {
    if ((state & kLocked) == 0) detail::fatal("sync: unlock of unlocked mutex");
    if ((state & kQueue) != 0) {
      backoff.pause();
      state = state_.load(std::memory_order_relaxed);
      continue;
    }
    if ((state & kOwned) != 0) owner_.store(0, std::memory_order_relaxed);  // X6
    const bool needs_waiter = (state & (kStarving | kWake)) != 0;
    const int next = (needs_waiter ? state | kQueue : state & ~kLocked) & ~kOwned;
    // acq_rel: release [mutex] when this gives it free; acquire [mutex.queue] when it takes the queue.
    if (!state_.compare_exchange_weak(state, static_cast<Word>(next), std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
      continue;
    }
    if (!needs_waiter) return false;
    break;
  }
  auto* waiter = static_cast<QueuedWaiter*>(waiters_.claim_front());
  if (waiter == nullptr) {
    state_.store(0, std::memory_order_release);  // X3
    return false;
  }
  const detail::SleeperHandle sleeper = waiter->sleeper;
  if ((state & kStarving) == 0) {
    waiter->is_ok = false;
    has_woken_ = true;
    state_.store(0, std::memory_order_release);  // X3
    detail::ready(sleeper);
    return false;
  }
  // Hand it over: it stays locked, and the waiter owns it.
  const bool is_over = waiters_.empty() || detail::now_ns() - waiter->since_ns < kStarvingNs;
  waiter->is_ok = true;
  state_.store(kLocked | (is_over ? 0 : kStarving) | wake_bit(), std::memory_order_release);  // X3
  detail::ready(sleeper);
  return true;
}

}  // namespace weft

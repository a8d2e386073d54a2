// Go's idea: readers count themselves in one word, which also says whether a writer is there, so that without a writer a
// reader costs one atomic addition each way. Unlike Go's, everything else is under a spin bit of the same word, for a waiter
// may give up, and an RWMutex may be destroyed by whoever has locked and unlocked it last.
//
// R1 kLock guards everything but the word. It is held for a few instructions, and over a park until the commit. Readers add
//    and subtract themselves without it; all else in the word changes under it, except that a writer takes and gives back a
//    lock nobody else is at (0 <-> kSlow | kHeld) in one swap.
// R2 Who adds himself while kSlow is clear is inside. While it is set, inside_ is exactly the number of readers who have got
//    in and not left: it starts as the number counted in the word when kSlow was set, and changes under kLock only.
// R3 A reader who leaves while kSlow is set subtracts himself from the word first and from inside_ second. Between the two he
//    still counts in inside_, so no writer gets in and kSlow stays: his access to kLock is safe (HZ-5).
// R4 A reader who has added himself while kSlow was set, and has not come for kLock yet, may be let in meanwhile, by number:
//    passes_ counts those. He takes a pass if there is one; it may have been another's, who then waits in his place.
//    With kSlow clear there is a pass for every such reader. With inside_ == 0 there is none (each counts in inside_).
// R5 A writer sets kSlow, which keeps readers out, and waits for inside_ == 0 at the head of writers_. kSlow stays set from
//    writer to writer, and is cleared when nobody is inside and no writer waits.
// R6 When a writer leaves, all readers counted in the word are let in, and only then comes the next writer's turn: it waits
//    for them. Readers who come later wait behind it. A writer who gives up in front of the queue has had a phase of length
//    zero: the readers in the queue get in. If no other writer waits then, kSlow stays (the word does not tell who is inside
//    from who is about to be) until the last reader has left; meanwhile readers get in through kLock.
// R7 Every path gives the lock or kLock free in one operation on the word, and that is its last access to the object; then
//    it readies those it has let in, through their own frames (HZ-5).
// R8 A reader who is let in after his limit has claimed him counts as inside nevertheless, and unlocks when he finds out.
// R9 writer_ is held by at most one writer, from before he sets kSlow until right before he gives the word free: so writers_
//    has one member at most. The others wait for writer_, where they keep no reader out and a newcomer may be quicker than
//    whoever was woken; with all of them in writers_ every second operation parked, since each writer waited for all readers
//    that had come meanwhile (rwmutex_read: 40 ns of CPU time then, 5 to 6 now). It is unlocked before the word is given
//    free, so that the word is the last that is touched (R7); who gets it then waits for the word.
// R10 Nobody yields half-way, with writer_ or counted in the word, but neither inside nor in a queue: a goroutine that is
//    abandoned then would keep for ever what nobody knows it has. So there is no chaos point, and writer_ is released without
//    the hand-over's yield, which comes at the end.
//
// Order: all changes of the word are read-modify-writes, so each acquire sees every release before it, of readers and
// writers alike [rwmutex]; kLock adds the queues [rwmutex.queue].

#include "weft/rwmutex.hpp"

#include "weft/context.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"

namespace weft {
namespace {

using detail::WaitEnd;
using detail::Waiter;

}  // namespace

struct RWMutex::Wait : detail::WaitPoint {
  Wait(RWMutex& rwmutex, const detail::WaitOps& what, detail::WaitReason why, const detail::Limit& limit) noexcept
      : WaitPoint{&what, why}, mutex(rwmutex) {
    if (!limit.is_none()) waiter.claim = &claim;
  }
  /// False if its limit was first.
  [[nodiscard]] bool is_served() const noexcept { return waiter.claim == nullptr || claim.winner() == waiter.claim_id; }
  /// With the queues locked, which they are no longer when it returns.
  WaitEnd park(detail::WaitQueue& queue, const detail::Limit& limit) noexcept;

  RWMutex& mutex;
  Waiter waiter;
  detail::Claim claim;
};

struct RWMutex::ReaderWait : Wait {
  static const detail::WaitOps kOps;
  ReaderWait(RWMutex& rwmutex, const detail::Limit& limit) noexcept
      : Wait(rwmutex, kOps, detail::WaitReason::kRWMutexRLock, limit) {}

  /// Off the queue; the word does not count him any more. False: he has been let in.
  bool withdraw() noexcept {
    mutex.lock_queues();
    const bool removed = mutex.readers_.remove(waiter);
    // release [rwmutex.queue]
    mutex.state_.fetch_sub(removed ? kReader + kLock : kLock, std::memory_order_release);
    return removed;
  }
  void give_up() noexcept {
    if (!withdraw()) mutex.unlock_shared();  // R8
  }
};

struct RWMutex::WriterWait : Wait {
  static const detail::WaitOps kOps;
  WriterWait(RWMutex& rwmutex, const detail::Limit& limit) noexcept
      : Wait(rwmutex, kOps, detail::WaitReason::kRWMutexLock, limit) {}

  /// Off the queue. False: somebody has taken it off already.
  bool withdraw() noexcept {
    mutex.lock_queues();
    const bool was_first = mutex.writers_.front() == &waiter;
    const bool removed = mutex.writers_.remove(waiter);
    if (removed) {
      mutex.writer_left(was_first);
    } else {
      mutex.unlock_queues();
    }
    return removed;
  }
};

WaitEnd RWMutex::Wait::park(detail::WaitQueue& queue, const detail::Limit& limit) noexcept {
  detail::Sleeper self;
  waiter.sleeper = self.handle();
  queue.push_back(waiter);
  detail::LimitedPark limited(limit, claim);
  const WaitEnd end = limited.park(self, *this);
  if (end == WaitEnd::kWoken) return end;
  // Before `limited` goes: see L1 in limited_park.hpp.
  if (ops == &ReaderWait::kOps) {
    static_cast<ReaderWait&>(*this).give_up();
  } else {
    static_cast<void>(static_cast<WriterWait&>(*this).withdraw());
  }
  return end;
}

const detail::WaitOps RWMutex::ReaderWait::kOps{
    [](detail::WaitPoint& point) noexcept { static_cast<ReaderWait&>(point).mutex.unlock_queues(); },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<ReaderWait&>(point);
      const bool removed = wait.withdraw();
      // If the claim was won to abandon him, nobody else will come for him: R8.
      const bool is_ours = wait.claim.winner() == static_cast<std::uint32_t>(WaitEnd::kAbandoned);
      if (!removed && is_ours) wait.mutex.unlock_shared();
      return removed;
    },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<ReaderWait&>(point);
      if (wait.is_served()) {
        wait.mutex.unlock_shared();
      } else {
        wait.give_up();
      }
    },
    [](const detail::WaitPoint& point, detail::WaitTargets& out) noexcept {
      const RWMutex& mutex = static_cast<const ReaderWait&>(point).mutex;
      // The writer who holds it, or who has come first: R5, R9.
      out.add_lock(&mutex, mutex.writer_.owner_.load(std::memory_order_relaxed));
    },
};

const detail::WaitOps RWMutex::WriterWait::kOps{
    [](detail::WaitPoint& point) noexcept { static_cast<WriterWait&>(point).mutex.unlock_queues(); },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<WriterWait&>(point);
      const bool removed = wait.withdraw();
      // Also if the claim was won to abandon him after he had been taken off: nobody serves him then.
      const bool is_ours = wait.claim.winner() == static_cast<std::uint32_t>(WaitEnd::kAbandoned);
      if (removed || is_ours) wait.mutex.writer_.unlock();
      return removed;
    },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<WriterWait&>(point);
      if (wait.is_served()) {
        wait.mutex.unlock();
      } else {
        static_cast<void>(wait.withdraw());
        wait.mutex.writer_.unlock();
      }
    },
    // For readers, who leave no names.
    [](const detail::WaitPoint& point, detail::WaitTargets& out) noexcept {
      out.add_lock(&static_cast<const WriterWait&>(point).mutex, 0);
    },
};

// --- the queues ---

/// Returns the word as it is now, kLock apart.
std::uint64_t RWMutex::lock_queues() noexcept {
  detail::Backoff backoff;
  for (;;) {
    // acquire [rwmutex.queue]: pairs with the releases of whoever clears the bit.
    const std::uint64_t old = state_.fetch_or(kLock, std::memory_order_acquire);
    if ((old & kLock) == 0) return old;
    backoff.pause();
  }
}

void RWMutex::unlock_queues() noexcept {
  state_.fetch_and(~kLock, std::memory_order_release);  // release [rwmutex.queue]
}

/// Takes all readers off the queue. Counts them, those included whose limit was first (R8), and returns the others.
detail::WakeList RWMutex::admit_queued(std::uint32_t& count) noexcept {
  detail::WakeList woken;
  count = 0;
  while (Waiter* reader = readers_.pop_front()) {
    ++count;
    if (reader->try_claim()) woken.add(*reader);
  }
  return woken;
}

/// With the queues locked and nobody inside: lets in whose turn it is, and unlocks them (R5, R6).
void RWMutex::next_phase(bool is_writers_turn) noexcept {
  while (!(is_writers_turn ? let_writer_in() : let_readers_in())) is_writers_turn = !is_writers_turn;
}

/// False if the first writer is on its way out: that was its phase.
bool RWMutex::let_writer_in() noexcept {
  Waiter* writer = writers_.pop_front();
  if (writer == nullptr || !writer->try_claim()) return false;
  const detail::SleeperHandle sleeper = writer->sleeper;
  // relaxed: under kLock; it may be set already, when one writer follows another.
  state_.fetch_or(kHeld, std::memory_order_relaxed);
  const std::uint64_t cleared = writers_.empty() ? kLock | kHasWriters : kLock;
  state_.fetch_and(~cleared, std::memory_order_release);  // release [rwmutex.queue]; R7
  detail::ready(sleeper);
  return true;
}

/// False if there is no reader, but a writer waits.
bool RWMutex::let_readers_in() noexcept {
  std::uint32_t queued = 0;
  const detail::WakeList woken = admit_queued(queued);
  const bool has_writers = !writers_.empty();
  const std::uint64_t cleared = kLock | kHeld | (has_writers ? 0 : kSlow | kHasWriters);
  std::uint64_t state = state_.load(std::memory_order_relaxed);  // re-checked by the swap
  do {
    const auto counted = static_cast<std::uint32_t>(state & kReaders);
    if (counted == 0 && has_writers) return false;
    passes_ = counted - queued;           // R4
    inside_ = has_writers ? counted : 0;  // R2
    // release [rwmutex], [rwmutex.queue]: R7
  } while (
      !state_.compare_exchange_weak(state, state & ~cleared, std::memory_order_release, std::memory_order_relaxed));
  woken.ready_all();
  return true;
}

/// With the queues locked, which this ends: a writer is off the queue, unserved.
void RWMutex::writer_left(bool was_first) noexcept {
  detail::WakeList woken;
  // relaxed: under kLock.
  if (was_first && (state_.load(std::memory_order_relaxed) & kHeld) == 0) {
    std::uint32_t count = 0;
    woken = admit_queued(count);
    inside_ += count;  // which is not zero before either: else it would have got in
  }
  const std::uint64_t cleared = writers_.empty() ? kLock | kHasWriters : kLock;
  state_.fetch_and(~cleared, std::memory_order_release);  // release [rwmutex.queue]
  woken.ready_all();
}

// --- writers ---

bool RWMutex::lock(const Context& ctx) {
  if (ctx.is_done()) return false;
  const detail::Limit limit{.done = ctx.done_core()};  // may throw, so before anything is held
  if (try_lock()) return true;
  if (!writer_.lock(ctx)) return false;
  if (lock_slow(limit)) return true;
  writer_.unlock();
  return false;
}

bool RWMutex::lock_until_ns(std::int64_t deadline_ns) noexcept {
  if (!writer_.lock_until_ns(deadline_ns)) return false;
  if (lock_slow({.deadline_ns = deadline_ns})) return true;
  writer_.unlock();
  return false;
}

void RWMutex::lock_slow() noexcept { static_cast<void>(lock_slow(detail::Limit{})); }

bool RWMutex::lock_slow(const detail::Limit& limit) noexcept {
  const std::uint64_t state = lock_queues();
  const bool is_free = (state & (kSlow | kReaders)) == 0;
  if (!is_free && limit.has_passed()) {
    unlock_queues();
    return false;
  }
  if ((state & kSlow) == 0) {
    // acquire [rwmutex]: readers may have left since the queues were locked.
    inside_ = static_cast<std::uint32_t>(state_.fetch_or(kSlow, std::memory_order_acquire) & kReaders);
    if (inside_ == 0) {
      state_.fetch_add(kHeld - kLock, std::memory_order_release);  // release [rwmutex.queue]: kHeld set, kLock cleared
      return true;
    }
  }
  state_.fetch_or(kHasWriters, std::memory_order_relaxed);  // relaxed: under kLock
  WriterWait wait(*this, limit);
  return wait.park(writers_, limit) == WaitEnd::kWoken;
}

void RWMutex::unlock_slow() noexcept {
  if ((lock_queues() & kHeld) == 0) unlock_unlocked();
  next_phase(false);
}

void RWMutex::unlock_unlocked() noexcept { detail::fatal("sync: Unlock of unlocked RWMutex"); }

// --- readers ---

bool RWMutex::try_lock_shared() noexcept {
  std::uint64_t state = state_.load(std::memory_order_relaxed);  // re-checked by the swap
  while ((state & kSlow) == 0) {
    // acquire [rwmutex]: as in lock_shared.
    if (state_.compare_exchange_weak(state, state + kReader, std::memory_order_acquire, std::memory_order_relaxed)) {
      return true;
    }
  }
  if ((state & (kHeld | kHasWriters)) != 0) return false;
  state = lock_queues();
  if ((state & (kHeld | kHasWriters)) != 0) {
    unlock_queues();
    return false;
  }
  if ((state & kSlow) != 0) ++inside_;  // R6: a writer has given up
  state_.fetch_sub(kLock - kReader,
                   std::memory_order_release);  // release [rwmutex.queue]: one reader more, kLock cleared
  return true;
}

bool RWMutex::lock_shared(const Context& ctx) {
  if (ctx.is_done()) return false;
  if (try_lock_shared()) return true;
  const detail::Limit limit{.done = ctx.done_core()};  // may throw, so before he is counted
  return (state_.fetch_add(kReader, std::memory_order_acquire) & kSlow) == 0 || lock_shared_slow(limit);
}

bool RWMutex::lock_shared_until_ns(std::int64_t deadline_ns) noexcept {
  return (state_.fetch_add(kReader, std::memory_order_acquire) & kSlow) == 0 ||
         lock_shared_slow({.deadline_ns = deadline_ns});
}

void RWMutex::lock_shared_slow() noexcept { static_cast<void>(lock_shared_slow(detail::Limit{})); }

/// He is counted in the word, and came while kSlow was set.
bool RWMutex::lock_shared_slow(const detail::Limit& limit) noexcept {
  const std::uint64_t state = lock_queues();
  if (passes_ != 0) {
    --passes_;  // R4
    unlock_queues();
    return true;
  }
  if ((state & (kHeld | kHasWriters)) == 0) {
    ++inside_;  // R6: a writer has given up
    unlock_queues();
    return true;
  }
  if (limit.has_passed()) {
    state_.fetch_sub(kReader + kLock, std::memory_order_release);  // release [rwmutex.queue]
    return false;
  }
  ReaderWait wait(*this, limit);
  return wait.park(readers_, limit) == WaitEnd::kWoken;
}

/// He has subtracted himself from the word.
void RWMutex::unlock_shared_slow(std::uint64_t old) noexcept {
  if ((old & kReaders) == 0) detail::fatal("sync: RUnlock of unlocked RWMutex");
  lock_queues();
  if (inside_ == 0) detail::fatal("sync: RUnlock of unlocked RWMutex");  // those who are counted wait
  if (--inside_ != 0) return unlock_queues();
  next_phase(true);
}

}  // namespace weft

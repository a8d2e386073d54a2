// A worker's next work from its own processor, on whatever stack: what runs next, and what has waited longest. The path without a
// look is in worker_hot.hpp.

#include <algorithm>
#include <utility>

#include "netpoll.hpp"
#include "sched.hpp"
#include "worker.hpp"
#include "worker_hot.hpp"

namespace weft::detail {
namespace {

constexpr std::uint32_t kLongestInterval = 61;  // Go's: every 61st pick looks at the global queue
constexpr std::int64_t kLookEveryNs = 20'000;   // how stale the clock may become while goroutines switch
constexpr std::int64_t kFilesEveryNs = 50'000;  // how long files may wait while goroutines switch
// The same while many are ready. What they would add would overflow into the global queue, and come behind all that is added
// later; the poller has it in order.
constexpr std::int64_t kFilesAtLeastNs = 1'000'000;
constexpr std::int64_t kSliceNs = 10'000'000;       // how long a chain of hand-overs may keep others waiting
constexpr std::int64_t kOldestEveryNs = 1'000'000;  // how long those that never ran wait for newer ones, each of them
constexpr std::size_t kGrab = 128;                  // most that one grab takes from a global queue

}  // namespace

Runnable* Worker::pick_for_yield() noexcept {
  Processor& p = *processor;
  if (--p.countdown == 0 || p.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return pick_attentively(Leaving::kYields);
  return pick_others_first();
}

inline Runnable* Worker::pick_others_first() noexcept {
  Processor& p = *processor;
  p.picks.store(p.picks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // as in pick()
  p.slice_start_ns = 0;
  if (Runnable* runnable = p.next.take()) return runnable;
  if (Runnable* runnable = pop_fresh()) return runnable;  // others first: those that never ran most of all
  if (Runnable* runnable = p.ready.pop()) return runnable;
  return grab_injected();
}

/// The long way: a look is due, or somebody wants attention.
Runnable* Worker::pick_attentively(Leaving leaving) noexcept {
  Processor& p = *processor;
  Runnable* runnable = nullptr;
  if (p.countdown == 0 || p.is(Attention::kCalled)) {
    runnable = pick_with_look(leaving == Leaving::kParks);
  } else {
    runnable = leaving == Leaving::kYields ? pick_others_first() : pick_next();
  }
  if (p.is(Attention::kNotesTimes)) note_switch(leaving, runnable);
  return runnable;
}

Runnable* Worker::pick_with_look(bool is_parking) noexcept {
  Processor& p = *processor;
  p.countdown = 1;
  if (scheduler.is_stopping() || scheduler.idle.has_surplus()) return nullptr;
  if (p.is(Attention::kCalled))
    p.attention.fetch_and(static_cast<std::uint8_t>(~Attention::kCalled), std::memory_order_relaxed);
  p.picks.store(p.picks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);

  const std::int64_t now = scheduler.now_ns();
  p.picks_since_fair += p.interval;
  if (scheduler.chaos != 0) {
    p.interval = 1;
  } else if (now - p.last_look_ns > kLookEveryNs) {
    p.interval = p.interval > 1 ? p.interval / 2 : 1;
  } else if (p.interval < kLongestInterval) {
    p.interval = p.interval * 2 < kLongestInterval ? p.interval * 2 : kLongestInterval;
  }
  p.countdown = p.interval;
  p.last_look_ns = now;
  p.clock_ns.store(now, std::memory_order_relaxed);

  // An alarm takes the lock of its object, which may be the very channel that the goroutine is about to wait for and holds
  // locked until its commit: alarms are for root, after the commit.
  ready_expired(p.timers, now, !is_parking);
  if (scheduler.idle.has_away() && !is_parking) [[unlikely]] {
    for (const auto& other : scheduler.processors) {
      if (other->is_away.load(std::memory_order_relaxed)) ready_expired(other->timers, now, true);
    }
  }
  if (is_parking && p.timers.next_deadline() <= now) {
    p.countdown = 1;
    return nullptr;
  }
  const std::int64_t files_ns = p.ready.size() < RunQueue::kCapacity / 2 ? kFilesEveryNs : kFilesAtLeastNs;
  if (Netpoll* poller = Netpoll::get(); poller != nullptr && poller->needs_look(now, files_ns)) [[unlikely]] {
    if (is_parking) {  // perhaps on a file, whose lock it holds until its commit
      p.countdown = 1;
      return nullptr;
    }
    look_at_files(*poller, now);
  }
  if (scheduler.chaos != 0) return pick_chaos();

  if (Runnable* runnable = follow_oldest(now)) return runnable;

  // A chain of hand-overs through `next` shares one time slice.
  if (p.next.empty()) {
    p.slice_start_ns = 0;
  } else if (p.slice_start_ns != 0 && now - p.slice_start_ns > kSliceNs) {
    p.slice_start_ns = 0;
    if (Runnable* kicked = p.next.take()) scheduler.submit_last(*this, kicked);
  } else {
    if (p.slice_start_ns == 0) p.slice_start_ns = now;
    // Looks that are frequent because turns are long are not all for the others.
    const bool is_fair = p.picks_since_fair >= kLongestInterval || now - p.last_fair_ns > kSliceNs;
    if (!is_fair) {
      if (Runnable* runnable = p.next.take()) return runnable;
    }
  }
  p.picks_since_fair = 0;
  p.last_fair_ns = now;
  if (Runnable* runnable = take_in_turn(now)) return runnable;
  if (Runnable* runnable = p.next.take()) return runnable;
  return p.fresh.pop();
}

/// From where goroutines wait long: each kind has its turn. But those that have not started wait for the clock while newer ones
/// start all the time, as in a tree of them: an older one is a large part of the tree, and needs stacks of its own while those that
/// run keep theirs. If other picks have taken from the ring, its turn is the global queue's.
Runnable* Worker::take_in_turn(std::int64_t now) noexcept {
  Processor& p = *processor;
  const bool is_by_clock = std::exchange(p.fresh_had_turn, false);
  const bool oldest_are_due = !is_by_clock || now - p.last_oldest_ns > kOldestEveryNs;
  Runnable* runnable = nullptr;
  for (unsigned i = 0; i < kTurns && runnable == nullptr; ++i) {
    p.turn = static_cast<Turn>((static_cast<unsigned>(p.turn) + 1) % kTurns);
    switch (p.turn) {
      case Turn::kGlobal:
        runnable = take_global();
        break;
      case Turn::kRing:
        runnable = p.ready.taken() == p.ring_taken ? p.ready.pop() : take_global();
        break;
      case Turn::kOldest:
        if (oldest_are_due) runnable = p.fresh.take_oldest();
        break;
      case Turn::kOverflown:
        if (oldest_are_due) runnable = take_some(scheduler.overflow, 1);
        break;
    }
  }
  if (runnable != nullptr && (p.turn == Turn::kOldest || p.turn == Turn::kOverflown)) {
    p.oldest_since_ns = now;
    note_oldest(now, 1);
  }
  p.ring_taken = p.ready.taken();
  return runnable;
}

/// The oldest have their turn for up to a millisecond, twice as many at a time each time, as long as they start nothing, for those that do
/// are a tree, and ready nobody: who is ready would wait meanwhile, and those who wait for that one, each with a stack.
Runnable* Worker::follow_oldest(std::int64_t now) noexcept {
  Processor& p = *processor;
  const std::size_t wanted = 2 * std::exchange(p.oldest_taken, 0U);
  if (wanted == 0 || p.spawned.get() != p.spawned_before_oldest || !p.next.empty()) return nullptr;
  if (now - p.oldest_since_ns > kOldestEveryNs) return nullptr;
  const std::uint32_t before = p.ready.size();
  Runnable* runnable = take_some(scheduler.overflow, wanted);
  if (runnable == nullptr) runnable = p.fresh.take_oldest();
  if (runnable != nullptr) note_oldest(now, 1 + p.ready.size() - before);
  return runnable;
}

void Worker::note_oldest(std::int64_t now, std::uint32_t count) noexcept {
  Processor& p = *processor;
  p.last_oldest_ns = now;
  p.spawned_before_oldest = p.spawned.get();
  p.oldest_taken = count;
  p.countdown = count;
}

std::size_t Worker::share_of(const InjectQueue& queue) const noexcept {
  return queue.size() / scheduler.processor_count() + 1;
}

Runnable* Worker::take_global() noexcept { return take_some(scheduler.inject, share_of(scheduler.inject)); }

/// All but the first go by way of the ring, which comes before what is newer: but no more than a quarter of it, or they would be in the
/// way of those that are ready.
Runnable* Worker::take_some(InjectQueue& queue, std::size_t wanted) noexcept {
  constexpr std::size_t kMostOfRing = RunQueue::kCapacity / 4;
  if (queue.size() == 0) return nullptr;
  Runnable* batch[kMostOfRing];
  const std::size_t room = kMostOfRing - std::min<std::size_t>(processor->ready.size(), kMostOfRing - 1);
  const std::size_t n = queue.pop(processor->index, batch, std::min(wanted, room));
  prefetch_all({batch, n});
  for (std::size_t i = 1; i < n; ++i) scheduler.submit_last(*this, batch[i]);
  return n != 0 ? batch[0] : nullptr;
}

Runnable* Worker::pick_chaos() noexcept {
  Processor& p = *processor;
  Runnable* runnable = nullptr;
  const std::uint32_t first = p.random.below(4);
  for (std::uint32_t i = 0; i < 4 && runnable == nullptr; ++i) {
    switch ((first + i) % 4) {
      case 0:
        runnable = p.next.take();
        break;
      case 1:
        runnable = p.ready.pop();
        break;
      case 2:
        runnable = p.random.below(2) == 0 ? p.fresh.pop() : p.fresh.take_oldest();
        break;
      default:
        runnable = grab_injected();
        break;
    }
  }
  if (runnable != nullptr && send_on(runnable)) return nullptr;  // back to root, which searches
  return runnable;
}

bool Worker::send_on(Runnable* runnable) noexcept {
  if (runnable->is_task || scheduler.processor_count() == 1) return false;
  auto* fiber = static_cast<Fiber*>(runnable);
  // A fiber that last ran here has to move, if anybody else takes it within a few rounds.
  if (fiber->last_worker == this && fiber->chaos_moves < 3) {
    ++fiber->chaos_moves;
    scheduler.inject.push(processor->index, &runnable, 1);
    scheduler.notify();
    return true;
  }
  fiber->chaos_moves = 0;
  fiber->last_worker = this;
  return false;
}

/// A fair share, at most kGrab.
std::size_t Worker::grab_from(InjectQueue& queue, Runnable** out) noexcept {
  if (queue.size() == 0) return 0;
  return queue.pop(processor->index, out, std::min(share_of(queue), kGrab));
}

Runnable* Worker::grab_injected() noexcept {
  Runnable* batch[kGrab];
  std::size_t n = grab_from(scheduler.inject, batch);
  if (n == 0) n = grab_from(scheduler.overflow, batch);
  if (n == 0) return nullptr;
  prefetch_all({batch, n});
  // The first one runs now; the others keep their order: ready ones at the end of a FIFO, new ones below those that were
  // taken before them on a LIFO.
  for (std::size_t i = 1; i < n; ++i) {
    if (!batch[i]->is_task) scheduler.submit_last(*this, batch[i]);
  }
  for (std::size_t i = n; i-- > 1;) {
    if (batch[i]->is_task && !processor->fresh.push(batch[i])) scheduler.push_overflow(*this, batch[i]);
  }
  if (n > 1) scheduler.notify();
  return batch[0];
}

void Worker::ready_expired(TimerHeap& timers, std::int64_t now, bool alarms_too) noexcept {
  constexpr std::uint32_t kBatch = 32;
  TimerHeap::Expired due[kBatch];
  for (;;) {
    // What does not fit into the ring stays due until the next look: an overflow would change the order (TM-4).
    const std::uint32_t room = RunQueue::kCapacity - processor->ready.size();
    const std::size_t n = timers.run_expired(now, due, room < kBatch ? room : kBatch, alarms_too);
    if (n == 0) return;
    for (std::size_t i = 0; i < n; ++i) prefetch(due[i].sleeper);
    for (std::size_t i = 0; i < n; ++i) {
      processor->runs_alarm = true;
      if (due[i].alarm != nullptr) due[i].sleeper = due[i].alarm->ops->expire(*due[i].alarm, now);
      if (due[i].sleeper) ready_last(due[i].sleeper);
      processor->runs_alarm = false;
    }
  }
}

void Worker::ready_last(SleeperHandle sleeper) noexcept {
  Fiber* fiber = fiber_of(sleeper);
  // Sleepers of this runtime keep the order of their deadlines; nobody in a bubble has a deadline here, but an alarm may
  // ready a plain thread, or a goroutine of another runtime.
  if (fiber == nullptr || fiber->scheduler != &scheduler) return ready(sleeper);
  if (processor->is(Attention::kNotesTimes)) note_ready(*fiber);
  fiber->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
  scheduler.submit_last(*this, fiber);
}

}  // namespace weft::detail

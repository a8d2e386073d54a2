// A worker on its own stack: it looks for work everywhere, and sleeps if there is none. Who wakes it, and why no wake-up is
// lost: idle.hpp.

#include <algorithm>
#include <thread>
#include <utility>

#include "barrier.hpp"
#include "deadlock.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "worker.hpp"
#include "worker_hot.hpp"

namespace weft::detail {
namespace {

constexpr int kSpins = 3;
constexpr int kBriskPauses = 32;                // one to two microseconds
constexpr std::uint32_t kMostBriskLimit = 512;  // see is_brisk(): some 80 ms
constexpr std::int64_t kShortestNapNs = 20'000;
constexpr std::int64_t kLongestNapNs = 160'000;
constexpr int kFruitlessNaps = 8;
constexpr std::int64_t kSearchFilesNs = 5'000;  // between two looks of those who search

}  // namespace

Runnable* Worker::find_work() noexcept {
  for (;;) {
    if (scheduler.is_stopping()) return nullptr;
    if (pinned != nullptr) [[unlikely]]
      return wait_for_own();
    if (!has_processor()) [[unlikely]] {
      if (!join_sleepers()) return nullptr;
      continue;
    }
    Runnable* runnable = std::exchange(in_hand, nullptr);
    if (scheduler.idle.has_surplus()) [[unlikely]] {
      if (runnable != nullptr) requeue(runnable);
      scheduler.drain(*processor);
      if (!sleep()) return nullptr;
      continue;
    }
    if (runnable != nullptr) {
      found_work();
    } else if (!is_searching) {
      runnable = pick();
    }
    if (runnable == nullptr) {
      runnable = search();
      if (runnable != nullptr && scheduler.chaos != 0 && send_on(runnable)) {
        std::this_thread::yield();
        continue;
      }
    }
    if (runnable != nullptr) {
      if (pass_on(runnable)) continue;
      return runnable;
    }
    // A processor leaves its worker's hands empty: nobody looks into the queues of one that is free (chaos mode may have
    // picked nothing though there was something).
    if (processor->has_local_work()) continue;
    // Nothing else to do. Some stacks at a time, for nobody is woken while this worker counts as searching.
    if (scheduler.fibers.release_cold()) continue;
    if (!sleep()) return nullptr;
  }
}

/// Something that was taken from a queue, and is not run here and now.
void Worker::requeue(Runnable* runnable) noexcept {
  runnable->is_task ? scheduler.submit_fresh(*this, static_cast<Task*>(runnable))
                    : scheduler.submit_last(*this, runnable);
}

void Worker::found_work() noexcept {
  if (!is_searching) return;
  is_searching = false;
  // The last searcher is replaced: work that was submitted while it searched woke nobody.
  if (scheduler.idle.leave_search()) scheduler.wake_one();
}

Runnable* Worker::search() noexcept {
  if (!is_searching) {
    if (!scheduler.idle.try_start_search(scheduler.processor_count())) return nullptr;
    is_searching = true;
  }
  // What comes for files ends a nap at once.
  const int spins = Netpoll::get() != nullptr && Netpoll::waiting() != 0 ? 1 : kSpins;
  for (int i = 0; i < spins; ++i) {
    if (Runnable* runnable = sweep(false)) {
      found_work();
      return runnable;
    }
    for (int spin = 0; spins > 1 && spin < 32; ++spin) cpu_pause();
  }
  Runnable* runnable = nap_and_search();
  if (runnable != nullptr) found_work();
  return runnable;
}

Runnable* Worker::nap_and_search() noexcept {
  // While others are switching goroutines, more work is likely soon: one searcher stays half awake, so that a submission
  // costs its submitter no system call. It gives up when the others are idle or compute without a switch.
  Worker* nobody = nullptr;
  if (!scheduler.napper.compare_exchange_strong(nobody, this, std::memory_order_acq_rel)) return nullptr;
  for (const auto& p : scheduler.processors) p->seen_picks = p->picks.load(std::memory_order_relaxed);
  Runnable* runnable = nullptr;
  bool was_in_poller = false;
  int fruitless = 0;
  std::int64_t nap_ns = kShortestNapNs;
  while (runnable == nullptr && !scheduler.is_stopping() &&
         scheduler.idle.free_processors() + 1 < scheduler.processor_count() && fruitless < kFruitlessNaps) {
    was_in_poller = take_nap(nap_end(nap_ns)) || was_in_poller;
    nap_ns = nap_ns * 2 < kLongestNapNs ? nap_ns * 2 : kLongestNapNs;
    runnable = sweep(true);
    bool progress = false;
    for (const auto& p : scheduler.processors) {
      const std::uint32_t picks = p->picks.load(std::memory_order_relaxed);
      progress = progress || picks != p->seen_picks;
      p->seen_picks = picks;
    }
    fruitless = progress ? 0 : fruitless + 1;
  }
  // release: pairs with the acquire above, which hands seen_picks over.
  scheduler.napper.store(nullptr, std::memory_order_release);
  if (was_in_poller) [[unlikely]]
    DeadlockRegistry::poke_others(scheduler);
  return runnable;
}

/// The nearest deadline ends a nap, and is not in the past: what has expired meanwhile, the sweep before has readied.
std::int64_t Worker::nap_end(std::int64_t nap_ns) noexcept {
  return steady_time().now_ns() + std::clamp<std::int64_t>(scheduler.ns_to_deadline(), 1, nap_ns);
}

/// In the poller, if somebody waits for files and nobody else is in: then what comes there ends the nap. True: it was there.
bool Worker::take_nap(std::int64_t deadline_ns) noexcept {
  Netpoll* const poller = Netpoll::get();
  if (poller == nullptr || Netpoll::waiting() == 0 || !poller->enter()) [[likely]] {
    nap.store(Nap::kOnFutex, std::memory_order_relaxed);
    futex_wait(nap, Nap::kOnFutex, deadline_ns);
    nap.store(Nap::kNone, std::memory_order_relaxed);
    return false;
  }
  Netpoll::Ready ready;
  nap.store(Nap::kInPoller, std::memory_order_relaxed);
  poller->poll(deadline_ns, ready);
  nap.store(Nap::kNone, std::memory_order_relaxed);
  poller->leave();
  ready_all(ready);
  return true;
}

/// A hint that there is work: the nap that `worker` may be having ends.
void Worker::end_nap() noexcept {
  if (nap.load(std::memory_order_relaxed) == Nap::kNone) return;
  switch (nap.exchange(Nap::kNone, std::memory_order_relaxed)) {
    case Nap::kOnFutex:
      return futex_wake(nap, 1);
    case Nap::kInPoller:
      return Netpoll::get()->interrupt();
    default:
      return;
  }
}

Runnable* Worker::sweep(bool take_next) noexcept {
  const std::int64_t now = scheduler.now_ns();
  processor->clock_ns.store(now, std::memory_order_relaxed);
  for (const auto& p : scheduler.processors) ready_expired(p->timers, now, true);
  if (Netpoll* poller = Netpoll::get(); poller != nullptr && poller->needs_look(now, kSearchFilesNs)) [[unlikely]]
    look_at_files(*poller, now);
  if (Runnable* runnable = processor->next.take()) return runnable;
  if (Runnable* runnable = processor->ready.pop()) return runnable;
  if (Runnable* runnable = processor->fresh.pop()) return runnable;
  if (Runnable* runnable = grab_injected()) return runnable;
  const auto count = static_cast<unsigned>(scheduler.processors.size());
  if (count == 1) return nullptr;  // no draw: how often a worker searches must not decide what its goroutines draw
  const unsigned first = processor->random.below(count);
  for (unsigned i = 0; i < count; ++i) {
    Processor& victim = *scheduler.processors[(first + i) % count];
    if (&victim == processor) continue;
    if (Runnable* runnable = steal_from(victim, take_next)) {
      processor->steals.add();
      if (processor->is(Attention::kTraced)) note_steal(*runnable, victim);
      return runnable;
    }
  }
  return nullptr;
}

/// Whether the victim is about to take its only ready goroutine: it switches every few hundred nanoseconds. Stolen, that one would
/// cost more than it gains, and take along what it shares with the others (select2: 362 ns with, 191 without such thefts). But it
/// may also be that others take turns before it for a long time: so not for ever, but after eight looks in a row, mostly a nap
/// apart, which are a millisecond. If it is soon the same again, they belonged together: after twice as many the next time.
bool Worker::is_brisk(Processor& victim) noexcept {
  std::uint32_t looks = 0;
  const std::uint32_t ready = victim.ready.size();
  if (ready == 1) {
    const std::uint32_t picks = victim.picks.load(std::memory_order_relaxed);
    for (int i = 0; i < kBriskPauses; ++i) cpu_pause();
    const bool has_moved = victim.picks.load(std::memory_order_relaxed) != picks;
    const std::uint32_t limit = victim.brisk_limit.load(std::memory_order_relaxed);
    looks = victim.brisk_looks.load(std::memory_order_relaxed);
    if (has_moved && looks == limit)
      victim.brisk_limit.store(std::min(2 * limit, kMostBriskLimit), std::memory_order_relaxed);
    looks = has_moved && looks < limit ? looks + 1 : 0;
  } else if (ready > 1 && victim.brisk_limit.load(std::memory_order_relaxed) != Processor::kFirstBriskLimit) {
    victim.brisk_limit.store(Processor::kFirstBriskLimit, std::memory_order_relaxed);
  }
  if (looks != victim.brisk_looks.load(std::memory_order_relaxed))
    victim.brisk_looks.store(looks, std::memory_order_relaxed);
  return looks != 0;
}

Runnable* Worker::steal_from(Processor& victim, bool take_next) noexcept {
  if (!is_brisk(victim)) {
    Runnable* batch[RunQueue::kCapacity / 2];
    if (const std::uint32_t n = victim.ready.steal(batch, RunQueue::kCapacity / 2)) {
      prefetch_all({batch, n});
      // The ring is empty, or nearly: we were about to search.
      for (std::uint32_t i = 1; i < n; ++i) {
        if (!processor->ready.push(batch[i])) scheduler.push_overflow(*this, batch[i]);
      }
      return batch[0];
    }
  }
  // Goroutines that have not started: the oldest ones, which in a tree of them are the biggest.
  Runnable* first = nullptr;
  for (std::int64_t wanted = (victim.fresh.size() + 1) / 2; wanted > 0; --wanted) {
    Runnable* runnable = victim.fresh.take_oldest();
    if (runnable == nullptr) break;
    if (first == nullptr) {
      first = runnable;
    } else if (!processor->fresh.push(runnable)) {
      scheduler.push_overflow(*this, runnable);
    }
  }
  if (first != nullptr) return first;
  // The fiber that was readied last usually runs as soon as its waker parks: it is taken only if the victim has not
  // switched between two looks.
  if (take_next && victim.picks.load(std::memory_order_relaxed) == victim.seen_picks) return victim.next.steal();
  return nullptr;
}

bool Worker::sleep() noexcept {
  Idle& idle = scheduler.idle;
  const bool was_searching = std::exchange(is_searching, false);  // from Z1 on a waker may set it
  idle.go_to_sleep(*this, *processor);                            // Z1
  idle.offer_keeper(*this);
  if (was_searching) static_cast<void>(idle.leave_search());  // Z2
  heavy_barrier();                                            // Z3
  return sleep_until_woken();
}

/// Z5 for the one that sleeps in the poller, which it has entered. True: it has a processor.
bool Worker::sleep_in_poller(Netpoll& poller, std::int64_t deadline) noexcept {
  Idle& idle = scheduler.idle;
  Netpoll::Ready ready;
  if (parker.enter_poll()) {
    poller.poll(std::max<std::int64_t>(deadline, 1), ready);
    parker.leave_poll();
  }
  poller.leave();
  if (!ready.empty()) {
    if (idle.get_up(*this) != nullptr) {
      scheduler.monitor.notice_busy();
      ready_all(ready);
    } else {
      // Every processor is held, or somebody has just handed this worker one.
      for (const SleeperHandle sleeper : ready.sleepers()) ready_from_outside(sleeper);
      for (Task* task : ready.tasks()) start_from_outside(task);
    }
  }
  return !idle.is_asleep(*this);
}

/// What the poller has found, to this worker's processor.
void Worker::ready_all(const Netpoll::Ready& ready) noexcept {
  for (const SleeperHandle sleeper : ready.sleepers()) ready_last(sleeper);
  for (Task* task : ready.tasks()) {
    task->prefetch_captured();
    start_goroutine(task);
  }
}

/// Without waiting; whoever sleeps in the poller sees everything at once, and is left to it. On root, or where no lock is
/// held: files have locks.
void Worker::look_at_files(Netpoll& poller, std::int64_t now) noexcept {
  if (!poller.claim_look(now)) return;
  Netpoll::Ready ready;
  poller.poll(0, ready);
  ready_all(ready);
}

/// After its processor was taken, once the goroutine has left. It frees none, but is otherwise a sleeper like the others:
/// that has just been found, if there is work (Z4).
bool Worker::join_sleepers() noexcept {
  Idle& idle = scheduler.idle;
  lease.store(held_lease(), std::memory_order_relaxed);  // of the next one
  idle.add_sleeper(*this);
  idle.offer_keeper(*this);
  scheduler.end_detached();
  heavy_barrier();
  return sleep_until_woken();
}

/// False: the runtime stops.
bool Worker::sleep_until_woken() noexcept {
  bool was_in_poller = false;
  const bool is_woken = sleep_and_look(was_in_poller);
  // Others may have counted on this worker's being there.
  if (was_in_poller) [[unlikely]]
    DeadlockRegistry::poke_others(scheduler);
  return is_woken;
}

/// Z4 and Z5.
bool Worker::sleep_and_look(bool& was_in_poller) noexcept {
  Idle& idle = scheduler.idle;
  for (;;) {
    if (scheduler.is_stopping()) {
      idle.remove(*this);
      return false;
    }
    std::int64_t deadline = kForever;
    if (idle.searching() != 0) {
      // The searcher looks at queues and timers, and at its end either wakes another one or goes through Z1-Z4 itself.
      idle.keep_time(*this, kForever);
    } else if (scheduler.has_work()) {  // Z4
      if (idle.get_up(*this) != nullptr) {
        scheduler.monitor.notice_busy();
        return true;
      }
      // Every processor is held: those who hold them see the work, and keep the time once they find nothing.
      idle.resign(*this);
    } else {
      deadline = scheduler.earliest_deadline();
      idle.keep_time(*this, deadline);
      if (idle.free_processors() == scheduler.processor_count()) deadline = std::min(deadline, scheduler.on_quiet());
    }
    Netpoll* poller = Netpoll::get();
    if (poller != nullptr && poller->enter()) [[unlikely]] {
      was_in_poller = true;
      if (sleep_in_poller(*poller, deadline)) return true;
      continue;
    }
    parker.park_until(deadline);              // Z5
    if (!idle.is_asleep(*this)) return true;  // woken, with a processor
  }
}

}  // namespace weft::detail

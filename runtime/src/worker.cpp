#include "worker.hpp"

#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "barrier.hpp"
#include "bubble.hpp"
#include "deadlock.hpp"
#include "forked.hpp"
#include "held_locks.hpp"
#include "sched.hpp"
#include "signal_stack.hpp"
#include "switch_throw.hpp"
#include "weft/error.hpp"
#include "weft/goroutine_local.hpp"
#include "worker_hot.hpp"

namespace weft::detail {
namespace {

// The thread-locals of the library, all of them. Compilers keep addresses of thread-locals across calls they cannot see through,
// and a fiber may come back on another thread: so each is read in one place, which is never inlined, and nothing derived
// from it is kept over a switch.
thread_local Worker* current_worker_of_thread = nullptr;
// Exists only in builds that ask for it (held_locks.hpp).
[[maybe_unused]] constinit thread_local HeldLocks held_locks_here{};

/// What GoroutineLocals have made for a plain thread.
struct ThreadLocals {
  LocalNode* list = nullptr;
  ~ThreadLocals() {
    // Not destroy_locals(): a goroutine may be calling exit() here.
    while (LocalNode* node = list) {
      list = node->next;
      node->destroy(node);
    }
  }
};
thread_local ThreadLocals thread_locals;

constexpr std::uint32_t kLongestInterval = 61;  // Go's: every 61st pick looks at the global queue
constexpr std::int64_t kLookEveryNs = 20'000;   // how stale the clock may become while goroutines switch
constexpr std::int64_t kSliceNs = 10'000'000;   // how long a chain of hand-overs may keep others waiting
constexpr int kSpins = 3;
constexpr std::int64_t kShortestNapNs = 20'000;
constexpr std::int64_t kLongestNapNs = 160'000;
constexpr int kFruitlessNaps = 8;
constexpr std::size_t kGrab = 128;  // most that one grab takes from the inject queue

}  // namespace

[[gnu::noinline]] Worker* current_worker() noexcept {
  asm volatile("" ::: "memory");
  return current_worker_of_thread;
}

[[gnu::noinline]] HeldLocks& held_locks_of_thread() noexcept {
  asm volatile("" ::: "memory");
  if constexpr (kHeldLocks) {
    return held_locks_here;
  } else {
    fatal("weft: internal: built without held_locks");
  }
}

[[gnu::noinline]] void forget_worker() noexcept { current_worker_of_thread = nullptr; }

[[gnu::noinline]] LocalNode*& locals_of_thread() noexcept {
  asm volatile("" ::: "memory");
  return thread_locals.list;
}

TimerHeap& Worker::timers() noexcept {
  const Entry entry(*this);
  return entry.has_processor() ? processor->timers : scheduler.processors.front()->timers;
}

// --- switching ---

// Never inlined, nor is run_tasks_here: they are the two frames of forget_frames().
[[gnu::noinline]] void fiber_main(Transfer transfer) noexcept {
  mark_end_of_stack();
  auto* worker = static_cast<Worker*>(transfer.data);
  worker->land_after_switch(transfer.fctx);
  worker->run_tasks_here(worker->current);
}

void Worker::land_otherwise(Fiber* from) noexcept {
  switch (from->after) {
    case AfterSwitch::kNothing:
    case AfterSwitch::kPark:
      return;
    case AfterSwitch::kBlock:
      commit_block(from);
      return;
    case AfterSwitch::kYield:
      from->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
      scheduler.submit_last(*this, from);
      return;
    case AfterSwitch::kHome:
      from->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
      scheduler.submit_foreign(from);
      return;
    case AfterSwitch::kExit:
      recycle(from);
      return;
  }
}

void Worker::commit_block(Fiber* from) noexcept {
  // All of this is read before the commit: after it the fiber may be gone. The bubble is not, before block() (B1).
  Bubble* bubble = from->bubble;
  WaitPoint& point = *from->wait_point;
  const bool is_durable = point.is_durable;
  from->is_counted_out = is_durable;
  from->is_durable.store(is_durable, std::memory_order_relaxed);
  from->status.store(FiberStatus::kWaiting, std::memory_order_release);  // release [fiber.status]
  if (point.ops->commit != nullptr) point.ops->commit(point);
  if (is_durable) bubble->block();
}

void Worker::yield() noexcept {
  if (!enter()) [[unlikely]]
    return come_home();
  Runnable* runnable = pick_for_yield();
  if (runnable == nullptr) {
    if (!scheduler.is_stopping() && !scheduler.idle.has_surplus()) return exit();
    current->after = AfterSwitch::kYield;
    switch_to_fiber(&root, false)->exit();
    return;
  }
  if (current->is_pinned) [[unlikely]]
    return yield_pinned(runnable);
  current->after = AfterSwitch::kYield;
  switch_to_fiber(materialize(runnable), false)->exit();
}

void Worker::come_home() noexcept {
  static_cast<void>(enter());
  current->after = AfterSwitch::kHome;
  switch_to_fiber(&root, false)->exit();
}

bool Worker::enter_slow() noexcept {
  light_barrier();
  Backoff backoff;
  for (;;) {
    const Lease now = lease.load(std::memory_order_acquire);  // as in enter()
    if (now != Lease::kWanted) return now != Lease::kLost;
    backoff.pause();
  }
}

Fiber* Worker::start_fiber(Task* task) noexcept {
  Fiber* fiber = task->has_own_stack() ? place_fiber(task->extras->stack, 0) : scheduler.fibers.get(processor->fibers);
  prepare(fiber->state, fiber->hot_end(), &fiber_main);
  attach(fiber, task);
  return fiber;
}

void Worker::attach(Fiber* fiber, Task* task) noexcept {
  fiber->task = task;
  fiber->wait_point = nullptr;
  fiber->scheduler = &scheduler;
  fiber->bubble = task->bubble.load(std::memory_order_relaxed);
  fiber->is_durable.store(false, std::memory_order_relaxed);
  fiber->owns_stack = task->has_own_stack();
  task->fiber.store(fiber, std::memory_order_release);
}

void Worker::recycle(Fiber* fiber) noexcept {
  fiber->status.store(FiberStatus::kFree, std::memory_order_relaxed);
  if (fiber->owns_stack) {
    scheduler.tasks
        .await_visitors();  // the record does not name the fiber any more; somebody may be looking at it still
    scheduler.fibers.put_single(fiber);
  } else if (has_processor()) {
    scheduler.fibers.put(fiber, processor->fibers);
  } else {
    FiberCache no_cache;
    scheduler.fibers.put(fiber, no_cache);
    scheduler.fibers.flush(no_cache);
  }
}

namespace {
/// Runs a goroutine's function to its end, whatever way that is.
void run_task(Scheduler& scheduler, Task& task) noexcept {
  ThrowSite site(task.is_exiting);
  try {
    call_watched(task.run, task.closure, site);
  } catch (const GoroutineExit&) {
    if (task.is_main != 0) scheduler.main_exited.store(true, std::memory_order_seq_cst);
  } catch (...) {
    report_uncaught(scheduler, task, site.frames);
  }
}
}  // namespace

[[gnu::noinline]] void Worker::run_tasks_here(Fiber* self) noexcept {
  exit();
  for (;;) {
    Task* task = self->task;
    run_task(*self->scheduler, *task);
    if (self->scheduler->options.measure_stacks) [[unlikely]]
      self->scheduler->stack_uses.measure(self->state.stack, task->spawn_site.load(std::memory_order_relaxed));
    if constexpr (kHeldLocks) {
      HeldLocks left_behind;
      take_held_locks(left_behind, *self, true);
    }
    if (self->locals != nullptr || self->is_pinned) [[unlikely]]
      end_unusually(self);
    Worker* worker = current_worker();  // not `this`: the goroutine may have moved
    if (worker == nullptr) [[unlikely]]
      die_after_fork("a goroutine has ended in a forked child");
    const bool has_processor = worker->enter();
    self->task = nullptr;
    Bubble* bubble = std::exchange(self->bubble, nullptr);
    worker->scheduler.free_task(has_processor ? worker : nullptr, task);
    if (bubble != nullptr) [[unlikely]]
      bubble->end();
    Runnable* runnable = has_processor ? worker->pick() : nullptr;
    if (runnable != nullptr && runnable->is_task && !self->owns_stack &&
        !static_cast<Task*>(runnable)->has_own_stack()) {
      // The next goroutine has not started yet: it starts right here, without a switch.
      worker->attach(self, static_cast<Task*>(runnable));
      worker->exit();
      continue;
    }
    self->after = AfterSwitch::kExit;
    forget_frames();
    worker->switch_to_fiber(runnable != nullptr ? worker->materialize(runnable) : &worker->root, true);
  }
}

[[gnu::noinline]] void await_release(const Fiber& fiber) noexcept {
  Backoff backoff;
  light_barrier();                                                                    // R2, without a membarrier
  while (fiber.hold.load(std::memory_order_acquire) == Hold::kHeld) backoff.pause();  // R3
}

// --- picking ---

Runnable* Worker::pick_for_yield() noexcept {
  Processor& p = *processor;
  if (--p.countdown == 0 || p.attention.load(std::memory_order_relaxed)) [[unlikely]]
    return pick_with_look(false);
  p.picks.store(p.picks.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // as in pick()
  p.slice_start_ns = 0;
  if (Runnable* runnable = p.next.take()) return runnable;
  if (Runnable* runnable = p.fresh.pop()) return runnable;  // others first: those that never ran most of all
  if (Runnable* runnable = p.ready.pop()) return runnable;
  return grab_injected();
}

Runnable* Worker::pick_with_look(bool is_parking) noexcept {
  Processor& p = *processor;
  p.countdown = 1;
  if (scheduler.is_stopping() || scheduler.idle.has_surplus()) return nullptr;
  p.attention.store(false, std::memory_order_relaxed);
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
  if (scheduler.chaos != 0) return pick_chaos();

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
  // What waits longest, each kind in its turn.
  p.prefer_oldest = !p.prefer_oldest;
  if (p.prefer_oldest) {
    if (Runnable* runnable = p.fresh.take_oldest()) return runnable;
  }
  Runnable* injected = nullptr;
  if (scheduler.inject.size() != 0 && scheduler.inject.pop(p.index, &injected, 1) == 1) return injected;
  if (Runnable* runnable = p.ready.pop()) return runnable;
  if (Runnable* runnable = p.next.take()) return runnable;
  return p.fresh.pop();
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

Runnable* Worker::grab_injected() noexcept {
  if (scheduler.inject.size() == 0) return nullptr;
  Runnable* batch[kGrab];
  const std::size_t share = scheduler.inject.size() / scheduler.processor_count() + 1;
  const std::size_t n = scheduler.inject.pop(processor->index, batch, share < kGrab ? share : kGrab);
  if (n == 0) return nullptr;
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
    for (std::size_t i = 0; i < n; ++i) {
      if (due[i].alarm != nullptr) due[i].sleeper = due[i].alarm->ops->expire(*due[i].alarm, now);
      if (due[i].sleeper) ready_last(due[i].sleeper);
    }
  }
}

void Worker::ready_last(SleeperHandle sleeper) noexcept {
  Fiber* fiber = fiber_of(sleeper);
  // Sleepers of this runtime keep the order of their deadlines; nobody in a bubble has a deadline here, but an alarm may
  // ready a plain thread, or a goroutine of another runtime.
  if (fiber == nullptr || fiber->scheduler != &scheduler) return ready(sleeper);
  fiber->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
  scheduler.submit_last(*this, fiber);
}

// --- searching and sleeping: on root only ---

void Worker::main() noexcept {
  WeftThreads::add();
  current_worker_of_thread = this;
  exceptions = thread_exception_globals();
  error_number = &errno;
  adopt_thread(root.state);
  current = &root;
  thread_id.store(gettid(), std::memory_order_release);
  clockid_t clock = -1;
  if (pthread_getcpuclockid(pthread_self(), &clock) == 0) cpu_clock.store(clock, std::memory_order_release);
  char name[16];
  std::snprintf(name, sizeof name, "weft-%u", index);
  pthread_setname_np(pthread_self(), name);
  const SignalStack signal_stack(scheduler.options.handle_stack_overflow);
  prctl(PR_SET_TIMERSLACK, 1000UL);  // sleeps end on time, not up to 50 us later
  if (starts_spare) {
    // acquire: pairs with the release in start_spare().
    while (!is_listed.load(std::memory_order_acquire)) parker.park_until(kForever);
    wait_as_spare();
  }
  while (Runnable* runnable = find_work()) switch_to_fiber(fiber_for(runnable), false);
  thread_id.store(0, std::memory_order_relaxed);
  current_worker_of_thread = nullptr;
  WeftThreads::remove();
  // release: the last access to the scheduler; pairs with the acquire in stop().
  scheduler.exited_workers_.fetch_add(1, std::memory_order_release);
  futex_wake(scheduler.exited_workers_, 1);
}

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
  for (int i = 0; i < kSpins; ++i) {
    if (Runnable* runnable = sweep(false)) {
      found_work();
      return runnable;
    }
    for (int spin = 0; spin < 32; ++spin) cpu_pause();
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
  int fruitless = 0;
  std::int64_t nap_ns = kShortestNapNs;
  while (runnable == nullptr && !scheduler.is_stopping() &&
         scheduler.idle.free_processors() + 1 < scheduler.processor_count() && fruitless < kFruitlessNaps) {
    nap.store(1, std::memory_order_relaxed);
    futex_wait(nap, 1, steady_time().now_ns() + nap_ns);
    nap.store(0, std::memory_order_relaxed);
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
  return runnable;
}

Runnable* Worker::sweep(bool take_next) noexcept {
  const std::int64_t now = scheduler.now_ns();
  processor->clock_ns.store(now, std::memory_order_relaxed);
  for (const auto& p : scheduler.processors) ready_expired(p->timers, now, true);
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
      return runnable;
    }
  }
  return nullptr;
}

Runnable* Worker::steal_from(Processor& victim, bool take_next) noexcept {
  Runnable* batch[RunQueue::kCapacity / 2];
  if (const std::uint32_t n = victim.ready.steal(batch, RunQueue::kCapacity / 2)) {
    // The ring is empty, or nearly: we were about to search.
    for (std::uint32_t i = 1; i < n; ++i) {
      if (!processor->ready.push(batch[i])) scheduler.push_overflow(*this, batch[i]);
    }
    return batch[0];
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
  if (take_next && victim.picks.load(std::memory_order_relaxed) == victim.seen_picks) return victim.next.take();
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

/// Z4 and Z5. False: the runtime stops.
bool Worker::sleep_until_woken() noexcept {
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
    parker.park_until(deadline);              // Z5
    if (!idle.is_asleep(*this)) return true;  // woken, with a processor
  }
}

}  // namespace weft::detail

#include "worker.hpp"

#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
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

// The thread-locals of the library but for the one of caller.hpp, for the reason given there: each is read in one place, which is
// never inlined.
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

}  // namespace

/// What caller.hpp reads: a worker's, and a plain thread's.
struct ThisThread {
  WorkerFace* worker = nullptr;
  LockUser lock_user = kNeverFavoured;
};
static_assert(offsetof(ThisThread, worker) == 0 && offsetof(ThisThread, lock_user) == 8);

[[gnu::visibility("hidden"), gnu::used]] constinit thread_local ThisThread this_thread asm("weft_this_thread");

[[gnu::noinline]] Caller current_caller_by_call() noexcept {
  asm volatile("" ::: "memory");
  return {this_thread.worker, this_thread.lock_user};
}

[[gnu::noinline]] LockUser current_lock_user() noexcept { return current_caller().lock_user; }

[[gnu::noinline]] HeldLocks& held_locks_of_thread() noexcept {
  asm volatile("" ::: "memory");
  if constexpr (kHeldLocks) {
    return held_locks_here;
  } else {
    fatal("weft: internal: built without held_locks");
  }
}

[[gnu::noinline]] void forget_worker() noexcept { this_thread = {}; }

[[gnu::noinline]] LocalNode*& locals_of_thread() noexcept {
  asm volatile("" ::: "memory");
  return thread_locals.list;
}

TimerHeap& Worker::timers() noexcept {
  const Entry entry(*this);
  return entry.has_processor() ? processor->timers : scheduler.processors.front()->timers;
}

// --- switching ---

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
  commit(point);
  if (is_durable) bubble->block();
}

void Worker::yield() noexcept {
  if (!enter()) [[unlikely]]
    return come_home();
  Runnable* runnable = pick_for_yield();
  if (runnable == nullptr) {
    if (!scheduler.is_stopping() && !scheduler.idle.has_surplus()) return exit();
    if (processor->is(Attention::kNotesTimes)) note_switch(Leaving::kYields, &root);
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
  note_come_home(Leaving::kYields);
  current->after = AfterSwitch::kHome;
  switch_to_fiber(&root, false)->exit();
}

void Worker::wake_one_and_exit(Zone before) noexcept {
  scheduler.wake_one();
  zone.store(before, std::memory_order_release);  // M3
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

void fiber_main(Transfer transfer) noexcept;

Fiber* Worker::start_fiber(Task* task) noexcept {
  Fiber* fiber = task->has_own_stack() ? place_fiber(task->extras->stack, 0) : scheduler.fibers.get(processor->fibers);
  if (!fiber->is_warm) [[unlikely]]
    prepare(fiber->state, fiber->hot_end(), &fiber_main);
  float_control.apply(fiber->state);
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
/// Runs a goroutine's function to its end, whatever way that is. Never inlined: mark_end_of_stack() is not for its landing pads.
[[gnu::noinline]] void run_task(Scheduler& scheduler, Task& task) noexcept {
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

/// A stack that is used again is still in fiber_main, where its last goroutine has ended. Not with the address sanitizer, which keeps
/// memory for what has not been left for good.
constexpr bool kKeepsFrame = !kAsan;

/// Part of fiber_main, which is the only frame there once a goroutine has ended: who goes on then returns to where whoever switched
/// to it would have (jump_to).
[[gnu::always_inline]] inline void Worker::run_tasks_here(Fiber* self) noexcept {
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
    if (!has_processor) [[unlikely]]
      worker->note_come_home(Leaving::kEnds);
    if (runnable != nullptr && runnable->is_task && !self->owns_stack &&
        !static_cast<Task*>(runnable)->has_own_stack()) {
      // The next goroutine has not started yet: it starts right here, without a switch.
      worker->attach(self, static_cast<Task*>(runnable));
      worker->float_control.apply();
      worker->exit();
      continue;
    }
    self->after = AfterSwitch::kExit;
    self->is_warm = kKeepsFrame && !self->owns_stack;
    if (!self->is_warm) forget_frame();
    Fiber* next = runnable != nullptr ? worker->materialize(runnable) : &worker->root;
    worker->switch_to_fiber(next, !self->is_warm)->exit();
  }
}

// Never inlined: the frame of forget_frame().
[[gnu::noinline]] void fiber_main(Transfer transfer) noexcept {
  mark_end_of_stack();
  auto* worker = static_cast<Worker*>(transfer.data);
  worker->land_after_switch(transfer.fctx);
  worker->run_tasks_here(worker->current);
}

[[gnu::noinline]] void await_release(const Fiber& fiber) noexcept {
  Backoff backoff;
  light_barrier();                                                                    // R2, without a membarrier
  while (fiber.hold.load(std::memory_order_acquire) == Hold::kHeld) backoff.pause();  // R3
}

// --- the thread ---

void Worker::main() noexcept {
  WeftThreads::add();
  this_thread = {this, lock_user};
  asm volatile("" ::: "memory");  // what reads it names no memory
  exceptions = thread_exception_globals();
  error_number = &errno;
  float_control = FloatControl::now();
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
  while (Runnable* runnable = find_work()) {
    if (processor->is(Attention::kNotesTimes)) [[unlikely]]
      note_begin(*runnable);
    switch_to_fiber(fiber_for(runnable), false);
  }
  thread_id.store(0, std::memory_order_relaxed);
  forget_worker();
  WeftThreads::remove();
  // release: the last access to the scheduler; pairs with the acquire in stop().
  scheduler.exited_workers_.fetch_add(1, std::memory_order_release);
  futex_wake(scheduler.exited_workers_, 1);
}

}  // namespace weft::detail

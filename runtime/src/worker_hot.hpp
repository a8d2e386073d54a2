#pragma once

// The path that every park takes: pick the next goroutine, switch to it, land. Inline, so that a park is one function.

#include "held_locks.hpp"
#include "sched.hpp"
#include "worker.hpp"

namespace weft::detail {

[[gnu::always_inline]] inline Runnable* Worker::pick(bool is_parking) noexcept {
  Processor& p = *processor;
  // relaxed: a hint that is looked at again at the next pick.
  if (--p.countdown == 0 || p.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return pick_attentively(is_parking ? Leaving::kParks : Leaving::kEnds);
  return pick_next();
}

[[gnu::always_inline]] inline Runnable* Worker::pick_next() noexcept {
  Processor& p = *processor;
  p.picks.store(p.picks.load(std::memory_order_relaxed) + 1,
                std::memory_order_relaxed);  // owner only; a hint to others
  if (Runnable* runnable = p.next.take()) return runnable;
  p.slice_start_ns = 0;
  if (Runnable* runnable = p.ready.pop()) return runnable;
  if (Runnable* runnable = pop_fresh()) return runnable;
  return grab_injected();
}

[[gnu::always_inline]] inline Runnable* Worker::pop_fresh() noexcept {
  Runnable* runnable = processor->fresh.pop();
  if (runnable != nullptr) processor->fresh_had_turn = true;
  return runnable;
}

inline Fiber* Worker::fiber_for(Runnable* runnable) noexcept {
  return runnable->is_task ? start_fiber(static_cast<Task*>(runnable)) : static_cast<Fiber*>(runnable);
}

/// Whether root has to start it: a pinned one is for another worker, and a stack that nobody has used yet costs page faults, often a
/// system call, while who parks has the lock that it has until the switch.
inline bool Worker::is_for_root(const Runnable& runnable) const noexcept {
  if (!runnable.is_task) return static_cast<const Fiber&>(runnable).is_pinned;
  return processor->fibers.is_empty() || static_cast<const Task&>(runnable).has_own_stack();
}

/// Whom to switch to from a goroutine's stack.
inline Fiber* Worker::materialize(Runnable* runnable) noexcept {
  if (is_for_root(*runnable)) [[unlikely]] {
    in_hand = runnable;
    return &root;
  }
  return fiber_for(runnable);
}

inline void Worker::land_after_switch(void* left_context) noexcept {
  Fiber* from = left;
  land(from->state, current->state, left_context);
  if (from->after != AfterSwitch::kPark) return land_otherwise(from);
  WaitPoint& point = *from->wait_point;
  // release [fiber.status]: wait_parked() sees what the goroutine did before.
  from->status.store(FiberStatus::kWaiting, std::memory_order_release);
  commit(point);
}

/// Returns the worker that has resumed the caller.
[[gnu::always_inline]] inline Worker* Worker::switch_to_fiber(Fiber* to, bool is_final) noexcept {
  Fiber* from = current;
  left = from;
  current = to;
  to->status.store(FiberStatus::kRunning, std::memory_order_relaxed);  // R1 (traces.hpp)
  std::atomic_signal_fence(std::memory_order_seq_cst);                 // R2: light_barrier, if there is a membarrier
  if (to->hold.load(std::memory_order_acquire) != Hold::kNone) [[unlikely]]  // R3
    await_release(*to);
  // A call that blocks leaves the caller's errno alone, whoever ran here meanwhile and on whatever thread it goes on.
  const int caller_errno = *error_number;
  HeldLocksAside<kHeldLocks> held(from != &root ? from : nullptr);
  const Transfer transfer = switch_to(from->state, to->state, *exceptions, this, is_final);
  // On another thread, perhaps: `this` is not ours any more (X2).
  auto* worker = static_cast<Worker*>(transfer.data);
  *worker->error_number = caller_errno;  // what follows keeps it, as all that runs for a caller
  worker->land_after_switch(transfer.fctx);
  held.give_back();
  return worker;
}

// Always inline, as is all that returns on another stack than it was called on: each such return is mispredicted.
[[gnu::always_inline]] inline void Worker::leave(AfterSwitch after) noexcept {
  current->after = after;
  Fiber* to = &root;
  if (enter()) [[likely]] {
    processor->parks.add();
    current->parked_ns.store(processor->clock_ns.load(std::memory_order_relaxed), std::memory_order_relaxed);
    if (!current->is_pinned) [[likely]] {
      if (Runnable* runnable = pick(true)) to = materialize(runnable);
    } else if (processor->is(Attention::kNotesTimes)) {
      note_switch(Leaving::kParks, nullptr);
    }
  } else {
    note_come_home(Leaving::kParks);
    scheduler.note_detached_park();
    current->parked_ns.store(scheduler.now_ns(), std::memory_order_relaxed);
  }
  switch_to_fiber(to, false)->exit();
}

}  // namespace weft::detail

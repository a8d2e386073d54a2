#pragma once

// "M": an OS thread that runs goroutines while it holds a processor.
//
// A worker is on its own stack (`root`) only to search, to sleep and to stop; goroutines switch to each other directly.
// Everything here is called on the worker's thread, on whatever stack, unless noted.

#include <atomic>
#include <cstdint>
#include <thread>

#include "fiber.hpp"
#include "processor.hpp"
#include "thread_parker.hpp"

namespace weft::detail {

class Scheduler;
struct LocalNode;

struct Worker {
  Worker(Scheduler& owner, unsigned number) noexcept : scheduler(owner), index(number) {}

  Processor* processor = nullptr;  // while asleep: written by the waker under idle's lock
  Fiber* current = nullptr;        // whose stack we are on; &root between goroutines
  Fiber* left = nullptr;           // who was running before the last switch; read by the landing side
  ExceptionGlobals* exceptions = nullptr;
  Scheduler& scheduler;
  const unsigned index;
  Fiber root;

  bool is_searching = false;
  bool is_asleep = false;       // guarded by idle's lock: it is on the sleepers' list
  Worker* idle_next = nullptr;  // guarded by idle's lock
  Fiber* pinned = nullptr;      // the goroutine that this thread belongs to, if there is one; this thread only
  Runnable* in_hand = nullptr;  // taken from a queue already, for root to deal with; while asleep: under idle's lock
  bool is_set_aside = false;    // guarded by idle's lock: it has no processor and waits for `pinned` to be picked
  bool is_recalled = false;     // guarded by idle's lock: `pinned` was picked before it was set aside
  bool starts_spare = false;    // without a processor; set before the thread starts
  std::atomic<bool> is_listed{false};  // release, of one that starts spare: it is on the sleepers' list
  ThreadParker parker;
  std::atomic<std::uint32_t> nap{0};  // 1: napping between two looks; others may cut the nap short
  std::thread thread;
  std::atomic<int> thread_id{0};  // the kernel's, while it runs; relaxed: a hint

  /// The thread's main function.
  void main() noexcept;

  /// Leaves the current fiber, with `after` done once its stack has been left, for the next local runnable or root.
  /// Returns when somebody resumes it: on another worker, perhaps, so `this` must not be used afterwards.
  void leave(AfterSwitch after) noexcept;
  void submit_ready(Fiber* fiber) noexcept;
  /// The same for a yield: returns at once if nobody else can run here.
  void yield() noexcept;

  /// The processor's next work: local queues, and from time to time timers and the inject queue. nullptr: none, or it is
  /// for root to find. While a goroutine parks, its wait is not committed yet: the locks of what it waits for are held.
  Runnable* pick(bool is_parking = false) noexcept;
  /// After the running commit this worker takes up something else, without a look at all deadlines before.
  [[nodiscard]] bool goes_on() const noexcept { return current != &root || pinned != nullptr || in_hand != nullptr; }

 private:
  friend void fiber_main(Transfer transfer) noexcept;

  Runnable* pick_with_look(bool is_parking) noexcept;
  Runnable* pick_for_yield() noexcept;
  Runnable* pick_chaos() noexcept;
  bool send_on(Runnable* runnable) noexcept;
  void ready_expired(TimerHeap& timers, std::int64_t now, bool alarms_too) noexcept;
  void ready_last(SleeperHandle sleeper) noexcept;
  Runnable* grab_injected() noexcept;

  /// Waits until there is work; nullptr: the runtime stops.
  Runnable* find_work() noexcept;
  Runnable* search() noexcept;
  Runnable* nap_and_search() noexcept;
  Runnable* sweep(bool take_next) noexcept;
  Runnable* steal_from(Processor& victim, bool take_next) noexcept;
  void found_work() noexcept;
  bool sleep() noexcept;

  // Pinning (pin.cpp).
  void yield_pinned(Runnable* other) noexcept;
  Runnable* wait_for_own() noexcept;
  bool pass_on(Runnable* runnable) noexcept;
  void wait_as_spare() noexcept;
  static void end_unusually(Fiber* self) noexcept;

  Fiber* materialize(Runnable* runnable) noexcept;
  Fiber* fiber_for(Runnable* runnable) noexcept;
  Fiber* start_fiber(Task* task) noexcept;
  void attach(Fiber* fiber, Task* task) noexcept;
  void switch_to_fiber(Fiber* to, bool is_final) noexcept;
  void land_after_switch(void* left_context) noexcept;
  void land_otherwise(Fiber* from) noexcept;
  void commit_block(Fiber* from) noexcept;
  void run_tasks_here(Fiber* self) noexcept;
  void recycle(Fiber* fiber) noexcept;
};

/// Until nobody walks the fiber's stack any more: a few microseconds.
void await_release(const Fiber& fiber) noexcept;

/// Of the calling thread; nullptr on a thread that is not a worker. Never keep the result over a switch.
Worker* current_worker() noexcept;
/// The calling thread's own list of locals, not its goroutine's. Never keep the reference over a switch.
LocalNode*& locals_of_thread() noexcept;

}  // namespace weft::detail

#pragma once

// "M": an OS thread that runs goroutines while it holds a processor.
//
// A worker is on its own stack (`root`) only to search, to sleep and to stop; goroutines switch to each other directly.
// Everything here is called on the worker's thread, on whatever stack, unless noted.

#include <time.h>

#include <atomic>
#include <cstdint>
#include <thread>

#include "barrier.hpp"
#include "fiber.hpp"
#include "netpoll.hpp"
#include "processor.hpp"
#include "quick_clock.hpp"
#include "thread_parker.hpp"
#include "weft/detail/biased_lock.hpp"
#include "weft/detail/line_blocks.hpp"

namespace weft::detail {

class InjectQueue;
class Scheduler;
struct LocalNode;

/// Where a worker's thread is. The monitor takes the processor of a thread that stays in code of the user's.
enum class Zone : std::uint8_t { kRuntime, kUser, kBlocking };
/// Whether the worker's processor is its own: it is; it is, but there is no membarrier, so a look takes a fence; the monitor is
/// just deciding; the monitor has taken it.
enum class Lease : std::uint8_t { kHeld, kFenced, kWanted, kLost };

/// How the goroutine that picks the next one is about to leave.
enum class Leaving : std::uint8_t { kParks, kYields, kEnds };

/// Where a worker that searches naps between two looks, if it does. Values of a futex.
struct Nap {
  static constexpr std::uint32_t kNone = 0, kOnFutex = 1, kInPoller = 2;
};

struct Worker : WorkerFace {
  Worker(Scheduler& owner, unsigned number) noexcept
      : WorkerFace{nullptr, &line_blocks}, scheduler(owner), index(number) {}
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  /// Its thread has ended.
  ~Worker() { give_back_lock_user(lock_user); }

  // The protocol with the monitor: monitor.hpp.
  std::atomic<Zone> zone{Zone::kRuntime};   // written by the thread
  std::atomic<Lease> lease{held_lease()};   // written by the monitor; back from kLost to kHeld by the thread
  std::atomic<std::uint32_t> blockings{0};  // how many blocking() sections it has entered; its thread only writes
  std::atomic<clockid_t> cpu_clock{-1};     // the thread's CPU time; set by the thread
  std::atomic<int> thread_id{0};            // the kernel's; likewise

  Processor* processor = nullptr;  // while asleep: written by the waker under idle's lock
  // `current`: &root between goroutines
  Fiber* left = nullptr;  // who was running before the last switch; read by the landing side
  ExceptionGlobals* exceptions = nullptr;
  int* error_number = nullptr;  // the thread's errno: compilers keep its address over a switch
  Scheduler& scheduler;
  const unsigned index;
  const LockUser lock_user = take_lock_user();
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
  QuickClock quick_clock;
  FloatControl float_control;  // the thread's, when it began
  LineBlocks line_blocks;
  ThreadParker parker;
  std::atomic<std::uint32_t> nap{Nap::kNone};  // others may cut a nap short: end_nap()
  std::thread thread;

  /// The thread's main function.
  void main() noexcept;

  /// Before anything is done to the processor from code of the user's. False: there is none any more. Nests; see Entry.
  [[nodiscard]] bool enter() noexcept { return enter_quickly() || enter_slow(); }
  /// False: ask enter().
  [[nodiscard]] bool enter_quickly() noexcept {
    zone.store(Zone::kRuntime, std::memory_order_relaxed);  // M1
    std::atomic_signal_fence(std::memory_order_seq_cst);    // light_barrier, where there is a membarrier
    // acquire [worker.lease]: pairs with the release in Monitor::take().
    return lease.load(std::memory_order_acquire) == Lease::kHeld;  // M2
  }
  /// Back to code of the user's.
  void exit() noexcept { zone.store(Zone::kUser, std::memory_order_release); }  // M3
  /// For calls that end by a jump: an Entry's destructor would make them a frame.
  void wake_one_and_exit(Zone before) noexcept;
  static Lease held_lease() noexcept { return has_membarrier ? Lease::kHeld : Lease::kFenced; }
  [[nodiscard]] bool has_processor() const noexcept { return lease.load(std::memory_order_acquire) != Lease::kLost; }

  /// Leaves the current fiber, with `after` done once its stack has been left, for the next local runnable or root.
  /// Returns when somebody resumes it: on another worker, perhaps, so `this` must not be used afterwards.
  void leave(AfterSwitch after) noexcept;
  void end_nap() noexcept;
  /// The same for a yield: returns at once if nobody else can run here.
  void yield() noexcept;

  /// The processor's next work: local queues, and from time to time timers and the inject queue. nullptr: none, or it is
  /// for root to find. While a goroutine parks, its wait is not committed yet: the locks of what it waits for are held.
  Runnable* pick(bool is_parking = false) noexcept;
  /// After the running commit this worker takes up something else, without a look at all deadlines before.
  [[nodiscard]] bool goes_on() const noexcept {
    return current != &root || pinned != nullptr || in_hand != nullptr || !has_processor();
  }
  /// Where the caller's deadlines go. Any heap will do, and may be used by any thread.
  TimerHeap& timers() noexcept;

  // --- the trace and the latencies (worker_trace.cpp), if they are wanted; on a processor unless noted ---
  /// Before it becomes runnable: a goroutine is started, or readied.
  void note_spawn(Task& task) noexcept;
  void note_ready(Fiber& fiber) noexcept;
  /// A goroutine is about to leave for another one, or for root.
  void note_switch(Leaving leaving, Runnable* to) noexcept;
  /// root is about to run it.
  void note_begin(Runnable& runnable) noexcept;
  /// The running goroutine has got a processor again.
  void note_got_processor() noexcept;
  /// It leaves, without a processor.
  void note_come_home(Leaving leaving) noexcept;
  void note_steal(const Runnable& runnable, const Processor& victim) noexcept;
  /// The running goroutine's number; 0: there is none, or it has ended.
  [[nodiscard]] std::uint64_t goroutine() const noexcept;

  /// A goroutine whose processor was taken, in a call in which it may be descheduled: waits for its turn like any other.
  void come_home() noexcept;

 private:
  friend void fiber_main(Transfer transfer) noexcept;

  Runnable* pick_next() noexcept;
  Runnable* pick_others_first() noexcept;
  Runnable* pick_attentively(Leaving leaving) noexcept;
  Runnable* pick_with_look(bool is_parking) noexcept;
  Runnable* pick_for_yield() noexcept;
  Runnable* pick_chaos() noexcept;
  bool send_on(Runnable* runnable) noexcept;
  void ready_expired(TimerHeap& timers, std::int64_t now, bool alarms_too) noexcept;
  void ready_last(SleeperHandle sleeper) noexcept;
  Runnable* grab_injected() noexcept;
  std::size_t grab_from(InjectQueue& queue, Runnable** out) noexcept;
  std::size_t share_of(const InjectQueue& queue) const noexcept;
  Runnable* take_global() noexcept;
  Runnable* take_in_turn(std::int64_t now) noexcept;
  Runnable* follow_oldest(std::int64_t now) noexcept;
  void note_oldest(std::int64_t now, std::uint32_t count) noexcept;
  Runnable* take_some(InjectQueue& queue, std::size_t wanted) noexcept;
  Runnable* pop_fresh() noexcept;

  /// Waits until there is work; nullptr: the runtime stops.
  Runnable* find_work() noexcept;
  Runnable* search() noexcept;
  Runnable* nap_and_search() noexcept;
  [[nodiscard]] std::int64_t nap_end(std::int64_t nap_ns) noexcept;
  bool take_nap(std::int64_t deadline_ns) noexcept;
  Runnable* sweep(bool take_next) noexcept;
  static bool is_brisk(Processor& victim) noexcept;
  Runnable* steal_from(Processor& victim, bool take_next) noexcept;
  void found_work() noexcept;
  void requeue(Runnable* runnable) noexcept;
  bool sleep() noexcept;
  bool sleep_until_woken() noexcept;
  bool sleep_and_look(bool& was_in_poller) noexcept;
  bool sleep_in_poller(Netpoll& poller, std::int64_t deadline) noexcept;
  void look_at_files(Netpoll& poller, std::int64_t now) noexcept;
  void ready_all(const Netpoll::Ready& ready) noexcept;
  bool join_sleepers() noexcept;
  bool enter_slow() noexcept;

  // Pinning (pin.cpp).
  void yield_pinned(Runnable* other) noexcept;
  Runnable* wait_for_own() noexcept;
  Runnable* wait_for_own_detached() noexcept;
  bool pass_on(Runnable* runnable) noexcept;
  void wait_as_spare() noexcept;
  static void end_unusually(Fiber* self) noexcept;

  [[nodiscard]] bool is_for_root(const Runnable& runnable) const noexcept;
  Fiber* materialize(Runnable* runnable) noexcept;
  Fiber* fiber_for(Runnable* runnable) noexcept;
  Fiber* start_fiber(Task* task) noexcept;
  void attach(Fiber* fiber, Task* task) noexcept;
  Worker* switch_to_fiber(Fiber* to, bool is_final) noexcept;
  void land_after_switch(void* left_context) noexcept;
  void land_otherwise(Fiber* from) noexcept;
  void commit_block(Fiber* from) noexcept;
  void run_tasks_here(Fiber* self) noexcept;
  void recycle(Fiber* fiber) noexcept;

  [[nodiscard]] std::uint8_t detail_of(Leaving leaving) const noexcept;
  void put_begin(std::int64_t now, std::uint8_t why, std::uint64_t from, Runnable* to) noexcept;
};

/// A runtime call, or a part of one, that uses the caller's processor. Nothing in its scope switches.
class Entry {
 public:
  explicit Entry(Worker& worker) noexcept
      : worker_(worker), zone_(worker.zone.load(std::memory_order_relaxed)), has_processor_(worker.enter()) {}
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() { worker_.zone.store(zone_, std::memory_order_release); }  // M3
  [[nodiscard]] bool has_processor() const noexcept { return has_processor_; }

 private:
  Worker& worker_;
  const Zone zone_;
  const bool has_processor_;
};

/// As ready(), by a worker that holds no processor (park.cpp).
void ready_from_outside(SleeperHandle sleeper) noexcept;

/// Until nobody walks the fiber's stack any more: a few microseconds.
void await_release(const Fiber& fiber) noexcept;

/// Of the calling thread; nullptr on a thread that is not a worker. Never keep the result over a switch.
inline Worker* current_worker() noexcept { return static_cast<Worker*>(current_face()); }
/// In a forked child: the calling thread is a worker no more.
void forget_worker() noexcept;
/// The calling thread's own list of locals, not its goroutine's. Never keep the reference over a switch.
LocalNode*& locals_of_thread() noexcept;

}  // namespace weft::detail

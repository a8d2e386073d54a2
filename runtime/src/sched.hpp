#pragma once

// What all workers of one runtime share: processors, the inject queue, pools, who is idle, whether it stops.
//
// Submitting: a fiber that became ready, or a new task, goes to the caller's own processor if the caller is a worker of
// this runtime, else to the inject queue; then, if a processor is free and nobody searches, a worker is woken (idle.hpp).

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "fiber_pool.hpp"
#include "forked.hpp"
#include "idle.hpp"
#include "inject_queue.hpp"
#include "monitor.hpp"
#include "processor.hpp"
#include "stack_use.hpp"
#include "task.hpp"
#include "trace_ring.hpp"
#include "trace_state.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/runtime.hpp"

namespace weft::detail {

class Bubble;
struct Worker;

/// Where a runtime's time comes from. Injectable for tests.
class TimeSource {
 public:
  virtual ~TimeSource() = default;
  virtual std::int64_t now_ns() noexcept = 0;
};
TimeSource& steady_time() noexcept;

/// What only tests and environment variables set.
struct SchedulerTuning {
  TimeSource* time = nullptr;    // nullptr: steady_time()
  std::uint64_t seed = 0;        // of every random choice; 0: from the system
  std::uint64_t chaos = 0;       // 0: off. $WEFT_CHAOS
  bool follows_default = false;  // the number of processors was not given
};

class Scheduler {
 public:
  Scheduler(const RuntimeOptions& options, const SchedulerTuning& tuning, Runtime* owner);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // --- submitting (sched.cpp) ---
  /// From a worker of this scheduler that holds a processor.
  void submit_fresh(Worker& worker, Task* task) noexcept;
  void submit_ready(Worker& worker, Fiber* fiber) noexcept;       // into `next`; the usual case is ready()'s own
  void submit_last(Worker& worker, Runnable* runnable) noexcept;  // at the end of the queue
  /// From anywhere else.
  void submit_foreign(Runnable* runnable) noexcept;
  // --- the trace (worker_trace.cpp) ---
  /// Before submit_foreign() makes it runnable: somebody who holds no processor of ours readies a goroutine, or starts one.
  void note_foreign(Runnable& runnable) noexcept {
    if (notes_times()) [[unlikely]]
      note_foreign_slow(runnable);
  }
  [[nodiscard]] bool notes_times() const noexcept {
    return TraceState::is_on.load(std::memory_order_relaxed) || options.measure_latency;
  }
  /// From now on events of its processors are put into their rings, or not any more.
  void set_traced(bool is_traced) noexcept;
  /// The beginning of a text. `worker` is the caller's and holds a processor, or nullptr.
  void put_text(Worker* worker, TraceKind kind, std::uint64_t goroutine, std::string_view text) noexcept;
  /// Into the ring of those who hold no processor.
  void put_shared(std::span<const TraceEvent> events) noexcept;
  TraceTrack shared_trace;

  /// Work has become visible.
  void notify() noexcept {
    if (idle.should_wake()) [[unlikely]]
      wake_one();
  }
  void wake_one() noexcept;

  // --- for workers ---
  [[nodiscard]] unsigned processor_count() const noexcept { return idle.in_use(); }
  [[nodiscard]] bool has_global_work() const noexcept { return inject.size() != 0 || overflow.size() != 0; }
  [[nodiscard]] bool is_stopping() const noexcept { return stopping_.load(std::memory_order_relaxed); }  // re-checked
  [[nodiscard]] bool has_work() noexcept;
  [[nodiscard]] std::int64_t earliest_deadline() const noexcept;
  [[nodiscard]] std::int64_t now_ns() noexcept { return time_.now_ns(); }
  /// Until the earliest one; negative if it has passed.
  [[nodiscard]] std::int64_t ns_to_deadline() noexcept { return earliest_deadline() - now_ns(); }
  [[nodiscard]] bool tells_system_time() const noexcept { return tells_system_time_; }
  /// Every processor is free and nobody searches. Returns when to look again (kForever: no need).
  std::int64_t on_quiet() noexcept;

  /// A detached worker has joined the sleepers, was set aside, or has a processor again.
  void end_detached() noexcept { detached.fetch_sub(1, std::memory_order_seq_cst); }
  /// There is a thread for one more processor, or there may be a new one.
  [[nodiscard]] bool can_grow() noexcept;
  void note_detached_park() noexcept { detached_parks_.fetch_add(1, std::memory_order_relaxed); }  // counter

  /// One more, or one less, of the goroutines is pinned. pin() sees to it that there are threads enough (P1 in idle.hpp);
  /// throws std::system_error.
  void pin();
  void unpin() noexcept;

  // --- records (spawn.cpp) ---
  Task* new_task(Worker* worker);
  void count_foreign_spawn() noexcept;
  void free_task(Worker* worker, Task* task) noexcept;

  // --- how many processors (resize.cpp) ---
  /// Returns how many were wanted before; 0 only asks. Throws std::invalid_argument, std::bad_alloc.
  unsigned set_processors(unsigned n);
  /// Unless somebody has said how many: as many as affinity and quota allow by now.
  void follow_default() noexcept;
  /// What the processor, which the caller has to itself, holds ready goes to the global queue.
  void drain(Processor& processor) noexcept;

  // --- lifecycle (sched.cpp) ---
  void start();
  /// Waits until no goroutine lives, at most until the deadline (steady ns).
  bool wait_drained(std::int64_t deadline_ns) noexcept;
  /// Stops every worker: each leaves its goroutine at the goroutine's next runtime call. False: some had not done so
  /// within `patience_ns`; then the scheduler must stay. The calling worker, if it is one of ours, is not waited for.
  bool stop(std::int64_t patience_ns) noexcept;
  [[nodiscard]] bool is_stopped() const noexcept { return stopped_.load(std::memory_order_acquire); }
  /// After stop(): unlinks every parked goroutine from what it waits on.
  void abandon_all() noexcept;
  /// Of a bubble that can never go on: its goroutines are unlinked from what they wait on, and count as ended. Their stacks
  /// stay, since their destructors do not run.
  void abandon_bubble(const Bubble& bubble) noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return closed_.load(std::memory_order_acquire); }
  void close() noexcept { closed_.store(true, std::memory_order_release); }

  [[nodiscard]] std::uint64_t live() const noexcept;
  [[nodiscard]] std::uint64_t spawned() const noexcept;
  [[nodiscard]] std::uint64_t finished() const noexcept;
  [[nodiscard]] Stats stats();
  /// A list of all, ordered by their numbers. With stacks it takes some microseconds for each.
  [[nodiscard]] std::vector<GoroutineInfo> goroutines(bool with_stacks = true);
  /// The kernel's numbers of the workers that run.
  [[nodiscard]] std::vector<int> thread_ids();
  /// They stay until the runtime ends. Throws std::bad_alloc.
  [[nodiscard]] std::vector<Worker*> workers();
  [[nodiscard]] static GoroutineInfo describe(const Task& task);

  const RuntimeOptions options;
  const ProcessMark process;
  Scheduler* next_parent = nullptr;  // runtime.cpp
  Runtime* const runtime;
  ProcessorTable processors;
  InjectQueue inject;
  InjectQueue overflow;  // the oldest of the goroutines that have not started, for whom no deque had room
  TaskPool tasks;
  FiberPool fibers;
  StackUses stack_uses;  // if options.measure_stacks
  Idle idle;
  const std::uint64_t chaos;
  std::atomic<Worker*> napper{nullptr};  // the one searcher that may nap
  std::atomic<std::uint64_t> wakes{0};
  std::atomic<std::uint64_t> handoffs{0};
  std::atomic<int> foreign_calls{0};     // outside threads that are inside submit_foreign
  std::atomic<bool> main_exited{false};  // run()'s function ended by exit_goroutine
  std::atomic<int> detached{0};          // workers that run a goroutine without a processor (monitor.hpp)
  Monitor monitor{*this};

 private:
  friend struct Worker;
  void submit_fresh_slow(Worker& worker, Task* task) noexcept;
  void note_foreign_slow(Runnable& runnable) noexcept;
  void resize(unsigned n);
  void push_overflow(Worker& worker, Runnable* runnable) noexcept;
  Processor& add_processor();
  void start_worker(Processor& processor);
  void start_spare();  // workers_lock_ is held

  /// Of stacks, taken from the slabs in batches. Throws std::system_error.
  int reserve_credits();
  static constexpr int kCreditBatch = 64;
  std::atomic<int> kept_credits_{3 * kCreditBatch};  // most that a processor keeps for later; relaxed: a policy

  Spinlock resize_lock_;
  unsigned wanted_processors_;         // guarded by resize_lock_
  std::atomic<bool> follows_default_;  // relaxed: a setting
  Random seeds_;                       // guarded by resize_lock_: of processors

  TimeSource& time_;
  const bool tells_system_time_ = &time_ == &steady_time();
  std::atomic<bool> stopping_{false};
  std::atomic<bool> stopped_{false};
  std::atomic<bool> closed_{false};
  std::atomic<std::uint32_t> exited_workers_{0};  // futex
  std::atomic<std::uint32_t> quiet_word_{0};      // futex: counts quiet moments while draining_
  std::atomic<bool> draining_{false};

  Spinlock workers_lock_;
  std::vector<std::unique_ptr<Worker>> workers_;  // guarded by workers_lock_
  std::size_t pinned_ = 0;                        // guarded by workers_lock_: goroutines

  Spinlock shared_trace_lock_;  // whoever has it writes the ring

  // For threads that hold no processor of ours.
  Spinlock foreign_lock_;
  TaskCache foreign_tasks_;  // guarded by foreign_lock_
  std::atomic<std::uint64_t> foreign_spawned_{0};
  std::atomic<std::uint64_t> abandoned_{0};  // of bubbles
  // For workers that are detached.
  std::atomic<std::uint64_t> detached_finished_{0};
  std::atomic<std::uint64_t> detached_parks_{0};
};

/// Of the process-wide default runtime, which is started if need be (runtime.cpp). In a forked child: throws Panic that names
/// the call.
Scheduler& default_scheduler(const char* call);
/// In a forked child: who held the lock of the default runtime stayed behind.
void forget_default_lock() noexcept;

/// Goroutine numbers for a processor: [first, first + count).
std::uint64_t take_goroutine_ids(std::uint64_t count) noexcept;

struct Frames;
/// What leaves a goroutine by exception (uncaught.cpp). `thrown_at`: the stack of the throw, if it is known.
void report_uncaught(Scheduler& scheduler, Task& task, const Frames* thrown_at) noexcept;
/// All goroutines, with their stacks, as text (dump.cpp).
std::string describe_all(Scheduler& scheduler);
/// Calls f(argument) where there is stack enough to look up names: here, or if the caller is a goroutine on a thread made
/// for it (dump.cpp).
void on_roomy_stack(void (*f)(void*), void* argument) noexcept;
/// As far as the file takes it (dump.cpp).
void write_all(int fd, std::string_view text) noexcept;

}  // namespace weft::detail

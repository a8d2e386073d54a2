#pragma once

// A runtime: processors, the threads that hold them, and the goroutines they run.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/detail/spawn.hpp"
#include "weft/stats.hpp"
#include "weft/time.hpp"

namespace weft {

/// Called when an exception has left a goroutine (its destructors have run). If it returns, only that goroutine ends.
using OnUncaught = void (*)(const GoroutineInfo& goroutine, std::exception_ptr error);

enum class DeadlockAction { fatal, ignore };
/// Called when no goroutine can ever run again. `fatal`: print Go's report and exit with status 2.
using OnDeadlock = DeadlockAction (*)(const std::vector<GoroutineInfo>& goroutines);

struct RuntimeOptions {
  /// GOMAXPROCS. 0: $WEFT_PROCS, else the CPUs that affinity and cgroup quota allow.
  unsigned processors = 0;
  /// Bytes of address space for each goroutine's stack; pages are committed on first touch.
  std::size_t stack_size = std::size_t{256} * 1024;
  /// Most OS threads the runtime may have.
  unsigned max_threads = 10'000;
  /// Default (nullptr): print goroutine, spawn site, type and what(); exit with status 2.
  OnUncaught on_uncaught = nullptr;
  /// Default (nullptr): print "fatal error: all goroutines are asleep - deadlock!" and exit with status 2.
  OnDeadlock on_deadlock = nullptr;
  /// A goroutine that overflows its stack is reported (and the process ends with status 2, or in the handler that the host
  /// had for SIGSEGV before); another SIGSEGV or SIGBUS in a goroutine goes on to that handler, or to the default action,
  /// after a line that names the goroutine. For that the process has a handler for both signals while such a runtime
  /// lives, and each of its threads an alternate signal stack. A host may install a handler of its own at any time.
  /// false: neither, for this runtime. Under the address and the thread sanitizer their own handlers stay.
  bool handle_stack_overflow = true;
  /// Measures how much of its stack each goroutine uses (weft::stack_use, by spawn site). For diagnosis: a few system calls
  /// for each goroutine. $WEFT_STACK_STATS=1: for every runtime, which prints the list when it is shut down, or at exit.
  bool measure_stacks = false;
  /// Every Mutex and RWMutex notes which goroutine has locked it, from now on and in the whole process: so that goroutines
  /// that wait for each other are found (weft::find_lock_cycles, deadlock reports, dumps). An uncontended lock and unlock cost
  /// some tens of ns more then; otherwise one load. $WEFT_LOCK_OWNERS=1: for every runtime.
  bool track_lock_owners = false;
  /// Counts how long goroutines wait for a processor once they could run (weft::sched_latencies): two readings of the clock
  /// for each switch.
  bool measure_latency = false;
};

/// What was still alive when a runtime stopped.
struct ShutdownReport {
  std::vector<GoroutineInfo> stragglers;
  [[nodiscard]] bool clean() const noexcept { return stragglers.empty(); }
};

namespace detail {

/// Blocks its owner until done() was called once.
class Completion {
 public:
  void done() noexcept;
  /// is_durable: for a caller in a bubble, whether it is the bubble that will call done().
  void wait(bool is_durable = false) noexcept;

 private:
  std::atomic<std::uintptr_t> state_{0};  // 0: neither; 1: done; else the handle of who waits
};

/// The outcome of a function that runs elsewhere.
template <class R>
class Outcome {
 public:
  template <class F>
  void run(F&& f) {
    value_.emplace(std::forward<F>(f)());
  }
  void fail(std::exception_ptr error) noexcept { error_ = std::move(error); }
  /// Called once: nothing of the value stays behind.
  R get() {
    if (error_) std::rethrow_exception(std::move(error_));
    R value = std::move(*value_);
    value_.reset();
    return value;
  }

 private:
  std::optional<R> value_;
  std::exception_ptr error_;
};

template <class R>
class Outcome<R&> {
 public:
  template <class F>
  void run(F&& f) {
    value_ = &std::forward<F>(f)();
  }
  void fail(std::exception_ptr error) noexcept { error_ = std::move(error); }
  R& get() {
    if (error_) std::rethrow_exception(std::move(error_));
    return *value_;
  }

 private:
  R* value_ = nullptr;
  std::exception_ptr error_;
};

template <>
class Outcome<void> {
 public:
  template <class F>
  void run(F&& f) {
    static_cast<void>(std::forward<F>(f)());
  }
  void fail(std::exception_ptr error) noexcept { error_ = std::move(error); }
  void get() {
    if (error_) std::rethrow_exception(std::move(error_));
  }

 private:
  std::exception_ptr error_;
};

/// Ends what GoroutineLocals have made for the calling goroutine (goroutine_local.hpp).
void destroy_locals() noexcept;

/// Thrown by exit_goroutine; not a std::exception, so that handlers of those let it pass.
struct GoroutineExit {};

}  // namespace detail

/// Several may live in one process; start and stop any number of times.
/// In a forked child a runtime of the parent's is gone: go, run and shutdown throw Panic, its destructor does nothing. fork
/// and exec is safe at any time, from goroutines and threads; so is a Runtime that the child makes for itself.
class Runtime {
 public:
  explicit Runtime(const RuntimeOptions& options = {});
  /// shutdown(0s). Goroutines that still live are abandoned: their stacks are freed, their destructors do not run,
  /// and they are unlinked from every channel, mutex or timer that outlives them.
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Starts a goroutine on this runtime. Safe from: any thread. Throws after shutdown: Panic.
  template <class F, class... Args>
    requires detail::Spawnable<F, Args...>
  [[gnu::always_inline]] inline void go(F&& f, Args&&... args) {
    detail::spawn(scheduler_, nullptr, std::forward<F>(f), std::forward<Args>(args)...);
  }
  template <class F, class... Args>
    requires detail::Spawnable<F, Args...>
  [[gnu::always_inline]] inline void go(const GoOptions& options, F&& f, Args&&... args) {
    detail::spawn(scheduler_, &options, std::forward<F>(f), std::forward<Args>(args)...);
  }

  /// Runs f as a goroutine and blocks the caller until it returns; returns its result or rethrows what it threw. Other
  /// goroutines go on. If f ends by exit_goroutine, run never returns (as Go's main).
  template <class F>
  auto run(F&& f) -> std::invoke_result_t<F> {
    check_process("Runtime::run");
    detail::Outcome<std::invoke_result_t<F>> outcome;
    detail::Completion completion;
    // By reference: this frame outlives the goroutine's use of it, since wait() returns only after done().
    auto body = [&f, &outcome, &completion] {
      try {
        outcome.run(std::forward<F>(f));
      } catch (const detail::GoroutineExit&) {
        note_main_exit();
        throw;
      } catch (...) {
        outcome.fail(std::current_exception());
      }
      detail::destroy_locals();  // the caller may destroy the runtime as soon as it knows
      completion.done();
    };
    const GoOptions options{.name = "main"};
    detail::spawn(scheduler_, &options, body);
    completion.wait(current() == this);
    return outcome.get();
  }

  /// Waits up to `grace` for every goroutine to end, then stops the processors. Reports who was still alive.
  /// Must not be called from one of the runtime's own goroutines: throws Panic.
  ShutdownReport shutdown(std::chrono::nanoseconds grace);

  /// From now on so many processors are used. Returns how many were before; 0 only asks. One that is not wanted any more is given
  /// up when the goroutine that runs there next parks, yields, or has computed for 10 ms. Without a call, and without a number
  /// in RuntimeOptions or $WEFT_PROCS, affinity and cgroup quota are looked at again every second.
  ///
  /// Blocks: never. Safe from: goroutines and threads. Throws: std::invalid_argument for more than 1,024; std::bad_alloc.
  /// Go: runtime.GOMAXPROCS.
  unsigned set_processors(unsigned n);

  [[nodiscard]] Stats stats() const;

  /// The calling goroutine's runtime; nullptr elsewhere.
  static Runtime* current() noexcept;
  /// Started on first use, and stopped when the process exits.
  static Runtime& process_default();
  /// Throws Panic once the default runtime has started.
  static void set_default_options(const RuntimeOptions& options);

  // For weft only.
  detail::Scheduler& scheduler() const noexcept { return *scheduler_; }
  static Runtime& process_default_for(const char* call);

 private:
  void check_process(const char* call) const;  // throws Panic in a forked child
  static void note_main_exit() noexcept;
  detail::Scheduler* scheduler_;
};

/// Runs f on the process-wide default runtime. See Runtime::run.
template <class F>
auto run(F&& f) -> std::invoke_result_t<F> {
  return Runtime::process_default_for("run").run(std::forward<F>(f));
}

/// Runs f on a runtime of its own, which is stopped at return.
template <class F>
auto run(const RuntimeOptions& options, F&& f) -> std::invoke_result_t<F> {
  Runtime runtime(options);
  return runtime.run(std::forward<F>(f));
}

}  // namespace weft

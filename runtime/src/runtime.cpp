// Runtime objects: options, start and stop, the process-wide default.

#include "weft/runtime.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "deadlock.hpp"
#include "fault.hpp"
#include "keep_errno.hpp"
#include "processor_count.hpp"
#include "sched.hpp"
#include "symbols.hpp"
#include "trace.hpp"
#include "uncaught.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"
#include "worker.hpp"

namespace weft {
namespace {

using detail::Scheduler;

constexpr std::int64_t kStopPatienceNs = 1'000'000'000;  // for goroutines that run when a runtime stops
constexpr std::int64_t kExitPatienceNs = 100'000'000;    // the same when the process exits

bool is_one(const char* variable) noexcept {
  const char* text = std::getenv(variable);
  return text != nullptr && std::strcmp(text, "1") == 0;
}
bool prints_stack_use() noexcept { return is_one("WEFT_STACK_STATS"); }

RuntimeOptions resolve(RuntimeOptions options) {
  if (options.processors == 0) options.processors = detail::default_processor_count();
  if (options.processors > detail::kMostProcessors) {
    throw std::invalid_argument("weft: Runtime: processors must be at most " + std::to_string(detail::kMostProcessors));
  }
  options.measure_stacks = options.measure_stacks || prints_stack_use();
  options.track_lock_owners = options.track_lock_owners || is_one("WEFT_LOCK_OWNERS");
  if (options.max_threads == 0) throw std::invalid_argument("weft: Runtime: max_threads must be at least 1");
  return options;
}

detail::SchedulerTuning tuning_from_environment() {
  detail::SchedulerTuning tuning;
  const char* text = std::getenv("WEFT_CHAOS");
  if (text == nullptr || *text == '\0') return tuning;
  char* end = nullptr;
  tuning.chaos = std::strtoull(text, &end, 0);
  if (*end != '\0')
    throw std::invalid_argument("weft: WEFT_CHAOS=" + std::string(text) + ": expected a number (0: off)");
  if (tuning.chaos != 0) detail::chaos_enabled.store(true, std::memory_order_relaxed);
  return tuning;
}

struct DefaultRuntime {
  detail::Spinlock lock;
  RuntimeOptions options;  // guarded by lock
  std::atomic<Runtime*> runtime{nullptr};
};

/// What a forked child has of its parent's runtimes: not to be touched, and not a leak either.
std::atomic<Scheduler*> parents{nullptr};

void keep_for_ever(Scheduler& scheduler) noexcept {
  scheduler.next_parent = parents.load(std::memory_order_relaxed);
  while (!parents.compare_exchange_weak(scheduler.next_parent, &scheduler, std::memory_order_relaxed)) {
  }
}

DefaultRuntime& default_runtime() {
  static auto* instance = new DefaultRuntime;  // outlives every static object
  return *instance;
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options) {
  const detail::KeepErrno keep_errno;
  detail::watch_forks();
  detail::SchedulerTuning tuning = tuning_from_environment();
  tuning.follows_default = options.processors == 0 && detail::processors_from_environment() == 0;
  detail::trace_as_environment_says();
  auto scheduler = std::make_unique<Scheduler>(resolve(options), tuning, this);
  if (scheduler->options.track_lock_owners) detail::tracks_lock_owners.store(true, std::memory_order_relaxed);
  detail::TracedScheduler traced(*scheduler);
  scheduler->start();
  traced.keep();
  if (options.handle_stack_overflow) detail::retain_fault_handler();
  scheduler_ = scheduler.release();
}

Runtime::~Runtime() {
  if (!scheduler_->process.is_here()) {
    keep_for_ever(*scheduler_);
    return;
  }
  if (current() == this) {
    detail::fatal("weft: Runtime::~Runtime: a runtime cannot be destroyed by one of its own goroutines");
  }
  static_cast<void>(shutdown(std::chrono::nanoseconds(0)));
  // A goroutine that makes no runtime call cannot be stopped: then what it uses stays.
  if (!scheduler_->is_stopped()) return;
  if (scheduler_->options.handle_stack_overflow) detail::release_fault_handler();
  detail::Tracer::instance().remove(*scheduler_);
  delete scheduler_;
}

ShutdownReport Runtime::shutdown(std::chrono::nanoseconds grace) {
  check_process("Runtime::shutdown");
  if (current() == this) {
    detail::throw_panic("weft: Runtime::shutdown: a runtime cannot be shut down by one of its own goroutines");
  }
  if (scheduler_->is_closed()) return {};
  const std::int64_t now = detail::steady_time().now_ns();
  const std::int64_t deadline = grace.count() > detail::kForever - now ? detail::kForever : now + grace.count();
  static_cast<void>(scheduler_->wait_drained(deadline));
  scheduler_->close();
  const bool is_stopped = scheduler_->stop(kStopPatienceNs);
  ShutdownReport report{scheduler_->goroutines()};
  detail::await_reports();
  if (is_stopped) scheduler_->abandon_all();
  if (prints_stack_use()) scheduler_->stack_uses.print(&detail::describe_address);
  return report;
}

void Runtime::check_process(const char* call) const {
  if (!scheduler_->process.is_here()) detail::throw_after_fork(call);
}

unsigned Runtime::set_processors(unsigned n) {
  check_process("Runtime::set_processors");
  return scheduler_->set_processors(n);
}

Stats Runtime::stats() const { return scheduler_->stats(); }

Runtime* Runtime::current() noexcept {
  const detail::Worker* worker = detail::current_worker();
  return worker == nullptr ? nullptr : worker->scheduler.runtime;
}

Runtime& Runtime::process_default() { return process_default_for("Runtime::process_default"); }

Runtime& Runtime::process_default_for(const char* call) {
  DefaultRuntime& shared = default_runtime();
  // acquire: pairs with the release below.
  if (Runtime* runtime = shared.runtime.load(std::memory_order_acquire)) {
    runtime->check_process(call);
    return *runtime;
  }
  detail::SpinGuard guard(shared.lock);
  Runtime* runtime = shared.runtime.load(std::memory_order_relaxed);  // guarded by lock
  if (runtime == nullptr) {
    runtime = new Runtime(shared.options);
    // Goroutines must not run while static objects are destroyed.
    std::atexit([] {
      Scheduler& scheduler = default_runtime().runtime.load(std::memory_order_acquire)->scheduler();
      if (!scheduler.process.is_here()) return;
      scheduler.close();
      static_cast<void>(scheduler.stop(kExitPatienceNs));
      if (prints_stack_use()) scheduler.stack_uses.print(&detail::describe_address);
      detail::await_reports();  // a crash is never turned into success (PAN-3, PAN-10)
    });
    shared.runtime.store(runtime, std::memory_order_release);
  }
  return *runtime;
}

void Runtime::set_default_options(const RuntimeOptions& options) {
  DefaultRuntime& shared = default_runtime();
  detail::SpinGuard guard(shared.lock);
  if (shared.runtime.load(std::memory_order_relaxed) != nullptr) {
    detail::throw_panic("weft: Runtime::set_default_options: the default runtime has started already");
  }
  shared.options = resolve(options);
}

void Runtime::note_main_exit() noexcept { detail::current_worker()->current->task->is_main = 1; }

Stats stats() {
  if (const Runtime* runtime = Runtime::current()) return runtime->stats();
  return Runtime::process_default_for("stats").stats();
}

std::vector<StackUse> stack_use() {
  if (const Runtime* runtime = Runtime::current())
    return runtime->scheduler().stack_uses.list(&detail::describe_address);
  return Runtime::process_default_for("stack_use").scheduler().stack_uses.list(&detail::describe_address);
}

std::size_t resident_stack_bytes() {
  if (const Runtime* runtime = Runtime::current()) return runtime->scheduler().fibers.resident_bytes();
  return Runtime::process_default_for("resident_stack_bytes").scheduler().fibers.resident_bytes();
}

namespace detail {

Scheduler& default_scheduler(const char* call) { return Runtime::process_default_for(call).scheduler(); }

void forget_default_lock() noexcept { std::construct_at(&default_runtime().lock); }

namespace {

constexpr std::uintptr_t kDone = 1;  // no handle: a fiber's is aligned, a thread's has more bits

struct CompletionPoint : WaitPoint {
  std::atomic<std::uintptr_t>* state;
  SleeperHandle self;
};

void commit_completion(WaitPoint& wait) noexcept {
  auto& point = static_cast<CompletionPoint&>(wait);
  std::uintptr_t expected = 0;
  const SleeperHandle self = point.self;
  // acq_rel [completion]: done() either finds the sleeper, or has left its mark.
  if (!point.state->compare_exchange_strong(expected, self.bits(), std::memory_order_acq_rel,
                                            std::memory_order_acquire)) {
    ready(self);
  }
}

bool abandon_completion(WaitPoint& wait) noexcept {
  auto& point = static_cast<CompletionPoint&>(wait);
  std::uintptr_t expected = point.self.bits();
  return point.state->compare_exchange_strong(expected, 0, std::memory_order_acq_rel, std::memory_order_acquire);
}

constexpr WaitOps kCompletionOps{&commit_completion, &abandon_completion, nullptr};

}  // namespace

void Completion::done() noexcept {
  // acq_rel [completion]: publishes the outcome. The last access: the waiter may return at once.
  const std::uintptr_t waiter = state_.exchange(kDone, std::memory_order_acq_rel);
  if (waiter != 0) ready(SleeperHandle(waiter));
}

void Completion::wait(bool is_durable) noexcept {
  if (state_.load(std::memory_order_acquire) != kDone) {
    Sleeper self;
    CompletionPoint point;
    point.ops = &kCompletionOps;
    point.reason = WaitReason::kRun;
    point.is_durable = is_durable;
    point.state = &state_;
    point.self = self.handle();
    park(self, point);
  }
  // A goroutine that is just being reported as uncaught ends the process; its report must not be lost by a quick return.
  await_reports();
}

}  // namespace detail
}  // namespace weft

#include "fault.hpp"

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "keep_errno.hpp"
#include "sched.hpp"
#include "signal_text.hpp"
#include "switch.hpp"
#include "uncaught.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/spinlock.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr int kSignals[] = {SIGSEGV, SIGBUS};
constexpr std::size_t kSignalCount = sizeof kSignals / sizeof kSignals[0];
constexpr unsigned kReportSeconds = 5;  // for the names; then the process ends without them
constexpr std::size_t kInnerFrames = 12;
constexpr std::size_t kOuterFrames = 6;

struct Handlers {
  Spinlock lock;
  unsigned users = 0;                          // guarded by lock
  bool is_installed[kSignalCount] = {};        // guarded by lock: by us; somebody may stand on top
  struct sigaction before[kSignalCount] = {};  // written before ours is installed, read by the handler
  std::atomic<bool> host_recovers{false};      // relaxed, a hint: the host's handler has returned from a fault
};
Handlers handlers;

std::size_t index_of(int signal) noexcept { return signal == kSignals[0] ? 0 : 1; }

// --- the report ---

bool is_in_guard(std::uintptr_t address, Fiber* fiber) noexcept {
  if (fiber == nullptr || fiber->scheduler == nullptr) return false;  // a worker's own stack
  const auto low = reinterpret_cast<std::uintptr_t>(fiber->state.stack.low);
  return address < low && low - address <= page_size();
}

/// Whose stack is full; nullptr: nobody's. In the middle of a switch `current` is the next one already.
Fiber* overflowed(const Worker* worker, const siginfo_t& info) noexcept {
  if (worker == nullptr || info.si_code <= 0) return nullptr;  // <= 0: sent by somebody
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (is_in_guard(address, worker->current)) return worker->current;
  return is_in_guard(address, worker->left) ? worker->left : nullptr;
}

void add_goroutine(SignalText& text, const Fiber& fiber) noexcept {
  const Task* task = fiber.task;
  text.add("goroutine ").add_decimal(task == nullptr ? 0 : task->id.load(std::memory_order_relaxed));
  if (task != nullptr && task->extras != nullptr && !task->extras->name.empty()) {
    text.add(" \"").add(task->extras->name).add("\"");
  }
}

void add_creator(SignalText& text, const Fiber& fiber) noexcept {
  if (fiber.task == nullptr) return;
  text.add("\tcreated by ").add_address(fiber.task->spawn_site.load(std::memory_order_relaxed)).add("\n");
}

/// Return addresses along the frame pointers, as far as they lead through the goroutine's stack.
template <class Visit>
std::size_t walk_frames(const Fiber& fiber, std::uintptr_t frame, Visit visit) noexcept {
  const StackRange stack = fiber.state.stack;
  std::uintptr_t lowest = reinterpret_cast<std::uintptr_t>(stack.low);
  const std::uintptr_t end = reinterpret_cast<std::uintptr_t>(stack.top()) - 2 * sizeof(void*);
  std::size_t n = 0;
  while (frame >= lowest && frame <= end && frame % sizeof(void*) == 0) {
    const auto* words = reinterpret_cast<const std::uintptr_t*>(frame);
    if (words[1] == 0) break;
    visit(n++, reinterpret_cast<const void*>(words[1] - 1));  // inside the call
    lowest = frame + 1;
    frame = words[0];
  }
  return n;
}

void add_stack(SignalText& text, const Fiber& fiber, const void* context) noexcept {
  const Interrupted at = interrupted_at(context);
  if (at.pc == nullptr) return;
  text.add("\t").add_address(at.pc).add("\n");
  const std::size_t frames = walk_frames(fiber, at.frame, [](std::size_t, const void*) {});
  walk_frames(fiber, at.frame, [&](std::size_t n, const void* address) {
    if (n < kInnerFrames || n + kOuterFrames >= frames) {
      text.add("\t").add_address(address).add("\n");
    } else if (n == kInnerFrames) {
      text.add("\t...").add_decimal(frames - kInnerFrames - kOuterFrames).add(" frames elided...\n");
    }
  });
}

void report_overflow(const Fiber& fiber, const void* context) noexcept {
  SignalText text;
  text.add("runtime: goroutine stack exceeds ").add_decimal(fiber.state.stack.size).add("-byte limit\n");
  text.add("runtime: sp=").add_hex(interrupted_at(context).sp);
  text.add(" stack=[").add_hex(reinterpret_cast<std::uintptr_t>(fiber.state.stack.low)).add(", ");
  text.add_hex(reinterpret_cast<std::uintptr_t>(fiber.state.stack.top())).add("]\n");
  text.add("fatal error: stack overflow\n\n");
  add_goroutine(text, fiber);
  text.add(" [running]:\n\tits stack has ").add_decimal(fiber.state.stack.size);
  text.add(" bytes: GoOptions::stack_size gives one goroutine more, RuntimeOptions::stack_size all of them\n");
  text.flush();  // before anything that could fail
  add_creator(text, fiber);
  add_stack(text, fiber, context);
}

void report_fault(int signal, const siginfo_t& info, const Fiber& fiber, const void* context) noexcept {
  SignalText text;
  text.add(signal == SIGSEGV ? "weft: SIGSEGV" : "weft: SIGBUS");
  if (info.si_code > 0) text.add(" at address ").add_hex(reinterpret_cast<std::uintptr_t>(info.si_addr));
  text.add(" in ");
  add_goroutine(text, fiber);
  text.add(":\n");
  text.flush();
  add_creator(text, fiber);
  add_stack(text, fiber, context);
}

// --- the handler ---

bool is_host_handler(const struct sigaction& action) noexcept {
  return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN;
}

/// As the kernel would have called it.
void call(const struct sigaction& host, int signal, siginfo_t* info, void* context) noexcept {
  sigset_t mask = host.sa_mask;
  sigset_t old;
  pthread_sigmask(SIG_BLOCK, &mask, &old);
  if ((host.sa_flags & SA_NODEFER) != 0) {
    sigset_t own;
    sigemptyset(&own);
    sigaddset(&own, signal);
    pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
  }
  if ((host.sa_flags & SA_SIGINFO) != 0) {
    host.sa_sigaction(signal, info, context);
  } else {
    host.sa_handler(signal);
  }
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

/// The fault happens again once we have returned, and the kernel deals with it. One that was sent does not.
void take_default_action(int signal, const siginfo_t& info) noexcept {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  sigaction(signal, &plain, nullptr);
  if (info.si_code <= 0) raise(signal);  // blocked until we return
}

void bound_report_time() noexcept {
  struct sigaction plain {};
  plain.sa_handler = SIG_DFL;
  sigaction(SIGALRM, &plain, nullptr);
  alarm(kReportSeconds);
}

void on_fault(int signal, siginfo_t* info, void* context) noexcept {
  const KeepErrno keep_errno;
  const struct sigaction& host = handlers.before[index_of(signal)];
  const Worker* worker = current_worker();
  if (const Fiber* fiber = overflowed(worker, *info)) {
    begin_report();
    if (!is_host_handler(host)) bound_report_time();
    report_overflow(*fiber, context);
    if (is_host_handler(host)) {
      end_report();  // it may never return here, and go on
      call(host, signal, info, context);
      begin_report();
    }
    end_process();
  }
  if (worker != nullptr && worker->current != &worker->root && worker->current->scheduler != nullptr &&
      !handlers.host_recovers.load(std::memory_order_relaxed)) {
    report_fault(signal, *info, *worker->current, context);
  }
  if (!is_host_handler(host)) return take_default_action(signal, *info);
  call(host, signal, info, context);
  handlers.host_recovers.store(true, std::memory_order_relaxed);  // faults are its way of working
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &on_fault;
}

}  // namespace

void retain_fault_handler() noexcept {
  if constexpr (kAsan || kTsan) return;
  SpinGuard guard(handlers.lock);
  if (handlers.users++ != 0) return;
  for (std::size_t i = 0; i < kSignalCount; ++i) {
    // Ours is still there, or below a handler of the host's that may call it: once more would make a circle.
    if (handlers.is_installed[i]) continue;
    sigaction(kSignals[i], nullptr, &handlers.before[i]);
    struct sigaction action {};
    action.sa_sigaction = &on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    handlers.is_installed[i] = sigaction(kSignals[i], &action, nullptr) == 0;
  }
}

void forget_fault_lock() noexcept { std::construct_at(&handlers.lock); }

void release_fault_handler() noexcept {
  if constexpr (kAsan || kTsan) return;
  SpinGuard guard(handlers.lock);
  if (--handlers.users != 0) return;
  for (std::size_t i = 0; i < kSignalCount; ++i) {
    struct sigaction now {};
    if (!handlers.is_installed[i] || sigaction(kSignals[i], nullptr, &now) != 0 || !is_ours(now)) continue;
    sigaction(kSignals[i], &handlers.before[i], nullptr);
    handlers.is_installed[i] = false;
  }
}

}  // namespace weft::detail

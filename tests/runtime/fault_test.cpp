// SIGSEGV and SIGBUS: the report of a stack overflow, other faults in goroutines, and the host's own handlers, which keep
// working whether they were installed before or after ours. Each in a child process.

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace test = weft::test;
using test::contains;

// With names that a report can show (the test programs export theirs).
namespace faulty {

constexpr std::size_t kFrame = 512;

[[gnu::noinline]] std::size_t dive_without_end(std::size_t depth) {
  volatile char frame[kFrame];
  std::memset(const_cast<char*>(frame), static_cast<int>(depth), sizeof frame);
  const std::size_t below = depth == SIZE_MAX ? 0 : dive_without_end(depth + 1);
  return below + static_cast<std::size_t>(frame[depth % kFrame]);
}

[[gnu::noinline]] void overflow() { std::printf("%zu\n", dive_without_end(0)); }

constexpr std::uintptr_t kNowhere = 0x10;  // not zero: the sanitizer for undefined behaviour looks for that

[[gnu::noinline]] void read_nothing() {
  volatile std::uintptr_t nowhere = kNowhere;
  std::printf("%d\n", *reinterpret_cast<int*>(nowhere));
}

/// Starts a goroutine that does it, and says its number first.
[[gnu::noinline]] void spawn_the_culprit(const weft::GoOptions& options, void (*misdeed)()) {
  weft::go(options, [misdeed] {
    char number[32];
    const int length =
        std::snprintf(number, sizeof number, "%llu\n", static_cast<unsigned long long>(weft::this_goroutine::id()));
    static_cast<void>(::write(STDOUT_FILENO, number, static_cast<std::size_t>(length)) < 0);
    misdeed();
  });
  asm volatile("" ::: "memory");  // no tail call: this function is what the report must name
}

}  // namespace faulty

namespace {

using weft::GoOptions;
using weft::make_chan;
using weft::RuntimeOptions;

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

void write_err(const char* text) { static_cast<void>(::write(STDERR_FILENO, text, std::strlen(text)) < 0); }

/// In a child: the culprit runs, and main waits for it.
void run_culprit(void (*misdeed)(), const GoOptions& options = {}, const RuntimeOptions& runtime = {}) {
  weft::run(runtime, [&] {
    faulty::spawn_the_culprit(options, misdeed);
    make_chan<int>().recv();
  });
}

struct sigaction handler_of(int signal) {
  struct sigaction now {};
  ::sigaction(signal, nullptr, &now);
  return now;
}

void install(int signal, void (*handler)(int, siginfo_t*, void*), int flags = 0) {
  struct sigaction action {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigemptyset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

#define SKIP_IF_SANITIZED() \
  if (test::kSanitized) GTEST_SKIP() << "the sanitizer's handler stays: see OnlyASanitizerKeepsItsHandler"

// ---- the report ----

// Rules: GEN-1, GEN-3, PAN-11, HZ-13, HZ-15
TEST(FaultTest, AStackOverflowIsReportedInGosWords) {
  SKIP_IF_SANITIZED();
  for (const bool with_mprotect : {false, true}) {
    const auto child = test::in_child([with_mprotect] {
      if (with_mprotect) ::setenv("WEFT_STACK_GUARD", "mprotect", 1);
      run_culprit(&faulty::overflow);
    });
    EXPECT_EQ(child.exit_code, 2) << "signal " << child.signal << ", " << child.err;
    EXPECT_EQ(child.err.find("runtime: goroutine stack exceeds 262144-byte limit\nruntime: sp=0x"), 0U) << child.err;
    EXPECT_TRUE(contains(child.err, "\nfatal error: stack overflow\n\ngoroutine ")) << child.err;
    EXPECT_TRUE(contains(child.err, "goroutine " + child.out.substr(0, child.out.find('\n')) + " [running]:\n"))
        << child.out << child.err;
    EXPECT_TRUE(contains(child.err, "created by faulty::spawn_the_culprit+")) << child.err;
    EXPECT_TRUE(contains(child.err, "GoOptions::stack_size")) << child.err;
    EXPECT_TRUE(contains(child.err, "RuntimeOptions::stack_size")) << child.err;
    EXPECT_TRUE(contains(child.err, "\tfaulty::dive_without_end+")) << child.err;
    EXPECT_TRUE(contains(child.err, " frames elided...\n")) << child.err;
    EXPECT_TRUE(contains(child.err, "\tweft::detail::fiber_main+")) << "the outermost frames: " << child.err;
  }
}

// Rules: GEN-1, PAN-11
TEST(FaultTest, TheReportHasTheSizesThatWereAskedForAndTheName) {
  SKIP_IF_SANITIZED();
  const auto own = test::in_child(
      [] { run_culprit(&faulty::overflow, GoOptions{.name = "deep diver", .stack_size = 1024 * 1024}); });
  EXPECT_EQ(own.exit_code, 2) << own.err;
  EXPECT_EQ(own.err.find("runtime: goroutine stack exceeds 1048576-byte limit\n"), 0U) << own.err;
  EXPECT_TRUE(contains(own.err, "\"deep diver\" [running]:\n\tits stack has 1048576 bytes")) << own.err;
  const auto all = test::in_child([] { run_culprit(&faulty::overflow, {}, RuntimeOptions{.stack_size = 128 * 1024}); });
  EXPECT_EQ(all.exit_code, 2) << all.err;
  EXPECT_EQ(all.err.find("runtime: goroutine stack exceeds 131072-byte limit\n"), 0U) << all.err;
}

// Rules: GEN-3, PAN-11
TEST(FaultTest, TracebackCrashAbortsAfterTheReport) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    ::setenv("WEFT_TRACEBACK", "crash", 1);
    run_culprit(&faulty::overflow);
  });
  EXPECT_EQ(child.signal, SIGABRT) << child.exit_code << child.err;
  EXPECT_TRUE(contains(child.err, "fatal error: stack overflow\n")) << child.err;
}

// Rules: PAN-10, PAN-11
TEST(FaultTest, ManyOverflowsAtOnceAreOneReport) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    weft::run(RuntimeOptions{.processors = 4}, [] {
      for (int i = 0; i < 32; ++i) faulty::spawn_the_culprit({}, &faulty::overflow);
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(count_of(child.err, "fatal error: "), 1U) << child.err;
}

// A goroutine that has run before on the stack, that has moved, that is pinned: the guard is that of the stack in use.
// Rules: PAN-11, SCH-5
TEST(FaultTest, AnOverflowIsFoundOnAnyThreadAndOnAUsedStack) {
  SKIP_IF_SANITIZED();
  for (const bool is_pinned : {false, true}) {
    const auto child = test::in_child([is_pinned] {
      weft::run([is_pinned] {
        weft::WaitGroup group;
        for (int i = 0; i < 1000; ++i) group.go([] { weft::yield(); });
        group.wait();
        weft::WaitGroup last;
        last.go([is_pinned] {
          for (int i = 0; i < 100; ++i) weft::yield();
          if (!is_pinned) faulty::overflow();
          const weft::PinGuard pin;
          faulty::overflow();
        });
        last.wait();
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_TRUE(contains(child.err, "fatal error: stack overflow\n")) << child.err;
  }
}

// Rules: PAN-11
TEST(FaultTest, AHostThatBlocksAllSignalsGetsTheReport) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_BLOCK, &all, nullptr);
    run_culprit(&faulty::overflow);
  });
  EXPECT_EQ(child.exit_code, 2) << "signal " << child.signal << child.err;
  EXPECT_TRUE(contains(child.err, "fatal error: stack overflow\n")) << child.err;
}

// ---- other faults ----

// Rules: PAN-11
TEST(FaultTest, AnotherFaultNamesTheGoroutineAndKillsAsUsual) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] { run_culprit(&faulty::read_nothing, GoOptions{.name = "reader"}); });
  EXPECT_EQ(child.signal, SIGSEGV) << child.exit_code << child.err;
  EXPECT_EQ(child.err.find("weft: SIGSEGV at address 0x10 in goroutine " + child.out.substr(0, child.out.find('\n')) +
                           " \"reader\":\n"),
            0U)
      << child.out << child.err;
  EXPECT_TRUE(contains(child.err, "created by faulty::spawn_the_culprit+")) << child.err;
  EXPECT_TRUE(contains(child.err, "\tfaulty::read_nothing+")) << child.err;
  EXPECT_FALSE(contains(child.err, "overflow\n")) << child.err;
}

// Rules: PAN-11
TEST(FaultTest, ASignalThatWasSentKillsToo) {
  SKIP_IF_SANITIZED();
  for (const int signal : {SIGSEGV, SIGBUS}) {
    const auto child = test::in_child([signal] {
      weft::run([signal] {
        std::raise(signal);
        write_err("survived\n");
      });
    });
    EXPECT_EQ(child.signal, signal) << child.exit_code << child.err;
    EXPECT_TRUE(contains(child.err, signal == SIGBUS ? "weft: SIGBUS in goroutine" : "weft: SIGSEGV in goroutine"));
    EXPECT_FALSE(contains(child.err, "survived")) << child.err;
  }
}

// Rules: PAN-11
TEST(FaultTest, FaultsOfPlainThreadsAreNotOurs) {
  SKIP_IF_SANITIZED();
  for (void (*misdeed)() : {&faulty::overflow, &faulty::read_nothing}) {
    const auto child = test::in_child([misdeed] {
      weft::run([] {});
      std::thread(misdeed).join();
    });
    EXPECT_EQ(child.signal, SIGSEGV) << child.exit_code << child.err;
    EXPECT_EQ(child.err, "");
  }
}

// ---- the host's handlers ----

std::atomic<std::uintptr_t> fault_address{0};

void say_and_exit(int signal, siginfo_t* info, void* context) {
  stack_t stack{};
  ::sigaltstack(nullptr, &stack);
  write_err("host handler\n");
  const bool is_intact = signal == SIGSEGV && info->si_signo == SIGSEGV && info->si_code > 0 && context != nullptr &&
                         (stack.ss_flags & SS_ONSTACK) != 0;
  ::_exit(is_intact ? 42 : 43);
}

void say_and_return(int, siginfo_t*, void*) { write_err("host handler\n"); }

// Rules: PAN-11
TEST(FaultTest, AHandlerInstalledBeforeGetsTheOverflowAfterTheReport) {
  SKIP_IF_SANITIZED();
  const auto ends = test::in_child([] {
    install(SIGSEGV, &say_and_exit, SA_ONSTACK);
    run_culprit(&faulty::overflow);
  });
  EXPECT_EQ(ends.exit_code, 42) << ends.signal << ends.err;
  EXPECT_TRUE(contains(ends.err, "fatal error: stack overflow\n")) << ends.err;
  EXPECT_TRUE(ends.err.ends_with("host handler\n")) << ends.err;

  const auto returns = test::in_child([] {
    install(SIGSEGV, &say_and_return);
    run_culprit(&faulty::overflow);
  });
  EXPECT_EQ(returns.exit_code, 2) << returns.signal << returns.err;
  EXPECT_EQ(count_of(returns.err, "host handler\n"), 1U) << returns.err;
}

void old_style(int signal) { ::_exit(signal == SIGSEGV ? 44 : 45); }

// Rules: PAN-11
TEST(FaultTest, AHandlerInstalledBeforeGetsOtherFaultsAsTheyCame) {
  SKIP_IF_SANITIZED();
  const auto modern = test::in_child([] {
    install(SIGSEGV, &say_and_exit, SA_ONSTACK);
    run_culprit(&faulty::read_nothing);
  });
  EXPECT_EQ(modern.exit_code, 42) << modern.signal << modern.err;
  EXPECT_EQ(modern.err.find("weft: SIGSEGV at address 0x10 in goroutine "), 0U) << modern.err;
  const auto old = test::in_child([] {
    std::signal(SIGSEGV, &old_style);
    run_culprit(&faulty::read_nothing);
  });
  EXPECT_EQ(old.exit_code, 44) << old.signal << old.err;
  const auto on_thread = test::in_child([] {
    std::signal(SIGSEGV, &old_style);
    weft::run([] {});
    std::thread(&faulty::read_nothing).join();
  });
  EXPECT_EQ(on_thread.exit_code, 44) << on_thread.signal << on_thread.err;
  EXPECT_EQ(on_thread.err, "");
}

sigjmp_buf way_out;
void jump_out(int, siginfo_t* info, void*) {
  fault_address.store(reinterpret_cast<std::uintptr_t>(info->si_addr));
  ::siglongjmp(way_out, 1);
}

/// As an interpreter does that checks bounds by faults: on one goroutine, without a switch in between.
[[gnu::noinline]] bool recovers() {
  if (sigsetjmp(way_out, 1) != 0) return true;
  faulty::read_nothing();
  return false;
}

// Rules: PAN-11
TEST(FaultTest, AHostMayRecoverFromFaultsAgainAndAgain) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    install(SIGSEGV, &jump_out, SA_ONSTACK);
    bool all_well = true;
    weft::run([&] {
      for (int i = 0; i < 100; ++i) {
        fault_address.store(0);
        all_well = recovers() && fault_address.load() == faulty::kNowhere && all_well;
        weft::yield();
      }
    });
    std::puts(all_well ? "recovered" : "lost");
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "recovered\n");
}

struct sigaction below {};
void chain(int signal, siginfo_t* info, void* context) {
  write_err("host handler\n");
  below.sa_sigaction(signal, info, context);
}

// Rules: PAN-11
TEST(FaultTest, AHandlerInstalledLaterStaysOnTop) {
  SKIP_IF_SANITIZED();
  const auto alone = test::in_child([] {
    weft::Runtime runtime;
    install(SIGSEGV, &say_and_exit, SA_ONSTACK);
    runtime.run([] {
      faulty::spawn_the_culprit({}, &faulty::overflow);
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(alone.exit_code, 42) << alone.signal << alone.err;
  EXPECT_EQ(alone.err, "host handler\n");
  const auto chained = test::in_child([] {
    weft::Runtime runtime;
    below = handler_of(SIGSEGV);
    install(SIGSEGV, &chain, SA_ONSTACK);
    {
      weft::Runtime another;  // neither its start nor its end disturbs who is on top
    }
    runtime.run([] {
      faulty::spawn_the_culprit({}, &faulty::overflow);
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(chained.exit_code, 2) << chained.signal << chained.err;
  EXPECT_EQ(count_of(chained.err, "host handler\n"), 1U) << chained.err;
  EXPECT_TRUE(contains(chained.err, "fatal error: stack overflow\n")) << chained.err;
}

// What chains to us goes on working when no runtime is left, and makes no circle when there is one again.
// Rules: PAN-11
TEST(FaultTest, AHandlerThatOutlivesTheRuntimeFindsTheWayPastUs) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    {
      weft::Runtime runtime;
      below = handler_of(SIGSEGV);
      install(SIGSEGV, &chain, SA_ONSTACK);
    }
    weft::Runtime runtime;
    faulty::read_nothing();
  });
  EXPECT_EQ(child.signal, SIGSEGV) << child.exit_code << child.err;
  EXPECT_LE(count_of(child.err, "host handler\n"), 2U) << child.err;
  EXPECT_GE(count_of(child.err, "host handler\n"), 1U) << child.err;
}

// Rules: PAN-11
TEST(FaultTest, TheHandlerGoesWithTheLastRuntime) {
  SKIP_IF_SANITIZED();
  const auto child = test::in_child([] {
    install(SIGSEGV, &say_and_exit, SA_ONSTACK);
    const auto is_hosts = [] { return handler_of(SIGSEGV).sa_sigaction == &say_and_exit; };
    {
      weft::Runtime one;
      {
        weft::Runtime two;
        std::puts(is_hosts() ? "host's" : "ours");
      }
      std::puts(is_hosts() ? "host's" : "ours");
    }
    std::puts(is_hosts() && handler_of(SIGBUS).sa_handler == SIG_DFL ? "host's" : "ours");
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "ours\nours\nhost's\n");
}

// ---- opting out ----

// Rules: PAN-11
TEST(FaultTest, ARuntimeThatOptsOutInstallsNothing) {
  SKIP_IF_SANITIZED();
  for (void (*misdeed)() : {&faulty::overflow, &faulty::read_nothing}) {
    const auto child = test::in_child([misdeed] {
      weft::run(RuntimeOptions{.handle_stack_overflow = false}, [misdeed] {
        stack_t stack{};
        ::sigaltstack(nullptr, &stack);
        if (handler_of(SIGSEGV).sa_handler != SIG_DFL || (stack.ss_flags & SS_DISABLE) == 0) write_err("installed\n");
        faulty::spawn_the_culprit({}, misdeed);
        make_chan<int>().recv();
      });
    });
    EXPECT_EQ(child.signal, SIGSEGV) << child.exit_code << child.err;
    EXPECT_EQ(child.err, "");
  }
}

// Rules: PAN-11
TEST(FaultTest, OnlyASanitizerKeepsItsHandler) {
  const auto child = test::in_child([] {
    const struct sigaction before = handler_of(SIGSEGV);
    const weft::Runtime runtime;
    std::puts(handler_of(SIGSEGV).sa_sigaction == before.sa_sigaction ? "before's" : "ours");
  });
  EXPECT_EQ(child.out, test::kSanitized ? "before's\n" : "ours\n") << child.err;
  const auto fault = test::in_child([] { run_culprit(&faulty::read_nothing); });
  EXPECT_EQ(contains(fault.err, "Sanitizer"), test::kSanitized) << fault.exit_code << fault.signal << fault.err;
  EXPECT_EQ(contains(fault.err, "weft: SIGSEGV"), !test::kSanitized) << fault.err;
}

}  // namespace

// What reports say of goroutines: their stacks, what they wait for and since when, who started them. In dumps on demand and
// on a signal, in the deadlock report and in that of an uncaught exception.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <regex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "frameless.hpp"
#include "sched.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

/// A file without a name.
class Scratch {
 public:
  Scratch() : file_(std::tmpfile()) {}
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::fclose(file_); }
  int fd() const { return ::fileno(file_); }
  std::string text() const {
    std::string all(static_cast<std::size_t>(::lseek(fd(), 0, SEEK_END)), '\0');
    return ::pread(fd(), all.data(), all.size(), 0) == static_cast<::ssize_t>(all.size()) ? all : "";
  }

 private:
  std::FILE* file_;
};

std::string dump() {
  const Scratch scratch;
  weft::dump_goroutines(scratch.fd());
  return scratch.text();
}

/// The entry of a report that is about goroutines with this name: title, frames, creator.
std::string entry_of(const std::string& report, const std::string& name) {
  const std::size_t at = report.find(" \"" + name + "\" [");
  if (at == std::string::npos) return "";
  const std::size_t begin = report.rfind('\n', at) + 1;
  const std::size_t end = report.find("\n\n", at);
  return report.substr(begin, end == std::string::npos ? end : end + 1 - begin);
}

/// Each part comes after the one before it.
::testing::AssertionResult in_order(const std::string& text, const std::vector<std::string>& parts) {
  std::size_t at = 0;
  for (const std::string& part : parts) {
    at = text.find(part, at);
    if (at == std::string::npos)
      return ::testing::AssertionFailure() << "no '" << part << "' in its place in\n" << text;
    at += part.size();
  }
  return ::testing::AssertionSuccess();
}

void come_back() { asm volatile("" ::: "memory"); }  // after a call: so it is not a jump

[[gnu::noinline]] void wait_for_a_value(const Chan<int>& chan) {
  chan.recv();
  come_back();
}

[[gnu::noinline]] void take_the_order(const Chan<int>& chan) {
  wait_for_a_value(chan);
  come_back();
}

[[gnu::noinline]] void open_the_shop(const Chan<int>& chan, const char* name) {
  weft::go({.name = name}, [chan] {
    take_the_order(chan);
    come_back();
  });
  come_back();
}

/// Until `count` goroutines are parked.
void await_waiting(const Runtime& runtime, std::uint64_t count) {
  while (runtime.stats().waiting < count) std::this_thread::yield();
}

/// Nobody is left behind, with what it owns.
void finish(Runtime& runtime, const Chan<int>& chan) {
  chan.close();
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

// ---- parked goroutines ----

// Rules: GEN-4, LEAK-4
TEST(DumpTest, AParkedGoroutineIsShownWithItsReasonItsFunctionsAndItsCreator) {
  Runtime runtime;
  const auto chan = make_chan<int>();
  runtime.run([&] { open_the_shop(chan, "shop"); });
  await_waiting(runtime, 1);
  const std::string entry = entry_of(dump(), "shop");
  EXPECT_TRUE(in_order(
      entry,
      {"goroutine ", " \"shop\" [chan receive", "]:\n", "\t(anonymous namespace)::wait_for_a_value(", "+0x",
       "\n\t(anonymous namespace)::take_the_order(", "+0x", "open_the_shop(weft::Chan<int> const&, char const*)::",
       "+0x",  // its lambda: compilers name those in their own ways
       "\tcreated by (anonymous namespace)::open_the_shop(", "+0x"}));
  // The runtime's own functions are left out at both ends, so is the rest of the library's inside.
  EXPECT_FALSE(contains(entry, "detail::park")) << entry;
  EXPECT_FALSE(contains(entry, "fiber_main")) << entry;
  EXPECT_FALSE(contains(entry, "weft_call_watched")) << entry;
  finish(runtime, chan);
}

TEST(DumpTest, StacksOfCodeWithoutFramePointersAreWalked) {
  Runtime runtime;
  const auto chan = make_chan<int>();
  runtime.go({.name = "frameless"}, [chan] {
    test::frameless::outer(chan, 3);
    come_back();
  });
  await_waiting(runtime, 1);
  const std::string entry = entry_of(dump(), "frameless");
  EXPECT_TRUE(in_order(entry, {"frameless::(anonymous namespace)::inner(", "frameless::(anonymous namespace)::middle(",
                               "frameless::(anonymous namespace)::middle(", "frameless::(anonymous namespace)::middle(",
                               "frameless::outer(", "created by "}));
  finish(runtime, chan);
}

TEST(DumpTest, AGoroutineThatHasNotStartedHasNoFrames) {
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::string report;
  runtime.run([&] {
    weft::go({.name = "fresh"}, [] {});
    report = dump();
  });
  EXPECT_TRUE(std::regex_match(entry_of(report, "fresh"),
                               std::regex("goroutine \\d+ \"fresh\" \\[runnable\\]:\n\tcreated by .*\n")))
      << report;
}

/// One place for all of them: a loop may be unrolled.
[[gnu::noinline]] void join_the_crowd(const Chan<int>& chan) {
  weft::go({.name = "crowd"}, [chan] { wait_for_a_value(chan); });
}

// Broken to check it: with a key that leaves the stack out, all are one entry.
TEST(DumpTest, GoroutinesThatWaitAlikeShareAnEntryWithTheirNumber) {
  const int many = test::crowd(10'000);
  Runtime runtime;
  const auto chan = make_chan<int>();
  runtime.run([&] {
    for (int i = 0; i < many; ++i) open_the_shop(chan, "crowd");
    for (int i = 0; i < 3; ++i) join_the_crowd(chan);
  });
  await_waiting(runtime, static_cast<std::uint64_t>(many) + 3);
  const std::string report = dump();
  EXPECT_TRUE(contains(report, std::to_string(many + 3) + " goroutines: 0 running, 0 runnable, ")) << report;
  const std::string entry = entry_of(report, "crowd");
  EXPECT_TRUE(
      in_order(report, {"\n" + std::to_string(many) + " goroutines \"crowd\" [chan receive", "]: ", ", ...\n"}));
  EXPECT_TRUE(contains(report, "\n3 goroutines \"crowd\" [chan receive")) << report;
  EXPECT_LT(report.size(), 20'000U);
  finish(runtime, chan);
}

TEST(DumpTest, AReportOfManyDifferentGoroutinesIsBounded) {
  const int many = std::min(test::crowd(20'000), 20'000);
  Runtime runtime;
  const auto chan = make_chan<int>();
  runtime.run([&] {
    for (int i = 0; i < many; ++i) open_the_shop(chan, ("number " + std::to_string(i)).c_str());
  });
  await_waiting(runtime, static_cast<std::uint64_t>(many));
  const std::string report = dump();
  EXPECT_TRUE(contains(report, std::to_string(many) + " goroutines: ")) << report.substr(0, 200);
  if (many > 1000) {
    EXPECT_TRUE(contains(report, "\n... and " + std::to_string(many - 1000) + " more goroutines\n"));
    EXPECT_LT(report.size(), 2'000'000U);
  }
  finish(runtime, chan);
}

TEST(DumpTest, TheListOfGoroutinesHasStacksAndWaitingTimes) {
  using Clock = std::chrono::steady_clock;
  const auto before = Clock::now();
  Runtime runtime;
  const auto chan = make_chan<int>();
  runtime.run([&] { open_the_shop(chan, "shop"); });
  await_waiting(runtime, 1);
  const auto parked = Clock::now();
  while (Clock::now() - parked < 2ms) std::this_thread::yield();
  const auto least = Clock::now() - parked;
  const std::vector<weft::GoroutineInfo> all = runtime.scheduler().goroutines();
  const auto most = Clock::now() - before;
  finish(runtime, chan);
  ASSERT_EQ(all.size(), 1U);
  const weft::GoroutineInfo& shop = all[0];
  EXPECT_EQ(shop.wait_reason, "chan receive");
  EXPECT_TRUE(in_order(shop.stack, {"wait_for_a_value(", "\n", "take_the_order("}));
  EXPECT_TRUE(contains(shop.spawn_site, "open_the_shop(")) << shop.spawn_site;
  EXPECT_GE(shop.waiting_for, least);
  EXPECT_LE(shop.waiting_for, most);
}

// ---- running goroutines ----

std::atomic<bool> may_stop{false};
std::atomic<int> spinning{0};

[[gnu::noinline]] void grind_the_beans() {
  spinning.fetch_add(1);
  while (!may_stop.load(std::memory_order_relaxed)) {
  }
}

[[gnu::noinline]] void make_coffee() {
  grind_the_beans();
  come_back();
}

TEST(DumpTest, ARunningGoroutineIsShownWhereItIs) {
  may_stop = false;
  spinning = 0;
  Runtime runtime(RuntimeOptions{.processors = 2});
  for (int i = 0; i < 2; ++i) {
    runtime.go({.name = i == 0 ? "first" : "second"}, [] {
      make_coffee();
      come_back();
    });
  }
  while (spinning.load() < 2) std::this_thread::yield();
  const std::string report = dump();
  may_stop = true;
  EXPECT_TRUE(runtime.shutdown(1h).clean());
  for (const char* name : {"first", "second"}) {
    EXPECT_TRUE(
        in_order(entry_of(report, name), {"[running]:\n", "grind_the_beans()+0x", "make_coffee()+0x", "created by "}));
  }
  EXPECT_FALSE(contains(report, "on_signal")) << report;
}

[[gnu::noinline]] std::string look_around() {
  std::string text = dump();
  come_back();
  return text;
}

TEST(DumpTest, TheCallerIsShownToo) {
  std::string report;
  weft::run([&] {
    report = look_around();
    come_back();
  });
  EXPECT_TRUE(in_order(entry_of(report, "main"),
                       {"[running]:\n", "weft::dump_goroutines(int)+0x", "look_around", "created by "}));
}

TEST(DumpTest, AGoroutineOnTheSmallestStackMayAsk) {
  std::string report;
  weft::run([&] {
    WaitGroup wg;
    wg.go({.name = "small", .stack_size = test::kSanitized ? 256 * 1024 : 16 * 1024}, [&] { report = look_around(); });
    wg.wait();
  });
  EXPECT_TRUE(in_order(entry_of(report, "small"), {"[running]:\n", "look_around"}));
}

TEST(DumpTest, AFileThatCannotBeWrittenIsNoError) {
  errno = 77;
  weft::dump_goroutines(-1);
  EXPECT_EQ(errno, 77);
}

// ---- races ----

std::atomic<bool> game_over{false};
std::atomic<int> balls_taken{0};

/// Parks and is readied as often as it can be, until the game is over.
[[gnu::noinline]] void bounce(const Chan<int>& in, const Chan<int>& out) {
  while (const auto ball = in.recv()) {
    if (game_over.load()) {
      balls_taken.fetch_add(1);
    } else {
      out.send(*ball);
    }
  }
  come_back();
}

/// Goroutines that come and go, so that stacks and records are used again.
[[gnu::noinline]] void churn() {
  while (!game_over.load()) {
    WaitGroup wg;
    wg.go({.name = "own stack", .stack_size = 64 * 1024}, [] { weft::yield(); });
    wg.go([] { weft::yield(); });
    wg.wait();
  }
}

// Broken to check it: without R3 (await_release), walks run into stacks that are in use, and crash or find strange frames.
TEST(DumpTest, StacksMayBeWalkedWhileTheirGoroutinesParkAndResume) {
  for (const unsigned processors : {1U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    game_over = false;
    balls_taken = 0;
    std::atomic<bool> has_begun{false};
    std::vector<std::string> wrong;
    std::atomic<int> seen{0};
    std::thread visitor([&] {
      while (!has_begun.load()) std::this_thread::yield();
      // TSan holds signals back: each look that meets a running goroutine waits for a second.
      for (int round = 0; round < (test::kTsan ? 5 : test::rounds(test::soaking() ? 500 : 100)); ++round) {
        if (round % 50 == 0) static_cast<void>(dump());
        for (const weft::GoroutineInfo& g : runtime.scheduler().goroutines()) {
          if (g.name != "player" || g.state != "waiting") continue;
          seen.fetch_add(1);
          if (!contains(g.stack, "bounce(") && !g.stack.empty()) wrong.push_back(g.stack);
        }
      }
      game_over.store(true);
    });
    runtime.run([&] {
      WaitGroup wg;
      std::vector<Chan<int>> chans;
      for (int i = 0; i < 8; ++i) chans.push_back(make_chan<int>(i % 2 == 0 ? 0 : 2));
      for (std::size_t i = 0; i < 8; ++i) {
        wg.go({.name = "player"}, [&, i] {
          bounce(chans[i], chans[(i + 1) % 8]);
          come_back();
        });
      }
      wg.go([] { churn(); });
      for (std::size_t i = 0; i < 8; i += 2) chans[i].send(static_cast<int>(i));
      has_begun.store(true);
      test::eventually([] { return balls_taken.load() == 4; });
      for (const Chan<int>& chan : chans) chan.close();
      wg.wait();
    });
    visitor.join();
    EXPECT_TRUE(wrong.empty()) << wrong.size() << " of " << seen.load() << ", for example\n" << wrong[0];
    EXPECT_GT(seen.load(), 0);
  }
}

// ---- reports that end the process ----

// Rules: DL-1, GEN-4
TEST(DumpTest, TheDeadlockReportNamesFunctionsReasonsAndCreators) {
  const auto child = test::in_child([] {
    weft::run([] {
      const auto chan = make_chan<int>();
      open_the_shop(chan, "shop");
      weft::Mutex mutex;
      weft::go({.name = "locker"}, [&] {
        mutex.lock();
        mutex.lock();
        come_back();
      });
      wait_for_a_value(chan);
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_TRUE(child.err.starts_with("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine ")) << child.err;
  EXPECT_TRUE(in_order(entry_of(child.err, "main"), {"[chan receive]:\n", "wait_for_a_value(", "created by "}));
  EXPECT_TRUE(in_order(entry_of(child.err, "shop"), {"[chan receive]:\n", "wait_for_a_value(", "take_the_order(",
                                                     "created by (anonymous namespace)::open_the_shop("}));
  EXPECT_TRUE(in_order(entry_of(child.err, "locker"), {"[sync.Mutex.Lock]:\n", "weft::Mutex::lock", "created by "}));
}

TEST(DumpTest, AHandlerOfDeadlocksMayDump) {
  const auto child = test::in_child([] {
    weft::RuntimeOptions options;
    options.on_deadlock = [](const std::vector<weft::GoroutineInfo>& goroutines) {
      for (const weft::GoroutineInfo& g : goroutines) std::fputs(g.stack.c_str(), stdout);
      weft::dump_goroutines(STDERR_FILENO);
      std::fflush(stdout);
      _exit(3);
      return weft::DeadlockAction::ignore;
    };
    weft::run(options, [] { wait_for_a_value(make_chan<int>()); });
  });
  EXPECT_EQ(child.exit_code, 3) << child.err;
  EXPECT_TRUE(contains(child.out, "wait_for_a_value(")) << child.out;
  EXPECT_TRUE(in_order(entry_of(child.err, "main"), {"[chan receive]:\n", "wait_for_a_value("}));
}

struct YieldsWhenUnwound {
  ~YieldsWhenUnwound() { weft::yield(); }
};

[[gnu::noinline]] void serve(int depth) {
  const YieldsWhenUnwound guard;
  if (depth == 0) throw std::runtime_error("no more tea");
  serve(depth - 1);
  come_back();
}

[[gnu::noinline]] void serve_without_success() {
  try {
    serve(2);
  } catch (const std::logic_error&) {
    come_back();
  }
}

// Rules: PAN-1, GEN-4
TEST(DumpTest, TheReportOfAnUncaughtExceptionShowsWhereItWasThrown) {
  const auto child = test::in_child([] {
    weft::run([] {
      weft::go({.name = "waiter"}, [] {
        try {
          serve(1);  // one that is caught leaves no trace
        } catch (const std::runtime_error&) {
          come_back();
        }
        serve_without_success();
        come_back();
      });
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_TRUE(in_order(
      child.err,
      {"panic: no more tea\n\ngoroutine ", " \"waiter\" [running]:\n\texception of type std::runtime_error\n",
       "\t(anonymous namespace)::serve(int)", "\t(anonymous namespace)::serve(int)",
       "\t(anonymous namespace)::serve(int)", "\t(anonymous namespace)::serve_without_success()", "\tcreated by "}));
  EXPECT_FALSE(contains(child.err, "__cxa_throw")) << child.err;
}

// ---- on a signal ----

/// Standard error is a pipe from now on: its other end.
int redirect_stderr() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) std::abort();
  ::dup2(ends[1], STDERR_FILENO);
  return ends[0];
}

/// A whole dump of one runtime with `count` goroutines that all are different.
std::string read_dump(int fd, int count) {
  std::string text;
  char chunk[4096];
  const std::regex creator("\tcreated by .*\n");
  while (std::distance(std::sregex_iterator(text.begin(), text.end(), creator), std::sregex_iterator()) < count) {
    const ::ssize_t n = ::read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(chunk, static_cast<std::size_t>(n));
  }
  return text;
}

TEST(DumpTest, ASignalMakesADumpAndTheProgramGoesOn) {
  const auto child = test::in_child([] {
    weft::dump_on_signal();
    const int reports = redirect_stderr();
    Runtime runtime(RuntimeOptions{.processors = 1});
    const auto chan = make_chan<int>();
    runtime.run([&] { open_the_shop(chan, "shop"); });
    await_waiting(runtime, 1);
    runtime.go({.name = "barista"}, [] {
      make_coffee();  // nobody else gets the processor
      come_back();
    });
    while (spinning.load() < 1) std::this_thread::yield();
    for (int i = 0; i < 3; ++i) {
      ::kill(::getpid(), SIGQUIT);
      const std::string report = read_dump(reports, 2);
      std::fputs(entry_of(report, "shop").c_str(), stdout);
      std::fputs(entry_of(report, "barista").c_str(), stdout);
    }
    may_stop = true;
    finish(runtime, chan);
    std::puts("and went on");
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  std::vector<std::string> parts;
  for (int i = 0; i < 3; ++i) {
    for (const char* part : {"\"shop\" [chan receive", "take_the_order(", "\"barista\" [running]", "grind_the_beans()"})
      parts.emplace_back(part);
  }
  parts.emplace_back("and went on");
  EXPECT_TRUE(in_order(child.out, parts));
}

// Rules: DL-1
TEST(DumpTest, TheThreadThatWaitsForTheSignalHidesNoDeadlock) {
  const auto child = test::in_child([] {
    weft::dump_on_signal();
    weft::dump_on_signal(SIGUSR1);
    weft::run([] { make_chan<int>().recv(); });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_TRUE(child.err.starts_with("fatal error: all goroutines are asleep - deadlock!\n")) << child.err;
}

TEST(DumpTest, ASignalThatCannotBeHadIsAnError) {
  const auto child = test::in_child([] {
    try {
      weft::dump_on_signal(SIGKILL);
    } catch (const std::system_error& error) {
      std::puts(error.code() == std::errc::invalid_argument ? "refused" : error.what());
    }
  });
  EXPECT_EQ(child.out, "refused\n");
}

}  // namespace

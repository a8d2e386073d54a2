// Ends: a shutdown that a goroutine does not take part in, a runtime destroyed by itself, a thousand lives in one process, and
// what is alive when a program returns from main: static runtimes, channels, locks, and thread-local objects.

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

// With a name that a report can show.
namespace straggling {

[[gnu::noinline]] void spawn_the_spinner(weft::Runtime& runtime, std::atomic<bool>& spins) {
  runtime.go(weft::GoOptions{.name = "spinner"}, [&spins] {
    spins.store(true);
    for (;;) asm volatile("");
  });
  asm volatile("" ::: "memory");  // no tail call
}

}  // namespace straggling

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

/// Under TSan a worker that nobody joins is a leak, which changes the exit status.
class LeavesThreads {
 public:
  LeavesThreads() : before_(value()) { ::setenv("TSAN_OPTIONS", (before_ + " report_thread_leaks=0").c_str(), 1); }
  LeavesThreads(const LeavesThreads&) = delete;
  LeavesThreads& operator=(const LeavesThreads&) = delete;
  ~LeavesThreads() { ::setenv("TSAN_OPTIONS", before_.c_str(), 1); }

 private:
  static std::string value() {
    const char* options = std::getenv("TSAN_OPTIONS");
    return options != nullptr ? options : "";
  }
  const std::string before_;
};

// ---- shutdown and destruction ----

// Rules: LEAK-1, GEN-4, HZ-17
TEST(ProcessEndTest, ShutdownIsBoundedAndNamesAGoroutineThatMakesNoCall) {
  const LeavesThreads leaves_threads;
  const auto child = test::in_child([] {
    static std::atomic<bool> spins{false};
    Runtime runtime(RuntimeOptions{.processors = 2});
    straggling::spawn_the_spinner(runtime, spins);
    runtime.go(weft::GoOptions{.name = "waiter"}, [] { make_chan<int>().recv(); });
    while (!spins.load()) std::this_thread::yield();
    const weft::ShutdownReport report = runtime.shutdown(1ms);
    for (const weft::GoroutineInfo& g : report.stragglers) {
      std::printf("%s [%s] by %s\n", g.name.c_str(), g.state.c_str(), g.spawn_site.c_str());
    }
    std::puts("shut down");
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  // Without optimisation the call of go() is in a function without a name to be exported.
  EXPECT_TRUE(contains(
      child.out, test::kSanitized ? "spinner [running] by " : "spinner [running] by straggling::spawn_the_spinner("))
      << child.out;
  EXPECT_TRUE(contains(child.out, "waiter [")) << child.out;
  EXPECT_TRUE(child.out.ends_with("shut down\n")) << child.out;
}

// Rules: GEN-1, HZ-17
TEST(ProcessEndTest, ARuntimeThatDestroysItselfSaysWhatIsWrong) {
  const auto child = test::in_child([] {
    auto runtime = std::make_unique<Runtime>();
    runtime->run([&runtime] { runtime.reset(); });
    std::puts("survived");
  });
  EXPECT_EQ(child.exit_code, 2) << child.signal << child.err;
  EXPECT_EQ(child.out, "");
  EXPECT_EQ(child.err,
            "fatal error: weft: Runtime::~Runtime: a runtime cannot be destroyed by one of its own goroutines\n");
}

// ---- again and again ----

std::size_t entries_of(const char* folder) {
  std::size_t n = 0;
  ::DIR* open = ::opendir(folder);
  if (open == nullptr) return 0;
  while (::readdir(open) != nullptr) ++n;
  ::closedir(open);
  return n;
}

std::size_t mappings() {
  std::ifstream file("/proc/self/maps");
  std::string line;
  std::size_t n = 0;
  while (std::getline(file, line)) ++n;
  return n;
}

// Rules: HZ-17
TEST(ProcessEndTest, AThousandRuntimesLeaveNothingBehind) {
  const auto child = test::in_child([] {
    static const auto quiet = make_chan<int>();  // not a goroutine's own: what is abandoned is not freed
    const auto live = [](int i) {
      Runtime runtime(RuntimeOptions{.processors = static_cast<unsigned>(i % 4 + 1)});
      runtime.run([] {
        WaitGroup group;
        for (int n = 0; n < 10; ++n) group.go([] { weft::yield(); });
        group.go(weft::GoOptions{.name = "deep", .stack_size = 64 * 1024}, [] { weft::sleep_for(1us); });
        group.wait();
      });
      runtime.go([] { quiet.recv(); });  // one more that stays behind
    };
    for (int i = 0; i < 50; ++i) live(i);  // what is kept for later: arenas, the sanitizer's memory
    const std::size_t threads = entries_of("/proc/self/task");
    const std::size_t files = entries_of("/proc/self/fd");
    const std::size_t maps = mappings();
    const int lives = std::max(test::rounds(1000), 200);  // a leak is told from what comes and goes
    for (int i = 0; i < lives; ++i) live(i);
    test::eventually(
        [&] { return entries_of("/proc/self/task") <= threads; });  // a joined thread leaves a little later
    test::eventually([&] { return entries_of("/proc/self/fd") <= files; });
    // The allocator, the thread library and the sanitizer keep up to ten mappings more or less, however many lives there
    // were; a leak of one for each life is ten times what is let through.
    const std::size_t now = mappings();
    if (test::kTsan) return;  // it maps memory of its own for each stack
    std::printf("%s", now <= maps + static_cast<std::size_t>(lives) / 10 ? "none" : std::to_string(now - maps).c_str());
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, test::kTsan ? "" : "none");
}

// ---- the end of main ----

/// At exit; made on a goroutine.
struct SaysGoodbye {
  std::atomic<int>& goodbyes;
  explicit SaysGoodbye(std::atomic<int>& counter) : goodbyes(counter) {}
  SaysGoodbye(const SaysGoodbye&) = delete;
  SaysGoodbye& operator=(const SaysGoodbye&) = delete;
  ~SaysGoodbye() { goodbyes.fetch_add(1); }
};

std::atomic<int> goodbyes{0};

[[gnu::noinline]] void touch_thread_local() {
  thread_local const SaysGoodbye object(goodbyes);
  static_cast<void>(object.goodbyes.load());
}

/// Goroutines that run, sleep and are parked when main returns. None owns memory: those that are abandoned do not free it.
template <class Go>
void populate(Go go, const weft::Chan<int>& chan, weft::Mutex& mutex) {
  std::atomic<int> arrived{0};
  go([&arrived] {
    touch_thread_local();
    arrived.fetch_add(1);
    for (;;) weft::yield();
  });
  go([&arrived] {
    touch_thread_local();
    arrived.fetch_add(1);
    for (;;) weft::sleep_for(50us);
  });
  go([&arrived, &chan] {
    arrived.fetch_add(1);
    chan.recv();  // through a handle that is not its own
  });
  go([&arrived, &chan] {
    arrived.fetch_add(1);
    weft::select(chan.on_recv([](auto&&...) {}), weft::on_timeout(1h));
  });
  go([&arrived, &mutex] {
    arrived.fetch_add(1);
    mutex.lock();
  });
  while (arrived.load() != 5) std::this_thread::yield();
}

void expect_quiet_end(const test::ChildResult& child) {
  EXPECT_EQ(child.exit_code, 0) << "signal " << child.signal << (child.timed_out ? ", hung" : "") << child.err;
  EXPECT_EQ(child.out, "main returns\n");
  EXPECT_EQ(child.err, "");
}

// Rules: GO-3, HZ-17
TEST(ProcessEndTest, StaticObjectsMayOutliveTheDefaultRuntime) {
  expect_quiet_end(test::in_child([] {
    static const auto chan = make_chan<int>();
    static weft::Mutex mutex;
    mutex.lock();
    populate([](auto f) { weft::go(f); }, chan, mutex);
    std::puts("main returns");
  }));
}

// Rules: GO-3, HZ-17
TEST(ProcessEndTest, StaticObjectsMayEndBeforeTheDefaultRuntimeStops) {
  expect_quiet_end(test::in_child([] {
    weft::run([] {});  // so its exit handler runs after the destructors of what follows
    static const auto chan = make_chan<int>();
    static weft::Mutex mutex;
    mutex.lock();
    populate([](auto f) { weft::go(f); }, chan, mutex);
    std::puts("main returns");
  }));
}

// Rules: GO-3, HZ-17
TEST(ProcessEndTest, AStaticRuntimeMayEndBeforeOrAfterItsChannels) {
  expect_quiet_end(test::in_child([] {
    static const auto chan = make_chan<int>();
    static weft::Mutex mutex;
    static Runtime runtime;
    mutex.lock();
    populate([](auto f) { runtime.go(f); }, chan, mutex);
    std::puts("main returns");
  }));
  expect_quiet_end(test::in_child([] {
    static Runtime runtime;
    static const auto chan = make_chan<int>();
    static weft::Mutex mutex;
    mutex.lock();
    populate([](auto f) { runtime.go(f); }, chan, mutex);
    std::puts("main returns");
  }));
}

// The destructor of a static object may still use what needs no goroutine.
// Rules: GO-3, HZ-17
TEST(ProcessEndTest, DestructorsOfStaticObjectsMayUseChannelsAndLocks) {
  expect_quiet_end(test::in_child([] {
    struct Tidy {
      weft::Chan<int> results = make_chan<int>(8);
      weft::Chan<int> waited_for = make_chan<int>();
      weft::Mutex mutex;
      ~Tidy() {
        const std::lock_guard guard(mutex);
        results.send(1);
        results.recv();
        waited_for.close();  // somebody is parked there, on a runtime that has stopped
        if (goodbyes.load() < 1) std::puts("no thread-local object has been destroyed");
      }
    };
    static Tidy tidy;
    static weft::Mutex held;
    held.lock();
    populate([](auto f) { weft::go(f); }, tidy.waited_for, held);
    std::puts("main returns");
  }));
}

// A thread of the host's own that is blocked in a weft call when main returns.
// Rules: GO-3, HZ-17
TEST(ProcessEndTest, APlainThreadMayBeBlockedWhenMainReturns) {
  const LeavesThreads leaves_threads;
  expect_quiet_end(test::in_child([] {
    static const auto chan = make_chan<int>();
    weft::run([] {});
    std::atomic<bool> is_there{false};
    std::thread([&is_there, own = chan] {
      is_there.store(true);
      own.recv();
    }).detach();
    while (!is_there.load()) std::this_thread::yield();
    std::puts("main returns");
  }));
}

}  // namespace

// set_processors, and what the default follows.

#include <weft/runtime.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>

#include <sched.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/detail/park.hpp>
#include <weft/go.hpp>
#include <weft/pin_guard.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "hogs.hpp"
#include "watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

// Rules: MP-1
TEST(ResizeTest, ReturnsThePreviousNumberAndZeroOnlyAsks) {
  Runtime runtime(RuntimeOptions{.processors = 3});
  EXPECT_EQ(runtime.set_processors(0), 3U);
  EXPECT_EQ(runtime.set_processors(5), 3U);
  EXPECT_EQ(runtime.set_processors(0), 5U);
  EXPECT_EQ(runtime.set_processors(1), 5U);
  EXPECT_EQ(runtime.set_processors(1), 1U);
  EXPECT_EQ(runtime.stats().processors, 1U);  // nothing runs: at once
  EXPECT_THROW(runtime.set_processors(1'025), std::invalid_argument);
  EXPECT_EQ(runtime.set_processors(0), 1U);
  EXPECT_EQ(runtime.run([] { return 7; }), 7);
}

// Rules: MP-1, SCH-2
TEST(ResizeTest, MoreProcessorsRunMoreAtOnce) {
  const test::Watchdog watchdog("a goroutine waits for a processor that has been added");
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([&] {
    runtime.set_processors(4);
    // Each spins until all are there; none of them yields. (The monitor would bring all of them there on one processor too.)
    std::atomic<int> here{0};
    std::atomic<bool> is_on_a_new_one{false};
    WaitGroup wg;
    for (int i = 0; i < 4; ++i) {
      wg.go([&] {
        const std::uint32_t index = weft::detail::current_processor_index();
        if (index == 1 || index == 2 || index == 3) is_on_a_new_one.store(true);
        here.fetch_add(1);
        while (here.load() != 4) {
        }
      });
    }
    wg.wait();
    EXPECT_TRUE(test::chaos() || is_on_a_new_one.load());  // chaos frees and takes processors at random
  });
}

// Rules: MP-1, SCH-1
TEST(ResizeTest, FewerProcessorsRunFewerAtOnce) {
  if (test::chaos()) GTEST_SKIP() << "goroutines run without a processor";
  const test::Watchdog watchdog("goroutines wait for a processor that has been put away");
  Runtime runtime(RuntimeOptions{.processors = 4});
  runtime.run([&] {
    std::atomic<bool> is_set{false};
    std::atomic<int> active{0};
    std::atomic<int> most{0};
    WaitGroup wg;
    for (int i = 0; i < 16; ++i) {
      wg.go([&] {
        while (!is_set.load()) weft::yield();
        for (int k = 0; k < test::rounds(1'000); ++k) {
          const int now = active.fetch_add(1) + 1;
          int seen = most.load();
          while (seen < now && !most.compare_exchange_weak(seen, now)) {
          }
          active.fetch_sub(1);
          weft::yield();
        }
      });
    }
    EXPECT_EQ(runtime.set_processors(1), 4U);
    test::eventually([&] { return runtime.stats().processors == 1; });
    is_set.store(true);
    wg.wait();
    EXPECT_EQ(most.load(), 1);
  });
}

// Rules: MP-1
TEST(ResizeTest, MayBeCalledAtAnyTimeUnderLoad) {
  const test::Watchdog watchdog("processors come and go, and a goroutine waits");
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.run([&] {
    std::atomic<bool> stop{false};
    WaitGroup wg;
    for (int pair = 0; pair < 4; ++pair) {
      auto ping = make_chan<int>();
      auto pong = make_chan<int>();
      wg.go([=] {
        for (const int v : ping) pong.send(v);
        pong.close();
      });
      wg.go([=, &stop] {
        for (int i = 0; !stop.load(); ++i) {
          ping.send(i);
          EXPECT_EQ(*pong.recv(), i);
          if (i % 16 == 0) weft::sleep_for(1us);
          if (i % 16 == 1) weft::go([] {});
          if (i % 64 == 2) {
            const weft::PinGuard pin;
            weft::yield();
          }
        }
        ping.close();
      });
    }
    unsigned previous = 2;
    for (int i = 0; i < test::rounds(1'000); ++i) {
      const auto n = static_cast<unsigned>(i % 8 + 1);
      EXPECT_EQ(runtime.set_processors(n), previous);
      previous = n;
      weft::yield();
    }
    stop.store(true);
    wg.wait();
  });
  test::eventually([&] { return runtime.stats().live == 0; });
}

// Broken to check it: with no look at the timers of processors that were put away (Worker::pick_with_look) it hangs.
// Rules: MP-1
TEST(ResizeTest, TimersOfAProcessorThatIsPutAwayGoOff) {
  const test::Watchdog watchdog("a timer of a processor that has been put away");
  Runtime runtime(RuntimeOptions{.processors = 4});
  runtime.run([&] {
    // Asleep on all four: each keeps its processor until the others have theirs.
    std::atomic<int> woken{0};
    std::atomic<int> here{0};
    WaitGroup wg;
    for (int i = 0; i < 4; ++i) {
      wg.go([&] {
        here.fetch_add(1);
        while (here.load() < 4) {
        }
        weft::sleep_for(20ms);
        woken.fetch_add(1);
      });
    }
    while (here.load() < 4) weft::yield();
    runtime.set_processors(1);
    while (woken.load() < 4) weft::yield();  // the processor that is left never has to look for work
    wg.wait();
  });
}

// Rules: MP-1
TEST(ResizeTest, AProcessorIsTakenFromWhoeverHogsIt) {
  const test::Watchdog watchdog("an endless loop keeps a processor that is not wanted any more");
  Runtime runtime(RuntimeOptions{.processors = 2});
  const test::Hogs hogs(runtime, 2);
  runtime.set_processors(1);
  while (runtime.stats().processors != 1) std::this_thread::yield();
}

// Rules: MP-2, MP-3
TEST(ResizeTest, TheDefaultFollowsTheAffinityUntilSomebodySetsANumber) {
  cpu_set_t all;
  CPU_ZERO(&all);
  ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
  if (CPU_COUNT(&all) < 2) GTEST_SKIP() << "takes two CPUs";
  const char* processors = std::getenv("WEFT_PROCS");
  if (processors != nullptr && std::string(processors) != "2") GTEST_SKIP() << "the same in every mode";
  const auto child = test::in_child([] {
    ::unsetenv("WEFT_PROCS");
    cpu_set_t many;
    CPU_ZERO(&many);
    sched_getaffinity(0, sizeof many, &many);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &many) == 0) continue;
      CPU_SET(cpu, &one);
      break;
    }
    const auto count = std::min(static_cast<unsigned>(CPU_COUNT(&many)), 1'024U);
    Runtime runtime;
    const unsigned before = runtime.stats().processors;  // fewer than CPUs, if there is a quota
    if (before < 2 || before > count) std::exit(3);
    sched_setaffinity(0, sizeof one, &one);
    // Nobody looks while all is idle.
    runtime.run([&] {
      while (runtime.set_processors(0) != 1) weft::yield();
      runtime.set_processors(2);
      const auto end = weft::Clock::now() + 1500ms;
      while (weft::Clock::now() < end) weft::yield();
      if (runtime.set_processors(0) != 2) std::exit(4);
    });
    std::exit(0);
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

}  // namespace

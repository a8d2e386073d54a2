// The monitor: whoever computes or blocks its thread keeps nobody else waiting. Most of these end only if that holds.

#include <weft/go.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iterator>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/mutex.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

#include "hogs.hpp"
#include "sched.hpp"
#include "watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
using weft::test::spin_until;
namespace test = weft::test;

/// Computes for so long, by the thread's own clock.
void compute(std::chrono::nanoseconds how_long) {
  timespec time{};
  const auto now = [&] {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
  };
  const auto end = now() + how_long;
  while (now() < end) {
  }
}

int detached(Runtime& runtime) { return runtime.scheduler().detached.load(); }

// Rules: SCH-3, I7
TEST(MonitorTest, AnEmptyLoopOnTheOnlyProcessorKeepsNobodyWaiting) {
  const test::Watchdog watchdog("a goroutine waits for one that never yields");
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::atomic<bool> stop{false};
  runtime.run([&] {
    WaitGroup wg;
    wg.go([&] { spin_until(stop); });
    weft::yield();
    wg.go([&] { stop.store(true, std::memory_order_release); });
    wg.wait();
  });
  EXPECT_GE(runtime.stats().handoffs, 1U);
}

// Rules: SCH-3, I7
TEST(MonitorTest, TenEndlessLoopsOnTwoProcessorsAllMakeProgress) {
  const test::Watchdog watchdog("a goroutine starves");
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.run([&] {
    std::atomic<int> begun{0};
    std::atomic<bool> stop{false};
    WaitGroup wg;
    for (int i = 0; i < 10; ++i) {
      wg.go([&] {
        if (begun.fetch_add(1) + 1 == 10) stop.store(true, std::memory_order_release);
        spin_until(stop);
      });
    }
    wg.wait();
    EXPECT_EQ(begun.load(), 10);
  });
}

// Rules: I7, SCH-8, TM-20
TEST(MonitorTest, TimersAndChannelsGoOnWhileEveryProcessorIsHogged) {
  const test::Watchdog watchdog("a timer waits for a goroutine that never yields");
  for (const unsigned processors : {1U, 2U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    std::atomic<bool> stop{false};
    runtime.run([&] {
      WaitGroup wg;
      for (unsigned i = 0; i < processors; ++i) wg.go([&] { spin_until(stop); });
      auto ping = make_chan<int>();
      auto pong = make_chan<int>();
      wg.go([=] {
        for (const int v : ping) pong.send(v + 1);
      });
      for (int i = 0; i < 20; ++i) {
        weft::sleep_for(1ms);
        ping.send(i);
        EXPECT_EQ(*pong.recv(), i + 1);
        static_cast<void>(weft::after(1ms).recv());
      }
      ping.close();
      stop.store(true, std::memory_order_release);
      wg.wait();
    });
  }
}

// Rules: SCH-8, TM-20
TEST(MonitorTest, ATimerGoesOffThoughNoThreadHasEverSlept) {
  const test::Watchdog watchdog("a timer waits for the goroutine that set it, and which never yields");
  for (const unsigned processors : {1U, 2U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    runtime.run([] {
      std::atomic<bool> has_fired{false};
      weft::after_func(1ms, [&] { has_fired.store(true, std::memory_order_release); });
      spin_until(has_fired);
    });
  }
}

// Rules: SCH-8
TEST(MonitorTest, WorkFromOutsideRunsWhileEveryProcessorIsHogged) {
  const test::Watchdog watchdog("work from outside waits for a goroutine that never yields");
  Runtime runtime(RuntimeOptions{.processors = 2});
  test::Hogs hogs(runtime, 2);
  WaitGroup wg;
  wg.add(1);
  runtime.go([&] {
    hogs.stop();
    wg.done();
  });
  wg.wait();
}

// Rules: S-44, SCH-3
TEST(MonitorTest, S44Hog) {
  const auto child = test::in_child([] {
    int sleeps = 0;
    weft::run(RuntimeOptions{.processors = 1}, [&] {
      weft::go([] {
        for (;;) asm volatile("");
      });
      for (; sleeps < 5; ++sleeps) weft::sleep_for(10ms);
      std::printf("%d\n", sleeps);
      std::fflush(stdout);
      std::_Exit(0);
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "5\n");
}

// Rules: S-44, SCH-3
TEST(MonitorTest, S44ManyShortBlockingCalls) {
  const test::Watchdog watchdog("short blocking calls keep each other waiting");
  Runtime runtime(RuntimeOptions{.processors = 2});
  std::atomic<int> calls{0};
  runtime.run([&] {
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([&] {
        for (int i = 0; i < 100; ++i) {
          weft::blocking([] { std::this_thread::sleep_for(100us); });  // the system call
          calls.fetch_add(1);
        }
      });
    }
    wg.wait();
  });
  EXPECT_EQ(calls.load(), 800);
}

// Rules: SCH-4
TEST(MonitorTest, ABlockingCallOnTheOnlyProcessorKeepsNobodyWaiting) {
  const test::Watchdog watchdog("a goroutine waits for one that blocks its thread");
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([] {
    // Declared, and not.
    for (const bool is_declared : {true, false}) {
      int pipe[2];
      ASSERT_EQ(::pipe(pipe), 0);
      WaitGroup wg;
      wg.go([&] {
        const auto block = [&] {
          char c = 0;
          return ::read(pipe[0], &c, 1);
        };
        EXPECT_EQ(is_declared ? weft::blocking(block) : block(), 1);
      });
      wg.go([&] { EXPECT_EQ(::write(pipe[1], "x", 1), 1); });
      wg.wait();
      ::close(pipe[0]);
      ::close(pipe[1]);
    }
  });
}

// Rules: SCH-4, SCH-15
TEST(MonitorTest, ManyBlockingCallsAtOnce) {
  const test::Watchdog watchdog("blocking calls wait for each other");
  const int count = test::soaking() && !test::kSanitized ? 1'000 : 100;  // threads: some machines have few to give
  Runtime runtime(RuntimeOptions{.processors = 2});
  // Each waits until all are inside: with fewer threads than goroutines nobody would come out.
  std::atomic<int> inside{0};
  std::atomic<bool> open{false};
  runtime.run([&] {
    WaitGroup wg;
    for (int i = 0; i < count; ++i) {
      wg.go([&] {
        weft::blocking([&] {
          if (inside.fetch_add(1) + 1 == count) {
            open.store(true);
            open.notify_all();
          }
          open.wait(false);
        });
      });
    }
    wg.wait();
  });
  EXPECT_EQ(inside.load(), count);
  test::eventually([&] { return detached(runtime) == 0; });
}

// Rules: SCH-3, MP-1
TEST(MonitorTest, ManyThatComputeMakeFewThreads) {
  if (test::chaos() || test::kSanitized) GTEST_SKIP() << "takes processors at random, or runs many times slower";
  Runtime runtime(RuntimeOptions{.processors = 2});
  std::atomic<bool> done{false};
  unsigned most = 0;
  std::thread watcher([&] {
    while (!done.load()) {
      most = std::max(most, runtime.stats().threads);
      std::this_thread::sleep_for(1ms);
    }
  });
  runtime.run([] {
    WaitGroup wg;
    for (int i = 0; i < (test::soaking() ? 1'000 : 30); ++i) wg.go([] { compute(50ms); });
    wg.wait();
  });
  done.store(true);
  watcher.join();
  EXPECT_LE(most, 8U);
}

TEST(MonitorTest, BlockingReturnsWhatTheFunctionReturns) {
  weft::run([] {
    EXPECT_EQ(weft::blocking([] { return 7; }), 7);
    auto moved = weft::blocking([] { return std::make_unique<int>(8); });
    EXPECT_EQ(*moved, 8);
    int value = 0;
    static_assert(std::is_same_v<decltype(weft::blocking([&]() -> int& { return value; })), int&>);
    EXPECT_EQ(&weft::blocking([&]() -> int& { return value; }), &value);
    weft::blocking([] {});
    EXPECT_THROW(weft::blocking([] { throw std::runtime_error("inside"); }), std::runtime_error);
    EXPECT_EQ(weft::blocking([] { return weft::blocking([] { return 9; }); }), 9);
  });
  EXPECT_EQ(weft::blocking([] { return 10; }), 10);  // on a plain thread
}

// Rules: SCH-4
TEST(MonitorTest, AnExceptionLeavesABlockingCallWhoseProcessorIsGone) {
  const test::Watchdog watchdog("a blocking call that throws");
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([&] {
    std::atomic<bool> go_on{false};
    WaitGroup wg;
    wg.go([&] {
      try {
        weft::blocking([&] {
          go_on.wait(false);
          throw std::runtime_error("inside");
        });
        ADD_FAILURE() << "not thrown";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "inside");
        weft::yield();
      }
    });
    wg.go([&] {
      go_on.store(true);
      go_on.notify_all();
    });
    wg.wait();
  });
}

// What a goroutine does while its processor is gone: as a plain thread would, until it comes home.
TEST(MonitorTest, ADetachedGoroutineMayDoAnything) {
  const test::Watchdog watchdog("a goroutine without a processor");
  for (const unsigned processors : {1U, 2U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    runtime.run([&] {
      auto chan = make_chan<int>(64);
      weft::Mutex mutex;
      int ended = 0;
      WaitGroup wg;
      const auto each = [&](auto what) {
        wg.go([&, what] {
          std::atomic<bool> seen{false};
          weft::go([&seen] { seen.store(true); });
          spin_until(seen);  // where every processor is busy that takes a hand-over
          what();
          const std::lock_guard guard(mutex);
          ++ended;
        });
      };
      each([&] { weft::yield(); });
      each([&] { weft::sleep_for(1ms); });
      each([&] { chan.send(1); });
      each([&] { static_cast<void>(chan.try_send(2)); });
      each([&] { weft::go([chan] { chan.send(3); }); });
      each([&] { static_cast<void>(weft::select(weft::on_timeout(1ms))); });
      each([&] {
        const weft::PinGuard pin;
        weft::yield();
        weft::sleep_for(1ms);
      });
      each([&] { weft::blocking([] {}); });
      each([&] { static_cast<void>(weft::after(1ms).recv()); });
      each([&] {
        auto timer = weft::after_func(1ms, [] {});
        timer.stop();
      });
      each([&] { EXPECT_GE(weft::stats().live, 1U); });
      each([] {
        try {
          throw std::runtime_error("in between");
        } catch (const std::runtime_error&) {
          weft::yield();
        }
      });
      each([] {});
      wg.wait();
      EXPECT_EQ(ended, 13);
    });
    test::eventually([&] { return detached(runtime) == 0; });
    test::eventually([&] { return runtime.stats().live == 0; });
  }
}

// Rules: LT-1
TEST(MonitorTest, APinnedGoroutineMayLoseItsProcessor) {
  const test::Watchdog watchdog("a pinned goroutine without a processor");
  Runtime runtime(RuntimeOptions{.processors = 1});
  for (int round = 0; round < test::rounds(20); ++round) {
    runtime.run([&] {
      WaitGroup wg;
      auto chan = make_chan<int>();
      std::atomic<bool> seen{false};
      wg.go([&] {
        const weft::PinGuard pin;
        const auto thread = std::this_thread::get_id();
        weft::go([&] { seen.store(true); });
        spin_until(seen);
        EXPECT_EQ(*chan.recv(), 1);
        EXPECT_EQ(std::this_thread::get_id(), thread);
        weft::yield();
        EXPECT_EQ(std::this_thread::get_id(), thread);
      });
      wg.go([&] { chan.send(1); });
      wg.wait();
    });
  }
}

// Rules: DL-2
TEST(MonitorTest, ABlockedOrComputingGoroutineIsNoDeadlock) {
  const auto child = test::in_child([] {
    weft::run(RuntimeOptions{.processors = 1}, [] {
      auto chan = make_chan<int>();
      WaitGroup wg;
      std::atomic<bool> stop{false};
      wg.go([&] {
        spin_until(stop);
        weft::blocking([&] { std::this_thread::sleep_for(50ms); });  // everybody else is parked
        chan.send(1);
      });
      wg.go([&] { stop.store(true); });
      EXPECT_EQ(*chan.recv(), 1);
      wg.wait();
    });
    std::exit(0);
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

// Rules: DL-1, DL-2
TEST(MonitorTest, ADeadlockAfterABlockingCallIsReported) {
  const auto child = test::in_child([] {
    weft::run(RuntimeOptions{.processors = 1}, [] {
      auto chan = make_chan<int>();
      std::atomic<bool> go_on{false};
      weft::go([&] {
        weft::blocking([&] { go_on.wait(false); });
        chan.recv();
      });
      weft::go([&] {
        go_on.store(true);
        go_on.notify_all();
      });
      chan.recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << child.err;
}

// Rules: LT-3
TEST(MonitorTest, ADeadlockOfADetachedPinnedGoroutineIsReported) {
  const auto child = test::in_child([] {
    weft::run(RuntimeOptions{.processors = 1}, [] {
      auto chan = make_chan<int>();
      std::atomic<bool> seen{false};
      weft::go([&] {
        const weft::PinGuard pin;
        weft::go([&] { seen.store(true); });
        spin_until(seen);
        chan.recv();
      });
      chan.recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << child.err;
}

// The limit holds, and who waits for a thread gets one that comes back.
TEST(MonitorTest, NoMoreThreadsThanAllowed) {
  const test::Watchdog watchdog("work waits though threads have come back");
  Runtime runtime(RuntimeOptions{.processors = 1, .max_threads = 4});
  std::atomic<int> done{0};
  runtime.run([&] {
    WaitGroup wg;
    for (int i = 0; i < 20; ++i) {
      wg.go([&] {
        weft::blocking([] { std::this_thread::sleep_for(2ms); });
        done.fetch_add(1);
      });
    }
    wg.wait();
  });
  EXPECT_EQ(done.load(), 20);
  EXPECT_LE(runtime.stats().threads, 4U);
}

// Rules: SCH-3
TEST(MonitorTest, WithoutMembarrierToo) {
  test::expect_pass_without_membarrier(
      "MonitorTest.AnEmptyLoop*:*TimersAndChannels*:*ABlockingCallOn*:MonitorTest.Race");
}

// A goroutine that computes for long, and starts many others meanwhile, does so at its processor's speed again and again.
TEST(MonitorTest, ASpawnerComesHome) {
  const test::Watchdog watchdog("a spawner keeps others waiting");
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([&] {
    std::atomic<bool> first_ran{false};
    WaitGroup wg;
    wg.go([&] { first_ran.store(true); });
    // Not a yield, not a park: only go().
    std::uint64_t started = 0;
    while (!first_ran.load()) {
      wg.go([] {});
      compute(10us);
      ++started;
    }
    wg.wait();
    EXPECT_GE(started, 1U);
  });
}

// Nor does who hands values over, and never has to wait: each one that it wakes would go by way of the threads' queue, for as long as it
// computes beside the processors.
TEST(MonitorTest, WhoWakesOthersComesHome) {
  if (test::chaos()) GTEST_SKIP() << "takes processors at random, of goroutines that have come home as well";
  const test::Watchdog watchdog("a goroutine without a processor wakes others");
  const auto both_ways = make_chan<int>();
  const auto quiet = make_chan<int>();
  const std::function<void()> wakes[] = {
      [&] { both_ways.send(1); },
      [&] { static_cast<void>(both_ways.recv()); },
      [&] { weft::select(both_ways.on_send(1), quiet.on_recv()); },
  };
  for (std::size_t i = 0; i < std::size(wakes); ++i) {
    Runtime runtime(RuntimeOptions{.processors = 1});
    std::atomic<bool> has_woken{false};
    std::atomic<bool> is_home{false};
    runtime.go([&] {
      std::atomic<bool> runs{false};
      weft::go([&] {
        runs.store(true);
        i == 1 ? both_ways.send(1) : static_cast<void>(both_ways.recv());
      });
      const std::uint64_t parks = runtime.stats().parks;
      spin_until(runs);  // by whom this processor is taken
      while (runtime.stats().parks == parks) {
      }
      wakes[i]();
      has_woken.store(true);
      spin_until(is_home);
    });
    test::eventually([&] { return has_woken.load(); });
    test::eventually([&] { return detached(runtime) == 0; });
    is_home.store(true);
    test::eventually([&] { return runtime.stats().live == 0; });
  }
}

// Processors come and go under every kind of load.
TEST(MonitorTest, Race) {
  const test::Watchdog watchdog("a race with the monitor");
  for (const unsigned processors : {1U, 2U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    const int rounds = test::rounds(2'000);
    runtime.run([&] {
      auto chan = make_chan<int>();
      auto results = make_chan<int>(16);
      WaitGroup wg;
      for (int w = 0; w < 4; ++w) {
        wg.go([=] {
          for (const int v : chan) {
            if (v % 64 == 0) weft::blocking([] { std::this_thread::sleep_for(30us); });
            if (v % 97 == 0) compute(100us);
            results.send(v);
          }
        });
      }
      wg.go([=] {
        for (int i = 0; i < rounds; ++i) chan.send(i);
        chan.close();
      });
      std::int64_t sum = 0;
      for (int i = 0; i < rounds; ++i) sum += *results.recv();
      wg.wait();
      EXPECT_EQ(sum, std::int64_t{rounds} * (rounds - 1) / 2);
    });
    test::eventually([&] { return detached(runtime) == 0; });
  }
}

}  // namespace

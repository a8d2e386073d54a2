// sleep_for and sleep_until: never early, never lost, in the order of the deadlines, from goroutines and threads.

#include <weft/time.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::TimePoint;
using weft::WaitGroup;
namespace test = weft::test;
using Ns = std::chrono::nanoseconds;

static_assert(Clock::is_steady);
static_assert(std::chrono::is_clock_v<Clock>);

void spin_until(std::chrono::steady_clock::time_point end) {
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Starts f on `runtime` and waits until it is parked.
template <class F>
void go_parked_on(Runtime& runtime, F f) {
  std::atomic<std::uint64_t> id{0};
  runtime.go([&id, f = std::move(f)]() mutable {
    id.store(weft::this_goroutine::id(), std::memory_order_release);
    f();
  });
  std::uint64_t started = 0;
  while ((started = id.load(std::memory_order_acquire)) == 0) weft::yield();
  weft::testing::wait_parked(started);
}

// Rules: TM-1, TM-2
TEST(SleepTest, IsNeverEarly) {
  test::everywhere([] {
    for (const Ns d : {Ns(1), Ns(999), Ns(1us), Ns(50us), Ns(1ms), Ns(1500us), Ns(20ms)}) {
      const auto steady = std::chrono::steady_clock::now();
      const TimePoint start = Clock::now();
      weft::sleep_for(d);
      EXPECT_GE(Clock::now() - start, d);
      EXPECT_GE(std::chrono::steady_clock::now() - steady, d);
    }
  });
}

// Rules: TM-1, TM-2
TEST(SleepTest, UntilIsNeverEarly) {
  test::everywhere([] {
    for (const Ns d : {Ns(0), Ns(1), Ns(100us), Ns(5ms)}) {
      const TimePoint deadline = Clock::now() + d;
      weft::sleep_until(deadline);
      EXPECT_GE(Clock::now(), deadline);
    }
  });
}

// Rules: TM-1
TEST(SleepTest, ZeroAndNegativeReturnAtOnce) {
  test::everywhere([] {
    weft::sleep_for(0ns);
    weft::sleep_for(-1ns);
    weft::sleep_for(-1h);
    weft::sleep_for(Ns::min());
    weft::sleep_for(std::chrono::hours::min());
    weft::sleep_for(std::chrono::duration<double>(-1e300));
    weft::sleep_until(Clock::now());
    weft::sleep_until(Clock::now() - 1h);
    weft::sleep_until(TimePoint());
    weft::sleep_until(TimePoint::min());
  });
}

// Rules: TM-1
TEST(SleepTest, ZeroAndNegativeNeitherParkNorYield) {
  if (test::chaos()) GTEST_SKIP() << "chaos yields at every entry";
  weft::run(RuntimeOptions{.processors = 1}, [] {
    bool ran = false;
    WaitGroup wg;
    wg.go([&] { ran = true; });
    const std::uint64_t parks = weft::stats().parks;
    for (int i = 0; i < 1000; ++i) {
      weft::sleep_for(0s);
      weft::sleep_for(-1s);
      weft::sleep_until(TimePoint());
    }
    EXPECT_FALSE(ran);
    EXPECT_EQ(weft::stats().parks, parks);
    wg.wait();
  });
}

// Rules: TM-1
TEST(SleepTest, NegativeInALoopDoesNotHang) {
  // t:TestSleepZeroDeadlock: sleepers of zero and real sleepers side by side.
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([] {
        for (int i = 0; i < test::rounds(1000); ++i) {
          weft::sleep_for(0ns);
          weft::sleep_for(-5ms);
          if (i % 10 == 0) weft::yield();
        }
      });
    }
    for (int g = 0; g < 4; ++g) {
      wg.go([] {
        for (int i = 0; i < test::rounds(200); ++i) weft::sleep_for(1us);
      });
    }
    wg.wait();
  });
}

// Rules: TM-1, HZ-12
TEST(SleepTest, HugeDurationsLastForEver) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  std::atomic<int> returned{0};
  go_parked_on(runtime, [&] {
    weft::sleep_for(Ns::max());
    ++returned;
  });
  go_parked_on(runtime, [&] {
    weft::sleep_for(std::chrono::hours::max());
    ++returned;
  });
  go_parked_on(runtime, [&] {
    weft::sleep_for(std::chrono::duration<double>(1e300));
    ++returned;
  });
  go_parked_on(runtime, [&] {
    weft::sleep_for(Ns::max() - Clock::now().time_since_epoch());  // the sum is just below the limit
    ++returned;
  });
  go_parked_on(runtime, [&] {
    weft::sleep_until(TimePoint::max());
    ++returned;
  });
  go_parked_on(runtime, [&] {
    weft::sleep_until(TimePoint(Ns::max() - 1ns));
    ++returned;
  });
  // Shorter sleeps on the same runtime still end, and in time.
  runtime.run([] {
    WaitGroup wg;
    for (int i = 0; i < 20; ++i) {
      wg.go([i] { weft::sleep_for(std::chrono::milliseconds(i % 4)); });
    }
    wg.wait();
  });
  EXPECT_EQ(returned.load(), 0);
  const auto report = runtime.shutdown(1ms);
  EXPECT_EQ(report.stragglers.size(), 6U);
  EXPECT_EQ(returned.load(), 0);
}

// Rules: TM-1
TEST(SleepTest, TakesEveryKindOfDuration) {
  test::everywhere([] {
    const auto start = Clock::now();
    weft::sleep_for(std::chrono::duration<double>(0.002));
    EXPECT_GE(Clock::now() - start, 2ms);
    weft::sleep_for(std::chrono::duration<float, std::milli>(0.5F));
    weft::sleep_for(std::chrono::duration<std::int8_t, std::milli>(std::int8_t{1}));
    weft::sleep_for(std::chrono::duration<unsigned>(0U));
    using Third = std::chrono::duration<std::int64_t, std::ratio<1, 3'000'000'000>>;  // finer than a nanosecond
    weft::sleep_for(Third(1));
  });
}

// Rules: TM-1, TM-4
TEST(SleepTest, ManySleepersWakeInTheOrderOfTheirDeadlinesOnOneProcessor) {
  if (test::chaos()) GTEST_SKIP() << "who runs first is random";
  weft::run(RuntimeOptions{.processors = 1}, [] {
    for (int round = 0; round < 5; ++round) {
      constexpr std::size_t kSleepers = 200;
      std::vector<std::size_t> slots(kSleepers);
      std::iota(slots.begin(), slots.end(), std::size_t{0});
      test::Lcg random(static_cast<std::uint64_t>(round) + 1);
      for (std::size_t i = kSleepers; i > 1; --i) std::swap(slots[i - 1], slots[random.below(i)]);
      std::vector<std::size_t> order;
      WaitGroup wg;
      const TimePoint base = Clock::now() + 50ms;
      for (const std::size_t slot : slots) {
        test::go_parked(wg, [&, slot] {
          weft::sleep_until(base + slot * 50us);
          order.push_back(slot);
        });
      }
      const bool all_were_asleep = Clock::now() < base;
      wg.wait();
      if (all_were_asleep) {
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
      }
    }
  });
}

// Rules: TM-4
TEST(SleepTest, SleepersThatFallDueTogetherWakeInTheOrderOfTheirDeadlines) {
  if (test::chaos()) GTEST_SKIP() << "who runs first is random";
  weft::run(RuntimeOptions{.processors = 1}, [] {
    for (int round = 0; round < 5; ++round) {
      constexpr std::size_t kSleepers = 50;
      std::vector<std::size_t> order;
      WaitGroup wg;
      const TimePoint base = Clock::now() + 50ms;
      for (std::size_t i = 0; i < kSleepers; ++i) {
        const std::size_t slot = i * 7 % kSleepers;
        test::go_parked(wg, [&, slot] {
          weft::sleep_until(base + slot * 1us);
          order.push_back(slot);
        });
      }
      const bool all_were_asleep = Clock::now() < base;
      spin_until(std::chrono::steady_clock::now() + (base - Clock::now()) + 1ms);  // until all are due, none can run
      wg.wait();
      if (all_were_asleep) {
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
      }
    }
  });
}

// Rules: TM-1, TM-3
TEST(SleepTest, SleepersDoNotHoldTheProcessor) {
  weft::run(RuntimeOptions{.processors = 1}, [] {
    constexpr int kSleepers = 1000;
    std::atomic<int> asleep{0};
    std::atomic<int> awake{0};
    std::atomic<bool> all_were_asleep{false};
    WaitGroup wg;
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < test::crowd(kSleepers); ++i) {
      wg.go([&] {
        if (asleep.fetch_add(1) + 1 == test::crowd(kSleepers)) all_were_asleep = awake.load() == 0;
        weft::sleep_for(300ms);
        ++awake;
      });
    }
    wg.wait();
    // One after the other they would need five minutes.
    EXPECT_LT(std::chrono::steady_clock::now() - start, 60s);
    EXPECT_EQ(awake.load(), test::crowd(kSleepers));
  });
}

// Rules: TM-1, TM-2, TM-3
TEST(SleepTest, ManyShortSleepsOfManyGoroutinesAllEndAndNoneEarly) {
  weft::run([] {
    WaitGroup wg;
    for (int g = 0; g < 100; ++g) {
      wg.go([g] {
        test::Lcg random(static_cast<std::uint64_t>(g) + 1);
        for (int i = 0; i < test::rounds(100); ++i) {
          const auto d = std::chrono::microseconds(random.below(500));
          const auto start = std::chrono::steady_clock::now();
          weft::sleep_for(d);
          ASSERT_GE(std::chrono::steady_clock::now() - start, d);
        }
      });
    }
    wg.wait();
  });
}

// Rules: TM-1, TM-2
TEST(SleepTest, PlainThreadsSleepSideBySideWithGoroutines) {
  std::vector<std::unique_ptr<test::Task>> tasks;
  for (int i = 0; i < 16; ++i) {
    tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kThread : test::On::kGoroutine, [i] {
      for (int n = 0; n < test::rounds(100); ++n) {
        const auto d = std::chrono::microseconds((i * 37 + n * 11) % 300);
        const auto start = Clock::now();
        weft::sleep_for(d);
        ASSERT_GE(Clock::now() - start, d);
      }
    }));
  }
}

// Rules: TM-12, I3
TEST(SleepTest, AShorterSleepThatStartsLaterIsServedFirst) {
  // The runtime waits for a far deadline when the near one comes in, from a goroutine that a plain thread starts.
  Runtime runtime(RuntimeOptions{.processors = 2});
  go_parked_on(runtime, [] { weft::sleep_for(1h); });
  for (int round = 0; round < test::rounds(500); ++round) {
    WaitGroup wg;
    wg.add(1);
    runtime.go([&] {
      weft::sleep_for(50us);
      wg.done();
    });
    wg.wait();
  }
}

// Rules: TM-20, TM-3
TEST(SleepTest, SleepersAreServedWhileOthersKeepTheProcessorsBusyYielding) {
  for (const unsigned processors : {1U, 2U}) {
    weft::run(RuntimeOptions{.processors = processors}, [] {
      std::atomic<bool> stop{false};
      const auto ping = weft::make_chan<int>();
      WaitGroup wg;
      wg.go([&] {
        while (!stop.load(std::memory_order_relaxed)) weft::yield();
      });
      wg.go([&] {
        for (int i = 0; !stop.load(std::memory_order_relaxed); ++i) ping.send(i);
        ping.close();
      });
      wg.go([&] {
        for (const int value : ping) static_cast<void>(value);
      });
      for (int i = 0; i < 20; ++i) weft::sleep_for(1ms);  // a hang here is the failure
      stop.store(true, std::memory_order_relaxed);
      wg.wait();
    });
  }
}

// Rules: TM-20
TEST(SleepTest, TimersArmedOnABusyProcessorAreServedByAnIdleOne) {
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  weft::run(RuntimeOptions{.processors = 2}, [] {
    for (int round = 0; round < test::rounds(50); ++round) {
      std::atomic<bool> woke{false};
      WaitGroup wg;
      wg.go([&] {
        weft::sleep_for(200us);
        woke.store(true, std::memory_order_release);
      });
      wg.go([&] {
        while (!woke.load(std::memory_order_acquire)) {  // keeps its processor until the sleeper is served elsewhere
        }
      });
      wg.wait();
    }
  });
}

// Rules: TM-1, TM-21
TEST(SleepTest, TimedWaitsOfEveryKindAreNeverEarly) {
  test::everywhere([] {
    const auto quiet = weft::make_chan<int>();
    const auto start = Clock::now();
    EXPECT_EQ(quiet.recv_for(3ms).status(), weft::ChanStatus::timed_out);
    EXPECT_GE(Clock::now() - start, 3ms);
    EXPECT_EQ(quiet.send_for(1, 3ms), weft::ChanStatus::timed_out);
    EXPECT_GE(Clock::now() - start, 6ms);
    EXPECT_EQ(weft::select(quiet.on_recv(), weft::on_timeout(3ms)), 1U);
    EXPECT_GE(Clock::now() - start, 9ms);
    EXPECT_EQ(weft::select(weft::on_timeout(3ms)), 0U);
    EXPECT_GE(Clock::now() - start, 12ms);
  });
}

}  // namespace

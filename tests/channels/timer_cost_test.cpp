// What timers cost: nothing in any heap while nobody waits, no allocation but their own, nothing left when dropped.

#include <weft/timer.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"

namespace {

using namespace std::chrono_literals;
using weft::after;
using weft::Clock;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::Ticker;
using weft::TimePoint;
using weft::Timer;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

/// Deadlines in all heaps of the calling goroutine's runtime.
std::size_t deadlines() {
  std::size_t n = 0;
  for (const auto& processor : Runtime::current()->scheduler().processors) n += processor->timers.size();
  return n;
}

// Rules: TM-19
TEST(TimerCostTest, NoHeapHoldsATimerThatNobodyWaitsFor) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    std::vector<Timer> timers;
    std::vector<Ticker> tickers;
    for (int i = 0; i < test::rounds(100'000); ++i) {
      timers.emplace_back(1h);
      if (i % 10 == 0) tickers.emplace_back(1h);
      timers.back().reset(2h);
      static_cast<void>(timers.back().chan().try_recv());
    }
    EXPECT_EQ(deadlines(), 0U);
  });
}

// Rules: TM-19
TEST(TimerCostTest, AHeapHoldsItWhileSomebodyIsParkedOnIt) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    Timer timer(1h);
    const auto done = weft::make_chan<weft::Unit>();
    WaitGroup group;
    for (int i = 0; i < 3; ++i) {
      test::go_parked(group, [&] { weft::select(timer.chan().on_recv(), done.on_recv(), timer.chan().on_recv()); });
      EXPECT_EQ(deadlines(), 1U);
    }
    EXPECT_TRUE(timer.stop());
    EXPECT_EQ(deadlines(), 0U);
    EXPECT_FALSE(timer.reset(2h));
    EXPECT_EQ(deadlines(), 1U);
    EXPECT_TRUE(timer.reset(3h));
    EXPECT_EQ(deadlines(), 1U);
    done.close();
    group.wait();
    EXPECT_EQ(deadlines(), 0U);
  });
}

// Rules: TM-19
TEST(TimerCostTest, NoHeapHoldsWhatWasReceivedOrLostItsTimeout) {
  weft::run(RuntimeOptions{.processors = 1}, [] {
    const Timer timer(1h);
    Ticker ticker(100us);
    EXPECT_EQ(timer.chan().recv_for(1us).status(), weft::ChanStatus::timed_out);
    EXPECT_TRUE(ticker.chan().recv());
    EXPECT_TRUE(after(1us).recv());
    EXPECT_EQ(weft::select(timer.chan().on_recv(), ticker.chan().on_recv()), 1U);
    EXPECT_EQ(deadlines(), 0U);
  });
}

// Rules: TM-19, I8
TEST(TimerCostTest, CreatingAndStoppingTouchesNoHeap) {
  // A heap's lock is the only one that a timer shares with anybody else: size() takes it from here, and the timers below
  // must get along without.
  weft::run(RuntimeOptions{.processors = 1}, [] {
    const std::int64_t before = Runtime::current()->scheduler().earliest_deadline();
    for (int i = 0; i < 1000; ++i) {
      Timer timer(1h);
      EXPECT_EQ(static_cast<weft::detail::TimerHeap&>(Runtime::current()->scheduler().processors[0]->timers).size(),
                0U);
      EXPECT_TRUE(timer.stop());
    }
    EXPECT_EQ(Runtime::current()->scheduler().earliest_deadline(), before);
  });
}

// Rules: TM-18
TEST(TimerCostTest, DroppedTimersLeaveNothing) {
  // t:TestTimerGC. Whatever was allocated is freed: the leak check of a sanitizer sees that; here, that no heap grows.
  weft::run(RuntimeOptions{.processors = 2}, [] {
    for (int i = 0; i < test::rounds(10'000); ++i) {
      static_cast<void>(after(1h));
      static_cast<void>(weft::tick(1h));
      static_cast<void>(Timer(1h));
      static_cast<void>(Ticker(1h));
      // Those that somebody has waited for, too.
      weft::select(after(1h).on_recv(), Timer(1h).chan().on_recv(), weft::tick(1h).on_recv(), weft::on_timeout(1ns));
    }
    EXPECT_EQ(deadlines(), 0U);
  });
}

// Rules: TM-18, TM-10
TEST(TimerCostTest, AStoppedAfterFuncLeavesItsHeapAtOnce) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    std::vector<weft::AfterFunc> funcs;
    for (int i = 0; i < 1000; ++i) funcs.push_back(weft::after_func(1h, [] {}));
    EXPECT_EQ(deadlines(), 1000U);
    for (auto& func : funcs) func.reset(2h);
    EXPECT_EQ(deadlines(), 1000U);
    for (auto& func : funcs) func.stop();
    EXPECT_EQ(deadlines(), 0U);
  });
}

// Rules: I8, TM-5
TEST(TimerCostTest, OneAllocationForATimerAndNoneForWaiting) {
  if (!test::allocations()) GTEST_SKIP() << "the sanitizer allocates";
  weft::run(RuntimeOptions{.processors = 1}, [] {
    // A thread that is started meanwhile, because the machine has stopped this one for long, allocates too.
    const auto count = [](auto f) {
      for (;;) {
        const unsigned threads = weft::stats().threads;
        const std::uint64_t before = *test::allocations();
        f();
        const std::uint64_t after = *test::allocations();
        if (weft::stats().threads == threads) return after - before;
      }
    };
    std::optional<Timer> timer;
    EXPECT_EQ(count([&] { timer.emplace(1h); }), 1U);
    Ticker ticker(10us);
    EXPECT_EQ(count([&] {
                for (int i = 0; i < 100; ++i) {
                  timer->reset(1us);
                  EXPECT_TRUE(timer->chan().recv());
                  weft::select(timer->chan().on_recv(), ticker.chan().on_recv());
                  static_cast<void>(ticker.chan().recv());
                  timer->stop();
                }
              }),
              0U);
  });
}

// Rules: TM-3, TM-4
TEST(TimerCostTest, ManyCallsAtOnceAreMadeOrStoppedEachOnce) {
  weft::run([] {
    const int count = test::crowd(test::rounds(200'000));  // a stack is promised to each
    std::vector<weft::AfterFunc> funcs;
    funcs.reserve(static_cast<std::size_t>(count));
    std::atomic<int> ran{0};
    for (int i = 0; i < count; ++i) {
      const Ns d = i % 2 == 0 ? Ns(1h) + Ns(i * 7919 % count) : Ns(i * 7919 % count * 100);
      funcs.push_back(weft::after_func(d, [&] { ++ran; }));
    }
    test::eventually([&] { return ran.load() == count / 2; });
    int stopped = 0;
    for (auto& func : funcs) stopped += func.stop() ? 1 : 0;
    EXPECT_EQ(stopped, count - count / 2);
    EXPECT_EQ(deadlines(), 0U);
  });
}

}  // namespace

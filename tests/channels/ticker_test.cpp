// Ticker: phase, missed ticks, stop and reset. On virtual time.

#include <weft/timer.hpp>

#include <chrono>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::ChanStatus;
using weft::Clock;
using weft::Received;
using weft::RecvChan;
using weft::sleep_for;
using weft::Ticker;
using weft::TimePoint;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<Ticker> && !std::is_copy_assignable_v<Ticker>);
static_assert(std::is_nothrow_move_constructible_v<Ticker> && std::is_nothrow_move_assignable_v<Ticker>);

constexpr Ns kStart{946'684'800'000'000'000};  // where a bubble's clock begins
Ns now() { return Clock::now().time_since_epoch() - kStart; }
Ns at(const Received<TimePoint>& received) { return received->time_since_epoch() - kStart; }

template <class F>
std::string panic_of(F f) {
  try {
    f();
    return "no panic";
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

// Rules: TM-15
TEST(TickerTest, TicksOnceEveryPeriodFromItsStart) {
  weft::testing::run([] {
    const Ticker ticker(10ms);
    EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
    for (int i = 1; i <= 100; ++i) {
      EXPECT_EQ(at(ticker.chan().recv()), i * 10ms);
      EXPECT_EQ(now(), i * 10ms);
    }
  });
}

// Rules: TM-15, TM-13
TEST(TickerTest, MissedTicksAreDroppedAndThePhaseIsKept) {
  weft::testing::run([] {
    const Ticker ticker(10ms);
    std::vector<Ns> ticks;
    for (int i = 0; i < 4; ++i) {
      sleep_for(37ms);
      ticks.push_back(at(ticker.chan().recv()));
      // At most one undelivered tick.
      EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
    }
    EXPECT_EQ(ticks, (std::vector<Ns>{10ms, 40ms, 80ms, 120ms}));
    EXPECT_EQ(now(), 148ms);
    EXPECT_EQ(at(ticker.chan().recv()), 150ms);
  });
}

// Rules: TM-15
TEST(TickerTest, AWaitThatIsNotTakenKeepsTheFirstTickOnly) {
  weft::testing::run([] {
    const Ticker ticker(1s);
    sleep_for(1h + 500ms);
    EXPECT_EQ(at(ticker.chan().recv()), 1s);
    EXPECT_EQ(at(ticker.chan().recv()), 3601s);
  });
}

// Rules: TM-14
TEST(TickerTest, LooksUnbufferedAtAllTimes) {
  weft::testing::run([] {
    const Ticker ticker(1s);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(ticker.chan().size(), 0U);
      EXPECT_EQ(ticker.chan().capacity(), 0U);
      sleep_for(1500ms);
    }
  });
}

// Rules: TM-15
TEST(TickerTest, ANonPositivePeriodPanics) {
  for (const Ns d : {0ns, -1ns, Ns::min()}) {
    EXPECT_EQ(panic_of([&] { Ticker ticker(d); }), "non-positive interval for NewTicker");
  }
}

// Rules: TM-16
TEST(TickerTest, NothingCanBeReceivedAfterStop) {
  weft::testing::run([] {
    Ticker ticker(5ms);
    sleep_for(7ms);  // one tick has come
    ticker.stop();
    EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
    sleep_for(20ms);
    EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
    ticker.stop();
  });
}

// Rules: TM-16
TEST(TickerTest, StopLeavesWhoWaitsWaiting) {
  weft::testing::run([] {
    Ticker ticker(5ms);
    int received = 0;
    weft::go([&] {
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(ticker.chan().recv().status(), ChanStatus::ok);
        ++received;
      }
    });
    weft::testing::wait();
    ticker.stop();
    sleep_for(1h);
    EXPECT_EQ(received, 0);
    ticker.reset(7ms);
    sleep_for(8ms);
    EXPECT_EQ(received, 1);
    sleep_for(7ms);
    EXPECT_EQ(received, 2);
    weft::testing::wait();
  });
}

// Rules: TM-16, TM-8
TEST(TickerTest, ResetStartsANewPhaseAndLeavesNoStaleTick) {
  weft::testing::run([] {
    Ticker ticker(10ms);
    EXPECT_EQ(at(ticker.chan().recv()), 10ms);
    sleep_for(15ms);  // the tick of 20 ms has come
    ticker.reset(40ms);
    EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_EQ(at(ticker.chan().recv()), 65ms);
    EXPECT_EQ(at(ticker.chan().recv()), 105ms);
    ticker.stop();
    ticker.reset(1ms);
    EXPECT_EQ(at(ticker.chan().recv()), 106ms);
    EXPECT_EQ(at(ticker.chan().recv()), 107ms);
  });
}

// Rules: TM-16, TM-12
TEST(TickerTest, ResetMovesTheNextTickOfWhoIsParked) {
  weft::testing::run([] {
    Ticker ticker(1h);
    std::vector<Ns> ticks;
    WaitGroup group;
    test::go_parked(group, [&] {
      for (int i = 0; i < 3; ++i) ticks.push_back(at(ticker.chan().recv()));
    });
    sleep_for(1s);
    ticker.reset(2s);
    group.wait();
    EXPECT_EQ(ticks, (std::vector<Ns>{3s, 5s, 7s}));
  });
}

// Rules: TM-15, TM-16
TEST(TickerTest, FiveTicksThenFiveSlowerOnesThenNone) {
  // t:TestTicker.
  weft::testing::run([] {
    Ticker ticker(20ms);
    for (int i = 0; i < 5; ++i) static_cast<void>(ticker.chan().recv());
    ticker.reset(40ms);
    for (int i = 0; i < 5; ++i) static_cast<void>(ticker.chan().recv());
    EXPECT_EQ(now(), 300ms);
    ticker.stop();
    sleep_for(80ms);
    EXPECT_EQ(ticker.chan().try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: TM-11, TM-16
TEST(TickerTest, OneWithoutAChannelMayBeStoppedButNotReset) {
  Ticker nothing;
  EXPECT_TRUE(nothing.chan() == nullptr);
  Ticker moved(1h);
  Ticker heir(std::move(moved));
  for (Ticker* ticker : {&nothing, &moved}) {
    ticker->stop();  // silently
    EXPECT_EQ(panic_of([&] { ticker->reset(1s); }), "time: Reset called on uninitialized Ticker");
    EXPECT_EQ(panic_of([&] { ticker->reset(0s); }), "non-positive interval for Ticker.Reset");
    heir.reset(1h);  // TM-22: no lock is left behind
  }
  EXPECT_EQ(panic_of([&] { heir.reset(-1s); }), "non-positive interval for Ticker.Reset");
}

// Rules: TM-16
TEST(TickerTest, StopsWhenDestroyedOrReplaced) {
  weft::testing::run([] {
    RecvChan<TimePoint> rest;
    {
      Ticker ticker(1s);
      rest = ticker.chan();
    }
    sleep_for(5s);
    EXPECT_EQ(rest.try_recv().status(), ChanStatus::would_block);
    Ticker first(1s);
    rest = first.chan();
    first = Ticker(2s);
    EXPECT_EQ(at(first.chan().recv()), 7s);
    EXPECT_EQ(rest.try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: TM-11, CH-13
TEST(TickerTest, ManyReceiversTakeTurns) {
  weft::testing::run([] {
    const Ticker ticker(1s);
    std::vector<std::vector<Ns>> ticks(3);
    WaitGroup group;
    for (auto& own : ticks) {
      test::go_parked(group, [&] {
        for (int i = 0; i < 3; ++i) own.push_back(at(ticker.chan().recv()));
      });
    }
    group.wait();
    EXPECT_EQ(ticks[0], (std::vector<Ns>{1s, 4s, 7s}));
    EXPECT_EQ(ticks[1], (std::vector<Ns>{2s, 5s, 8s}));
    EXPECT_EQ(ticks[2], (std::vector<Ns>{3s, 6s, 9s}));
  });
}

// Rules: SEL-22, TM-15
TEST(TickerTest, ASelectOverTwoTickersSeesAllTicksOfBoth) {
  weft::testing::run([] {
    const Ticker fast(10ms);
    const Ticker slow(25ms);  // every second tick coincides with one of the other's
    int fast_ticks = 0;
    int slow_ticks = 0;
    const Received<TimePoint> end;
    const auto stop = weft::after(1001ms);
    for (bool is_over = false; !is_over;) {
      weft::select(fast.chan().on_recv([&] { ++fast_ticks; }), slow.chan().on_recv([&] { ++slow_ticks; }),
                   stop.on_recv([&] { is_over = true; }));
    }
    EXPECT_EQ(fast_ticks, 100);
    EXPECT_EQ(slow_ticks, 40);
  });
}

// Rules: TM-21
TEST(TickerTest, APeriodThatWouldOverflowDoesNotDisturbOthers) {
  weft::testing::run([] {
    const Ticker never(Ns::max());
    Ticker moved(1s);
    WaitGroup group;
    test::go_parked(group, [&] { EXPECT_EQ(never.chan().recv_for(24h).status(), ChanStatus::timed_out); });
    EXPECT_TRUE(moved.chan().recv());
    moved.reset(Ns::max() - 1ns);
    const Ticker other(1ms);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(other.chan().recv());
    EXPECT_EQ(never.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_EQ(moved.chan().try_recv().status(), ChanStatus::would_block);
    group.wait();
  });
}

}  // namespace

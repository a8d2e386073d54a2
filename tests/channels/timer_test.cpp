// Timer and after: what arrives when, what stop and reset say and do. On virtual time, so that every instant is exact.

#include <weft/timer.hpp>

#include <array>
#include <chrono>
#include <limits>
#include <optional>
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
using weft::after;
using weft::ChanStatus;
using weft::Clock;
using weft::Received;
using weft::RecvChan;
using weft::sleep_for;
using weft::TimePoint;
using weft::Timer;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<Timer> && !std::is_copy_assignable_v<Timer>);
static_assert(std::is_nothrow_move_constructible_v<Timer> && std::is_nothrow_move_assignable_v<Timer>);
static_assert(std::is_same_v<decltype(std::declval<Timer&>().chan()), RecvChan<TimePoint>>);

/// Since the start of the bubble, which is known.
Ns now() { return Clock::now().time_since_epoch() - Ns(946'684'800'000'000'000); }
Ns at(const Received<TimePoint>& received) { return received->time_since_epoch() - Ns(946'684'800'000'000'000); }

template <class F>
std::string panic_of(F f) {
  try {
    f();
    return "no panic";
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

// Rules: TM-5
TEST(TimerTest, DeliversOneValueWhenItsTimeHasCome) {
  weft::testing::run([] {
    Timer timer(3s);
    EXPECT_EQ(at(timer.chan().recv()), 3s);
    EXPECT_EQ(now(), 3s);
    sleep_for(10h);
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);  // and never another one
  });
}

// Rules: TM-5, SYN-5
TEST(TimerTest, ZeroAndNegativeAreDueAtOnceAndOnce) {
  weft::testing::run([] {
    for (const Ns d : {0ns, -1ns, Ns::min()}) {
      Timer timer(d);
      ASSERT_EQ(timer.chan().try_recv().status(), ChanStatus::ok);
      sleep_for(10ms);
      EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
      const RecvChan<TimePoint> once = after(d);
      const TimePoint before = Clock::now();
      EXPECT_EQ(*once.recv(), before);  // no time passes
      sleep_for(10ms);
      EXPECT_EQ(once.try_recv().status(), ChanStatus::would_block);
    }
  });
}

// Rules: TM-5, TM-13
TEST(TimerTest, AfterDeliversTheInstantAtWhichItWasDue) {
  weft::testing::run([] {
    const RecvChan<TimePoint> early = after(10ms);
    sleep_for(500ms);
    EXPECT_EQ(at(early.recv()), 10ms);
    EXPECT_EQ(now(), 500ms);
    EXPECT_EQ(at(after(10ms).recv()), 510ms);
  });
}

// Rules: TM-14
TEST(TimerTest, LooksUnbufferedAtAllTimes) {
  weft::testing::run([] {
    const Timer timer(1s);
    const auto looks_unbuffered = [&] { return timer.chan().size() == 0 && timer.chan().capacity() == 0; };
    EXPECT_TRUE(looks_unbuffered());
    sleep_for(2s);
    EXPECT_TRUE(looks_unbuffered());
    EXPECT_EQ(at(timer.chan().try_recv()), 1s);
    EXPECT_TRUE(looks_unbuffered());
  });
}

// Rules: TM-4
TEST(TimerTest, EarlierDeadlinesAreSeenFirst) {
  weft::testing::run([] {
    const std::array<int, 13> slots{5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0};
    const auto seen = weft::make_chan<int>(slots.size());
    for (const int slot : slots) {
      weft::go([=] {
        static_cast<void>(after(slot * 1ms).recv());
        seen.send(slot);
      });
    }
    int last = -1;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const int slot = *seen.recv();
      EXPECT_LE(last, slot);
      EXPECT_EQ(now(), slot * 1ms);
      last = slot;
    }
  });
}

// Rules: TM-1, TM-21, HZ-12
TEST(TimerTest, ADurationThatWouldOverflowLastsForEver) {
  weft::testing::run([] {
    Timer longest(Ns::max());
    Timer hours(std::chrono::hours::max());
    Timer fraction(std::chrono::duration<double>(1e300));
    const RecvChan<TimePoint> never = after(Ns::max());
    sleep_for(24h * 365 * 100);
    EXPECT_EQ(longest.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_EQ(never.recv_for(24h * 365 * 10).status(), ChanStatus::timed_out);
    // Others still work next to them, whoever waits for what.
    EXPECT_EQ(weft::select(longest.chan().on_recv(), hours.chan().on_recv(), after(1s).on_recv()), 2U);
    EXPECT_TRUE(longest.stop());
    EXPECT_TRUE(hours.reset(1s));
    EXPECT_TRUE(hours.chan().recv());
  });
}

// Rules: TM-7
TEST(TimerTest, StopOfAnArmedTimerIsTrueOnceAndSilencesIt) {
  weft::testing::run([] {
    Timer timer(1s);
    sleep_for(500ms);
    EXPECT_TRUE(timer.stop());
    EXPECT_FALSE(timer.stop());
    sleep_for(10s);
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_FALSE(timer.stop());
  });
}

// Rules: TM-7, TM-8
TEST(TimerTest, StopOfAnExpiredTimerThatNobodyReceivedIsTrue) {
  weft::testing::run([] {
    Timer timer(1ns);
    sleep_for(10ms);
    EXPECT_TRUE(timer.stop());
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_FALSE(timer.stop());
  });
}

// Rules: TM-7
TEST(TimerTest, StopAfterTheValueWasReceivedIsFalse) {
  weft::testing::run([] {
    Timer timer(1s);
    EXPECT_TRUE(timer.chan().recv());
    EXPECT_FALSE(timer.stop());
  });
}

// Rules: TM-7, TM-16
TEST(TimerTest, StopNeitherClosesTheChannelNorWakesWhoWaits) {
  weft::testing::run([] {
    Timer timer(1s);
    bool has_received = false;
    weft::go([&] {
      const Received<TimePoint> received = timer.chan().recv();
      EXPECT_EQ(received.status(), ChanStatus::ok);
      has_received = true;
    });
    weft::testing::wait();
    EXPECT_TRUE(timer.stop());
    sleep_for(1h);
    EXPECT_FALSE(has_received);
    EXPECT_FALSE(timer.reset(1s));  // it waits for the new setting
    sleep_for(2s);
    EXPECT_TRUE(has_received);
  });
}

// Rules: TM-8, TM-9
TEST(TimerTest, ResetOfAnExpiredTimerLeavesNoStaleValue) {
  weft::testing::run([] {
    Timer timer(1s);
    sleep_for(2s);
    EXPECT_TRUE(timer.reset(1h));
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
    EXPECT_TRUE(timer.reset(1s));
    EXPECT_EQ(at(timer.chan().recv()), 3s);  // the new setting's time
  });
}

// Rules: TM-9
TEST(TimerTest, ResetCountsFromNow) {
  // t:testReset with d = 10 ms.
  weft::testing::run([] {
    Timer timer(20ms);
    sleep_for(10ms);
    EXPECT_TRUE(timer.reset(30ms));
    sleep_for(20ms);
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
    sleep_for(20ms);
    EXPECT_EQ(at(timer.chan().try_recv()), 40ms);
    EXPECT_FALSE(timer.reset(50ms));
    EXPECT_EQ(at(timer.chan().recv()), 100ms);
  });
}

// Rules: TM-9
TEST(TimerTest, AReceivedOrStoppedTimerFiresAgainAfterReset) {
  weft::testing::run([] {
    Timer timer(1s);
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(timer.chan().recv());
      EXPECT_FALSE(timer.reset(1s));
    }
    EXPECT_EQ(now(), 10s);
    EXPECT_TRUE(timer.stop());
    EXPECT_FALSE(timer.reset(1s));
    EXPECT_TRUE(timer.reset(0s));
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::ok);
    EXPECT_FALSE(timer.reset(-1s));
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::ok);
  });
}

// Rules: TM-12
TEST(TimerTest, ATimerThatIsMovedEarlierDoesNotWaitForItsFirstHour) {
  weft::testing::run([] {
    for (int i = 0; i < test::rounds(1000); ++i) {
      const TimePoint start = Clock::now();
      Timer timer(1h);
      EXPECT_TRUE(timer.reset(i % 2 == 0 ? Ns(-1s) : Ns(0)));
      if (i % 3 == 0) {
        EXPECT_TRUE(timer.stop());
        EXPECT_FALSE(timer.reset(-1ns));
      }
      EXPECT_TRUE(timer.chan().recv());
      EXPECT_EQ(Clock::now(), start);
    }
  });
}

/// What a goroutine that is parked on the channel sees when the timer is reset to `d` at 1 s.
Ns parked_while_reset_to(Ns d) {
  Ns received{};
  weft::testing::run([&] {
    Timer timer(10s);
    weft::go([&] { received = at(timer.chan().recv()); });
    sleep_for(1s);
    EXPECT_TRUE(timer.reset(d));
    // The goroutine holds a reference to the timer: let it end first.
    sleep_for(100s);
    EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
  });
  return received;
}

// Rules: TM-9, TM-12
TEST(TimerTest, ResetMovesTheDeadlineOfWhoIsParked) {
  EXPECT_EQ(parked_while_reset_to(2s), 3s);    // earlier
  EXPECT_EQ(parked_while_reset_to(20s), 21s);  // later
  EXPECT_EQ(parked_while_reset_to(0s), 1s);    // now
  EXPECT_EQ(parked_while_reset_to(-5s), 1s);   // the past
  EXPECT_EQ(parked_while_reset_to(9s), 10s);   // where it was
}

// Rules: TM-11, TM-7, CH-13
TEST(TimerTest, OfManyReceiversTheOneThatWaitsLongestGetsTheValue) {
  weft::testing::run([] {
    Timer timer(1s);
    std::vector<int> order;
    WaitGroup receivers;
    for (int i = 0; i < 5; ++i) {
      test::go_parked(receivers, [&, i] {
        EXPECT_EQ(timer.chan().recv().status(), ChanStatus::ok);
        order.push_back(i);
      });
    }
    for (int i = 0; i < 5; ++i) {
      sleep_for(2s);
      EXPECT_EQ(order.size(), static_cast<std::size_t>(i) + 1);
      EXPECT_FALSE(timer.reset(1s));
    }
    receivers.wait();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
    EXPECT_TRUE(timer.stop());
  });
}

// Rules: CH-13, TM-11
TEST(TimerTest, WhoComesWhenTheTimeHasPassedDoesNotTakeTheValueFromWhoWaits) {
  // The latecomer and the receiver fall due at the same instant, in either order.
  for (int round = 0; round < test::rounds(200); ++round) {
    weft::testing::run([] {
      const Timer timer(1s);
      bool has_received = false;
      test::go_parked([&] { has_received = timer.chan().recv().status() == ChanStatus::ok; });
      sleep_for(1s);
      EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
      EXPECT_EQ(weft::select(timer.chan().on_recv(), weft::on_default()), 1U);
      weft::testing::wait();
      EXPECT_TRUE(has_received);
    });
  }
}

// Rules: SEL-22, TM-13
TEST(TimerTest, LosingASelectDoesNotConsumeTheValue) {
  weft::testing::run([] {
    const Timer timer(5s);
    const auto data = weft::make_chan<int>();
    weft::go([=] {
      sleep_for(1s);
      data.send(7);
    });
    EXPECT_EQ(weft::select(timer.chan().on_recv(), data.on_recv()), 1U);
    EXPECT_EQ(now(), 1s);
    EXPECT_EQ(at(timer.chan().recv()), 5s);
    EXPECT_EQ(now(), 5s);
  });
}

// Rules: SEL-22
TEST(TimerTest, ASelectOverSeveralTimersTakesTheFirstOneDue) {
  weft::testing::run([] {
    const Timer three(3s);
    const Timer one(1s);
    const Timer two(2s);
    std::vector<std::size_t> order;
    for (int i = 0; i < 3; ++i) {
      order.push_back(weft::select(three.chan().on_recv(), one.chan().on_recv(), two.chan().on_recv()));
      EXPECT_EQ(now(), (i + 1) * 1s);
    }
    EXPECT_EQ(order, (std::vector<std::size_t>{1, 2, 0}));
  });
}

// Rules: SEL-22, SEL-3
TEST(TimerTest, MayBeListedTwiceInOneSelect) {
  std::array<int, 2> chosen{};
  weft::testing::run([&] {
    Timer timer(1s);
    for (int i = 0; i < 100; ++i) {
      // Parked, and ready at once.
      if (i % 2 == 0) sleep_for(2s);
      Received<TimePoint> received;
      ++chosen.at(weft::select(timer.chan().on_recv(received), timer.chan().on_recv(received)));
      EXPECT_EQ(received.status(), ChanStatus::ok);
      EXPECT_EQ(timer.chan().try_recv().status(), ChanStatus::would_block);
      EXPECT_FALSE(timer.reset(1s));
    }
  });
  EXPECT_GT(chosen[0], 10);
  EXPECT_GT(chosen[1], 10);
}

// Rules: SEL-22
TEST(TimerTest, ATimeoutAndATimerInOneSelectGoInTheOrderOfTheirTimes) {
  weft::testing::run([] {
    const Timer timer(2s);
    EXPECT_EQ(weft::select(timer.chan().on_recv(), weft::on_timeout(1s)), 1U);
    EXPECT_EQ(weft::select(timer.chan().on_recv(), weft::on_timeout(2s)), 0U);
    EXPECT_EQ(now(), 2s);
    EXPECT_EQ(timer.chan().recv_for(1s).status(), ChanStatus::timed_out);
    EXPECT_EQ(now(), 3s);
  });
}

// Rules: TM-11, TM-22
TEST(TimerTest, OneWithoutAChannelPanics) {
  test::everywhere([] {
    Timer nothing;
    EXPECT_TRUE(nothing.chan() == nullptr);
    Timer moved(1h);
    Timer heir(std::move(moved));
    for (Timer* timer : {&nothing, &moved}) {
      EXPECT_EQ(panic_of([&] { timer->stop(); }), "time: Stop called on uninitialized Timer");
      EXPECT_EQ(panic_of([&] { timer->reset(1s); }), "time: Reset called on uninitialized Timer");
      // No lock is left behind: others go on.
      EXPECT_TRUE(heir.reset(1h));
    }
    EXPECT_TRUE(heir.stop());
  });
}

// Rules: TM-5, TM-7
TEST(TimerTest, MovesWithItsChannelAndIsStoppedWhenReplaced) {
  weft::testing::run([] {
    Timer first(1s);
    const RecvChan<TimePoint> first_chan = first.chan();
    Timer second(2s);
    const RecvChan<TimePoint> second_chan = second.chan();
    second = std::move(first);
    EXPECT_TRUE(second.chan() == first_chan);
    EXPECT_TRUE(first.chan() == nullptr);
    sleep_for(5s);
    EXPECT_EQ(second_chan.try_recv().status(), ChanStatus::would_block);  // stopped
    EXPECT_EQ(at(first_chan.try_recv()), 1s);
    Timer third = std::move(second);
    EXPECT_FALSE(third.reset(1s));
    EXPECT_EQ(at(first_chan.recv()), 6s);
  });
}

// Rules: TM-18, TM-16
TEST(TimerTest, AChannelThatOutlivesItsTimerStaysSilentAndOpen) {
  weft::testing::run([] {
    RecvChan<TimePoint> rest;
    bool has_received = false;
    {
      const Timer timer(1s);
      rest = timer.chan();
      weft::go([&, rest] { has_received = rest.recv_for(1h).status() != ChanStatus::timed_out; });
      weft::testing::wait();
    }
    sleep_for(2h);
    EXPECT_FALSE(has_received);
    EXPECT_EQ(rest.try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: TM-17
TEST(TickTest, NonPositiveGivesTheNilChannelAndElseATicker) {
  EXPECT_TRUE(weft::tick(0s) == nullptr);
  EXPECT_TRUE(weft::tick(-1s) == nullptr);
  EXPECT_TRUE(weft::tick(Ns::min()) == nullptr);
  weft::testing::run([] {
    const RecvChan<TimePoint> ticks = weft::tick(10ms);
    for (int i = 1; i <= 3; ++i) EXPECT_EQ(at(ticks.recv()), i * 10ms);
  });
}

// Rules: TM-12, TM-4
TEST(TimerTest, RandomSettingsOfManyTimersFireWhenTheLastSettingSays) {
  // t:TestAdjustTimers: timers that are moved, stopped and waited for in every mixture.
  weft::testing::run([] {
    test::Lcg random(7);
    WaitGroup group;
    for (int i = 0; i < 200; ++i) {
      group.go([seed = random.next()] {
        test::Lcg own(seed);
        Timer timer(1h);
        for (int round = 0; round < 20; ++round) {
          TimePoint due = Clock::now() + 1h;
          timer.reset(1h);
          for (auto changes = own.below(4); changes > 0; --changes) {
            if (own.below(4) == 0) timer.stop();
            const Ns d = Ns(1ms) * static_cast<int>(own.below(500)) - 50ms;
            timer.reset(d);
            due = Clock::now() + std::max(d, Ns(0));
            if (own.below(2) == 0) {
              if (timer.chan().recv_for(Ns(1ms) * static_cast<int>(own.below(300)))) {
                timer.reset(1s);
                due = Clock::now() + 1s;
              }
            }
          }
          const Received<TimePoint> received = timer.chan().recv();
          ASSERT_EQ(*received, due);
          ASSERT_EQ(Clock::now(), std::max(due, Clock::now()));
        }
      });
    }
    group.wait();
  });
}

}  // namespace

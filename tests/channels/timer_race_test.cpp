// Timers in real time: what virtual time cannot show. Stop and reset against expiry and receivers on other processors, plain
// threads that wait, runtimes that end meanwhile. Nothing is early; how late anything may be is bounded generously.

#include <weft/timer.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
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
using weft::Runtime;
using weft::RuntimeOptions;
using weft::Ticker;
using weft::TimePoint;
using weft::Timer;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

/// Goroutines that are abandoned never give back what they hold: a leak check must still find it.
RecvChan<TimePoint> kept(RecvChan<TimePoint> chan) {
  static auto* all = new std::vector<RecvChan<TimePoint>>;
  return all->emplace_back(std::move(chan));
}

// Rules: TM-2, TM-13
TEST(TimerRaceTest, NothingIsEarly) {
  test::everywhere([] {
    for (const Ns d : {Ns(0), Ns(1), Ns(50us), Ns(1ms), Ns(7ms)}) {
      const auto steady = std::chrono::steady_clock::now();
      const TimePoint start = Clock::now();
      const TimePoint due = *after(d).recv();
      EXPECT_GE(due, start + d);
      EXPECT_GE(Clock::now(), due);
      EXPECT_GE(std::chrono::steady_clock::now() - steady, d);
      Timer timer(1h);
      timer.reset(d);
      const TimePoint reset = Clock::now();
      Received<TimePoint> received;
      weft::select(timer.chan().on_recv(received), after(1h).on_recv());
      EXPECT_GE(Clock::now(), *received);
      EXPECT_LE(*received, reset + d);  // due when it was set, not when it was seen
    }
  });
}

// Rules: TM-3
TEST(TimerRaceTest, TenInARowTakeTenTimesAsLongAndNotMuchMore) {
  // t:TestAfterTick. A machine under load gets another chance; a hang does not.
  for (int attempt = 0;; ++attempt) {
    const auto start = std::chrono::steady_clock::now();
    weft::run([] {
      for (int i = 0; i < 10; ++i) static_cast<void>(after(5ms).recv());
    });
    const auto took = std::chrono::steady_clock::now() - start;
    ASSERT_GE(took, 50ms);
    if (took < 150ms) break;
    ASSERT_LT(attempt, 100);
  }
}

// Rules: TM-3
TEST(TimerRaceTest, ATimerOfZeroIsThereAtOnceAMillionTimes) {
  test::everywhere([] {
    for (int i = 0; i < test::rounds(500'000); ++i) {
      const Timer timer(0s);
      ASSERT_TRUE(timer.chan().recv());
    }
  });
}

// Rules: TM-20
TEST(TimerRaceTest, IsSeenWhileTwoOthersPingPongInASelectLoop) {
  for (const unsigned processors : {1U, 2U}) {
    weft::run(RuntimeOptions{.processors = processors}, [] {
      const auto stop = weft::make_chan<weft::Unit>();
      const auto ball = weft::make_chan<int>();
      WaitGroup group;
      for (int g = 0; g < 2; ++g) {
        group.go([=] {
          for (bool is_over = false; !is_over;) {
            weft::select(ball.on_send(g), ball.on_recv(), stop.on_recv([&] { is_over = true; }));
          }
        });
      }
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(after(20ms).recv());  // a hang here is the failure
      Ticker ticker(1ms);
      for (int i = 0; i < 10; ++i) EXPECT_TRUE(ticker.chan().recv());
      stop.close();
      group.wait();
    });
  }
}

// Rules: TM-7
TEST(TimerRaceTest, StopOrResetRacingWithExpirySaysWhetherAValueCanBeReceived) {
  // t:testStopResetResult.
  weft::run([] {
    const int goroutines = test::crowd(test::rounds(1000));
    WaitGroup group;
    const auto start = weft::make_chan<weft::Unit>();
    for (int g = 0; g < goroutines; ++g) {
      group.go([=] {
        static_cast<void>(start.recv());
        for (int i = 0; i < 100; ++i) {
          Timer first(1ms);
          Timer second(1ms);
          // Whoever is received first, the other one is stopped, or is set anew, as it expires.
          const bool is_first = weft::select(first.chan().on_recv(), second.chan().on_recv()) == 0;
          Timer& other = is_first ? second : first;
          if ((g + i) % 2 == 0) {
            // Nobody else receives: so it cannot have been received, and nothing is left.
            ASSERT_TRUE(other.stop());
            ASSERT_EQ(other.chan().try_recv().status(), ChanStatus::would_block);
          } else {
            ASSERT_TRUE(other.reset(0s));
            ASSERT_TRUE(other.chan().recv());
          }
        }
      });
    }
    start.close();
    group.wait();
  });
}

// Rules: TM-7, TM-8
TEST(TimerRaceTest, StopIsFalseExactlyIfSomebodyGetsTheValue) {
  weft::run([] {
    for (int round = 0; round < test::rounds(20'000); ++round) {
      Timer timer(Ns(round % 200 * 100));
      std::atomic<int> received{0};
      WaitGroup group;
      const auto give_up = weft::make_chan<weft::Unit>();
      for (int g = 0; g < 2; ++g) {
        group.go([&] { weft::select(timer.chan().on_recv([&] { ++received; }), give_up.on_recv()); });
      }
      if (round % 3 == 0) weft::yield();
      const bool stopped = timer.stop();
      if (!stopped) test::eventually([&] { return received.load() == 1; });
      give_up.close();
      group.wait();
      ASSERT_EQ(received.load(), stopped ? 0 : 1);
    }
  });
}

// Rules: TM-9, TM-11, TM-12
TEST(TimerRaceTest, ResetsWhileOthersAreParkedLoseNoWakeUp) {
  // Each value that a reset promises is received, by one of several receivers, in whatever order deadlines are moved.
  weft::run([] {
    for (int round = 0; round < test::rounds(300); ++round) {
      Timer timer(1h);
      std::atomic<int> received{0};
      const auto done = weft::make_chan<weft::Unit>();
      WaitGroup group;
      for (int g = 0; g < 4; ++g) {
        group.go([&, g] {
          for (bool is_over = false; !is_over;) {
            if (g % 2 == 0) {
              weft::select(timer.chan().on_recv([&] { ++received; }), done.on_recv([&] { is_over = true; }));
            } else {
              weft::select(done.on_recv([&] { is_over = true; }), weft::on_timeout(20us),
                           timer.chan().on_recv([&] { ++received; }));
            }
          }
        });
      }
      int wanted = 0;  // settings before the present one that were received
      const auto set = [&](Ns d) { wanted += timer.reset(d) ? 0 : 1; };
      for (int i = 0; i < 20; ++i) {
        set(Ns((i * 13 + round) % 7 * 10'000 - 10'000));
        if (i % 5 == 4) {
          set(1h);
          set(1us);
        }
        // From time to time the present one must arrive, too.
        if (i % 4 == 3) test::eventually([&] { return received.load() == wanted + 1; });
      }
      wanted += timer.stop() ? 0 : 1;
      done.close();
      group.wait();
      EXPECT_EQ(received.load(), wanted);
    }
  });
}

// Rules: TM-11, CH-24
TEST(TimerRaceTest, ManyReceiversOfOneTickerLoseNoTick) {
  // t:TestMultiWakeupTimer: whoever is woken, somebody is, as long as anybody waits.
  weft::run([] {
    const Ticker ticker(20us);
    std::atomic<int> left{test::rounds(5000)};
    WaitGroup group;
    for (int g = 0; g < 8; ++g) {
      group.go([&, g] {
        while (left.load() > 0) {
          const bool got = g % 2 == 0 ? ticker.chan().recv().status() == ChanStatus::ok
                                      : weft::select(ticker.chan().on_recv(), weft::on_timeout(Ns(g * 7us))) == 0;
          if (got) --left;
        }
      });
    }
    group.wait();
  });
}

// Rules: TM-11, TM-7
TEST(TimerRaceTest, MethodsMayBeCalledFromManyAtOnce) {
  weft::run([] {
    Timer timer(1us);
    Ticker ticker(1us);
    std::atomic<bool> is_over{false};
    WaitGroup receivers;
    for (int g = 0; g < 2; ++g) {
      receivers.go([&] {
        while (!is_over) {
          static_cast<void>(timer.chan().recv_for(50us));
          static_cast<void>(ticker.chan().try_recv());
          weft::select(timer.chan().on_recv(), ticker.chan().on_recv(), timer.chan().on_recv(), weft::on_timeout(50us));
        }
      });
    }
    WaitGroup setters;
    for (int g = 0; g < 4; ++g) {
      setters.go([&, g] {
        for (int i = 0; i < test::rounds(3000); ++i) {
          switch ((g + i) % 5) {
            case 0:
              timer.stop();
              break;
            case 1:
              timer.reset(Ns(i % 50 * 1000));
              break;
            case 2:
              ticker.stop();
              break;
            case 3:
              ticker.reset(Ns(1000 + i % 50 * 100));
              break;
            default:
              timer.reset(1h);
          }
          if (i % 16 == 0) weft::yield();
        }
      });
    }
    setters.wait();
    is_over = true;
    receivers.wait();
    timer.reset(1us);
    EXPECT_TRUE(timer.chan().recv());
  });
}

// Rules: TM-2, TM-9
TEST(TimerRaceTest, PlainThreadsWaitForTimersNextToGoroutines) {
  Ticker ticker(50us);
  std::atomic<int> ticks{0};
  std::vector<std::unique_ptr<test::Task>> tasks;
  for (int t = 0; t < 6; ++t) {
    tasks.push_back(std::make_unique<test::Task>(t % 2 == 0 ? test::On::kThread : test::On::kGoroutine, [&, t] {
      for (int i = 0; i < test::rounds(200); ++i) {
        const auto start = std::chrono::steady_clock::now();
        const Ns d(Ns(10us) * (t * i % 17));
        Timer timer(1h);
        if (i % 3 == 0) {
          timer.reset(d);
          EXPECT_TRUE(timer.chan().recv());
        } else {
          weft::select(timer.chan().on_recv(), after(d).on_recv());
        }
        EXPECT_GE(std::chrono::steady_clock::now() - start, d);
        if (ticker.chan().recv()) ++ticks;
      }
    }));
  }
  tasks.clear();
  EXPECT_EQ(ticks.load(), 6 * test::rounds(200));
}

// Rules: TM-9
TEST(TimerRaceTest, AThreadThatIsParkedSeesTheTimerMoved) {
  for (int round = 0; round < test::rounds(200); ++round) {
    Timer timer(1h);
    std::atomic<bool> is_there{false};
    std::thread thread([&] {
      is_there = true;
      EXPECT_TRUE(timer.chan().recv());
    });
    while (!is_there) std::this_thread::yield();
    if (round % 2 == 0) std::this_thread::yield();
    EXPECT_TRUE(timer.reset(Ns(round % 3 * 1000)));
    thread.join();
  }
}

// Rules: TM-11, TM-2
TEST(TimerRaceTest, OneTimerServesTheGoroutinesOfTwoRuntimes) {
  Runtime one(RuntimeOptions{.processors = 2});
  Runtime two(RuntimeOptions{.processors = 1});
  Ticker ticker(30us);
  Timer timer(1h);
  WaitGroup group;
  std::atomic<int> timers{0};
  for (Runtime* runtime : {&one, &two}) {
    for (int g = 0; g < 2; ++g) {
      group.add(1);
      runtime->go([&] {
        for (int i = 0; i < test::rounds(300); ++i) {
          EXPECT_TRUE(ticker.chan().recv());
          timer.reset(1us);
          if (weft::select(timer.chan().on_recv(), weft::on_timeout(1ms)) == 0) ++timers;
        }
        group.done();
      });
    }
  }
  group.wait();
  EXPECT_GT(timers.load(), 0);
}

// Rules: TM-7, HZ-5
TEST(TimerRaceTest, OthersAreStillServedWhenTheRuntimeThatKeptTheDeadlineDies) {
  for (int round = 0; round < test::rounds(100); ++round) {
    auto dying = std::make_unique<Runtime>(RuntimeOptions{.processors = 1});
    Timer timer(1h);
    std::atomic<std::uint64_t> first{0};
    // Its goroutine waits first, so the deadline is in its heap; then a thread, or another runtime's goroutine.
    const RecvChan<TimePoint> chan = kept(timer.chan());
    const weft::Chan<int> quiet;
    dying->go([&] {
      first = weft::this_goroutine::id();
      static_cast<void>(weft::select(chan.on_recv(), quiet.on_recv()));
    });
    while (first == 0) std::this_thread::yield();
    weft::testing::wait_parked(first);
    std::atomic<bool> is_waiting{false};
    test::Task other(round % 2 == 0 ? test::On::kThread : test::On::kGoroutine, [&] {
      is_waiting = true;
      EXPECT_TRUE(timer.chan().recv());
    });
    while (!is_waiting) std::this_thread::yield();
    // The dying runtime keeps the deadline, or no longer. Its goroutine is first in the queue, which it has to leave.
    if (round % 4 >= 2) timer.reset(2h);
    dying.reset();
    timer.reset(Ns(round * 100));
    other.join();
  }
}

// Rules: HZ-5
TEST(TimerRaceTest, ARuntimeMayDieWhileItsGoroutinesWaitForTimers) {
  const Timer outliving(1h);
  const RecvChan<TimePoint> hour = kept(outliving.chan());
  for (int round = 0; round < test::rounds(100); ++round) {
    const Ticker ticker(10us);
    const RecvChan<TimePoint> ticks = kept(ticker.chan());
    Runtime runtime(RuntimeOptions{.processors = 2});
    for (int g = 0; g < 20; ++g) {
      runtime.go([&, g] {
        for (;;) {
          if (g % 3 == 0) {
            static_cast<void>(ticks.recv());
          } else {
            weft::select(hour.on_recv(), ticks.on_recv(), weft::on_timeout(5us));
          }
        }
      });
    }
    for (int i = 0; i < round % 7; ++i) static_cast<void>(ticks.recv());
  }
}

}  // namespace

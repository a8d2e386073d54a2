// Bubbles: who belongs to them, their clock, wait(), and how run() ends.

#include <weft/testing.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::sleep_for;
using weft::TimePoint;
using weft::Timer;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

template <class F>
std::string panic_of(F f) {
  try {
    f();
    return "no panic";
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

// Rules: SYN-2
TEST(BubbleTest, ItsClockBeginsIn2000AndWorkTakesNoTime) {
  weft::testing::run([] {
    EXPECT_EQ(Clock::now().time_since_epoch(), 946'684'800s);
    EXPECT_EQ(weft::testing::now(), Clock::now());
    const TimePoint start = Clock::now();
    for (int i = 0; i < test::rounds(10'000'000); ++i) asm volatile("" ::: "memory");
    for (int i = 0; i < 100; ++i) weft::yield();
    EXPECT_EQ(Clock::now(), start);
  });
  EXPECT_NE(Clock::now().time_since_epoch().count() / 1'000'000'000'000, 946'684);
}

// Rules: SYN-1
TEST(BubbleTest, RunReturnsWhenTheLastGoroutineOfTheTreeHasEnded) {
  test::everywhere([] {
    std::atomic<int> ended{0};
    weft::testing::run([&] {
      weft::go([&] {
        weft::go([&] {
          weft::after_func(0s, [&] {
            for (int i = 0; i < 20; ++i) weft::yield();
            ++ended;
          });
          ++ended;
        });
        ++ended;
      });
    });
    EXPECT_EQ(ended.load(), 3);
  });
}

// Rules: SYN-3
TEST(BubbleTest, EachSleeperWakesAtExactlyItsTime) {
  weft::testing::run([] {
    const TimePoint start = Clock::now();
    weft::go([=] {
      sleep_for(1s);
      EXPECT_EQ(Clock::now() - start, 1s);
    });
    sleep_for(2s);
    EXPECT_EQ(Clock::now() - start, 2s);
  });
}

// Rules: SYN-3
TEST(BubbleTest, SleepersWakeInTheOrderOfTheirDeadlines) {
  for (int round = 0; round < test::rounds(200); ++round) {
    std::vector<int> order;  // by one at a time: no two have the same deadline
    weft::testing::run([&] {
      for (int i = 0; i < 20; ++i) {
        weft::go([&, slot = i * 7 % 20] {
          sleep_for(slot * 1s + 1s);
          order.push_back(slot);
        });
      }
      sleep_for(1min);  // once the body has ended, time does not move any more
    });
    ASSERT_EQ(order.size(), 20U);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  }
}

// Rules: SYN-3
TEST(BubbleTest, TimeStandsStillWhileAnybodyRuns) {
  // Whoever runs for long sees no time pass, though another one sleeps for a nanosecond.
  for (int round = 0; round < test::rounds(300); ++round) {
    weft::testing::run([] {
      std::atomic<bool> woke{false};
      const TimePoint start = Clock::now();
      weft::go([&] {
        sleep_for(1ns);
        woke = true;
      });
      weft::go([&] {
        for (int i = 0; i < 300; ++i) {
          EXPECT_FALSE(woke.load());
          EXPECT_EQ(Clock::now(), start);
          if (i % 3 == 0) weft::yield();
        }
      });
      sleep_for(2ns);
      EXPECT_TRUE(woke.load());
    });
  }
}

// Rules: SYN-3
TEST(BubbleTest, AllThatIsDueAtAnInstantHappensBeforeTheNext) {
  // Every one of an instant's wakers goes on to block again at the same instant, through a chain of others.
  for (int round = 0; round < test::rounds(100); ++round) {
    weft::testing::run([] {
      const TimePoint start = Clock::now();
      std::atomic<int> at_one{0};
      const auto chain = make_chan<int>();
      for (int i = 0; i < 10; ++i) {
        weft::go([&, i] {
          sleep_for(1s);
          chain.send(i);
          ++at_one;
        });
        weft::go([&] {
          EXPECT_TRUE(chain.recv());
          EXPECT_EQ(Clock::now() - start, 1s);
        });
      }
      sleep_for(1s + 1ns);
      EXPECT_EQ(at_one.load(), 10);
    });
  }
}

// Rules: SYN-3
TEST(BubbleTest, SleepersThatMeetAtEveryInstantNeverLoseOne) {
  // The last to block and the one before commit their waits at the same time on different workers.
  weft::testing::run([] {
    WaitGroup group;
    for (int g = 0; g < 8; ++g) {
      group.go([] {
        for (int i = 0; i < test::rounds(2000); ++i) {
          const TimePoint start = Clock::now();
          sleep_for(1ms);
          ASSERT_EQ(Clock::now() - start, 1ms);
        }
      });
    }
    group.wait();
  });
}

// Rules: SYN-1, SYN-3
TEST(BubbleTest, AllWhoWereWokenAtAnInstantMayEndThere) {
  for (int round = 0; round < test::rounds(3000); ++round) {
    weft::testing::run([&] {
      for (int i = 0; i < round % 4; ++i) weft::go([] { sleep_for(1s); });
      sleep_for(1s);
    });
  }
}

// Rules: SYN-8
TEST(BubbleTest, WhatIsDueAtTheSameInstantComesInEitherOrder) {
  std::set<std::size_t> timers;
  std::set<int> sleepers;
  for (int i = 0; i < 1000 && (timers.size() < 2 || sleepers.size() < 2); ++i) {
    weft::testing::run([&] {
      const Timer one(1ns);
      const Timer two(1ns);
      timers.insert(weft::select(one.chan().on_recv(), two.chan().on_recv()));
      const auto first = make_chan<int>(2);
      for (int g = 0; g < 2; ++g) {
        weft::go([=] {
          sleep_for(1s);
          first.send(g);
        });
      }
      sleepers.insert(*first.recv());
    });
  }
  EXPECT_EQ(timers.size(), 2U);
  EXPECT_EQ(sleepers.size(), 2U);
}

// Rules: SYN-5
TEST(BubbleTest, WhatHasElapsedIsReadyWithItsOwnTime) {
  weft::testing::run([] {
    const TimePoint start = Clock::now();
    const Timer zero(0s);
    EXPECT_TRUE(zero.chan().try_recv());
    std::atomic<bool> ran{false};
    weft::after_func(0s, [&] { ran = true; });
    while (!ran) weft::yield();
    const Timer second(1s);
    sleep_for(5s);
    EXPECT_EQ(*second.chan().try_recv(), start + 1s);
  });
}

// Rules: SYN-4
TEST(BubbleTest, WaitReturnsWhenAllOthersAreBlockedAndNoTimePasses) {
  for (int round = 0; round < test::rounds(500); ++round) {
    weft::testing::run([] {
      const TimePoint start = Clock::now();
      int steps = 0;  // written before the others block, read after wait(): TSan sees whether that is ordered
      const auto chan = make_chan<int>();
      weft::go([&] {
        for (int i = 0; i < 5; ++i) weft::yield();
        ++steps;
        sleep_for(1s);
        chan.send(1);
      });
      weft::testing::wait();
      EXPECT_EQ(steps, 1);
      weft::go([&] { ++steps; });
      weft::testing::wait();
      EXPECT_EQ(steps, 2);
      weft::testing::wait();  // nobody has anything to do
      EXPECT_EQ(Clock::now(), start);
      EXPECT_TRUE(chan.recv());
    });
  }
}

// Rules: SYN-4
TEST(BubbleTest, WaitSeesWhatManyHaveDone) {
  weft::testing::run([] {
    std::array<int, 50> done{};
    const auto start = make_chan<int>();
    WaitGroup group;
    for (int& own : done) {
      group.go([&] {
        for (int i = 0; i < 10; ++i) {
          static_cast<void>(start.recv());
          ++own;
        }
      });
    }
    for (int i = 0; i < 10; ++i) {
      for (std::size_t g = 0; g < done.size(); ++g) start.send(0);
      weft::testing::wait();
      int sum = 0;
      for (const int own : done) sum += own;
      EXPECT_EQ(sum, (i + 1) * 50);
    }
    group.wait();
  });
}

// Rules: SYN-4
TEST(BubbleTest, WaitOutsideABubblePanics) {
  test::everywhere([] { EXPECT_EQ(panic_of([] { weft::testing::wait(); }), "goroutine is not in a bubble"); });
}

// Rules: SYN-4
TEST(BubbleTest, OnlyOneMayWaitAtATime) {
  weft::testing::run([] {
    int panics = 0;
    const auto waits = [&] {
      if (panic_of([] { weft::testing::wait(); }) == "wait already in progress") ++panics;
    };
    // Whoever waits does not count as blocked for another one: so one of the two must fail.
    weft::go(waits);
    waits();
    sleep_for(1s);
    EXPECT_EQ(panics, 1);
    waits();
    EXPECT_EQ(panics, 1);
  });
}

// Rules: SYN-1
TEST(BubbleTest, ABubbleInABubblePanics) {
  weft::testing::run([] {
    EXPECT_EQ(panic_of([] { weft::testing::run([] {}); }), "testing::run called from within a bubble");
    weft::go(
        [] { EXPECT_EQ(panic_of([] { weft::testing::run([] {}); }), "testing::run called from within a bubble"); });
  });
}

// Rules: SYN-1
TEST(BubbleTest, RunRethrowsWhatTheBodyThrows) {
  test::everywhere([] {
    bool other_has_ended = false;
    EXPECT_THROW(weft::testing::run([&] {
                   weft::go([&] {
                     weft::yield();
                     other_has_ended = true;
                   });
                   throw std::out_of_range("body");
                 }),
                 std::out_of_range);
    EXPECT_TRUE(other_has_ended);
  });
}

struct Flag {
  bool* flag;
  ~Flag() { *flag = true; }
};

// Rules: SYN-1, PAN-8
TEST(BubbleTest, TheBodyMayEndByExitGoroutine) {
  test::everywhere([] {
    bool is_unwound = false;
    bool other_has_ended = false;
    weft::testing::run([&] {
      const Flag flag{&is_unwound};
      weft::go([&] {
        for (int i = 0; i < 10; ++i) weft::yield();
        other_has_ended = true;
      });
      weft::exit_goroutine();
    });
    EXPECT_TRUE(is_unwound);
    EXPECT_TRUE(other_has_ended);
  });
}

// Rules: SYN-1
TEST(BubbleTest, TheBodyMayBeMoveOnlyAndIsCalledOnce) {
  int calls = 0;
  weft::testing::run([value = std::make_unique<int>(3), &calls] { calls += *value; });
  EXPECT_EQ(calls, 3);
}

// Rules: SYN-1, SYN-3
TEST(BubbleTest, ThousandsInARow) {
  for (int i = 0; i < test::rounds(5000); ++i) {
    const auto token = std::make_shared<int>(0);
    weft::testing::run([&] {
      const auto chan = make_chan<std::shared_ptr<int>>();
      weft::go([=] {
        sleep_for(1h);
        chan.send(token);
      });
      EXPECT_EQ(chan.recv_for(30min).status(), weft::ChanStatus::timed_out);
      EXPECT_TRUE(chan.recv());
    });
    ASSERT_EQ(token.use_count(), 1);
  }
}

// Rules: SYN-1, SYN-3
TEST(BubbleTest, TenThousandGoroutines) {
  weft::testing::run([] {
    const int count = test::crowd(10'000);
    const TimePoint start = Clock::now();
    std::atomic<int> woke{0};
    for (int i = 0; i < count; ++i) {
      weft::go([&woke, i, start] {
        sleep_for(i % 100 * 1s);
        EXPECT_EQ(Clock::now() - start, i % 100 * 1s);
        ++woke;
      });
    }
    sleep_for(50s + 1ns);
    EXPECT_EQ(woke.load(), count / 100 * 51);
    sleep_for(50s);
  });
}

// Rules: SYN-1, SYN-2
TEST(BubbleTest, ManyAtOnceFromThreadsAndRuntimesEachWithItsOwnClock) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      const auto body = [t] {
        const TimePoint start = Clock::now();
        WaitGroup group;
        for (int g = 0; g < 4; ++g) {
          group.go([=] {
            for (int i = 0; i < 20; ++i) sleep_for((t + 1) * 1ms);
          });
        }
        group.wait();
        EXPECT_EQ(Clock::now() - start, 20 * (t + 1) * 1ms);
      };
      for (int i = 0; i < test::rounds(100); ++i) {
        if (t % 2 == 0) {
          weft::testing::run(body);
        } else {
          weft::run(RuntimeOptions{.processors = 1U + static_cast<unsigned>(t)}, [&] { weft::testing::run(body); });
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Rules: SYN-1
TEST(BubbleTest, SideBySideOnOneRuntime) {
  weft::run([] {
    WaitGroup group;
    for (int g = 0; g < 20; ++g) {
      group.go([g] {
        for (int i = 0; i < test::rounds(50); ++i) {
          weft::testing::run([&] {
            const TimePoint start = Clock::now();
            const auto chan = make_chan<int>();
            weft::go([=] {
              sleep_for((g + 1) * 1s);
              chan.send(g);
            });
            EXPECT_EQ(*chan.recv(), g);
            EXPECT_EQ(Clock::now() - start, (g + 1) * 1s);
          });
        }
      });
    }
    group.wait();
  });
}

// Rules: SYN-7
TEST(BubbleTest, APendingAfterFuncDoesNotRunOnceTheBodyHasEnded) {
  const auto token = std::make_shared<int>(0);
  weft::AfterFunc kept;
  weft::testing::run([&] {
    static_cast<void>(weft::after_func(1s, [token] { ADD_FAILURE() << "ran"; }));
    kept = weft::after_func(1s, [token] { ADD_FAILURE() << "ran"; });
  });
  EXPECT_EQ(token.use_count(), 2);  // the one that can be reached
  EXPECT_EQ(panic_of([&] { kept.stop(); }), "stop of synctest timer from outside bubble");
  kept = {};
  EXPECT_EQ(token.use_count(), 1);
}

// Rules: SYN-1, TM-18
TEST(BubbleTest, TimersAndChannelsMayOutliveIt) {
  Timer timer;
  weft::Ticker ticker;
  weft::RecvChan<TimePoint> after;
  weft::Chan<std::shared_ptr<int>> chan;
  const auto token = std::make_shared<int>(0);
  weft::testing::run([&] {
    timer = Timer(1h);
    ticker = weft::Ticker(1s);
    after = weft::after(1h);
    chan = make_chan<std::shared_ptr<int>>(1);
    chan.send(token);
    EXPECT_EQ(weft::select(timer.chan().on_recv(), ticker.chan().on_recv(), after.on_recv()), 1U);
  });
  EXPECT_EQ(after.size(), 0U);
  EXPECT_EQ(chan.size(), 1U);
  chan = nullptr;
  EXPECT_EQ(token.use_count(), 1);
}

// Rules: SYN-10, SYN-6
TEST(BubbleTest, AMutexWorksInsideButIsNotADurableWait) {
  weft::testing::run([] {
    weft::Mutex mutex;
    int count = 0;
    WaitGroup group;
    for (int g = 0; g < 10; ++g) {
      group.go([&] {
        for (int i = 0; i < 100; ++i) {
          const std::lock_guard guard(mutex);
          ++count;
          if (i % 10 == 0) weft::yield();
        }
      });
    }
    group.wait();
    EXPECT_EQ(count, 1000);
  });
}

// Rules: SYN-1
TEST(BubbleTest, AssertionsOfTheTestFrameworkWorkInside) {
  int before_assert = 0;
  int after_assert = 0;
  weft::testing::run([&] {
    const auto chan = make_chan<int>(1);
    chan.send(4);
    ASSERT_EQ(chan.size(), 1U);
    EXPECT_EQ(*chan.recv(), 4);
    weft::go([&] {
      ++before_assert;
      // NOLINTNEXTLINE(readability-simplify-boolean-expr)
      ASSERT_TRUE(true) << "ends this goroutine's function only";
      ++after_assert;
    });
  });
  EXPECT_EQ(before_assert, 1);
  EXPECT_EQ(after_assert, 1);
}

}  // namespace

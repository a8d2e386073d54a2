// Semaphore: strict order, big and small requests, contexts and time-outs, bubbles, and dying young.

#include <weft/semaphore.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Semaphore;
using weft::WaitGroup;
namespace test = weft::test;
namespace testing_ = weft::testing;

static_assert(!std::is_default_constructible_v<Semaphore>);
static_assert(!std::is_copy_constructible_v<Semaphore>);
static_assert(!std::is_move_constructible_v<Semaphore>);
static_assert(!std::is_convertible_v<int, Semaphore>);
static_assert(!std::is_copy_constructible_v<Semaphore::Guard>);
static_assert(std::is_nothrow_move_constructible_v<Semaphore::Guard>);

template <class F>
std::string panic_of(F f) {
  try {
    f();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "no panic";
}

// Rules: SM-1, SM-6
TEST(SemaphoreTest, TryAcquireSucceedsWhileThereAreUnits) {
  test::everywhere([] {
    Semaphore sem(2);
    sem.acquire();
    EXPECT_TRUE(sem.try_acquire());
    EXPECT_FALSE(sem.try_acquire());
    sem.release(2);
    EXPECT_TRUE(sem.try_acquire());
    sem.acquire();
    EXPECT_FALSE(sem.try_acquire());
    sem.release(2);
  });
}

// Rules: SM-1, SM-4, SM-6
TEST(SemaphoreTest, AFailedAcquireTakesNothing) {
  test::everywhere([] {
    Semaphore sem(3);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    cancel();
    EXPECT_FALSE(sem.acquire(ctx, 2));  // though it would fit
    EXPECT_TRUE(sem.try_acquire(3));
    EXPECT_FALSE(sem.acquire(ctx));
    EXPECT_FALSE(sem.acquire_for(1ms, 2));
    EXPECT_FALSE(sem.acquire_for(0ns));
    EXPECT_FALSE(sem.acquire_for(-1h));
    sem.release(3);
    EXPECT_TRUE(sem.acquire_for(-1h, 3));
    sem.release(3);
    EXPECT_TRUE(sem.acquire(weft::background(), 3));
    sem.release(3);
  });
}

// Rules: SM-6, GEN-1
TEST(SemaphoreTest, OverReleasePanicsAndChangesNothing) {
  test::everywhere([] {
    Semaphore sem(2);
    EXPECT_EQ(panic_of([&] { sem.release(); }), "semaphore: released more than held");
    sem.acquire();
    EXPECT_EQ(panic_of([&] { sem.release(2); }), "semaphore: released more than held");
    EXPECT_EQ(panic_of([&] { sem.release(std::numeric_limits<std::int64_t>::max()); }),
              "semaphore: released more than held");
    EXPECT_TRUE(sem.try_acquire());
    EXPECT_FALSE(sem.try_acquire());
    sem.release(2);
    EXPECT_EQ(panic_of([&] { sem.release(); }), "semaphore: released more than held");
  });
}

// Rules: SM-7, HZ-12
TEST(SemaphoreTest, NegativeAmountsPanicAndHugeOnesDoNotOverflow) {
  test::everywhere([] {
    constexpr auto kMax = std::numeric_limits<std::int64_t>::max();
    constexpr auto kMin = std::numeric_limits<std::int64_t>::min();
    const std::string expected = "semaphore: negative number of units";
    Semaphore sem(kMax);
    EXPECT_EQ(panic_of([] { Semaphore(-1); }), expected);
    EXPECT_EQ(panic_of([&] { sem.acquire(-1); }), expected);
    EXPECT_EQ(panic_of([&] { (void)sem.acquire(weft::background(), kMin); }), expected);
    EXPECT_EQ(panic_of([&] { (void)sem.acquire_for(1h, -1); }), expected);
    EXPECT_EQ(panic_of([&] { (void)sem.try_acquire(-1); }), expected);
    EXPECT_EQ(panic_of([&] { sem.release(-1); }), expected);
    sem.acquire(kMax);
    EXPECT_FALSE(sem.try_acquire(kMax));
    EXPECT_FALSE(sem.try_acquire());
    sem.release(kMax);
    EXPECT_TRUE(sem.try_acquire(kMax));
  });
}

// Rules: SM-7
TEST(SemaphoreTest, NothingAtAllWaitsItsTurnToo) {
  testing_::run([] {
    Semaphore sem(1);
    sem.acquire(0);
    EXPECT_TRUE(sem.try_acquire(0));
    sem.acquire();
    EXPECT_TRUE(sem.try_acquire(0));  // nobody queues
    bool one = false;
    bool nothing = false;
    weft::go([&] {
      sem.acquire();
      one = true;
    });
    testing_::wait();
    EXPECT_FALSE(sem.try_acquire(0));
    weft::go([&] {
      sem.acquire(0);
      nothing = true;
    });
    testing_::wait();
    EXPECT_FALSE(one || nothing);
    sem.release();
    testing_::wait();
    EXPECT_TRUE(one && nothing);
    Semaphore none(0);
    EXPECT_TRUE(none.try_acquire(0));
    EXPECT_FALSE(none.try_acquire(1));
  });
}

// Rules: SM-2
TEST(SemaphoreTest, ABigHeadKeepsSmallOnesBehindIt) {
  testing_::run([] {
    Semaphore sem(2);
    bool a = false;
    bool b = false;
    sem.acquire();
    weft::go([&] {
      sem.acquire(2);
      a = true;
    });
    testing_::wait();
    weft::go([&] {
      sem.acquire();
      b = true;
    });
    testing_::wait();
    EXPECT_FALSE(a || b);
    EXPECT_FALSE(sem.try_acquire());
    sem.release();
    testing_::wait();
    EXPECT_TRUE(a);
    EXPECT_FALSE(b);
    sem.release(2);
    testing_::wait();
    EXPECT_TRUE(b);
    sem.release();
  });
}

// Rules: SM-2
TEST(SemaphoreTest, OneReleaseServesAsManyAsFitInOrder) {
  testing_::run([] {
    Semaphore sem(10);
    sem.acquire(10);
    std::array<bool, 6> served{};
    for (std::size_t i = 0; i < served.size(); ++i) {
      weft::go([&, i] {
        sem.acquire(i == 4 ? 7 : 2);
        served.at(i) = true;
      });
      testing_::wait();
    }
    sem.release(9);
    testing_::wait();
    EXPECT_EQ(served, (std::array{true, true, true, true, false, false}));  // one unit is left, the fifth wants seven
    EXPECT_FALSE(sem.try_acquire());
    sem.release(8);
    testing_::wait();
    EXPECT_EQ(served, (std::array{true, true, true, true, true, true}));  // seven and two of nine
    sem.release(9);
    EXPECT_EQ(panic_of([&] { sem.release(2); }), "semaphore: released more than held");
    sem.release(1);
  });
}

// Rules: SM-2
TEST(SemaphoreTest, ALargeRequestIsNotStarvedBySmallOnes) {
  weft::run([] {
    Semaphore sem(4);
    std::atomic<bool> stop{false};
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([&] {
        while (!stop.load(std::memory_order_relaxed)) {
          sem.acquire();
          weft::yield();
          sem.release();
        }
      });
    }
    for (int i = 0; i < 100; ++i) {
      sem.acquire(4);
      sem.release(4);
    }
    stop.store(true, std::memory_order_relaxed);
    wg.wait();
  });
}

// Rules: SM-3
TEST(SemaphoreTest, MoreThanThereIsWaitsForItsContextOutsideTheQueue) {
  testing_::run([] {
    Semaphore sem(2);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    int result = -1;
    weft::go([&, &ctx = ctx] { result = sem.acquire(ctx, 3) ? 1 : 0; });
    testing_::wait();
    EXPECT_EQ(result, -1);
    EXPECT_TRUE(sem.try_acquire(2));
    sem.release(2);
    testing_::wait();
    EXPECT_EQ(result, -1);
    cancel();
    testing_::wait();
    EXPECT_EQ(result, 0);
    const auto start = testing_::now();
    EXPECT_FALSE(sem.acquire_for(1h, 3));
    EXPECT_EQ(testing_::now() - start, 1h);
    auto [timed, cancel_timed] = weft::with_timeout(weft::background(), 2h);
    EXPECT_FALSE(sem.acquire(timed, 3));
    EXPECT_EQ(testing_::now() - start, 3h);
    EXPECT_FALSE(sem.acquire(timed, 3));
  });
}

// Rules: SM-3, DL-1
TEST(SemaphoreTest, MoreThanThereIsWithoutAContextIsADeadlock) {
  const auto child = test::in_child([] {
    weft::run([] {
      Semaphore sem(2);
      sem.acquire(3);
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << child.err;
  EXPECT_NE(child.err.find("[semacquire"), std::string::npos) << child.err;
}

// Rules: SM-4, MM-14
TEST(SemaphoreTest, ACancelThatRacesAGrantLosesNoUnits) {
  weft::run([] {
    int granted = 0;
    for (int round = 0; round < test::rounds(20'000); ++round) {
      Semaphore sem(2);
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      sem.acquire(2);
      WaitGroup wg;
      wg.go([&, &ctx = ctx] {
        if (sem.acquire(ctx, 2)) {
          ++granted;
          sem.release(2);
        } else {
          EXPECT_TRUE(ctx.is_done());
        }
      });
      if (round % 3 == 0) weft::yield();
      wg.go([&] { sem.release(2); });
      if (round % 2 == 0) weft::yield();
      cancel();
      wg.wait();
      ASSERT_TRUE(sem.try_acquire(2));
    }
    RecordProperty("granted", granted);
  });
}

// Rules: SM-4
TEST(SemaphoreTest, AContextThatIsDoneBeforeTheGrantIsSeenWins) {
  // On one processor the waiter runs after both, the grant first.
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    Semaphore sem(1);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    sem.acquire();
    int result = -1;
    WaitGroup wg;
    test::go_parked(wg, [&, &ctx = ctx] { result = sem.acquire(ctx) ? 1 : 0; });
    sem.release();
    cancel();
    wg.wait();
    if (!test::chaos()) {
      EXPECT_EQ(result, 0);
    }
    EXPECT_EQ(sem.try_acquire(), result != 1);
  });
}

// Rules: SM-5
TEST(SemaphoreTest, ACancelledHeadLetsThoseBehindItIn) {
  testing_::run([] {
    Semaphore sem(10);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    sem.acquire();
    int head = -1;
    bool behind = false;
    weft::go([&, &ctx = ctx] { head = sem.acquire(ctx, 10) ? 1 : 0; });
    testing_::wait();
    weft::go([&] {
      sem.acquire(5);
      behind = true;
    });
    testing_::wait();
    EXPECT_FALSE(behind);
    cancel();
    testing_::wait();
    EXPECT_EQ(head, 0);
    EXPECT_TRUE(behind);
    bool timed = true;
    weft::go([&] { timed = sem.acquire_for(1s, 10); });
    testing_::wait();
    EXPECT_TRUE(sem.acquire_for(1h, 2));  // when the one before it gives up
    testing_::wait();
    EXPECT_FALSE(timed);
    sem.release(8);
  });
}

// Rules: SM-2, SM-5
TEST(SemaphoreTest, TimedAndPlainTakersAreNeverStranded) {
  weft::run([] {
    Semaphore sem(3);
    std::atomic<std::int64_t> held{0};
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([&, g] {
        for (int i = 0; i < test::rounds(3000); ++i) {
          const std::int64_t n = 1 + (i + g) % 3;
          if (g % 2 == 0) {
            sem.acquire(n);
          } else if (!sem.acquire_for(std::chrono::microseconds((i + g) % 20), n)) {
            continue;
          }
          EXPECT_LE(held.fetch_add(n, std::memory_order_relaxed) + n, 3);
          if (i % 8 == 0) weft::yield();
          held.fetch_sub(n, std::memory_order_relaxed);
          sem.release(n);
        }
      });
    }
    wg.wait();
    EXPECT_TRUE(sem.try_acquire(3));
  });
}

// Rules: SM-1
TEST(SemaphoreTest, GoroutinesAndPlainThreadsShareTheUnits) {
  Semaphore sem(2);
  std::atomic<int> inside{0};
  const int rounds = test::rounds(5000);
  {
    std::vector<std::unique_ptr<test::Task>> tasks;
    for (int i = 0; i < 6; ++i) {
      tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&] {
        for (int n = 0; n < rounds; ++n) {
          const auto guard = sem.acquire_guard();
          EXPECT_LE(inside.fetch_add(1, std::memory_order_relaxed), 1);
          inside.fetch_sub(1, std::memory_order_relaxed);
        }
      }));
    }
  }
  EXPECT_TRUE(sem.try_acquire(2));
}

// Rules: MM-14
TEST(SemaphoreTest, AReleaseHappensBeforeTheAcquireThatItEnables) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      Semaphore sem(1);
      int plain = 0;
      sem.acquire();
      weft::go([&] {
        plain = 1;
        sem.release();
      });
      sem.acquire();
      ASSERT_EQ(plain, 1);
    }
  });
}

// Rules: SM-1
TEST(SemaphoreTest, TheGuardGivesBackWhatItHolds) {
  test::everywhere([] {
    Semaphore sem(5);
    {
      auto guard = sem.acquire_guard(3);
      EXPECT_TRUE(guard);
      EXPECT_FALSE(sem.try_acquire(3));
      Semaphore::Guard other = std::move(guard);
      EXPECT_FALSE(guard);  // NOLINT(bugprone-use-after-move): empty, it says
      EXPECT_FALSE(sem.try_acquire(3));
      other = sem.acquire_guard(2);  // gives three back
      EXPECT_TRUE(sem.try_acquire(3));
      sem.release(3);
      other.release();
      EXPECT_FALSE(other);
      other.release();
      EXPECT_TRUE(sem.try_acquire(5));
      sem.release(5);
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      EXPECT_TRUE(sem.acquire_guard(ctx, 5));
      cancel();
      EXPECT_FALSE(sem.acquire_guard(ctx));
    }
    EXPECT_TRUE(sem.try_acquire(5));
  });
}

// Rules: SYN-6
TEST(SemaphoreTest, WaitingIsDurableInTheBubbleItWasMadeIn) {
  testing_::run([] {
    Semaphore sem(1);
    sem.acquire();
    const auto start = testing_::now();
    bool done = false;
    weft::go([&] {
      sem.acquire();
      done = true;
    });
    weft::sleep_for(1h);
    EXPECT_EQ(testing_::now() - start, 1h);
    sem.release();
    testing_::wait();
    EXPECT_TRUE(done);
  });
}

// Rules: SYN-6, SYN-10
TEST(SemaphoreTest, WaitingForOneFromOutsideIsNotDurable) {
  Semaphore sem(1);
  sem.acquire();
  std::thread releaser;
  testing_::run([&] {
    const auto start = testing_::now();
    weft::go([&] { releaser = std::thread([&] { sem.release(); }); });
    sem.acquire();  // were it durable, the bubble would be deadlocked
    EXPECT_EQ(testing_::now(), start);
  });
  releaser.join();
}

// Rules: SYN-9
TEST(SemaphoreTest, ReleaseFromOutsideTheBubblePanicsWhileSomebodyWaits) {
  testing_::run([] {
    Semaphore sem(1);
    sem.acquire();
    bool done = false;
    weft::go([&] {
      sem.acquire();
      done = true;
    });
    testing_::wait();
    std::string panic;
    std::thread([&] { panic = panic_of([&] { sem.release(); }); }).join();
    EXPECT_EQ(panic, "semaphore: release of synctest semaphore from outside bubble");
    testing_::wait();
    EXPECT_FALSE(done);
    sem.release();
    testing_::wait();
    EXPECT_TRUE(done);
    std::thread([&] { sem.release(); }).join();  // nobody waits
  });
}

/// A semaphore that dies when the acquire has returned which another party's release enabled.
template <class Release>
void destroy_after_acquire(int rounds, Release release_elsewhere) {
  for (int round = 0; round < rounds; ++round) {
    auto sem = std::make_unique<Semaphore>(1);
    sem->acquire();
    release_elsewhere(*sem);
    sem->acquire();
    sem.reset();
  }
}

// Rules: HZ-5
TEST(SemaphoreTest, GoroutineMayDestroyItWhenAGoroutinesReleaseLetItIn) {
  weft::run([] {
    destroy_after_acquire(test::rounds(200'000), [](Semaphore& sem) { weft::go([&sem] { sem.release(); }); });
  });
}

// Rules: HZ-5
TEST(SemaphoreTest, PlainThreadMayDestroyItWhenAGoroutinesReleaseLetItIn) {
  destroy_after_acquire(test::rounds(5000), [](Semaphore& sem) { weft::go([&sem] { sem.release(); }); });
}

// Rules: HZ-5
TEST(SemaphoreTest, TheLastOfSeveralServedAtOnceMayDestroyIt) {
  weft::run([] {
    for (int round = 0; round < test::rounds(20'000); ++round) {
      auto sem = std::make_unique<Semaphore>(3);
      sem->acquire(3);
      Semaphore& alive = *sem;
      std::atomic<int> left{3};
      WaitGroup wg;
      for (int i = 0; i < 3; ++i) {
        wg.go([&] {
          alive.acquire();
          if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) sem.reset();
        });
      }
      if (round % 2 == 0) weft::yield();
      wg.go([&alive] { alive.release(3); });
      wg.wait();
    }
  });
}

// Rules: HZ-5
TEST(SemaphoreTest, AnAbandonedWaiterLeavesTheQueueAndGivesBackWhatItWasGiven) {
  for (int round = 0; round < test::rounds(200); ++round) {
    Semaphore sem(2);
    sem.acquire(2);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    {
      weft::Runtime runtime(weft::RuntimeOptions{.processors = 2});
      std::atomic<int> ids{0};
      for (int i = 0; i < 3; ++i) {
        runtime.go([&, &ctx = ctx, i] {
          ids.fetch_add(1, std::memory_order_release);
          if (i == 0) sem.acquire(2);
          if (i == 1) (void)sem.acquire(ctx, 2);
          if (i == 2) (void)sem.acquire_for(1h, 2);
          sem.release(2);
        });
      }
      while (ids.load(std::memory_order_acquire) < 3) std::this_thread::yield();
      if (round % 2 == 0) sem.release(2);  // one may be given the units and never run
    }
    if (round % 2 == 1) sem.release(2);
    ASSERT_TRUE(sem.try_acquire(2)) << round;
    cancel();
  }
}

}  // namespace

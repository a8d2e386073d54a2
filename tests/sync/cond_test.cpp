// Cond: tickets before the unlock, order, no wake-up but a notification, limits, other locks, bubbles, and dying young.

#include <weft/cond.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/rwmutex.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Cond;
using weft::Mutex;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(std::is_default_constructible_v<Cond>);
static_assert(!std::is_copy_constructible_v<Cond>);  // Go: "sync.Cond is copied"
static_assert(!std::is_move_constructible_v<Cond>);
static_assert(!std::is_copy_assignable_v<Cond>);
static_assert(!std::is_move_assignable_v<Cond>);

// Rules: CO-1
TEST(CondTest, WaitsUntilThePredicateHoldsWithAnyLock) {
  test::everywhere([] {
    Mutex mutex;
    Cond cond;
    int stage = 0;
    weft::go([&] {
      for (int i = 1; i <= 4; ++i) {
        mutex.lock();
        while (stage != 2 * i - 1) {
          mutex.unlock();
          weft::yield();
          mutex.lock();
        }
        ++stage;
        cond.notify_one();
        mutex.unlock();
      }
    });
    const auto next = [&] { return ++stage; };
    {
      std::unique_lock lock(mutex);
      const int mine = next();
      cond.wait(lock, [&] { return stage > mine; });
      EXPECT_TRUE(lock.owns_lock());
    }
    {
      mutex.lock();
      const int mine = next();
      while (stage == mine) cond.wait(mutex);
      EXPECT_FALSE(mutex.try_lock());
      mutex.unlock();
    }
    {
      std::unique_lock lock(mutex);
      const int mine = next();
      EXPECT_TRUE(cond.wait_for(lock, 1h, [&] { return stage > mine; }));
    }
    {
      std::unique_lock lock(mutex);
      const int mine = next();
      EXPECT_TRUE(cond.wait(weft::background(), lock, [&] { return stage > mine; }));
    }
  });
}

// Rules: CO-1
TEST(CondTest, NothingButANotificationEndsAWait) {
  weft::testing::run([] {
    Mutex mutex;
    Cond cond;
    std::atomic<int> woken{0};
    WaitGroup wg;
    for (int i = 0; i < 20; ++i) {
      wg.go([&] {
        mutex.lock();
        cond.wait(mutex);
        woken.fetch_add(1);
        mutex.unlock();
      });
    }
    weft::sleep_for(1h);
    EXPECT_EQ(woken.load(), 0);
    for (int i = 1; i <= 7; ++i) {
      cond.notify_one();
      weft::testing::wait();
      EXPECT_EQ(woken.load(), i);
    }
    weft::sleep_for(1h);
    EXPECT_EQ(woken.load(), 7);
    cond.notify_all();
    wg.wait();
    EXPECT_EQ(woken.load(), 20);
  });
}

// Rules: CO-3
TEST(CondTest, ANotificationWithoutAWaiterIsNotRemembered) {
  test::everywhere([] {
    Mutex mutex;
    Cond cond;
    cond.notify_one();
    cond.notify_all();
    std::unique_lock lock(mutex);
    EXPECT_FALSE(cond.wait_for(lock, 2ms));
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_FALSE(cond.wait_for(lock, 0ns));
    EXPECT_FALSE(cond.wait_for(lock, -1h));
    EXPECT_FALSE(cond.wait_for(lock, 2ms, [] { return false; }));
    EXPECT_TRUE(cond.wait_for(lock, -1h, [] { return true; }));
  });
}

// Rules: CO-3
TEST(CondTest, NotifyOneWakesInTheOrderOfArrival) {
  weft::testing::run([] {
    Mutex mutex;
    Cond cond;
    constexpr int kCount = 100;
    std::vector<int> order;
    for (int i = 0; i < kCount; ++i) {
      weft::go([&, i] {
        const std::lock_guard hold(mutex);
        cond.wait(mutex);
        order.push_back(i);
      });
      weft::testing::wait();
    }
    for (int i = 0; i < kCount; ++i) {
      cond.notify_one();
      weft::testing::wait();
      const std::lock_guard hold(mutex);
      ASSERT_EQ(order.size(), static_cast<std::size_t>(i) + 1);
      ASSERT_EQ(order.back(), i);
    }
  });
}

// Rules: CO-3, CO-4
TEST(CondTest, ALaterWaiterCannotTakeTheNotificationOfAnEarlierOne) {
  weft::run([] {
    for (int round = 0; round < test::rounds(1000); ++round) {
      Mutex mutex;
      Cond cond;
      WaitGroup wg;
      // The first one waits; then a second one queues after the broadcast or before: the first must wake in any case.
      bool is_first_queued = false;
      std::atomic<bool> is_first_woken{false};
      wg.go([&] {
        mutex.lock();
        is_first_queued = true;
        cond.wait(mutex);
        is_first_woken = true;
        mutex.unlock();
      });
      for (bool queued = false; !queued; weft::yield()) {
        const std::lock_guard hold(mutex);
        queued = is_first_queued;
      }
      bool goes_on = false;
      wg.go([&] {
        mutex.lock();
        while (!goes_on) cond.wait(mutex);
        mutex.unlock();
      });
      cond.notify_one();
      test::eventually([&] { return is_first_woken.load(); });
      mutex.lock();
      goes_on = true;
      cond.notify_all();
      mutex.unlock();
      wg.wait();
    }
  });
}

// Rules: CO-4
TEST(CondTest, NotifyAllWakesEachWaiterOnceAndNobodyWhoComesLater) {
  weft::run([] {
    const int goroutines = test::crowd(200);
    const int rounds = test::rounds(200);
    Mutex mutex;
    Cond cond;
    Cond all_wait;
    int waiting = 0;
    long wakes = 0;
    bool ends = false;
    WaitGroup wg;
    for (int i = 0; i < goroutines; ++i) {
      wg.go([&] {
        const std::lock_guard hold(mutex);
        while (!ends) {
          if (++waiting == goroutines) all_wait.notify_one();
          cond.wait(mutex);
          ++wakes;
        }
      });
    }
    for (int round = 1; round <= rounds; ++round) {
      const std::lock_guard hold(mutex);
      all_wait.wait(mutex, [&] { return waiting == goroutines; });
      ASSERT_EQ(wakes, static_cast<long>(goroutines) * (round - 1));
      waiting = 0;
      ends = round == rounds;
      cond.notify_all();
    }
    wg.wait();
    EXPECT_EQ(wakes, static_cast<long>(goroutines) * rounds);
  });
}

// Rules: CO-2
TEST(CondTest, ANotificationByWhoeverTakesTheLockNextIsNotLost) {
  weft::run([] {
    Mutex mutex;
    Cond cond;
    for (int round = 0; round < test::rounds(100'000); ++round) {
      WaitGroup wg;
      mutex.lock();
      wg.go([&] {
        mutex.lock();  // free when wait() has released it
        cond.notify_one();
        mutex.unlock();
      });
      cond.wait(mutex);
      mutex.unlock();
      wg.wait();
    }
  });
}

/// A lock whose unlock() does something on the way.
template <class F>
class Hooked {
 public:
  Hooked(Mutex& mutex, F after_unlock) : mutex_(mutex), after_unlock_(std::move(after_unlock)) {}
  void lock() { mutex_.lock(); }
  void unlock() {
    mutex_.unlock();
    after_unlock_();
  }

 private:
  Mutex& mutex_;
  F after_unlock_;
};

// Rules: CO-2
TEST(CondTest, TheWaiterIsQueuedBeforeItsUnlockWhichMayDoAnything) {
  test::everywhere([] {
    Mutex mutex;
    Cond cond;
    int calls = 0;
    Hooked lock(mutex, [&] {
      EXPECT_TRUE(mutex.try_lock());
      mutex.unlock();
      weft::yield();
      weft::sleep_for(1us);
      ++calls % 2 == 0 ? cond.notify_one() : cond.notify_all();  // from within: it is not parked yet
    });
    lock.lock();
    for (int i = 0; i < 10; ++i) {
      cond.wait(lock);
      EXPECT_TRUE(cond.wait_for(lock, 1h));
      EXPECT_TRUE(cond.wait_for(lock, 0ns));  // notified first
      EXPECT_TRUE(cond.wait(weft::background(), lock));
    }
    EXPECT_FALSE(mutex.try_lock());
    mutex.unlock();
    EXPECT_EQ(calls, 40);
  });
}

// Rules: CO-1, CO-3
TEST(CondTest, AnUnlockThatThrowsPassesItsNotificationOn) {
  test::everywhere([] {
    Mutex mutex;
    Cond cond;
    bool is_notified = false;
    Hooked lock(mutex, [&] {
      if (is_notified) cond.notify_one();
      throw std::runtime_error("no");
    });
    WaitGroup wg;
    for (const bool notify : {false, true}) {
      is_notified = notify;
      std::atomic<bool> is_woken{false};
      lock.lock();
      // The one that throws is first in the queue: the other one queues when it can, before the notification at the latest.
      if (notify) {
        Hooked behind(mutex, [&] {
          test::go_parked(wg, [&] {
            mutex.lock();
            cond.wait(mutex);
            is_woken = true;
            mutex.unlock();
          });
          cond.notify_one();
          throw std::runtime_error("no");
        });
        EXPECT_THROW(cond.wait(behind), std::runtime_error);
        wg.wait();
        EXPECT_TRUE(is_woken);
      } else {
        EXPECT_THROW(cond.wait(lock), std::runtime_error);
        EXPECT_TRUE(mutex.try_lock());
        mutex.unlock();
        cond.notify_one();  // nobody is there
      }
    }
  });
}

// Rules: CO-5
TEST(CondTest, NotifyingNeedsNoLockAndGivesNoPriority) {
  weft::run([] {
    Mutex mutex;
    Cond cond;
    for (int round = 0; round < test::rounds(50); ++round) {
      WaitGroup wg;
      long turns = 0;
      test::go_parked(wg, [&] {
        mutex.lock();
        cond.wait(mutex);
        ++turns;
        mutex.unlock();
      });
      for (int i = 0; i < 100; ++i) {
        wg.go([&] {
          const std::lock_guard hold(mutex);
          ++turns;
        });
      }
      cond.notify_one();
      wg.wait();
      ASSERT_EQ(turns, 101);
    }
  });
}

// Rules: CO-6, RW-6
TEST(CondTest, SeveralMayWaitThroughTheReadersSideOfAnRWMutex) {
  weft::testing::run([] {
    weft::RWMutex mutex;
    Cond cond;
    std::atomic<int> woken{0};
    for (int i = 0; i < 2; ++i) {
      weft::go([&] {
        auto reader = mutex.rlocker();
        const std::lock_guard hold(reader);
        cond.wait(reader);
        woken.fetch_add(1);
      });
    }
    weft::testing::wait();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
    cond.notify_all();
    weft::testing::wait();
    EXPECT_EQ(woken.load(), 2);
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: CO-7, MU-3
TEST(CondTest, WaitingWithoutTheLockIsFatal) {
  const auto child = test::in_child([] {
    weft::run([] {
      Mutex mutex;
      Cond cond;
      try {
        cond.wait(mutex);
      } catch (...) {
        std::fputs("caught\n", stderr);
      }
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: sync: unlock of unlocked mutex\n"), 0U) << child.err;
  EXPECT_EQ(child.err.find("caught"), std::string::npos) << child.err;
}

// Rules: CO-1, DL-1
TEST(CondTest, WaitingForNobodyIsADeadlock) {
  const auto child = test::in_child([] {
    weft::run([] {
      Mutex mutex;
      Cond cond;
      mutex.lock();
      cond.wait(mutex);
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << child.err;
  EXPECT_NE(child.err.find("[sync.Cond.Wait"), std::string::npos) << child.err;
}

// Rules: CO-1
TEST(CondTest, AContextEndsAWaitWithTheLockHeld) {
  test::everywhere([] {
    Mutex mutex;
    Cond cond;
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 2ms);
    std::unique_lock lock(mutex);
    EXPECT_FALSE(cond.wait(ctx, lock));
    EXPECT_TRUE(lock.owns_lock());
    EXPECT_FALSE(cond.wait(ctx, lock));  // at once
    EXPECT_FALSE(cond.wait(ctx, lock, [] { return false; }));
    EXPECT_TRUE(cond.wait(ctx, lock, [] { return true; }));
    EXPECT_TRUE(lock.owns_lock());
  });
}

// Rules: CO-3
TEST(CondTest, ALimitThatRacesANotificationDoesNotSwallowIt) {
  weft::run([] {
    int notified = 0;
    for (int round = 0; round < test::rounds(5000); ++round) {
      Mutex mutex;
      Cond cond;
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      int queued = 0;
      std::atomic<int> served{0};
      WaitGroup wg;
      wg.go([&, &ctx = ctx] {
        std::unique_lock lock(mutex);
        ++queued;
        const bool is_notified =
            round % 2 == 0 ? cond.wait(ctx, lock) : cond.wait_for(lock, std::chrono::microseconds(round % 40));
        if (is_notified) {
          served.fetch_add(1);
          ++notified;
        }
      });
      wg.go([&] {
        std::unique_lock lock(mutex);
        ++queued;
        cond.wait(lock);
        served.fetch_add(1);
      });
      for (bool both = false; !both; weft::yield()) {
        const std::lock_guard hold(mutex);
        both = queued == 2;
      }
      // One notification serves one of the two, whichever; if the first was out of time, the second.
      wg.go([&, &cancel = cancel] { cancel(); });
      cond.notify_one();
      test::eventually([&] { return served.load() >= 1; });
      cond.notify_one();  // the other, if it still waits
      wg.wait();
    }
    RecordProperty("notified", notified);
  });
}

// Rules: CO-1
TEST(CondTest, AQueueOfGoroutinesAndThreadsLosesNothing) {
  Mutex mutex;
  Cond not_empty;
  Cond not_full;
  std::deque<int> queue;
  long sum = 0;
  const int rounds = test::rounds(5000);
  {
    std::vector<std::unique_ptr<test::Task>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&, i] {
        for (int n = 1; n <= rounds; ++n) {
          std::unique_lock lock(mutex);
          if (i < 4) {
            while (queue.size() == 3) {
              if (n % 2 == 0) {
                not_full.wait(lock);
              } else {
                not_full.wait_for(lock, 30us);
              }
            }
            queue.push_back(n);
            not_empty.notify_one();
          } else {
            while (queue.empty()) {
              if (n % 2 == 0) {
                not_empty.wait(lock);
              } else {
                not_empty.wait_for(lock, 30us);
              }
            }
            sum += queue.front();
            queue.pop_front();
            not_full.notify_one();
          }
        }
      }));
    }
  }
  EXPECT_EQ(sum, 4L * rounds * (rounds + 1) / 2);
}

// Rules: MM-11
TEST(CondTest, ANotificationHappensBeforeTheReturnOfTheWaitItEnds) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      // No lock orders the two: each has its own.
      Mutex mutex;
      Cond cond;
      int plain = 0;
      std::atomic<bool> is_queued{false};
      Hooked lock(mutex, [&] { is_queued.store(true, std::memory_order_relaxed); });
      lock.lock();
      WaitGroup wg;
      wg.go([&] {
        while (!is_queued.load(std::memory_order_relaxed)) weft::yield();
        plain = 1;
        round % 2 == 0 ? cond.notify_one() : cond.notify_all();
      });
      cond.wait(lock);
      ASSERT_EQ(plain, 1);
      mutex.unlock();
      wg.wait();
    }
  });
}

// Rules: SYN-6
TEST(CondTest, WaitingIsDurable) {
  weft::testing::run([] {
    Mutex mutex;
    Cond cond;
    const auto start = weft::testing::now();
    {
      const std::lock_guard hold(mutex);
      EXPECT_FALSE(cond.wait_for(mutex, 1h));
      EXPECT_EQ(weft::testing::now() - start, 1h);
      auto [ctx, cancel] = weft::with_timeout(weft::background(), 1h);
      EXPECT_FALSE(cond.wait(ctx, mutex));
      EXPECT_EQ(weft::testing::now() - start, 2h);
    }
    WaitGroup group;
    group.go([&] {
      const std::lock_guard hold(mutex);
      cond.wait(mutex);
    });
    weft::sleep_for(1h);
    EXPECT_EQ(weft::testing::now() - start, 3h);
    cond.notify_one();
    group.wait();  // it takes the mutex again
  });
}

// Rules: SYN-9
TEST(CondTest, WakingAWaiterInABubbleFromOutsideIsFatal) {
  for (const bool all : {false, true}) {
    const auto child = test::in_child([&] {
      Mutex mutex;
      Cond cond;
      weft::testing::run([&] {
        weft::go([&] {
          const std::lock_guard hold(mutex);
          cond.wait(mutex);
        });
        weft::testing::wait();
        std::thread([&] {
          try {
            all ? cond.notify_all() : cond.notify_one();
          } catch (...) {
            std::fputs("caught\n", stderr);
          }
        }).join();
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_EQ(child.err.find("fatal error: semaphore wake of synctest goroutine from outside bubble\n"), 0U)
        << child.err;
    EXPECT_EQ(child.err.find("caught"), std::string::npos) << child.err;
  }
}

// Rules: HZ-5
TEST(CondTest, TheLastWaiterMayDestroyItWhileItsNotifierIsStillInside) {
  weft::run([] {
    for (int round = 0; round < test::rounds(100'000); ++round) {
      Mutex mutex;
      auto cond = std::make_unique<Cond>();
      Cond& alive = *cond;
      std::atomic<bool> is_queued{false};
      Hooked lock(mutex, [&] { is_queued.store(true, std::memory_order_release); });
      lock.lock();
      WaitGroup wg;
      wg.go([&, round] {
        while (!is_queued.load(std::memory_order_acquire)) weft::yield();
        round % 2 == 0 ? alive.notify_one() : alive.notify_all();
      });
      if (round % 4 < 2) {
        alive.wait(lock);
      } else {
        while (!alive.wait_for(lock, 1h)) {
        }
      }
      cond.reset();
      mutex.unlock();
      wg.wait();
    }
  });
}

// Rules: HZ-5
TEST(CondTest, WhoeverNotifiedAllMayDestroyItBeforeTheWaitersReturn) {
  weft::run([] {
    for (int round = 0; round < test::rounds(20'000); ++round) {
      Mutex mutex;
      auto cond = std::make_unique<Cond>();
      Cond& alive = *cond;
      int queued = 0;
      WaitGroup wg;
      for (int i = 0; i < 3; ++i) {
        wg.go([&, i] {
          const std::lock_guard hold(mutex);
          ++queued;
          if (i == 0) {
            alive.wait(mutex);
          } else {
            alive.wait_for(mutex, i == 1 ? std::chrono::nanoseconds(1h) : std::chrono::nanoseconds(20us));
          }
        });
      }
      for (bool all = false; !all; weft::yield()) {
        const std::lock_guard hold(mutex);
        all = queued == 3;
        if (!all) continue;
        alive.notify_all();
        cond.reset();
      }
      wg.wait();
    }
  });
}

// Rules: HZ-5
TEST(CondTest, PlainThreadsMayDestroyItToo) {
  for (int round = 0; round < test::rounds(3000); ++round) {
    Mutex mutex;
    auto cond = std::make_unique<Cond>();
    Cond& alive = *cond;
    mutex.lock();
    weft::go([&] {
      mutex.lock();
      alive.notify_all();
      mutex.unlock();
    });
    alive.wait(mutex);
    cond.reset();
    mutex.unlock();
    // The notifier may be inside mutex.unlock() when this one has it: a Mutex may die then.
  }
}

/// Locks the mutex, but says first that a wait is over.
struct Relock {
  Mutex& mutex;
  std::atomic<bool>& is_over;
  void lock() {
    is_over = true;
    mutex.lock();
  }
  void unlock() { mutex.unlock(); }
};

// Rules: HZ-5, CO-3
TEST(CondTest, AbandonedWaitersLeaveAndPassTheirNotificationOn) {
  for (int round = 0; round < test::rounds(200); ++round) {
    const bool notifies_before = round % 2 == 0;
    Mutex mutex;
    Cond cond;
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    std::atomic<bool> is_over{false};
    Relock lock{mutex, is_over};
    int queued = 0;
    WaitGroup wg;
    const auto until_queued = [&](int count) {
      for (bool all = false; !all; std::this_thread::yield()) {
        const std::lock_guard hold(mutex);
        all = queued == count;
      }
    };
    {
      weft::Runtime runtime(weft::RuntimeOptions{.processors = 1});
      for (int i = 0; i < 3; ++i) {
        runtime.go([&, &ctx = ctx, i] {
          mutex.lock();
          ++queued;
          if (i == 0) cond.wait(lock);
          if (i == 1) (void)cond.wait(ctx, lock);
          if (i == 2) (void)cond.wait_for(lock, 1h);
          mutex.unlock();
        });
      }
      until_queued(3);
      wg.go([&] {
        const std::lock_guard hold(mutex);
        ++queued;
        cond.wait(mutex);
      });
      until_queued(4);
      if (notifies_before) cond.notify_one();  // one of the three, who may be abandoned before it can run
    }
    if (!notifies_before || is_over.load()) cond.notify_one();  // the three are gone: it is for the last
    wg.wait();
    cancel();
  }
}

}  // namespace

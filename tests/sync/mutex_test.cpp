// Mutex: exclusion, hand-over between goroutines and threads, fairness, timed and failing locks, and dying young.

#include <weft/mutex.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Mutex;
using weft::WaitGroup;
namespace test = weft::test;
using Ns = std::chrono::nanoseconds;

static_assert(std::is_default_constructible_v<Mutex>);
static_assert(!std::is_copy_constructible_v<Mutex>);
static_assert(!std::is_move_constructible_v<Mutex>);
static_assert(!std::is_copy_assignable_v<Mutex>);
static_assert(!std::is_move_assignable_v<Mutex>);
static_assert(noexcept(std::declval<Mutex&>().unlock()));
static_assert(std::is_same_v<decltype(std::declval<Mutex&>().try_lock()), bool>);
static_assert(std::is_same_v<decltype(std::declval<Mutex&>().try_lock_for(1ms)), bool>);

void spin_for(Ns d) {
  const auto end = std::chrono::steady_clock::now() + d;
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Storage for a mutex that dies young: a late touch by its last unlocker changes the pattern left in its place.
class Grave {
 public:
  Mutex& open() {
    EXPECT_TRUE(untouched()) << "somebody wrote to a Mutex after it had been destroyed";
    return *::new (static_cast<void*>(bytes_)) Mutex;
  }
  void close() {
    std::launder(reinterpret_cast<Mutex*>(bytes_))->~Mutex();
    std::memset(bytes_, 0xA5, sizeof bytes_);
    used_ = true;
  }
  [[nodiscard]] bool untouched() const {
    if (!used_) return true;
    for (const unsigned char byte : bytes_) {
      if (byte != 0xA5) return false;
    }
    return true;
  }

 private:
  alignas(Mutex) unsigned char bytes_[sizeof(Mutex)];
  bool used_ = false;
};

/// A plain thread that unlocks whatever it is handed.
class UnlockThread {
 public:
  UnlockThread() : thread_([this] { loop(); }) {}
  UnlockThread(const UnlockThread&) = delete;
  UnlockThread& operator=(const UnlockThread&) = delete;
  ~UnlockThread() {
    stop_.store(true, std::memory_order_release);
    thread_.join();
  }
  void unlock(Mutex& mutex) { work_.store(&mutex, std::memory_order_release); }

 private:
  void loop() {
    while (!stop_.load(std::memory_order_acquire)) {
      if (Mutex* mutex = work_.exchange(nullptr, std::memory_order_acq_rel)) {
        mutex->unlock();
      } else {
        std::this_thread::yield();
      }
    }
  }
  std::atomic<Mutex*> work_{nullptr};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Many mutexes that are destroyed as soon as the lock that another party's unlock() granted has been released.
template <class Unlock>
void destroy_after_lock(int rounds, Unlock unlock_elsewhere) {
  const auto one_life = [&](Mutex& mutex) {
    mutex.lock();
    unlock_elsewhere(mutex);
    mutex.lock();  // returns because of the other party's unlock(), which may still be inside
    mutex.unlock();
  };
  std::vector<Grave> graves(8);
  for (int i = 0; i < rounds; ++i) {
    Grave& grave = graves[static_cast<std::size_t>(i) % graves.size()];
    one_life(grave.open());
    grave.close();
  }
  for (int i = 0; i < rounds; ++i) {  // on the heap, where ASan sees a late read too
    auto mutex = std::make_unique<Mutex>();
    one_life(*mutex);
  }
}

// Rules: MU-1, MU-4
TEST(MutexTest, ZeroValueIsUnlocked) {
  test::everywhere([] {
    Mutex mutex;
    EXPECT_TRUE(mutex.try_lock());
    EXPECT_FALSE(mutex.try_lock());
    mutex.unlock();
    mutex.lock();
    EXPECT_FALSE(mutex.try_lock());
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: MU-1, MU-8, MM-7
TEST(MutexTest, HammeredByLockAndTryLockTheCounterIsExact) {
  weft::run([] {
    Mutex mutex;
    long counter = 0;
    WaitGroup wg;
    const int rounds = test::rounds(1000);
    for (int g = 0; g < 10; ++g) {
      wg.go([&, g] {
        for (int i = 0; i < rounds; ++i) {
          if ((i + g) % 3 == 0) {
            while (!mutex.try_lock()) weft::yield();
          } else {
            mutex.lock();
          }
          ++counter;
          mutex.unlock();
        }
      });
    }
    wg.wait();
    EXPECT_EQ(counter, 10L * rounds);
  });
}

// Rules: MU-1, MU-8
TEST(MutexTest, HoldersThatYieldInsideStayAlone) {
  weft::run([] {
    Mutex mutex;
    int inside = 0;
    WaitGroup wg;
    for (int g = 0; g < 50; ++g) {
      wg.go([&] {
        for (int i = 0; i < 20; ++i) {
          const std::lock_guard hold(mutex);
          EXPECT_EQ(++inside, 1);
          weft::yield();
          EXPECT_EQ(inside--, 1);
        }
      });
    }
    wg.wait();
  });
}

// Rules: MU-1, MU-2, MU-8
TEST(MutexTest, GoroutinesAndPlainThreadsExcludeEachOther) {
  Mutex mutex;
  long counter = 0;
  const int rounds = test::rounds(20'000);
  {
    std::vector<std::unique_ptr<test::Task>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&, i] {
        for (int n = 0; n < rounds; ++n) {
          if (i < 2 && n % 4 == 0) {
            while (!mutex.try_lock_for(1ms)) {
            }
          } else {
            mutex.lock();
          }
          ++counter;
          mutex.unlock();
        }
      }));
    }
  }
  EXPECT_EQ(counter, 8L * rounds);
}

// Rules: MU-8, MU-9
TEST(MutexTest, AThousandParkedLockersAllGetTheirTurn) {
  weft::run([] {
    Mutex mutex;
    const int count = test::crowd(1000);
    int turns = 0;
    WaitGroup wg;
    mutex.lock();
    for (int i = 0; i < count; ++i) {
      wg.go([&] {
        mutex.lock();
        ++turns;
        mutex.unlock();
      });
    }
    weft::yield();
    mutex.unlock();
    wg.wait();
    EXPECT_EQ(turns, count);
  });
}

// Rules: MU-2, MM-7
TEST(MutexTest, AnybodyMayUnlock) {
  for (const test::On locker : test::kEverywhere) {
    for (const test::On unlocker : test::kEverywhere) {
      Mutex mutex;
      int plain = 0;
      test::Task(locker, [&] {
        mutex.lock();
        plain = 1;
      }).join();
      EXPECT_FALSE(mutex.try_lock());
      test::Task(unlocker, [&] {
        ++plain;
        mutex.unlock();
      }).join();
      test::Task(locker, [&] {
        mutex.lock();
        EXPECT_EQ(plain, 2);
        mutex.unlock();
      }).join();
    }
  }
}

// Rules: MU-2, MM-7
TEST(MutexTest, UnlockElsewherePublishesWhatWasWritten) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      Mutex mutex;
      int plain = 0;
      mutex.lock();
      weft::go([&] {
        plain = 1;
        mutex.unlock();
      });
      mutex.lock();
      ASSERT_EQ(plain, 1);
      mutex.unlock();
    }
  });
}

// Rules: MU-3, GEN-1
TEST(MutexTest, UnlockOfAFreshMutexIsFatalAndCannotBeCaught) {
  const auto child = test::in_child([] {
    weft::run([] {
      struct Guard {
        ~Guard() { std::fputs("destructor ran\n", stderr); }
      } guard;
      Mutex mutex;
      try {
        mutex.unlock();
        std::fputs("returned\n", stderr);
      } catch (...) {
        std::fputs("caught\n", stderr);
      }
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: sync: unlock of unlocked mutex\n"), 0U) << child.err;
  EXPECT_EQ(child.err.find("caught"), std::string::npos) << child.err;
  EXPECT_EQ(child.err.find("returned"), std::string::npos) << child.err;
  EXPECT_EQ(child.err.find("destructor ran"), std::string::npos) << child.err;
}

// Rules: MU-3, GEN-1
TEST(MutexTest, SecondUnlockIsFatalOnAPlainThreadToo) {
  const auto child = test::in_child([] {
    Mutex mutex;
    mutex.lock();
    mutex.unlock();
    try {
      mutex.unlock();
    } catch (...) {
      std::fputs("caught\n", stderr);
    }
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: sync: unlock of unlocked mutex\n"), 0U) << child.err;
  EXPECT_EQ(child.err.find("caught"), std::string::npos) << child.err;
}

// Rules: MU-4
TEST(MutexTest, TryLockNeverFailsInAQuietSystem) {
  test::everywhere([] {
    Mutex mutex;
    for (int i = 0; i < 10'000; ++i) {
      ASSERT_TRUE(mutex.try_lock());
      ASSERT_FALSE(mutex.try_lock());
      mutex.unlock();
    }
  });
}

// Rules: MU-4
TEST(MutexTest, TryLockNeverParks) {
  // On one processor the holder would have to run for a blocking lock to end; it runs only when this goroutine stops.
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    Mutex mutex;
    mutex.lock();
    WaitGroup wg;
    wg.go([&] { mutex.unlock(); });
    const std::uint64_t parks = weft::stats().parks;
    for (int i = 0; i < 1000; ++i) {
      if (mutex.try_lock()) {  // chaos may have let the other one run
        EXPECT_TRUE(test::chaos());
        mutex.unlock();
        break;
      }
    }
    if (!test::chaos()) {
      EXPECT_EQ(weft::stats().parks, parks);
    }
    wg.wait();
  });
}

// Rules: MU-4
TEST(MutexTest, TryLockForReportsATimeoutAndIsNeverEarly) {
  test::everywhere([] {
    Mutex mutex;
    mutex.lock();
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(mutex.try_lock_for(15ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 15ms);
    EXPECT_FALSE(mutex.try_lock_for(0ns));
    EXPECT_FALSE(mutex.try_lock_for(-1h));
    EXPECT_FALSE(mutex.try_lock_for(Ns::min()));
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_for(0ns));
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_for(-1h));
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_for(1h));
    EXPECT_FALSE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: MU-4, TM-1
TEST(MutexTest, TryLockForIsGrantedByUnlockHoweverLongTheTimeout) {
  for (const Ns timeout : {Ns(1h), Ns::max()}) {
    test::everywhere([&] {
      Mutex mutex;
      mutex.lock();
      weft::go([&] { mutex.unlock(); });
      EXPECT_TRUE(mutex.try_lock_for(timeout));
      EXPECT_FALSE(mutex.try_lock());
      mutex.unlock();
    });
  }
}

// Rules: MU-4
TEST(MutexTest, ATimedOutLockerLeavesTheOthersInPlace) {
  weft::run([] {
    Mutex mutex;
    WaitGroup wg;
    mutex.lock();
    const auto wait_for_turn = [&] {
      mutex.lock();
      mutex.unlock();
    };
    test::go_parked(wg, wait_for_turn);
    EXPECT_FALSE(mutex.try_lock_for(2ms));
    test::go_parked(wg, wait_for_turn);
    EXPECT_FALSE(mutex.try_lock_for(2ms));
    mutex.unlock();
    wg.wait();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: MU-4, MU-5
TEST(MutexTest, ATimeoutThatRacesTheUnlockLosesNeitherTheLockNorTheWakeUp) {
  weft::run([] {
    int granted = 0;
    for (int round = 0; round < test::rounds(2000); ++round) {
      auto mutex = std::make_unique<Mutex>();
      WaitGroup wg;
      mutex->lock();
      wg.go([&] {
        if (mutex->try_lock_for(std::chrono::microseconds(20 + round % 60))) {
          ++granted;
          mutex->unlock();
        }
      });
      wg.go([&] {
        mutex->lock();  // must be served whatever becomes of the timed one
        mutex->unlock();
      });
      weft::sleep_for(std::chrono::microseconds(10 + round % 80));
      mutex->unlock();
      wg.wait();
      ASSERT_TRUE(mutex->try_lock());
      mutex->unlock();
    }
    RecordProperty("granted", granted);
  });
}

// Rules: MU-4, MU-5
TEST(MutexTest, TimedLockersAloneNeverStrandTheLock) {
  weft::run([] {
    Mutex mutex;
    long counter = 0;
    std::atomic<long> expected{0};
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([&, g] {
        for (int i = 0; i < test::rounds(2000); ++i) {
          if (mutex.try_lock_for(std::chrono::microseconds((i + g) % 20))) {
            ++counter;
            if (i % 8 == 0) weft::yield();
            mutex.unlock();
            expected.fetch_add(1, std::memory_order_relaxed);
          }
        }
      });
    }
    wg.wait();
    EXPECT_EQ(counter, expected.load(std::memory_order_relaxed));
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: MU-5, MU-6
TEST(MutexTest, QueuedLockersAreServedInOrderOnceTheHolderLetsGo) {
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    int in_order = 0;
    constexpr int kRounds = 20;
    for (int round = 0; round < kRounds; ++round) {
      Mutex mutex;
      std::vector<int> order;
      WaitGroup wg;
      mutex.lock();
      for (int i = 0; i < 3; ++i) {
        test::go_parked(wg, [&, i] {
          mutex.lock();
          order.push_back(i);
          mutex.unlock();
        });
      }
      mutex.unlock();
      wg.wait();
      if (order == std::vector{0, 1, 2}) ++in_order;
    }
    EXPECT_GE(in_order, kRounds * 3 / 4);
  });
}

// Rules: MU-5, MU-6
TEST(MutexTest, AHolderThatRelocksAtOnceCannotKeepTheHeadWaiterOut) {
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    int head_first = 0;
    constexpr int kRounds = 10;
    for (int round = 0; round < kRounds; ++round) {
      Mutex mutex;
      std::atomic<int> turns{0};
      int first = -1;
      WaitGroup wg;
      mutex.lock();
      for (int i = 0; i < 3; ++i) {
        test::go_parked(wg, [&, i] {
          mutex.lock();
          if (turns.fetch_add(1, std::memory_order_relaxed) == 0) first = i;
          mutex.unlock();
        });
      }
      while (turns.load(std::memory_order_relaxed) < 3) {  // without starvation mode: for ever
        mutex.unlock();
        mutex.lock();
        spin_for(100us);
        weft::yield();
      }
      mutex.unlock();
      wg.wait();
      if (first == 0) ++head_first;
    }
    EXPECT_GE(head_first, kRounds * 3 / 4);
  });
}

// Rules: MU-6
TEST(MutexTest, AHogCannotStarveAVictim) {
  const auto hog_and_victim = [] {
    Mutex mutex;
    std::atomic<bool> stop{false};
    std::atomic<long> turns{0};
    WaitGroup wg;
    wg.go([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        mutex.lock();
        weft::sleep_for(100us);
        turns.fetch_add(1, std::memory_order_relaxed);
        mutex.unlock();
      }
    });
    test::eventually([&] { return turns.load(std::memory_order_relaxed) > 0; });
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < 10; ++i) {
      weft::sleep_for(100us);
      mutex.lock();
      mutex.unlock();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
    stop.store(true, std::memory_order_relaxed);
    wg.wait();
  };
  weft::run(hog_and_victim);
  weft::run(weft::RuntimeOptions{.processors = 1}, hog_and_victim);
  hog_and_victim();  // the victim is a plain thread
}

// Rules: MU-6
TEST(MutexTest, AHogOnAPlainThreadCannotStarveAGoroutine) {
  Mutex mutex;
  std::atomic<bool> stop{false};
  std::thread hog([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      mutex.lock();
      spin_for(50us);
      mutex.unlock();
    }
  });
  const auto start = std::chrono::steady_clock::now();
  weft::run([&] {
    for (int i = 0; i < 10; ++i) {
      weft::sleep_for(100us);
      mutex.lock();
      mutex.unlock();
    }
  });
  EXPECT_LT(std::chrono::steady_clock::now() - start, 10s);
  stop.store(true, std::memory_order_relaxed);
  hog.join();
}

// Rules: MU-10
TEST(MutexTest, HandOffInStarvationModeRunsTheWaiterFirst) {
  if (test::chaos()) GTEST_SKIP() << "the scheduler is random";
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    constexpr int kRounds = 100;
    int waiter_first = 0;
    for (int round = 0; round < kRounds; ++round) {
      Mutex mutex;
      std::atomic<bool> got_it{false};
      WaitGroup wg;
      mutex.lock();
      const std::uint64_t waiter = test::go_parked(wg, [&] {
        mutex.lock();
        got_it.store(true, std::memory_order_relaxed);
        mutex.unlock();
      });
      spin_for(1500us);
      mutex.unlock();  // wakes the waiter, which cannot run yet ...
      mutex.lock();    // ... and loses after more than a millisecond: starvation mode
      weft::testing::wait_parked(waiter);
      weft::yield();
      weft::testing::wait_parked(waiter);
      mutex.unlock();
      if (got_it.load(std::memory_order_relaxed)) ++waiter_first;
      wg.wait();
    }
    EXPECT_GE(waiter_first, kRounds * 2 / 3);
  });
}

// Rules: MU-9
TEST(MutexTest, LockingParksTheGoroutineNotTheProcessor) {
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    Mutex mutex;
    const auto go_on = weft::make_chan<int>();
    WaitGroup wg;
    wg.go([&] {
      mutex.lock();
      EXPECT_EQ(*go_on.recv(), 1);
      EXPECT_EQ(*go_on.recv(), 2);
      mutex.unlock();
    });
    go_on.send(1);  // the holder holds it
    test::go_parked(wg, [&] {
      mutex.lock();
      mutex.unlock();
    });
    go_on.send(2);
    wg.wait();
  });
}

// Rules: MU-1, HZ-23
TEST(MutexTest, ScopedLockOfSeveralInAnyOrderNeverDeadlocks) {
  const auto dine = [] {
    constexpr std::size_t kSeats = 5;
    std::array<Mutex, kSeats> forks;
    std::array<int, kSeats> meals{};
    WaitGroup wg;
    for (std::size_t seat = 0; seat < kSeats; ++seat) {
      wg.go([&, seat] {
        Mutex& left = forks[seat];
        Mutex& right = forks[(seat + 1) % kSeats];
        for (int i = 0; i < test::rounds(500); ++i) {
          const std::scoped_lock both(left, right);
          ++meals[seat];
          if (i % 16 == 0) weft::yield();
        }
      });
    }
    wg.wait();
    for (const int count : meals) EXPECT_EQ(count, test::rounds(500));
  };
  weft::run(dine);
  weft::run(weft::RuntimeOptions{.processors = 1}, dine);
}

// Rules: MU-1
TEST(MutexTest, WorksWithTheStandardLocks) {
  test::everywhere([] {
    Mutex mutex;
    {
      std::unique_lock lock(mutex, std::try_to_lock);
      EXPECT_TRUE(lock.owns_lock());
      std::unique_lock second(mutex, std::try_to_lock);
      EXPECT_FALSE(second.owns_lock());
      std::unique_lock third(mutex, 1ms);
      EXPECT_FALSE(third.owns_lock());
      lock.unlock();
      EXPECT_TRUE(third.try_lock_for(1h));
    }
    try {
      const std::scoped_lock lock(mutex);
      throw std::runtime_error("left by an exception");
    } catch (const std::runtime_error&) {
      EXPECT_TRUE(mutex.try_lock());
      mutex.unlock();
    }
    Mutex other;
    EXPECT_EQ(std::try_lock(mutex, other), -1);
    other.unlock();
    EXPECT_EQ(std::try_lock(other, mutex), 1);
    EXPECT_TRUE(other.try_lock());
    other.unlock();
    mutex.unlock();
  });
}

// Rules: MU-1, PAN-8
TEST(MutexTest, ALockGuardLetsGoWhenTheGoroutineExits) {
  weft::run([] {
    Mutex mutex;
    WaitGroup wg;
    wg.go([&] {
      const std::lock_guard hold(mutex);
      weft::exit_goroutine();
    });
    wg.wait();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

// Rules: HZ-5
TEST(MutexTest, GoroutineMayDestroyItAfterAGoroutinesUnlock) {
  weft::run(
      [] { destroy_after_lock(test::rounds(20'000), [](Mutex& mutex) { weft::go([&mutex] { mutex.unlock(); }); }); });
}

// Rules: HZ-5
TEST(MutexTest, GoroutineMayDestroyItAfterAPlainThreadsUnlock) {
  UnlockThread thread;
  weft::run([&] { destroy_after_lock(test::rounds(3000), [&](Mutex& mutex) { thread.unlock(mutex); }); });
}

// Rules: HZ-5
TEST(MutexTest, PlainThreadMayDestroyItAfterAGoroutinesUnlock) {
  destroy_after_lock(test::rounds(3000), [](Mutex& mutex) { weft::go([&mutex] { mutex.unlock(); }); });
}

// Rules: HZ-5
TEST(MutexTest, PlainThreadMayDestroyItAfterAPlainThreadsUnlock) {
  UnlockThread thread;
  destroy_after_lock(test::rounds(3000), [&](Mutex& mutex) { thread.unlock(mutex); });
}

// Rules: HZ-5
TEST(MutexTest, WhoeverSeesTheLastReferenceGoneMayDestroyIt) {
  // The classic: an object with its own lock and count; the last one out deletes it, while others are still unlocking.
  struct Shared {
    Mutex mutex;
    int references = 4;
    void release() {
      mutex.lock();
      const bool is_last = --references == 0;
      mutex.unlock();
      if (is_last) delete this;
    }
  };
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      auto* shared = new Shared;
      WaitGroup wg;
      for (int i = 0; i < 4; ++i) wg.go([shared] { shared->release(); });
      wg.wait();
    }
  });
}

}  // namespace

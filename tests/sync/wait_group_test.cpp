// WaitGroup: counting, releasing, reuse, `go`, timed waits, and dying the moment wait() returns.

#include <weft/wait_group.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(std::is_default_constructible_v<WaitGroup>);
static_assert(!std::is_copy_constructible_v<WaitGroup>);
static_assert(!std::is_move_constructible_v<WaitGroup>);
static_assert(!std::is_copy_assignable_v<WaitGroup>);
static_assert(!std::is_move_assignable_v<WaitGroup>);

/// Storage for an object that dies young: a late touch by its last waker changes the pattern left in its place.
class Grave {
 public:
  WaitGroup& open() {
    EXPECT_TRUE(untouched()) << "somebody wrote to a WaitGroup after its wait() had returned";
    return *::new (static_cast<void*>(bytes_)) WaitGroup;
  }
  void close() {
    std::launder(reinterpret_cast<WaitGroup*>(bytes_))->~WaitGroup();
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
  alignas(WaitGroup) unsigned char bytes_[sizeof(WaitGroup)];
  bool used_ = false;
};

/// A plain thread that calls done() on whatever it is handed.
class DoneThread {
 public:
  DoneThread() : thread_([this] { loop(); }) {}
  DoneThread(const DoneThread&) = delete;
  DoneThread& operator=(const DoneThread&) = delete;
  ~DoneThread() {
    stop_.store(true, std::memory_order_release);
    thread_.join();
  }
  void finish(WaitGroup& wg) { work_.store(&wg, std::memory_order_release); }

 private:
  void loop() {
    while (!stop_.load(std::memory_order_acquire)) {
      if (WaitGroup* wg = work_.exchange(nullptr, std::memory_order_acq_rel)) {
        wg->done();
      } else {
        std::this_thread::yield();
      }
    }
  }
  std::atomic<WaitGroup*> work_{nullptr};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Many WaitGroups that are destroyed and overwritten as soon as wait() returns; `finish` makes somebody call done().
template <class Finish>
void destroy_on_return(int rounds, Finish finish) {
  std::vector<Grave> graves(8);
  for (int i = 0; i < rounds; ++i) {
    Grave& grave = graves[static_cast<std::size_t>(i) % graves.size()];
    WaitGroup& wg = grave.open();
    wg.add(1);
    finish(wg);
    wg.wait();
    grave.close();
  }
  for (int i = 0; i < rounds; ++i) {  // on the heap, where ASan sees a late read too
    auto wg = std::make_unique<WaitGroup>();
    wg->add(1);
    finish(*wg);
    wg->wait();
  }
}

// Rules: WG-1
TEST(WaitGroupTest, ZeroValueIsReadyAndWaitReturnsAtOnce) {
  const auto check = [] {
    WaitGroup wg;
    wg.wait();
    wg.wait();
    wg.add(0);
    wg.wait();
  };
  check();
  weft::run(check);
}

// Rules: WG-1
TEST(WaitGroupTest, AddTakesAnyDeltaAndDoneIsMinusOne) {
  const auto check = [] {
    WaitGroup wg;
    wg.add(5);
    wg.add(-5);
    wg.wait();
    wg.add();
    wg.add(2);
    EXPECT_FALSE(wg.wait_for(0ns));
    wg.done();
    wg.done();
    EXPECT_FALSE(wg.wait_for(0ns));
    wg.done();
    EXPECT_TRUE(wg.wait_for(0ns));
    wg.wait();
  };
  check();
  weft::run(check);
}

// Rules: WG-2
TEST(WaitGroupTest, ReleasesAllWaitersTogetherAndNobodyEarly) {
  weft::run([] {
    constexpr int kWorkers = 16;
    WaitGroup first;
    WaitGroup second;
    for (int round = 0; round < 8; ++round) {
      std::atomic<int> passed{0};
      WaitGroup gone;
      first.add(kWorkers);
      second.add(kWorkers);
      for (int i = 0; i < kWorkers; ++i) {
        gone.go([&] {
          first.done();
          second.wait();
          passed.fetch_add(1, std::memory_order_relaxed);
        });
      }
      first.wait();
      for (int i = 0; i < kWorkers; ++i) {
        EXPECT_EQ(passed.load(std::memory_order_relaxed), 0) << "a waiter passed before the counter was zero";
        second.done();
      }
      gone.wait();
      EXPECT_EQ(passed.load(std::memory_order_relaxed), kWorkers);
    }
  });
}

// Rules: WG-2, WG-8
TEST(WaitGroupTest, ReleasesParkedGoroutinesAndPlainThreadsAlike) {
  for (int round = 0; round < test::rounds(50); ++round) {
    WaitGroup gate;
    gate.add(1);
    std::atomic<int> passed{0};
    WaitGroup gone;
    for (int i = 0; i < 10; ++i) {
      gone.go([&] {
        gate.wait();
        passed.fetch_add(1, std::memory_order_relaxed);
      });
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        gate.wait();
        passed.fetch_add(1, std::memory_order_relaxed);
      });
    }
    EXPECT_EQ(passed.load(std::memory_order_relaxed), 0);
    gate.done();
    gone.wait();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(passed.load(std::memory_order_relaxed), 14);
  }
}

// Rules: WG-8, WG-2
TEST(WaitGroupTest, TenParkedWaitersAllReturn) {
  weft::run([] {
    WaitGroup gate;
    gate.add(1);
    WaitGroup gone;
    gone.add(10);
    for (int i = 0; i < 10; ++i) {
      test::go_parked([&] {
        gate.wait();
        gone.done();
      });
    }
    EXPECT_FALSE(gone.wait_for(0ns));
    gate.done();
    gone.wait();
  });
}

// Rules: WG-3, GEN-1, GEN-2
TEST(WaitGroupTest, NegativeCounterPanics) {
  const auto check = [] {
    auto wg = std::make_unique<WaitGroup>();
    wg->add(1);
    wg->done();
    try {
      wg->done();
      ADD_FAILURE() << "done() below zero returned";
    } catch (const weft::RuntimePanic&) {
      ADD_FAILURE() << "a WaitGroup panic is not a runtime error";
    } catch (const weft::Panic& panic) {
      EXPECT_STREQ(panic.what(), "sync: negative WaitGroup counter");
    }
    auto other = std::make_unique<WaitGroup>();
    other->add(3);
    try {
      other->add(-4);
      ADD_FAILURE() << "add() below zero returned";
    } catch (const std::logic_error& panic) {
      EXPECT_STREQ(panic.what(), "sync: negative WaitGroup counter");
    }
  };
  check();
  weft::run(check);
}

// Rules: WG-4
TEST(WaitGroupTest, TasksMayAddTasks) {
  weft::run([] {
    WaitGroup wg;
    std::atomic<int> leaves{0};
    struct Tree {
      WaitGroup& wg;
      std::atomic<int>& leaves;
      void grow(int depth) const {
        if (depth == 0) {
          leaves.fetch_add(1, std::memory_order_relaxed);
          return;
        }
        for (int i = 0; i < 2; ++i) {
          wg.go([tree = *this, depth] { tree.grow(depth - 1); });
        }
      }
    };
    wg.go([&] { Tree{wg, leaves}.grow(10); });
    wg.wait();
    EXPECT_EQ(leaves.load(std::memory_order_relaxed), 1024);
  });
}

// Rules: WG-4
TEST(WaitGroupTest, AddFromZeroRacingWaitNeverHangs) {
  weft::run([] {
    for (int round = 0; round < test::rounds(20'000); ++round) {
      auto wg = std::make_unique<WaitGroup>();
      const auto gone = weft::make_chan<weft::Unit>(2);
      for (int i = 0; i < 2; ++i) {
        weft::go([&] {
          try {
            wg->add(1);
            wg->done();
          } catch (const weft::Panic& panic) {
            EXPECT_STREQ(panic.what(), "sync: WaitGroup misuse: Add called concurrently with Wait");
          }
          gone.send({});
        });
      }
      try {
        wg->wait();
      } catch (const weft::Panic& panic) {
        EXPECT_STREQ(panic.what(), "sync: WaitGroup is reused before previous Wait has returned");
      }
      gone.recv();
      gone.recv();
    }
  });
}

// Rules: WG-5
TEST(WaitGroupTest, ReuseAfterEveryWaitReturnedIsFine) {
  weft::run([] {
    WaitGroup wg;
    int plain = 0;
    for (int generation = 1; generation <= 1000; ++generation) {
      wg.add(2);
      weft::go([&] { wg.done(); });
      weft::go([&] {
        ++plain;
        wg.done();
      });
      wg.wait();
      ASSERT_EQ(plain, generation);
    }
  });
}

// Rules: WG-7, MM-10
TEST(WaitGroupTest, WaitNeverReturnsEarly) {
  weft::run([] {
    for (int round = 0; round < test::rounds(10'000); ++round) {
      WaitGroup wg;
      std::atomic<int> count{0};
      int plain[2] = {0, 0};
      wg.add(2);
      for (int& slot : plain) {
        weft::go([&wg, &count, &slot] {
          slot = 1;
          count.fetch_add(1, std::memory_order_relaxed);
          wg.done();
        });
      }
      wg.wait();
      ASSERT_EQ(count.load(std::memory_order_relaxed), 2);
      ASSERT_EQ(plain[0] + plain[1], 2);
    }
  });
}

// Rules: WG-7, MM-10
TEST(WaitGroupTest, EveryWaiterSeesWhatEveryDoneWrote) {
  for (int round = 0; round < test::rounds(1000); ++round) {
    WaitGroup wg;
    int plain[4] = {};
    wg.add(4);
    for (int& slot : plain) {
      weft::go([&wg, &slot] {
        slot = 1;
        wg.done();
      });
    }
    WaitGroup readers;
    for (int i = 0; i < 3; ++i) {
      readers.go([&] {
        wg.wait();
        EXPECT_EQ(plain[0] + plain[1] + plain[2] + plain[3], 4);
      });
    }
    wg.wait();  // a plain thread
    EXPECT_EQ(plain[0] + plain[1] + plain[2] + plain[3], 4);
    readers.wait();
  }
}

// Rules: WG-2, MU-9
TEST(WaitGroupTest, WaitingParksTheGoroutineNotTheProcessor) {
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    WaitGroup wg;
    wg.add(1);
    std::atomic<bool> ran{false};
    weft::go([&] {
      ran.store(true, std::memory_order_relaxed);
      wg.done();
    });
    wg.wait();
    EXPECT_TRUE(ran.load(std::memory_order_relaxed));
  });
}

// Rules: WG-6
TEST(WaitGroupTest, GoAddsRunsAndCountsDown) {
  const auto check = [] {
    WaitGroup wg;
    std::atomic<int> sum{0};
    for (int i = 1; i <= 100; ++i) {
      wg.go([&sum, i] { sum.fetch_add(i, std::memory_order_relaxed); });
    }
    wg.wait();
    EXPECT_EQ(sum.load(std::memory_order_relaxed), 5050);
  };
  check();  // a plain thread: goroutines of the default runtime
  weft::run(check);
}

// Rules: WG-6, HZ-21
TEST(WaitGroupTest, GoTakesMoveOnlyCallables) {
  weft::run([] {
    WaitGroup wg;
    int seen = 0;
    wg.go([value = std::make_unique<int>(7), &seen] { seen = *value; });
    wg.wait();
    EXPECT_EQ(seen, 7);
  });
}

// Rules: WG-6, HZ-1
TEST(WaitGroupTest, GoDestroysTheCallableBeforeWaitReturns) {
  struct Guard {
    explicit Guard(int* count) : count_(count) {}
    Guard(Guard&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    Guard& operator=(Guard&&) = delete;
    ~Guard() {
      if (count_ != nullptr) ++*count_;
    }
    int* count_;
  };
  weft::run([] {
    for (int round = 0; round < test::rounds(2000); ++round) {
      int destroyed = 0;
      WaitGroup wg;
      wg.go([guard = Guard(&destroyed)] {});
      wg.wait();
      ASSERT_EQ(destroyed, 1);
    }
  });
}

// What is captured by copy from a const variable is const, and no move empties it.
// Rules: WG-6, HZ-1
TEST(WaitGroupTest, GoDestroysConstCapturesBeforeWaitReturns) {
  weft::run([] {
    for (int round = 0; round < test::rounds(2000); ++round) {
      const auto value = std::make_shared<int>(round);
      WaitGroup wg;
      wg.go([value] {});
      wg.go([value] { weft::exit_goroutine(); });
      wg.wait();
      ASSERT_EQ(value.use_count(), 1);
    }
  });
}

// Rules: WG-6
TEST(WaitGroupTest, GoTakesOptionsFirst) {
  weft::run([] {
    WaitGroup wg;
    std::string name;
    wg.go(weft::GoOptions{.name = "counter"}, [&] { name = weft::this_goroutine::name(); });
    wg.wait();
    EXPECT_EQ(name, "counter");
  });
}

// Rules: WG-6, PAN-8
TEST(WaitGroupTest, GoEndedByExitGoroutineCountsAsDone) {
  weft::run([] {
    WaitGroup wg;
    std::atomic<int> after{0};
    for (int i = 0; i < 10; ++i) {
      wg.go([&] {
        weft::exit_goroutine();
        after.fetch_add(1, std::memory_order_relaxed);
      });
    }
    wg.wait();
    EXPECT_EQ(after.load(std::memory_order_relaxed), 0);
  });
}

// Rules: WG-6, PAN-1
TEST(WaitGroupTest, GoThatThrowsNeverLetsMainExitFirst) {
  const auto check = [](const test::ChildResult& child) {
    EXPECT_FALSE(child.timed_out);
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_EQ(child.out, "");
    EXPECT_NE(child.err.find("panic: went wrong"), std::string::npos) << child.err;
  };
  const int spawns = test::kSanitized || test::chaos() ? 10 : 50;
  for (int i = 0; i < spawns; ++i) {
    check(test::in_child([] {
      weft::run([] {
        WaitGroup wg;
        wg.go([] { throw std::runtime_error("went wrong"); });
        wg.wait();
        std::puts("wait() returned");
      });
    }));
  }
}

// Rules: WG-6, PAN-2
TEST(WaitGroupTest, GoThatThrowsWhileOthersFinishNeverCountsAsDone) {
  const auto child = test::in_child([] {
    weft::run([] {
      WaitGroup wg;
      for (int i = 0; i < 20; ++i) wg.go([] { weft::yield(); });
      wg.go([] {
        struct Slow {
          ~Slow() {
            for (int i = 0; i < 200; ++i) weft::yield();
          }
        } slow;
        throw std::runtime_error("went wrong");
      });
      for (int i = 0; i < 20; ++i) wg.go([] { weft::yield(); });
      wg.wait();
      std::puts("wait() returned");
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "");
  EXPECT_NE(child.err.find("panic: went wrong"), std::string::npos) << child.err;
}

// Rules: WG-1
TEST(WaitGroupTest, WaitForReportsATimeoutAndIsNeverEarly) {
  const auto check = [] {
    WaitGroup wg;
    wg.add(1);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_FALSE(wg.wait_for(15ms));
    EXPECT_GE(std::chrono::steady_clock::now() - start, 15ms);
    EXPECT_FALSE(wg.wait_for(0ns));
    EXPECT_FALSE(wg.wait_for(-1h));
    EXPECT_FALSE(wg.wait_for(std::chrono::nanoseconds::min()));
    wg.done();
    EXPECT_TRUE(wg.wait_for(0ns));
    EXPECT_TRUE(wg.wait_for(-1h));
    EXPECT_TRUE(wg.wait_for(1h));
  };
  check();
  weft::run(check);
}

// Rules: WG-1, TM-1
TEST(WaitGroupTest, WaitForIsReleasedByDoneHoweverLongTheTimeout) {
  const auto check = [](std::chrono::nanoseconds timeout) {
    WaitGroup wg;
    wg.add(1);
    weft::go([&] { wg.done(); });
    EXPECT_TRUE(wg.wait_for(timeout));
  };
  for (const std::chrono::nanoseconds timeout : {std::chrono::nanoseconds(1h), std::chrono::nanoseconds::max()}) {
    check(timeout);
    weft::run([&] { check(timeout); });
  }
}

// Rules: WG-2
TEST(WaitGroupTest, ATimedOutWaiterLeavesTheOthersInPlace) {
  weft::run([] {
    WaitGroup gate;
    gate.add(1);
    WaitGroup gone;
    gone.add(2);
    test::go_parked([&] {
      gate.wait();
      gone.done();
    });
    EXPECT_FALSE(gate.wait_for(2ms));
    test::go_parked([&] {
      gate.wait();
      gone.done();
    });
    EXPECT_FALSE(gate.wait_for(2ms));
    gate.done();
    gone.wait();
  });
}

// Rules: WG-2, HZ-5
TEST(WaitGroupTest, WaitForRacingDoneAgreesWithTheCounter) {
  weft::run([] {
    int timed_out = 0;
    for (int round = 0; round < test::rounds(3000); ++round) {
      auto wg = std::make_unique<WaitGroup>();
      wg->add(1);
      weft::go([&wg = *wg, round] {
        if (round % 3 == 0) weft::yield();
        if (round % 3 == 1) weft::sleep_for(std::chrono::microseconds(round % 100));
        wg.done();
      });
      if (!wg->wait_for(std::chrono::microseconds(round % 90))) {
        ++timed_out;
        wg->wait();
      }
    }
    RecordProperty("timed_out", timed_out);
  });
}

// Rules: HZ-5
TEST(WaitGroupTest, GoroutineMayDestroyItWhenWaitReturnsFromAGoroutinesDone) {
  weft::run([] { destroy_on_return(test::rounds(20'000), [](WaitGroup& wg) { weft::go([&wg] { wg.done(); }); }); });
}

// Rules: HZ-5
TEST(WaitGroupTest, GoroutineMayDestroyItWhenWaitReturnsFromAPlainThreadsDone) {
  DoneThread thread;
  weft::run([&] { destroy_on_return(test::rounds(3000), [&](WaitGroup& wg) { thread.finish(wg); }); });
}

// Rules: HZ-5
TEST(WaitGroupTest, PlainThreadMayDestroyItWhenWaitReturnsFromAGoroutinesDone) {
  destroy_on_return(test::rounds(3000), [](WaitGroup& wg) { weft::go([&wg] { wg.done(); }); });
}

// Rules: HZ-5
TEST(WaitGroupTest, PlainThreadMayDestroyItWhenWaitReturnsFromAPlainThreadsDone) {
  DoneThread thread;
  destroy_on_return(test::rounds(3000), [&](WaitGroup& wg) { thread.finish(wg); });
}

// Rules: HZ-5, WG-6
TEST(WaitGroupTest, MayBeDestroyedWhenWaitReturnsFromGo) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      auto wg = std::make_unique<WaitGroup>();
      wg->go([] {});
      wg->go([] { weft::yield(); });
      wg->wait();
    }
  });
}

// Rules: HZ-5, WG-8
TEST(WaitGroupTest, TheLastOfSeveralWaitersMayDestroyIt) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      auto wg = std::make_unique<WaitGroup>();
      wg->add(2);
      std::atomic<int> inside{3};
      const auto dead = weft::make_chan<weft::Unit>(1);
      for (int i = 0; i < 3; ++i) {
        weft::go([&] {
          wg->wait();
          if (inside.fetch_sub(1, std::memory_order_acq_rel) == 1) {
            wg.reset();
            dead.send({});
          }
        });
      }
      WaitGroup& alive = *wg;
      weft::go([&alive] { alive.done(); });
      weft::go([&alive] { alive.done(); });
      dead.recv();
    }
  });
}

}  // namespace

// PinGuard: a goroutine that stays on its thread, alone there, whatever it waits for.

#include <weft/pin_guard.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/goroutine_local.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/stats.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::PinGuard;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<PinGuard>);
static_assert(!std::is_move_constructible_v<PinGuard>);

using ThreadId = std::thread::id;

/// Never inlined, or the compiler might ask once and keep the answer over a switch.
[[gnu::noinline]] ThreadId thread_id() {
  asm volatile("" ::: "memory");
  return std::this_thread::get_id();
}

/// Threads that belong to somebody: whoever else runs on one is an intruder.
class Owned {
 public:
  void add(ThreadId id) {
    const std::lock_guard guard(lock_);
    EXPECT_TRUE(ids_.insert(id).second) << "two goroutines are pinned to one thread";
  }
  void remove(ThreadId id) {
    const std::lock_guard guard(lock_);
    ids_.erase(id);
  }
  bool has(ThreadId id) {
    const std::lock_guard guard(lock_);
    return ids_.contains(id);
  }

 private:
  std::mutex lock_;  // never held over a runtime call
  std::set<ThreadId> ids_;
};

/// Goroutines that look where they are, again and again, until the scope ends.
class Passersby {
 public:
  Passersby(Owned& owned, int count) {
    for (int i = 0; i < count; ++i) {
      group_.go([this, &owned] {
        auto ch = make_chan<int>(1);
        while (!is_over_.load()) {
          if (owned.has(thread_id())) intrusions_.fetch_add(1);
          weft::yield();
          ch.send(1);
          ch.recv();
          group_.go([this, &owned] {
            if (owned.has(thread_id())) intrusions_.fetch_add(1);
          });
          weft::yield();
        }
      });
    }
  }
  Passersby(const Passersby&) = delete;
  Passersby& operator=(const Passersby&) = delete;
  ~Passersby() {
    is_over_ = true;
    group_.wait();
    EXPECT_EQ(intrusions_.load(), 0) << "another goroutine ran on a pinned goroutine's thread";
  }

 private:
  std::atomic<bool> is_over_{false};
  std::atomic<int> intrusions_{0};
  WaitGroup group_;
};

/// `turns` times: yield, park on a channel with an echo goroutine, sleep, select; always on the same thread.
void wander(int turns) {
  const ThreadId home = thread_id();
  auto there = make_chan<int>();
  auto back = make_chan<int>();
  WaitGroup group;
  group.go([there, back] {
    while (const auto value = there.recv()) back.send(*value);
  });
  for (int i = 0; i < turns; ++i) {
    switch (i % 4) {
      case 0:
        weft::yield();
        break;
      case 3:
        if (i % 64 == 3) weft::sleep_for(20us);
        break;
      default:
        there.send(i);
        ASSERT_EQ(thread_id(), home) << "after a send";
        ASSERT_EQ(*back.recv(), i);
        break;
    }
    ASSERT_EQ(thread_id(), home) << "after turn " << i;
  }
  there.close();
  group.wait();  // whom the runtime abandons at its end may hold a channel still: a leak
}

// Rules: LT-1, LT-3
TEST(PinGuardTest, StaysOnItsThreadAloneThroughTenThousandParksAndYields) {
  weft::run([] {
    Owned owned;
    const PinGuard pin;
    owned.add(thread_id());
    {
      const Passersby others(owned, 4);
      wander(test::rounds(10'000));
    }
  });
}

// Rules: LT-1
TEST(PinGuardTest, ManyPinnedAtOnceHaveAThreadEach) {
  constexpr int kPinned = 24;
  const int turns = test::rounds(400);
  for (const unsigned processors : {1U, 2U, 4U}) {
    RuntimeOptions options;
    options.processors = processors;
    weft::run(options, [&] {
      Owned owned;
      WaitGroup group;
      {
        const Passersby others(owned, 2);
        for (int g = 0; g < kPinned; ++g) {
          group.go([&] {
            const PinGuard pin;
            const ThreadId home = thread_id();
            owned.add(home);
            wander(turns);
            owned.remove(home);
          });
        }
        group.wait();
      }
    });
  }
}

// Rules: LT-1
TEST(PinGuardTest, PinnedGoroutinesPassTheBatonAmongThemselves) {
  constexpr int kPinned = 8;
  const int laps = test::rounds(500);
  for (const unsigned processors : {1U, 2U, 8U}) {
    RuntimeOptions options;
    options.processors = processors;
    weft::run(options, [&] {
      std::vector<weft::Chan<int>> ring;
      for (int i = 0; i <= kPinned; ++i) ring.push_back(make_chan<int>());
      WaitGroup group;
      for (std::size_t g = 0; g < kPinned; ++g) {
        group.go([&, g] {
          const PinGuard pin;
          const ThreadId home = thread_id();
          for (int lap = 0; lap < laps; ++lap) {
            const auto baton = ring[g].recv();
            ASSERT_EQ(thread_id(), home);
            ring[g + 1].send(*baton + 1);
            ASSERT_EQ(thread_id(), home);
          }
        });
      }
      for (int lap = 0; lap < laps; ++lap) {
        ring[0].send(lap);
        EXPECT_EQ(*ring[kPinned].recv(), lap + kPinned);
      }
      group.wait();
    });
  }
}

// Rules: LT-1
TEST(PinGuardTest, GuardsNest) {
  weft::run([] {
    Owned owned;
    const auto outer = std::make_unique<PinGuard>();
    const ThreadId home = thread_id();
    owned.add(home);
    const Passersby others(owned, 2);
    for (int depth = 0; depth < 3; ++depth) {
      const PinGuard inner;
      const PinGuard innermost;
      for (int i = 0; i < 100; ++i) {
        weft::yield();
        ASSERT_EQ(thread_id(), home);
      }
    }
    for (int i = 0; i < 100; ++i) {  // still pinned by the outer one
      weft::yield();
      ASSERT_EQ(thread_id(), home);
    }
    owned.remove(home);
  });
}

// Rules: LT-1
TEST(PinGuardTest, IsFreeToMoveAgainAfterwards) {
  // With as many goroutines that compute as there are threads it can only go on elsewhere: one processor is not enough.
  RuntimeOptions options;
  options.processors = 2;
  weft::run(options, [] {
    std::set<ThreadId> seen;
    const auto deadline = std::chrono::steady_clock::now() + 60s;
    while (seen.size() < 2 && std::chrono::steady_clock::now() < deadline) {
      {
        const PinGuard pin;
      }
      auto ch = make_chan<int>();
      std::atomic<bool> is_over{false};
      WaitGroup group;
      group.go([&] { ch.send(1); });
      ch.recv();
      // Whoever takes this thread keeps it until we have run.
      group.go([&] {
        while (!is_over.load()) {
        }
      });
      weft::yield();
      seen.insert(thread_id());
      is_over = true;
      group.wait();
    }
    EXPECT_EQ(seen.size(), 2U);
  });
}

// Rules: LT-1
TEST(PinGuardTest, AThreadsMutexMayBeHeldOverAWait) {
  weft::run([] {
    std::mutex mutex;
    const int turns = test::rounds(200);
    WaitGroup group;
    for (int g = 0; g < 3; ++g) {
      group.go([&] {
        const PinGuard pin;
        for (int i = 0; i < turns; ++i) {
          // The owner unlocks it, as a std::mutex demands; the thread that waits for it is its own.
          while (!mutex.try_lock()) weft::yield();
          const std::lock_guard guard(mutex, std::adopt_lock);
          weft::yield();
          weft::sleep_for(1us);
        }
      });
    }
    group.wait();
  });
}

// Rules: LT-1
TEST(PinGuardTest, ThreadLocalStateOfItsThreadIsItsOwn) {
  static thread_local int state = 0;
  struct Access {
    [[gnu::noinline]] static int& get() {
      asm volatile("" ::: "memory");
      return state;
    }
  };
  weft::run([] {
    WaitGroup group;
    for (int g = 1; g <= 8; ++g) {
      group.go([g] {
        const PinGuard pin;
        Access::get() = g;
        for (int i = 0; i < 50; ++i) {
          weft::yield();
          ASSERT_EQ(Access::get(), g);
        }
        Access::get() = 0;
      });
    }
    group.wait();
  });
}

// Rules: LT-3
TEST(PinGuardTest, ABlockedPeerCompletesWhileAPinnedGoroutineTriesAndYields) {
  for (const unsigned processors : {1U, 2U}) {
    RuntimeOptions options;
    options.processors = processors;
    weft::run(options, [] {
      auto ch = make_chan<int>();
      WaitGroup group;
      const PinGuard pin;
      group.go([ch] { ch.send(1); });
      test::eventually([&] { return ch.try_recv().has_value(); });
      group.wait();  // it may hold the channel still
    });
  }
}

// Rules: LT-3
TEST(PinGuardTest, ADeadlockOfPinnedGoroutinesIsReported) {
  for (const char* processors : {"1", "4"}) {
    const test::ChildResult child = test::in_child([&] {
      setenv("WEFT_PROCS", processors, 1);
      weft::run([] {
        auto ch = make_chan<int>();
        weft::go([ch] {
          const PinGuard pin;
          ch.recv();
        });
        const PinGuard pin;
        for (int i = 0; i < 10; ++i) weft::yield();
        ch.recv();
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_FALSE(child.timed_out);
    EXPECT_NE(child.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << child.err;
  }
}

TEST(PinGuardTest, ASleepOfAPinnedGoroutineEndsOnTimeWhileOthersCompute) {
  RuntimeOptions options;
  options.processors = 2;
  weft::run(options, [] {
    std::atomic<bool> is_over{false};
    WaitGroup group;
    group.go([&] {  // keeps one processor for good
      while (!is_over.load()) {
      }
    });
    {
      const PinGuard pin;
      for (int i = 0; i < test::rounds(100); ++i) {
        const auto start = std::chrono::steady_clock::now();
        weft::sleep_for(100us);
        EXPECT_LT(std::chrono::steady_clock::now() - start, 5s);
      }
    }
    is_over = true;
    group.wait();
  });
}

TEST(PinGuardTest, ARuntimeStopsWithPinnedGoroutinesParkedReadyOrRunning) {
  const int rounds = test::rounds(200);
  for (int round = 0; round < rounds; ++round) {
    auto never = make_chan<int>();
    auto parked = make_chan<int>();
    std::atomic<bool> is_over{false};
    {
      RuntimeOptions options;
      options.processors = 1U + static_cast<unsigned>(round) % 4U;
      Runtime runtime(options);
      for (int g = 0; g < 4; ++g) {
        runtime.go([&] {
          const PinGuard pin;
          parked.send(1);
          never.recv();
        });
        runtime.go([&] {
          const PinGuard pin;
          while (!is_over.load()) weft::yield();
        });
      }
      for (int g = 0; g < 4; ++g) parked.recv();
    }
    is_over = true;
  }
}

TEST(PinGuardTest, WorksInABubble) {
  weft::testing::run([] {
    const PinGuard pin;
    const ThreadId home = thread_id();
    auto ch = make_chan<int>();
    weft::go([ch] {
      const PinGuard inner;
      weft::sleep_for(1h);
      ch.send(1);
    });
    EXPECT_EQ(*ch.recv(), 1);
    weft::sleep_for(24h);
    EXPECT_EQ(thread_id(), home);
  });
}

// They are never picked again, so that their threads wait until the runtime ends; others pin and go on.
TEST(PinGuardTest, ABubbleThatDeadlocksMayLeavePinnedGoroutinesBehind) {
  for (int i = 0; i < 5; ++i) {
    ::testing::internal::CaptureStderr();
    EXPECT_THROW(weft::testing::run([] {
                   weft::go([] {
                     const PinGuard pin;
                     weft::select();
                   });
                   const PinGuard pin;
                   weft::sleep_for(1h);
                 }),
                 weft::Panic);
    ::testing::internal::GetCapturedStderr();
    weft::run([] {
      const PinGuard pin;
      wander(40);
    });
  }
}

TEST(PinGuardTest, DoesNothingOnAPlainThread) {
  const PinGuard outer;
  { const PinGuard inner; }
  auto ch = make_chan<int>(1);
  ch.send(1);
  EXPECT_EQ(*ch.recv(), 1);
}

TEST(PinGuardTest, ThrowsWhenItWouldTakeMoreThreadsThanTheRuntimeMayHave) {
  RuntimeOptions options;
  options.processors = 1;
  options.max_threads = 2;
  weft::run(options, [] {
    const PinGuard first;
    WaitGroup group;
    group.go([] {
      EXPECT_THROW(const PinGuard second, std::system_error);
      weft::yield();
    });
    group.wait();
    const PinGuard nested;  // takes no thread
    weft::yield();
  });
}

TEST(PinGuardTest, ThrowsWhenTheSystemHasNoThreadAndGoesOnWithThoseThereAre) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's shadow memory does not fit under the limit";
  const test::ChildResult child = test::in_child([] {
    RuntimeOptions options;
    options.processors = 1;
    weft::run(options, [] {
      std::ifstream statm("/proc/self/statm");
      rlim_t pages = 0;
      statm >> pages;
      rlimit limit{};
      getrlimit(RLIMIT_AS, &limit);
      limit.rlim_cur = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + rlim_t{64} * 1024 * 1024;
      if (setrlimit(RLIMIT_AS, &limit) != 0) std::abort();  // some threads' stacks fit, a hundred do not
      auto gate = make_chan<weft::Unit>();
      WaitGroup group;
      int pinned = 0;
      bool has_thrown = false;
      for (int g = 0; g < 100 && !has_thrown; ++g) {
        group.go([&] {
          try {
            const PinGuard pin;
            ++pinned;  // one processor, and nobody is preempted
            gate.recv();
          } catch (const std::system_error&) {
            has_thrown = true;
          }
        });
        for (int i = 0; i < 100 && pinned + (has_thrown ? 1 : 0) <= g; ++i) weft::sleep_for(1ms);
      }
      gate.close();
      group.wait();
      limit.rlim_cur = limit.rlim_max;
      setrlimit(RLIMIT_AS, &limit);
      const PinGuard pin;
      weft::yield();
      std::puts(has_thrown ? "has thrown" : "has not thrown");
      std::fflush(stdout);
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "has thrown\n") << child.err;
}

// Rules: LT-2
TEST(PinGuardTest, AGuardThatOutlivesItsGoroutineIsFatal) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      WaitGroup group;
      group.go([] { static_cast<void>(std::make_unique<PinGuard>().release()); });
      group.wait();
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("PinGuard"), std::string::npos) << child.err;
}

TEST(PinGuardTest, AGuardDestroyedByAnotherGoroutineIsFatal) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      auto guards = make_chan<std::shared_ptr<PinGuard>>();
      weft::go([guards] {
        guards.send(std::make_shared<PinGuard>());
        make_chan<int>().recv();
      });
      guards.recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("PinGuard"), std::string::npos) << child.err;
}

// Rules: LT-1
TEST(PinGuardTest, AGoroutineLocalsDestructorMayPin) {
  static std::atomic<int> destroyed{0};
  struct Pins {
    ~Pins() {
      const PinGuard pin;
      const ThreadId home = thread_id();
      for (int i = 0; i < 20; ++i) {
        weft::yield();
        EXPECT_EQ(thread_id(), home);
      }
      destroyed.fetch_add(1);
    }
  };
  destroyed = 0;
  weft::GoroutineLocal<Pins> local;
  weft::run([&] {
    for (int g = 0; g < 10; ++g) weft::go([&] { local.get(); });
    test::eventually([] { return destroyed.load() == 10; });
  });
}

// Rules: LT-1
TEST(PinGuardTest, PinsThatComeAndGoUnderLoadKeepEveryGoroutineGoing) {
  const int turns = test::rounds(300);
  weft::run([&] {
    Owned owned;
    const Passersby others(owned, 2);
    WaitGroup group;
    weft::Mutex mutex;
    for (int g = 0; g < 12; ++g) {
      group.go([&, g] {
        for (int i = 0; i < turns; ++i) {
          const PinGuard pin;
          const ThreadId home = thread_id();
          owned.add(home);
          if ((g + i) % 3 == 0) weft::yield();
          {
            const std::lock_guard guard(mutex);
            if ((g + i) % 5 == 0) weft::sleep_for(1us);
          }
          EXPECT_EQ(thread_id(), home);
          owned.remove(home);
        }
      });
    }
    group.wait();
  });
}

}  // namespace

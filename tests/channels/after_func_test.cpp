// after_func: when the function runs, where, how often; what stop and reset say; what becomes of it when nobody cares.

#include <weft/timer.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::after_func;
using weft::AfterFunc;
using weft::Clock;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::sleep_for;
using weft::TimePoint;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;
namespace test = weft::test;

Ns now() { return Clock::now().time_since_epoch() - Ns(946'684'800'000'000'000); }

template <class F>
std::string panic_of(F f) {
  try {
    f();
    return "no panic";
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

// Rules: TM-6
TEST(AfterFuncTest, RunsOnceInAGoroutineOfItsOwnWhenTheTimeHasPassed) {
  weft::testing::run([] {
    std::vector<Ns> runs;
    std::uint64_t runner = 0;
    static_cast<void>(after_func(3s, [&] {  // dropping the handle changes nothing
      runs.push_back(now());
      runner = weft::this_goroutine::id();
    }));
    sleep_for(1h);
    EXPECT_EQ(runs, (std::vector<Ns>{3s}));
    EXPECT_NE(runner, weft::this_goroutine::id());
    EXPECT_NE(runner, 0U);
  });
}

// Rules: TM-6, SYN-5
TEST(AfterFuncTest, ZeroAndNegativeRunAtOnceWithoutTheClock) {
  weft::testing::run([] {
    for (const Ns d : {0ns, -1ns, Ns::min()}) {
      std::atomic<bool> ran{false};
      AfterFunc func = after_func(d, [&] { ran = true; });
      while (!ran) weft::yield();
      EXPECT_FALSE(func.stop());
    }
    EXPECT_EQ(now(), 0s);
  });
}

// Rules: TM-6
TEST(AfterFuncTest, AFunctionThatBlocksDelaysNobody) {
  // t:TestAfterFunc: a chain of ten, each of which arms the next one and then sleeps.
  weft::testing::run([] {
    WaitGroup done;
    done.add(10);
    std::vector<Ns> starts;
    std::function<void(int)> link = [&](int left) {
      starts.push_back(now());
      if (left > 1) after_func(0s, [&link, left] { link(left - 1); });
      sleep_for(1s);
      done.done();
    };
    after_func(0s, [&] { link(10); });
    done.wait();
    EXPECT_EQ(starts, std::vector<Ns>(10, 0s));
    EXPECT_EQ(now(), 1s);
  });
}

// Rules: TM-10
TEST(AfterFuncTest, StopBeforeItRunsIsTrueOnceAndItNeverRuns) {
  weft::testing::run([] {
    bool ran = false;
    AfterFunc func = after_func(1s, [&] { ran = true; });
    sleep_for(500ms);
    EXPECT_TRUE(func.stop());
    EXPECT_FALSE(func.stop());
    sleep_for(1h);
    EXPECT_FALSE(ran);
  });
}

// Rules: TM-10
TEST(AfterFuncTest, StopAfterItStartedIsFalseAndDoesNotWait) {
  weft::testing::run([] {
    bool has_ended = false;
    AfterFunc func = after_func(1s, [&] {
      sleep_for(10s);
      has_ended = true;
    });
    sleep_for(2s);
    EXPECT_FALSE(func.stop());
    EXPECT_FALSE(has_ended);
    EXPECT_EQ(now(), 2s);
    sleep_for(10s);
    EXPECT_TRUE(has_ended);
    EXPECT_FALSE(func.stop());
  });
}

// Rules: TM-10
TEST(AfterFuncTest, ResetOfAPendingOneIsTrueAndItRunsOnceAtTheNewTime) {
  for (const Ns d : {Ns(0), Ns(100ms), Ns(10s)}) {
    weft::testing::run([=] {
      std::vector<Ns> runs;
      AfterFunc func = after_func(1s, [&] { runs.push_back(now()); });
      sleep_for(500ms);
      EXPECT_TRUE(func.reset(d));
      sleep_for(1h);
      EXPECT_EQ(runs, (std::vector<Ns>{500ms + d}));
    });
  }
}

// Rules: TM-10
TEST(AfterFuncTest, ResetAfterItRanIsFalseAndItRunsOnceMore) {
  weft::testing::run([] {
    std::vector<Ns> runs;
    AfterFunc func = after_func(1s, [&] { runs.push_back(now()); });
    sleep_for(2s);
    EXPECT_FALSE(func.reset(1s));
    sleep_for(2s);
    EXPECT_FALSE(func.reset(0s));
    sleep_for(1s);
    EXPECT_EQ(runs, (std::vector<Ns>{1s, 3s, 4s}));
    EXPECT_FALSE(func.reset(1s));
    EXPECT_TRUE(func.stop());
    EXPECT_FALSE(func.reset(1s));  // a stopped one
    sleep_for(2s);
    EXPECT_EQ(runs.size(), 4U);
  });
}

// Rules: TM-10
TEST(AfterFuncTest, RunsMayOverlap) {
  weft::testing::run([] {
    int inside = 0;
    int most = 0;
    AfterFunc func = after_func(1s, [&] {
      most = std::max(most, ++inside);
      sleep_for(10s);
      --inside;
    });
    sleep_for(2s);
    EXPECT_FALSE(func.reset(1s));
    sleep_for(2s);
    EXPECT_FALSE(func.reset(-1s));
    sleep_for(20s);
    EXPECT_EQ(most, 3);
  });
}

// Rules: TM-10
TEST(AfterFuncTest, MayStopAndResetItself) {
  weft::testing::run([] {
    std::vector<Ns> runs;
    AfterFunc func;
    func = after_func(1s, [&] {
      EXPECT_FALSE(func.stop());
      runs.push_back(now());
      if (runs.size() < 3) {
        EXPECT_FALSE(func.reset(2s));
      }
    });
    sleep_for(1h);
    EXPECT_EQ(runs, (std::vector<Ns>{1s, 3s, 5s}));
  });
}

// Rules: TM-1, TM-21
TEST(AfterFuncTest, ADurationThatWouldOverflowNeverPasses) {
  weft::testing::run([] {
    bool ran = false;
    AfterFunc func = after_func(Ns::max(), [&] { ran = true; });
    sleep_for(24h * 365 * 100);
    EXPECT_FALSE(ran);
    EXPECT_TRUE(func.stop());
  });
}

// Rules: TM-11, TM-22
TEST(AfterFuncTest, AHandleWithoutAFunctionPanics) {
  AfterFunc nothing;
  EXPECT_EQ(panic_of([&] { nothing.stop(); }), "time: Stop called on uninitialized Timer");
  EXPECT_EQ(panic_of([&] { nothing.reset(1s); }), "time: Reset called on uninitialized Timer");
  AfterFunc moved = after_func(1h, [] {});
  AfterFunc heir = std::move(moved);
  EXPECT_EQ(panic_of([&] { moved.stop(); }), "time: Stop called on uninitialized Timer");
  EXPECT_TRUE(heir.stop());
}

// Rules: TM-6
TEST(AfterFuncTest, CopiesReferToTheSameFunction) {
  weft::testing::run([] {
    int runs = 0;
    AfterFunc func = after_func(1s, [&] { ++runs; });
    AfterFunc copy = func;
    EXPECT_TRUE(copy.stop());
    EXPECT_FALSE(func.stop());
    EXPECT_FALSE(func.reset(1s));
    EXPECT_TRUE(copy.reset(2s));
    sleep_for(10s);
    EXPECT_EQ(runs, 1);
  });
}

// Rules: HZ-21, TM-6
TEST(AfterFuncTest, TakesMoveOnlyFunctionsAndCallsThemAsOftenAsReset) {
  weft::testing::run([] {
    int sum = 0;
    AfterFunc func = after_func(1s, [&sum, value = std::make_unique<int>(7)] { sum += *value; });
    sleep_for(2s);
    func.reset(1s);
    sleep_for(2s);
    EXPECT_EQ(sum, 14);
  });
}

// Rules: TM-6
TEST(AfterFuncTest, TheFunctionIsDestroyedOnceNobodyCanMakeItRunAgain) {
  weft::testing::run([] {
    const auto token = std::make_shared<int>(0);
    {
      AfterFunc func = after_func(1s, [token] {});
      EXPECT_EQ(token.use_count(), 2);
      EXPECT_TRUE(func.stop());
      EXPECT_EQ(token.use_count(), 2);  // a reset could still make it run
    }
    EXPECT_EQ(token.use_count(), 1);
    static_cast<void>(after_func(1s, [token] {}));
    EXPECT_EQ(token.use_count(), 2);
    sleep_for(2s);
    EXPECT_EQ(token.use_count(), 1);
  });
}

// Rules: GO-2, TM-6
TEST(AfterFuncTest, ANilFunctionIsFatalAtTheCall) {
  const test::ChildResult child = test::in_child([] {
    try {
      after_func(1h, std::function<void()>());
    } catch (...) {
      std::puts("caught");
    }
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_EQ(child.out, "");
  EXPECT_TRUE(child.err.starts_with("fatal error: go of nil func value\n")) << child.err;
}

// Rules: TM-6, PAN-1
TEST(AfterFuncTest, AFunctionThatThrowsEndsTheProcess) {
  const test::ChildResult child = test::in_child([] {
    static_cast<void>(after_func(1ms, [] { throw weft::Panic("boom"); }));
    weft::make_chan<int>().recv();
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("panic: boom"), std::string::npos) << child.err;
}

// Rules: DL-2, TM-6
TEST(AfterFuncTest, APendingOneHoldsTheDeadlockVerdictBack) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      const auto done = weft::make_chan<int>();
      static_cast<void>(after_func(50ms, [=] { done.send(1); }));
      EXPECT_TRUE(done.recv());
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

// Rules: DL-6
TEST(AfterFuncTest, AStoppedOneDoesNot) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      AfterFunc func = after_func(1h, [] {});
      func.stop();
      weft::make_chan<int>().recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_TRUE(child.err.starts_with("fatal error: all goroutines are asleep - deadlock!\n")) << child.err;
}

// Rules: DL-6, TM-19
TEST(AfterFuncTest, NorDoesATimerThatNobodyWaitsFor) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      const weft::Timer timer(1h);
      const weft::Ticker ticker(1h);
      weft::select();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_TRUE(child.err.starts_with("fatal error: all goroutines are asleep - deadlock!\n")) << child.err;
}

// Rules: DL-2, TM-2
TEST(AfterFuncTest, ATimerThatAPlainThreadWaitsForDoes) {
  // The main thread is all there is besides the runtime, and it waits for a goroutine, for a timer, and for both.
  const test::ChildResult child = test::in_child([] {
    for (int i = 0; i < 300; ++i) {
      const auto ask = weft::make_chan<int>();
      const auto answer = weft::make_chan<int>();
      weft::go([=] { answer.send(*ask.recv()); });
      static_cast<void>(weft::after(Ns(1us) * i).recv());
      ask.send(i);
      EXPECT_EQ(*answer.recv(), i);
      static_cast<void>(weft::select(answer.on_recv(), weft::after(1us).on_recv()));
    }
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

// Rules: TM-6
TEST(AfterFuncTest, RunsOnTheRuntimeOfWhoSetIt) {
  Runtime other(RuntimeOptions{.processors = 1});
  const auto where = weft::make_chan<Runtime*>(2);
  // By reference: a handle that it held would leak if its runtime abandoned it on its last steps.
  other.run([&] { static_cast<void>(after_func(1us, [&where] { where.send(Runtime::current()); })); });
  EXPECT_EQ(*where.recv(), &other);
  static_cast<void>(after_func(1us, [where] { where.send(Runtime::current()); }));  // from a plain thread
  EXPECT_EQ(*where.recv(), &Runtime::process_default());
}

// Rules: TM-6
TEST(AfterFuncTest, APendingOneDiesWithItsRuntime) {
  const auto token = std::make_shared<int>(0);
  std::vector<AfterFunc> kept;
  {
    Runtime runtime(RuntimeOptions{.processors = 2});
    runtime.run([&] {
      for (int i = 0; i < 100; ++i) {
        AfterFunc func = after_func(1h, [token] { ADD_FAILURE() << "ran"; });
        if (i % 2 == 0) kept.push_back(func);
      }
    });
    EXPECT_EQ(token.use_count(), 101);
  }
  EXPECT_EQ(token.use_count(), 51);  // those whose handles live
  EXPECT_FALSE(kept.front().stop());
  kept.clear();
  EXPECT_EQ(token.use_count(), 1);
}

// Rules: TM-6
TEST(AfterFuncTest, OneWhoseRuntimeHasDiedRunsElsewhereAfterReset) {
  std::atomic<int> runs{0};
  AfterFunc func;
  weft::run(RuntimeOptions{.processors = 1}, [&] { func = after_func(1h, [&] { ++runs; }); });
  EXPECT_FALSE(func.reset(1us));  // on the default runtime
  test::eventually([&] { return runs.load() == 1; });
  weft::run(RuntimeOptions{.processors = 1}, [&] {
    EXPECT_FALSE(func.reset(0s));
    test::eventually([&] { return runs.load() == 2; });
    EXPECT_FALSE(func.reset(1h));
  });
  EXPECT_FALSE(func.stop());  // it was pending on the runtime that has died
}

// Rules: TM-10
TEST(AfterFuncTest, StopRacingWithExpiryIsTrueExactlyIfItDoesNotRun) {
  for (int round = 0; round < test::rounds(20'000); ++round) {
    std::atomic<int> runs{0};
    AfterFunc func = after_func(Ns(round % 20'000), [&] { ++runs; });
    for (int spin = round % 64; spin > 0; --spin) weft::this_goroutine::id();
    if (func.stop()) {
      EXPECT_EQ(runs.load(), 0);
      continue;
    }
    test::eventually([&] { return runs.load() == 1; });
  }
}

// Rules: TM-10
TEST(AfterFuncTest, ResetsRacingWithExpiryRunItOnceForEachTheySayTheySchedule) {
  weft::run([] {
    for (int round = 0; round < test::rounds(2000); ++round) {
      std::atomic<int> runs{0};
      std::atomic<int> wanted{1};
      AfterFunc func = after_func(1us, [&] { ++runs; });
      WaitGroup group;
      for (int g = 0; g < 3; ++g) {
        group.go([&, g] {
          for (int i = 0; i < 5; ++i) {
            if (!func.reset(Ns((g * 7 + i * 3) % 11 * 200))) ++wanted;
            if (i % 2 == 0 && func.stop()) --wanted;
          }
        });
      }
      group.wait();
      test::eventually([&] { return runs.load() == wanted.load(); });
    }
    weft::testing::verify_no_leaks();
  });
}

/// Its destructor blocks, as a user's may: only a goroutine or a thread of its own can do that.
struct Blocker {
  Blocker(weft::Mutex* m, int* d) : mutex(m), destroyed(d) {}
  Blocker(const Blocker&) = delete;
  Blocker& operator=(const Blocker&) = delete;
  ~Blocker() {
    const std::lock_guard guard(*mutex);
    weft::yield();
    ++*destroyed;
    static_cast<void>(weft::this_goroutine::id());
  }

  weft::Mutex* mutex;
  int* destroyed;
};

// Rules: HZ-7, TM-10
TEST(AfterFuncTest, TheFunctionIsDestroyedWhereItMayBlockEvenIfStopMeetsExpiry) {
  weft::run([] {
    weft::Mutex mutex;
    int destroyed = 0;
    const int rounds = test::rounds(20'000);
    for (int round = 0; round < rounds; ++round) {
      auto blocker = std::make_shared<Blocker>(&mutex, &destroyed);
      AfterFunc func = after_func(Ns(round % 5'000), [blocker = std::move(blocker)] {});
      for (int spin = round % 128; spin > 0; --spin) weft::this_goroutine::id();
      if (round % 3 == 0) {
        static_cast<void>(func.reset(0s));
      } else {
        static_cast<void>(func.stop());
      }
    }
    test::eventually([&] {
      const std::lock_guard guard(mutex);
      return destroyed == rounds;
    });
  });
}

}  // namespace

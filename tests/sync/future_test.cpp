// Future and async: results of every kind, waits of every kind, select, exits, and states that outlive nobody.

#include <weft/future.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
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
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Future;
namespace test = weft::test;

static_assert(std::is_nothrow_move_constructible_v<Future<int>>);
static_assert(!std::is_copy_constructible_v<Future<int>>);
static_assert(std::is_same_v<decltype(weft::async([] { return 1; })), Future<int>>);
static_assert(std::is_same_v<decltype(weft::async([]() -> int& { throw 1; })), Future<int&>>);
static_assert(std::is_same_v<decltype(weft::async([] {})), Future<void>>);
static_assert(std::is_same_v<decltype(std::declval<Future<std::string>&>().get()), std::string>);

template <class F>
std::string panic_of(F f) {
  try {
    f();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "";
}

// Rules: GO-1
TEST(FutureTest, GetReturnsWhatTheFunctionReturns) {
  test::everywhere([] {
    EXPECT_EQ(weft::async([] { return 42; }).get(), 42);
    weft::async([] {}).get();
    auto moved = weft::async([p = std::make_unique<int>(7)]() mutable { return std::move(p); });
    EXPECT_EQ(*moved.get(), 7);
    int variable = 1;
    Future<int&> reference = weft::async([&variable]() -> int& { return variable; });
    EXPECT_EQ(&reference.get(), &variable);
    EXPECT_EQ(weft::async({.name = "named"}, [] { return std::string(weft::this_goroutine::name()); }).get(), "named");
  });
}

TEST(FutureTest, GetRethrowsAndConsumes) {
  test::everywhere([] {
    auto failed = weft::async([]() -> int { throw std::runtime_error("boom"); });
    failed.wait();
    EXPECT_TRUE(failed.ready());
    EXPECT_TRUE(failed.valid());
    EXPECT_THROW(failed.get(), std::runtime_error);
    EXPECT_FALSE(failed.valid());
    EXPECT_EQ(panic_of([&] { failed.get(); }), "weft: Future::get: the future is empty, or get() was called before");
    Future<void> empty;
    EXPECT_NE(panic_of([&] { empty.get(); }), "");
    EXPECT_EQ(panic_of([&] { empty.wait(); }), "weft: Future::wait: the future is empty");
    EXPECT_NE(panic_of([&] { static_cast<void>(empty.wait_for(1ns)); }), "");
    EXPECT_NE(panic_of([&] { static_cast<void>(empty.ready()); }), "");
    bool is_default = false;
    weft::select(empty.on_ready(), weft::on_default([&] { is_default = true; }));
    EXPECT_TRUE(is_default);
  });
}

// Rules: PAN-8
TEST(FutureTest, ExitGoroutineInsideIsReportedAsAPanic) {
  test::everywhere([] {
    auto exited = weft::async([]() -> int { weft::exit_goroutine(); });
    EXPECT_EQ(panic_of([&] { exited.get(); }),
              "weft: Future::get: the function ended by exit_goroutine, without a result");
  });
}

TEST(FutureTest, WaitsEndWithTheDeadlineTheContextOrTheResult) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    auto future = weft::async([] {
      weft::sleep_for(1h);
      return 5;
    });
    EXPECT_FALSE(future.ready());
    EXPECT_FALSE(future.wait_for(0ns));
    EXPECT_FALSE(future.wait_for(10min));
    EXPECT_EQ(weft::testing::now() - start, 10min);
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 20min);
    EXPECT_FALSE(future.wait(ctx));
    EXPECT_EQ(weft::testing::now() - start, 30min);
    EXPECT_FALSE(future.wait(ctx));
    EXPECT_TRUE(future.wait(weft::background()));
    EXPECT_EQ(weft::testing::now() - start, 1h);
    EXPECT_FALSE(future.wait(ctx)) << "a context that is done always wins";
    EXPECT_TRUE(future.wait_for(-1h));
    EXPECT_EQ(future.get(), 5);
  });
}

TEST(FutureTest, PlainThreadWaitsWithLimitsToo) {
  const auto gate = weft::make_chan<weft::Unit>();
  auto future = weft::async([gate] { gate.recv(); });
  EXPECT_FALSE(future.wait_for(2ms));
  auto [ctx, cancel] = weft::with_timeout(weft::background(), 2ms);
  EXPECT_FALSE(future.wait(ctx));
  gate.close();
  EXPECT_TRUE(future.wait_for(1h));
  future.get();
}

TEST(FutureTest, OnReadyIsASelectCase) {
  weft::testing::run([] {
    auto slow = weft::async([] {
      weft::sleep_for(2s);
      return 2;
    });
    auto quick = weft::async([] {
      weft::sleep_for(1s);
      return 1;
    });
    int chosen = 0;
    EXPECT_EQ(weft::select(slow.on_ready([&] { chosen = slow.get(); }), quick.on_ready([&] { chosen = quick.get(); }),
                           weft::on_timeout(1h)),
              1U);
    EXPECT_EQ(chosen, 1);
    EXPECT_EQ(weft::select(slow.on_ready(), weft::on_timeout(500ms)), 1U);
    slow.wait();
    EXPECT_EQ(weft::select(slow.on_ready(), weft::on_default()), 0U);
    EXPECT_EQ(slow.get(), 2);
    auto late = weft::async([] {});  // its channel is asked for when the result is there
    late.wait();
    EXPECT_EQ(weft::select(late.on_ready(), weft::on_default()), 0U);
    EXPECT_EQ(weft::select(late.on_ready(), weft::on_default()), 0U);
  });
}

TEST(FutureTest, ReadyAndTheSelectCaseNeverContradictEachOther) {
  weft::run([] {
    for (int round = 0; round < test::rounds(3000); ++round) {
      auto future = weft::async([] {});
      if (round % 2 == 0) static_cast<void>(future.on_ready());
      while (!future.ready()) weft::yield();
      ASSERT_EQ(weft::select(future.on_ready(), weft::on_default()), 0U);
    }
  });
}

TEST(FutureTest, SeveralGoroutinesAndThreadsMayWait) {
  weft::run([] {
    const auto gate = weft::make_chan<weft::Unit>();
    const auto future = weft::async([gate] { gate.recv(); });
    std::atomic<int> passed{0};
    weft::WaitGroup wg;
    for (int i = 0; i < 8; ++i) {
      test::go_parked(wg, [&] {
        future.wait();
        ++passed;
      });
    }
    test::Task thread(test::On::kThread, [&] {
      future.wait();
      ++passed;
    });
    EXPECT_EQ(passed, 0);
    gate.close();
    wg.wait();
    thread.join();
    EXPECT_EQ(passed, 9);
  });
}

TEST(FutureTest, TheFunctionIsGoneBeforeTheResultIsThere) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(500); ++round) {
      auto token = std::make_shared<int>(round);
      const std::weak_ptr<int> watch = token;
      auto future = weft::async([token = std::move(token)] { return *token; });
      future.wait();
      ASSERT_TRUE(watch.expired());
      ASSERT_EQ(future.get(), round);
    }
  });
}

TEST(FutureTest, GetLeavesNothingOfTheValueBehind) {
  weft::run([] {
    test::Tally tally;
    for (std::size_t i = 0; i < 100; ++i) {
      auto future = weft::async([&tally, i] { return test::Counted(tally, i); });
      if (i % 2 == 0) future.wait();
      {
        const test::Counted value = future.get();
        ASSERT_EQ(value.id(), i);
        ASSERT_EQ(tally.holding(), 1);
      }
      ASSERT_EQ(tally.live(), 0);
    }
    EXPECT_TRUE(test::all_destroyed_once(tally, 100));
  });
}

// Rules: HZ-5
TEST(FutureTest, DroppingItNeitherWaitsNorStopsTheWork) {
  weft::testing::run([] {
    bool is_done = false;
    {
      const auto dropped = weft::async([&is_done] {
        weft::sleep_for(1h);
        is_done = true;
        throw std::runtime_error("nobody asks");
      });
    }
    EXPECT_FALSE(is_done);
    weft::sleep_for(2h);
    EXPECT_TRUE(is_done);
  });
}

// Rules: HZ-5
TEST(FutureTest, MayDieTheMomentItsWaitHasEnded) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(20'000); ++round) {
      auto future = weft::async([round] { return round; });
      if (round % 3 == 0) future.wait();
      if (round % 3 == 1) {
        static_cast<void>(future.wait_for(std::chrono::microseconds(round % 50)));
      }
      if (round % 5 == 0) continue;  // dropped
      ASSERT_EQ(future.get(), round);
    }
  });
}

TEST(FutureTest, WhatTheFunctionDidIsVisible) {
  weft::run([] {
    for (int round = 0; round < test::rounds(2000); ++round) {
      int plain = 0;
      const auto future = weft::async([&plain] { plain = 1; });
      if (round % 2 == 0) {
        future.wait();
      } else {
        while (!future.ready()) weft::yield();
      }
      ASSERT_EQ(plain, 1);
    }
  });
}

// Rules: DL-1
TEST(FutureTest, AWaitThatNothingCanEndIsADeadlock) {
  const auto child =
      test::in_child([] { weft::run([] { weft::async([] { weft::make_chan<int>().recv(); }).get(); }); });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << child.err;
}

TEST(FutureTest, AnAbandonedWaiterIsTakenOff) {
  Future<void> future;
  const auto gate = weft::make_chan<weft::Unit>();
  future = weft::async([gate] { gate.recv(); });
  {
    weft::Runtime other;
    std::atomic<std::uint64_t> id{0};
    other.go([&] {
      id = weft::this_goroutine::id();
      future.wait();
    });
    test::eventually([&] { return id != 0; });
    weft::testing::wait_parked(id);
  }
  gate.close();
  future.get();
}

}  // namespace

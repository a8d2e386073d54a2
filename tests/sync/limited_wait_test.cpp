// Waits of sync that a Context or a deadline ends.

#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/err_group.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>
#include <weft/worker_pool.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::background;
using weft::Context;
using weft::with_cancel;
using weft::with_timeout;

TEST(LimitedWaitTest, ADoneContextWins) {
  auto [ctx, cancel] = with_cancel(background());
  cancel();
  weft::Mutex mutex;
  EXPECT_FALSE(mutex.lock(ctx));
  EXPECT_TRUE(mutex.try_lock());  // it was not taken
  mutex.unlock();
  weft::WaitGroup group;
  EXPECT_FALSE(group.wait(ctx));
  EXPECT_TRUE(mutex.lock(background()));
  mutex.unlock();
  EXPECT_TRUE(group.wait(Context()));
}

TEST(LimitedWaitTest, CancelEndsTheWaitAndLeavesNoTrace) {
  weft::test::everywhere([] {
    weft::Mutex mutex;
    weft::WaitGroup never;
    never.add(1);
    mutex.lock();
    auto [ctx, cancel] = with_cancel(background());
    std::atomic<int> ended{0};
    {
      std::vector<std::unique_ptr<weft::test::Task>> tasks;
      for (const weft::test::On where : weft::test::kEverywhere) {
        tasks.push_back(std::make_unique<weft::test::Task>(where, [&, ctx = ctx] { ended += !mutex.lock(ctx); }));
        tasks.push_back(std::make_unique<weft::test::Task>(where, [&, ctx = ctx] { ended += !never.wait(ctx); }));
      }
      cancel();
    }
    EXPECT_EQ(ended.load(), 4);
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
    never.done();
    never.wait();
  });
}

TEST(LimitedWaitTest, ADeadlineEndsIt) {
  weft::testing::run([] {
    const auto start = weft::Clock::now();
    auto [ctx, cancel] = with_timeout(background(), 2s);
    weft::WaitGroup group;
    group.add(1);
    EXPECT_FALSE(group.wait(ctx));
    EXPECT_EQ(weft::Clock::now() - start, 2s);
    group.done();
  });
}

TEST(LimitedWaitTest, WhoIsBehindACancelledWaiterStillGetsTheLock) {
  weft::run([] {
    weft::Mutex mutex;
    auto [ctx, cancel] = with_cancel(background());
    mutex.lock();
    weft::WaitGroup group;
    weft::test::go_parked(group, [&, ctx = ctx] { EXPECT_FALSE(mutex.lock(ctx)); });
    weft::test::go_parked(group, [&] {
      mutex.lock();
      mutex.unlock();
    });
    cancel();
    mutex.unlock();
    group.wait();
  });
}

/// Unlock and cancel at the same moment: whoever wins, the mutex ends up free, and exactly those who got it had it.
TEST(LimitedWaitTest, CancelAgainstUnlock) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(20'000); ++round) {
      weft::Mutex mutex;
      auto [ctx, cancel] = with_cancel(background());
      weft::WaitGroup group;
      int inside = 0;
      mutex.lock();
      for (int i = 0; i < 2; ++i) {
        group.go([&, ctx = ctx] {
          if (!mutex.lock(ctx)) return;
          ++inside;
          mutex.unlock();
        });
      }
      group.go([&cancel = cancel] { cancel(); });
      mutex.unlock();
      group.wait();
      ASSERT_TRUE(mutex.try_lock());
      ASSERT_LE(inside, 2);
      mutex.unlock();
    }
  });
}

TEST(LimitedWaitTest, CancelAgainstDone) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(20'000); ++round) {
      weft::WaitGroup last;
      weft::WaitGroup group;
      auto [ctx, cancel] = with_cancel(background());
      last.add(1);
      for (int i = 0; i < 2; ++i) {
        group.go([&, ctx = ctx] { static_cast<void>(last.wait(ctx)); });
      }
      group.go([&cancel = cancel] { cancel(); });
      last.done();
      group.wait();
    }
  });
}

TEST(LimitedWaitTest, AnAbandonedWaiterIsTakenOff) {
  weft::Mutex mutex;
  weft::WaitGroup never;
  never.add(1);
  auto [ctx, cancel] = with_cancel(background());
  mutex.lock();
  // By reference: what an abandoned goroutine holds is never given back.
  for (int i = 0; i < 10; ++i) {
    weft::Runtime runtime;
    runtime.run([&, &ctx = ctx] {
      weft::test::go_parked([&mutex, &ctx] { static_cast<void>(mutex.lock(ctx)); });
      weft::test::go_parked([&never, &ctx] { static_cast<void>(never.wait(ctx)); });
    });
  }
  cancel();
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
  never.done();
  never.wait();
}

TEST(LimitedWaitTest, AnErrGroupIsWaitedForUntilTheContextIsDone) {
  weft::testing::run([] {
    weft::ErrGroup group;
    group.go([] {
      weft::sleep_for(2s);
      throw std::runtime_error("late");
    });
    auto [ctx, cancel] = with_timeout(background(), 1s);
    EXPECT_FALSE(group.wait(ctx));  // nothing is thrown, and the group goes on
    EXPECT_FALSE(group.context().is_done());
    EXPECT_FALSE(group.wait(ctx));  // done already
    EXPECT_THROW(group.wait(background()), std::runtime_error);
    EXPECT_TRUE(group.context().is_done());
  });
}

TEST(LimitedWaitTest, AWorkerPoolIsWaitedForUntilTheContextIsDone) {
  weft::testing::run([] {
    weft::WorkerPool pool({.workers = 1, .queue = 1});
    auto job = pool.submit([] { weft::sleep_for(2s); });
    auto [ctx, cancel] = with_timeout(background(), 1s);
    EXPECT_FALSE(pool.wait(ctx));
    EXPECT_FALSE(job.ready());
    EXPECT_TRUE(pool.wait(background()));
    EXPECT_TRUE(job.ready());
    pool.close();
    EXPECT_FALSE(pool.wait(ctx));  // done already
    EXPECT_TRUE(pool.wait(Context()));
  });
}

}  // namespace

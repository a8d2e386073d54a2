// WorkerPool: results, back-pressure, closing, cancelling, counting, exits, and pools that die young.

#include <weft/worker_pool.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
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
using weft::WorkerPool;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<WorkerPool>);
static_assert(std::is_same_v<decltype(std::declval<WorkerPool&>().submit([] { return 1; })), weft::Future<int>>);
static_assert(
    std::is_same_v<decltype(std::declval<WorkerPool&>().try_submit([] {})), std::optional<weft::Future<void>>>);

template <class F>
std::string panic_of(F f) {
  try {
    f();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "";
}

bool is_canceled(weft::Future<void>& future) {
  try {
    future.get();
  } catch (const std::system_error& error) {
    return error.code() == weft::errc::canceled;
  }
  return false;
}

// Rules: WP-1
TEST(WorkerPoolTest, EachJobRunsOnceAndItsResultGoesToItsFuture) {
  test::everywhere([] {
    for (const std::size_t queue : {0U, 1U, 16U}) {
      WorkerPool pool({.workers = 3, .queue = queue});
      std::vector<weft::Future<int>> futures;
      for (int i = 0; i < 200; ++i) futures.push_back(pool.submit([i] { return i * i; }));
      for (int i = 0; i < 200; ++i) ASSERT_EQ(futures[static_cast<std::size_t>(i)].get(), i * i);
      auto failed = pool.submit([]() -> int { throw std::runtime_error("job"); });
      EXPECT_THROW(failed.get(), std::runtime_error);
      int variable = 0;
      EXPECT_EQ(&pool.submit([&variable]() -> int& { return variable; }).get(), &variable);
      pool.close_and_wait();
      const weft::WorkerPoolStats stats = pool.stats();
      EXPECT_EQ(stats.workers, 3U);
      EXPECT_EQ(stats.submitted, 202U);
      EXPECT_EQ(stats.completed, 201U);
      EXPECT_EQ(stats.failed, 1U);
      EXPECT_EQ(stats.busy + stats.queued + stats.canceled, 0U);
    }
  });
}

TEST(WorkerPoolTest, WorkersAreNamedAndAsManyAsProcessors) {
  weft::run({.processors = 3}, [] {
    WorkerPool pool({.name = "resize"});
    EXPECT_EQ(pool.stats().workers, 3U);
    std::set<std::string> names;
    const auto gate = weft::make_chan<weft::Unit>();
    std::vector<weft::Future<std::string>> futures;
    for (int i = 0; i < 3; ++i) {
      futures.push_back(pool.submit([gate] {
        gate.recv();
        return std::string(weft::this_goroutine::name());
      }));
    }
    gate.close();
    for (auto& future : futures) names.insert(future.get());
    EXPECT_EQ(names, (std::set<std::string>{"resize-0", "resize-1", "resize-2"}));
  });
}

// Rules: WP-2
TEST(WorkerPoolTest, SubmitWaitsWhileTheQueueIsFull) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    WorkerPool pool({.workers = 1, .queue = 1});
    const auto job = [] { weft::sleep_for(1s); };
    static_cast<void>(pool.submit(job));  // runs
    weft::testing::wait();
    EXPECT_TRUE(pool.try_submit(job));  // queued
    EXPECT_FALSE(pool.try_submit(job));
    auto kept = std::make_unique<int>(1);
    auto task = [kept = std::move(kept)] { return *kept; };
    EXPECT_FALSE(pool.try_submit(std::move(task)));
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 100ms);
    EXPECT_FALSE(pool.submit(ctx, std::move(task)));
    EXPECT_FALSE(pool.submit(ctx, std::move(task))) << "a context that is done always wins";
    EXPECT_EQ(weft::testing::now() - start, 100ms);
    EXPECT_EQ(pool.stats().queued, 1U);
    EXPECT_EQ(pool.stats().busy, 1U);
    EXPECT_EQ(pool.stats().submitted, 2U);
    auto future = pool.submit(weft::background(), std::move(task));  // waits for room; the task is still whole
    EXPECT_EQ(weft::testing::now() - start, 1s);
    EXPECT_EQ(future->get(), 1);
    EXPECT_EQ(weft::testing::now() - start, 2s);
  });
}

TEST(WorkerPoolTest, WithoutAQueueAJobIsHandedToAWorker) {
  weft::testing::run([] {
    WorkerPool pool({.workers = 2, .queue = 0});
    weft::testing::wait();
    const auto job = [] { weft::sleep_for(1s); };
    EXPECT_TRUE(pool.try_submit(job));
    EXPECT_TRUE(pool.try_submit(job));
    EXPECT_FALSE(pool.try_submit(job));
    EXPECT_EQ(pool.stats().queued, 0U);
    pool.wait();
    weft::testing::wait();
    EXPECT_TRUE(pool.try_submit(job));
  });
}

// Rules: WP-4
TEST(WorkerPoolTest, ClosedItTakesNoJobsAndCannotBeClosedAgain) {
  test::everywhere([] {
    WorkerPool pool({.workers = 2, .queue = 2});
    pool.close();
    EXPECT_EQ(panic_of([&] { static_cast<void>(pool.submit([] {})); }),
              "weft: WorkerPool::submit: send on closed channel: the pool has been closed");
    EXPECT_NE(panic_of([&] { static_cast<void>(pool.submit(weft::background(), [] {})); }), "");
    EXPECT_EQ(panic_of([&] { static_cast<void>(pool.try_submit([] {})); }),
              "weft: WorkerPool::try_submit: send on closed channel: the pool has been closed");
    EXPECT_EQ(panic_of([&] { pool.close(); }),
              "weft: WorkerPool::close: close of closed channel: the pool is closed already");
    pool.wait();
    EXPECT_NE(panic_of([&] { pool.close_and_wait(); }), "");
  });
}

// Rules: WP-4
TEST(WorkerPoolTest, CloseDrainsTheQueueAndWaitReturnsAfterTheLastJob) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    int ran = 0;
    WorkerPool pool({.workers = 1, .queue = 4});
    for (int i = 0; i < 5; ++i) {
      static_cast<void>(pool.submit([&ran] {
        weft::sleep_for(1s);
        ++ran;
      }));
    }
    pool.close();
    EXPECT_LT(ran, 5);
    pool.wait();
    EXPECT_EQ(ran, 5);
    EXPECT_EQ(weft::testing::now() - start, 5s);
    pool.wait();
    weft::testing::verify_no_leaks();
  });
}

// Rules: WP-4
TEST(WorkerPoolTest, ASubmitterThatIsParkedWhenItClosesPanics) {
  weft::testing::run([] {
    WorkerPool pool({.workers = 1, .queue = 0});
    static_cast<void>(pool.submit([] { weft::sleep_for(1s); }));
    std::string panic;
    weft::go([&] { panic = panic_of([&] { static_cast<void>(pool.submit([] {})); }); });
    weft::testing::wait();
    pool.close_and_wait();
    EXPECT_EQ(panic, "weft: WorkerPool::submit: send on closed channel: the pool has been closed");
    EXPECT_EQ(pool.stats().submitted, 1U);
  });
}

TEST(WorkerPoolTest, WaitWithoutCloseWaitsUntilNothingIsLeftToDo) {
  test::everywhere([] {
    WorkerPool pool({.workers = 2, .queue = 8});
    std::atomic<int> ran{0};
    pool.wait();
    for (int round = 1; round <= test::rounds(200); ++round) {
      for (int i = 0; i < 5; ++i) static_cast<void>(pool.submit([&ran] { ++ran; }));
      pool.wait();
      ASSERT_EQ(ran, 5 * round);
    }
  });
}

TEST(WorkerPoolTest, WaitEndsAtAMomentWithoutJobsThoughOthersKeepComing) {
  test::everywhere([] {
    WorkerPool pool({.workers = 2, .queue = 2});
    std::atomic<bool> has_waited{false};
    weft::WaitGroup submitters;
    for (int i = 0; i < 2; ++i) {
      submitters.go([&] {
        while (!has_waited.load()) {
          pool.submit([] {}).get();
          weft::yield();  // no other job may be there meanwhile
        }
      });
    }
    for (int round = 0; round < test::rounds(500); ++round) pool.wait();
    has_waited.store(true);
    submitters.wait();
  });
}

TEST(WorkerPoolTest, CancelPendingTakesTheQueuedJobsOnly) {
  weft::testing::run([] {
    WorkerPool pool({.workers = 1, .queue = 3});
    auto token = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = token;
    auto running = pool.submit([] { weft::sleep_for(1s); });
    weft::testing::wait();
    std::vector<weft::Future<void>> queued;
    for (int i = 0; i < 3; ++i) queued.push_back(pool.submit([token] { ADD_FAILURE() << "ran"; }));
    token.reset();
    std::optional<weft::Future<void>> parked;
    weft::go([&] { parked = pool.submit([] {}); });
    weft::testing::wait();
    pool.cancel_pending();
    EXPECT_TRUE(watch.expired()) << "cancelled jobs are destroyed";
    for (auto& future : queued) {
      EXPECT_TRUE(future.ready());
      EXPECT_TRUE(is_canceled(future));
    }
    EXPECT_EQ(pool.stats().canceled, 3U);
    running.get();
    EXPECT_EQ(pool.submit([] { return 5; }).get(), 5) << "it stays open";
    parked->get();  // who waited for room has got it
    pool.cancel_pending();
    pool.wait();
    EXPECT_EQ(pool.stats().completed, 3U);
  });
}

// Rules: PAN-8
TEST(WorkerPoolTest, AJobThatEndsByExitGoroutineDoesNotCostAWorker) {
  test::everywhere([] {
    WorkerPool pool({.workers = 1, .queue = 1});
    for (int i = 0; i < 3; ++i) {
      auto future = pool.submit([]() -> int { weft::exit_goroutine(); });
      EXPECT_NE(panic_of([&] { future.get(); }).find("exit_goroutine"), std::string::npos);
    }
    EXPECT_EQ(pool.submit([] { return 1; }).get(), 1);
    EXPECT_EQ(pool.stats().failed, 3U);
  });
}

TEST(WorkerPoolTest, AJobIsGoneAndCountedBeforeItsFutureIsReady) {
  test::everywhere([] {
    WorkerPool pool({.workers = 2, .queue = 2});
    for (int round = 1; round <= test::rounds(1000); ++round) {
      auto token = std::make_shared<int>(round);
      const std::weak_ptr<int> watch = token;
      auto future = pool.submit([token = std::move(token)] { return *token; });
      future.wait();
      ASSERT_TRUE(watch.expired());
      ASSERT_EQ(pool.stats().completed, static_cast<std::uint64_t>(round));
      ASSERT_EQ(pool.stats().busy, 0U);
      ASSERT_EQ(future.get(), round);
    }
  });
}

// Rules: WP-1, HZ-5
TEST(WorkerPoolTest, MayDieTheMomentItHasWaited) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(3000); ++round) {
      auto pool = std::make_unique<WorkerPool>(weft::WorkerPoolOptions{
          .workers = static_cast<std::size_t>(round % 3 + 1), .queue = static_cast<std::size_t>(round % 4)});
      int plain = 0;
      auto future = pool->submit([&plain] { plain = 1; });
      if (round % 2 == 0) pool->close_and_wait();
      pool.reset();
      ASSERT_TRUE(future.ready());
      ASSERT_EQ(plain, 1);
    }
  });
}

/// A pool of one worker, which is busy until the gate is opened; `queued` jobs fill its queue. Each job counts in `ran`.
struct FullPool {
  explicit FullPool(std::size_t queued)
      : pool(std::make_unique<WorkerPool>(weft::WorkerPoolOptions{.workers = 1, .queue = queued})) {
    const auto has_begun = weft::make_chan<weft::Unit>();
    static_cast<void>(pool->submit([this, has_begun] {
      has_begun.close();
      gate.recv();
      ++ran;
    }));
    has_begun.recv();
    for (std::size_t i = 0; i < queued; ++i) static_cast<void>(pool->submit([this] { ++ran; }));
  }
  const weft::Chan<weft::Unit> gate = weft::make_chan<weft::Unit>();
  std::atomic<unsigned> ran{0};
  std::unique_ptr<WorkerPool> pool;
};

TEST(WorkerPoolTest, MayDieWhileThoseWhoAreRefusedAreOnTheirWayOut) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(1000); ++round) {
      FullPool full(1);
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      std::atomic<unsigned> accepted{2};
      weft::WaitGroup waiting;
      test::go_parked(waiting, [&, &inside = *full.pool] {
        const std::string panic = panic_of([&] { static_cast<void>(inside.submit([&] { ++full.ran; })); });
        if (panic.empty()) ++accepted;
        EXPECT_TRUE(panic.empty() || test::contains(panic, "the pool has been closed")) << panic;
      });
      test::go_parked(waiting, [&, &ctx = ctx, &inside = *full.pool] {
        if (inside.submit(ctx, [&] { ++full.ran; })) ++accepted;
      });
      cancel();
      full.gate.close();
      if (round % 2 == 0) full.pool->close();
      full.pool.reset();
      waiting.wait();
      ASSERT_EQ(full.ran.load(), accepted.load());
    }
  });
}

TEST(WorkerPoolTest, CancelPendingMayLeaveNothingToWaitFor) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(1000); ++round) {
      FullPool full(2);
      weft::WaitGroup group;
      group.go([&] {
        full.gate.close();
        full.pool->cancel_pending();
      });
      full.pool->wait();
      group.wait();
      const weft::WorkerPoolStats stats = full.pool->stats();
      ASSERT_EQ(stats.completed + stats.canceled, 3U);
      ASSERT_EQ(stats.completed, full.ran.load());
      ASSERT_EQ(stats.submitted, 3U);
    }
  });
}

// Rules: WP-1
TEST(WorkerPoolTest, ManySubmittersFromGoroutinesAndThreads) {
  weft::run([] {
    WorkerPool pool({.workers = 4, .queue = 3});
    std::atomic<int> sum{0};
    {
      std::vector<std::unique_ptr<test::Task>> tasks;
      for (int t = 0; t < 6; ++t) {
        tasks.push_back(std::make_unique<test::Task>(t % 3 == 0 ? test::On::kThread : test::On::kGoroutine, [&] {
          for (int i = 0; i < test::rounds(500); ++i) {
            if (pool.submit([&sum] { return ++sum; }).get() == 0) return;
          }
        }));
      }
    }
    EXPECT_EQ(sum, 6 * test::rounds(500));
    EXPECT_EQ(pool.stats().completed, static_cast<std::uint64_t>(6 * test::rounds(500)));
  });
}

TEST(WorkerPoolTest, WhatHasEndedHasBeenSubmitted) {
  weft::run([] {
    WorkerPool pool({.workers = 1, .queue = 0});
    std::atomic<bool> is_over{false};
    test::Task looking(test::On::kThread, [&] {
      while (!is_over.load()) {
        const weft::WorkerPoolStats stats = pool.stats();
        EXPECT_LE(stats.completed, stats.submitted);
      }
    });
    weft::WaitGroup submitting;
    for (int g = 0; g < 3; ++g) {
      submitting.go([&] {
        for (int i = 0; i < test::rounds(3'000); ++i) pool.submit([] {});
      });
    }
    submitting.wait();
    is_over.store(true);
  });
}

// Rules: WP-1
TEST(WorkerPoolTest, JobsMaySubmitJobs) {
  weft::run([] {
    WorkerPool pool({.workers = 2, .queue = 64});
    std::atomic<int> ran{0};
    static_cast<void>(pool.submit([&] {
      for (int i = 0; i < 10; ++i) static_cast<void>(pool.submit([&ran] { ++ran; }));
    }));
    pool.wait();
    EXPECT_EQ(ran, 10);
  });
}

// Rules: WP-5, DL-1
TEST(WorkerPoolTest, WorkersThatAllWaitForRoomAreADeadlock) {
  const auto child = test::in_child([] {
    weft::run([] {
      WorkerPool pool({.workers = 2, .queue = 1});
      const auto both = weft::make_chan<weft::Unit>();
      for (int i = 0; i < 2; ++i) {
        static_cast<void>(pool.submit([&] {
          both.recv();
          for (int j = 0; j < 4; ++j) static_cast<void>(pool.submit([] {}));
        }));
      }
      both.send({});
      both.send({});
      pool.wait();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << child.err;
}

// Rules: S-8, WP-1
TEST(WorkerPoolTest, ScenarioOfABoundedPool) {
  test::everywhere([] {
    constexpr int kWorkers = 5;
    WorkerPool pool({.workers = kWorkers, .queue = 0});
    std::atomic<int> active{0};
    std::atomic<int> peak{0};
    std::atomic<int> done{0};
    // A cyclic barrier of five: the fifth to come releases the other four.
    std::atomic<int> arrived{0};
    const auto release = weft::make_chan<weft::Unit>();
    for (int i = 0; i < 100; ++i) {
      static_cast<void>(pool.submit([&] {
        const int now = ++active;
        for (int seen = peak; now > seen && !peak.compare_exchange_weak(seen, now);) {
        }
        if (++arrived % kWorkers == 0) {
          for (int other = 1; other < kWorkers; ++other) release.send({});
        } else {
          release.recv();
        }
        --active;
        ++done;
      }));
    }
    pool.close_and_wait();
    EXPECT_EQ(std::to_string(done) + " jobs, peak " + std::to_string(peak), "100 jobs, peak 5");
  });
}

// Rules: S-50
TEST(WorkerPoolTest, ScenarioOfAHistogram) {
  test::everywhere([] {
    std::string text;
    for (std::uint64_t i = 0; i < 10'000; ++i) text += static_cast<char>('a' + (7 * i * i + 3 * i) % 26);
    using Counts = std::array<int, 26>;
    WorkerPool pool({.workers = 10, .queue = 10});
    std::vector<weft::Future<Counts>> shards;
    for (std::size_t shard = 0; shard < 10; ++shard) {
      shards.push_back(pool.submit([part = text.substr(shard * 1000, 1000)] {
        Counts counts{};
        for (const char c : part) ++counts[static_cast<std::size_t>(c - 'a')];
        return counts;
      }));
    }
    Counts total{};
    for (auto& shard : shards) {
      const Counts counts = shard.get();
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += counts[i];
    }
    std::string out;
    for (std::size_t i = 0; i < total.size(); ++i) {
      if (total[i] != 0) {
        out += (out.empty() ? "" : " ") + std::string(1, static_cast<char>('a' + i)) + std::to_string(total[i]);
      }
    }
    EXPECT_EQ(out, "a1539 c769 e1538 i1539 k1539 u1538 w1538");
  });
}

}  // namespace

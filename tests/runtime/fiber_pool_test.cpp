// FiberPool and TaskPool: what is used again, in which order, and how it gets from one processor to another.

#include "fiber_pool.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"
#include "memory_probe.hpp"
#include "task.hpp"

namespace {

using weft::detail::Chain;
using weft::detail::Depot;
using weft::detail::Fiber;
using weft::detail::FiberCache;
using weft::detail::FiberPool;
using weft::detail::kCacheLine;
using weft::detail::page_size;
using weft::detail::StackRange;
using weft::detail::Task;
using weft::detail::TaskCache;
using weft::detail::TaskPool;
namespace test = weft::test;

constexpr std::size_t kStackSize = 64 * std::size_t{1024};

/// A pool with stacks promised, as go() does before a fiber is taken.
struct Stacks {
  explicit Stacks(std::size_t promised) { pool.slabs().reserve(promised); }
  FiberPool pool{kStackSize, 2};
};

TEST(FiberPoolTest, AControlBlockSitsAtTheHotEndOfItsStack) {
  Stacks stacks(100);
  FiberCache cache;
  std::set<std::uintptr_t> offsets;
  for (int i = 0; i < 64; ++i) {
    Fiber* fiber = stacks.pool.get(cache);
    ASSERT_NE(fiber, nullptr);
    const StackRange stack = fiber->state.stack;
    EXPECT_GE(fiber->hot_end(), stack.low);
    EXPECT_LE(fiber->hot_end() + sizeof(Fiber), stack.top());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(fiber) % kCacheLine, 0U);
    EXPECT_GT(fiber->hot_end() + page_size(), stack.top()) << "a parked goroutine costs more than a page";
    offsets.insert(reinterpret_cast<std::uintptr_t>(stack.top()) - reinterpret_cast<std::uintptr_t>(fiber));
  }
  EXPECT_GE(offsets.size(), 16U) << "all control blocks fall on the same cache sets";
}

TEST(FiberPoolTest, TheStackThatWasUsedLastIsUsedNext) {
  Stacks stacks(100);
  FiberCache cache;
  Fiber* first = stacks.pool.get(cache);
  Fiber* second = stacks.pool.get(cache);
  EXPECT_NE(first, second);
  stacks.pool.put(first, cache);
  stacks.pool.put(second, cache);
  EXPECT_EQ(stacks.pool.get(cache), second);
  EXPECT_EQ(stacks.pool.get(cache), first);
  for (int i = 0; i < 1'000; ++i) {
    stacks.pool.put(first, cache);
    ASSERT_EQ(stacks.pool.get(cache), first);
  }
}

TEST(FiberPoolTest, WhatOneProcessorHasTooMuchAnotherOneGets) {
  constexpr std::size_t kFibers = 200;
  Stacks stacks(kFibers);
  FiberCache here;
  FiberCache there;
  std::set<Fiber*> fibers;
  for (std::size_t i = 0; i < kFibers; ++i) fibers.insert(stacks.pool.get(here));
  ASSERT_EQ(fibers.size(), kFibers) << "a stack was handed out twice";
  for (Fiber* fiber : fibers) stacks.pool.put(fiber, here);

  // All but what the two chains of a cache hold has gone to the depot. There it is found before anything new is carved.
  std::set<Fiber*> found;
  std::size_t recycled = 0;
  for (std::size_t i = 0; i < kFibers - 64; ++i) {
    Fiber* fiber = stacks.pool.get(there);
    recycled += fibers.count(fiber);
    EXPECT_TRUE(found.insert(fiber).second) << "a stack was handed out twice";
  }
  EXPECT_GE(recycled, kFibers - 96);
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_TRUE(found.insert(stacks.pool.get(here)).second) << "a stack was handed out twice";
  }
}

TEST(FiberPoolTest, AFlushedCacheLeavesAllToOthers) {
  Stacks stacks(48);  // three times what is carved at once, so that none is left over
  FiberCache here;
  FiberCache there;
  std::set<Fiber*> fibers;
  for (int i = 0; i < 48; ++i) fibers.insert(stacks.pool.get(here));
  for (Fiber* fiber : fibers) stacks.pool.put(fiber, here);
  stacks.pool.flush(here);
  for (int i = 0; i < 48; ++i) EXPECT_EQ(fibers.count(stacks.pool.get(there)), 1U);
}

TEST(FiberPoolTest, AGetAndAPutAtTheEdgeOfAChainDoNotVisitTheDepot) {
  // Seen by the pages: what has gone to the depot is released.
  Stacks stacks(100);
  FiberCache cache;
  std::vector<Fiber*> fibers;
  for (int i = 0; i < 32; ++i) fibers.push_back(stacks.pool.get(cache));  // a whole chain
  for (Fiber* fiber : fibers) std::memset(fiber->state.stack.low, 1, kStackSize / 4);
  for (Fiber* fiber : fibers) stacks.pool.put(fiber, cache);
  for (int i = 0; i < 100; ++i) {
    Fiber* fiber = stacks.pool.get(cache);
    EXPECT_EQ(fiber, fibers.back());
    stacks.pool.put(fiber, cache);
  }
  EXPECT_FALSE(stacks.pool.release_cold());
  for (Fiber* fiber : fibers) EXPECT_EQ(test::resident_bytes(fiber->state.stack.low, page_size()), page_size());
}

/// How many of them have no page at the far end.
std::size_t released(const std::vector<Fiber*>& fibers) {
  std::size_t count = 0;
  for (const Fiber* fiber : fibers) count += test::resident_bytes(fiber->state.stack.low, page_size()) == 0 ? 1 : 0;
  return count;
}

/// Takes so many out of a cache, which all run deep, and puts them back.
std::vector<Fiber*> run_deep(FiberPool& pool, FiberCache& cache, std::size_t count, std::size_t pages = 1) {
  std::vector<Fiber*> fibers;
  for (std::size_t i = 0; i < count; ++i) fibers.push_back(pool.get(cache));
  for (Fiber* fiber : fibers) std::memset(fiber->state.stack.low, 1, pages * page_size());
  for (Fiber* fiber : fibers) pool.put(fiber, cache);
  return fibers;
}

TEST(FiberPoolTest, StacksThatLeaveTheCacheKeepTheirPagesUntilThereIsTimeToGiveThemBack) {
  Stacks stacks(200);
  FiberCache cache;
  const std::vector<Fiber*> fibers = run_deep(stacks.pool, cache, 128);
  EXPECT_EQ(released(fibers), 0U);
  while (stacks.pool.release_cold()) {
  }
  EXPECT_GE(released(fibers), 64U);  // all but the cache's
  EXPECT_LE(released(fibers), 96U);
}

TEST(FiberPoolTest, ThoseWithPagesAreUsedAgainFirst) {
  Stacks stacks(300);
  FiberCache cache;
  const std::vector<Fiber*> fibers = run_deep(stacks.pool, cache, 192);
  ASSERT_TRUE(stacks.pool.release_cold());  // 32 of some 128 in the depot
  const std::size_t before = released(fibers);
  ASSERT_GE(before, 32U);
  std::size_t taken_released = 0;
  for (int i = 0; i < 150; ++i) {
    const Fiber* fiber = stacks.pool.get(cache);
    taken_released += test::resident_bytes(fiber->state.stack.low, page_size()) == 0 ? 1 : 0;
  }
  EXPECT_EQ(taken_released, 0U);
}

TEST(FiberPoolTest, NoMoreThanSomeHundredStacksLieAboutWithColdPages) {
  constexpr std::size_t kFibers = 2'000;
  Stacks stacks(kFibers);
  FiberCache cache;
  EXPECT_GE(released(run_deep(stacks.pool, cache, kFibers)), kFibers - 400);
}

/// Takes so many out of a cache, of which none runs deep, and puts them back.
void run_shallow(FiberPool& pool, FiberCache& cache, std::size_t count) {
  std::vector<Fiber*> fibers;
  for (std::size_t i = 0; i < count; ++i) fibers.push_back(pool.get(cache));
  for (Fiber* fiber : fibers) pool.put(fiber, cache);
}

TEST(FiberPoolTest, WhatHasNoColdPagesIsNotLookedThrough) {
  if (weft::detail::kAsan || weft::detail::kTsan) GTEST_SKIP() << "a sanitizer's shadow has page faults of its own";
  Stacks stacks(8'000);
  FiberCache cache;
  run_shallow(stacks.pool, cache, 8'000);
  int chains = 0;
  while (stacks.pool.release_cold()) ++chains;
  EXPECT_LT(chains, 25) << "of 248";
}

TEST(FiberPoolTest, DeepOnesAreFoundBehindShallowOnes) {
  constexpr std::size_t kShallow = 3'000;
  constexpr std::size_t kDeep = 600;
  Stacks stacks(kShallow + kDeep);
  FiberCache cache;
  std::vector<Fiber*> deep;
  for (std::size_t i = 0; i < kDeep; ++i) deep.push_back(stacks.pool.get(cache));
  run_shallow(stacks.pool, cache, kShallow);
  for (Fiber* fiber : deep) std::memset(fiber->state.stack.low, 1, 8 * page_size());
  for (Fiber* fiber : deep) stacks.pool.put(fiber, cache);
  while (stacks.pool.release_cold()) {
  }
  EXPECT_GE(released(deep), kDeep - 64);  // all but the cache's
  // What has run on a stack whose pages were released is found again.
  for (int round = 0; round < 3; ++round) {
    const std::vector<Fiber*> again = run_deep(stacks.pool, cache, kDeep, 8);
    while (stacks.pool.release_cold()) {
    }
    EXPECT_GE(released(again), kDeep - 96) << round;
  }
}

TEST(FiberPoolTest, NorDoesOneThreadThatReleasesLetOthersPileThemUp) {
  constexpr std::size_t kEach = 6'000;
  Stacks stacks(2 * kEach + 128);
  std::vector<Fiber*> of_both[2];
  std::vector<std::thread> threads;
  for (auto& fibers : of_both) {
    threads.emplace_back([&] {
      FiberCache cache;
      fibers = run_deep(stacks.pool, cache, kEach);
      stacks.pool.flush(cache);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(released(of_both[0]) + released(of_both[1]), 2 * kEach - 4'500);  // 4,096 in chains, 64 in each cache
}

TEST(FiberPoolTest, OfManyThreadsThatReleaseNoneLosesOrDoublesAStack) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kEach = 150;
  Stacks stacks(kThreads * kEach + kThreads * 64);
  std::mutex mutex;
  std::set<Fiber*> in_use;
  std::vector<std::thread> threads;
  for (std::size_t n = 0; n < kThreads; ++n) {
    threads.emplace_back([&] {
      FiberCache cache;
      for (int round = 0; round < test::rounds(200); ++round) {
        std::vector<Fiber*> mine;
        for (std::size_t i = 0; i < kEach; ++i) mine.push_back(stacks.pool.get(cache));
        {
          const std::lock_guard guard(mutex);
          for (Fiber* fiber : mine) EXPECT_TRUE(in_use.insert(fiber).second);
        }
        // Nobody releases pages of a stack that is in use.
        for (Fiber* fiber : mine) *fiber->state.stack.low = std::byte{42};
        for (int i = 0; i < 3; ++i) static_cast<void>(stacks.pool.release_cold());
        for (Fiber* fiber : mine) EXPECT_EQ(*fiber->state.stack.low, std::byte{42});
        {
          const std::lock_guard guard(mutex);
          for (Fiber* fiber : mine) in_use.erase(fiber);
        }
        for (Fiber* fiber : mine) stacks.pool.put(fiber, cache);
      }
      stacks.pool.flush(cache);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(FiberPoolTest, SingleStacksAreUsedAgainForTheSameSize) {
  Stacks stacks(1);
  const StackRange small = stacks.pool.get_single(100'000);
  const StackRange large = stacks.pool.get_single(1'000'000);
  EXPECT_GE(small.size, 100'000U);
  EXPECT_GE(large.size, 1'000'000U);
  std::memset(large.low, 1, large.size);
  stacks.pool.put_single(small);
  stacks.pool.put_single(large);
  EXPECT_EQ(test::resident_bytes(large.low, large.size), 0U);
  const StackRange other = stacks.pool.get_single(500'000);
  EXPECT_NE(other.low, small.low);
  EXPECT_NE(other.low, large.low);
  EXPECT_EQ(stacks.pool.get_single(1'000'000).low, large.low);
  EXPECT_EQ(stacks.pool.get_single(100'000).low, small.low);
  for (const StackRange stack : {small, large, other}) stacks.pool.put_single(stack);
}

// Rules: I1
TEST(FiberPoolTest, ProcessorsThatExchangeThroughTheDepotNeverShareAStack) {
  // Each thread is a processor. Its mark on a stack it holds must not be overwritten.
  constexpr std::size_t kMost = 150;
  constexpr unsigned kThreads = 3;
  const int laps = test::rounds(2'000);
  Stacks stacks(kMost * kThreads);
  std::vector<std::thread> threads;
  FiberCache caches[kThreads];
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      test::Lcg random(t);
      std::vector<Fiber*> held;
      for (int lap = 0; lap < laps; ++lap) {
        const std::size_t wanted = random.below(kMost);
        while (held.size() < wanted) {
          Fiber* fiber = stacks.pool.get(caches[t]);
          fiber->chaos_moves = static_cast<std::uint16_t>(t + 1);
          held.push_back(fiber);
        }
        while (held.size() > wanted) {
          if (held.back()->chaos_moves != t + 1) ADD_FAILURE() << "two processors have the same stack";
          held.back()->chaos_moves = 0;
          stacks.pool.put(held.back(), caches[t]);
          held.pop_back();
        }
      }
      for (Fiber* fiber : held) stacks.pool.put(fiber, caches[t]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Fiber*> all;
  for (FiberCache& cache : caches) stacks.pool.flush(cache);
  for (std::size_t i = 0; i < kMost * kThreads; ++i) {
    ASSERT_TRUE(all.insert(stacks.pool.get(caches[0])).second) << "a stack is in the pool twice";
  }
}

TEST(TaskPoolTest, RecordsAreUsedAgainNewestFirstAndListedWhileInUse) {
  TaskPool pool;
  TaskCache cache;
  Task* first = pool.get(cache);
  Task* second = pool.get(cache);
  first->id.store(7);
  second->id.store(8);
  std::set<std::uint64_t> ids;
  pool.for_each([&](Task& task) { ids.insert(task.id.load()); });
  EXPECT_EQ(ids, (std::set<std::uint64_t>{7, 8}));
  first->id.store(0);
  pool.put(first, cache);
  ids.clear();
  pool.for_each([&](Task& task) { ids.insert(task.id.load()); });
  EXPECT_EQ(ids, (std::set<std::uint64_t>{8}));
  EXPECT_EQ(pool.get(cache), first);
  second->id.store(0);
}

TEST(TaskPoolTest, RecordsThatOneProcessorFreesAreNotAllocatedAgainByAnother) {
  constexpr std::size_t kTasks = 1'024;  // a multiple of what is allocated at once
  TaskPool pool;
  TaskCache maker;
  TaskCache ender;
  std::set<Task*> tasks;
  for (std::size_t i = 0; i < kTasks; ++i) tasks.insert(pool.get(maker));
  ASSERT_EQ(tasks.size(), kTasks);
  for (Task* task : tasks) pool.put(task, ender);
  const auto before = test::allocations();
  // What is in the ender's own two chains stays there.
  for (std::size_t i = 0; i < kTasks - 128; ++i) EXPECT_EQ(tasks.count(pool.get(maker)), 1U);
  EXPECT_EQ(test::allocations(), before);
}

}  // namespace

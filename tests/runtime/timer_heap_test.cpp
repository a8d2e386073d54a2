// TimerHeap: order, removal from the middle, who wins when a deadline meets another outcome.

#include "timer_heap.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"

namespace {

using weft::detail::Claim;
using weft::detail::kForever;
using weft::detail::SleeperHandle;
using weft::detail::TimerHeap;
using weft::detail::TimerNode;
namespace test = weft::test;

/// A timer whose sleeper is a number that comes back when it expires.
struct Timer {
  explicit Timer(std::size_t number) { node.sleeper = SleeperHandle(number + 1); }
  TimerNode node;
  Claim claim;
  void use_claim(std::uint32_t id = 1) {
    node.claim = &claim;
    node.claim_id = id;
  }
};

std::size_t number_of(SleeperHandle sleeper) { return static_cast<std::size_t>(sleeper.bits()) - 1; }

std::vector<std::size_t> expired(TimerHeap& heap, std::int64_t now, std::size_t capacity = 100) {
  std::vector<TimerHeap::Expired> out(capacity);
  std::vector<std::size_t> numbers;
  const std::size_t n = heap.run_expired(now, out.data(), capacity);
  for (std::size_t i = 0; i < n; ++i) numbers.push_back(number_of(out[i].sleeper));
  return numbers;
}

using Numbers = std::vector<std::size_t>;

// Rules: TM-20
TEST(TimerHeapTest, ExpiresInTheOrderOfDeadlinesAndNotBeforeThem) {
  TimerHeap heap;
  EXPECT_EQ(heap.next_deadline(), kForever);
  EXPECT_EQ(expired(heap, kForever - 1), Numbers());
  std::vector<std::unique_ptr<Timer>> timers;
  const std::int64_t whens[] = {50, 10, 40, 20, 30, 10};
  for (std::size_t i = 0; i < 6; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    heap.add(timers[i]->node, whens[i]);
  }
  EXPECT_EQ(heap.size(), 6U);
  EXPECT_EQ(heap.next_deadline(), 10);
  EXPECT_EQ(expired(heap, 9), Numbers());
  EXPECT_EQ(expired(heap, 10).size(), 2U);  // 1 and 5, in either order
  EXPECT_EQ(heap.next_deadline(), 20);
  EXPECT_EQ(expired(heap, 40), (Numbers{3, 4, 2}));
  EXPECT_EQ(heap.next_deadline(), 50);
  EXPECT_EQ(expired(heap, 1'000), (Numbers{0}));
  EXPECT_EQ(heap.next_deadline(), kForever);
  EXPECT_EQ(heap.size(), 0U);
}

TEST(TimerHeapTest, HandsOutNoMoreThanFitAndKeepsTheRest) {
  TimerHeap heap;
  std::vector<std::unique_ptr<Timer>> timers;
  for (std::size_t i = 0; i < 10; ++i) {
    timers.push_back(std::make_unique<Timer>(i));
    heap.add(timers[i]->node, static_cast<std::int64_t>(i));
  }
  EXPECT_EQ(expired(heap, 100, 3), (Numbers{0, 1, 2}));
  EXPECT_EQ(heap.next_deadline(), 3);
  EXPECT_EQ(expired(heap, 100, 7), (Numbers{3, 4, 5, 6, 7, 8, 9}));
}

TEST(TimerHeapTest, ARemovedTimerDoesNotExpireAndRemovalSaysWhoWasFirst) {
  // From every position of a heap of every small size.
  for (std::size_t size = 1; size <= 24; ++size) {
    for (std::size_t removed = 0; removed < size; ++removed) {
      TimerHeap heap;
      std::vector<std::unique_ptr<Timer>> timers;
      for (std::size_t i = 0; i < size; ++i) {
        timers.push_back(std::make_unique<Timer>(i));
        heap.add(timers[i]->node, static_cast<std::int64_t>((i * 7) % size));
      }
      EXPECT_TRUE(TimerHeap::remove(timers[removed]->node));
      EXPECT_FALSE(TimerHeap::remove(timers[removed]->node));
      std::int64_t last = -1;
      const Numbers rest = expired(heap, 1'000);
      EXPECT_EQ(rest.size(), size - 1);
      for (const std::size_t number : rest) {
        EXPECT_NE(number, removed);
        const auto when = static_cast<std::int64_t>((number * 7) % size);
        EXPECT_GE(when, last);
        last = when;
        EXPECT_FALSE(TimerHeap::remove(timers[number]->node));
      }
    }
  }
}

TEST(TimerHeapTest, ATimerThatWasNeverAddedIsNotThere) {
  Timer timer(0);
  EXPECT_FALSE(TimerHeap::remove(timer.node));
}

TEST(TimerHeapTest, ANodeMayBeAddedAgain) {
  TimerHeap first;
  TimerHeap second;
  Timer timer(3);
  first.add(timer.node, 5);
  EXPECT_TRUE(TimerHeap::remove(timer.node));
  second.add(timer.node, 6);
  EXPECT_EQ(first.next_deadline(), kForever);
  EXPECT_EQ(second.next_deadline(), 6);
  EXPECT_EQ(expired(second, 6), (Numbers{3}));
  first.add(timer.node, 7);
  EXPECT_EQ(expired(first, 7), (Numbers{3}));
}

// Rules: I4
TEST(TimerHeapTest, ADeadlineThatLosesTheClaimWakesNobody) {
  TimerHeap heap;
  Timer lost(0);
  Timer won(1);
  lost.use_claim(2);
  won.use_claim(2);
  heap.add(lost.node, 1);
  heap.add(won.node, 1);
  ASSERT_TRUE(lost.claim.try_win(1));  // a value came first
  EXPECT_EQ(expired(heap, 1), (Numbers{1}));
  EXPECT_EQ(lost.claim.winner(), 1U);
  EXPECT_EQ(won.claim.winner(), 2U);
  EXPECT_FALSE(won.claim.try_win(1));
  EXPECT_FALSE(TimerHeap::remove(lost.node));
  EXPECT_EQ(heap.size(), 0U);
}

TEST(TimerHeapTest, BehavesAsASortedMapOverRandomOperations) {
  constexpr std::size_t kTimers = 300;
  for (std::uint64_t seed = 0; seed < test::rounds(40U); ++seed) {
    test::Lcg random(seed);
    TimerHeap heap;
    std::multimap<std::int64_t, std::size_t> model;
    std::vector<std::unique_ptr<Timer>> timers;
    std::vector<std::optional<std::int64_t>> when(kTimers);
    for (std::size_t i = 0; i < kTimers; ++i) timers.push_back(std::make_unique<Timer>(i));
    const auto forget = [&](std::size_t i) {
      auto range = model.equal_range(*when[i]);
      while (range.first->second != i) ++range.first;
      model.erase(range.first);
      when[i].reset();
    };
    std::int64_t now = 0;
    for (int step = 0; step < 3'000; ++step) {
      const auto i = static_cast<std::size_t>(random.below(kTimers));
      if (when[i].has_value()) {
        ASSERT_TRUE(TimerHeap::remove(timers[i]->node));
        forget(i);
      } else {
        when[i] = now + static_cast<std::int64_t>(random.below(random.below(2) == 0 ? 20 : 2'000)) - 5;
        heap.add(timers[i]->node, *when[i]);
        model.emplace(*when[i], i);
      }
      ASSERT_EQ(heap.next_deadline(), model.empty() ? kForever : model.begin()->first);
      if (random.below(8) == 0) {
        now += static_cast<std::int64_t>(random.below(60));
        const std::size_t capacity = 1 + random.below(40);
        const Numbers got = expired(heap, now, capacity);
        for (const std::size_t number : got) {
          ASSERT_TRUE(when[number].has_value());
          ASSERT_EQ(*when[number], model.begin()->first);  // nothing earlier was left behind
          forget(number);
        }
        ASSERT_TRUE(got.size() == capacity || model.empty() || model.begin()->first > now);
      }
      ASSERT_EQ(heap.size(), model.size());
    }
  }
}

// Rules: I4
TEST(TimerHeapTest, EachTimerEndsOnceWhoeverRemovesOrExpiresIt) {
  // Owners arm timers and withdraw them at once, or let them expire; two sweepers run meanwhile. A node whose removal
  // came too late is used again only when a sweeper has handed its sleeper out.
  constexpr std::size_t kOwners = 2;
  constexpr std::size_t kEach = 16;
  const int laps = test::rounds(2'000);
  TimerHeap heap;
  std::vector<std::unique_ptr<Timer>> timers;
  std::vector<std::atomic<int>> fired(kOwners * kEach);
  for (std::size_t i = 0; i < kOwners * kEach; ++i) timers.push_back(std::make_unique<Timer>(i));
  std::atomic<std::int64_t> now{1'000};
  std::atomic<std::size_t> owners{kOwners};

  const auto own = [&](std::size_t first) {
    test::Lcg random(first);
    for (int lap = 0; lap < laps; ++lap) {
      for (std::size_t i = first; i < first + kEach; ++i) {
        fired[i].store(0, std::memory_order_relaxed);
        heap.add(timers[i]->node, now.load(std::memory_order_relaxed) + static_cast<std::int64_t>(random.below(40)));
      }
      for (std::size_t i = first; i < first + kEach; ++i) {
        const bool removed = TimerHeap::remove(timers[i]->node);
        while (!removed && fired[i].load(std::memory_order_acquire) == 0) std::this_thread::yield();
        if (fired[i].load(std::memory_order_acquire) != (removed ? 0 : 1))
          ADD_FAILURE() << "timer " << i << " ended twice";
      }
    }
    owners.fetch_sub(1);
  };
  const auto sweep = [&] {
    TimerHeap::Expired due[5];
    while (owners.load() != 0) {
      const std::int64_t time = now.fetch_add(7, std::memory_order_relaxed);
      if (heap.next_deadline() > time) continue;
      const std::size_t n = heap.run_expired(time, due, 5);
      for (std::size_t i = 0; i < n; ++i) fired[number_of(due[i].sleeper)].fetch_add(1, std::memory_order_release);
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t o = 0; o < kOwners; ++o) threads.emplace_back(own, o * kEach);
  threads.emplace_back(sweep);
  threads.emplace_back(sweep);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(heap.size(), 0U);
}

// Rules: I4
TEST(TimerHeapTest, DeadlineAndValueNeverBothWin) {
  const int laps = test::rounds(20'000);
  TimerHeap heap;
  std::atomic<Timer*> offered{nullptr};
  std::atomic<std::uint64_t> by_value{0};
  std::uint64_t by_timeout = 0;
  std::thread peer([&] {
    for (int lap = 0; lap < laps;) {
      Timer* timer = offered.exchange(nullptr, std::memory_order_acquire);
      if (timer == nullptr) {
        std::this_thread::yield();
        continue;
      }
      if (timer->claim.try_win(1)) by_value.fetch_add(1);
      ++lap;
    }
  });
  std::vector<std::unique_ptr<Timer>> timers;
  for (int lap = 0; lap < laps; ++lap) {
    timers.push_back(std::make_unique<Timer>(static_cast<std::size_t>(lap)));
    Timer& timer = *timers.back();
    timer.use_claim(2);
    heap.add(timer.node, lap);
    offered.store(&timer, std::memory_order_release);
    if (lap % 2 == 0) std::this_thread::yield();
    by_timeout += expired(heap, lap).size();
    while (offered.load(std::memory_order_relaxed) != nullptr) std::this_thread::yield();
  }
  peer.join();
  EXPECT_EQ(by_value.load() + by_timeout, static_cast<std::uint64_t>(laps));
}

}  // namespace

// RunQueue and NextSlot: order, limits, and that under theft every item comes out exactly once.

#include "run_queue.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"
#include "queue_attack.hpp"

namespace {

using weft::detail::NextSlot;
using weft::detail::Runnable;
using weft::detail::RunQueue;
namespace test = weft::test;

constexpr std::uint32_t kCapacity = RunQueue::kCapacity;

/// Moves head and tail of an empty queue on by `steps`.
void advance(RunQueue& queue, std::uint32_t steps, test::Item& item) {
  for (std::uint32_t i = 0; i < steps; ++i) {
    ASSERT_TRUE(queue.push(&item));
    ASSERT_EQ(queue.pop(), &item);
  }
}

// Rules: SCH-10
TEST(RunQueueTest, OwnerGetsItemsInTheOrderOfTheirPush) {
  RunQueue queue;
  test::Item items[5];
  EXPECT_EQ(queue.pop(), nullptr);
  for (test::Item& item : items) ASSERT_TRUE(queue.push(&item));
  EXPECT_EQ(queue.size(), 5U);
  for (test::Item& item : items) EXPECT_EQ(queue.pop(), &item);
  EXPECT_EQ(queue.pop(), nullptr);
  EXPECT_EQ(queue.size(), 0U);
}

// Rules: SCH-10
TEST(RunQueueTest, AFullQueueRefusesAndLosesNothingWhereverItsRingBegins) {
  std::vector<test::Item> items(kCapacity);
  test::Item extra;
  for (const std::uint32_t start : {0U, 1U, 100U, kCapacity - 1, kCapacity, 3 * kCapacity + 7}) {
    RunQueue queue;
    advance(queue, start, extra);
    for (test::Item& item : items) ASSERT_TRUE(queue.push(&item));
    EXPECT_FALSE(queue.push(&extra));
    EXPECT_EQ(queue.size(), kCapacity);
    EXPECT_EQ(queue.pop(), items.data());
    EXPECT_TRUE(queue.push(&extra));  // one out, one in
    EXPECT_FALSE(queue.push(&extra));
    for (std::size_t i = 1; i < items.size(); ++i) ASSERT_EQ(queue.pop(), &items[i]);
    EXPECT_EQ(queue.pop(), &extra);
    EXPECT_EQ(queue.pop(), nullptr);
  }
}

// Rules: SCH-12
TEST(RunQueueTest, AThiefTakesTheOlderHalfRoundedUpInOrder) {
  test::Item items[kCapacity];
  for (std::uint32_t full = 0; full <= kCapacity; full += full < 8 ? 1 : 31) {
    RunQueue queue;
    advance(queue, full / 3, items[0]);
    for (std::uint32_t i = 0; i < full; ++i) ASSERT_TRUE(queue.push(&items[i]));
    Runnable* stolen[kCapacity];
    const std::uint32_t n = queue.steal(stolen, kCapacity);
    EXPECT_EQ(n, (full + 1) / 2);
    for (std::uint32_t i = 0; i < n; ++i) EXPECT_EQ(stolen[i], &items[i]);
    for (std::uint32_t i = n; i < full; ++i) EXPECT_EQ(queue.pop(), &items[i]);
    EXPECT_EQ(queue.pop(), nullptr);
  }
}

// Rules: SCH-12
TEST(RunQueueTest, AThiefTakesNoMoreThanItHasRoomFor) {
  RunQueue queue;
  test::Item items[10];
  for (test::Item& item : items) ASSERT_TRUE(queue.push(&item));
  Runnable* stolen[3];
  EXPECT_EQ(queue.steal(stolen, 3), 3U);
  EXPECT_EQ(stolen[2], &items[2]);
  EXPECT_EQ(queue.pop(), &items[3]);
}

// Rules: I1, SCH-12
TEST(RunQueueTest, EveryItemIsTakenOnceByOwnerOrThief) {
  for (int thieves = 1; thieves <= 3; ++thieves) {
    for (std::uint64_t round = 0; round < test::rounds(20U); ++round) {
      RunQueue queue;
      test::attack(
          thieves, 2'000, round, [&](Runnable* r) { return queue.push(r); }, [&] { return queue.pop(); },
          [&](auto take) {
            Runnable* stolen[kCapacity / 2];
            const std::uint32_t n = queue.steal(stolen, kCapacity / 2);
            for (std::uint32_t i = 0; i < n; ++i) take(stolen[i]);
          });
      if (HasFatalFailure()) return;
    }
  }
}

// Rules: I1, SCH-10
TEST(NextSlotTest, HoldsOneAndHandsOutWhomItKicks) {
  NextSlot slot;
  test::Item first;
  test::Item second;
  EXPECT_TRUE(slot.empty());
  EXPECT_EQ(slot.take(), nullptr);
  EXPECT_EQ(slot.put(&first), nullptr);
  EXPECT_FALSE(slot.empty());
  EXPECT_EQ(slot.put(&second), &first);
  EXPECT_EQ(slot.take(), &second);
  EXPECT_EQ(slot.steal(), nullptr);
  EXPECT_EQ(slot.put(&first), nullptr);
  EXPECT_EQ(slot.steal(), &first);
  EXPECT_EQ(slot.steal(), nullptr);
  EXPECT_EQ(slot.put(&second), nullptr);
  EXPECT_EQ(slot.take(), &second);
  EXPECT_EQ(slot.take(), nullptr);
  EXPECT_TRUE(slot.empty());
}

// Rules: I1
TEST(NextSlotTest, EveryItemIsTakenOnceByOwnerOrThief) {
  for (int thieves = 1; thieves <= 3; ++thieves) {
    for (std::uint64_t round = 0; round < test::rounds(20U); ++round) {
      NextSlot slot;
      Runnable* kicked = nullptr;  // one that was kicked out is the owner's
      test::attack(
          thieves, 2'000, round,
          [&](Runnable* r) {
            if (kicked != nullptr) return false;
            kicked = slot.put(r);
            return true;
          },
          [&] {
            Runnable* mine = kicked != nullptr ? kicked : slot.take();
            kicked = nullptr;
            return mine;
          },
          [&](auto take) {
            if (Runnable* r = slot.steal()) take(r);
          });
      if (HasFatalFailure()) return;
    }
  }
}

// Rules: I1
TEST(NextSlotTest, WithoutMembarrierToo) {
  test::expect_pass_without_membarrier("NextSlotTest.EveryItemIsTakenOnceByOwnerOrThief");
}

}  // namespace

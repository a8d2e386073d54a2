// FreshDeque: newest first for its owner, oldest first for thieves, and every item exactly once.

#include "fresh_deque.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"
#include "queue_attack.hpp"

namespace {

using weft::detail::FreshDeque;
using weft::detail::Runnable;
namespace test = weft::test;

constexpr auto kCapacity = static_cast<std::size_t>(FreshDeque::kCapacity);

TEST(FreshDequeTest, OwnerGetsTheNewestThievesTheOldest) {
  FreshDeque deque;
  test::Item items[6];
  EXPECT_EQ(deque.pop(), nullptr);
  EXPECT_EQ(deque.take_oldest(), nullptr);
  for (test::Item& item : items) ASSERT_TRUE(deque.push(&item));
  EXPECT_EQ(deque.size(), 6);
  EXPECT_EQ(deque.pop(), &items[5]);
  EXPECT_EQ(deque.take_oldest(), &items[0]);
  EXPECT_EQ(deque.pop(), &items[4]);
  EXPECT_EQ(deque.take_oldest(), &items[1]);
  EXPECT_EQ(deque.size(), 2);
  EXPECT_EQ(deque.take_oldest(), &items[2]);
  EXPECT_EQ(deque.pop(), &items[3]);  // the last one
  EXPECT_EQ(deque.pop(), nullptr);
  EXPECT_EQ(deque.take_oldest(), nullptr);
  EXPECT_EQ(deque.size(), 0);
}

TEST(FreshDequeTest, ManyAreTakenOldestFirst) {
  FreshDeque deque;
  test::Item items[10];
  std::array<Runnable*, 20> out{};
  EXPECT_EQ(deque.take_oldest(out.data(), 4), 0U);
  for (test::Item& item : items) ASSERT_TRUE(deque.push(&item));
  ASSERT_EQ(deque.take_oldest(out.data(), 4), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i], &items[i]);
  EXPECT_EQ(deque.pop(), &items[9]);
  ASSERT_EQ(deque.take_oldest(out.data(), out.size()), 5U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(out[i], &items[4 + i]);
  EXPECT_EQ(deque.pop(), nullptr);
}

TEST(FreshDequeTest, EmptyAgainItWorksAsBefore) {
  FreshDeque deque;
  test::Item item;
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_TRUE(deque.push(&item));
    ASSERT_EQ(i % 2 == 0 ? deque.pop() : deque.take_oldest(), &item);
    ASSERT_EQ(deque.pop(), nullptr);
    ASSERT_EQ(deque.take_oldest(), nullptr);
  }
}

// Rules: SCH-10
TEST(FreshDequeTest, AFullDequeRefusesAndLosesNothingWhereverItsRingBegins) {
  std::vector<test::Item> items(kCapacity);
  test::Item extra;
  for (const std::size_t start : {std::size_t{0}, std::size_t{1}, kCapacity - 1, kCapacity, 2 * kCapacity + 77}) {
    FreshDeque deque;
    for (std::size_t i = 0; i < start; ++i) {  // only take_oldest() moves the beginning
      ASSERT_TRUE(deque.push(&extra));
      ASSERT_EQ(deque.take_oldest(), &extra);
    }
    for (test::Item& item : items) ASSERT_TRUE(deque.push(&item));
    EXPECT_FALSE(deque.push(&extra));
    EXPECT_EQ(deque.take_oldest(), items.data());
    EXPECT_TRUE(deque.push(&extra));
    EXPECT_FALSE(deque.push(&extra));
    EXPECT_EQ(deque.pop(), &extra);
    for (std::size_t i = items.size() - 1; i > 0; --i) ASSERT_EQ(deque.pop(), &items[i]);
    EXPECT_EQ(deque.pop(), nullptr);
  }
}

// Rules: I1
TEST(FreshDequeTest, EveryItemIsTakenOnceByOwnerOrThief) {
  for (int thieves = 1; thieves <= 3; ++thieves) {
    for (std::uint64_t round = 0; round < test::rounds(20U); ++round) {
      FreshDeque deque;
      test::attack(
          thieves, 2'000, round, [&](Runnable* r) { return deque.push(r); },
          // Now and then the owner takes the oldest too: one for fairness, many when it makes room.
          [&, turn = 0, batch = std::array<Runnable*, 7>(), left = std::size_t{0}]() mutable {
            ++turn;
            if (left == 0 && turn % 11 == 0) left = deque.take_oldest(batch.data(), batch.size());
            if (left != 0) return batch[--left];
            return turn % 5 == 0 ? deque.take_oldest() : deque.pop();
          },
          [&](auto take) {
            if (Runnable* r = deque.take_oldest()) take(r);
          });
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace

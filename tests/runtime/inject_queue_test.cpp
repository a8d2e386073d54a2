// InjectQueue: order for each producer, sizes, and that nothing is lost or doubled among many producers and consumers.

#include "inject_queue.hpp"

#include <algorithm>
#include <cstddef>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"
#include "queue_attack.hpp"

namespace {

using weft::detail::InjectQueue;
using weft::detail::Runnable;
namespace test = weft::test;

TEST(InjectQueueTest, OneProducersItemsComeOutInOrder) {
  InjectQueue queue(2);
  test::Items items(1'000);
  Runnable* out[100];
  EXPECT_EQ(queue.pop(0, out, 100), 0U);
  for (std::size_t i = 0; i < items.count(); i += 10) {
    Runnable* batch[10];
    for (std::size_t j = 0; j < 10; ++j) batch[j] = items.make(i + j);
    queue.push(0, batch, 10);
  }
  EXPECT_EQ(queue.size(), 1'000U);
  std::size_t next = 0;
  while (const std::size_t n = queue.pop(1, out, 7)) {
    EXPECT_LE(n, 7U);
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_EQ(static_cast<test::Item*>(out[i])->number, ++next);
      items.take(out[i]);
    }
  }
  EXPECT_EQ(queue.size(), 0U);
  items.expect_all_taken_once();
}

TEST(InjectQueueTest, AnyConsumerFindsWhatAnyProducerOrOutsiderLeft) {
  InjectQueue queue(3);
  test::Items items(4);
  for (unsigned producer = 0; producer < 3; ++producer) {
    Runnable* item = items.make(producer);
    queue.push(producer, &item, 1);
  }
  queue.push_foreign(items.make(3));
  EXPECT_EQ(queue.size(), 4U);
  Runnable* out[1];
  while (queue.pop(2, out, 1) == 1) items.take(out[0]);
  EXPECT_EQ(queue.size(), 0U);
  items.expect_all_taken_once();
}

// Broken to check it: with the queue's own quota the one that waits is passed 256 times.
// Rules: SCH-7
TEST(InjectQueueTest, WhoComesBackAgainAndAgainDoesNotPassTheOthers) {
  InjectQueue queue(1);
  test::Items items(12);
  Runnable* out[1];
  queue.push_foreign(items.make(0));
  ASSERT_EQ(queue.pop(0, out, 1), 1U);  // the consumer is at the outsiders' part
  items.take(out[0]);
  Runnable* waiting = items.make(1);
  queue.push(0, &waiting, 1);
  bool has_come = false;
  for (std::size_t i = 2; i < 12; ++i) {
    queue.push_foreign(items.make(i));
    ASSERT_EQ(queue.pop(0, out, 1), 1U);
    has_come = has_come || (out[0] == waiting && i < 6);
    items.take(out[0]);
  }
  while (queue.pop(0, out, 1) == 1) items.take(out[0]);
  EXPECT_TRUE(has_come);
  items.expect_all_taken_once();
}

// Rules: I1, SCH-10
TEST(InjectQueueTest, NothingIsLostOrDoubledAmongManyThreads) {
  constexpr unsigned kProcessors = 3;
  constexpr unsigned kOutsiders = 2;
  constexpr std::size_t kEach = 2'000;
  for (unsigned round = 0; round < test::rounds(30U); ++round) {
    InjectQueue queue(kProcessors);
    test::Items items((kProcessors + kOutsiders) * kEach);
    std::vector<std::thread> threads;
    for (unsigned p = 0; p < kProcessors; ++p) {
      // As a worker does it: pushes in batches with its processor's token, and pops with it.
      threads.emplace_back([&, p] {
        test::Lcg random(round * kProcessors + p);
        Runnable* out[64];
        std::size_t pushed = 0;
        while (!items.all_taken()) {
          Runnable* batch[129];
          const std::size_t n = std::min<std::size_t>(1 + random.below(129), kEach - pushed);
          for (std::size_t i = 0; i < n; ++i) batch[i] = items.make(p * kEach + pushed++);
          if (n != 0) queue.push(p, batch, n);
          const std::size_t popped = queue.pop(p, out, 1 + random.below(64));
          for (std::size_t i = 0; i < popped; ++i) items.take(out[i]);
          if (n == 0 && popped == 0) std::this_thread::yield();
        }
      });
    }
    for (unsigned o = 0; o < kOutsiders; ++o) {
      threads.emplace_back([&, o] {
        for (std::size_t i = 0; i < kEach; ++i) queue.push_foreign(items.make((kProcessors + o) * kEach + i));
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(queue.size(), 0U);
    items.expect_all_taken_once();
    if (HasFatalFailure()) return;
  }
}

}  // namespace

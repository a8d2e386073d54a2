#pragma once

// What the tests of the queues share: items that know how often they were taken, and the attack itself: one owner and
// some thieves on one queue, in many short rounds.

#include <atomic>
#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"
#include "task.hpp"

namespace weft::test {

/// Something to queue. The plain field is written before the push and read after the take: TSan sees a queue that does
/// not publish.
struct Item : detail::Runnable {
  Item() noexcept : Runnable(true) {}
  std::size_t number = 0;
  std::atomic<int> taken{0};
};

/// `count` items, each of which has to be taken exactly once.
class Items {
 public:
  explicit Items(std::size_t count) : items_(std::make_unique<Item[]>(count)), count_(count) {}

  std::size_t count() const { return count_; }
  detail::Runnable* make(std::size_t number) {
    items_[number].number = number + 1;
    return &items_[number];
  }
  /// Whoever gets an item out of a queue hands it in here.
  void take(detail::Runnable* runnable) {
    auto* item = static_cast<Item*>(runnable);
    if (item->number != static_cast<std::size_t>(item - items_.get()) + 1)
      ADD_FAILURE() << "an item that was never pushed";
    if (item->taken.fetch_add(1, std::memory_order_relaxed) != 0) ADD_FAILURE() << "item " << item->number << " twice";
    left_.fetch_sub(1, std::memory_order_relaxed);
  }
  bool all_taken() const { return left_.load(std::memory_order_relaxed) <= 0; }
  void expect_all_taken_once() const {
    for (std::size_t i = 0; i < count_; ++i) {
      ASSERT_EQ(items_[i].taken.load(), 1) << "item " << i << " of " << count_;
    }
  }

 private:
  std::unique_ptr<Item[]> items_;
  std::size_t count_;
  std::atomic<std::ptrdiff_t> left_{static_cast<std::ptrdiff_t>(count_)};
};

/// The owner pushes every item, now and then pops some; the thieves take what they can get meanwhile. At the end each
/// item has been taken once.
///   push(Runnable*) -> bool, pop() -> Runnable*                         on the owner's thread
///   steal(take): calls take(Runnable*) for each item that it has stolen  on the thieves' threads
template <class Push, class Pop, class Steal>
void attack(int thieves, std::size_t count, std::uint64_t seed, Push push, Pop pop, Steal steal) {
  Items items(count);
  std::atomic<int> waiting{thieves};
  std::vector<std::thread> threads;
  for (int t = 0; t < thieves; ++t) {
    threads.emplace_back([&] {
      waiting.fetch_sub(1);
      while (!items.all_taken()) steal([&](detail::Runnable* r) { items.take(r); });
    });
  }
  while (waiting.load() != 0) std::this_thread::yield();

  Lcg random(seed);
  const auto pop_one = [&] {
    detail::Runnable* runnable = pop();
    if (runnable != nullptr) items.take(runnable);
    return runnable != nullptr;
  };
  for (std::size_t next = 0; next < count;) {
    // Bursts of 1 to 4 keep the queue nearly empty, where owner and thief want the same item; a long one fills it.
    std::size_t burst = random.below(32) == 0 ? 300 : 1 + random.below(4);
    for (; burst > 0 && next < count; --burst) {
      detail::Runnable* item = items.make(next++);
      while (!push(item)) pop_one();
    }
    for (std::size_t pops = random.below(6); pops > 0; --pops) pop_one();
  }
  while (!items.all_taken()) {
    if (!pop_one()) std::this_thread::yield();
  }
  for (std::thread& thread : threads) thread.join();
  items.expect_all_taken_once();
}

}  // namespace weft::test

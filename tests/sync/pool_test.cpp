// Pool: what comes back, ageing, factories that block, and that no object is ever with two owners.

#include <weft/pool.hpp>

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using weft::Pool;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<Pool<int>>);
static_assert(!std::is_copy_constructible_v<Pool<int>::Handle>);
static_assert(std::is_nothrow_move_constructible_v<Pool<int>::Handle>);

/// On one processor and, as Go's test says, pinned to it.
template <class F>
void on_one_processor(F f) {
  weft::run({.processors = 1}, f);
}

// Rules: PO-1
TEST(PoolTest, AHandleIsAPointerThatGivesBack) {
  test::everywhere([] {
    Pool<std::string> pool;
    Pool<std::string>::Handle empty;
    EXPECT_FALSE(empty);
    EXPECT_EQ(empty.get(), nullptr);
    auto text = pool.get();
    EXPECT_EQ(*text, "");
    *text = "kept";
    EXPECT_EQ(text->size(), 4U);
    std::string* const address = text.get();
    auto moved = std::move(text);
    EXPECT_FALSE(text);  // NOLINT(bugprone-use-after-move): that is the question
    EXPECT_EQ(moved.get(), address);
    auto other = pool.get();
    EXPECT_NE(other.get(), address) << "one owner at a time";
    empty = std::move(moved);
    empty.reset();
    EXPECT_FALSE(empty);
    if (test::chaos()) return;
    EXPECT_EQ(*pool.get(), "kept");
  });
}

// Rules: PO-3, PO-1
TEST(PoolTest, OneProcessorGetsItsOwnBack) {
  on_one_processor([] {
    Pool<int> pool([] { return -1; });
    pool.put(1);
    pool.put(2);
    if (test::chaos()) return;  // drops some
    const auto a = pool.get();
    const auto b = pool.get();
    const auto c = pool.get();
    EXPECT_EQ(*a, 1);
    EXPECT_EQ(*b, 2);
    EXPECT_EQ(*c, -1);
  });
}

// Rules: PO-5
TEST(PoolTest, TheFactoryIsAskedOnlyWhenNothingIsThere) {
  on_one_processor([] {
    Pool<int> pool([made = 0]() mutable { return ++made; });
    auto a = pool.get();
    auto b = pool.get();
    EXPECT_EQ(*a, 1);
    EXPECT_EQ(*b, 2);
    if (test::chaos()) return;
    pool.put(42);
    const auto c = pool.get();
    EXPECT_EQ(*c, 42);
    const auto d = pool.get();
    EXPECT_EQ(*d, 3);
  });
}

// Rules: PO-5
TEST(PoolTest, TheFactoryMayBlockAndUseThePool) {
  test::everywhere([] {
    int depth = 0;
    Pool<int>* self = nullptr;
    const auto gate = weft::make_chan<weft::Unit>();
    Pool<int> pool([&] {
      if (++depth < 3) return *self->get() + 1;
      gate.recv();
      return 0;
    });
    self = &pool;
    weft::go([gate] { gate.send({}); });
    EXPECT_EQ(*pool.get(), 2);
  });
}

// Rules: PO-5
TEST(PoolTest, WhatTheFactoryThrowsComesOut) {
  test::everywhere([] {
    Pool<int> pool([]() -> int { throw std::runtime_error("no more"); });
    EXPECT_THROW(static_cast<void>(pool.get()), std::runtime_error);
    pool.put(1);
    pool.trim();
  });
}

// Rules: PO-4, PO-2
TEST(PoolTest, OneCycleKeepsTwoCyclesDestroy) {
  on_one_processor([] {
    Pool<test::Counted> unused([]() -> test::Counted { throw std::runtime_error("missed"); });
    unused.trim();
    test::Tally tally;
    {
      Pool<test::Counted> pool([] { return test::Counted(); });
      for (std::size_t i = 0; i < 100; ++i) pool.put(test::Counted(tally, i));
      pool.trim();
      if (!test::chaos()) {
        EXPECT_EQ(tally.holding(), 100);
        EXPECT_NE(pool.get()->id(), test::Counted::kNone) << "still there after one cycle";
      }
      pool.trim();
      EXPECT_LE(tally.holding(), 1) << "but for the one that was used in between";
      pool.trim();
      EXPECT_EQ(tally.holding(), 0);
      EXPECT_EQ(pool.get()->id(), test::Counted::kNone);
    }
    EXPECT_TRUE(test::all_destroyed_once(tally, 100));
  });
}

// Rules: PO-2
TEST(PoolTest, DiscardedObjectsDoNotComeBack) {
  test::everywhere([] {
    test::Tally tally;
    {
      Pool<test::Counted> pool([&tally, made = std::size_t{0}]() mutable { return test::Counted(tally, made++); });
      auto object = pool.get();
      EXPECT_EQ(object->id(), 0U);
      object.discard();
      EXPECT_FALSE(object);
      EXPECT_EQ(tally.holding(), 0);
      EXPECT_EQ(pool.get()->id(), 1U);
    }
    EXPECT_TRUE(test::all_destroyed_once(tally, 2));
  });
}

// Rules: PO-2
TEST(PoolTest, ADestructorMayUseThePool) {
  struct Nosy {
    Pool<int>* numbers;
    ~Nosy() {
      if (numbers != nullptr) static_cast<void>(numbers->get());
    }
  };
  test::everywhere([] {
    Pool<int> numbers;
    Pool<Nosy> pool([&numbers] { return Nosy{&numbers}; });
    pool.get().reset();
    pool.trim();
    pool.trim();
  });
}

TEST(PoolTest, HoldsObjectsThatCannotMove) {
  struct Fixed {
    explicit Fixed(int n) : number(n) {}
    Fixed(const Fixed&) = delete;
    Fixed& operator=(const Fixed&) = delete;
    int number;
  };
  Pool<Fixed> pool([] { return Fixed(5); });
  EXPECT_EQ(pool.get()->number, 5);
  static_assert(std::is_same_v<decltype(*pool.get()), Fixed&>);
}

// Rules: MM-12
TEST(PoolTest, WhatWasWrittenIsSeenByWhoGetsItNext) {
  weft::run([] {
    struct Box {
      int plain = 0;
      int next = 0;
    };
    Pool<Box> pool;
    weft::WaitGroup wg;
    std::atomic<int> wrong{0};
    for (int g = 0; g < 8; ++g) {
      wg.go([&] {
        for (int i = 0; i < test::rounds(2000); ++i) {
          const auto box = pool.get();
          if (box->plain != box->next) ++wrong;
          ++box->plain;
          if (i % 16 == 0) weft::yield();
          ++box->next;
        }
      });
    }
    wg.wait();
    EXPECT_EQ(wrong, 0);
  });
}

// Rules: PO-1, PO-6
TEST(PoolTest, UnderLoadNoObjectIsWithTwoOwners) {
  weft::run([] {
    struct Tagged {
      std::size_t tag;
      std::atomic<int> owners{0};
      explicit Tagged(std::size_t t) : tag(t) {}
    };
    std::atomic<std::size_t> made{0};
    std::atomic<int> shared{0};
    Pool<std::unique_ptr<Tagged>> pool([&made] { return std::make_unique<Tagged>(made++); });
    const auto use = [&](int count) {
      for (int i = 0; i < count; ++i) {
        auto object = pool.get();
        if ((*object)->owners.fetch_add(1, std::memory_order_relaxed) != 0) ++shared;
        if (i % 64 == 0) weft::yield();
        (*object)->owners.fetch_sub(1, std::memory_order_relaxed);
        if (i % 5000 == 0) pool.trim();
      }
    };
    {
      std::vector<std::unique_ptr<test::Task>> tasks;
      for (int t = 0; t < 12; ++t) {
        const auto on = t < 10 ? test::On::kGoroutine : test::On::kThread;
        tasks.push_back(std::make_unique<test::Task>(on, [&use] { use(test::rounds(100'000)); }));
      }
    }
    EXPECT_EQ(shared, 0);
    RecordProperty("made", static_cast<int>(made));
  });
}

}  // namespace

// GoroutineLocal: an instance for each goroutine and each thread, where it goes, and when it ends.

#include <weft/goroutine_local.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using weft::GoroutineLocal;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<GoroutineLocal<int>>);
static_assert(!std::is_move_constructible_v<GoroutineLocal<int>>);

/// Counts its instances.
template <int>
struct Counting {
  static inline std::atomic<int> made{0};
  static inline std::atomic<int> alive{0};
  int value = 0;
  Counting() {
    made.fetch_add(1);
    alive.fetch_add(1);
  }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
  ~Counting() { alive.fetch_sub(1); }
};

/// Starts f on a runtime of its own and returns once every goroutine has ended.
template <class F>
void run_to_the_end(F f, const RuntimeOptions& options = {}) {
  Runtime runtime(options);
  runtime.go(std::move(f));
  EXPECT_TRUE(runtime.shutdown(std::chrono::seconds(60)).clean());
}

TEST(GoroutineLocalTest, EachGoroutineHasItsOwnInstanceOnEveryThreadItComesTo) {
  using C = Counting<0>;
  C::made = 0;
  GoroutineLocal<C> local;
  constexpr int kGoroutines = 50;
  const int turns = test::rounds(200);
  run_to_the_end([&] {
    for (int g = 1; g <= kGoroutines; ++g) {
      weft::go([&, g] {
        C* mine = &local.get();
        EXPECT_EQ(mine->value, 0) << "left over from another goroutine";
        mine->value = g;
        for (int i = 0; i < turns; ++i) {
          weft::yield();
          ASSERT_EQ(&local.get(), mine);
          ASSERT_EQ(mine->value, g);
        }
      });
    }
  });
  EXPECT_EQ(C::made.load(), kGoroutines);
  EXPECT_EQ(C::alive.load(), 0);
}

TEST(GoroutineLocalTest, NothingLeaksToTheNextGoroutineOnARecycledStack) {
  using C = Counting<1>;
  C::made = 0;
  GoroutineLocal<C> local;
  constexpr int kGoroutines = 2000;
  run_to_the_end([&] {
    for (int g = 0; g < kGoroutines; ++g) {
      auto done = make_chan<bool>();
      weft::go([&local, done] {
        EXPECT_EQ(local.get().value, 0);
        local.get().value = 1;
        done.close();
      });
      done.recv();
    }
  });
  EXPECT_EQ(C::made.load(), kGoroutines);
  EXPECT_EQ(C::alive.load(), 0);
}

TEST(GoroutineLocalTest, IsDestroyedBeforeItsGoroutineCountsAsEndedAndMayBlockDoingSo) {
  struct Slow {
    std::uint64_t id = weft::this_goroutine::id();
    std::atomic<int>* ended = nullptr;
    ~Slow() {
      auto ch = make_chan<int>();
      weft::go([ch] { ch.send(1); });
      ch.recv();
      weft::yield();
      EXPECT_EQ(weft::this_goroutine::id(), id) << "destroyed elsewhere";
      ended->fetch_add(1);
    }
  };
  GoroutineLocal<Slow> local;
  std::atomic<int> ended{0};
  constexpr int kGoroutines = 100;
  run_to_the_end([&] {
    for (int g = 0; g < kGoroutines; ++g) weft::go([&] { local.get().ended = &ended; });
    // Alone alive means that all locals are gone.
    test::eventually([] { return weft::stats().live == 1; });
    EXPECT_EQ(ended.load(), kGoroutines);
  });
}

TEST(GoroutineLocalTest, IsDestroyedAlsoWhenItsGoroutineExitsOrThrows) {
  using C = Counting<2>;
  C::made = 0;
  GoroutineLocal<C> local;
  RuntimeOptions options;
  options.on_uncaught = [](const weft::GoroutineInfo&, std::exception_ptr) {};
  run_to_the_end(
      [&] {
        weft::go([&] {
          local.get();
          weft::exit_goroutine();
        });
        weft::go([&] {
          local.get();
          throw std::runtime_error("on purpose");
        });
      },
      options);
  EXPECT_EQ(C::made.load(), 2);
  EXPECT_EQ(C::alive.load(), 0);
}

TEST(GoroutineLocalTest, TheNewestInstanceIsDestroyedFirstAndMayUseTheOthers) {
  static std::string order;
  order.clear();
  struct Outer {
    ~Outer() { order += 'o'; }
  };
  static GoroutineLocal<Outer> outer;
  static GoroutineLocal<std::string> fresh;
  struct Inner {
    ~Inner() {
      outer.get();                       // still there
      fresh.get() += "made at the end";  // new: destroyed in its turn
      order += 'i';
    }
  };
  static GoroutineLocal<Inner> inner;
  weft::run([] {
    outer.get();
    inner.get();
  });
  EXPECT_EQ(order, "io");
}

TEST(GoroutineLocalTest, MainsInstancesAreGoneWhenRunReturns) {
  using C = Counting<3>;
  C::made = 0;
  GoroutineLocal<C> local;
  for (int i = 0; i < 100; ++i) {
    weft::run([&] { local.get(); });
    ASSERT_EQ(C::alive.load(), 0);
  }
}

TEST(GoroutineLocalTest, AnInstanceOutlivesItsVariableAndIsNeverTakenForTheNextOne) {
  using C = Counting<4>;
  C::made = 0;
  run_to_the_end([] {
    std::optional<GoroutineLocal<C>> local;
    for (int i = 1; i <= 10; ++i) {
      local.emplace();  // at the same address each time
      EXPECT_EQ(local->get().value, 0);
      local->get().value = i;
      EXPECT_EQ(C::made.load(), i);
      EXPECT_EQ(C::alive.load(), i) << "references stay good until the goroutine ends";
    }
  });
  EXPECT_EQ(C::alive.load(), 0);
}

TEST(GoroutineLocalTest, WhatTheConstructorThrowsComesOutAndTheNextUseTriesAgain) {
  static std::atomic<int> tries{0};
  tries = 0;
  struct Shy {
    Shy() {
      if (tries.fetch_add(1) == 0) throw std::runtime_error("not yet");
    }
    int value = 7;
  };
  GoroutineLocal<Shy> local;
  test::everywhere([&] {
    tries = 0;
    EXPECT_THROW(local.get(), std::runtime_error);
    EXPECT_EQ(local.get().value, 7);
    EXPECT_EQ(local.get().value, 7);
    EXPECT_EQ(tries.load(), 2);
  });
}

TEST(GoroutineLocalTest, AConstructorMayBlockAndUseOthers) {
  static GoroutineLocal<int> count;
  struct Blocking {
    std::uint64_t id;
    Blocking() : id(weft::this_goroutine::id()) {
      for (int i = 0; i < 20; ++i) weft::yield();
      ++count.get();
    }
  };
  GoroutineLocal<Blocking> local;
  WaitGroup group;
  for (int g = 0; g < 100; ++g) {
    group.go([&] {
      EXPECT_EQ(local.get().id, weft::this_goroutine::id());
      EXPECT_EQ(local.get().id, weft::this_goroutine::id());
      EXPECT_EQ(count.get(), 1);
    });
  }
  group.wait();
}

TEST(GoroutineLocalTest, APlainThreadHasAnInstanceOfItsOwnUntilItEnds) {
  using C = Counting<5>;
  C::made = 0;
  GoroutineLocal<C> local;
  std::thread([&] {
    local.get().value = 1;
    std::thread([&] {
      EXPECT_EQ(local.get().value, 0);
      EXPECT_EQ(C::alive.load(), 2);
    }).join();
    EXPECT_EQ(C::alive.load(), 1);
    weft::run([&] { EXPECT_EQ(local.get().value, 0) << "a goroutine's is not the thread's"; });
    EXPECT_EQ(local.get().value, 1);
  }).join();
  EXPECT_EQ(C::made.load(), 3);
  EXPECT_EQ(C::alive.load(), 0);
}

TEST(GoroutineLocalTest, ManyVariablesOfOneGoroutineAreKeptApart) {
  std::vector<std::unique_ptr<GoroutineLocal<int>>> locals;
  for (int i = 0; i < 100; ++i) locals.push_back(std::make_unique<GoroutineLocal<int>>());
  test::everywhere([&] {
    for (int i = 0; i < 100; ++i) locals[static_cast<std::size_t>(i)]->get() = i;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(locals[static_cast<std::size_t>(i)]->get(), i);
  });
}

TEST(GoroutineLocalTest, AnAbandonedGoroutinesInstancesAreNotDestroyed) {
  static std::atomic<int> destroyed{0};
  struct Left {
    ~Left() { destroyed.fetch_add(1); }
  };
  const test::ChildResult child = test::in_child([] {  // a leak, on purpose
    GoroutineLocal<Left> local;
    auto never = make_chan<int>();
    {
      Runtime runtime;
      auto parked = make_chan<int>();
      runtime.go([&] {
        local.get();
        parked.send(1);
        never.recv();
      });
      parked.recv();
    }
    if (destroyed.load() != 0) throw std::runtime_error("an abandoned goroutine's local was destroyed");
    std::_Exit(0);
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
}

}  // namespace

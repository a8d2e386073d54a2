// ErrGroup: the first error in time, the context it ends, limits, exits, reuse, and dying the moment wait() returns.

#include <weft/err_group.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
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
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::ErrGroup;
namespace test = weft::test;

static_assert(std::is_default_constructible_v<ErrGroup>);
static_assert(!std::is_copy_constructible_v<ErrGroup>);
static_assert(!std::is_move_constructible_v<ErrGroup>);
static_assert(!std::is_convertible_v<weft::Context, ErrGroup>);

/// What wait() throws, in words; "" if nothing.
std::string error_of(ErrGroup& group) {
  try {
    group.wait();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

std::string words(const std::exception_ptr& cause) {
  try {
    if (cause) std::rethrow_exception(cause);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

void fail_after(std::chrono::milliseconds d, const char* what) {
  weft::sleep_for(d);
  throw std::runtime_error(what);
}

// Rules: EG-1
TEST(ErrGroupTest, WaitRethrowsTheFirstErrorInTime) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    ErrGroup group;
    group.go([] { fail_after(30ms, "at 30"); });
    group.go([] { fail_after(10ms, "at 10"); });
    group.go([] { fail_after(20ms, "at 20"); });
    EXPECT_EQ(error_of(group), "at 10");
    EXPECT_EQ(weft::testing::now() - start, 30ms) << "wait() waits for all of them";
  });
}

// Rules: EG-1
TEST(ErrGroupTest, WithoutTasksOrErrorsWaitJustReturns) {
  test::everywhere([] {
    ErrGroup group;
    group.wait();
    std::atomic<int> ran{0};
    for (int i = 0; i < 20; ++i) group.go([&ran] { return ++ran; });
    group.wait();
    EXPECT_EQ(ran, 20);
    group.go({.name = "named"}, [&ran] { ran = weft::this_goroutine::name() == "named" ? 1 : 0; });
    group.wait();
    EXPECT_EQ(ran, 1);
  });
}

// Rules: EG-2, MM-14
TEST(ErrGroupTest, TheContextEndsWithTheFirstErrorAsItsCause) {
  weft::testing::run([] {
    struct Key {
      using type = int;
    };
    ErrGroup group(weft::with_value<Key>(weft::background(), 7));
    const weft::Context ctx = group.context();
    EXPECT_EQ(*ctx.value<Key>(), 7);
    group.go([] { fail_after(10ms, "E"); });
    group.go([&] {
      ctx.done().recv();
      fail_after(5ms, "later");
    });
    weft::sleep_for(9ms);
    EXPECT_FALSE(ctx.is_done());
    ctx.done().recv();
    EXPECT_EQ(ctx.err(), weft::errc::canceled);
    EXPECT_EQ(words(ctx.cause()), "E");
    EXPECT_EQ(error_of(group), "E");
    EXPECT_EQ(words(ctx.cause()), "E");
  });
}

// Rules: EG-2
TEST(ErrGroupTest, TheContextEndsWithWaitWhenAllGoesWell) {
  weft::testing::run([] {
    ErrGroup group(weft::background());
    const weft::Context ctx = group.context();
    group.go([] { weft::sleep_for(1s); });
    weft::sleep_for(2s);
    EXPECT_FALSE(ctx.is_done());
    group.wait();
    EXPECT_TRUE(ctx.is_done());
    EXPECT_EQ(ctx.err(), weft::errc::canceled);
    EXPECT_EQ(words(ctx.cause()), "context canceled");
  });
}

// Rules: EG-2
TEST(ErrGroupTest, TheContextFollowsItsParent) {
  weft::testing::run([] {
    auto [parent, cancel] = weft::with_timeout(weft::background(), 1s);
    ErrGroup group(parent);
    group.go([ctx = group.context()] {
      ctx.done().recv();
      ctx.throw_if_done();
    });
    EXPECT_EQ(error_of(group), "context deadline exceeded");
  });
  EXPECT_THROW(ErrGroup{weft::Context()}, weft::Panic);
}

// Rules: EG-3
TEST(ErrGroupTest, TheFirstErrorSticks) {
  test::everywhere([] {
    ErrGroup group;
    group.go([] {});
    group.wait();
    group.go([] { throw std::runtime_error("first"); });
    EXPECT_EQ(error_of(group), "first");
    EXPECT_EQ(error_of(group), "first");
    group.go([] {});
    EXPECT_EQ(error_of(group), "first");
    group.go([] { throw std::runtime_error("second"); });
    EXPECT_EQ(error_of(group), "first");
  });
}

// Rules: EG-4, WP-2
TEST(ErrGroupTest, NoMoreThanTheLimitRunAtOnce) {
  test::everywhere([] {
    constexpr int kLimit = 10;
    std::atomic<int> active{0};
    std::atomic<int> ran{0};
    std::atomic<bool> exceeded{false};
    ErrGroup group;
    group.set_limit(kLimit);
    for (int i = 0; i < 1025; ++i) {
      group.go([&] {
        if (++active > kLimit) exceeded = true;
        weft::yield();
        --active;
        ++ran;
      });
    }
    group.wait();
    EXPECT_FALSE(exceeded);
    EXPECT_EQ(ran, 1025);
  });
}

// Rules: EG-4
TEST(ErrGroupTest, TryGoTellsWhetherThereWasAPlace) {
  test::everywhere([] {
    ErrGroup group;
    const auto gate = weft::make_chan<weft::Unit>();
    group.set_limit(42);
    for (int i = 0; i < 42; ++i) EXPECT_TRUE(group.try_go([gate] { gate.recv(); }));
    auto kept = std::make_unique<int>(1);
    EXPECT_FALSE(group.try_go([gate] { gate.recv(); }));
    EXPECT_FALSE(group.try_go({.name = "none"}, [kept = std::move(kept)] {}));
    gate.close();
    group.wait();
    EXPECT_TRUE(group.try_go([] {}));
    group.wait();
    group.set_limit(1);
    EXPECT_TRUE(group.try_go([] {}));
    group.wait();
    group.set_limit(0);
    for (int i = 0; i < 1024; ++i) EXPECT_FALSE(group.try_go([] {}));
    group.set_limit(-1);
    EXPECT_TRUE(group.try_go([] {}));
    group.wait();
  });
}

// Rules: EG-4
TEST(ErrGroupTest, ALimitOfZeroBlocksEveryGo) {
  weft::testing::run([] {
    ErrGroup group;
    group.set_limit(0);
    bool ran = false;
    weft::go([&] {
      group.go([&ran] { ran = true; });
      group.wait();
    });
    weft::sleep_for(1h);
    weft::testing::wait();
    EXPECT_FALSE(ran);
    group.wait();  // nothing runs
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 1h);
    EXPECT_FALSE(group.go(ctx, [&ran] { ran = true; }));
    EXPECT_FALSE(ran);
    group.set_limit(1);  // lets in who waits
    weft::testing::wait();
    EXPECT_TRUE(ran);
  });
}

// Rules: EG-4, GEN-1
TEST(ErrGroupTest, TheLimitMayNotBeChangedWhileTasksRun) {
  test::everywhere([] {
    ErrGroup group;
    const auto gate = weft::make_chan<weft::Unit>();
    for (int i = 0; i < 3; ++i) group.go([gate] { gate.recv(); });
    try {
      group.set_limit(5);
      ADD_FAILURE() << "no panic";
    } catch (const weft::RuntimePanic&) {
      ADD_FAILURE() << "not the runtime's own";
    } catch (const weft::Panic& panic) {
      EXPECT_STREQ(panic.what(), "errgroup: modify limit while 3 goroutines in the group are still active");
    }
    gate.close();
    group.wait();
    group.set_limit(5);
  });
}

// Rules: EG-4
TEST(ErrGroupTest, PlacesGoToWhoeverWaitsLongest) {
  weft::run([] {
    std::vector<int> order;
    ErrGroup group;
    group.set_limit(1);
    const auto gate = weft::make_chan<weft::Unit>();
    group.go([gate] { gate.recv(); });
    weft::WaitGroup starters;
    for (int i = 0; i < 5; ++i) {
      test::go_parked(starters, [&, i] { group.go([&order, i] { order.push_back(i); }); });
    }
    EXPECT_FALSE(group.try_go([] {}));
    gate.close();
    starters.wait();
    group.wait();
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
  });
}

// Rules: EG-4
TEST(ErrGroupTest, GoWithAContextGivesUpWaitingForAPlace) {
  weft::testing::run([] {
    ErrGroup group;
    group.set_limit(1);
    group.go([] { weft::sleep_for(1h); });
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 1min);
    auto kept = std::make_unique<int>(3);
    auto task = [kept = std::move(kept)] {};
    EXPECT_FALSE(group.go(ctx, std::move(task)));
    EXPECT_FALSE(group.go(ctx, std::move(task)));
    EXPECT_TRUE(group.go(weft::background(), std::move(task)));
    group.wait();
    EXPECT_FALSE(group.go(ctx, [] {})) << "a context that is done always wins";
  });
}

// Rules: EG-5
TEST(ErrGroupTest, AllPlacesAreFreeAfterWait) {
  weft::run([] {
    ErrGroup group;
    group.set_limit(1);
    for (int round = 0; round < test::rounds(10'000); ++round) {
      group.go([] {});
      group.wait();
      ASSERT_TRUE(group.try_go([] {}));
      group.wait();
    }
  });
}

// Rules: PAN-8
TEST(ErrGroupTest, ExitGoroutineIsAnEndWithoutError) {
  test::everywhere([] {
    ErrGroup group;
    group.set_limit(1);
    bool unwound = false;
    group.go([&unwound] {
      struct Guard {
        bool& flag;
        ~Guard() { flag = true; }
      } guard{unwound};
      weft::exit_goroutine();
    });
    group.go([] {});
    group.wait();
    EXPECT_TRUE(unwound);
  });
}

// Rules: EG-7
TEST(ErrGroupTest, TasksMayStartTasks) {
  weft::run([] {
    ErrGroup group;
    std::atomic<int> ran{0};
    struct Grow {
      ErrGroup& group;
      std::atomic<int>& ran;
      int depth;
      void operator()() const {
        ++ran;
        if (depth == 0) return;
        group.go(Grow{group, ran, depth - 1});
        group.go(Grow{group, ran, depth - 1});
      }
    };
    group.go(Grow{group, ran, 8});
    group.wait();
    EXPECT_EQ(ran, 511);
  });
}

// Rules: EG-7
TEST(ErrGroupTest, TasksThatWaitForEachOthersPlacesAreADeadlock) {
  const auto child = test::in_child([] {
    weft::run([] {
      ErrGroup group;
      group.set_limit(1);
      group.go([&group] { group.go([] {}); });
      group.wait();
    });
  });
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_NE(child.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << child.err;
}

TEST(ErrGroupTest, TheDestructorWaitsAndDropsTheError) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    {
      ErrGroup group;
      group.go([] { fail_after(50ms, "nobody asks"); });
    }
    EXPECT_EQ(weft::testing::now() - start, 50ms);
  });
}

TEST(ErrGroupTest, AnExceptionThatDestroysItCancelsFirst) {
  weft::testing::run([] {
    bool saw_cancel = false;
    EXPECT_THROW(
        {
          ErrGroup group;
          group.go([&saw_cancel, ctx = group.context()] {
            ctx.done().recv();
            saw_cancel = true;
          });
          throw std::runtime_error("out");
        },
        std::runtime_error);
    EXPECT_TRUE(saw_cancel);
  });
}

TEST(ErrGroupTest, TheTaskIsGoneBeforeWaitReturns) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(500); ++round) {
      auto token = std::make_shared<int>(round);
      const std::weak_ptr<int> watch = token;
      ErrGroup group;
      group.go([token = std::move(token)] { static_cast<void>(*token); });
      group.wait();
      ASSERT_TRUE(watch.expired());
    }
  });
}

// Rules: HZ-5
TEST(ErrGroupTest, MayDieTheMomentWaitReturns) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(10'000); ++round) {
      auto group = std::make_unique<ErrGroup>();
      if (round % 2 == 0) group->set_limit(1);
      int plain = 0;
      group->go([&plain] { plain = 1; });
      if (round % 3 == 0) group->go([] { weft::yield(); });
      group->wait();
      group.reset();
      ASSERT_EQ(plain, 1);
    }
  });
}

// Rules: EG-1, HZ-5
TEST(ErrGroupTest, OneOfManyErrorsWins) {
  weft::run([] {
    for (int round = 0; round < test::rounds(1000); ++round) {
      ErrGroup group;
      for (int i = 0; i < 4; ++i) group.go([] { throw std::runtime_error("one"); });
      ASSERT_EQ(error_of(group), "one");
      ASSERT_EQ(words(group.context().cause()), "one");
    }
  });
}

TEST(ErrGroupTest, AnAbandonedWaiterPassesItsPlaceOn) {
  auto group = std::make_unique<ErrGroup>();
  group->set_limit(1);
  const auto gate = weft::make_chan<weft::Unit>();
  group->go([gate] { gate.recv(); });
  {
    weft::Runtime other;
    for (const bool for_place : {true, false}) {
      std::atomic<std::uint64_t> id{0};
      other.go([&group, &id, for_place] {
        id = weft::this_goroutine::id();
        if (for_place) {
          group->go([] {});
        } else {
          group->wait();
        }
      });
      test::eventually([&] { return id != 0; });
      weft::testing::wait_parked(id);
    }
  }
  gate.close();
  group->wait();
  EXPECT_TRUE(group->try_go([] {}));
  group->wait();
}

// Rules: S-36, EG-2
TEST(ErrGroupTest, ScenarioOfThreeTasks) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    const auto elapsed = [start] {
      return std::to_string((weft::testing::now() - start) / std::chrono::milliseconds(1)) + "ms";
    };
    ErrGroup group(weft::background());
    const weft::Context ctx = group.context();
    std::string third;
    group.go([] { weft::sleep_for(30ms); });
    group.go([] { fail_after(10ms, "E"); });
    group.go([&] {
      ctx.done().recv();
      third = elapsed();
      ctx.throw_if_done();
    });
    const std::string error = error_of(group);
    EXPECT_EQ(error + " at " + elapsed() + "; third saw cancel at " + third + "; Cause " + words(ctx.cause()) +
                  "; Err " + (ctx.err() == weft::errc::canceled ? "Canceled" : "?"),
              "E at 30ms; third saw cancel at 10ms; Cause E; Err Canceled");
  });
}

struct Found {
  std::size_t nodes = 0;
  std::uint64_t sum = 0;
  std::uint64_t max = 0;
  int peak = 0;
  bool operator==(const Found&) const = default;
};

/// A crawl with at most `limit` fetches at once: a node that is found while no place is free is left to whoever found it.
template <class Links>
Found crawl(std::uint64_t start, int limit, Links links) {
  ErrGroup group;
  group.set_limit(limit);
  weft::Mutex mutex;
  std::set<std::uint64_t> visited{start};
  std::atomic<int> active{0};
  std::atomic<int> peak{0};
  struct Fetch {
    ErrGroup& group;
    weft::Mutex& mutex;
    std::set<std::uint64_t>& visited;
    std::atomic<int>& active;
    std::atomic<int>& peak;
    Links& links;
    void operator()(std::uint64_t node) const {
      std::vector<std::uint64_t> own{node};
      const int now = ++active;
      for (int seen = peak; now > seen && !peak.compare_exchange_weak(seen, now);) {
      }
      while (!own.empty()) {
        const std::uint64_t at = own.back();
        own.pop_back();
        weft::yield();
        for (const std::uint64_t next : links(at)) {
          mutex.lock();
          const bool is_new = visited.insert(next).second;
          mutex.unlock();
          if (is_new && !group.try_go([*this, next] { (*this)(next); })) own.push_back(next);
        }
      }
      --active;
    }
  };
  const Fetch fetch{group, mutex, visited, active, peak, links};
  group.go([fetch, start] { fetch(start); });
  group.wait();
  Found found{.nodes = visited.size(), .peak = peak};
  for (const std::uint64_t node : visited) found.sum += node;
  found.max = *visited.rbegin();
  return found;
}

// Rules: S-28, EG-7
TEST(ErrGroupTest, ScenarioOfACrawlerWithALimit) {
  test::everywhere([] {
    Found first = crawl(1, 10, [](std::uint64_t i) { return std::vector{6 * i % 5000, (i * i + 4) % 5000}; });
    EXPECT_LE(std::exchange(first.peak, 0), 10);
    EXPECT_EQ(first, (Found{.nodes = 526, .sum = 1287946, .max = 4984}));
    Found second = crawl(0, 10, [](std::uint64_t i) { return std::vector{(7 * i + 2) % 1000, (i * i + 1) % 1000}; });
    EXPECT_LE(std::exchange(second.peak, 0), 10);
    EXPECT_EQ(second, (Found{.nodes = 400, .sum = 199200, .max = 997}));
  });
}

}  // namespace

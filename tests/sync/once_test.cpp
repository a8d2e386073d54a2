// Once, once_func, once_value: at most once, not before it has ended, panics and exits count, and what happens to the function.

#include <weft/once.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Once;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(std::is_default_constructible_v<Once>);
static_assert(!std::is_copy_constructible_v<Once>);
static_assert(!std::is_move_constructible_v<Once>);
static_assert(!std::is_copy_assignable_v<Once>);

constinit Once global_once;  // needs no run-time initialisation

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

// Rules: ON-1
TEST(OnceTest, OneFunctionRunsOnceWhicheverComes) {
  test::everywhere([] {
    Once once;
    int calls = 0;
    once.call([&] { ++calls; });
    once.call([&] { calls += 100; });
    EXPECT_EQ(calls, 1);
    Once other;
    other.call([&] { ++calls; });
    EXPECT_EQ(calls, 2);
  });
  int calls = 0;
  global_once.call([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

// Rules: ON-1, ON-2
TEST(OnceTest, NobodyReturnsBeforeTheFunctionHasEnded) {
  weft::run([] {
    Once once;
    std::atomic<int> calls{0};
    std::atomic<int> returned{0};
    const auto gate = weft::make_chan<weft::Unit>();
    WaitGroup wg;
    for (int i = 0; i < 10; ++i) {
      test::go_parked(wg, [&] {  // the first one in the function, the others in call()
        once.call([&] {
          gate.recv();
          weft::sleep_for(1ms);
          calls.fetch_add(1);
        });
        EXPECT_EQ(calls.load(), 1);
        returned.fetch_add(1);
      });
    }
    EXPECT_EQ(returned.load(), 0);
    gate.send({});
    wg.wait();
    EXPECT_EQ(returned.load(), 10);
  });
}

// Rules: ON-1, ON-2
TEST(OnceTest, GoroutinesAndPlainThreadsRaceForIt) {
  for (int round = 0; round < test::rounds(500); ++round) {
    Once once;
    int plain = 0;
    std::vector<std::unique_ptr<test::Task>> tasks;
    for (int i = 0; i < 4; ++i) {
      tasks.push_back(std::make_unique<test::Task>(i < 3 ? test::On::kGoroutine : test::On::kThread, [&] {
        once.call([&] {
          weft::yield();
          ++plain;
        });
        EXPECT_EQ(plain, 1);
      }));
    }
  }
}

// Rules: ON-3
TEST(OnceTest, AFunctionThatThrowsHasBeenCalled) {
  test::everywhere([] {
    Once once;
    EXPECT_EQ(error_of([&] { once.call([] { throw std::runtime_error("first"); }); }), "first");
    EXPECT_EQ(error_of([&] { once.call([] { throw std::runtime_error("second"); }); }), "none");
  });
}

// Rules: ON-3
TEST(OnceTest, ThoseWhoWaitForOneThatThrowsReturn) {
  weft::run([] {
    Once once;
    const auto gate = weft::make_chan<weft::Unit>();
    WaitGroup wg;
    std::atomic<int> returned{0};
    test::go_parked(wg, [&] {
      EXPECT_EQ(error_of([&] {
                  once.call([&] {
                    gate.recv();
                    throw std::runtime_error("first");
                  });
                }),
                "first");
    });
    for (int i = 0; i < 3; ++i) {
      test::go_parked(wg, [&] {
        once.call([] { FAIL() << "called again"; });
        returned.fetch_add(1);
      });
    }
    EXPECT_EQ(returned.load(), 0);
    gate.close();
    wg.wait();
    EXPECT_EQ(returned.load(), 3);
  });
}

// Rules: ON-3
TEST(OnceTest, AFunctionThatEndsItsGoroutineHasBeenCalled) {
  weft::run([] {
    Once once;
    const auto gate = weft::make_chan<weft::Unit>();
    WaitGroup wg;
    bool returned = false;
    test::go_parked(wg, [&] {
      once.call([&] {
        gate.recv();
        weft::exit_goroutine();
      });
      returned = true;
    });
    test::go_parked(wg, [&] { once.call([] { FAIL() << "called again"; }); });
    gate.close();
    wg.wait();
    EXPECT_FALSE(returned);
    once.call([] { FAIL() << "called again"; });
  });
}

// Rules: ON-4, DL-1
TEST(OnceTest, AFunctionThatCallsItAgainWaitsForEver) {
  const auto child = test::in_child([] {
    weft::run([] {
      Once once;
      once.call([&] { once.call([] {}); });
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << child.err;
  EXPECT_NE(child.err.find("[sync.Once.Do"), std::string::npos) << child.err;
}

// Rules: ON-5
TEST(OnceTest, ANullFunctionPanicsAndCounts) {
  test::everywhere([] {
    Once once;
    EXPECT_THROW(once.call(std::function<void()>()), weft::Panic);
    once.call([] { FAIL() << "called"; });
    Once pointer;
    void (*null)() = nullptr;
    EXPECT_THROW(pointer.call(null), weft::Panic);
    pointer.call([] { FAIL() << "called"; });
  });
}

// Rules: ON-6
TEST(OnceTest, OnceFuncRunsItsFunctionOnceForAllCopies) {
  weft::run([] {
    std::atomic<int> calls{0};
    const auto f = weft::once_func([&] { return ++calls; });
    static_assert(std::is_void_v<decltype(f())>);
    WaitGroup wg;
    for (int i = 0; i < 10; ++i) {
      wg.go([f, &calls] {
        f();
        EXPECT_EQ(calls.load(), 1);
      });
    }
    wg.wait();
    f();
    EXPECT_EQ(calls.load(), 1);
  });
}

// Rules: ON-6
TEST(OnceTest, OnceFuncThrowsTheSameEachTime) {
  test::everywhere([] {
    int calls = 0;
    const auto f = weft::once_func([&] {
      ++calls;
      throw std::runtime_error("no");
    });
    const std::exception* seen = nullptr;
    for (int i = 0; i < 3; ++i) {
      try {
        f();
        FAIL() << "did not throw";
      } catch (const std::runtime_error& error) {
        EXPECT_STREQ(error.what(), "no");
        if (seen != nullptr) {
          EXPECT_EQ(seen, &error);  // the very object
        }
        seen = &error;
      }
    }
    EXPECT_EQ(calls, 1);
    const auto value = weft::once_value([&]() -> int { throw std::runtime_error(std::to_string(++calls)); });
    EXPECT_EQ(error_of([&] { (void)value(); }), "2");
    EXPECT_EQ(error_of([&] { (void)value(); }), "2");
    EXPECT_EQ(calls, 2);
  });
}

// Rules: ON-6
TEST(OnceTest, OnceValueKeepsTheResult) {
  test::everywhere([] {
    int calls = 0;
    const auto number = weft::once_value([&] { return ++calls; });
    EXPECT_EQ(number(), 1);
    EXPECT_EQ(number(), 1);
    const auto copy = number;
    EXPECT_EQ(&copy(), &number());
    const auto move_only = weft::once_value([p = std::make_unique<int>(5)]() mutable { return std::move(p); });
    EXPECT_EQ(*move_only(), 5);
    EXPECT_EQ(*move_only(), 5);
    const auto reference = weft::once_value([&]() -> int& { return calls; });
    EXPECT_EQ(&reference(), &calls);
    const auto [a, b] = weft::once_value([] { return std::tuple(1, std::string("two")); })();
    EXPECT_EQ(a, 1);
    EXPECT_EQ(b, "two");
    EXPECT_EQ(weft::once_value(std::function<int()>([] { return 7; }))(), 7);
    EXPECT_EQ(weft::once_value(+[] { return 8; })(), 8);
  });
}

// Rules: ON-5, ON-6
TEST(OnceTest, ANullFunctionPanicsOnEachCallOfItsWrapper) {
  const auto f = weft::once_func(std::function<void()>());
  EXPECT_THROW(f(), weft::Panic);
  EXPECT_THROW(f(), weft::Panic);
  const auto value = weft::once_value(std::function<int()>());
  EXPECT_THROW((void)value(), weft::Panic);
  EXPECT_THROW((void)value(), weft::Panic);
}

// Rules: ON-7, HZ-7
TEST(OnceTest, TheFunctionIsDestroyedAfterTheFirstCallWhateverBecameOfIt) {
  test::everywhere([] {
    for (const bool throws : {false, true}) {
      auto captured = std::make_shared<int>(1);
      const std::weak_ptr<int> watch = captured;
      const auto f = weft::once_func([captured = std::move(captured), throws] {
        if (throws) throw std::runtime_error("no");
      });
      EXPECT_FALSE(watch.expired());
      EXPECT_EQ(error_of(f), throws ? "no" : "none");
      EXPECT_TRUE(watch.expired());
      EXPECT_EQ(error_of(f), throws ? "no" : "none");
    }
    // Its destructor may park, and use other wrappers.
    struct Slow {
      Slow() = default;
      Slow(Slow&& other) noexcept : armed(std::exchange(other.armed, false)) {}
      Slow(const Slow&) = delete;
      Slow& operator=(const Slow&) = delete;
      ~Slow() {
        if (armed) weft::sleep_for(1us);
      }
      bool armed = true;
    };
    const auto slow = weft::once_func([slow = Slow()] {});
    slow();
    auto unused = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = unused;
    {
      const auto never = weft::once_func([unused = std::move(unused)] {});
    }
    EXPECT_TRUE(watch.expired());
  });
}

// Rules: ON-8
TEST(OnceTest, AWrappedFunctionThatEndsItsGoroutineIsNotRunAgainAndHangsNobody) {
  weft::run([] {
    int calls = 0;
    const auto f = weft::once_func([&] {
      ++calls;
      weft::exit_goroutine();
    });
    for (int i = 0; i < 2; ++i) {
      WaitGroup wg;
      bool returned = false;
      std::string error = "none";
      wg.go([&] {
        try {
          f();
          returned = true;
        } catch (const weft::Panic& panic) {
          error = panic.what();
        }
      });
      wg.wait();
      EXPECT_FALSE(returned);
      EXPECT_EQ(error, i == 0 ? "none" : "weft: once_func: the function has ended its goroutine");
    }
    EXPECT_EQ(calls, 1);
  });
}

// Rules: MM-9
TEST(OnceTest, WhatTheFunctionWroteIsSeenByAllWhoReturn) {
  weft::run([] {
    for (int round = 0; round < test::rounds(5000); ++round) {
      Once once;
      int plain = 0;
      std::array<int, 4> seen{};
      WaitGroup wg;
      for (std::size_t i = 0; i < seen.size(); ++i) {
        wg.go([&, i] {
          once.call([&] { plain = 1; });
          seen.at(i) = plain;
        });
      }
      once.call([&] { plain = 1; });
      ASSERT_EQ(plain, 1);
      wg.wait();
      EXPECT_EQ(seen, (std::array{1, 1, 1, 1}));
    }
  });
}

// Rules: HZ-5
TEST(OnceTest, MayBeDestroyedByWhoeverReturnsWhileTheOneWhoRanItIsStillInside) {
  weft::run([] {
    for (int round = 0; round < test::rounds(50'000); ++round) {
      auto once = std::make_unique<Once>();
      Once& alive = *once;
      std::atomic<bool> is_running{false};
      WaitGroup wg;
      wg.go([&, round] {
        alive.call([&] {
          is_running.store(true, std::memory_order_release);
          if (round % 2 == 0) weft::yield();
        });
      });
      while (!is_running.load(std::memory_order_acquire)) weft::yield();
      alive.call([] { FAIL() << "called again"; });
      once.reset();
      wg.wait();
    }
  });
}

// Rules: HZ-5
TEST(OnceTest, AnAbandonedWaiterLeavesTheQueue) {
  for (int round = 0; round < test::rounds(100); ++round) {
    Once once;
    once.call([&] {
      weft::Runtime runtime(weft::RuntimeOptions{.processors = 2});
      std::atomic<int> started{0};
      for (int i = 0; i < 3; ++i) {
        runtime.go([&] {
          started.fetch_add(1);
          once.call([] { FAIL() << "called again"; });
          FAIL() << "returned";
        });
      }
      while (started.load() < 3) std::this_thread::yield();
    });
    once.call([] { FAIL() << "called again"; });
  }
}

}  // namespace

// go, yield, exit_goroutine and this_goroutine: how goroutines start, what they are called, and how they end.

#include <weft/go.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

/// Appends its letter to a log when it is destroyed.
class Trace {
 public:
  Trace(std::string& log, char letter) : log_(log), letter_(letter) {}
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  ~Trace() { log_ += letter_; }

 private:
  std::string& log_;
  char letter_;
};

/// Says on standard output that it was destroyed; children use it.
class Shout {
 public:
  explicit Shout(const char* text) : text_(text) {}
  Shout(const Shout&) = delete;
  Shout& operator=(const Shout&) = delete;
  ~Shout() {
    std::puts(text_);
    std::fflush(stdout);
  }

 private:
  const char* text_;
};

// ---- starting ----

// Rules: GO-1
TEST(GoTest, ArgumentsAreEvaluatedBySpawnerAndCopiedBeforeGoReturns) {
  weft::run([] {
    const std::uint64_t spawner = weft::this_goroutine::id();
    std::uint64_t evaluated_by = 0;
    const auto argument = [&] {
      evaluated_by = weft::this_goroutine::id();
      return 41;
    };
    const auto out = weft::make_chan<std::string>(1);
    std::string text = "before";
    int number = 1;
    weft::go([out](int first, int second, const std::string& copy) { out.send(copy + std::to_string(first + second)); },
             argument(), number, text);
    EXPECT_EQ(evaluated_by, spawner);
    text = "after";
    number = 100;
    EXPECT_EQ(*out.recv(), "before42");
  });
}

// Rules: GO-1
TEST(GoTest, CallableIsCopiedBeforeGoReturns) {
  weft::run([] {
    struct Report {
      int value;
      weft::Chan<int> out;
      void operator()() const { out.send(value); }
    };
    const auto out = weft::make_chan<int>(1);
    Report report{1, out};
    weft::go(report);
    report.value = 2;
    EXPECT_EQ(*out.recv(), 1);
  });
}

int twice(int value) { return value * 2; }

// Rules: GO-1
TEST(GoTest, TakesEveryKindOfCallableAndDiscardsItsResult) {
  weft::run([] {
    struct Account {
      WaitGroup* wg;
      int balance = 0;
      int deposit(int amount) {
        const int now = balance += amount;
        wg->done();  // the last touch of an account that belongs to the starter
        return now;
      }
    };
    WaitGroup wg;
    Account account{&wg};
    Account other{&wg};
    wg.add(4);
    weft::go(&Account::deposit, account, 100);
    weft::go(&Account::deposit, std::make_unique<Account>(account), 100);
    weft::go(&Account::deposit, &account, 5);
    weft::go(&Account::deposit, std::ref(other), 7);
    weft::go(twice, 4);
    weft::go(&twice, 4);
    const std::function<int()> seven = [] { return 7; };
    weft::go(seven);
    weft::go(std::function<void()>([] {}));
    int calls = 0;
    auto counting = [&calls]() mutable { return ++calls; };
    wg.add(1);
    weft::go([&] {
      counting();
      wg.done();
    });
    wg.wait();
    EXPECT_EQ(account.balance, 5);
    EXPECT_EQ(other.balance, 7);
    EXPECT_EQ(calls, 1);
  });
}

// Rules: GO-1
TEST(GoTest, DecaysArraysAndHonoursReferenceWrappers) {
  weft::run([] {
    WaitGroup wg;
    wg.add(1);
    std::string seen;
    int plain = 0;
    char text[] = "array";
    weft::go(
        [](WaitGroup& group, std::string& out, int& number, const std::string& copied) {
          out = copied;
          number = 3;
          group.done();
        },
        std::ref(wg), std::ref(seen), std::ref(plain), std::string(text));
    text[0] = 'X';
    wg.wait();
    EXPECT_EQ(seen, "array");
    EXPECT_EQ(plain, 3);
  });
}

// Rules: GO-1, HZ-21
TEST(GoTest, TakesMoveOnlyCallablesAndArguments) {
  weft::run([] {
    const auto out = weft::make_chan<int>(1);
    weft::go([out, one = std::make_unique<int>(1)](std::unique_ptr<int> two) { out.send(*one + *two); },
             std::make_unique<int>(2));
    EXPECT_EQ(*out.recv(), 3);
  });
}

// Rules: GO-1
TEST(GoTest, CallableAndArgumentsAreDestroyedExactlyOnce) {
  test::Tally tally;
  weft::Runtime runtime;
  runtime.run([&] {
    WaitGroup wg;
    for (std::size_t i = 0; i < 100; i += 2) {
      wg.add(1);
      weft::go(
          [first = test::Counted(tally, i), &wg](const test::Counted& second) {
            EXPECT_TRUE(first.holds_value());
            EXPECT_TRUE(second.holds_value());
            wg.done();
          },
          test::Counted(tally, i + 1));
    }
    wg.wait();
  });
  EXPECT_TRUE(runtime.shutdown(1h).clean());  // all have ended, with all that is theirs
  EXPECT_TRUE(test::all_destroyed_once(tally, 100));
}

// Rules: GO-1
TEST(GoTest, TakesLargeAndOverAlignedCallables) {
  struct Large {
    std::array<unsigned char, 10'000> bytes{};
  };
  test::Tally tally;
  weft::Runtime runtime;
  runtime.run([&] {
    WaitGroup wg;
    wg.add(2);
    Large large;
    for (std::size_t i = 0; i < large.bytes.size(); ++i) large.bytes[i] = static_cast<unsigned char>(i * 7);
    weft::go([large, &wg] {
      for (std::size_t i = 0; i < large.bytes.size(); ++i) {
        ASSERT_EQ(large.bytes[i], static_cast<unsigned char>(i * 7)) << i;
      }
      wg.done();
    });
    weft::go([value = test::AlignedCounted(tally, 0), &wg] {
      EXPECT_EQ(value.id(), 0U);  // checks its own alignment
      wg.done();
    });
    wg.wait();
  });
  EXPECT_TRUE(runtime.shutdown(1h).clean());  // all have ended, with all that is theirs
  EXPECT_TRUE(test::all_destroyed_once(tally, 1));
}

struct CopyThrows {
  CopyThrows() = default;
  CopyThrows(const CopyThrows& /*unused*/) { throw std::runtime_error("copy"); }
  CopyThrows& operator=(const CopyThrows&) = delete;
  ~CopyThrows() = default;
};

// Rules: GO-1
TEST(GoTest, ACopyThatThrowsStartsNothing) {
  weft::Runtime runtime;
  runtime.run([] {
    const CopyThrows argument;
    bool ran = false;
    for (int i = 0; i < 100; ++i) {
      EXPECT_THROW(weft::go([&ran](const CopyThrows& /*unused*/) { ran = true; }, argument), std::runtime_error);
    }
    EXPECT_EQ(weft::stats().live, 1U);
    EXPECT_FALSE(ran);
    WaitGroup wg;
    for (int i = 0; i < 100; ++i) wg.go([] {});  // what was begun has been given back
    wg.wait();
  });
}

// Rules: GO-2, GEN-1
TEST(GoTest, ANilFunctionPointerIsFatal) {
  const auto child = test::in_child([] {
    weft::run([] {
      try {
        void (*nothing)() = nullptr;
        weft::go(nothing);
      } catch (...) {
        std::fputs("caught\n", stderr);
      }
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: go of nil func value\n"), 0U) << child.err;
  EXPECT_FALSE(contains(child.err, "caught")) << child.err;
}

// Rules: GO-2, GEN-1
TEST(GoTest, AnEmptyFunctionObjectIsFatalAtTheStatement) {
  const auto child = test::in_child([] {
    try {
      weft::go(std::function<void(int)>(), 1);  // from a plain thread
      std::fputs("returned\n", stderr);
    } catch (...) {
      std::fputs("caught\n", stderr);
    }
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: go of nil func value\n"), 0U) << child.err;
  EXPECT_FALSE(contains(child.err, "caught")) << child.err;
  EXPECT_FALSE(contains(child.err, "returned")) << child.err;
}

// Rules: GO-2, WG-6
TEST(GoTest, WaitGroupGoOfAnEmptyFunctionIsFatalToo) {
  const auto child = test::in_child([] {
    weft::run([] {
      WaitGroup wg;
      wg.go(std::function<void()>());
      wg.wait();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("fatal error: go of nil func value\n"), 0U) << child.err;
}

// Rules: MM-1
TEST(GoTest, WhatTheSpawnerWroteIsVisible) {
  weft::run([] {
    for (int round = 1; round <= test::rounds(5000); ++round) {
      int plain = 0;
      plain = round;
      WaitGroup wg;
      wg.add(1);
      weft::go([&] {
        EXPECT_EQ(plain, round);
        plain = -round;
        wg.done();
      });
      wg.wait();
      ASSERT_EQ(plain, -round);
    }
  });
}

// Rules: GO-1
TEST(GoTest, FromAPlainThreadStartsOnTheDefaultRuntime) {
  weft::Runtime* seen = nullptr;
  WaitGroup wg;
  wg.add(1);
  weft::go([&] {
    seen = weft::Runtime::current();
    wg.done();
  });
  wg.wait();
  EXPECT_EQ(seen, &weft::Runtime::process_default());
}

// Rules: GO-1
TEST(GoTest, FromAGoroutineStartsOnItsOwnRuntime) {
  weft::Runtime runtime;
  runtime.run([&] {
    weft::Runtime* seen = nullptr;
    WaitGroup wg;
    wg.add(1);
    weft::go([&] {
      seen = weft::Runtime::current();
      wg.done();
    });
    wg.wait();
    EXPECT_EQ(seen, &runtime);
  });
}

// Rules: SCH-10, I1
TEST(GoTest, ManySpawnedWithoutYieldingEachRunExactlyOnce) {
  for (const unsigned processors : {1U, 2U, 4U}) {
    weft::run(weft::RuntimeOptions{.processors = processors}, [] {
      const auto count = test::crowd(std::size_t{3000});
      std::vector<std::atomic<int>> runs(count);
      WaitGroup wg;
      wg.add(static_cast<int>(count));
      for (std::atomic<int>& run : runs) {
        weft::go([&run, &wg] {
          run.fetch_add(1, std::memory_order_relaxed);
          wg.done();
        });
      }
      wg.wait();
      EXPECT_TRUE(std::all_of(runs.begin(), runs.end(), [](const auto& run) { return run.load() == 1; }));
    });
  }
}

// Rules: SCH-10, I1, GO-1
TEST(GoTest, SeveralPlainThreadsMaySpawnAtOnce) {
  constexpr int kThreads = 4;
  const int each = test::rounds(5000);
  std::atomic<int> runs{0};
  WaitGroup wg;
  wg.add(kThreads * each);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < each; ++i) {
        weft::go([&] {
          runs.fetch_add(1, std::memory_order_relaxed);
          wg.done();
        });
      }
    });
  }
  wg.wait();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(runs.load(), kThreads * each);
}

// Rules: SCH-13, I3
TEST(GoTest, SpawnThenParkNeverLosesTheWakeUp) {
  for (const unsigned processors : {1U, 2U, 4U}) {
    weft::run(weft::RuntimeOptions{.processors = processors}, [] {
      const auto answer = weft::make_chan<int>();
      for (int i = 0; i < test::rounds(20'000); ++i) {
        weft::go([&] { answer.send(i); });
        ASSERT_EQ(*answer.recv(), i);
      }
    });
  }
}

// Rules: GO-5
TEST(GoTest, ADaisyChainBuildsAndTearsDown) {
  weft::run([] {
    const int length = test::crowd(10'000);
    const auto leftmost = weft::make_chan<int>();
    auto left = leftmost;
    for (int i = 0; i < length; ++i) {
      const auto right = weft::make_chan<int>();
      weft::go([left, right] { left.send(1 + *right.recv()); });
      left = right;
    }
    weft::go([left] { left.send(1); });
    EXPECT_EQ(*leftmost.recv(), length + 1);
  });
}

// ---- identity ----

// Rules: GO-4
TEST(GoTest, IdsAreNeverReusedNotEvenAcrossRuntimes) {
  std::vector<std::uint64_t> ids;
  for (int runtime = 0; runtime < 3; ++runtime) {
    weft::run(weft::RuntimeOptions{}, [&] {
      ids.push_back(weft::this_goroutine::id());
      std::vector<std::uint64_t> here(4000);
      WaitGroup wg;
      for (std::uint64_t& id : here) {
        wg.go([&id] { id = weft::this_goroutine::id(); });
      }
      wg.wait();
      ids.insert(ids.end(), here.begin(), here.end());
    });
  }
  std::sort(ids.begin(), ids.end());
  EXPECT_NE(ids.front(), 0U);
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

// Rules: GO-4
TEST(GoTest, MainIsGoroutineOne) {
  const auto child = test::in_child([] {
    weft::run([] {
      const std::uint64_t main_id = weft::this_goroutine::id();
      WaitGroup wg;
      std::atomic<int> others_called_one{0};
      for (int i = 0; i < 1000; ++i) {
        wg.go([&] { others_called_one += weft::this_goroutine::id() == 1 ? 1 : 0; });
      }
      wg.wait();
      std::printf("%llu %d\n", static_cast<unsigned long long>(main_id), others_called_one.load());
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "1 0\n");
}

// Rules: GO-4
TEST(GoTest, IdentityStaysTheSameOverParking) {
  weft::run([] {
    WaitGroup wg;
    for (int i = 0; i < 50; ++i) {
      wg.go(weft::GoOptions{.name = "worker-" + std::to_string(i)}, [i] {
        const std::uint64_t id = weft::this_goroutine::id();
        for (int n = 0; n < 50; ++n) {
          weft::yield();
          ASSERT_EQ(weft::this_goroutine::id(), id);
          ASSERT_EQ(weft::this_goroutine::name(), "worker-" + std::to_string(i));
          ASSERT_TRUE(weft::this_goroutine::is_goroutine());
        }
      });
    }
    wg.wait();
  });
}

// Rules: GO-4
TEST(GoTest, NamesAreCopiedWhateverTheirLength) {
  weft::run([] {
    for (const std::size_t length :
         {std::size_t{0}, std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{300}}) {
      auto name = std::make_unique<std::string>(length, 'n');
      const auto out = weft::make_chan<std::string>(1);
      weft::go(weft::GoOptions{.name = *name}, [out] { out.send(std::string(weft::this_goroutine::name())); });
      name->assign(length, 'x');
      name.reset();
      const std::string seen = *out.recv();
      EXPECT_FALSE(seen.empty() && length != 0);
      EXPECT_EQ(seen, std::string(seen.size(), 'n'));  // a very long one may be cut
      if (length <= 16) {
        EXPECT_EQ(seen.size(), length);
      }
    }
    const auto out = weft::make_chan<std::string>(1);
    weft::go([out] { out.send(std::string(weft::this_goroutine::name())); });
    EXPECT_EQ(*out.recv(), "") << "a name left over from the previous user of the stack";
  });
}

// Rules: GO-4
TEST(GoTest, APlainThreadHasNoIdentity) {
  EXPECT_EQ(weft::this_goroutine::id(), 0U);
  EXPECT_EQ(weft::this_goroutine::name(), "");
  EXPECT_FALSE(weft::this_goroutine::is_goroutine());
  EXPECT_EQ(weft::Runtime::current(), nullptr);
}

[[gnu::noinline]] int touch_stack(int depth) {
  volatile unsigned char frame[4096];
  frame[0] = static_cast<unsigned char>(depth);
  frame[4095] = 1;
  const int below = depth == 0 ? 0 : touch_stack(depth - 1);
  return below + frame[4095] + (frame[0] == static_cast<unsigned char>(depth) ? 0 : 1);
}

// Rules: GO-5
TEST(GoTest, StackSizeIsHonoured) {
  weft::run([] {
    const auto out = weft::make_chan<int>(1);
    for (int round = 0; round < 3; ++round) {
      weft::go(weft::GoOptions{.name = "deep", .stack_size = std::size_t{16} << 20U},
               [out] { out.send(touch_stack(1000)); });
      EXPECT_EQ(*out.recv(), 1001);
      weft::go([out] { out.send(touch_stack(10)); });
      EXPECT_EQ(*out.recv(), 11);
    }
  });
}

// ---- counting ----

// Rules: GO-6
TEST(GoTest, LiveCountsUserGoroutinesOnly) {
  weft::run(weft::RuntimeOptions{.processors = 4}, [] { EXPECT_EQ(weft::stats().live, 1U); });
  weft::Runtime runtime;
  EXPECT_EQ(runtime.stats().live, 0U);
  runtime.run([&] {
    EXPECT_EQ(weft::stats().live, 1U);
    const auto gate = weft::make_chan<weft::Unit>();
    WaitGroup wg;
    for (int i = 0; i < 100; ++i) {
      wg.go([gate] { gate.recv(); });
    }
    EXPECT_EQ(weft::stats().live, 101U);
    EXPECT_EQ(runtime.stats().live, 101U);
    gate.close();
    wg.wait();
    test::eventually([] { return weft::stats().live == 1; });
    EXPECT_GE(weft::stats().spawned, 101U);
  });
  test::eventually([&] { return runtime.stats().live == 0; });
}

// Rules: GO-6, GO-7
TEST(GoTest, FinishedGoroutinesDropOutOfTheCount) {
  weft::run(weft::RuntimeOptions{}, [] {
    for (int round = 0; round < 20; ++round) {
      WaitGroup wg;
      for (int i = 0; i < 100; ++i) wg.go([] { weft::yield(); });
      wg.wait();
      test::eventually([] { return weft::stats().live == 1; });
    }
  });
}

// ---- yield ----

// Rules: GO-8
TEST(GoTest, PollingWithYieldLetsABlockedPeerComplete) {
  for (const unsigned processors : {1U, 2U}) {
    weft::run(weft::RuntimeOptions{.processors = processors}, [] {
      const auto values = weft::make_chan<int>();
      WaitGroup wg;
      wg.go([&] {
        for (int i = 0; i < 100; ++i) values.send(i);
      });
      for (int i = 0; i < 100; ++i) {
        for (;;) {
          if (const auto value = values.try_recv()) {
            ASSERT_EQ(*value, i);
            break;
          }
          weft::yield();
        }
      }
      wg.wait();
    });
  }
}

// Rules: GO-8
TEST(GoTest, YieldGoesBehindEverybodyElse) {
  // Whoever yields in a loop must not keep any runnable goroutine out, on one processor.
  weft::run(weft::RuntimeOptions{.processors = 1}, [] {
    std::atomic<bool> stop{false};
    std::array<long, 8> turns{};
    WaitGroup wg;
    for (long& count : turns) {
      wg.go([&stop, &count] {
        while (!stop.load(std::memory_order_relaxed)) {
          ++count;
          weft::yield();
        }
      });
    }
    const auto all_had_turns = [&] { return std::all_of(turns.begin(), turns.end(), [](long n) { return n >= 100; }); };
    while (!all_had_turns()) weft::yield();
    stop.store(true, std::memory_order_relaxed);
    wg.wait();
    if (!test::chaos()) {
      const auto [fewest, most] = std::minmax_element(turns.begin(), turns.end());
      EXPECT_LE(*most - *fewest, 10) << "strict turns on one processor";
    }
  });
}

// Rules: GO-8
TEST(GoTest, YieldOnAPlainThreadReturns) {
  for (int i = 0; i < 100; ++i) weft::yield();
}

// ---- exceptions inside a goroutine ----

// Rules: PAN-4
TEST(GoTest, AnExceptionCaughtAtAnyFrameOfTheGoroutineEndsNothing) {
  weft::run([] {
    std::string log;
    WaitGroup wg;
    wg.go([&] {
      const Trace outer(log, 'o');
      const auto deep = [&](const auto& self, int depth) -> void {
        const Trace frame(log, static_cast<char>('0' + depth));
        if (depth == 3) throw std::runtime_error("deep");
        self(self, depth + 1);
        log += '!';
      };
      try {
        deep(deep, 0);
      } catch (const std::runtime_error& error) {
        log += error.what();
      }
      log += '.';
    });
    wg.wait();
    EXPECT_EQ(log, "3210deep.o");
  });
}

// Rules: PAN-4
TEST(GoTest, AGoroutineMayThrowAndCatchAgainAndAgainOverParking) {
  weft::run([] {
    WaitGroup wg;
    for (int g = 0; g < 20; ++g) {
      wg.go([g] {
        for (int i = 0; i < test::rounds(200); ++i) {
          try {
            weft::yield();
            throw g * 1000 + i;
          } catch (const int value) {
            ASSERT_EQ(value, g * 1000 + i);
          }
          weft::yield();
        }
      });
    }
    wg.wait();
  });
}

// Rules: PAN-1, PAN-2
TEST(GoTest, AnUncaughtExceptionEndsTheProcessAfterThatGoroutinesDestructors) {
  const auto child = test::in_child([] {
    weft::run([] {
      const Shout main_guard("main unwound");
      WaitGroup wg;
      wg.add(1);
      weft::go([&] {
        const Shout guard("goroutine unwound");
        std::puts("before");
        std::fflush(stdout);
        throw std::runtime_error("boom");
      });
      wg.wait();
      std::puts("after");
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "before\ngoroutine unwound\n");
  EXPECT_TRUE(contains(child.err, "panic: boom")) << child.err;
}

// Rules: PAN-1
TEST(GoTest, NobodyButTheGoroutineItselfCanCatchItsException) {
  const auto child = test::in_child([] {
    weft::run([] {
      try {
        WaitGroup wg;
        wg.go([] {
          try {
            WaitGroup inner;
            inner.add(1);
            weft::go([] { throw std::runtime_error("two levels deep"); });
            inner.wait();
          } catch (...) {
            std::puts("spawner caught it");
          }
        });
        wg.wait();
      } catch (...) {
        std::puts("main caught it");
      }
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "");
  EXPECT_TRUE(contains(child.err, "panic: two levels deep")) << child.err;
}

// Rules: PAN-2
TEST(GoTest, OthersRunWhileAGoroutineUnwindsAndItMayPark) {
  const auto child = test::in_child([] {
    const auto values = weft::make_chan<int>();
    const auto printed = weft::make_chan<weft::Unit>();
    weft::run([&] {
      weft::go([&] {
        struct Sender {
          const weft::Chan<int>& values;
          const weft::Chan<weft::Unit>& printed;
          ~Sender() {
            for (int i = 0; i < 3; ++i) values.send(i);
            printed.recv();
          }
        };
        const Sender sender{values, printed};
        throw std::runtime_error("boom");
      });
      for (int i = 0; i < 3; ++i) {
        std::printf("received %d\n", *values.recv());
        std::fflush(stdout);
      }
      printed.send({});
      values.recv();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "received 0\nreceived 1\nreceived 2\n");
  EXPECT_TRUE(contains(child.err, "panic: boom")) << child.err;
}

// Rules: PAN-3
TEST(GoTest, MainReturningDuringAPanicDoesNotHideIt) {
  int reported = 0;
  for (int i = 0; i < 10; ++i) {
    const auto child = test::in_child([] {
      weft::run([] {
        WaitGroup wg;
        wg.add(1);
        weft::go([&wg] {
          struct Done {
            WaitGroup& wg;
            ~Done() { wg.done(); }
          };
          const Done done{wg};
          throw std::runtime_error("boom");
        });
        wg.wait();
      });
    });
    if (contains(child.err, "panic: boom")) {
      EXPECT_EQ(child.exit_code, 2) << child.err;
      ++reported;
    } else {
      EXPECT_EQ(child.exit_code, 0) << child.err;
    }
  }
  EXPECT_GE(reported, 1);
}

// Rules: PAN-10
TEST(GoTest, SeveralCrashesAtOnceAreReportedWholeAndExitTwo) {
  for (int round = 0; round < (test::kSanitized ? 3 : 10); ++round) {
    const auto child = test::in_child([] {
      weft::run(weft::RuntimeOptions{.processors = 4}, [] {
        const auto gate = weft::make_chan<weft::Unit>();
        for (int i = 0; i < 8; ++i) {
          weft::go([gate, i] {
            gate.recv();
            throw std::runtime_error("first line of " + std::to_string(i) + "\nsecond line of " + std::to_string(i));
          });
        }
        gate.close();
        weft::make_chan<weft::Unit>().recv();
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    int reports = 0;
    for (int i = 0; i < 8; ++i) {
      const std::string first = "panic: first line of " + std::to_string(i);
      const std::string whole = first + "\n\tsecond line of " + std::to_string(i);
      if (!contains(child.err, first)) continue;
      ++reports;
      EXPECT_TRUE(contains(child.err, whole)) << child.err;
      const std::size_t begin = child.err.find(whole);
      const std::size_t end = std::min(child.err.find("panic: ", begin + 1), child.err.size());
      const std::string report = child.err.substr(begin, end - begin);
      EXPECT_TRUE(contains(report, "goroutine ")) << child.err;
      EXPECT_EQ(report.find("goroutine "), report.rfind("\ngoroutine ") + 1) << child.err;
    }
    EXPECT_GE(reports, 1) << child.err;
  }
}

// ---- exit_goroutine ----

// Rules: PAN-8
TEST(GoTest, ExitGoroutineRunsDestructorsInOrderAndNothingElse) {
  weft::run([] {
    std::string log;
    WaitGroup wg;
    wg.go([&] {
      const Trace a(log, 'a');
      const auto inner = [&] {
        const Trace b(log, 'b');
        weft::exit_goroutine();
        log += '!';
      };
      const Trace c(log, 'c');
      inner();
      log += '!';
    });
    wg.wait();
    EXPECT_EQ(log, "bca");
  });
}

// Rules: PAN-8
TEST(GoTest, ExitGoroutineIsNotAnException) {
  weft::run([] {
    std::string log;
    WaitGroup wg;
    wg.go([&] {
      const Trace a(log, 'a');
      try {
        const Trace b(log, 'b');
        try {
          weft::exit_goroutine();
        } catch (const std::exception&) {
          log += '!';
        }
        log += '!';
      } catch (const weft::Panic&) {
        log += '!';
      } catch (...) {
        log += 'r';
        throw;
      }
      log += '!';
    });
    wg.wait();
    EXPECT_EQ(log, "bra");
  });
}

// Rules: PAN-8
TEST(GoTest, AnExceptionCaughtInsideADestructorDoesNotCancelTheExit) {
  weft::run([] {
    std::string log;
    WaitGroup wg;
    wg.go([&] {
      struct Recovers {
        std::string& log;
        ~Recovers() {
          try {
            weft::yield();
            throw std::runtime_error("x");
          } catch (const std::runtime_error&) {
            weft::yield();
            log += 'x';
          }
        }
      };
      const Trace a(log, 'a');
      const Recovers recovers{log};
      weft::exit_goroutine();
    });
    wg.wait();
    EXPECT_EQ(log, "xa");
  });
}

// Rules: PAN-8, PAN-2
TEST(GoTest, ExitGoroutineMayBlockInItsDestructors) {
  weft::run([] {
    const auto values = weft::make_chan<int>();
    WaitGroup wg;
    wg.go([&] {
      struct Sender {
        const weft::Chan<int>& values;
        ~Sender() { values.send(7); }
      };
      const Sender sender{values};
      weft::exit_goroutine();
    });
    EXPECT_EQ(*values.recv(), 7);
    wg.wait();
  });
}

// Rules: PAN-8
TEST(GoTest, ExitGoroutineFromInsideAHandlerEndsTheHandledExceptionToo) {
  test::Tally tally;
  weft::run([&] {
    WaitGroup wg;
    for (std::size_t i = 0; i < 100; ++i) {
      wg.go([&tally, i] {
        try {
          throw test::Counted(tally, i);
        } catch (const test::Counted& counted) {
          EXPECT_EQ(counted.id(), i);
          weft::yield();
          weft::exit_goroutine();
        }
      });
    }
    wg.wait();
    test::eventually([&] { return tally.live() == 0; });
  });
  EXPECT_EQ(tally.errors(), 0);
}

// Rules: PAN-8, GO-6
TEST(GoTest, ManyExitsLeaveNothingBehind) {
  weft::run(weft::RuntimeOptions{}, [] {
    for (int round = 0; round < test::rounds(50); ++round) {
      WaitGroup wg;
      for (int i = 0; i < 100; ++i) {
        wg.go([] {
          weft::yield();
          weft::exit_goroutine();
        });
      }
      wg.wait();
      test::eventually([] { return weft::stats().live == 1; });
    }
  });
}

// Rules: PAN-9, GEN-1
TEST(GoTest, ExitOfMainLetsTheOthersGoOnAndThenIsFatal) {
  const auto child = test::in_child([] {
    weft::run([] {
      weft::go([] {
        weft::sleep_for(5ms);
        std::puts("other done");
        std::fflush(stdout);
      });
      const Shout guard("main unwound");
      weft::exit_goroutine();
    });
    std::puts("run returned");
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "main unwound\nother done\n");
  EXPECT_EQ(child.err.find("fatal error: no goroutines (main called runtime.Goexit) - deadlock!\n"), 0U) << child.err;
}

// Rules: PAN-8
TEST(GoTest, ExitGoroutineOnAPlainThreadPanics) { EXPECT_THROW(weft::exit_goroutine(), weft::Panic); }

// ---- the end of the process ----

// Rules: GO-3, GEN-3
TEST(GoTest, MainsReturnEndsTheProcessAtOnce) {
  const auto child = test::in_child([] {
    static const auto quiet = weft::make_chan<int>();  // outlives the default runtime
    weft::run([] {
      weft::go([] {
        const Shout guard("yielder unwound");
        for (;;) weft::yield();
      });
      weft::go([] {
        const Shout guard("sleeper unwound");
        weft::sleep_for(30s);
        std::puts("late");
      });
      weft::go([] {
        const Shout guard("receiver unwound");
        quiet.recv();
      });
      for (int i = 0; i < 10; ++i) weft::yield();
      std::puts("bye");
    });
  });
  EXPECT_FALSE(child.timed_out);
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "bye\n");
}

// Rules: GO-3, HZ-17
TEST(GoTest, ProcessEndsCleanlyWhileGoroutinesOfTheDefaultRuntimeAreBusy) {
  for (int round = 0; round < (test::kSanitized ? 3 : 10); ++round) {
    const auto child = test::in_child([] {
      static const auto values = weft::make_chan<int>();  // outlives the default runtime
      weft::run([] {
        for (int i = 0; i < 20; ++i) {
          weft::go([] {
            for (int n = 0;; ++n) values.send(n);
          });
          weft::go([] {
            for (;;) values.recv();
          });
          weft::go([] {
            for (;;) weft::sleep_for(10us);
          });
        }
        for (int i = 0; i < 100; ++i) weft::yield();
      });
    });
    EXPECT_FALSE(child.timed_out);
    EXPECT_EQ(child.exit_code, 0) << child.err;
    EXPECT_EQ(child.signal, 0);
  }
}

// Rules: GEN-3
TEST(GoTest, ExitInsideAGoroutineEndsTheProcessWithItsStatus) {
  const auto from_main = test::in_child([] { weft::run([] { std::exit(7); }); });
  EXPECT_FALSE(from_main.timed_out);
  EXPECT_EQ(from_main.exit_code, 7) << from_main.err;
  const auto from_other = test::in_child([] {
    static const auto quiet = weft::make_chan<int>();
    weft::run([] {
      for (int i = 0; i < 10; ++i) {
        weft::go([] {
          for (;;) weft::yield();
        });
      }
      weft::go([] { std::exit(8); });
      quiet.recv();
    });
  });
  EXPECT_FALSE(from_other.timed_out);
  EXPECT_EQ(from_other.exit_code, 8) << from_other.err;
}

}  // namespace

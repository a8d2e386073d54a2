// SingleFlight: one call for each key, who shares it, what becomes of exceptions and exits, and forgetting.

#include <weft/single_flight.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
namespace test = weft::test;
using Flight = weft::SingleFlight<std::string, int>;

static_assert(!std::is_copy_constructible_v<Flight>);
static_assert(std::is_same_v<decltype(std::declval<Flight&>().do_call("", [] { return 1; })), Flight::Result>);
static_assert(
    std::is_same_v<decltype(std::declval<Flight&>().do_chan("", [] { return 1; })), weft::RecvChan<Flight::Result>>);

// Rules: SF-1, SF-2
TEST(SingleFlightTest, CallsForOneKeyShareOneResult) {
  weft::testing::run([] {
    Flight flight;
    int calls = 0;
    std::atomic<int> shared{0};
    const auto release = weft::make_chan<weft::Unit>();
    const auto f = [&] {
      ++calls;
      release.recv();
      return 42;
    };
    weft::WaitGroup wg;
    for (int i = 0; i < 10; ++i) {
      wg.go([&] {
        const Flight::Result result = flight.do_call("key", f);
        EXPECT_EQ(result.value, 42);
        shared += result.shared ? 1 : 0;
      });
    }
    weft::testing::wait();
    release.close();
    wg.wait();
    EXPECT_EQ(calls, 1);
    EXPECT_EQ(shared, 10);
    EXPECT_FALSE(flight.do_call("key", f).shared);
    EXPECT_EQ(calls, 2);
  });
}

// Rules: SF-1, SF-5
TEST(SingleFlightTest, CallsOneAfterTheOtherRunEach) {
  test::everywhere([] {
    Flight flight;
    int calls = 0;
    for (int i = 0; i < 5; ++i) EXPECT_EQ(flight.do_call("key", [&] { return ++calls; }).value, i + 1);
    EXPECT_EQ(flight.do_chan("key", [&] { return ++calls; }).recv()->value, 6);
    EXPECT_EQ(flight.do_call("key", [&] { return ++calls; }).value, 7) << "the entry goes before the result comes";
  });
}

// Rules: SF-5
TEST(SingleFlightTest, WhoHasTheResultStartsAnew) {
  weft::run([] {
    Flight flight;
    for (int round = 0; round < test::rounds(2000); ++round) {
      std::atomic<int> calls{0};
      const auto results = flight.do_chan("key", [&] { return ++calls; });
      ASSERT_EQ(results.recv()->value, 1);
      ASSERT_EQ(flight.do_call("key", [&] { return ++calls; }).value, 2);
    }
  });
}

// Rules: SF-1
TEST(SingleFlightTest, KeysAreIndependent) {
  test::everywhere([] {
    weft::SingleFlight<int, std::string> flight;
    const auto result = flight.do_call(1, [&] { return flight.do_call(2, [] { return "inner"; }).value + "!"; });
    EXPECT_EQ(result.value, "inner!");
    EXPECT_FALSE(result.shared);
  });
}

// Rules: SF-3, SF-2
TEST(SingleFlightTest, AChannelGetsExactlyOneResultAndStaysOpen) {
  weft::testing::run([] {
    Flight flight;
    const auto f = [] {
      weft::sleep_for(1s);
      return 7;
    };
    const auto first = flight.do_chan("key", f);
    const auto second = flight.do_chan("key", f);
    EXPECT_FALSE(first == second);
    EXPECT_EQ(first.capacity(), 1U);
    EXPECT_EQ(first.try_recv().status(), weft::ChanStatus::would_block);
    weft::sleep_for(2s);
    for (const auto& results : {first, second}) {
      const auto result = results.try_recv();
      ASSERT_TRUE(result);
      EXPECT_EQ(result->value, 7);
      EXPECT_TRUE(result->shared);
      EXPECT_EQ(results.try_recv().status(), weft::ChanStatus::would_block);
    }
    const auto alone = flight.do_chan("key", f).recv();
    EXPECT_FALSE(alone->shared);
  });
}

// Rules: SF-4
TEST(SingleFlightTest, ForgetLetsTheNextCallStartAnew) {
  weft::testing::run([] {
    Flight flight;
    const auto gate1 = weft::make_chan<weft::Unit>();
    const auto gate2 = weft::make_chan<weft::Unit>();
    int starts = 0;
    const auto call = [&](const weft::Chan<weft::Unit>& gate, int value) {
      return flight.do_chan("key", [&starts, gate, value] {
        ++starts;
        gate.recv();
        return value;
      });
    };
    const auto first = call(gate1, 1);
    const auto joins_first = call(gate1, -1);
    weft::testing::wait();
    flight.forget("key");
    flight.forget("another");
    const auto second = call(gate2, 2);
    weft::testing::wait();
    EXPECT_EQ(starts, 2);
    gate1.close();
    EXPECT_EQ(first.recv()->value, 1);
    EXPECT_EQ(joins_first.recv()->value, 1);
    const auto third = call(gate2, 3);  // joins the second: the end of the first has not removed it
    weft::testing::wait();
    EXPECT_EQ(starts, 2);
    gate2.close();
    EXPECT_EQ(second.recv()->value, 2);
    const auto last = third.recv();
    EXPECT_EQ(last->value, 2);
    EXPECT_TRUE(last->shared);
  });
}

// Rules: SF-6
TEST(SingleFlightTest, AnExceptionReachesLeaderAndDuplicates) {
  weft::testing::run([] {
    Flight flight;
    std::atomic<int> caught{0};
    weft::WaitGroup wg;
    for (int i = 0; i < 5; ++i) {
      wg.go([&] {
        try {
          flight.do_call("key", []() -> int {
            weft::sleep_for(1s);
            throw std::runtime_error("boom");
          });
        } catch (const std::runtime_error& error) {
          if (std::string(error.what()) == "boom") ++caught;
        }
      });
    }
    wg.wait();
    EXPECT_EQ(caught, 5);
    EXPECT_EQ(flight.do_call("key", [] { return 1; }).value, 1);
  });
}

// Rules: SF-6
TEST(SingleFlightTest, AnExceptionThatAChannelWaitsForEndsTheProcess) {
  for (const bool leads : {true, false}) {
    const auto child = test::in_child([leads] {
      weft::testing::run([leads] {
        Flight flight;
        const auto f = []() -> int {
          weft::sleep_for(1s);
          throw std::runtime_error("nobody can catch this");
        };
        weft::go([&] {
          if (leads) weft::sleep_for(1ms);
          try {
            flight.do_call("key", f);
          } catch (const std::runtime_error&) {
            std::puts("caught");
          }
        });
        if (!leads) weft::testing::wait();
        flight.do_chan("key", f).recv();
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_NE(child.err.find("panic: nobody can catch this"), std::string::npos) << child.err;
  }
}

// Rules: SF-7, PAN-8
TEST(SingleFlightTest, ExitGoroutineEndsLeaderAndDuplicates) {
  weft::testing::run([] {
    Flight flight;
    std::atomic<int> unwound{0};
    std::atomic<int> returned{0};
    struct Guard {
      std::atomic<int>& count;
      ~Guard() { ++count; }
    };
    const auto f = []() -> int {
      weft::sleep_for(1s);
      weft::exit_goroutine();
    };
    weft::WaitGroup wg;
    for (int i = 0; i < 5; ++i) {
      wg.go([&] {
        const Guard guard{unwound};
        flight.do_call("key", f);
        ++returned;
      });
    }
    weft::testing::wait();
    const auto results = flight.do_chan("key", f);
    wg.wait();
    EXPECT_EQ(unwound, 5);
    EXPECT_EQ(returned, 0);
    weft::testing::wait();
    EXPECT_EQ(results.try_recv().status(), weft::ChanStatus::would_block);
    EXPECT_EQ(flight.do_call("key", [] { return 1; }).value, 1);
  });
}

/// Its first comparison, by whoever finds a call in flight, opens the gate: the lookup has the lock by then, so the leader
/// cannot end before the one who compares has joined.
struct GateKey {
  weft::Chan<weft::Unit> gate;
  friend bool operator==(const GateKey& a, const GateKey&) {
    static std::atomic<bool> is_open{false};
    if (!is_open.exchange(true)) a.gate.close();
    return true;
  }
};
struct GateHash {
  std::size_t operator()(const GateKey&) const { return 1; }
};

// Rules: SF-7
TEST(SingleFlightTest, APlainThreadThatWaitedForAnExitGetsAPanic) {
  weft::SingleFlight<GateKey, int, GateHash> flight;
  const GateKey key{weft::make_chan<weft::Unit>()};
  const auto results = flight.do_chan(key, [&key]() -> int {
    key.gate.recv();
    weft::exit_goroutine();
  });
  try {
    flight.do_call(key, [] { return 1; });
    ADD_FAILURE() << "no panic";
  } catch (const weft::Panic& panic) {
    EXPECT_STREQ(panic.what(), "weft: SingleFlight::do_call: the call that was waited for ended by exit_goroutine");
  }
}

// Rules: SF-8
TEST(SingleFlightTest, ADuplicateMayGiveUpAndTheLeaderGoesOn) {
  weft::testing::run([] {
    Flight flight;
    bool finished = false;
    const auto f = [&] {
      weft::sleep_for(1h);
      finished = true;
      return 9;
    };
    const auto leader = flight.do_chan("key", f);
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 1s);
    const auto duplicate = flight.do_chan("key", f);
    EXPECT_EQ(weft::select(duplicate.on_recv(), ctx.on_done()), 1U);
    EXPECT_FALSE(flight.do_call(ctx, "key", f)) << "a context that is done always wins";
    auto [other, cancel_other] = weft::with_timeout(weft::background(), 1s);
    EXPECT_FALSE(flight.do_call(other, "key", f));
    EXPECT_FALSE(finished);
    const auto patient = flight.do_call(weft::background(), "key", f);
    ASSERT_TRUE(patient);
    EXPECT_EQ(patient->value, 9);
    EXPECT_TRUE(patient->shared);
    EXPECT_TRUE(finished);
    EXPECT_EQ(leader.recv()->value, 9);
    EXPECT_FALSE(flight.do_call(weft::background(), "alone", [] { return 1; })->shared);
  });
}

// Rules: HZ-5
TEST(SingleFlightTest, MayDieWhileACallIsInFlight) {
  weft::testing::run([] {
    weft::RecvChan<Flight::Result> results;
    {
      Flight flight;
      results = flight.do_chan("key", [] {
        weft::sleep_for(1s);
        return 3;
      });
    }
    EXPECT_EQ(results.recv()->value, 3);
  });
}

// Rules: SF-1, MM-14, HZ-5
TEST(SingleFlightTest, ManyCallersAtOnceGetWhatTheirLeaderMade) {
  weft::run([] {
    for (int round = 0; round < test::rounds(1000); ++round) {
      auto flight = std::make_unique<weft::SingleFlight<int, std::shared_ptr<int>>>();
      std::atomic<int> calls{0};
      std::atomic<int> results{0};
      weft::WaitGroup wg;
      for (int i = 0; i < 4; ++i) {
        wg.go([&, i] {
          const auto result = flight->do_call(i % 2, [&, i] {
            ++calls;
            return std::make_shared<int>(i % 2);
          });
          if (*result.value == i % 2) ++results;
        });
      }
      wg.wait();
      flight.reset();
      ASSERT_EQ(results, 4);
      ASSERT_GE(calls, 2);
    }
  });
}

/// A key whose hash and comparison yield: they are code of the user's, and may park.
struct SlowKey {
  int number;
  friend bool operator==(const SlowKey& a, const SlowKey& b) {
    weft::yield();
    return a.number == b.number;
  }
};
struct SlowHash {
  std::size_t operator()(const SlowKey& key) const {
    weft::yield();
    return static_cast<std::size_t>(key.number) % 2;
  }
};

// Rules: HZ-7
TEST(SingleFlightTest, HashAndComparisonMayParkAndYield) {
  weft::run([] {
    weft::SingleFlight<SlowKey, int, SlowHash> flight;
    std::atomic<int> right{0};
    weft::WaitGroup wg;
    for (int i = 0; i < 64; ++i) {
      wg.go([&, i] {
        if (flight.do_call({i % 8}, [i] { return i % 8; }).value == i % 8) ++right;
      });
    }
    wg.wait();
    EXPECT_EQ(right, 64);
  });
}

}  // namespace

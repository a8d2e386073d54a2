// map, map_ordered, for_each: results in either order, bounded work, early ends that leave nobody behind.

#include <weft/map.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <memory>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
namespace test = weft::test;

static_assert(std::is_same_v<decltype(weft::map(weft::RecvChan<int>(), 1, [](int v) { return std::to_string(v); })),
                             weft::RecvChan<std::string>>);

/// 1 to n, then closed; ends early with ctx.
weft::RecvChan<int> count_to(int n, weft::Context ctx = {}) {
  const auto out = weft::make_chan<int>();
  weft::go([out, n, ctx] {
    for (int i = 1; i <= n; ++i) {
      if (out.send(ctx, i) != weft::ChanStatus::ok) break;
    }
    out.close();
  });
  return out;
}

/// Keeps the highest number of those who are inside.
class Peak {
 public:
  void enter() {
    const int now = ++inside_;
    for (int seen = peak_; now > seen && !peak_.compare_exchange_weak(seen, now);) {
    }
  }
  void leave() { --inside_; }
  [[nodiscard]] int peak() const { return peak_; }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> peak_{0};
};

// Rules: S-7, WP-1
TEST(MapTest, ScenarioOfAPipeline) {
  test::everywhere([] {
    long sum = 0;
    int count = 0;
    for (const long square : weft::map(count_to(1000), 8, [](int v) { return static_cast<long>(v) * v; })) {
      sum += square;
      ++count;
    }
    EXPECT_EQ(count, 1000);
    EXPECT_EQ(sum, 333833500);
  });
}

// Rules: WP-1
TEST(MapTest, ResultsComeAsTheyAreReady) {
  weft::testing::run([] {
    const auto in = weft::make_chan<int>(3);
    for (const int v : {3, 1, 2}) in.send(v);
    in.close();
    std::vector<int> out;
    for (const int v : weft::map(in, 3, [](int s) {
           weft::sleep_for(std::chrono::seconds(s));
           return s;
         })) {
      out.push_back(v);
    }
    EXPECT_EQ(out, (std::vector<int>{1, 2, 3}));
  });
}

TEST(MapTest, OrderedKeepsTheOrderAndStillOverlaps) {
  weft::testing::run([] {
    const auto start = weft::testing::now();
    std::vector<int> out;
    for (const int v : weft::map_ordered(count_to(12), 4, [](int i) {
           weft::sleep_for(std::chrono::seconds(5 - i % 4));
           return i;
         })) {
      out.push_back(v);
    }
    std::vector<int> expected(12);
    std::iota(expected.begin(), expected.end(), 1);
    EXPECT_EQ(out, expected);
    EXPECT_LT(weft::testing::now() - start, 25s);  // 42 s one after the other
  });
}

TEST(MapTest, OrderedUnderLoad) {
  test::everywhere([] {
    for (const std::size_t workers : {0U, 1U, 2U, 7U}) {
      int next = 1;
      for (const int v : weft::map_ordered(count_to(test::rounds(2000)), workers, [](int i) {
             if (i % 3 == 0) weft::yield();
             return i;
           })) {
        ASSERT_EQ(v, next++);
      }
      ASSERT_EQ(next, test::rounds(2000) + 1);
    }
  });
}

// Rules: WP-2
TEST(MapTest, NoMoreThanTheWorkersAreInside) {
  weft::testing::run([] {
    for (const bool ordered : {false, true}) {
      Peak peak;
      const auto f = [&peak](int v) {
        peak.enter();
        weft::sleep_for(1ms);
        peak.leave();
        return v;
      };
      int count = 0;
      for ([[maybe_unused]] const int v :
           ordered ? weft::map_ordered(count_to(40), 5, f) : weft::map(count_to(40), 5, f))
        ++count;
      EXPECT_EQ(count, 40);
      EXPECT_EQ(peak.peak(), 5);
    }
  });
}

TEST(MapTest, TakesAndReturnsMoveOnlyValues) {
  weft::run([] {
    const auto in = weft::make_chan<std::unique_ptr<int>>(2);
    in.send(std::make_unique<int>(1));
    in.send(std::make_unique<int>(2));
    in.close();
    int sum = 0;
    for (const auto& p : weft::map_ordered(in, 2, [](std::unique_ptr<int> p) {
           *p *= 10;
           return p;
         })) {
      sum += *p;
    }
    EXPECT_EQ(sum, 30);
  });
}

// Rules: WP-3
TEST(MapTest, AReaderThatStopsEarlyAndCancelsLeavesNobodyBehind) {
  for (const bool ordered : {false, true}) {
    weft::testing::run([ordered] {
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      const auto f = [](int v) { return v; };
      const weft::RecvChan<int> in = count_to(1000, ctx);
      const auto out = ordered ? weft::map_ordered(ctx, in, 4, f) : weft::map(ctx, in, 4, f);
      EXPECT_TRUE(out.recv());
      weft::testing::wait();  // everybody is parked in the middle of it
      cancel();
      weft::testing::wait();
      EXPECT_EQ(out.recv().status(), weft::ChanStatus::closed);
      weft::testing::verify_no_leaks();
    });
  }
}

// Rules: WP-3
TEST(MapTest, ACancelWhileNothingComesClosesTheOutput) {
  for (const bool ordered : {false, true}) {
    weft::testing::run([ordered] {
      auto [ctx, cancel] = weft::with_timeout(weft::background(), 1h);
      const auto f = [](int v) { return v; };
      const auto in = weft::make_chan<int>();
      const auto out = ordered ? weft::map_ordered(ctx, in, 3, f) : weft::map(ctx, in, 3, f);
      EXPECT_EQ(out.recv().status(), weft::ChanStatus::closed);
      weft::testing::verify_no_leaks();
    });
  }
}

// Rules: PAN-8
TEST(MapTest, AValueWhoseFunctionExitsHasNoResult) {
  for (const bool ordered : {false, true}) {
    weft::run([ordered] {
      const auto f = [](int v) {
        if (v % 2 == 0) weft::exit_goroutine();
        return v;
      };
      int sum = 0;
      for (const int v : ordered ? weft::map_ordered(count_to(100), 3, f) : weft::map(count_to(100), 3, f)) sum += v;
      EXPECT_EQ(sum, 2500);
    });
  }
}

// Rules: PAN-1
TEST(MapTest, AnExceptionInTheFunctionEndsTheProcess) {
  for (const bool ordered : {false, true}) {
    const auto child = test::in_child([ordered] {
      weft::run([ordered] {
        const auto f = [](int v) {
          if (v == 3) throw std::runtime_error("in map");
          return v;
        };
        for ([[maybe_unused]] const int v :
             ordered ? weft::map_ordered(count_to(5), 1, f) : weft::map(count_to(5), 1, f)) {
        }
      });
    });
    EXPECT_EQ(child.exit_code, 2);
    EXPECT_NE(child.err.find("panic: in map"), std::string::npos) << child.err;
  }
}

// Rules: WP-2
TEST(ForEachTest, CallsEachElementOnceAndNoMoreThanTheLimitAtOnce) {
  weft::testing::run([] {
    std::vector<int> values(20);
    Peak peak;
    weft::for_each(values, 3, [&peak](int& v) {
      peak.enter();
      weft::sleep_for(1ms);
      ++v;
      peak.leave();
    });
    EXPECT_EQ(values, std::vector<int>(20, 1));
    EXPECT_EQ(peak.peak(), 3);
  });
}

TEST(ForEachTest, TakesRangesOfAllKinds) {
  test::everywhere([] {
    std::atomic<int> sum{0};
    const auto add = [&sum](int v) { sum += v; };
    weft::for_each(std::list<int>{1, 2, 3}, 2, add);
    int array[] = {10, 20};
    weft::for_each(array, 0, add);
    const std::vector<bool> bits{true, false, true};
    weft::for_each(bits, 1, [&sum](bool b) { sum += b ? 100 : 0; });
    std::istringstream words("1000 2000");
    struct Words {
      std::istringstream& in;
      [[nodiscard]] auto begin() const { return std::istream_iterator<int>(in); }
      [[nodiscard]] auto end() const { return std::istream_iterator<int>(); }
    };
    weft::for_each(Words{words}, 2, add);
    weft::for_each(std::vector<int>{}, 2, add);
    EXPECT_EQ(sum, 3236);
    weft::for_each(count_to(100), 4, add);
    const auto chan = weft::make_chan<std::unique_ptr<int>>(1);
    chan.send(std::make_unique<int>(1));
    chan.close();
    weft::for_each(chan, 4, [&sum](const std::unique_ptr<int>& p) { sum += *p; });
    EXPECT_EQ(sum, 3236 + 5050 + 1);
  });
}

TEST(ForEachTest, RethrowsTheFirstExceptionAndStartsNothingMore) {
  weft::testing::run([] {
    std::atomic<int> started{0};
    std::vector<int> values(100);
    std::iota(values.begin(), values.end(), 0);
    try {
      weft::for_each(values, 4, [&started](int v) {
        ++started;
        weft::sleep_for(std::chrono::milliseconds(v == 2 ? 1 : 10));
        if (v >= 2) throw std::runtime_error(std::to_string(v));
      });
      ADD_FAILURE() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "2");
    }
    EXPECT_EQ(started, 4);
  });
}

TEST(ForEachTest, AnErrorEndsTheWaitForTheNextValue) {
  weft::testing::run([] {
    const auto in = weft::make_chan<int>(1);
    in.send(1);
    EXPECT_THROW(weft::for_each(in, 4,
                                [](int) {
                                  weft::sleep_for(1s);
                                  throw std::runtime_error("stop");
                                }),
                 std::runtime_error);
    in.send(2);
    EXPECT_EQ(in.size(), 1U) << "what was not started stays where it was";
  });
}

// Rules: WP-3
TEST(ForEachTest, WithAContextItSaysThatElementsWereLeftOut) {
  weft::testing::run([] {
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 15ms);
    int started = 0;
    const auto f = [&started](int) {
      ++started;
      weft::sleep_for(10ms);
    };
    try {
      weft::for_each(ctx, std::vector<int>(10), 1, f);
      ADD_FAILURE() << "no exception";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), weft::errc::deadline_exceeded);
    }
    EXPECT_EQ(started, 2);
    auto [patient, cancel_patient] = weft::with_timeout(weft::background(), 1h);
    weft::for_each(patient, std::vector<int>(3), 1, f);
    EXPECT_EQ(started, 5);
    EXPECT_THROW(weft::for_each(patient, weft::make_chan<int>(), 1, f), std::system_error);
  });
}

/// Fails on the way to its third element.
struct Broken {
  struct Iterator {
    using value_type = int;
    using difference_type = std::ptrdiff_t;
    int at = 0;
    int operator*() const { return at; }
    Iterator& operator++() {
      if (++at == 2) throw std::runtime_error("range");
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const Iterator&) const = default;
  };
  [[nodiscard]] Iterator begin() const { return {0}; }
  [[nodiscard]] Iterator end() const { return {9}; }
};

TEST(ForEachTest, ARangeThatThrowsIsWaitedForToo) {
  weft::testing::run([] {
    std::atomic<int> finished{0};
    EXPECT_THROW(weft::for_each(Broken{}, 9,
                                [&finished](int) {
                                  weft::sleep_for(1ms);
                                  ++finished;
                                }),
                 std::runtime_error);
    EXPECT_LE(finished, 2);
    weft::testing::verify_no_leaks();
  });
}

}  // namespace

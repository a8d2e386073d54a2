// A million timers at once, in virtual time: each does what it is for, once, at the very instant it is due.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/testing.hpp>
#include <weft/timer.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
namespace test = weft::test;

/// Within a second, in an order that has nothing to do with that of the calls.
std::chrono::nanoseconds delay_of(std::size_t i) {
  return std::chrono::nanoseconds(1 + (i * 7'919 + 13) % 1'000'000'000);
}

// Rules: TM-4, TM-6
TEST(MillionTimersTest, EachFunctionRunsOnceAtItsTime) {
  const std::size_t count = test::crowd(std::size_t{1'000'000});
  std::vector<std::uint8_t> ran(count);
  std::atomic<std::size_t> early_or_late{0};
  weft::testing::run([&] {
    const weft::TimePoint start = weft::testing::now();
    for (std::size_t i = 0; i < count; ++i) {
      weft::after_func(delay_of(i), [&, i, start] {
        if (weft::testing::now() - start != delay_of(i)) early_or_late.fetch_add(1);
        ++ran[i];
      });
    }
    weft::sleep_for(2s);
  });
  EXPECT_EQ(early_or_late.load(), 0U);
  std::size_t once = 0;
  for (const std::uint8_t times : ran) once += times == 1 ? 1 : 0;
  EXPECT_EQ(once, count);
}

// Rules: TM-13, TM-18
TEST(MillionTimersTest, EachChannelDeliversItsTimeToWhoLooks) {
  const std::size_t count = test::crowd(std::size_t{1'000'000});
  std::size_t right = 0;
  weft::testing::run([&] {
    const weft::TimePoint start = weft::testing::now();
    std::vector<weft::Timer> timers;
    timers.reserve(count);
    for (std::size_t i = 0; i < count; ++i) timers.emplace_back(delay_of(i));
    weft::sleep_for(500ms);
    std::size_t due = 0;
    for (std::size_t i = 0; i < count; ++i) due += delay_of(i) <= 500ms ? 1 : 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (const auto tick = timers[i].chan().try_recv()) {
        right += *tick - start == delay_of(i) ? 1 : 0;
      }
    }
    EXPECT_EQ(right, due);
    // Those that are left are stopped by reset, and come again.
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(timers[i].reset(1h), delay_of(i) > 500ms);
    for (const weft::Timer& timer : timers) EXPECT_FALSE(timer.chan().try_recv());
    EXPECT_EQ(*timers.back().chan().recv() - start, 1h + 500ms);
  });
}

}  // namespace

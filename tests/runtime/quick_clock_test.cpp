// QuickClock: beside the system's clock.

#include "quick_clock.hpp"

#include <gtest/gtest.h>
#include <sched.h>

#include <chrono>
#include <cstdint>

#include "../support/support.hpp"

namespace weft::detail {
namespace {

std::int64_t system_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// The processors that the calling thread may run on, as before, at the end.
class Affinity {
 public:
  Affinity() { sched_getaffinity(0, sizeof before_, &before_); }
  Affinity(const Affinity&) = delete;
  Affinity& operator=(const Affinity&) = delete;
  ~Affinity() { sched_setaffinity(0, sizeof before_, &before_); }
  /// To the next one of them.
  void move_on() {
    do {
      at_ = (at_ + 1) % CPU_SETSIZE;
    } while (!CPU_ISSET(at_, &before_));
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(at_, &only);
    sched_setaffinity(0, sizeof only, &only);
  }

 private:
  cpu_set_t before_{};
  std::size_t at_ = 0;
};

constexpr std::int64_t kMostAheadNs = 1'500;

/// Reads it between two readings of the system's clock; `last` is what it said before. Returns the first of those.
std::int64_t read_beside(QuickClock& clock, std::int64_t& last) {
  const std::int64_t before = system_ns();
  const std::int64_t now = clock.now_ns();
  const std::int64_t after = system_ns();
  EXPECT_GE(now, before);
  EXPECT_LE(now, after + kMostAheadNs);
  EXPECT_GE(now, last);
  last = now;
  return before;
}

// Broken to check it: behind with a rate that is a thirtieth too low, ahead with one that is a fiftieth too high.
TEST(QuickClockTest, IsNeverBehindAndNeverMuchAhead) {
  QuickClock clock;
  std::int64_t last = INT64_MIN;
  const std::int64_t end = system_ns() + 50'000'000;
  while (read_beside(clock, last) < end && !HasFailure()) {
  }
}

TEST(QuickClockTest, FollowsItsThreadToOtherProcessors) {
  QuickClock clock;
  Affinity affinity;
  std::int64_t last = INT64_MIN;
  const std::int64_t end = system_ns() + 50'000'000;
  while (last < end && !HasFailure()) {
    affinity.move_on();
    for (int i = 0; i < 100; ++i) read_beside(clock, last);
  }
}

/// A clock that is told of readings: three ticks for a nanosecond, unless something happens.
class ToldClock {
 public:
  /// Later by so much, by either clock.
  bool tell(std::int64_t ns, std::uint64_t ticks, std::uint64_t took = 60) {
    now_.now_ns += ns;
    now_.ticks += ticks;
    now_.took = took;
    clock_.note(now_);
    return clock_.counts_ticks();
  }
  bool tell_usual(std::int64_t ns = 3'000'000) { return tell(ns, 3 * static_cast<std::uint64_t>(ns)); }

 private:
  QuickClock clock_;
  QuickClock::Reading now_{1'000'000'000, 5'000'000'000, 60};
};

TEST(QuickClockTest, CountsTicksOnceTwoMeasurementsAgree) {
  ToldClock clock;
  EXPECT_FALSE(clock.tell_usual());  // where the first begins
  EXPECT_FALSE(clock.tell_usual());
  EXPECT_FALSE(clock.tell_usual(1'000'000));  // too short for one
  EXPECT_TRUE(clock.tell_usual());
  EXPECT_TRUE(clock.tell_usual(40'000));
  EXPECT_TRUE(clock.tell_usual());
}

// Broken to check it: with a rate of nothing that counts, ticks are counted after the machine has slept in its first measurement.
TEST(QuickClockTest, MeasuresNothingWhileAClockJumps) {
  constexpr std::uint64_t kHour = 3 * 3'600'000'000'000;
  for (const bool is_first : {true, false}) {
    ToldClock clock;
    clock.tell_usual();
    if (!is_first) {
      clock.tell_usual();
      ASSERT_TRUE(clock.tell_usual());
    }
    EXPECT_FALSE(clock.tell(5'000'000, kHour));  // the machine slept: ticks went on, the system's clock did not
    EXPECT_FALSE(clock.tell(5'000'000, kHour));
    EXPECT_FALSE(clock.tell_usual());
    EXPECT_TRUE(clock.tell_usual());
    EXPECT_FALSE(clock.tell(5'000'000, ~std::uint64_t{kHour}));  // ticks began anew
    EXPECT_FALSE(clock.tell_usual());
    EXPECT_TRUE(clock.tell_usual());
    EXPECT_FALSE(clock.tell(5'000'000, 14'000'000));  // another machine's ticks
    EXPECT_TRUE(clock.tell(5'000'000, 14'000'000));
  }
}

TEST(QuickClockTest, AReadingThatTookLongCountsForNothing) {
  ToldClock clock;
  clock.tell_usual();
  clock.tell_usual();
  ASSERT_TRUE(clock.tell_usual());
  EXPECT_FALSE(clock.tell(20'000, 60'000, 2'000));
  EXPECT_TRUE(clock.tell_usual(20'000));
  EXPECT_FALSE(clock.tell(11'000'000'000, 33'000'000'000));  // nobody has asked for long
  EXPECT_FALSE(clock.tell_usual());
  EXPECT_TRUE(clock.tell_usual());
}

}  // namespace
}  // namespace weft::detail

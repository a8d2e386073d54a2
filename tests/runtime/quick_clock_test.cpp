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

// Broken to check it: behind with a rate that is a thirtieth too low, ahead with one that is a fiftieth too high.
TEST(QuickClockTest, IsNeverBehindAndNeverMuchAhead) {
  QuickClock clock;
  std::int64_t last = INT64_MIN;
  const std::int64_t end = system_ns() + 50'000'000;
  for (std::int64_t before = 0; before < end;) {
    before = system_ns();
    const std::int64_t now = clock.now_ns();
    const std::int64_t after = system_ns();
    ASSERT_GE(now, before);
    ASSERT_LE(now, after + kMostAheadNs);
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(QuickClockTest, FollowsItsThreadToOtherProcessors) {
  QuickClock clock;
  Affinity affinity;
  std::int64_t last = INT64_MIN;
  const std::int64_t end = system_ns() + 50'000'000;
  for (std::int64_t before = 0; before < end;) {
    affinity.move_on();
    for (int i = 0; i < 100; ++i) {
      before = system_ns();
      const std::int64_t now = clock.now_ns();
      const std::int64_t after = system_ns();
      ASSERT_GE(now, before);
      ASSERT_LE(now, after + kMostAheadNs);
      ASSERT_GE(now, last);
      last = now;
    }
  }
}

}  // namespace
}  // namespace weft::detail

// Goroutines that have not started: a tree of them runs depth first, and yet nobody waits for ever.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "../support/support.hpp"
#include "sched.hpp"
#include "weft/weft.hpp"

namespace weft::detail {
namespace {

/// Nobody's turn comes by the clock.
class StillTime final : public TimeSource {
 public:
  std::int64_t now_ns() noexcept override { return now_; }

 private:
  const std::int64_t now_ = steady_time().now_ns();
};

/// How many goroutines have started and not ended, at most.
class Crowd {
 public:
  void enter() { most_ = std::max(most_, ++here_); }
  void leave() { --here_; }
  [[nodiscard]] int most() const { return most_; }

 private:
  int here_ = 0;
  int most_ = 0;
};

int forks(int depth, Crowd& crowd) {
  if (depth == 0) return 1;
  const Chan<int> sum = make_chan<int>(1);
  go([sum, depth, &crowd] {
    crowd.enter();
    sum.send(forks(depth - 1, crowd));
    crowd.leave();
  });
  const int other = forks(depth - 1, crowd);
  return other + *sum.recv();
}

// Broken to check it: with a turn of the oldest every 61 picks, 240 were there at once.
TEST(UnstartedTest, ATreeOfGoroutinesNeedsAsManyStacksAsItIsDeep) {
  if (test::chaos()) GTEST_SKIP() << "chaos mode picks at random";
  constexpr int kDepth = 15;
  StillTime time;
  RuntimeOptions options;
  options.processors = 1;
  Scheduler scheduler(options, {.time = &time, .seed = 1, .chaos = 0}, nullptr);
  scheduler.start();
  Crowd crowd;
  Completion completion;
  spawn(&scheduler, nullptr, [&] {
    EXPECT_EQ(forks(kDepth, crowd), 1 << kDepth);
    completion.done();
  });
  completion.wait();
  EXPECT_TRUE(scheduler.wait_drained(kForever));
  scheduler.close();
  EXPECT_TRUE(scheduler.stop(kForever));
  EXPECT_LE(crowd.most(), 2 * kDepth);
}

// Rules: SCH-7
TEST(UnstartedTest, OldOnesStartThoughNewOnesAreStartedForEver) {
  constexpr int kOld = 300;  // more than a processor's deque holds
  run(RuntimeOptions{.processors = 1}, [] {
    std::atomic<bool> is_over{false};
    WaitGroup old;
    WaitGroup chain;
    old.add(kOld);
    for (int i = 0; i < kOld; ++i) go([&] { old.done(); });
    std::function<void()> link = [&] {
      if (is_over) return chain.done();
      go(link);
    };
    chain.add(1);
    go(link);
    old.wait();
    is_over = true;
    chain.wait();
  });
}

}  // namespace
}  // namespace weft::detail

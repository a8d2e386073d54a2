// Goroutines that have not started: a tree of them runs depth first, and yet nobody waits for ever.

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
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
  EXPECT_LE(crowd.most(), 4 * kDepth);
}

// Broken to check it: with one at a time for each turn of the clock, 5,000 waited for tens of millions of new ones; without turns, for ever.
// Rules: SCH-7
TEST(UnstartedTest, OldOnesStartThoughNewOnesAreStartedForEver) {
  constexpr int kOld = 5'000;  // more than a processor's deque holds
  run(RuntimeOptions{.processors = 1}, [] {
    std::atomic<bool> is_over{false};
    long links = 0;
    WaitGroup old;
    WaitGroup chain;
    old.add(kOld);
    for (int i = 0; i < kOld; ++i) go([&] { old.done(); });
    std::function<void()> link = [&] {
      ++links;
      if (is_over) return chain.done();
      go(link);
    };
    chain.add(1);
    go(link);
    old.wait();
    is_over = true;
    chain.wait();
    EXPECT_LT(links, 100L * kOld);
  });
}

// Broken to check it: the ring had no turn while unstarted ones were there and each took long, and 2,000 of them ran in between.
// Rules: SCH-7
TEST(UnstartedTest, ReadyOnesHaveTheirTurnThoughManyHaveNotStarted) {
  if (test::chaos()) GTEST_SKIP() << "chaos mode picks at random";
  constexpr int kUnstarted = 2'000;
  run(RuntimeOptions{.processors = 1}, [] {
    std::atomic<int> started{0};
    WaitGroup all;
    all.add(kUnstarted);
    const Chan<Unit> ball = make_chan<Unit>();
    const Chan<Unit> back = make_chan<Unit>();
    int longest = 0;
    WaitGroup players;
    // Whoever gets the ball has been readied; it is in `next` or in the ring.
    players.go([&] {
      while (ball.recv()) back.send({});
    });
    players.go([&] {
      for (int seen = 0; seen < kUnstarted; seen = started) {
        ball.send({});
        back.recv();
        longest = std::max(longest, started - seen);
      }
      ball.close();
    });
    yield();
    for (int i = 0; i < kUnstarted; ++i) {
      go([&] {
        const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(60);
        while (std::chrono::steady_clock::now() < end) {
        }
        ++started;
        all.done();
      });
    }
    all.wait();
    players.wait();
    EXPECT_LT(longest, kUnstarted / 4);
  });
}

// Broken to check it: while the oldest had their turn although they had readied somebody, 30,000 to 40,000 were there at once, and more with time.
// Rules: SCH-7
TEST(UnstartedTest, WhoHasHandedItsValueOverSoonEnds) {
  constexpr int kPeople = 64;
  constexpr int kEach = 100;
  for (const unsigned processors : {1U, 2U, 4U}) {
    run(RuntimeOptions{.processors = processors}, [] {
      std::atomic<int> here{0};
      std::atomic<int> most{0};
      WaitGroup people;
      for (int person = 0; person < kPeople; ++person) {
        people.go([&] {
          const Chan<int> answers = make_chan<int>();
          for (int round = 0; round < test::rounds(50); ++round) {
            for (int i = 0; i < kEach; ++i) {
              const int now = ++here;
              for (int seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
              }
              go([&here, answers] {
                answers.send(1);
                --here;
              });
            }
            for (int i = 0; i < kEach; ++i) select(answers.on_recv(), on_timeout(std::chrono::hours(1)));
          }
        });
      }
      people.wait();
      test::eventually([&] { return here == 0; });
      EXPECT_LT(most, 3 * kPeople * kEach);
    });
  }
}

}  // namespace
}  // namespace weft::detail

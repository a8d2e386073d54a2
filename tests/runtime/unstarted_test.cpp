// Whose turn it is: a tree of goroutines that have not started runs depth first, and yet nobody waits for ever.

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

/// Nobody's turn comes by the clock, nor is the processor handed on when the thread is not run for a while.
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

/// On one processor, while time stands still.
template <class Body>
void run_by_picks(Body body) {
  StillTime time;
  RuntimeOptions options;
  options.processors = 1;
  Scheduler scheduler(options, {.time = &time, .seed = 1, .chaos = 0}, nullptr);
  scheduler.start();
  Completion completion;
  spawn(&scheduler, nullptr, [&] {
    body();
    completion.done();
  });
  completion.wait();
  EXPECT_TRUE(scheduler.wait_drained(kForever));
  scheduler.close();
  EXPECT_TRUE(scheduler.stop(kForever));
}

// Broken to check it: with a turn of the oldest every 61 picks, 240 were there at once.
TEST(UnstartedTest, ATreeOfGoroutinesNeedsAsManyStacksAsItIsDeep) {
  if (test::chaos()) GTEST_SKIP() << "chaos mode picks at random";
  constexpr int kDepth = 15;
  Crowd crowd;
  run_by_picks([&] { EXPECT_EQ(forks(kDepth, crowd), 1 << kDepth); });
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

// Broken to check it: without a turn of the oldest it never starts.
// Rules: SCH-7
TEST(UnstartedTest, ANewOneStartsWhileTheQueuesOverflow) {
  if (test::chaos()) GTEST_SKIP() << "chaos mode picks at random";
  // 500 goroutines that hand work to 4 are more than a local queue holds: what does not fit is in the global one all the time.
  run_by_picks([] {
    const Chan<Chan<int>> jobs = make_chan<Chan<int>>(16);
    long handed = 0;
    int begun = 0;
    bool is_over = false;
    WaitGroup workers;
    WaitGroup clients;
    for (int i = 0; i < 4; ++i) {
      workers.go([&] {
        for (const Chan<int>& answer : jobs) answer.send(1);
      });
    }
    for (int i = 0; i < 500; ++i) {
      clients.go([&] {
        ++begun;
        while (!is_over) {
          const auto answer = make_chan<int>(1);
          jobs.send(answer);
          static_cast<void>(answer.recv());
          ++handed;
        }
      });
    }
    const auto started = make_chan<Unit>();
    long longest = 0;
    for (int i = 0; i < 20; ++i) {
      const long goal = handed + 5000;
      while (handed < goal || begun < 500) yield();
      const long before = handed;
      go([&] { started.send({}); });
      static_cast<void>(started.recv());
      longest = std::max(longest, handed - before);
    }
    is_over = true;
    clients.wait();
    jobs.close();
    workers.wait();
    EXPECT_LT(longest, 1'000);
  });
}

// Broken to check it: with every other look for the ring, which other picks serve as well, it is 33,000.
// Rules: SCH-7
TEST(UnstartedTest, WhatOverflowsHasATurnAtEachLook) {
  if (test::chaos()) GTEST_SKIP() << "chaos mode picks at random";
  constexpr long kOverflowing = 150;
  constexpr long kMost =
      kOverflowing + 129;  // in the global queue, just after half of the local one has been moved there
  run_by_picks([] {
    long yields = 0;
    long longest = 0;
    bool is_over = false;
    WaitGroup others;
    for (long i = 0; i < 256 + kOverflowing; ++i) {
      others.go([&] {
        while (!is_over) {
          ++yields;
          yield();
        }
      });
    }
    for (int i = 0; i < 100 || (longest <= kOverflowing * 30 && i < 10'000); ++i) {
      const long before = yields;
      yield();
      longest = std::max(longest, yields - before);
    }
    is_over = true;
    others.wait();
    EXPECT_GT(longest, kOverflowing * 30) << "never overflowed";
    EXPECT_LT(longest, kMost * 61 * 3 / 2);
  });
}

}  // namespace
}  // namespace weft::detail

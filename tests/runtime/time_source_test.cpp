// The clock and the random source belong to the runtime: both can be replaced.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "sched.hpp"
#include "weft/detail/park.hpp"
#include "weft/time.hpp"
#include "weft/weft.hpp"

namespace weft::detail {
namespace {

/// Steady time, and what a test adds to it.
class AdvancedTime final : public TimeSource {
 public:
  std::int64_t now_ns() noexcept override { return steady_time().now_ns() + ahead_.load(std::memory_order_relaxed); }
  void advance(std::chrono::nanoseconds by) { ahead_.fetch_add(by.count(), std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> ahead_{0};
};

/// A scheduler without a Runtime around it.
class BareScheduler {
 public:
  explicit BareScheduler(const SchedulerTuning& tuning, unsigned processors = 1) {
    RuntimeOptions options;
    options.processors = processors;
    scheduler_ = std::make_unique<Scheduler>(options, tuning, nullptr);
    scheduler_->start();
  }
  ~BareScheduler() {
    EXPECT_TRUE(scheduler_->wait_drained(kForever));
    scheduler_->close();
    EXPECT_TRUE(scheduler_->stop(kForever));
  }
  [[nodiscard]] std::uint64_t waiting() const { return scheduler_->stats().waiting; }
  template <class F>
  void run(F f) {
    Completion completion;
    spawn(scheduler_.get(), nullptr, [&] {
      f();
      completion.done();
    });
    completion.wait();
  }

 private:
  std::unique_ptr<Scheduler> scheduler_;
};

// Rules: TM-1
TEST(TimeSourceTest, AnHourPassesWhenTheRuntimesClockSaysSo) {
  AdvancedTime time;
  BareScheduler scheduler({.time = &time, .seed = 1, .chaos = 0});
  scheduler.run([&] {
    WaitGroup sleeping;
    std::atomic<std::int64_t> slept_ns{0};
    sleeping.go([&] {
      const TimePoint start = Clock::now();
      sleep_for(std::chrono::hours(1));
      slept_ns = (Clock::now() - start).count();
    });
    while (scheduler.waiting() == 0) yield();
    time.advance(std::chrono::hours(1));
    sleeping.wait();
    EXPECT_GE(slept_ns.load(), std::chrono::nanoseconds(std::chrono::hours(1)).count());
  });
}

std::vector<std::size_t> choices_with_seed(std::uint64_t seed) {
  std::vector<std::size_t> chosen;
  BareScheduler scheduler({.time = nullptr, .seed = seed, .chaos = 0});
  scheduler.run([&] {
    const auto a = make_chan<int>(100);
    const auto b = make_chan<int>(100);
    for (int i = 0; i < 100; ++i) {
      a.send(i);
      b.send(i);
    }
    for (int i = 0; i < 100; ++i) chosen.push_back(select(a.on_recv(), b.on_recv()));
  });
  return chosen;
}

// Rules: SEL-2
TEST(TimeSourceTest, OneSeedGivesTheSameChoices) {
  EXPECT_EQ(choices_with_seed(42), choices_with_seed(42));
  EXPECT_NE(choices_with_seed(42), choices_with_seed(43));
}

}  // namespace
}  // namespace weft::detail

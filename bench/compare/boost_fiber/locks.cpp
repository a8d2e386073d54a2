// Boost.Fiber's part of the comparison: locks, and what else fibers meet at. Read beside ../weft/locks.cpp.
#include <mutex>
#include <vector>

#include <boost/fiber/all.hpp>

#include "../lists.hpp"
#include "fibers.hpp"

namespace {

using namespace compare;

// Lock, increment, unlock by a number of fibers; per increment.
Result mutex(Int count, Int each) {
  fibers::mutex mu;
  Int counter = 0;  // guarded by mu
  const Stopwatch watch;
  {
    Fibers all;
    for (Int g = 0; g < count; ++g) {
      all.start([&mu, &counter, each] {
        for (Int i = 0; i < each; ++i) {
          mu.lock();
          ++counter;
          mu.unlock();
        }
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(counter == count * each, "counted", counter);
  return {count * each, elapsed};
}

Result bench_mutex_1() { return mutex(1, 20'000'000); }
Result bench_mutex_8() { return mutex(8, 2'000'000); }

// Boost.Fiber has no semaphore; this is what its user writes.
class Semaphore {
 public:
  explicit Semaphore(Int units) : free_(units) {}
  void acquire() {
    std::unique_lock lock(mutex_);
    has_units_.wait(lock, [this] { return free_ > 0; });
    --free_;
  }
  void release() {
    {
      const std::lock_guard lock(mutex_);
      ++free_;
    }
    has_units_.notify_one();
  }

 private:
  fibers::mutex mutex_;
  fibers::condition_variable has_units_;
  Int free_;  // guarded by mutex_
};

// Eight fibers take one of four units and give it back; per unit. With yields they do so in between.
Result semaphore(Int each, bool yields) {
  constexpr std::size_t kFibers = 8;
  Semaphore units(4);
  std::vector<Int> taken(kFibers);
  const Stopwatch watch;
  {
    Fibers all;
    for (Int& mine : taken) {
      all.start([&units, &mine, each, yields] {
        Int n = 0;
        for (; n < each; ++n) {
          units.acquire();
          if (yields) boost::this_fiber::yield();
          units.release();
        }
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int t : taken) total += t;
  check(total == static_cast<Int>(kFibers) * each, "taken", total);
  return {total, elapsed};
}

Result bench_semaphore_4() { return semaphore(500'000, false); }
Result bench_semaphore_4_wait() { return semaphore(100'000, true); }

// Start a hundred fibers, join all, four thousand times; per fiber.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 4'000, kFibers = 100;
  std::vector<Int> ran(kFibers);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    Fibers all;
    for (Int& mine : ran) all.start([&mine] { ++mine; });
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kFibers, "fibers that ran", total);
  return {total, elapsed};
}

constexpr Scenario kLockScenarios[] = {
    {"mutex_1", bench_mutex_1},
    {"mutex_8", bench_mutex_8},
    {"semaphore_4", bench_semaphore_4},
    {"semaphore_4_wait", bench_semaphore_4_wait},
    {"wait_group_fanout", bench_wait_group_fanout},
};

}  // namespace

std::span<const Scenario> lock_scenarios() { return kLockScenarios; }

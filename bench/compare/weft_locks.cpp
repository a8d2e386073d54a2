// weft's half of the comparison: locks, and what else goroutines meet at. Read beside go_sync.go.
#include <cstdint>
#include <vector>

#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/wait_group.hpp>

#include "weft_lists.hpp"

namespace {

using namespace compare;

// Lock, increment, unlock by a number of goroutines; per increment.
Result mutex(Int goroutines, Int each) {
  weft::Mutex mu;
  weft::WaitGroup wg;
  Int counter = 0;  // guarded by mu
  const Stopwatch watch;
  for (Int g = 0; g < goroutines; ++g) {
    wg.go([&mu, &counter, each] {
      for (Int i = 0; i < each; ++i) {
        mu.lock();
        ++counter;
        mu.unlock();
      }
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(counter == goroutines * each, "counted", counter);
  return {goroutines * each, elapsed};
}

Result bench_mutex_1() { return mutex(1, 20'000'000); }
Result bench_mutex_8() { return mutex(8, 2'000'000); }

// Start a hundred goroutines, wait for all, four thousand times; per goroutine.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 4'000, kGoroutines = 100;
  std::vector<Int> ran(kGoroutines);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    weft::WaitGroup wg;
    for (Int& mine : ran) wg.go([&mine] { ++mine; });
    wg.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kGoroutines, "goroutines that ran", total);
  return {total, elapsed};
}

constexpr Scenario kLocks[] = {
    {"mutex_1", bench_mutex_1},
    {"mutex_8", bench_mutex_8},
    {"wait_group_fanout", bench_wait_group_fanout},
};

}  // namespace

std::span<const Scenario> lock_scenarios() { return kLocks; }

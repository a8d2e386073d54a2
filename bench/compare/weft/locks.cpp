// weft's half of the comparison: locks, and what else goroutines meet at. Read beside go/locks.go.
#include <cstdint>
#include <vector>

#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/once.hpp>
#include <weft/rwmutex.hpp>
#include <weft/semaphore.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

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

Result bench_mutex_1(Int each) { return mutex(1, each); }
Result bench_mutex_8(Int each) { return mutex(8, each); }

// Goroutines lock for reading, look at a counter, unlock; every so many'th operation locks for writing and increments it.
// writes_every 0: nobody writes. Per lock and unlock of either kind.
Result rwmutex(Int goroutines, Int each, Int writes_every) {
  weft::RWMutex mu;
  weft::WaitGroup wg;
  Int counter = 1;  // guarded by mu
  std::vector<Int> seen(static_cast<std::size_t>(goroutines));
  const Stopwatch watch;
  for (Int& mine : seen) {
    wg.go([&mu, &counter, &mine, each, writes_every] {
      Int positive = 0;
      for (Int i = 1, next_write = writes_every; i <= each; ++i) {
        if (i == next_write) {
          next_write += writes_every;
          mu.lock();
          ++counter;
          mu.unlock();
        } else {
          mu.lock_shared();
          if (counter > 0) ++positive;
          mu.unlock_shared();
        }
      }
      mine = positive;
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  Int total = counter - 1;
  for (const Int s : seen) total += s;
  check(total == goroutines * each, "reads and writes", total);
  check(counter == 1 + (writes_every == 0 ? 0 : goroutines * (each / writes_every)), "counter", counter);
  return {goroutines * each, elapsed};
}

Result bench_rwmutex_1() { return rwmutex(1, 20'000'000, 0); }
Result bench_rwmutex_read() { return rwmutex(8, 4'000'000, 20); }

// Eight goroutines take one of four units and give it back; per unit. With yields they do so in between, so that half of
// the goroutines always wait.
Result semaphore(Int each, bool yields) {
  constexpr Int kGoroutines = 8, kUnits = 4;
  weft::Semaphore units(kUnits);
  weft::WaitGroup wg;
  std::vector<Int> taken(kGoroutines);
  const Stopwatch watch;
  for (Int& mine : taken) {
    wg.go([&units, &mine, each, yields] {
      Int n = 0;
      for (; n < each; ++n) {
        units.acquire();
        if (yields) weft::yield();
        units.release();
      }
      mine = n;
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int t : taken) total += t;
  check(total == kGoroutines * each && units.try_acquire(kUnits), "taken", total);
  return {total, elapsed};
}

Result bench_semaphore_4() { return semaphore(500'000, false); }
Result bench_semaphore_4_wait() { return semaphore(100'000, true); }

// Ask a Once that is done; per call.
Result bench_once_fast() {
  constexpr Int kCalls = 50'000'000;
  weft::Once once;
  Int runs = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kCalls; ++i) once.call([&runs] { ++runs; });
  const nanoseconds elapsed = watch.elapsed();
  check(runs == 1, "runs", runs);
  return {kCalls, elapsed};
}

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

constexpr Scenario kLockScenarios[] = {
    {"mutex_1", bench_mutex_1, 20'000'000}, {"mutex_8", bench_mutex_8, 2'000'000},
    {"rwmutex_1", bench_rwmutex_1},         {"rwmutex_read", bench_rwmutex_read},
    {"semaphore_4", bench_semaphore_4},     {"semaphore_4_wait", bench_semaphore_4_wait},
    {"once_fast", bench_once_fast},         {"wait_group_fanout", bench_wait_group_fanout},
};

}  // namespace

std::span<const Scenario> lock_scenarios() { return kLockScenarios; }

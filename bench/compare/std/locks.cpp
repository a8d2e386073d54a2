// The standard library's part of the comparison: locks, and what else threads meet at. Read beside ../weft/locks.cpp.
#include <cstddef>
#include <latch>
#include <mutex>
#include <semaphore>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

// Lock, increment, unlock by a number of threads; per increment.
Result mutex(Int count, Int each) {
  std::mutex mu;
  Int counter = 0;  // guarded by mu
  const Stopwatch watch;
  {
    Threads threads;
    for (Int t = 0; t < count; ++t) {
      threads.emplace_back([&mu, &counter, each] {
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

// Threads lock for reading, look at a counter, unlock; every so many'th operation locks for writing and increments it.
// writes_every 0: nobody writes. Per lock and unlock of either kind.
Result rwmutex(Int count, Int each, Int writes_every) {
  std::shared_mutex mu;
  Int counter = 1;  // guarded by mu
  std::vector<Int> seen(static_cast<std::size_t>(count));
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : seen) {
      threads.emplace_back([&mu, &counter, &mine, each, writes_every] {
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
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = counter - 1;
  for (const Int s : seen) total += s;
  check(total == count * each, "reads and writes", total);
  check(counter == 1 + (writes_every == 0 ? 0 : count * (each / writes_every)), "counter", counter);
  return {count * each, elapsed};
}

Result bench_rwmutex_1() { return rwmutex(1, 20'000'000, 0); }
Result bench_rwmutex_read() { return rwmutex(8, 4'000'000, 20); }

// Eight threads take one of four units and give it back; per unit. With yields they do so in between.
Result semaphore(Int each, bool yields) {
  constexpr std::size_t kThreads = 8;
  std::counting_semaphore<4> units(4);
  std::vector<Int> taken(kThreads);
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : taken) {
      threads.emplace_back([&units, &mine, each, yields] {
        Int n = 0;
        for (; n < each; ++n) {
          units.acquire();
          if (yields) std::this_thread::yield();
          units.release();
        }
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int t : taken) total += t;
  check(total == static_cast<Int>(kThreads) * each, "taken", total);
  return {total, elapsed};
}

Result bench_semaphore_4() { return semaphore(500'000, false); }
Result bench_semaphore_4_wait() { return semaphore(10'000, true); }

// Ask a once_flag that is done; per call.
Result bench_once_fast() {
  constexpr Int kCalls = 50'000'000;
  std::once_flag once;
  Int runs = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kCalls; ++i) std::call_once(once, [&runs] { ++runs; });
  const nanoseconds elapsed = watch.elapsed();
  check(runs == 1, "runs", runs);
  return {kCalls, elapsed};
}

// Start a hundred threads, wait for all at a latch, four hundred times; per thread.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 400;
  constexpr std::ptrdiff_t kThreads = 100;
  std::vector<Int> ran(kThreads);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    std::latch all(kThreads);
    Threads threads;  // a thread has to be joined before its latch may go
    threads.reserve(kThreads);
    for (Int& mine : ran) {
      threads.emplace_back([&mine, &all] {
        ++mine;
        all.count_down();
      });
    }
    all.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kThreads, "threads that ran", total);
  return {total, elapsed};
}

constexpr Scenario kLockScenarios[] = {
    {"mutex_1", bench_mutex_1},         {"mutex_8", bench_mutex_8},
    {"rwmutex_1", bench_rwmutex_1},     {"rwmutex_read", bench_rwmutex_read},
    {"semaphore_4", bench_semaphore_4}, {"semaphore_4_wait", bench_semaphore_4_wait},
    {"once_fast", bench_once_fast},     {"wait_group_fanout", bench_wait_group_fanout},
};

}  // namespace

std::span<const Scenario> lock_scenarios() { return kLockScenarios; }

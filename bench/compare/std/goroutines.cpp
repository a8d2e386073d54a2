// The standard library's part of the comparison: threads that start, yield and end. Read beside ../weft/goroutines.cpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

// Two threads, each yields two hundred thousand times; per yield.
Result bench_yield() {
  constexpr Int kThreads = 2, kYields = 200'000;
  std::array<Int, kThreads> done{};
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : done) {
      threads.emplace_back([&mine] {
        Int n = 0;
        for (; n < kYields; ++n) std::this_thread::yield();
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == kYields && done[1] == kYields, "yields", done[0] + done[1]);
  return {kThreads * kYields, elapsed};
}

// Start fifty thousand threads, joined a thousand at a time; per thread.
Result bench_spawn_batch() {
  constexpr std::size_t kThreads = 50'000, kAtOnce = 1'000;
  std::vector<std::uint8_t> ran(kThreads);
  const Stopwatch watch;
  for (std::size_t first = 0; first < kThreads; first += kAtOnce) {
    Threads threads;
    for (std::size_t i = first; i < first + kAtOnce; ++i) threads.emplace_back([&mine = ran[i]] { ++mine; });
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const std::uint8_t r : ran) total += r;
  check(total == static_cast<Int>(kThreads), "threads that ran", total);
  return {static_cast<Int>(kThreads), elapsed};
}

// Start one thread, wait for its message, fifty thousand times; per thread.
Result bench_spawn_join() {
  constexpr Int kThreads = 50'000;
  Queue<Int> queue(1);
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kThreads; ++i) {
    const std::jthread thread([&queue, i] { queue.push(i); });
    sum += *queue.pop();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kThreads), "sum", sum);
  return {kThreads, elapsed};
}

constexpr Scenario kGoroutineScenarios[] = {
    {"yield", bench_yield},
    {"spawn_batch", bench_spawn_batch},
    {"spawn_join", bench_spawn_join},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

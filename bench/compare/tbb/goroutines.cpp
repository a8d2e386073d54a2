// oneTBB's part of the comparison: tasks that start and end. Read beside ../weft/goroutines.cpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <oneapi/tbb/task_group.h>

#include "../lists.hpp"

namespace {

using namespace compare;
using oneapi::tbb::task_group;

// Start a million tasks of one group and wait for it; per task.
Result bench_spawn_batch(Int tasks) {
  std::vector<std::uint8_t> ran(static_cast<std::size_t>(tasks));
  task_group group;
  const Stopwatch watch;
  for (std::uint8_t& mine : ran) group.run([&mine] { ++mine; });
  group.wait();
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const std::uint8_t r : ran) total += r;
  check(total == tasks, "tasks that ran", total);
  return {tasks, elapsed};
}

// A tree with a million leaves, ten children each; every node is the sum of its children.
Int skynet(Int num, Int size) {
  if (size == 1) return num;
  constexpr std::size_t kChildren = 10;
  std::array<Int, kChildren> sums{};
  task_group children;
  const Int each = size / static_cast<Int>(kChildren);
  for (std::size_t i = 0; i < kChildren; ++i) {
    children.run([&mine = sums[i], num, each, i] { mine = skynet(num + static_cast<Int>(i) * each, each); });
  }
  children.wait();
  Int sum = 0;
  for (const Int s : sums) sum += s;
  return sum;
}

// Per task.
Result bench_skynet() {
  constexpr Int kLeaves = 1'000'000, kTasks = 1'111'111;
  Int sum = 0;
  task_group root;
  const Stopwatch watch;
  root.run([&sum] { sum = skynet(0, kLeaves); });
  root.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kLeaves), "sum", sum);
  return {kTasks, elapsed};
}

// fib(n), each call forks one child and joins it.
Int fib(Int n) {
  if (n < 2) return n;
  Int one = 0;
  task_group child;
  child.run([&one, n] { one = fib(n - 1); });
  const Int other = fib(n - 2);
  child.wait();
  return other + one;
}

// Per fork.
Result bench_forkjoin_fib29() {
  constexpr Int kN = 29, kValue = 514'229, kForks = 832'039;
  const Stopwatch watch;
  const Int got = fib(kN);
  const nanoseconds elapsed = watch.elapsed();
  check(got == kValue, "fib(29) =", got);
  return {kForks, elapsed};
}

// Start a hundred tasks, wait for all, four thousand times; per task.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 4'000, kTasks = 100;
  std::vector<Int> ran(kTasks);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    task_group group;
    for (Int& mine : ran) group.run([&mine] { ++mine; });
    group.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kTasks, "tasks that ran", total);
  return {total, elapsed};
}

constexpr Scenario kGoroutineScenarios[] = {
    {"spawn_batch", bench_spawn_batch, 1'000'000},
    {"skynet", bench_skynet},
    {"forkjoin_fib29", bench_forkjoin_fib29},
    {"wait_group_fanout", bench_wait_group_fanout},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

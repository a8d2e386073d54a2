// Boost.Fiber's part of the comparison: fibers that start, yield and end. Read beside ../weft/goroutines.cpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <boost/fiber/all.hpp>

#include "../lists.hpp"
#include "fibers.hpp"

namespace {

using namespace compare;

// Two fibers, each yields two million times; per yield.
Result bench_yield() {
  constexpr Int kFibers = 2, kYields = 2'000'000;
  std::array<Int, kFibers> done{};
  const Stopwatch watch;
  {
    Fibers all;
    for (Int& mine : done) {
      all.start([&mine] {
        Int n = 0;
        for (; n < kYields; ++n) boost::this_fiber::yield();
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == kYields && done[1] == kYields, "yields", done[0] + done[1]);
  return {kFibers * kYields, elapsed};
}

// Start one fiber, wait for its message, half a million times; per fiber.
Result bench_spawn_join() {
  constexpr Int kFibers = 500'000;
  const auto ch = std::make_shared<fibers::unbuffered_channel<Int>>();  // the last fiber may still be in push
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kFibers; ++i) {
    fibers::fiber([ch, i] { ch->push(i); }).detach();
    sum += ch->value_pop();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kFibers), "sum", sum);
  return {kFibers, elapsed};
}

// Start a million fibers that are joined a thousand at a time, since more do not fit into memory at once; per fiber.
Result bench_spawn_batch() {
  constexpr std::size_t kFibers = 1'000'000, kAtOnce = 1'000;
  std::vector<std::uint8_t> ran(kFibers);
  const Stopwatch watch;
  for (std::size_t first = 0; first < kFibers; first += kAtOnce) {
    Fibers all;
    for (std::size_t i = first; i < first + kAtOnce; ++i) all.start([&mine = ran[i]] { ++mine; });
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const std::uint8_t r : ran) total += r;
  check(total == static_cast<Int>(kFibers), "fibers that ran", total);
  return {static_cast<Int>(kFibers), elapsed};
}

// A tree with a hundred thousand leaves, ten children each; every node is the sum of its children, which it joins.
Int skynet(Int num, Int size) {
  if (size == 1) return num;
  constexpr std::size_t kChildren = 10;
  const Int each = size / static_cast<Int>(kChildren);
  std::array<Int, kChildren> sums{};
  {
    Fibers children;
    for (std::size_t i = 0; i < kChildren; ++i) {
      children.start([&mine = sums[i], num, each, i] { mine = skynet(num + static_cast<Int>(i) * each, each); });
    }
  }
  Int sum = 0;
  for (const Int s : sums) sum += s;
  return sum;
}

// Per fiber.
Result bench_skynet() {
  constexpr Int kLeaves = 100'000, kFibers = 111'110;
  const Stopwatch watch;
  const Int sum = skynet(0, kLeaves);
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kLeaves), "sum", sum);
  return {kFibers, elapsed};
}

// fib(n), each call forks one child and waits for its result.
Int fib(Int n) {
  if (n < 2) return n;
  auto child = fibers::async([n] { return fib(n - 1); });
  const Int other = fib(n - 2);
  return other + child.get();
}

// Per fork; fib(22), so that it ends.
Result bench_forkjoin_fib29() {
  constexpr Int kN = 22, kValue = 17'711, kForks = 28'656;
  const Stopwatch watch;
  const Int got = fib(kN);
  const nanoseconds elapsed = watch.elapsed();
  check(got == kValue, "fib(22) =", got);
  return {kForks, elapsed};
}

constexpr Scenario kGoroutineScenarios[] = {
    {"yield", bench_yield},   {"spawn_batch", bench_spawn_batch},       {"spawn_join", bench_spawn_join},
    {"skynet", bench_skynet}, {"forkjoin_fib29", bench_forkjoin_fib29},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

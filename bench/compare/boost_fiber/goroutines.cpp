// Boost.Fiber's part of the comparison: fibers that start, yield and end. Read beside ../weft/goroutines.cpp.
#include <array>
#include <memory>

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

constexpr Scenario kGoroutineScenarios[] = {
    {"yield", bench_yield},
    {"spawn_join", bench_spawn_join},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

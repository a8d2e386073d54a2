// The standard library's part of the comparison: threads that start, yield and end. Read beside ../weft/goroutines.cpp.
#include <array>
#include <thread>

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

constexpr Scenario kGoroutineScenarios[] = {
    {"yield", bench_yield},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

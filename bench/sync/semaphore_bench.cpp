// What a semaphore costs when there are units enough, and when half of those who want one wait.
#include <cstdint>

#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/semaphore.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Eight goroutines, so many units; each yields while it has one. Per acquire and release.
void semaphore_with_yield(benchmark::State& state) {
  constexpr std::int64_t kGoroutines = 8, kEach = 5'000;
  bench::measure(state, kGoroutines * kEach, [&] {
    weft::Semaphore units(state.range(0));
    weft::WaitGroup wg;
    for (std::int64_t g = 0; g < kGoroutines; ++g) {
      wg.go([&units] {
        for (std::int64_t i = 0; i < kEach; ++i) {
          units.acquire();
          weft::yield();
          units.release();
        }
      });
    }
    wg.wait();
    return units.try_acquire(state.range(0));
  });
}
BENCHMARK(semaphore_with_yield)->Apply(bench::whole_process)->ArgName("units")->Arg(1)->Arg(4)->Arg(8);

// Nobody else wants one; per acquire and release.
void semaphore_free(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::Semaphore units(1);
    for (std::int64_t i = 0; i < kOps; ++i) {
      units.acquire();
      units.release();
    }
    return units.try_acquire();
  });
}
BENCHMARK(semaphore_free)->Apply(bench::whole_process);

// The same with a context that could end the wait.
void semaphore_free_with_context(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::Semaphore units(1);
    const auto [ctx, cancel] = weft::with_cancel(weft::background());
    std::int64_t taken = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      taken += units.acquire(ctx) ? 1 : 0;
      units.release();
    }
    return taken == kOps;
  });
}
BENCHMARK(semaphore_free_with_context)->Apply(bench::whole_process);

}  // namespace

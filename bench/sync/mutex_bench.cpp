// What a mutex costs that nobody else wants, and one that eight goroutines want all the time.
#include <cstdint>
#include <mutex>

#include <weft/mutex.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Lock, increment, unlock by so many goroutines; per increment.
void mutex_counter(benchmark::State& state) {
  constexpr std::int64_t kEach = 50'000;
  const std::int64_t goroutines = state.range(0);
  bench::measure(state, goroutines * kEach, [&] {
    weft::Mutex mu;
    weft::WaitGroup wg;
    std::int64_t counter = 0;  // guarded by mu
    for (std::int64_t g = 0; g < goroutines; ++g) {
      wg.go([&mu, &counter] {
        for (std::int64_t i = 0; i < kEach; ++i) {
          const std::lock_guard lock(mu);
          ++counter;
        }
      });
    }
    wg.wait();
    return counter == goroutines * kEach;
  });
}
BENCHMARK(mutex_counter)->Apply(bench::whole_process)->ArgName("goroutines")->Arg(1)->Arg(8);

// A try that finds the mutex held.
void mutex_try_lock_held(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::Mutex mu;
    const std::lock_guard lock(mu);
    std::int64_t held = 0;
    for (std::int64_t i = 0; i < kOps; ++i) held += !mu.try_lock();
    return held == kOps;
  });
}
BENCHMARK(mutex_try_lock_held)->Apply(bench::whole_process);

}  // namespace

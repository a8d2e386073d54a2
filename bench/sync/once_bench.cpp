// What a Once costs after its first call.
#include <cstdint>

#include <weft/once.hpp>

#include "support/measure.hpp"

namespace {

void once_done(benchmark::State& state) {
  constexpr std::int64_t kOps = 1'000'000;
  bench::measure(state, kOps, [] {
    weft::Once once;
    std::int64_t runs = 0;
    for (std::int64_t i = 0; i < kOps; ++i) once.call([&runs] { ++runs; });
    return runs == 1;
  });
}
BENCHMARK(once_done)->Apply(bench::whole_process);

void once_value_done(benchmark::State& state) {
  constexpr std::int64_t kOps = 1'000'000;
  bench::measure(state, kOps, [] {
    const auto one = weft::once_value([] { return std::int64_t{1}; });
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) sum += one();
    return sum == kOps;
  });
}
BENCHMARK(once_value_done)->Apply(bench::whole_process);

// The first call.
void once_first(benchmark::State& state) {
  constexpr std::int64_t kOps = 10'000;
  bench::measure(state, kOps, [] {
    std::int64_t runs = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      weft::Once once;
      once.call([&runs] { ++runs; });
    }
    return runs == kOps;
  });
}
BENCHMARK(once_first)->Apply(bench::whole_process);

}  // namespace

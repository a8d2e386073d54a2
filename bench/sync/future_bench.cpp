// What a result costs that a goroutine of its own brings.
#include <cstdint>
#include <vector>

#include <weft/future.hpp>

#include "support/measure.hpp"

namespace {

// So many functions are started, then their results collected; per result.
void future_get(benchmark::State& state) {
  const std::int64_t at_once = state.range(0);
  const std::int64_t rounds = 10'000 / at_once;
  bench::measure(state, rounds * at_once, [&] {
    std::vector<weft::Future<std::int64_t>> results(static_cast<std::size_t>(at_once));
    std::int64_t sum = 0;
    for (std::int64_t round = 0; round < rounds; ++round) {
      for (auto& result : results) result = weft::async([] { return std::int64_t{1}; });
      for (auto& result : results) sum += result.get();
    }
    return sum == rounds * at_once;
  });
}
BENCHMARK(future_get)->Apply(bench::whole_process)->ArgName("at_once")->Arg(1)->Arg(10)->Arg(1'000);

}  // namespace

// What a job costs that a WorkerPool runs: waited for one by one, and many at once.
#include <cstdint>
#include <vector>

#include <weft/worker_pool.hpp>

#include "support/measure.hpp"

namespace {

// So many jobs are submitted, then their results collected; per job.
void worker_pool_submit(benchmark::State& state) {
  const std::int64_t at_once = state.range(0);
  const std::int64_t rounds = 10'000 / at_once;
  bench::measure(state, rounds * at_once, [&] {
    weft::WorkerPool pool({.workers = 8, .queue = 1'024, .name = "bench"});
    std::vector<weft::Future<std::int64_t>> results(static_cast<std::size_t>(at_once));
    std::int64_t sum = 0;
    for (std::int64_t round = 0; round < rounds; ++round) {
      for (auto& result : results) result = pool.submit([] { return std::int64_t{1}; });
      for (auto& result : results) sum += result.get();
    }
    return sum == rounds * at_once;
  });
}
BENCHMARK(worker_pool_submit)->Apply(bench::whole_process)->ArgName("at_once")->Arg(1)->Arg(10)->Arg(1'000);

// A pool that is made, does nothing, and ends; per worker.
void worker_pool_start_stop(benchmark::State& state) {
  const std::int64_t workers = state.range(0);
  bench::measure(state, workers, [&] {
    weft::WorkerPool pool({.workers = static_cast<std::size_t>(workers), .queue = 0, .name = "bench"});
    return true;
  });
}
BENCHMARK(worker_pool_start_stop)->Apply(bench::whole_process)->ArgName("workers")->Arg(1)->Arg(8);

}  // namespace

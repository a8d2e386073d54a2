// weft's half of the comparison: results that somebody else brings. Read beside go/pools.go.
#include <cstdint>
#include <vector>

#include <weft/future.hpp>
#include <weft/worker_pool.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

// Start a function, wait for its result, half a million times; per result.
Result bench_future() {
  constexpr Int kResults = 500'000;
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kResults; ++i) sum += weft::async([i] { return i; }).get();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kResults), "sum", sum);
  return {kResults, elapsed};
}

// Jobs for eight workers behind a queue of 1,024; so many are submitted, then their results collected, and again. Per job.
Result pool(Int jobs, std::size_t at_once) {
  weft::WorkerPool workers({.workers = 8, .queue = 1'024, .name = "bench"});
  std::vector<weft::Future<Int>> results(at_once);
  Int sum = 0;
  Int next = 0;
  const Stopwatch watch;
  while (next < jobs) {
    for (auto& result : results) {
      result = workers.submit([job = next] { return 2 * job + 1; });
      ++next;
    }
    for (auto& result : results) sum += result.get();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(jobs) + jobs, "sum", sum);
  return {jobs, elapsed};
}

Result bench_pool_submit() { return pool(300'000, 1); }
Result bench_pool_batch() { return pool(1'000'000, 1'000); }

constexpr Scenario kPools[] = {
    {"future", bench_future},
    {"pool_submit", bench_pool_submit},
    {"pool_batch", bench_pool_batch},
};

}  // namespace

std::span<const Scenario> pool_scenarios() { return kPools; }

// The standard library's part of the comparison: results that somebody else brings. Read beside ../weft/pools.cpp.
#include <future>
#include <optional>
#include <utility>
#include <vector>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

// Start a function in a thread, wait for its result, fifty thousand times; per result.
Result bench_future() {
  constexpr Int kResults = 50'000;
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kResults; ++i) sum += std::async(std::launch::async, [i] { return i; }).get();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kResults), "sum", sum);
  return {kResults, elapsed};
}

// Jobs for eight threads behind a queue of 1,024; so many are submitted, then their results collected, and again. Per job.
Result pool(Int jobs, std::size_t at_once) {
  using Job = std::packaged_task<Int()>;
  Queue<Job> todo(1'024);
  Threads workers;
  for (int w = 0; w < 8; ++w) {
    workers.emplace_back([&todo] {
      while (std::optional<Job> job = todo.pop()) (*job)();
    });
  }
  std::vector<std::future<Int>> results(at_once);
  Int sum = 0;
  Int next = 0;
  const Stopwatch watch;
  while (next < jobs) {
    for (auto& result : results) {
      Job job([n = next] { return 2 * n + 1; });
      result = job.get_future();
      todo.push(std::move(job));
      ++next;
    }
    for (auto& result : results) sum += result.get();
  }
  const nanoseconds elapsed = watch.elapsed();
  todo.close();
  check(sum == 2 * sum_to(jobs) + jobs, "sum", sum);
  return {jobs, elapsed};
}

Result bench_pool_submit() { return pool(30'000, 1); }
Result bench_pool_batch() { return pool(100'000, 1'000); }

constexpr Scenario kPoolScenarios[] = {
    {"future", bench_future},
    {"pool_submit", bench_pool_submit},
    {"pool_batch", bench_pool_batch},
};

}  // namespace

std::span<const Scenario> pool_scenarios() { return kPoolScenarios; }

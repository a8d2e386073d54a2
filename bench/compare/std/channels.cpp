// The standard library's part of the comparison: values on the way through queues. Read beside ../weft/channels.cpp.
#include <optional>
#include <vector>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

// Two hundred thousand jobs through eight threads over two queues of 1,024; per job.
Result bench_worker_pool() {
  constexpr Int kWorkers = 8, kJobs = 200'000;
  Queue<Int> jobs(1'024);
  Queue<Int> results(1'024);
  const Stopwatch watch;
  Threads threads;
  for (Int w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&] {
      while (const std::optional<Int> job = jobs.pop()) results.push(2 * *job + 1);
    });
  }
  threads.emplace_back([&] {
    for (Int i = 0; i < kJobs; ++i) jobs.push(i);
    jobs.close();
  });
  Int sum = 0;
  for (Int i = 0; i < kJobs; ++i) sum += *results.pop();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(kJobs) + kJobs, "sum", sum);
  return {kJobs, elapsed};
}

constexpr Scenario kChannelScenarios[] = {
    {"worker_pool", bench_worker_pool},
};

}  // namespace

std::span<const Scenario> channel_scenarios() { return kChannelScenarios; }

// The standard library's part of the comparison: values on the way through queues. Read beside ../weft/channels.cpp.
#include <cstddef>
#include <deque>
#include <optional>
#include <thread>
#include <vector>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

// Two threads, two queues of one place, a hundred thousand round trips; per hop.
Result bench_pingpong() {
  constexpr Int kRounds = 100'000;
  Queue<Int> ping(1);
  Queue<Int> pong(1);
  Int v = 0;
  const Stopwatch watch;
  {
    const std::jthread other([&] {
      while (const std::optional<Int> got = ping.pop()) pong.push(*got + 1);
    });
    for (Int i = 0; i < kRounds; ++i) {
      ping.push(v);
      v = *pong.pop();
    }
    ping.close();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(v == kRounds, "counted", v);
  return {2 * kRounds, elapsed};
}

// Producers send total values through one queue of 128 places to consumers; per value.
Result queue_128(Int producers, Int consumers, Int total) {
  Queue<Int> queue(128);
  std::vector<Int> sums(static_cast<std::size_t>(consumers));
  const Stopwatch watch;
  {
    Threads consuming;
    for (Int& mine : sums) {
      consuming.emplace_back([&queue, &mine] {
        Int sum = 0;
        while (const std::optional<Int> v = queue.pop()) sum += *v;
        mine = sum;
      });
    }
    {
      Threads producing;
      for (Int p = 0; p < producers; ++p) {
        producing.emplace_back([&queue, p, producers, total] {
          for (Int v = p; v < total; v += producers) queue.push(v);
        });
      }
    }
    queue.close();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int sum = 0;
  for (const Int s : sums) sum += s;
  check(sum == sum_to(total), "sum", sum);
  return {total, elapsed};
}

Result bench_chan_128_1p1c() { return queue_128(1, 1, 800'000); }
Result bench_chan_128_4p4c() { return queue_128(4, 4, 400'000); }

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

// A token goes round a thousand threads, each adds one to it; per hop.
Result bench_ring_1000() {
  constexpr std::size_t kNodes = 1'000;
  constexpr Int kLaps = 50, kHops = kLaps * static_cast<Int>(kNodes);
  std::deque<Queue<Int>> links;
  for (std::size_t i = 0; i < kNodes; ++i) links.emplace_back(1);
  Int token = 0;
  const Stopwatch watch;
  {
    Threads threads;
    for (std::size_t i = 0; i + 1 < kNodes; ++i) {  // the last node is this thread
      threads.emplace_back([&in = links[i], &out = links[i + 1]] {
        for (Int lap = 0; lap < kLaps; ++lap) out.push(1 + *in.pop());
      });
    }
    for (Int lap = 0; lap < kLaps; ++lap) {
      links.front().push(token);
      token = 1 + *links.back().pop();
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(token == kHops, "token", token);
  return {kHops, elapsed};
}

constexpr Scenario kChannelScenarios[] = {
    {"pingpong", bench_pingpong},       {"chan_128_1p1c", bench_chan_128_1p1c}, {"chan_128_4p4c", bench_chan_128_4p4c},
    {"worker_pool", bench_worker_pool}, {"ring_1000", bench_ring_1000},
};

}  // namespace

std::span<const Scenario> channel_scenarios() { return kChannelScenarios; }

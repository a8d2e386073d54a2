// Boost.Fiber's part of the comparison: values and hands on the way through channels. Read beside ../weft/channels.cpp.
#include <vector>

#include <boost/fiber/all.hpp>

#include "../lists.hpp"
#include "fibers.hpp"

namespace {

using namespace compare;

// Two fibers, two unbuffered channels, a million round trips; per hop.
Result bench_pingpong() {
  constexpr Int kRounds = 1'000'000;
  fibers::unbuffered_channel<Int> ping;
  fibers::unbuffered_channel<Int> pong;
  Int v = 0;
  const Stopwatch watch;
  fibers::fiber other([&] {
    for (const Int got : ping) pong.push(got + 1);
    pong.close();
  });
  for (Int i = 0; i < kRounds; ++i) {
    ping.push(v);
    v = pong.value_pop();
  }
  ping.close();
  Int none = 0;
  const bool open = pong.pop(none) == fibers::channel_op_status::success;
  const nanoseconds elapsed = watch.elapsed();
  other.join();
  check(v == kRounds && !open, "counted", v);
  return {2 * kRounds, elapsed};
}

// Producers send total values through one channel to consumers; per value.
template <class Channel>
Result channel(Channel& ch, Int producers, Int consumers, Int total) {
  std::vector<Int> sums(static_cast<std::size_t>(consumers));
  const Stopwatch watch;
  {
    Fibers consuming;
    for (Int& mine : sums) {
      consuming.start([&ch, &mine] {
        Int sum = 0;
        for (const Int v : ch) sum += v;
        mine = sum;
      });
    }
    {
      Fibers producing;
      for (Int p = 0; p < producers; ++p) {
        producing.start([&ch, p, producers, total] {
          for (Int v = p; v < total; v += producers) ch.push(v);
        });
      }
    }
    ch.close();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int sum = 0;
  for (const Int s : sums) sum += s;
  check(sum == sum_to(total), "sum", sum);
  return {total, elapsed};
}

Result unbuffered(Int producers, Int consumers, Int total) {
  fibers::unbuffered_channel<Int> ch;
  return channel(ch, producers, consumers, total);
}

// It holds one less than its capacity, which is a power of two.
Result buffered_128(Int producers, Int consumers, Int total) {
  fibers::buffered_channel<Int> ch(128);
  return channel(ch, producers, consumers, total);
}

Result bench_chan_unbuf_1p1c() { return unbuffered(1, 1, 2'000'000); }
Result bench_chan_unbuf_4p4c() { return unbuffered(4, 4, 2'000'000); }
Result bench_chan_128_1p1c() { return buffered_128(1, 1, 8'000'000); }
Result bench_chan_128_4p4c() { return buffered_128(4, 4, 4'000'000); }

// Two million jobs through eight fibers over two channels of 1,024; per job.
Result bench_worker_pool() {
  constexpr Int kWorkers = 8, kJobs = 2'000'000;
  fibers::buffered_channel<Int> jobs(1'024);
  fibers::buffered_channel<Int> results(1'024);
  const Stopwatch watch;
  Fibers all;
  for (Int w = 0; w < kWorkers; ++w) {
    all.start([&] {
      for (const Int job : jobs) results.push(2 * job + 1);
    });
  }
  all.start([&] {
    for (Int i = 0; i < kJobs; ++i) jobs.push(i);
    jobs.close();
  });
  Int sum = 0;
  for (Int i = 0; i < kJobs; ++i) sum += results.value_pop();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(kJobs) + kJobs, "sum", sum);
  return {kJobs, elapsed};
}

// A token goes round a thousand fibers, each adds one to it; per hop.
Result bench_ring_1000() {
  constexpr std::size_t kNodes = 1'000;
  constexpr Int kLaps = 2'000, kHops = kLaps * static_cast<Int>(kNodes);
  std::vector<fibers::unbuffered_channel<Int>> links(kNodes);
  Int token = 0;
  const Stopwatch watch;
  Fibers all;
  for (std::size_t i = 0; i + 1 < kNodes; ++i) {  // the last node is this fiber
    all.start([&in = links[i], &out = links[i + 1]] {
      for (Int lap = 0; lap < kLaps; ++lap) out.push(1 + in.value_pop());
    });
  }
  for (Int lap = 0; lap < kLaps; ++lap) {
    links.front().push(token);
    token = 1 + links.back().value_pop();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(token == kHops, "token", token);
  return {kHops, elapsed};
}

constexpr Scenario kChannelScenarios[] = {
    {"pingpong", bench_pingpong},
    {"chan_unbuf_1p1c", bench_chan_unbuf_1p1c},
    {"chan_unbuf_4p4c", bench_chan_unbuf_4p4c},
    {"chan_128_1p1c", bench_chan_128_1p1c},
    {"chan_128_4p4c", bench_chan_128_4p4c},
    {"worker_pool", bench_worker_pool},
    {"ring_1000", bench_ring_1000},
};

}  // namespace

std::span<const Scenario> channel_scenarios() { return kChannelScenarios; }

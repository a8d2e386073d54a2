// weft's half of the comparison: values and hands on the way through channels. Read beside go/channels.go.
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

// Two goroutines, two unbuffered channels, a million round trips; per hop.
Result bench_pingpong(Int rounds) {
  const auto ping = weft::make_chan<Int>();
  const auto pong = weft::make_chan<Int>();
  const Stopwatch watch;
  weft::go([ping, pong] {
    for (const Int v : ping) pong.send(v + 1);
    pong.close();
  });
  Int v = 0;
  for (Int i = 0; i < rounds; ++i) {
    ping.send(v);
    v = *pong.recv();
  }
  ping.close();
  const bool open = static_cast<bool>(pong.recv());
  const nanoseconds elapsed = watch.elapsed();
  check(v == rounds && !open, "counted", v);
  return {2 * rounds, elapsed};
}

// Producers send total values through one channel of the given capacity to consumers; per value.
Result channel(std::size_t capacity, Int producers, Int consumers, Int total) {
  const auto ch = weft::make_chan<Int>(capacity);
  std::vector<Int> sums(static_cast<std::size_t>(consumers));
  weft::WaitGroup producing;
  weft::WaitGroup consuming;
  const Stopwatch watch;
  for (Int p = 0; p < producers; ++p) {
    producing.go([ch, p, producers, total] {
      for (Int v = p; v < total; v += producers) ch.send(v);
    });
  }
  for (Int& mine : sums) {
    consuming.go([ch, &mine] {
      Int sum = 0;
      for (const Int v : ch) sum += v;
      mine = sum;
    });
  }
  producing.wait();
  ch.close();
  consuming.wait();
  const nanoseconds elapsed = watch.elapsed();
  Int sum = 0;
  for (const Int s : sums) sum += s;
  check(sum == sum_to(total), "sum", sum);
  return {total, elapsed};
}

Result bench_chan_unbuf_1p1c(Int values) { return channel(0, 1, 1, values); }
Result bench_chan_unbuf_4p4c(Int values) { return channel(0, 4, 4, values); }
Result bench_chan_128_1p1c(Int values) { return channel(128, 1, 1, values); }
Result bench_chan_128_4p4c(Int values) { return channel(128, 4, 4, values); }

// The first 1,500 primes by a chain of filters; per prime.
void generate(const weft::SendChan<Int>& out) {
  for (Int v = 2;; ++v) out.send(v);
}

void filter(const weft::RecvChan<Int>& in, const weft::SendChan<Int>& out, Int prime) {
  for (;;) {
    if (const Int v = *in.recv(); v % prime != 0) out.send(v);
  }
}

Result bench_sieve() {
  constexpr Int kPrimes = 1'500, kLast = 12'553;
  Int prime = 0;
  const Stopwatch watch;
  auto ch = weft::make_chan<Int>();
  weft::go(generate, ch);
  for (Int i = 0; i < kPrimes; ++i) {
    prime = *ch.recv();
    const auto next = weft::make_chan<Int>();
    weft::go(filter, ch, next, prime);
    ch = next;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(prime == kLast, "prime", prime);
  return {kPrimes, elapsed};
}

// Two million jobs through eight workers over two channels of 1,024; per job.
Result bench_worker_pool() {
  constexpr Int kWorkers = 8, kJobs = 2'000'000;
  constexpr std::size_t kQueue = 1024;
  const auto jobs = weft::make_chan<Int>(kQueue);
  const auto results = weft::make_chan<Int>(kQueue);
  const Stopwatch watch;
  for (Int w = 0; w < kWorkers; ++w) {
    weft::go([jobs, results] {
      for (const Int job : jobs) results.send(2 * job + 1);
    });
  }
  weft::go([jobs] {
    for (Int i = 0; i < kJobs; ++i) jobs.send(i);
    jobs.close();
  });
  Int sum = 0;
  for (Int i = 0; i < kJobs; ++i) sum += *results.recv();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(kJobs) + kJobs, "sum", sum);
  return {kJobs, elapsed};
}

// A token goes round a thousand goroutines, each adds one to it; per hop.
Result bench_ring_1000() {
  constexpr std::size_t kNodes = 1'000;
  constexpr Int kLaps = 2'000, kHops = kLaps * static_cast<Int>(kNodes);
  std::vector<weft::Chan<Int>> links(kNodes);
  for (auto& link : links) link = weft::make_chan<Int>();
  const Stopwatch watch;
  for (std::size_t i = 0; i + 1 < kNodes; ++i) {  // the last node is this goroutine
    weft::go([in = links[i], out = links[i + 1]] {
      for (Int lap = 0; lap < kLaps; ++lap) out.send(1 + *in.recv());
    });
  }
  Int token = 0;
  for (Int lap = 0; lap < kLaps; ++lap) {
    links.front().send(token);
    token = 1 + *links.back().recv();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(token == kHops, "token", token);
  return {kHops, elapsed};
}

constexpr Scenario kChannelScenarios[] = {
    {"pingpong", bench_pingpong, 1'000'000},
    {"chan_unbuf_1p1c", bench_chan_unbuf_1p1c, 2'000'000},
    {"chan_unbuf_4p4c", bench_chan_unbuf_4p4c, 2'000'000},
    {"chan_128_1p1c", bench_chan_128_1p1c, 8'000'000},
    {"chan_128_4p4c", bench_chan_128_4p4c, 4'000'000},
    {"sieve", bench_sieve},
    {"worker_pool", bench_worker_pool},
    {"ring_1000", bench_ring_1000},
};

}  // namespace

std::span<const Scenario> channel_scenarios() { return kChannelScenarios; }

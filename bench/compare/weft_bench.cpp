// What weft needs for one operation of each scenario of the comparison: goroutines, channels and timers, and the main
// function. The counterpart of go_bench.go; locks are in weft_locks.cpp, the rest beside it.
//
// The scenarios stand in the same order, with the same names, counts and checks, as in go_bench.go, so that the two
// files can be read side by side. That is also why this file is long: it is one list. Each scenario runs on a runtime
// of its own, whose start and stop are not measured; $WEFT_PROCS sets the processors.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "weft_lists.hpp"

namespace {

using namespace compare;

// Two goroutines, each yields two million times; per yield.
Result bench_yield() {
  constexpr Int kGoroutines = 2, kYields = 2'000'000;
  weft::WaitGroup wg;
  std::array<Int, kGoroutines> done{};
  const Stopwatch watch;
  for (Int& mine : done) {
    wg.go([&mine] {
      Int n = 0;
      for (; n < kYields; ++n) weft::yield();
      mine = n;
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == kYields && done[1] == kYields, "yields", done[0] + done[1]);
  return {kGoroutines * kYields, elapsed};
}

// Start a million goroutines that count down one WaitGroup; per goroutine.
Result bench_spawn_batch() {
  constexpr int kGoroutines = 1'000'000;
  // One byte each: shows that every goroutine ran exactly once, and costs next to nothing.
  std::vector<std::uint8_t> ran(kGoroutines);
  weft::WaitGroup wg;
  const Stopwatch watch;
  wg.add(kGoroutines);
  for (std::uint8_t& mine : ran) {
    weft::go([&mine, &wg] {
      ++mine;
      wg.done();
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const std::uint8_t r : ran) total += r;
  check(total == kGoroutines, "goroutines that ran", total);
  return {kGoroutines, elapsed};
}

// Start one goroutine, wait for its message, half a million times; per goroutine.
Result bench_spawn_join() {
  constexpr Int kGoroutines = 500'000;
  const auto ch = weft::make_chan<Int>();
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kGoroutines; ++i) {
    weft::go([ch, i] { ch.send(i); });
    sum += *ch.recv();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kGoroutines), "sum", sum);
  return {kGoroutines, elapsed};
}

// Two goroutines, two unbuffered channels, a million round trips; per hop.
Result bench_pingpong() {
  constexpr Int kRounds = 1'000'000;
  const auto ping = weft::make_chan<Int>();
  const auto pong = weft::make_chan<Int>();
  const Stopwatch watch;
  weft::go([ping, pong] {
    for (const Int v : ping) pong.send(v + 1);
    pong.close();
  });
  Int v = 0;
  for (Int i = 0; i < kRounds; ++i) {
    ping.send(v);
    v = *pong.recv();
  }
  ping.close();
  const bool open = static_cast<bool>(pong.recv());
  const nanoseconds elapsed = watch.elapsed();
  check(v == kRounds && !open, "counted", v);
  return {2 * kRounds, elapsed};
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

Result bench_chan_unbuf_1p1c() { return channel(0, 1, 1, 2'000'000); }
Result bench_chan_unbuf_4p4c() { return channel(0, 4, 4, 2'000'000); }
Result bench_chan_128_1p1c() { return channel(128, 1, 1, 8'000'000); }
Result bench_chan_128_4p4c() { return channel(128, 4, 4, 4'000'000); }

// Two senders select on {send, quit}, one receiver selects on both channels; per receive.
Result bench_select2() {
  constexpr Int kReceives = 1'000'000;
  const auto a = weft::make_chan<Int>();
  const auto b = weft::make_chan<Int>();
  const auto quit = weft::make_chan<weft::Unit>();
  weft::WaitGroup wg;
  const auto sender = [quit](const weft::SendChan<Int>& ch) {
    bool running = true;
    while (running) {
      weft::select(ch.on_send(Int{1}),  //
                   quit.on_recv([&] { running = false; }));
    }
  };
  const Stopwatch watch;
  wg.go([sender, a] { sender(a); });
  wg.go([sender, b] { sender(b); });
  Int from_a = 0;
  Int from_b = 0;
  for (Int i = 0; i < kReceives; ++i) {
    weft::select(a.on_recv([&](weft::Received<Int> v) { from_a += *v; }),
                 b.on_recv([&](weft::Received<Int> v) { from_b += *v; }));
  }
  quit.close();
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(from_a + from_b == kReceives, "received", from_a + from_b);
  return {kReceives, elapsed};
}

// Select with one empty channel and a default; per select.
Result bench_select_default() {
  constexpr Int kSelects = 20'000'000;
  const auto ch = weft::make_chan<Int>(1);
  Int received = 0;
  Int misses = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kSelects; ++i) {
    weft::select(ch.on_recv([&](weft::Received<Int> v) { received += *v; }),  //
                 weft::on_default([&] { ++misses; }));
  }
  const nanoseconds elapsed = watch.elapsed();
  check(received == 0 && misses == kSelects, "misses", misses);
  return {kSelects, elapsed};
}

// A tree with a million leaves, ten children each; every node sends its sum to its parent.
void skynet(const weft::SendChan<Int>& parent, Int num, Int size) {
  if (size == 1) {
    parent.send(num);
    return;
  }
  constexpr Int kChildren = 10;
  const auto sums = weft::make_chan<Int>();
  for (Int i = 0; i < kChildren; ++i) weft::go(skynet, sums, num + i * (size / kChildren), size / kChildren);
  Int sum = 0;
  for (Int i = 0; i < kChildren; ++i) sum += *sums.recv();
  parent.send(sum);
}

// Per goroutine.
Result bench_skynet() {
  constexpr Int kLeaves = 1'000'000, kGoroutines = 1'111'111;
  const auto root = weft::make_chan<Int>();
  const Stopwatch watch;
  weft::go(skynet, root, Int{0}, kLeaves);
  const Int sum = *root.recv();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kLeaves), "sum", sum);
  return {kGoroutines, elapsed};
}

// A million goroutines parked on one channel, then released; time and resident bytes per goroutine.
Result bench_park_1m() {
  constexpr int kGoroutines = 1'000'000;
  const auto release = weft::make_chan<weft::Unit>();
  weft::WaitGroup parked;
  weft::WaitGroup done;
  const Int before = resident_bytes();
  const Stopwatch watch;
  parked.add(kGoroutines);
  done.add(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    weft::go([&] {
      parked.done();
      release.recv();
      done.done();
    });
  }
  parked.wait();
  const Int resident = resident_bytes() - before;
  release.close();
  done.wait();
  const nanoseconds elapsed = watch.elapsed();
  return {kGoroutines, elapsed, static_cast<double>(resident) / kGoroutines};
}

// The same; each goroutine first formats a string into a local buffer of 3,000 bytes, and still needs it afterwards.
Result bench_park_1m_fmt() {
  constexpr int kGoroutines = 1'000'000;
  const auto release = weft::make_chan<weft::Unit>();
  std::vector<std::uint8_t> intact(kGoroutines);
  weft::WaitGroup parked;
  weft::WaitGroup done;
  const Int before = resident_bytes();
  const Stopwatch watch;
  parked.add(kGoroutines);
  done.add(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    weft::go([&, i] {
      char buffer[3000];
      const int length =
          std::snprintf(buffer, sizeof buffer, "goroutine %d of %d waits for its release", i, kGoroutines);
      parked.done();
      release.recv();
      intact[static_cast<std::size_t>(i)] = length > 36 && buffer[0] == 'g' && buffer[length - 1] == 'e';
      done.done();
    });
  }
  parked.wait();
  const Int resident = resident_bytes() - before;
  release.close();
  done.wait();
  const nanoseconds elapsed = watch.elapsed();
  for (int i = 0; i < kGoroutines; ++i) check(intact[static_cast<std::size_t>(i)] == 1, "a changed buffer, of", i);
  return {kGoroutines, elapsed, static_cast<double>(resident) / kGoroutines};
}

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

// The first 2,000 primes; every wait is a select with a quit case, and all goroutines end; per prime.
void generate_until(const weft::RecvChan<weft::Unit>& quit, const weft::SendChan<Int>& out) {
  for (Int v = 2;; ++v) {
    bool quitting = false;
    weft::select(out.on_send(v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
  }
}

void filter_until(const weft::RecvChan<weft::Unit>& quit, const weft::RecvChan<Int>& in, const weft::SendChan<Int>& out,
                  Int prime) {
  for (;;) {
    bool quitting = false;
    weft::Received<Int> v;
    weft::select(in.on_recv(v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
    if (*v % prime == 0) continue;
    weft::select(out.on_send(*v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
  }
}

Result bench_sieve_select() {
  constexpr Int kPrimes = 2'000, kLast = 17'389;
  const auto quit = weft::make_chan<weft::Unit>();
  weft::WaitGroup wg;
  Int prime = 0;
  const Stopwatch watch;
  auto ch = weft::make_chan<Int>();
  wg.go([quit, ch] { generate_until(quit, ch); });
  for (Int i = 0; i < kPrimes; ++i) {
    prime = *ch.recv();
    const auto next = weft::make_chan<Int>();
    wg.go([quit, ch, next, prime] { filter_until(quit, ch, next, prime); });
    ch = next;
  }
  quit.close();
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(prime == kLast, "prime", prime);
  return {kPrimes, elapsed};
}

// A million goroutines sleep 0 to 999 ms, spread evenly; per goroutine, so not below 1,000 ns.
Result bench_timers_1m() {
  constexpr int kGoroutines = 1'000'000;
  constexpr std::chrono::milliseconds kLongest{999};
  const auto nap = [](int i) {
    const std::uint64_t hash = static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15;
    return std::chrono::milliseconds((hash >> 32) % 1000);
  };
  weft::WaitGroup wg;
  const Stopwatch watch;
  wg.add(kGoroutines);
  for (int i = 0; i < kGoroutines; ++i) {
    weft::go([&wg, d = nap(i)] {
      weft::sleep_for(d);
      wg.done();
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(elapsed >= kLongest, "all were awake after ns:", elapsed.count());
  return {kGoroutines, elapsed};
}

// Make a one-minute timer and stop it, two million times; per timer.
Result bench_timer_stop() {
  constexpr Int kTimers = 2'000'000;
  Int stopped = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kTimers; ++i) {
    weft::Timer timer(std::chrono::minutes(1));
    if (timer.stop()) ++stopped;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(stopped == kTimers, "stopped", stopped);
  return {kTimers, elapsed};
}

struct Lateness {
  nanoseconds mean{0};
  nanoseconds worst{0};
};

// Every processor runs a loop that never yields; how late 300 sleeps of 1 ms return.
Lateness hog_latency() {
  constexpr Int n = 300;
  std::atomic<bool> stop{false};
  weft::WaitGroup wg;
  for (unsigned i = 0; i < weft::stats().processors; ++i) {
    wg.go([&] {
      while (!stop.load()) {
      }
    });
  }
  Lateness late;
  for (Int i = 0; i < n; ++i) {
    const Stopwatch watch;
    weft::sleep_for(std::chrono::milliseconds(1));
    const nanoseconds by = watch.elapsed() - std::chrono::milliseconds(1);
    check(by.count() >= 0, "early by", -by.count());
    late.mean += by;
    late.worst = std::max(late.worst, by);
  }
  stop.store(true);
  wg.wait();
  late.mean /= n;
  return late;
}

Result bench_hog_latency() { return {.ops = 1, .elapsed = hog_latency().mean}; }
Result bench_hog_worst() { return {.ops = 1, .elapsed = hog_latency().worst}; }

// fib(n), each call forks one child and joins it over a channel of capacity 1.
Int fib(Int n) {
  if (n < 2) return n;
  const auto ch = weft::make_chan<Int>(1);
  weft::go([ch, n] { ch.send(fib(n - 1)); });
  const Int other = fib(n - 2);
  return other + *ch.recv();
}

// Per fork.
Result bench_forkjoin_fib29() {
  constexpr Int kN = 29, kValue = 514'229, kForks = 832'039;
  const Stopwatch watch;
  const Int got = fib(kN);
  const nanoseconds elapsed = watch.elapsed();
  check(got == kValue, "fib(29) =", got);
  return {kForks, elapsed};
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

constexpr Scenario kBasics[] = {
    {"yield", bench_yield},
    {"spawn_batch", bench_spawn_batch},
    {"spawn_join", bench_spawn_join},
    {"pingpong", bench_pingpong},
    {"chan_unbuf_1p1c", bench_chan_unbuf_1p1c},
    {"chan_unbuf_4p4c", bench_chan_unbuf_4p4c},
    {"chan_128_1p1c", bench_chan_128_1p1c},
    {"chan_128_4p4c", bench_chan_128_4p4c},
    {"select2", bench_select2},
    {"select_default", bench_select_default},
    {"skynet", bench_skynet},
    {"park_1m", bench_park_1m},
    {"park_1m_fmt", bench_park_1m_fmt},
    {"sieve", bench_sieve},
    {"sieve_select", bench_sieve_select},
    {"timers_1m", bench_timers_1m},
    {"timer_stop", bench_timer_stop},
    {"hog_latency", bench_hog_latency},
    {"hog_worst", bench_hog_worst},
    {"forkjoin_fib29", bench_forkjoin_fib29},
    {"worker_pool", bench_worker_pool},
    {"ring_1000", bench_ring_1000},
};

Result run(const Scenario& scenario, unsigned& processors) {
  return weft::run(weft::RuntimeOptions{}, [&] {
    processors = weft::stats().processors;
    return scenario.run();
  });
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Scenario> all(std::begin(kBasics), std::end(kBasics));
  for (const auto& list : {lock_scenarios(), context_scenarios(), pool_scenarios()}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  // The version comes from meson.build: weft, compiler, libraries, build type.
  return run_program(argc, argv, {"weft_bench", WEFT_BENCH_VERSION, "WEFT_PROCS", all, run});
}

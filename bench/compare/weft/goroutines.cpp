// weft's half of the comparison: goroutines that start, yield, park and end. Read beside go/goroutines.go.
#include <array>
#include <cstdint>
#include <cstdio>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

// Two goroutines, each yields two million times; per yield.
Result bench_yield(Int yields) {
  constexpr Int kGoroutines = 2;
  weft::WaitGroup wg;
  std::array<Int, kGoroutines> done{};
  const Stopwatch watch;
  for (Int& mine : done) {
    wg.go([&mine, yields] {
      Int n = 0;
      for (; n < yields; ++n) weft::yield();
      mine = n;
    });
  }
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == yields && done[1] == yields, "yields", done[0] + done[1]);
  return {kGoroutines * yields, elapsed};
}

// Start a million goroutines that count down one WaitGroup; per goroutine.
Result bench_spawn_batch(Int goroutines) {
  // One byte each: shows that every goroutine ran exactly once, and costs next to nothing.
  std::vector<std::uint8_t> ran(static_cast<std::size_t>(goroutines));
  weft::WaitGroup wg;
  const Stopwatch watch;
  wg.add(static_cast<int>(goroutines));
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
  check(total == goroutines, "goroutines that ran", total);
  return {goroutines, elapsed};
}

// Start one goroutine, wait for its message, half a million times; per goroutine.
Result bench_spawn_join(Int goroutines) {
  auto ch = weft::make_chan<Int>();
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < goroutines; ++i) {
    weft::go([ch, i] { ch.send(i); });
    sum += *ch.recv();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(goroutines), "sum", sum);
  return {goroutines, elapsed};
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
Result bench_park_1m(Int goroutines) {
  const auto release = weft::make_chan<weft::Unit>();
  weft::WaitGroup parked;
  weft::WaitGroup done;
  const Int before = resident_bytes();
  const Stopwatch watch;
  parked.add(static_cast<int>(goroutines));
  done.add(static_cast<int>(goroutines));
  for (Int i = 0; i < goroutines; ++i) {
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
  return {goroutines, elapsed, static_cast<double>(resident) / static_cast<double>(goroutines)};
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

// fib(n), each call forks one child and joins it over a channel of capacity 1.
Int fib(Int n) {
  if (n < 2) return n;
  auto ch = weft::make_chan<Int>(1);
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

constexpr Scenario kGoroutineScenarios[] = {
    {"yield", bench_yield, 2'000'000},         {"spawn_batch", bench_spawn_batch, 1'000'000},
    {"spawn_join", bench_spawn_join, 500'000}, {"skynet", bench_skynet},
    {"park_1m", bench_park_1m, 1'000'000},     {"park_1m_fmt", bench_park_1m_fmt},
    {"forkjoin_fib29", bench_forkjoin_fib29},
};

}  // namespace

std::span<const Scenario> goroutine_scenarios() { return kGoroutineScenarios; }

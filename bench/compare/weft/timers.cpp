// weft's half of the comparison: timers, and sleepers on a busy machine. Read beside go/timers.go.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

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

constexpr Scenario kTimerScenarios[] = {
    {"timers_1m", bench_timers_1m},
    {"timer_stop", bench_timer_stop},
    {"hog_latency", bench_hog_latency},
    {"hog_worst", bench_hog_worst},
};

}  // namespace

std::span<const Scenario> timer_scenarios() { return kTimerScenarios; }

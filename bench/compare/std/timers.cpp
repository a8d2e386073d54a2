// The standard library's part of the comparison: sleepers on a busy machine. Read beside ../weft/timers.cpp.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "../lists.hpp"
#include "threads.hpp"

namespace {

using namespace compare;

struct Lateness {
  nanoseconds mean{0};
  nanoseconds worst{0};
};

// A thread for each processor runs a loop that never yields; how late 300 sleeps of 1 ms return. The kernel sees to it.
Lateness hog_latency() {
  constexpr Int n = 300;
  std::atomic<bool> stop{false};
  Threads hogs;
  for (unsigned i = 0; i < processors_bound(); ++i) {
    hogs.emplace_back([&] {
      while (!stop.load()) {
      }
    });
  }
  Lateness late;
  for (Int i = 0; i < n; ++i) {
    const Stopwatch watch;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const nanoseconds by = watch.elapsed() - std::chrono::milliseconds(1);
    check(by.count() >= 0, "early by", -by.count());
    late.mean += by;
    late.worst = std::max(late.worst, by);
  }
  stop.store(true);
  late.mean /= n;
  return late;
}

Result bench_hog_latency() { return {.ops = 1, .elapsed = hog_latency().mean}; }
Result bench_hog_worst() { return {.ops = 1, .elapsed = hog_latency().worst}; }

constexpr Scenario kTimerScenarios[] = {
    {"hog_latency", bench_hog_latency},
    {"hog_worst", bench_hog_worst},
};

}  // namespace

std::span<const Scenario> timer_scenarios() { return kTimerScenarios; }

// What a timer costs when nothing comes of it: made and stopped, as every timeout that is not reached is.
#include <chrono>
#include <cstdint>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/timer.hpp>

#include "support/measure.hpp"

namespace {

using namespace std::chrono_literals;

// A timer that nobody waits for: no heap, no lock but its own.
void timer_stop(benchmark::State& state) {
  constexpr std::int64_t kTimers = 10'000;
  bench::measure(state, kTimers, [&] {
    std::int64_t stopped = 0;
    for (std::int64_t i = 0; i < kTimers; ++i) {
      weft::Timer timer(1min);
      stopped += timer.stop() ? 1 : 0;
    }
    return stopped == kTimers;
  });
}
BENCHMARK(timer_stop)->Apply(bench::whole_process);

// A function that would run: it goes into the processor's heap and out again.
void after_func_stop(benchmark::State& state) {
  constexpr std::int64_t kTimers = 10'000;
  bench::measure(state, kTimers, [&] {
    std::int64_t stopped = 0;
    for (std::int64_t i = 0; i < kTimers; ++i) stopped += weft::after_func(1min, [] {}).stop() ? 1 : 0;
    return stopped == kTimers;
  });
}
BENCHMARK(after_func_stop)->Apply(bench::whole_process);

// A wait with a timeout that is not reached: into the heap and out again, for each value.
void recv_for_value(benchmark::State& state) {
  constexpr std::int64_t kValues = 10'000;
  bench::measure(state, kValues, [&] {
    const auto chan = weft::make_chan<std::int64_t>();
    weft::go([chan] {
      for (std::int64_t i = 0; i < kValues; ++i) chan.send(i);
    });
    std::int64_t received = 0;
    while (received < kValues && chan.recv_for(1min)) ++received;
    return received == kValues;
  });
}
BENCHMARK(recv_for_value)->Apply(bench::whole_process);

}  // namespace

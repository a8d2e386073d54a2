// How every micro-benchmark here is run: whole rounds inside one runtime, checked, reported per operation.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>

#include <weft/runtime.hpp>

namespace bench {

/// Marks the benchmark as failed; the program then ends with status 1.
void report_wrong_result(benchmark::State& state);

/// After the rounds of a benchmark: each did so many operations. Shows the time of one.
inline void report_per_op(benchmark::State& state, std::int64_t ops) {
  using benchmark::Counter;
  state.SetItemsProcessed(state.iterations() * ops);
  state.counters["per_op"] =
      Counter(static_cast<double>(ops), Counter::kIsIterationInvariantRate | Counter::kInvert, Counter::kIs1000);
}

/// Runs `round` as often as the library asks, on a goroutine of a runtime of its own, whose start and stop are not
/// measured ($WEFT_PROCS sets its processors). A round does `ops` operations and returns whether its result is right.
template <class Round>
void measure(benchmark::State& state, std::int64_t ops, Round round) {
  weft::run(weft::RuntimeOptions{}, [&] {
    for (auto _ : state) {
      if (round()) continue;
      report_wrong_result(state);
      break;
    }
  });
  report_per_op(state, ops);
}

/// For Apply(): wall time decides, and CPU time is that of all workers, because the goroutine that measures may change
/// its thread within a round.
inline void whole_process(benchmark::internal::Benchmark* b) {
  b->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMicrosecond);
}

}  // namespace bench

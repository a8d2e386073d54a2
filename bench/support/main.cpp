// The main function of the micro-benchmark programs: says how many processors were used, fails on a wrong result.
#include <atomic>
#include <string>

#include <weft/stats.hpp>

#include "support/measure.hpp"

namespace {

std::atomic<bool> any_wrong{false};

}  // namespace

namespace bench {

void report_wrong_result(benchmark::State& state) {
  any_wrong.store(true, std::memory_order_relaxed);  // read after all benchmarks have ended
  state.SkipWithError("wrong result");
}

}  // namespace bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const unsigned processors = weft::run(weft::RuntimeOptions{}, [] { return weft::stats().processors; });
  benchmark::AddCustomContext("weft_processors", std::to_string(processors));
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return any_wrong.load(std::memory_order_relaxed) ? 1 : 0;
}

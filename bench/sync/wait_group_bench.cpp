// What a fan-out over a WaitGroup costs: start so many goroutines, wait for all.
#include <cstdint>
#include <vector>

#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Per goroutine.
void wait_group_fan_out(benchmark::State& state) {
  const std::int64_t goroutines = state.range(0);
  std::vector<std::uint8_t> ran(static_cast<std::size_t>(goroutines));
  bench::measure(state, goroutines, [&] {
    ran.assign(ran.size(), 0);
    weft::WaitGroup wg;
    for (std::uint8_t& mine : ran) wg.go([&mine] { ++mine; });
    wg.wait();
    std::int64_t total = 0;
    for (const std::uint8_t r : ran) total += r;
    return total == goroutines;
  });
}
BENCHMARK(wait_group_fan_out)->Apply(bench::whole_process)->Arg(1)->Arg(8)->Arg(1'000);

// Nothing to wait for: add, done and wait without a park; per triple.
void wait_group_without_waiting(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::WaitGroup wg;
    std::int64_t n = 0;
    for (; n < kOps; ++n) {
      wg.add();
      wg.done();
      wg.wait();
    }
    return n == kOps;
  });
}
BENCHMARK(wait_group_without_waiting)->Apply(bench::whole_process);

}  // namespace

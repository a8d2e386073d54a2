// What a yield costs, alone on the run queue and in company.
#include <cstdint>
#include <vector>

#include <weft/go.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

void yield(benchmark::State& state) {
  constexpr std::int64_t kYields = 10'000;
  const std::int64_t goroutines = state.range(0);
  std::vector<std::int64_t> done(static_cast<std::size_t>(goroutines));
  bench::measure(state, goroutines * kYields, [&] {
    done.assign(done.size(), 0);
    weft::WaitGroup wg;
    for (std::int64_t& mine : done) {
      wg.go([&mine] {
        std::int64_t n = 0;
        for (; n < kYields; ++n) weft::yield();
        mine = n;
      });
    }
    wg.wait();
    for (const std::int64_t n : done) {
      if (n != kYields) return false;
    }
    return true;
  });
}
BENCHMARK(yield)->Apply(bench::whole_process)->Arg(1)->Arg(2)->Arg(100);

}  // namespace

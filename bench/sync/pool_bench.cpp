// What it costs to take an object from a Pool and to give it back, alone and by eight goroutines.
#include <cstdint>
#include <vector>

#include <weft/go.hpp>
#include <weft/pool.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Per get and put.
void pool_get_put(benchmark::State& state) {
  constexpr std::int64_t kEach = 50'000;
  const std::int64_t goroutines = state.range(0);
  bench::measure(state, goroutines * kEach, [&] {
    weft::Pool<std::vector<std::int64_t>> pool([] { return std::vector<std::int64_t>(1); });
    weft::WaitGroup wg;
    std::vector<std::int64_t> got(static_cast<std::size_t>(goroutines));
    for (std::int64_t& mine : got) {
      wg.go([&pool, &mine] {
        std::int64_t n = 0;
        for (std::int64_t i = 0; i < kEach; ++i) n += static_cast<std::int64_t>(pool.get()->size());
        mine = n;
      });
    }
    wg.wait();
    std::int64_t total = 0;
    for (const std::int64_t n : got) total += n;
    return total == goroutines * kEach;
  });
}
BENCHMARK(pool_get_put)->Apply(bench::whole_process)->ArgName("goroutines")->Arg(1)->Arg(8);

}  // namespace

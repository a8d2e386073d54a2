// What it costs to start a goroutine and have it end: many at once, and one after the other.
#include <cstdint>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// All are started before any is waited for; the larger the batch, the more stacks are in use at once.
void spawn_batch(benchmark::State& state) {
  const auto goroutines = static_cast<int>(state.range(0));
  std::vector<std::uint8_t> ran(static_cast<std::size_t>(goroutines));
  bench::measure(state, goroutines, [&] {
    ran.assign(ran.size(), 0);
    weft::WaitGroup wg;
    wg.add(goroutines);
    for (std::uint8_t& mine : ran) {
      weft::go([&mine, &wg] {
        ++mine;
        wg.done();
      });
    }
    wg.wait();
    std::int64_t total = 0;
    for (const std::uint8_t r : ran) total += r;
    return total == goroutines;
  });
}
BENCHMARK(spawn_batch)->Apply(bench::whole_process)->Arg(100)->Arg(10'000)->Arg(100'000);

// One at a time: each is joined, by its message, before the next starts.
void spawn_join(benchmark::State& state) {
  constexpr std::int64_t kGoroutines = 1'000;
  bench::measure(state, kGoroutines, [] {
    const auto ch = weft::make_chan<std::int64_t>();
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kGoroutines; ++i) {
      weft::go([ch, i] { ch.send(i); });
      sum += *ch.recv();
    }
    return sum == kGoroutines * (kGoroutines - 1) / 2;
  });
}
BENCHMARK(spawn_join)->Apply(bench::whole_process);

}  // namespace

// What a RWMutex costs its readers, alone, beside other readers, and with a writer now and then.
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include <weft/rwmutex.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// So many goroutines; of a hundred operations each, so many lock for writing. Per lock and unlock.
void rwmutex_mixed(benchmark::State& state) {
  constexpr std::int64_t kEach = 50'000;
  const std::int64_t goroutines = state.range(0);
  const std::int64_t writes = state.range(1);
  bench::measure(state, goroutines * kEach, [&] {
    weft::RWMutex mu;
    weft::WaitGroup wg;
    std::int64_t written = 0;  // guarded by mu
    std::vector<std::int64_t> reads(static_cast<std::size_t>(goroutines));
    for (std::int64_t& mine : reads) {
      wg.go([&mu, &written, &mine, writes] {
        std::int64_t n = 0;
        for (std::int64_t i = 0; i < kEach; ++i) {
          if (i % 100 < writes) {
            const std::lock_guard lock(mu);
            ++written;
          } else {
            const std::shared_lock lock(mu);
            n += written >= 0 ? 1 : 0;
          }
        }
        mine = n;
      });
    }
    wg.wait();
    std::int64_t total = written;
    for (const std::int64_t n : reads) total += n;
    return total == goroutines * kEach && written == goroutines * kEach / 100 * writes;
  });
}
BENCHMARK(rwmutex_mixed)
    ->Apply(bench::whole_process)
    ->ArgNames({"goroutines", "writes"})
    ->ArgsProduct({{1, 8}, {0, 5, 50, 100}});

// A try that finds a writer inside.
void rwmutex_try_lock_shared_held(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::RWMutex mu;
    const std::lock_guard lock(mu);
    std::int64_t held = 0;
    for (std::int64_t i = 0; i < kOps; ++i) held += mu.try_lock_shared() ? 0 : 1;
    return held == kOps;
  });
}
BENCHMARK(rwmutex_try_lock_shared_held)->Apply(bench::whole_process);

}  // namespace

// What a wait on a Cond costs: two goroutines that take turns, and one that wakes many.
#include <cstdint>
#include <mutex>

#include <weft/cond.hpp>
#include <weft/mutex.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Two goroutines hand a turn to and fro; per turn.
void cond_ping_pong(benchmark::State& state) {
  constexpr std::int64_t kRounds = 20'000;
  bench::measure(state, 2 * kRounds, [] {
    weft::Mutex mu;
    weft::Cond changed;
    weft::WaitGroup wg;
    std::int64_t turns = 0;  // guarded by mu
    for (std::int64_t parity = 0; parity < 2; ++parity) {
      wg.go([&, parity] {
        std::unique_lock lock(mu);
        for (std::int64_t i = 0; i < kRounds; ++i) {
          changed.wait(lock, [&] { return turns % 2 == parity; });
          ++turns;
          changed.notify_one();
        }
      });
    }
    wg.wait();
    return turns == 2 * kRounds;
  });
}
BENCHMARK(cond_ping_pong)->Apply(bench::whole_process);

// One wakes so many, again and again; per goroutine woken.
void cond_notify_all(benchmark::State& state) {
  constexpr std::int64_t kRounds = 200;
  const std::int64_t waiters = state.range(0);
  bench::measure(state, kRounds * waiters, [&] {
    weft::Mutex mu;
    weft::Cond changed;
    weft::Cond all_wait;
    weft::WaitGroup wg;
    std::int64_t round = 0;    // guarded by mu
    std::int64_t waiting = 0;  // guarded by mu
    for (std::int64_t g = 0; g < waiters; ++g) {
      wg.go([&] {
        std::unique_lock lock(mu);
        for (std::int64_t mine = 1; mine <= kRounds; ++mine) {
          if (++waiting == waiters) all_wait.notify_one();
          changed.wait(lock, [&] { return round == mine; });
        }
      });
    }
    std::unique_lock lock(mu);
    while (round < kRounds) {
      all_wait.wait(lock, [&] { return waiting == waiters; });
      waiting = 0;
      ++round;
      changed.notify_all();
    }
    lock.unlock();
    wg.wait();
    return round == kRounds;
  });
}
BENCHMARK(cond_notify_all)->Apply(bench::whole_process)->ArgName("waiters")->Arg(8)->Arg(100);

// Nobody waits.
void cond_notify_nobody(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    weft::Cond changed;
    for (std::int64_t i = 0; i < kOps; ++i) changed.notify_one();
    return true;
  });
}
BENCHMARK(cond_notify_nobody)->Apply(bench::whole_process);

}  // namespace

// The latency of a hand-over: one value goes to and fro between two goroutines.
#include <cstdint>

#include <weft/chan.hpp>
#include <weft/go.hpp>

#include "support/measure.hpp"

namespace {

// Per hop; the argument is the capacity of the two channels.
void ping_pong(benchmark::State& state) {
  constexpr std::int64_t kRounds = 10'000;
  bench::measure(state, 2 * kRounds, [&] {
    const auto capacity = static_cast<std::size_t>(state.range(0));
    const auto ping = weft::make_chan<std::int64_t>(capacity);
    const auto pong = weft::make_chan<std::int64_t>(capacity);
    weft::go([ping, pong] {
      for (const std::int64_t v : ping) pong.send(v + 1);
      pong.close();
    });
    std::int64_t v = 0;
    for (std::int64_t i = 0; i < kRounds; ++i) {
      ping.send(v);
      v = *pong.recv();
    }
    ping.close();
    return v == kRounds && !pong.recv();
  });
}
BENCHMARK(ping_pong)->Apply(bench::whole_process)->ArgName("capacity")->Arg(0)->Arg(1);

}  // namespace

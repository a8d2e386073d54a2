// What the forms that never wait cost, on one goroutine: the bare price of the channel's lock and ring.
#include <cstdint>

#include <weft/chan.hpp>

#include "support/measure.hpp"

namespace {

constexpr std::int64_t kOps = 100'000;

// A send that finds room, then a receive that finds the value; per pair.
void try_send_try_recv(benchmark::State& state) {
  bench::measure(state, kOps, [] {
    const auto ch = weft::make_chan<std::int64_t>(1);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      if (ch.try_send(i) != weft::ChanStatus::ok) return false;
      sum += ch.try_recv().value_or(0);
    }
    return sum == kOps * (kOps - 1) / 2;
  });
}
BENCHMARK(try_send_try_recv)->Apply(bench::whole_process);

// The same with the blocking forms, which do not have to block here; per pair.
void send_recv_without_waiting(benchmark::State& state) {
  bench::measure(state, kOps, [] {
    const auto ch = weft::make_chan<std::int64_t>(1);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      ch.send(i);
      sum += *ch.recv();
    }
    return sum == kOps * (kOps - 1) / 2;
  });
}
BENCHMARK(send_recv_without_waiting)->Apply(bench::whole_process);

// Nothing to receive: what polling an idle channel costs.
void try_recv_empty(benchmark::State& state) {
  bench::measure(state, kOps, [] {
    const auto ch = weft::make_chan<std::int64_t>(1);
    std::int64_t empty = 0;
    for (std::int64_t i = 0; i < kOps; ++i) empty += ch.try_recv().status() == weft::ChanStatus::would_block;
    return empty == kOps;
  });
}
BENCHMARK(try_recv_empty)->Apply(bench::whole_process);

// No room: what polling a full channel costs.
void try_send_full(benchmark::State& state) {
  bench::measure(state, kOps, [] {
    const auto ch = weft::make_chan<std::int64_t>(1);
    ch.send(1);
    std::int64_t full = 0;
    for (std::int64_t i = 0; i < kOps; ++i) full += ch.try_send(i) == weft::ChanStatus::would_block;
    return full == kOps && ch.size() == 1;
  });
}
BENCHMARK(try_send_full)->Apply(bench::whole_process);

}  // namespace

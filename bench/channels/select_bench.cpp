// What select costs: when it parks on both sides, and when nothing is ready and a default is there.
#include <cstdint>

#include <weft/chan.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

using Int = std::int64_t;

void send_until(const weft::SendChan<Int>& ch, const weft::RecvChan<weft::Unit>& quit) {
  bool running = true;
  while (running) weft::select(ch.on_send(Int{1}), quit.on_recv([&] { running = false; }));
}

// Two senders that select on {send, quit}, one receiver that selects on both channels; per receive.
void select2(benchmark::State& state) {
  constexpr Int kReceives = 10'000;
  bench::measure(state, kReceives, [] {
    const auto a = weft::make_chan<Int>();
    const auto b = weft::make_chan<Int>();
    const auto quit = weft::make_chan<weft::Unit>();
    weft::WaitGroup wg;
    wg.go([a, quit] { send_until(a, quit); });
    wg.go([b, quit] { send_until(b, quit); });
    Int received = 0;
    for (Int i = 0; i < kReceives; ++i) {
      weft::select(a.on_recv([&](weft::Received<Int> v) { received += *v; }),
                   b.on_recv([&](weft::Received<Int> v) { received += *v; }));
    }
    quit.close();
    wg.wait();
    return received == kReceives;
  });
}
BENCHMARK(select2)->Apply(bench::whole_process);

// One empty channel and a default: the case in which select never parks.
void select_default(benchmark::State& state) {
  constexpr Int kSelects = 100'000;
  bench::measure(state, kSelects, [] {
    const auto ch = weft::make_chan<Int>(1);
    Int misses = 0;
    for (Int i = 0; i < kSelects; ++i) weft::select(ch.on_recv(), weft::on_default([&] { ++misses; }));
    return misses == kSelects;
  });
}
BENCHMARK(select_default)->Apply(bench::whole_process);

// Four channels of which one has a value: the choice among the ready without a wait.
void select_ready(benchmark::State& state) {
  constexpr Int kSelects = 100'000;
  bench::measure(state, kSelects, [] {
    const auto ready = weft::make_chan<Int>(1);
    const auto a = weft::make_chan<Int>(1);
    const auto b = weft::make_chan<Int>(1);
    const auto c = weft::make_chan<Int>(1);
    Int hits = 0;
    for (Int i = 0; i < kSelects; ++i) {
      ready.send(i);
      if (weft::select(a.on_recv(), b.on_recv(), ready.on_recv(), c.on_recv()) == 2) ++hits;
    }
    return hits == kSelects;
  });
}
BENCHMARK(select_ready)->Apply(bench::whole_process);

}  // namespace

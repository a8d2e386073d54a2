// What select costs: when it parks on both sides, when nothing is ready and a default is there, and with its cases in a
// Selector.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

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

// n goroutines, each of which selects on a channel of its own and on one quiet channel that all share, are released one by
// one; per goroutine. Leaving the shared queue from the middle must cost the same however long it is (CH-25).
void select_shared(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  bench::measure(state, state.range(0), [n] {
    const auto quiet = weft::make_chan<Int>();
    std::vector<weft::Chan<Int>> own(n);
    for (auto& ch : own) ch = weft::make_chan<Int>();
    weft::WaitGroup wg;
    std::atomic<std::size_t> received{0};
    for (const auto& ch : own) {
      wg.go([&received, quiet, ch] {
        if (weft::select(quiet.on_recv(), ch.on_recv()) == 1) received.fetch_add(1, std::memory_order_relaxed);
      });
    }
    for (const auto& ch : own) ch.send(1);
    wg.wait();
    return received.load(std::memory_order_relaxed) == n;
  });
}
BENCHMARK(select_shared)->Apply(bench::whole_process)->Arg(1'000)->Arg(2'000)->Arg(4'000);

// A Selector over n channels of which one, another each time, has a value.
void selector_ready(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  constexpr Int kSelects = 20'000;
  bench::measure(state, kSelects, [n] {
    std::vector<weft::Chan<Int>> chans;
    weft::Selector selector;
    Int hits = 0;
    for (std::size_t i = 0; i < n; ++i) {
      chans.push_back(weft::make_chan<Int>(1));
      selector.add(chans.back().on_recv([&hits] { ++hits; }));
    }
    for (Int i = 0; i < kSelects; ++i) {
      chans[static_cast<std::size_t>(i) % n].send(i);
      selector.select();
    }
    return hits == kSelects;
  });
}
BENCHMARK(selector_ready)->Apply(bench::whole_process)->Arg(4)->Arg(64);

// The same with unbuffered channels and a goroutine that sends to one after the other: the Selector parks.
void selector_parked(benchmark::State& state) {
  const auto n = static_cast<std::size_t>(state.range(0));
  constexpr Int kSelects = 20'000;
  bench::measure(state, kSelects, [n] {
    std::vector<weft::Chan<Int>> chans;
    weft::Selector selector;
    Int hits = 0;
    for (std::size_t i = 0; i < n; ++i) {
      chans.push_back(weft::make_chan<Int>());
      selector.add(chans.back().on_recv([&hits] { ++hits; }));
    }
    weft::WaitGroup wg;
    wg.go([&chans, n] {
      for (Int i = 0; i < kSelects; ++i) chans[static_cast<std::size_t>(i) % n].send(i);
    });
    for (Int i = 0; i < kSelects; ++i) selector.select();
    wg.wait();
    return hits == kSelects;
  });
}
BENCHMARK(selector_parked)->Apply(bench::whole_process)->Arg(4)->Arg(64);

}  // namespace

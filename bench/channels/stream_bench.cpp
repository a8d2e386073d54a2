// The throughput of one channel: producers send, consumers range over it until it is closed.
#include <cstdint>
#include <memory>
#include <vector>

#include <weft/chan.hpp>
#include <weft/wait_group.hpp>

#include "support/measure.hpp"

namespace {

// Per value; as many consumers as producers.
void stream(benchmark::State& state) {
  constexpr std::int64_t kValues = 100'000;
  const auto capacity = static_cast<std::size_t>(state.range(0));
  const std::int64_t producers = state.range(1);
  std::vector<std::int64_t> sums(static_cast<std::size_t>(producers));
  bench::measure(state, kValues, [&] {
    const auto ch = weft::make_chan<std::int64_t>(capacity);
    weft::WaitGroup producing;
    weft::WaitGroup consuming;
    for (std::int64_t p = 0; p < producers; ++p) {
      producing.go([ch, p, producers] {
        for (std::int64_t v = p; v < kValues; v += producers) ch.send(v);
      });
    }
    for (std::int64_t& mine : sums) {
      consuming.go([ch, &mine] {
        std::int64_t sum = 0;
        for (const std::int64_t v : ch) sum += v;
        mine = sum;
      });
    }
    producing.wait();
    ch.close();
    consuming.wait();
    std::int64_t sum = 0;
    for (const std::int64_t s : sums) sum += s;
    return sum == kValues * (kValues - 1) / 2;
  });
}
BENCHMARK(stream)->Apply(bench::whole_process)->ArgNames({"capacity", "pairs"})->ArgsProduct({{0, 1, 128}, {1, 4}});

// One goroutine puts a value into a buffer and takes it out again; per pair. Types up to 16 bytes that can be copied as
// bytes have a path in the header, the others are for the compiled core (docs/performance.md).
template <class T>
void in_and_out(benchmark::State& state) {
  constexpr std::int64_t kValues = 100'000;
  bench::measure(state, kValues, [] {
    const auto ch = weft::make_chan<T>(4);
    std::int64_t received = 0;
    for (std::int64_t i = 0; i < kValues; ++i) {
      ch.send(T{});
      if (ch.recv()) ++received;
    }
    return received == kValues;
  });
}
struct Words2 {
  std::int64_t words[2];
};
struct Words3 {
  std::int64_t words[3];
};
BENCHMARK(in_and_out<std::int64_t>)->Apply(bench::whole_process);
BENCHMARK(in_and_out<Words2>)->Apply(bench::whole_process);
BENCHMARK(in_and_out<Words3>)->Apply(bench::whole_process);
BENCHMARK(in_and_out<std::unique_ptr<int>>)->Apply(bench::whole_process);

}  // namespace

// What contexts cost: to derive one and to end it, alone and as a tree, to ask one, and to look a value up.
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include <weft/context.hpp>
#include <weft/select.hpp>

#include "support/measure.hpp"

namespace {

using namespace std::chrono_literals;

// Derives a context by `derive`, cancels it and drops it; per context.
template <class Derive>
void derive_and_cancel(benchmark::State& state, const weft::Context& parent, Derive derive) {
  constexpr std::int64_t kContexts = 10'000;
  bench::measure(state, kContexts, [&] {
    std::int64_t done = 0;
    for (std::int64_t i = 0; i < kContexts; ++i) {
      const auto [ctx, cancel] = derive(parent);
      cancel();
      done += ctx.is_done() ? 1 : 0;
    }
    return done == kContexts;
  });
}

// Below background(), which never ends: nothing to be linked with.
void context_cancel_below_background(benchmark::State& state) {
  derive_and_cancel(state, weft::background(), [](const weft::Context& parent) { return weft::with_cancel(parent); });
}
BENCHMARK(context_cancel_below_background)->Apply(bench::whole_process);

// Below a context that may end: into its list and out again.
void context_cancel(benchmark::State& state) {
  const auto [parent, cancel_parent] = weft::with_cancel(weft::background());
  derive_and_cancel(state, parent, [](const weft::Context& p) { return weft::with_cancel(p); });
}
BENCHMARK(context_cancel)->Apply(bench::whole_process);

// And into the heap of timers and out again.
void context_timeout(benchmark::State& state) {
  const auto [parent, cancel_parent] = weft::with_cancel(weft::background());
  derive_and_cancel(state, parent, [](const weft::Context& p) { return weft::with_timeout(p, 1min); });
}
BENCHMARK(context_timeout)->Apply(bench::whole_process);

// With the channel that is closed at the end, which is made only when asked for.
void context_cancel_with_done(benchmark::State& state) {
  const auto [parent, cancel_parent] = weft::with_cancel(weft::background());
  derive_and_cancel(state, parent, [](const weft::Context& p) {
    auto pair = weft::with_cancel(p);
    benchmark::DoNotOptimize(pair.first.done());
    return pair;
  });
}
BENCHMARK(context_cancel_with_done)->Apply(bench::whole_process);

// Asks whether it is done, under so many that are not.
void context_is_done(benchmark::State& state) {
  constexpr std::int64_t kOps = 1'000'000;
  std::vector<weft::CancelPair> path{weft::with_cancel(weft::background())};
  for (std::int64_t i = 1; i < state.range(0); ++i) path.push_back(weft::with_cancel(path.back().first));
  const weft::Context ctx = path.back().first;
  bench::measure(state, kOps, [&] {
    std::int64_t live = 0;
    for (std::int64_t i = 0; i < kOps; ++i) live += ctx.is_done() ? 0 : 1;
    return live == kOps;
  });
}
BENCHMARK(context_is_done)->Apply(bench::whole_process)->ArgName("depth")->Arg(1)->Arg(10);

struct Wanted {
  using type = std::int64_t;
};
struct Other {
  using type = std::int64_t;
};

// Looks up a value that stands so many values above.
void context_value(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  weft::Context ctx = weft::with_value<Wanted>(weft::background(), 1);
  for (std::int64_t i = 0; i < state.range(0); ++i) ctx = weft::with_value<Other>(ctx, i);
  bench::measure(state, kOps, [&] {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) sum += *ctx.value<Wanted>();
    return sum == kOps;
  });
}
BENCHMARK(context_value)->Apply(bench::whole_process)->ArgName("depth")->Arg(0)->Arg(4)->Arg(16);

// Stores a value and drops it again.
void context_with_value(benchmark::State& state) {
  constexpr std::int64_t kOps = 10'000;
  bench::measure(state, kOps, [] {
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) sum += *weft::with_value<Wanted>(weft::background(), 1).value<Wanted>();
    return sum == kOps;
  });
}
BENCHMARK(context_with_value)->Apply(bench::whole_process);

// A tree of so many contexts, so many below each, all below one.
std::vector<weft::CancelPair> make_tree(std::int64_t contexts, std::int64_t children) {
  std::vector<weft::CancelPair> tree;
  tree.reserve(static_cast<std::size_t>(contexts) + 1);
  tree.push_back(weft::with_cancel(weft::background()));
  for (std::int64_t i = 0; i < contexts; ++i) {
    tree.push_back(weft::with_cancel(tree[static_cast<std::size_t>(i / children)].first));
  }
  return tree;
}

// Only the cancellation from the root; per context. It has to stay the same for all sizes.
void context_tree_cancel(benchmark::State& state) {
  const std::int64_t contexts = state.range(0);
  weft::run(weft::RuntimeOptions{}, [&] {
    std::optional<std::vector<weft::CancelPair>> tree;
    for (auto _ : state) {
      tree = make_tree(contexts, state.range(1));
      const auto start = std::chrono::steady_clock::now();
      tree->front().second();
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      state.SetIterationTime(elapsed.count());
      std::int64_t done = 0;
      for (const auto& pair : *tree) done += pair.first.is_done() ? 1 : 0;
      if (done == contexts + 1) continue;
      bench::report_wrong_result(state);
      break;
    }
  });
  bench::report_per_op(state, contexts);
}
BENCHMARK(context_tree_cancel)
    ->UseManualTime()
    ->Unit(benchmark::kMicrosecond)
    ->ArgNames({"contexts", "children"})
    ->ArgsProduct({{100, 1'000, 10'000, 100'000}, {10}})
    ->Args({10'000, 1})        // a chain
    ->Args({10'000, 10'000});  // a bush

// Made, cancelled from the root, dropped; per context.
void context_tree_life(benchmark::State& state) {
  const std::int64_t contexts = state.range(0);
  bench::measure(state, contexts, [&] {
    constexpr std::int64_t kChildren = 10;
    const auto tree = make_tree(contexts, kChildren);
    tree.front().second();
    return tree.back().first.is_done();
  });
}
BENCHMARK(context_tree_life)
    ->Apply(bench::whole_process)
    ->ArgName("contexts")
    ->RangeMultiplier(10)
    ->Range(100, 100'000);

// A select with a case for the end of a context, which is not done, beside one that is ready.
void context_on_done_in_select(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    const auto [ctx, cancel] = weft::with_cancel(weft::background());
    const auto chan = weft::make_chan<std::int64_t>(1);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      chan.send(1);
      weft::select(chan.on_recv([&](weft::Received<std::int64_t> v) { sum += *v; }), ctx.on_done());
    }
    return sum == kOps;
  });
}
BENCHMARK(context_on_done_in_select)->Apply(bench::whole_process);

// A receive that a context could end, of a value that is there.
void context_recv(benchmark::State& state) {
  constexpr std::int64_t kOps = 100'000;
  bench::measure(state, kOps, [] {
    const auto [ctx, cancel] = weft::with_cancel(weft::background());
    const auto chan = weft::make_chan<std::int64_t>(1);
    std::int64_t sum = 0;
    for (std::int64_t i = 0; i < kOps; ++i) {
      chan.send(1);
      sum += *chan.recv(ctx);
    }
    return sum == kOps;
  });
}
BENCHMARK(context_recv)->Apply(bench::whole_process);

}  // namespace

// weft's half of the comparison: contexts. Read beside go/contexts.go.
#include <chrono>
#include <cstdint>
#include <vector>

#include <weft/context.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

// Derive a context from one that is not done, as a server does for each request, and cancel it; per context.
Result bench_context_cancel() {
  constexpr Int kContexts = 2'000'000;
  const auto [parent, cancel_parent] = weft::with_cancel(weft::background());
  Int done = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kContexts; ++i) {
    const auto [ctx, cancel] = weft::with_cancel(parent);
    cancel();
    if (ctx.is_done()) ++done;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kContexts && !parent.is_done(), "done", done);
  return {kContexts, elapsed};
}

// The same with a timeout of one minute.
Result bench_context_timeout() {
  constexpr Int kContexts = 1'000'000;
  const auto [parent, cancel_parent] = weft::with_cancel(weft::background());
  Int done = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kContexts; ++i) {
    const auto [ctx, cancel] = weft::with_timeout(parent, std::chrono::minutes(1));
    cancel();
    if (ctx.is_done()) ++done;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kContexts && !parent.is_done(), "done", done);
  return {kContexts, elapsed};
}

// A tree of ten thousand contexts, ten below each, is made below one, cancelled there and dropped; per context.
Result bench_context_tree() {
  constexpr Int kTrees = 50;
  constexpr std::size_t kContexts = 10'000, kChildren = 10;
  Int done = 0;
  const Stopwatch watch;
  for (Int t = 0; t < kTrees; ++t) {
    std::vector<weft::CancelPair> tree;
    tree.reserve(kContexts + 1);
    tree.push_back(weft::with_cancel(weft::background()));
    for (std::size_t i = 0; i < kContexts; ++i) tree.push_back(weft::with_cancel(tree[i / kChildren].first));
    tree.front().second();
    for (const auto& [ctx, cancel] : tree) done += ctx.is_done() ? 1 : 0;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kTrees * static_cast<Int>(kContexts + 1), "done", done);
  return {kTrees * static_cast<Int>(kContexts), elapsed};
}

constexpr Scenario kContexts[] = {
    {"context_cancel", bench_context_cancel},
    {"context_timeout", bench_context_timeout},
    {"context_tree", bench_context_tree},
};

}  // namespace

std::span<const Scenario> context_scenarios() { return kContexts; }

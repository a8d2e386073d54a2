// The standard library's part of the comparison: stop sources for contexts. Read beside ../weft/contexts.cpp.
#include <cstddef>
#include <deque>
#include <optional>
#include <stop_token>
#include <utility>

#include "../lists.hpp"

namespace {

using namespace compare;

// The nearest thing to a context: a stop source that hears of its parent's stop.
class Stop {
 public:
  Stop() = default;
  explicit Stop(const Stop& parent) : link_(std::in_place, parent.source_.get_token(), Forward{&source_}) {}
  void operator()() { source_.request_stop(); }
  bool is_done() const { return source_.stop_requested(); }

 private:
  struct Forward {
    std::stop_source* source;
    void operator()() const { source->request_stop(); }
  };
  std::stop_source source_;
  std::optional<std::stop_callback<Forward>> link_;
};

// Derive a stop source from one that was not asked to stop, and stop it; per source.
Result bench_context_cancel() {
  constexpr Int kContexts = 2'000'000;
  Stop parent;
  Int done = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kContexts; ++i) {
    Stop child(parent);
    child();
    if (child.is_done()) ++done;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kContexts && !parent.is_done(), "done", done);
  return {kContexts, elapsed};
}

// A tree of ten thousand sources, ten below each, is made below one, stopped there and dropped; per source.
Result bench_context_tree() {
  constexpr Int kTrees = 50;
  constexpr std::size_t kContexts = 10'000, kChildren = 10;
  Int done = 0;
  const Stopwatch watch;
  for (Int t = 0; t < kTrees; ++t) {
    std::deque<Stop> tree;  // they do not move
    tree.emplace_back();
    for (std::size_t i = 0; i < kContexts; ++i) tree.emplace_back(std::as_const(tree[i / kChildren]));
    tree.front()();
    for (const Stop& stop : tree) done += stop.is_done() ? 1 : 0;
    while (!tree.empty()) tree.pop_back();  // children first
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kTrees * static_cast<Int>(kContexts + 1), "done", done);
  return {kTrees * static_cast<Int>(kContexts), elapsed};
}

constexpr Scenario kContextScenarios[] = {
    {"context_cancel", bench_context_cancel},
    {"context_tree", bench_context_tree},
};

}  // namespace

std::span<const Scenario> context_scenarios() { return kContextScenarios; }

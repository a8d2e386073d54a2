// Looking at goroutines while they start, run, park and end: counters and lists are snapshots, never wild reads.

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"

namespace {

using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

/// Goroutines with all that a record may point at: a name on the heap, a stack of its own that is unmapped at the end.
void churn(int rounds) {
  const auto chan = weft::make_chan<int>();
  for (int round = 0; round < rounds; ++round) {
    WaitGroup wg;
    wg.go({.name = "a sender with a name that does not fit into a small string"}, [chan] { chan.send(1); });
    wg.go({.name = "receiver", .stack_size = 64 * 1024}, [chan] { chan.recv(); });
    wg.go([] { weft::yield(); });
    wg.wait();
  }
}

// Broken to check it: with an await_visitors() that does nothing, TSan reports reads of freed names.
TEST(SnapshotTest, ListsAndCountersMayBeReadWhileGoroutinesComeAndGo) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<bool> is_over{false};
  std::vector<std::thread> visitors;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 2; ++i) {
    visitors.emplace_back([&] {
      while (!is_over.load()) {
        if (runtime.stats().live > 100) wrong.fetch_add(1);
        for (const weft::GoroutineInfo& g : runtime.scheduler().goroutines()) {
          const bool is_known =
              g.name.empty() || g.name == "main" || g.name == "receiver" || g.name.starts_with("a sender");
          if (g.id == 0 || g.state.empty() || !is_known) wrong.fetch_add(1);
        }
      }
    });
  }
  runtime.run([] {
    WaitGroup wg;
    for (int g = 0; g < 4; ++g) wg.go([] { churn(test::rounds(2'000)); });
    wg.wait();
  });
  is_over.store(true);
  for (std::thread& visitor : visitors) visitor.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace

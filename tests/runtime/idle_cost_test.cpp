// I6: an idle runtime uses next to nothing. Each of these tests has been seen to fail with the invariant broken; its comment
// says how the runtime was broken for that, and what the test said. They bring their own runtimes, and run once.

#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"
#include "watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace detail = weft::detail;
namespace test = weft::test;
using test::spin_until;

std::int64_t cpu_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// A runtime all of whose workers have started, with goroutines that wait for something.
class IdleRuntime {
 public:
  IdleRuntime(unsigned processors, bool with_timers)
      : with_timers_(with_timers), runtime_(RuntimeOptions{.processors = processors}) {
    // Everybody waits for everybody without a runtime call: that takes a thread each.
    std::atomic<unsigned> here{0};
    runtime_.run([&] {
      WaitGroup wg;
      for (unsigned i = 0; i < processors; ++i) {
        wg.go([&] {
          here.fetch_add(1);
          spin_until([&] { return here.load() == processors; });
        });
      }
      wg.wait();
    });
    for (int i = 0; i < 100; ++i) runtime_.go([gate = gate_] { gate.recv(); });
    if (!with_timers_) return;
    runtime_.go([] { weft::sleep_for(1h); });
    runtime_.go([gate = gate_] { weft::select(gate.on_recv(), weft::on_timeout(2h)); });
  }
  IdleRuntime(const IdleRuntime&) = delete;
  IdleRuntime& operator=(const IdleRuntime&) = delete;
  ~IdleRuntime() {
    gate_.close();
    spin_until([&] { return runtime_.stats().live == (with_timers_ ? 1U : 0U); });  // who is abandoned, leaks
  }

  bool is_idle() const {
    detail::Scheduler& scheduler = runtime_.scheduler();
    return runtime_.stats().waiting == (with_timers_ ? 102U : 100U) && scheduler.idle.searching() == 0 &&
           scheduler.idle.free_processors() == scheduler.processor_count();
  }
  weft::Stats stats() const { return runtime_.stats(); }

 private:
  const bool with_timers_;
  Chan<int> gate_ = make_chan<int>();
  Runtime runtime_;
};

void expect_no_cpu_use(bool with_timers) {
  const IdleRuntime one(1, with_timers);
  const IdleRuntime two(2, with_timers);
  const IdleRuntime many(64, with_timers);
  for (const IdleRuntime* runtime : {&one, &two, &many}) spin_until([&] { return runtime->is_idle(); });
  // There are more where the monitor has taken a processor from one of the 64 that spun: it has then made a thread for
  // the processor (always in chaos mode, sometimes on a slow machine), and that thread stays.
  EXPECT_GE(many.stats().threads, 64U);
  const std::uint64_t wakes = one.stats().wakes + two.stats().wakes + many.stats().wakes;

  const std::int64_t before = cpu_ns();
  std::this_thread::sleep_for(2s);  // what is measured, not a way to order events
  const std::int64_t used = cpu_ns() - before;

  // Three runtimes: 0.17% of a core for each. TSan has a thread of its own that works all the time.
  EXPECT_LT(used, test::kSanitized ? 100'000'000 : 10'000'000) << "ns of CPU time in 2 s";
  EXPECT_EQ(one.stats().wakes + two.stats().wakes + many.stats().wakes, wakes);
  testing::Test::RecordProperty("cpu_us", std::to_string(used / 1'000));
}

// Broken to check it: the deadlock check repeated every millisecond (kDeadlockRecheckNs): 51 ms of CPU time. A
// searcher that finds nothing searched again instead of sleeping: never became idle.
// Rules: I6, SCH-15
TEST(IdleCostTest, RuntimesWithParkedGoroutinesUseNoCpu) {
  const test::Watchdog watchdog("I6: a runtime with nothing to do does not become idle");
  expect_no_cpu_use(false);
}

// Broken to check it: workers slept in slices of 0.2 ms (Worker::sleep, Z5): 1.1 s of CPU time.
// Rules: I6, SCH-15
TEST(IdleCostTest, RuntimesWithFarTimersUseNoCpu) {
  const test::Watchdog watchdog("I6: a runtime with nothing to do does not become idle");
  expect_no_cpu_use(true);
}

}  // namespace

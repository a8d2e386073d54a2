// verify_no_leaks and wait_parked, in bubbles and outside.

#include <weft/testing.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::sleep_for;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

/// What verify_no_leaks says; nothing if it is content.
std::string leaks() {
  try {
    weft::testing::verify_no_leaks();
    return "";
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

// Rules: LEAK-4
TEST(LeakCheckTest, ASenderThatNobodyHearsIsNamedWithReasonAndSite) {
  const auto chan = make_chan<int>();
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.run([=] {
    EXPECT_EQ(leaks(), "");
    weft::go({.name = "lonely"}, [=] { chan.send(1); });
    const std::string report = leaks();
    EXPECT_TRUE(report.starts_with("weft: testing::verify_no_leaks: 1 goroutine is left:\n\tgoroutine ")) << report;
    EXPECT_TRUE(contains(report, " \"lonely\" [chan send]: created by ")) << report;
    EXPECT_TRUE(chan.recv());
    EXPECT_EQ(leaks(), "");
  });
}

// Rules: LEAK-4, GEN-4
TEST(LeakCheckTest, EachKindOfWaitHasItsReason) {
  const auto chan = make_chan<int>();
  const auto end = make_chan<weft::Unit>();
  weft::Mutex mutex;
  WaitGroup group;
  WaitGroup all;
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.run([&] {
    mutex.lock();
    group.add(1);
    all.go([&] { static_cast<void>(chan.recv()); });
    all.go([&] { weft::select(weft::Chan<int>().on_recv(), end.on_recv()); });
    all.go([&] { mutex.lock(); });
    all.go([&] { group.wait(); });
    weft::go([] { sleep_for(1h); });  // abandoned
    const std::string report = leaks();
    for (const char* reason : {"chan receive", "select", "sync.Mutex.Lock", "sync.WaitGroup.Wait", "sleep"}) {
      EXPECT_TRUE(contains(report, "[" + std::string(reason) + "]: created by ")) << reason << "\n" << report;
    }
    chan.send(1);
    end.close();
    mutex.unlock();
    group.done();
    all.wait();
    EXPECT_TRUE(leaks().starts_with("weft: testing::verify_no_leaks: 1 goroutine is left:\n")) << leaks();
    mutex.unlock();
  });
}

// Rules: LEAK-3
TEST(LeakCheckTest, ThoseAboutToEndAreWaitedFor) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    for (int i = 0; i < test::rounds(50); ++i) {
      for (int g = 0; g < 20; ++g) {
        weft::go([g] {
          for (int n = 0; n < g; ++n) weft::yield();
        });
      }
      EXPECT_EQ(leaks(), "");
    }
  });
}

// Rules: LEAK-3
TEST(LeakCheckTest, NeitherTheCallerNorWhoWaitsInRunCounts) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    EXPECT_EQ(leaks(), "");
    weft::run([] {});
    Runtime::current()->run([] { EXPECT_EQ(leaks(), ""); });
  });
  EXPECT_EQ(leaks(), "");  // of the default runtime, from a thread
}

// Rules: LEAK-4, SYN-6
TEST(LeakCheckTest, InABubbleItLooksAtTheBubbleOnly) {
  const auto outside = make_chan<int>();
  weft::run(RuntimeOptions{.processors = 2}, [=] {
    WaitGroup group;
    test::go_parked(group, [=] { static_cast<void>(outside.recv()); });
    weft::testing::run([] {
      EXPECT_EQ(leaks(), "");
      const auto chan = make_chan<int>();
      weft::go([=] { chan.send(1); });
      const std::string report = leaks();
      EXPECT_TRUE(report.starts_with("weft: testing::verify_no_leaks: 1 goroutine is left:\n")) << report;
      EXPECT_TRUE(contains(report, " [chan send (durable)]: created by ")) << report;
      EXPECT_TRUE(chan.recv());
      weft::go([] {
        for (int i = 0; i < 20; ++i) weft::yield();
      });
      EXPECT_EQ(leaks(), "");  // who can end, ends
    });
    outside.send(1);
    group.wait();
  });
}

// Rules: LEAK-4
TEST(LeakCheckTest, TheReasonSaysDurableInABubbleOnly) {
  // The same stacks are used inside and outside.
  weft::run(RuntimeOptions{.processors = 1}, [] {
    for (int i = 0; i < 3; ++i) {
      const auto chan = make_chan<int>();
      weft::testing::run([] {
        const auto inside = make_chan<int>();
        for (int g = 0; g < 4; ++g) weft::go([=] { static_cast<void>(inside.recv()); });
        weft::testing::wait();
        inside.close();
      });
      WaitGroup group;
      for (int g = 0; g < 4; ++g) test::go_parked(group, [=] { static_cast<void>(chan.recv()); });
      std::string report;
      for (const weft::GoroutineInfo& info : Runtime::current()->scheduler().goroutines()) report += info.wait_reason;
      EXPECT_TRUE(contains(report, "chan receive")) << report;
      EXPECT_FALSE(contains(report, "durable")) << report;
      chan.close();
      group.wait();  // whoever is abandoned with a handle leaks it
    }
  });
}

// Rules: LEAK-3
TEST(LeakCheckTest, MayLookWhileGoroutinesStartWakeAndEnd) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<bool> is_over{false};
  runtime.run([&] {
    WaitGroup group;
    for (int g = 0; g < 4; ++g) {
      group.go([&] {
        const auto chan = make_chan<int>();
        while (!is_over) {
          weft::go({.name = "a name that does not fit into the string itself"}, [=] { chan.send(1); });
          weft::select(chan.on_recv(), weft::on_timeout(1h));
        }
      });
    }
    EXPECT_NE(leaks(), "");
    for (int i = 0; i < test::rounds(100); ++i) {
      static_cast<void>(Runtime::current()->scheduler().goroutines());
      static_cast<void>(weft::stats());
    }
    is_over = true;
    group.wait();
    EXPECT_EQ(leaks(), "");
  });
}

// Rules: LEAK-4
TEST(LeakCheckTest, WaitParkedReturnsWhenTheGoroutineIsParkedOrGone) {
  test::everywhere([] {
    const auto chan = make_chan<int>();
    for (int i = 0; i < test::rounds(300); ++i) {
      int steps = 0;  // ordered by wait_parked, which TSan sees
      const std::uint64_t id = test::go_parked([&] {
        ++steps;
        static_cast<void>(chan.recv());
        ++steps;
      });
      EXPECT_EQ(steps, 1);
      chan.send(1);
      weft::testing::wait_parked(id);
    }
  });
}

// Rules: LEAK-4
TEST(LeakCheckTest, WaitParkedWorksInABubble) {
  weft::testing::run([] {
    const auto chan = make_chan<int>();
    for (int i = 0; i < 10; ++i) test::go_parked([=] { EXPECT_EQ(*chan.recv(), 1); });
    for (int i = 0; i < 10; ++i) EXPECT_EQ(chan.try_send(1), weft::ChanStatus::ok);
  });
}

}  // namespace

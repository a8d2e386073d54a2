// What belongs to a bubble cannot be used from outside, nor from another one.

#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::WaitGroup;
namespace test = weft::test;

std::string panic_of(const std::function<void()>& f) {
  try {
    f();
    return "no panic";
  } catch (const weft::RuntimePanic&) {
    return "a runtime panic";  // these are the library's, not the runtime's (GEN-2)
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
}

/// From a plain thread, from a goroutine outside, from another bubble.
void expect_panic_elsewhere(const std::string& text, const std::function<void()>& f) {
  EXPECT_EQ(panic_of(f), text);
  weft::run([&] { EXPECT_EQ(panic_of(f), text); });
  weft::testing::run([&] { EXPECT_EQ(panic_of(f), text); });
}

// Rules: SYN-9
TEST(BubbleIsolationTest, ChannelOperationsPanicElsewhere) {
  Chan<int> open;
  Chan<int> full;
  weft::testing::run([&] {
    open = make_chan<int>(2);
    full = make_chan<int>(1);
    full.send(1);
  });
  for (const Chan<int>& chan : {open, full}) {
    const std::string send = "send on synctest channel from outside bubble";
    expect_panic_elsewhere(send, [&] { chan.send(1); });
    expect_panic_elsewhere(send, [&] { static_cast<void>(chan.try_send(1)); });
    const std::string receive = "receive on synctest channel from outside bubble";
    expect_panic_elsewhere(receive, [&] { chan.recv(); });
    expect_panic_elsewhere(receive, [&] { static_cast<void>(chan.try_recv()); });
    expect_panic_elsewhere("close of synctest channel from outside bubble", [&] { chan.close(); });
    const std::string select = "select on synctest channel from outside bubble";
    const auto outside = make_chan<int>();
    expect_panic_elsewhere(select, [&] { weft::select(outside.on_recv(), chan.on_recv()); });
    expect_panic_elsewhere(select, [&] { weft::select(chan.on_send(1), outside.on_recv(), weft::on_default()); });
    expect_panic_elsewhere(select, [&] { weft::select(chan.on_recv(), weft::on_timeout(1h)); });
  }
  EXPECT_EQ(open.size(), 0U);  // nothing has happened
  EXPECT_EQ(full.size(), 1U);
  EXPECT_EQ(full.capacity(), 1U);
}

// Rules: SYN-9, CH-20
TEST(BubbleIsolationTest, AClosedChannelToo) {
  Chan<int> closed;
  weft::testing::run([&] {
    closed = make_chan<int>();
    closed.close();
  });
  expect_panic_elsewhere("receive on synctest channel from outside bubble", [&] { closed.recv(); });
  expect_panic_elsewhere("send on synctest channel from outside bubble", [&] { closed.send(1); });
  expect_panic_elsewhere("close of synctest channel from outside bubble", [&] { closed.close(); });
}

// Rules: SYN-9
TEST(BubbleIsolationTest, TimedAndSingleCaseFormsPanicElsewhere) {
  Chan<int> chan;
  weft::testing::run([&] { chan = make_chan<int>(); });
  const auto panics = [&](const std::function<void()>& f) {
    const std::string text = panic_of(f);
    EXPECT_TRUE(text.ends_with(" on synctest channel from outside bubble")) << text;
  };
  panics([&] { static_cast<void>(chan.recv_for(1h)); });
  panics([&] { static_cast<void>(chan.send_for(1, 1h)); });
  panics([&] { static_cast<void>(chan.recv_for(0s)); });
  panics([&] { weft::select(chan.on_recv()); });
  panics([&] { weft::select(chan.on_send(1), weft::on_default()); });
  panics([&] {
    for (const int value : chan) static_cast<void>(value);
  });
}

// Rules: SYN-9
TEST(BubbleIsolationTest, TimersPanicElsewhere) {
  weft::Timer timer;
  weft::Ticker ticker;
  weft::AfterFunc func;
  weft::testing::run([&] {
    timer = weft::Timer(1h);
    ticker = weft::Ticker(1h);
    func = weft::after_func(1h, [] {});
  });
  const std::string stop = "stop of synctest timer from outside bubble";
  const std::string reset = "reset of synctest timer from outside bubble";
  expect_panic_elsewhere(stop, [&] { timer.stop(); });
  expect_panic_elsewhere(reset, [&] { timer.reset(1s); });
  expect_panic_elsewhere(stop, [&] { ticker.stop(); });
  expect_panic_elsewhere(reset, [&] { ticker.reset(1s); });
  expect_panic_elsewhere(stop, [&] { func.stop(); });
  expect_panic_elsewhere(reset, [&] { func.reset(0s); });
  const std::string receive = "receive on synctest channel from outside bubble";
  expect_panic_elsewhere(receive, [&] { timer.chan().recv(); });
  expect_panic_elsewhere(receive, [&] { static_cast<void>(ticker.chan().try_recv()); });
  expect_panic_elsewhere("select on synctest channel from outside bubble",
                         [&] { weft::select(timer.chan().on_recv(), ticker.chan().on_recv()); });
}

// Rules: SYN-9
TEST(BubbleIsolationTest, WhileTheBubbleLivesToo) {
  Chan<int> chan;
  const auto is_made = make_chan<int>();
  const auto may_end = make_chan<int>();
  test::Task outside(test::On::kThread, [&] {
    static_cast<void>(is_made.recv());
    EXPECT_EQ(panic_of([&] { chan.send(1); }), "send on synctest channel from outside bubble");
    may_end.send(1);
  });
  weft::testing::run([&] {
    chan = make_chan<int>();
    is_made.send(1);
    EXPECT_EQ(weft::select(chan.on_recv(), may_end.on_recv()), 1U);
  });
}

// Rules: SYN-9, SYN-10
TEST(BubbleIsolationTest, WhatWasMadeOutsideMayBeUsedInside) {
  const auto chan = make_chan<int>(3);
  weft::Timer timer(1h);
  WaitGroup group;
  weft::testing::run([&] {
    chan.send(1);
    EXPECT_EQ(*chan.recv(), 1);
    EXPECT_EQ(weft::select(chan.on_send(2), weft::on_default()), 0U);
    chan.close();
    EXPECT_TRUE(timer.reset(1ns));
    EXPECT_TRUE(timer.chan().recv());
    EXPECT_FALSE(timer.stop());
    group.wait();
  });
  EXPECT_EQ(*chan.recv(), 2);
}

void expect_fatal(const test::ChildResult& child, std::string_view text) {
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_TRUE(child.err.starts_with("fatal error: " + std::string(text) + "\n")) << child.err;
  EXPECT_EQ(child.out, "");
}

/// Calls f; a catch would print.
void wrapped(const std::function<void()>& f) {
  try {
    f();
  } catch (...) {
    std::puts("caught");
  }
}

// Rules: SYN-9, GEN-1
TEST(BubbleIsolationTest, AddOfABubblesWaitGroupFromOutsideIsFatal) {
  expect_fatal(test::in_child([] {
                 WaitGroup group;
                 weft::testing::run([&] { group.add(1); });
                 wrapped([&] { group.done(); });
               }),
               "sync: WaitGroup.Add called from inside and outside synctest bubble");
}

// Rules: SYN-9, GEN-1
TEST(BubbleIsolationTest, AddOfABubblesWaitGroupFromAnotherOneIsFatal) {
  expect_fatal(test::in_child([] {
                 WaitGroup group;
                 weft::testing::run([&] { group.add(1); });
                 weft::testing::run([&] { wrapped([&] { group.add(1); }); });
               }),
               "sync: WaitGroup.Add called from multiple synctest bubbles");
}

// Rules: SYN-6, DL-1
TEST(BubbleIsolationTest, ABubbleWhoseMembersWaitForAMutexForEverIsTheProcesssDeadlock) {
  const test::ChildResult child = test::in_child([] {
    weft::testing::run([] {
      weft::Mutex mutex;
      mutex.lock();
      mutex.lock();
    });
  });
  expect_fatal(child, "all goroutines are asleep - deadlock!");
  EXPECT_NE(child.err.find("\"bubble\" [sync.Mutex.Lock]:"), std::string::npos) << child.err;
}

}  // namespace

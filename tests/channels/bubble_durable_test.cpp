// Which waits are durable: a bubble's clock passes them over; the others hold it, since the world outside may end them.

#include <weft/testing.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::Clock;
using weft::make_chan;
using weft::Mutex;
using weft::sleep_for;
using weft::WaitGroup;
namespace test = weft::test;

/// Runs `prepare` in a bubble; it returns what a goroutine there will block in. True if an hour can pass meanwhile. The
/// wait is given up with the bubble.
bool lets_time_pass(const std::function<std::function<void()>()>& prepare) {
  bool passed = false;
  try {
    weft::testing::run([&] {
      const auto block = prepare();
      weft::go([block] { block(); });
      sleep_for(1h);
      passed = true;
    });
  } catch (const weft::Panic& panic) {
    EXPECT_STREQ(panic.what(), "deadlock: main bubble goroutine has exited but blocked goroutines remain");
  }
  return passed;
}

// Rules: SYN-6
TEST(BubbleDurableTest, ChannelsOfTheBubbleTheNilChannelAndSelectsOfThem) {
  EXPECT_TRUE(lets_time_pass([] { return [chan = make_chan<int>()] { chan.send(1); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [chan = make_chan<int>()] { chan.recv(); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [chan = make_chan<int>()] { chan.recv_for(24h); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [chan = make_chan<int>()] { chan.send_for(1, 24h); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [] { Chan<int>().recv(); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [] { Chan<int>().send(1); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [] { weft::select(); }; }));
  EXPECT_TRUE(lets_time_pass([] { return [] { weft::select(weft::on_timeout(24h)); }; }));
  EXPECT_TRUE(lets_time_pass(
      [] { return [a = make_chan<int>(), b = make_chan<int>()] { weft::select(a.on_recv(), b.on_send(1)); }; }));
  EXPECT_TRUE(lets_time_pass([] {
    return [a = make_chan<int>()] { weft::select(a.on_recv(), Chan<int>().on_recv(), weft::on_timeout(24h)); };
  }));
}

// Rules: SYN-6
TEST(BubbleDurableTest, TimersOfTheBubble) {
  EXPECT_TRUE(lets_time_pass([] { return [] { weft::after(24h).recv(); }; }));
  EXPECT_TRUE(lets_time_pass([] {
    auto timer = std::make_shared<weft::Timer>(24h);
    return [timer, chan = make_chan<int>()] { weft::select(timer->chan().on_recv(), chan.on_recv()); };
  }));
  EXPECT_TRUE(lets_time_pass([] { return [] { sleep_for(24h); }; }));
}

// Rules: SYN-6
TEST(BubbleDurableTest, AWaitGroupToWhichTheBubbleAdded) {
  EXPECT_TRUE(lets_time_pass([] {
    auto group = std::make_shared<WaitGroup>();
    group->add(1);
    return [group] { group->wait(); };
  }));
  EXPECT_TRUE(lets_time_pass([] {
    auto group = std::make_shared<WaitGroup>();
    group->add(1);
    return [group] { group->wait_for(24h); };
  }));
}

/// `block` waits for something that only `release` ends, from outside the bubble. An hour must not pass before it.
void expect_time_waits_for(const std::function<void()>& block, const std::function<void()>& release) {
  std::atomic<std::uint64_t> blocked{0};
  std::atomic<bool> is_released{false};
  test::Task outside(test::On::kThread, [&] {
    std::uint64_t id = 0;
    while ((id = blocked.load()) == 0) weft::yield();
    weft::testing::wait_parked(id);
    // The bubble has had every opportunity to go on without us.
    for (int i = 0; i < 1000; ++i) weft::yield();
    is_released = true;
    release();
  });
  weft::testing::run([&] {
    weft::go([&] {
      blocked = weft::this_goroutine::id();
      block();
    });
    sleep_for(1h);
    EXPECT_TRUE(is_released.load());
  });
  outside.join();
}

// Rules: SYN-6, SYN-10
TEST(BubbleDurableTest, NotChannelsFromOutside) {
  const auto outside = make_chan<int>();
  expect_time_waits_for([=] { EXPECT_EQ(*outside.recv(), 1); }, [=] { outside.send(1); });
  expect_time_waits_for([=] { outside.send(2); }, [=] { EXPECT_EQ(*outside.recv(), 2); });
  expect_time_waits_for([=] { EXPECT_TRUE(outside.recv_for(24h)); }, [=] { outside.send(3); });
  expect_time_waits_for(
      [=] {
        const auto inside = make_chan<int>();
        EXPECT_EQ(weft::select(inside.on_recv(), outside.on_recv(), weft::on_timeout(24h)), 1U);
      },
      [=] { outside.send(4); });
}

// Rules: SYN-6
TEST(BubbleDurableTest, NotAMutex) {
  Mutex mutex;
  mutex.lock();
  expect_time_waits_for([&] { const std::lock_guard guard(mutex); }, [&] { mutex.unlock(); });
}

// Rules: SYN-6
TEST(BubbleDurableTest, NotAWaitGroupToWhichOthersAdded) {
  WaitGroup group;
  group.add(1);
  expect_time_waits_for([&] { group.wait(); }, [&] { group.done(); });
}

// Rules: SYN-9, SYN-6
TEST(BubbleDurableTest, AWaitGroupLeavesItsBubbleWhenAWaitHasSeenZero) {
  WaitGroup group;
  for (int i = 0; i < 2; ++i) {
    weft::testing::run([&] {
      group.go([] { sleep_for(1s); });
      group.wait();  // a waiter that is released
    });
    group.add(1);
    expect_time_waits_for([&] { group.wait(); }, [&] { group.done(); });
    weft::testing::run([&] {
      group.add(1);
      group.done();
      group.wait();  // returns at once
    });
    group.add(1);
    expect_time_waits_for([&] { group.wait(); }, [&] { group.done(); });
  }
}

// Rules: SYN-10, TM-3
TEST(BubbleDurableTest, ARealTimerFromOutsideFiresInRealTime) {
  const auto start = std::chrono::steady_clock::now();
  const weft::RecvChan<weft::TimePoint> real = weft::after(10ms);
  weft::testing::run([&] {
    const weft::TimePoint before = Clock::now();
    EXPECT_TRUE(real.recv());
    EXPECT_EQ(Clock::now(), before);
  });
  EXPECT_GE(std::chrono::steady_clock::now() - start, 10ms);
}

// Rules: SYN-9, TM-10
TEST(BubbleDurableTest, ACallFromOutsideThatIsSetInsideRunsOutside) {
  for (int i = 0; i < test::rounds(200); ++i) {
    std::atomic<int> runs{0};
    std::atomic<int> inside{0};
    weft::AfterFunc func = weft::after_func(1h, [&] {
      try {
        weft::testing::wait();
        ++inside;
      } catch (const weft::Panic&) {
      }
      ++runs;
    });
    // The bubble is gone when the function runs, or it is not.
    weft::testing::run([&] { EXPECT_TRUE(func.reset(std::chrono::microseconds(i % 5))); });
    test::eventually([&] { return runs.load() == 1; });
    EXPECT_EQ(inside.load(), 0);
  }
}

// Rules: SYN-6
TEST(BubbleDurableTest, ARunInsideABubbleIsPartOfIt) {
  weft::testing::run([] {
    const weft::TimePoint start = Clock::now();
    weft::run([&] {
      sleep_for(1h);
      EXPECT_EQ(Clock::now() - start, 1h);
    });
    EXPECT_EQ(Clock::now() - start, 1h);
  });
}

// Rules: SYN-10
TEST(BubbleDurableTest, AnotherRuntimeIsTheOutside) {
  weft::Runtime other(weft::RuntimeOptions{.processors = 1});
  weft::testing::run([&] {
    const weft::TimePoint start = Clock::now();
    weft::go([] { sleep_for(1h); });
    other.run([&] {
      const auto before = std::chrono::steady_clock::now();
      sleep_for(5ms);  // in real time
      EXPECT_GE(std::chrono::steady_clock::now() - before, 5ms);
      EXPECT_NE(Clock::now().time_since_epoch() / 1h, start.time_since_epoch() / 1h);
    });
    EXPECT_EQ(Clock::now(), start);
    sleep_for(1h);
  });
}

}  // namespace

// Waits that a Context ends: channels, select, sleep; and what happens when it ends while something else does.

#include <weft/context.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace {

using namespace std::chrono_literals;
using weft::background;
using weft::ChanStatus;
using weft::Clock;
using weft::Context;
using weft::errc;
using weft::with_cancel;
using weft::with_timeout;

TEST(ContextWaitTest, ADoneContextWinsAndNothingIsMoved) {
  weft::test::everywhere([] {
    auto [ctx, cancel] = with_cancel(background());
    auto ch = weft::make_chan<std::unique_ptr<int>>(1);
    auto value = std::make_unique<int>(1);
    EXPECT_EQ(ch.send(ctx, std::move(value)), ChanStatus::ok);
    value = std::make_unique<int>(2);
    cancel();
    EXPECT_EQ(ch.recv(ctx).status(), ChanStatus::cancelled);
    EXPECT_EQ(**ch.recv(), 1);
    EXPECT_EQ(ch.send(ctx, std::move(value)), ChanStatus::cancelled);
    ASSERT_TRUE(value);
    EXPECT_EQ(*value, 2);
    EXPECT_FALSE(weft::sleep_for(ctx, 1h));
    EXPECT_FALSE(weft::sleep_for(ctx, 0s));
  });
}

TEST(ContextWaitTest, AContextThatIsNeverDoneChangesNothing) {
  auto ch = weft::make_chan<int>(1);
  const int seven = 7;
  EXPECT_EQ(ch.send(background(), seven), ChanStatus::ok);
  EXPECT_EQ(*ch.recv(background()), 7);
  ch.close();
  EXPECT_EQ(ch.recv(Context()).status(), ChanStatus::closed);
  EXPECT_THROW(static_cast<void>(ch.send(background(), 1)), weft::RuntimePanic);
  EXPECT_TRUE(weft::sleep_for(background(), 1ns));
}

TEST(ContextWaitTest, CancelEndsWhateverWaits) {
  weft::testing::run([] {
    auto [ctx, cancel] = with_cancel(background());
    auto empty = weft::make_chan<int>();
    weft::Chan<int> nil;
    weft::WaitGroup group;
    std::atomic<int> ended{0};
    group.go([&, ctx = ctx] { ended += empty.recv(ctx).status() == ChanStatus::cancelled; });
    group.go([&, ctx = ctx] { ended += nil.recv(ctx).status() == ChanStatus::cancelled; });
    group.go([&, ctx = ctx] { ended += nil.send(ctx, 1) == ChanStatus::cancelled; });
    group.go([&, ctx = ctx] { ended += !weft::sleep_for(ctx, 1h); });
    group.go([&, ctx = ctx] { ended += weft::select(nil.on_recv(), ctx.on_done()) == 1; });
    group.go([&, ctx = ctx] {
      weft::Selector selector;
      selector.add(nil.on_recv());
      selector.add(ctx.on_done());
      ended += selector.select() == 1;
    });
    weft::testing::wait();
    EXPECT_EQ(ended.load(), 0);
    cancel();
    group.wait();
    EXPECT_EQ(ended.load(), 6);
  });
}

TEST(ContextWaitTest, DeadlinesEndWaits) {
  weft::testing::run([] {
    const auto start = Clock::now();
    auto [ctx, cancel] = with_timeout(background(), 3s);
    auto ch = weft::make_chan<int>();
    EXPECT_EQ(ch.recv(ctx).status(), ChanStatus::cancelled);
    EXPECT_EQ(Clock::now() - start, 3s);
    auto [longer, cancel_longer] = with_timeout(background(), 5s);
    EXPECT_TRUE(weft::sleep_for(longer, 4s));
    EXPECT_EQ(Clock::now() - start, 7s);
    EXPECT_FALSE(weft::sleep_until(longer, start + 20s));
    EXPECT_EQ(Clock::now() - start, 8s);
    EXPECT_EQ(longer.err(), errc::deadline_exceeded);
  });
}

TEST(ContextWaitTest, PlainThreadsAreEndedToo) {
  auto [ctx, cancel] = with_cancel(background());
  auto ch = weft::make_chan<int>();
  std::vector<std::thread> threads;
  std::atomic<int> ended{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, ctx = ctx] { ended += ch.recv(ctx).status() == ChanStatus::cancelled; });
    threads.emplace_back([&, ctx = ctx] { ended += !weft::sleep_for(ctx, 1h); });
  }
  cancel();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ended.load(), 8);
}

// Rules: MM-14
TEST(ContextWaitTest, WhatTheCancellerDidIsVisible) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(5000); ++round) {
      auto [ctx, cancel] = with_cancel(background());
      int plain = 0;
      weft::WaitGroup group;
      group.go([&, ctx = ctx] {
        static_cast<void>(ctx.done().recv());
        EXPECT_EQ(plain, 1);
      });
      group.go([&, ctx = ctx] {
        while (!ctx.is_done()) weft::yield();
        EXPECT_EQ(plain, 1);
      });
      plain = 1;
      cancel();
      group.wait();
    }
  });
}

/// A receive either happened or did not: what a cancelled receive did not take is still there.
TEST(ContextWaitTest, ACancelledReceiveHasNotTakenTheValue) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(20'000); ++round) {
      auto ch = weft::make_chan<int>(round % 2 == 0 ? 1 : 0);
      auto [ctx, cancel] = with_cancel(background());
      weft::WaitGroup group;
      int received = 0;
      ChanStatus sent = ChanStatus::would_block;
      group.go([&, ctx = ctx] { received = ch.recv(ctx).value_or(0); });
      group.go([&] { sent = ch.try_send(5); });
      cancel();
      group.wait();
      if (sent == ChanStatus::ok) {
        if (received == 0) {
          ASSERT_EQ(*ch.try_recv(), 5);
        } else {
          ASSERT_EQ(received, 5);
        }
      } else {
        ASSERT_EQ(received, 0);
      }
    }
  });
}

/// The context's last handle goes while waits end in it, by it and by other things.
TEST(ContextWaitTest, ContextsThatDieWithTheWait) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(20'000); ++round) {
      auto ch = weft::make_chan<int>();
      weft::WaitGroup group;
      {
        auto [ctx, cancel] = with_timeout(background(), std::chrono::microseconds(round % 50));
        group.go([ch, ctx = ctx] { static_cast<void>(ch.recv(ctx)); });
        group.go([ch, ctx = ctx] { static_cast<void>(ch.send(ctx, 1)); });
        group.go([ctx = ctx] { static_cast<void>(weft::sleep_for(ctx, 20us)); });
        if (round % 3 == 0) weft::yield();
      }
      group.wait();
    }
  });
}

TEST(ContextWaitTest, AnAbandonedWaitLeavesTheContext) {
  auto [ctx, cancel] = with_cancel(background());
  auto ch = weft::make_chan<int>();
  // By reference: what an abandoned goroutine holds is never given back.
  for (int i = 0; i < 20; ++i) {
    weft::Runtime runtime;
    runtime.run([&, &ctx = ctx] {
      weft::test::go_parked([&ch, &ctx] { static_cast<void>(ch.recv(ctx)); });
      weft::test::go_parked([&ctx] { static_cast<void>(weft::sleep_for(ctx, 1h)); });
    });
  }
  cancel();
  EXPECT_EQ(ch.try_send(1), ChanStatus::would_block);
}

// Rules: HZ-20
TEST(ContextWaitTest, ADeadlineThatOutlivesItsRuntimeOrBubbleLeavesNothingBehind) {
  struct Held {
    using type = std::shared_ptr<int>;
  };
  const auto held = std::make_shared<int>(1);
  const auto leave_one = [&] {
    auto [ctx, cancel] = with_timeout(weft::with_value<Held>(background(), held), 1h);
    cancel.release();
    EXPECT_EQ(held.use_count(), 2);
  };
  weft::run({}, leave_one);
  EXPECT_EQ(held.use_count(), 1);
  weft::testing::run(leave_one);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ContextWaitTest, AMillionCreatesAndCancelsLeaveNoMemoryBehind) {
#if defined(__GLIBC__)
  if (weft::test::kSanitized) GTEST_SKIP() << "a sanitizer has a heap of its own";
  weft::run([] {
    const int rounds = weft::test::chaos() ? 100'000 : 1'000'000;
    auto [root, cancel_root] = with_cancel(background());
    const auto once = [&root = root](int i) {
      auto [ctx, cancel] = i % 2 == 0 ? with_cancel(root) : with_timeout(root, 1h);
      if (i % 4 == 0) static_cast<void>(ctx.done());
      if (i % 5 == 0) weft::after_func(ctx, [] {})();
      if (i % 3 == 0) cancel();  // else its last copy does
    };
    for (int i = 0; i < 1000; ++i) once(i);
    const std::size_t before = mallinfo2().uordblks;
    for (int i = 0; i < rounds; ++i) once(i);
    EXPECT_EQ(root.node()->canceller()->listeners(), 0U);
    const std::size_t after = mallinfo2().uordblks;
    EXPECT_LT(after, before + 200'000) << "bytes in use: " << before << " before, " << after << " after";
  });
#else
  GTEST_SKIP() << "the heap's size is not known here";
#endif
}

// Rules: S-34
TEST(ContextWaitTest, ScenarioContextTree) {
  weft::run({}, [] {
    struct V {
      using type = int;
    };
    const std::uint64_t before = weft::stats().live;
    auto [root, cancel_root] = with_cancel(background());
    auto [a, cancel_a] = with_cancel(root);
    auto [a1, cancel_a1] = with_cancel(a);
    const Context a2 = with_value<V>(a, 1);
    auto [b, cancel_b] = with_timeout(root, 1h);
    const Context w = weft::without_cancel(a);
    auto [w1, cancel_w1] = with_cancel(w);
    const auto say = [](const Context& ctx) -> std::string {
      if (!ctx.err()) return "nil";
      try {
        std::rethrow_exception(ctx.cause());
      } catch (const std::exception& e) {
        return (ctx.err() == errc::canceled ? "Canceled/" : "DeadlineExceeded/") + std::string(e.what());
      }
    };
    cancel_a(std::runtime_error("X"));
    EXPECT_EQ(say(root), "nil");
    EXPECT_EQ(say(a), "Canceled/X");
    EXPECT_EQ(say(a1), "Canceled/X");
    EXPECT_EQ(say(a2), "Canceled/X");
    EXPECT_EQ(say(b), "nil");
    EXPECT_EQ(say(w), "nil");
    EXPECT_EQ(say(w1), "nil");
    cancel_root();
    EXPECT_EQ(say(b), "Canceled/context canceled");
    EXPECT_EQ(say(a), "Canceled/X");
    EXPECT_EQ(say(w1), "nil");
    EXPECT_EQ(weft::stats().live, before);
  });
}

// Rules: S-35
TEST(ContextWaitTest, ScenarioDeadlines) {
  weft::testing::run([] {
    const auto start = Clock::now();
    auto [parent, cancel_parent] = with_timeout(background(), 1s);
    auto [child, cancel_child] = with_timeout(parent, 5s);
    auto [grandchild, cancel_grandchild] = weft::with_timeout_cause(child, 500ms, std::runtime_error("slow"));
    EXPECT_EQ(child.deadline(), parent.deadline());
    std::vector<std::string> out;
    weft::Mutex mutex;  // two are woken at the same instant
    weft::WaitGroup group;
    const auto watch = [&](const char* name, const Context& ctx) {
      group.go([&, name, ctx] {
        static_cast<void>(ctx.done().recv());
        try {
          std::rethrow_exception(ctx.cause());
        } catch (const std::exception& e) {
          const std::lock_guard guard(mutex);
          out.push_back(std::string(name) + " " + std::to_string((Clock::now() - start) / 1ms) + "ms " +
                        ctx.err().message() + "/" + e.what());
        }
      });
    };
    watch("grandchild", grandchild);
    static_cast<void>(grandchild.done().recv());
    weft::testing::wait();
    watch("parent", parent);
    weft::testing::wait();
    watch("child", child);
    group.wait();
    const std::string exceeded = "context deadline exceeded";
    ASSERT_EQ(out.size(), 3U);
    EXPECT_EQ(out[0], "grandchild 500ms " + exceeded + "/slow");
    EXPECT_EQ(std::min(out[1], out[2]), "child 1000ms " + exceeded + "/" + exceeded);
    EXPECT_EQ(std::max(out[1], out[2]), "parent 1000ms " + exceeded + "/" + exceeded);
  });
}

}  // namespace

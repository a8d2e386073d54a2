// Channels that many selects wait to receive from while nobody sends: they wait in a queue for each processor (chan_shards.hpp).
// Nobody may be able to tell.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::ChanStatus;
using weft::make_chan;
using weft::on_default;
using weft::on_timeout;
using weft::Received;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::select;
using weft::Unit;
using weft::WaitGroup;
namespace test = weft::test;
using test::go_parked;
using test::rounds;

bool is_sharded(const Chan<int>& ch) { return ch.core_of()->is_sharded(); }

/// In chaos mode it may be sharded from the start.
Chan<int> make_unsharded() {
  for (;;) {
    if (auto ch = make_chan<int>(); !is_sharded(ch)) return ch;
  }
}
Chan<int> make_sharded(std::size_t capacity = 0) {
  for (;;) {
    auto ch = make_chan<int>(capacity);
    ch.core_of()->shard();
    if (is_sharded(ch)) return ch;
  }
}

/// Until somebody waits in a select that lists `probe`, which was nobody's before. It has the lock of that until it waits everywhere.
void await_waiter(const Chan<int>& probe) {
  test::spin_until([&] { return !probe.core_of()->surely_no_room(); });
  EXPECT_EQ(select(probe.on_recv(), make_chan<int>().on_recv(), on_default()), 2U);
}

// Broken to check it: merged() took `a` first always: 1, 3, 5, 7, 9, 0, 2, ...
// Rules: CH-13
TEST(SelectShardsTest, FirstComeFirstServedAcrossShards) {
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([] {
    constexpr int kWaiters = 10;
    const auto quit = make_sharded();
    std::array<int, kWaiters> got{};
    WaitGroup wg;
    std::vector<std::thread> threads;  // they wait in another shard than the goroutines of a single processor
    for (int i = 0; i < kWaiters; ++i) {
      const auto probe = make_unsharded();
      const auto wait = [&, i, probe] {
        select(quit.on_recv([&](const Received<int>& v) { got[static_cast<std::size_t>(i)] = *v; }), probe.on_recv());
      };
      if (i % 2 == 0) {
        threads.emplace_back(wait);
        await_waiter(probe);
      } else {
        go_parked(wg, wait);
      }
    }
    EXPECT_TRUE(is_sharded(quit));
    for (int i = 0; i < kWaiters; ++i) quit.send(100 + i);
    EXPECT_FALSE(is_sharded(quit));
    wg.wait();
    for (std::thread& thread : threads) thread.join();
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], 100 + i);
  });
}

// A plain receiver takes its turn among them.
// Rules: CH-13
TEST(SelectShardsTest, PlainReceiversWaitInTheSameOrder) {
  weft::run([] {
    constexpr int kWaiters = 9;
    const auto quit = make_sharded();
    const auto never = make_chan<int>();
    std::array<int, kWaiters> got{};
    WaitGroup wg;
    for (int i = 0; i < kWaiters; ++i) {
      go_parked(wg, [&, i] {
        int& mine = got[static_cast<std::size_t>(i)];
        if (i % 3 == 0) {
          mine = *quit.recv();
        } else {
          select(never.on_recv(), quit.on_recv([&](const Received<int>& v) { mine = *v; }));
        }
      });
    }
    EXPECT_TRUE(is_sharded(quit));
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(quit.try_send(100 + i), ChanStatus::ok);
    EXPECT_EQ(quit.try_send(0), ChanStatus::would_block);
    wg.wait();
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], 100 + i);
  });
}

// Those who waited before it was sharded come first.
// Rules: CH-13
TEST(SelectShardsTest, WhoWaitedBeforeComesFirst) {
  weft::run([] {
    constexpr int kWaiters = 8;
    const auto quit = make_unsharded();
    const auto never = make_chan<int>();
    std::array<int, kWaiters> got{};
    WaitGroup wg;
    for (int i = 0; i < kWaiters; ++i) {
      if (i == kWaiters / 2) quit.core_of()->shard();
      go_parked(wg, [&, i] {
        select(never.on_recv(), quit.on_recv([&](const Received<int>& v) { got[static_cast<std::size_t>(i)] = *v; }));
      });
    }
    EXPECT_TRUE(is_sharded(quit));
    for (int i = 0; i < kWaiters; ++i) quit.send(100 + i);
    wg.wait();
    for (int i = 0; i < kWaiters; ++i) EXPECT_EQ(got[static_cast<std::size_t>(i)], 100 + i);
  });
}

// The lock of a channel comes to favour one worker after another (biased_lock.hpp), while others park on it and are woken.
// Rules: CH-12
TEST(SelectShardsTest, FavoursComeAndGoWhileOthersPark) {
  for (const unsigned processors : {2U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    runtime.run([] {
      const int count = rounds(100);
      const auto ch = make_chan<std::int64_t>(1);
      const auto back = make_chan<std::int64_t>();
      std::int64_t sent = 0;
      std::atomic<std::int64_t> received{0};
      WaitGroup wg;
      for (int i = 0; i < 3; ++i) {
        wg.go([&] {
          for (const std::int64_t v : ch) {
            received += v;
            if (v % 5 == 0) select(back.on_recv(), back.on_send(v), on_timeout(1us));
          }
        });
      }
      for (int round = 0; round < count; ++round) {
        // A streak by one worker, then turns with the others.
        for (int i = 0; i < (round % 4 == 0 ? 1'500 : 50); ++i) {
          if (ch.try_send(i) == ChanStatus::ok) sent += i;
          if (const auto v = ch.try_recv()) received += *v;
        }
        for (int i = 0; i < 20; ++i) {
          ch.send(i);
          sent += i;
        }
      }
      ch.close();
      wg.wait();
      EXPECT_EQ(received, sent);
    });
  }
}

/// How a round of EveryoneHearsOfIt ends the waits.
enum class End { kClose, kSend, kTrySend, kSelectSend, kBuffered };

// Goroutines select on a channel of their own and on one for all, on 1 to 8 processors, while the one for all is closed or
// sent to. Nobody is left waiting, no value is lost.
// Broken to check it: gather() left the last shard's queue where it was; leave_shard() did not look whether the channel is still
// sharded; shut() did not gather; lock_shard() did not look again under the lock. Each hangs or crashes in the first rounds.
// Rules: SEL-9, SEL-16, CH-21
TEST(SelectShardsTest, EveryoneHearsOfIt) {
  for (const unsigned processors : {1U, 2U, 4U, 8U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    runtime.run([] {
      constexpr int kGoroutines = 12;
      const int count = rounds(400);
      for (int round = 0; round < count; ++round) {
        const auto how = static_cast<End>(round % 5);
        const auto quit = make_sharded(how == End::kBuffered ? 5 : 0);
        std::vector<Chan<int>> own;
        own.reserve(kGoroutines);
        for (int i = 0; i < kGoroutines; ++i) own.push_back(make_chan<int>());
        std::atomic<int> told{0};
        std::atomic<int> values{0};
        WaitGroup feeders;
        WaitGroup wg;
        for (const auto& mine : own) {
          wg.go([&, mine] {
            for (bool running = true; running;) {
              const auto hear = [&](const Received<int>& v) {
                running = false;
                ++told;
                if (v) ++values;
              };
              select(mine.on_recv(), quit.on_recv(hear));
            }
          });
          feeders.go([&, mine] {
            for (bool running = true; running;) {
              const auto hear = [&](const Received<int>& v) {
                running = false;
                ++told;
                if (v) ++values;
              };
              // Nobody may be left to receive: the other one's value is as good as his own.
              select(quit.on_recv(hear), mine.on_send(1), on_timeout(1h));
            }
          });
        }
        for (int i = round % 7; i > 0; --i) weft::yield();
        switch (how) {
          case End::kClose:
            quit.close();
            break;
          case End::kSend:
          case End::kBuffered:
            for (int i = 0; i < 2 * kGoroutines; ++i) quit.send(i);
            break;
          case End::kTrySend:
            for (int i = 0; i < 2 * kGoroutines;) {
              if (quit.try_send(i) == ChanStatus::ok) {
                ++i;
              } else {
                weft::yield();
              }
            }
            break;
          case End::kSelectSend:
            for (int i = 0; i < 2 * kGoroutines; ++i) {
              const auto never = make_chan<int>();
              select(never.on_recv(), quit.on_send(i), quit.on_recv([] { ADD_FAILURE() << "nobody else sends"; }));
            }
            break;
        }
        wg.wait();
        feeders.wait();
        ASSERT_EQ(told, 2 * kGoroutines);
        ASSERT_EQ(values, how == End::kClose ? 0 : 2 * kGoroutines);
        ASSERT_FALSE(is_sharded(quit));
      }
    });
  }
}

// Two of its channels listed twice, sends and receives, other sharded channels above and below: a wrong order of locks hangs.
// Rules: SEL-11, SEL-18
TEST(SelectShardsTest, ListedTwiceAndInAnyOrder) {
  for (const unsigned processors : {2U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    runtime.run([] {
      const int count = rounds(2'000);
      for (int round = 0; round < count; ++round) {
        const auto a = make_sharded();
        const auto b = make_sharded();
        const auto c = make_sharded(1);
        std::atomic<int> sent{0};
        std::atomic<int> received{0};
        const auto take = [&](const Received<int>& v) { received += v ? 1 : 0; };
        const auto give = [&] { ++sent; };
        WaitGroup wg;
        wg.go([&] { select(a.on_recv(take), a.on_recv(take), b.on_recv(take), c.on_recv(take)); });
        wg.go([&] { select(c.on_recv(take), b.on_recv(take), a.on_recv(take)); });
        wg.go([&] { select(b.on_recv(take), a.on_recv(take), on_timeout(1h)); });
        const auto unless_closed = [](const auto& select_and_send) {
          try {
            select_and_send();
          } catch (const weft::RuntimePanic&) {
            return;
          }
        };
        wg.go([&] {
          unless_closed([&] { select(b.on_send(1, give), b.on_recv(take), a.on_recv(take), c.on_recv(take)); });
        });
        wg.go([&] { select(a.on_recv(take), on_default([] {})); });
        wg.go([&] { unless_closed([&] { select(c.on_send(1, give), a.on_recv(take), b.on_recv(take)); }); });
        wg.go([&] {
          for (const auto& each : {a, b, c}) each.close();
        });
        wg.wait();
        int left = 0;
        while (c.recv()) ++left;
        ASSERT_EQ(sent, received + left);
      }
    });
  }
}

// Both look as if somebody waited for a value; whoever is looked at first, the receiver is found.
// Broken to check it: is_ready() did not gather: hung within a few rounds.
// Rules: SEL-5
TEST(SelectShardsTest, ASendFindsTheReceiver) {
  weft::run([] {
    const int count = rounds(200);
    for (int round = 0; round < count; ++round) {
      const auto a = make_sharded();
      const auto b = make_sharded();
      const auto never = make_chan<int>();
      int got = 0;
      WaitGroup wg;
      go_parked(wg, [&] { select(never.on_recv(), b.on_recv([&](const Received<int>& v) { got = *v; })); });
      EXPECT_EQ(select(a.on_send(1), b.on_send(2)), 1U);
      wg.wait();
      ASSERT_EQ(got, 2);
    }
  });
}

// Rules: SEL-8, SEL-15
TEST(SelectShardsTest, TimeoutsLeaveAndLooksSeeNothing) {
  weft::run([] {
    const auto quit = make_sharded();
    const auto never = make_chan<int>();
    const int count = rounds(200);
    for (int i = 0; i < count; ++i) {
      EXPECT_EQ(select(quit.on_recv(), never.on_recv(), on_timeout(1us)), 2U);
      EXPECT_EQ(select(quit.on_recv(), never.on_recv(), on_default()), 2U);
      EXPECT_EQ(quit.recv_for(0ns).status(), ChanStatus::timed_out);
      EXPECT_EQ(quit.try_recv().status(), ChanStatus::would_block);
    }
    EXPECT_TRUE(is_sharded(quit));
    // Nobody waits: that is found out by gathering.
    EXPECT_EQ(quit.try_send(1), ChanStatus::would_block);
    EXPECT_FALSE(is_sharded(quit));
    quit.core_of()->shard();
    EXPECT_FALSE(is_sharded(quit)) << "once at most";
  });
}

TEST(SelectShardsTest, WhatIsInUseIsNotSharded) {
  weft::run([] {
    const auto full = make_chan<int>(1);
    full.send(1);
    full.core_of()->shard();
    EXPECT_FALSE(is_sharded(full));
    const auto closed = make_chan<int>();
    closed.close();
    closed.core_of()->shard();
    EXPECT_FALSE(is_sharded(closed));
    const auto wanted = make_chan<int>();
    WaitGroup sender;
    go_parked(sender, [&] { wanted.send(1); });
    wanted.core_of()->shard();
    EXPECT_FALSE(is_sharded(wanted));
    EXPECT_EQ(*wanted.recv(), 1);
    sender.wait();
  });
}

// As selects on several processors leave a channel in which nothing ever happens, it is sharded by and by; the values of the other
// channels are all there, and the close is heard.
TEST(SelectShardsTest, ACrowdedChannelIsSharded) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  runtime.run([] {
    const auto quit = make_unsharded();
    std::atomic<std::int64_t> received{0};
    std::int64_t sent = 0;
    WaitGroup wg;
    std::vector<Chan<int>> own;
    for (int i = 0; i < 8; ++i) {
      own.push_back(make_chan<int>(4));
      wg.go([&, mine = own.back()] {
        for (bool running = true; running;) {
          select(mine.on_recv([&](const Received<int>& v) { received += *v; }), quit.on_recv([&] { running = false; }));
        }
      });
    }
    for (int laps = rounds(2'000); laps > 0 || !is_sharded(quit); --laps) {
      for (const auto& each : own) {
        each.send(laps);
        sent += laps;
      }
    }
    test::eventually([&] { return received == sent; });
    quit.close();
    wg.wait();
  });
}

// Rules: CTX-5
TEST(SelectShardsTest, AContextsDoneIsHeardByAll) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  runtime.run([] {
    const int count = rounds(500);
    for (int round = 0; round < count; ++round) {
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      ctx.done().core_of()->shard();
      const auto never = make_chan<int>();
      std::atomic<int> told{0};
      WaitGroup wg;
      for (int i = 0; i < 16; ++i) {
        wg.go([&, ctx = ctx] { select(never.on_recv(), ctx.done().on_recv([&] { ++told; })); });
      }
      if (round % 2 == 0) {
        test::eventually([&] { return weft::stats().waiting >= 16; });
      }
      cancel();
      wg.wait();
      ASSERT_EQ(told, 16);
    }
  });
}

// A static handle may be the last one while somebody waits through it: the channel stays (HZ-17), sharded or not.
TEST(SelectShardsTest, ALastHandleThatGoesLeavesWhoWaits) {
  if (test::kAsan) GTEST_SKIP() << "the leak sanitizer reports the channel that stays";
  const auto never = make_chan<int>();
  {
    Runtime runtime(RuntimeOptions{.processors = 1});
    runtime.run([&] {
      auto* const handle = new Chan<int>(make_sharded());
      go_parked([&, handle] { select(never.on_recv(), handle->on_recv()); });
      delete handle;
    });
  }
  EXPECT_EQ(never.try_send(1), ChanStatus::would_block);
}

// A runtime that ends takes its goroutines out of the shards of a channel that lives on.
// Broken to check it: leave_shard() removed nothing: the send goes to a goroutine that is no more.
TEST(SelectShardsTest, WhoIsAbandonedIsWaitedForNoMore) {
  for (int round = rounds(50); round > 0; --round) {
    const auto quit = make_sharded();
    const auto never = make_chan<int>();
    {
      Runtime runtime(RuntimeOptions{.processors = 2});
      runtime.run([&] {
        for (int i = 0; i < 8; ++i) {
          go_parked([&] { select(never.on_recv(), quit.on_recv()); });
        }
      });
    }
    EXPECT_TRUE(is_sharded(quit));
    EXPECT_EQ(quit.try_send(1), ChanStatus::would_block);
  }
}

}  // namespace

// Closing: what stays receivable, who wakes and how, what panics and what a panic leaves behind.

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
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
using weft::Received;
using weft::RecvChan;
using weft::SendChan;
using weft::Unit;
using weft::WaitGroup;
using weft::test::Counted;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::kEverywhere;
using weft::test::On;
using weft::test::run_on;
using weft::test::Tally;
using weft::test::Task;

constexpr const char* kSendText = "send on closed channel";

/// What `f` panics with as a RuntimePanic, or "no panic".
template <class F>
std::string runtime_panic(F f) {
  try {
    f();
  } catch (const weft::RuntimePanic& panic) {
    return panic.what();
  }
  return "no panic";
}

static_assert(std::is_base_of_v<weft::Panic, weft::RuntimePanic>);
static_assert(std::is_base_of_v<std::logic_error, weft::Panic>);

// Rules: CH-18, CH-14
TEST(ChanCloseTest, RecvOnClosedDrainsThenReportsClosed) {
  everywhere([] {
    for (std::size_t capacity = 0; capacity < 20; ++capacity) {
      const Chan<std::size_t> ch = make_chan<std::size_t>(capacity);
      for (std::size_t i = 0; i < capacity; ++i) ch.send(i);
      ch.close();
      EXPECT_EQ(ch.size(), capacity);
      for (std::size_t i = 0; i < capacity; ++i) {
        // Every form of receive drains.
        Received<std::size_t> got;
        switch (i % 4) {
          case 0:
            got = ch.recv();
            break;
          case 1:
            got = ch.try_recv();
            break;
          case 2:
            got = ch.recv_for(1h);
            break;
          default:
            EXPECT_EQ(weft::select(ch.on_recv(got)), 0U);
        }
        EXPECT_EQ(got.status(), ChanStatus::ok);
        EXPECT_EQ(got.value_or(999), i);
      }
      for (int again = 0; again < 3; ++again) {
        EXPECT_EQ(ch.recv().status(), ChanStatus::closed);
        EXPECT_EQ(ch.try_recv().status(), ChanStatus::closed);
        EXPECT_EQ(ch.recv_for(1h).status(), ChanStatus::closed);
        EXPECT_EQ(ch.recv_for(-1h).status(), ChanStatus::closed);
        Received<std::size_t> got;
        EXPECT_EQ(weft::select(ch.on_recv(got), weft::on_default([] {})), 0U);
        EXPECT_EQ(got.status(), ChanStatus::closed);
      }
    }
  });
}

// Rules: CH-18
TEST(ChanCloseTest, PartlyFilledBufferIsDrained) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(10);
    for (int i = 0; i < 10; ++i) ch.send(std::make_unique<int>(i));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(**ch.recv(), i);
    for (int i = 10; i < 13; ++i) ch.send(std::make_unique<int>(i));  // wrapped round the ring
    ch.close();
    for (int i = 5; i < 13; ++i) EXPECT_EQ(**ch.recv(), i);
    EXPECT_FALSE(ch.recv());
  });
}

// Rules: CH-19, GEN-1, GEN-2
TEST(ChanCloseTest, IllegalClosesPanicWithGosWords) {
  everywhere([] {
    EXPECT_EQ(runtime_panic([] { Chan<int>().close(); }), "close of nil channel");
    EXPECT_EQ(runtime_panic([] { SendChan<int>().close(); }), "close of nil channel");
    const Chan<int> ch = make_chan<int>(2);
    ch.send(1);
    SendChan<int>(ch).close();
    EXPECT_EQ(runtime_panic([&] { ch.close(); }), "close of closed channel");
    EXPECT_EQ(runtime_panic([&] { SendChan<int>(ch).close(); }), "close of closed channel");
    // The state is as before.
    EXPECT_EQ(ch.size(), 1U);
    EXPECT_EQ(ch.recv().value_or(0), 1);
    EXPECT_FALSE(ch.recv());
  });
}

// Rules: CH-20, SEL-8, SEL-14, GEN-1, GEN-2
TEST(ChanCloseTest, EverySendOnClosedPanics) {
  everywhere([] {
    for (const std::size_t capacity : {0U, 1U, 4U}) {
      const Chan<int> ch = make_chan<int>(capacity);
      ch.close();
      int value = 1;
      EXPECT_EQ(runtime_panic([&] { ch.send(value); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { ch.try_send(value); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { ch.try_send(1); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { ch.send_for(value, 1h); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { ch.send_for(1, 0s); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { ch.send_for(1, -1s); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { SendChan<int>(ch).send(value); }), kSendText);
      bool ran = false;
      const auto handler = [&] { ran = true; };
      EXPECT_EQ(runtime_panic([&] { weft::select(ch.on_send(value, handler)); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { weft::select(ch.on_send(value, handler), weft::on_default(handler)); }), kSendText);
      EXPECT_EQ(runtime_panic([&] { weft::select(ch.on_send(value, handler), weft::on_timeout(0s, handler)); }),
                kSendText);
      EXPECT_FALSE(ran);
      EXPECT_EQ(ch.size(), 0U);
      EXPECT_EQ(ch.recv().status(), ChanStatus::closed);
    }
  });
}

// Rules: CH-20, HZ-9
TEST(ChanCloseTest, RefusedValueStaysWithTheCaller) {
  everywhere([] {
    const auto ch = make_chan<std::unique_ptr<int>>(4);
    ch.close();
    auto value = std::make_unique<int>(3);
    EXPECT_THROW(ch.try_send(std::move(value)), weft::Panic);
    ASSERT_NE(value, nullptr);
    EXPECT_THROW(ch.send_for(std::move(value), 1s), weft::Panic);
    ASSERT_NE(value, nullptr);
    EXPECT_THROW(weft::select(ch.on_send(std::move(value))), weft::Panic);
    ASSERT_NE(value, nullptr);
    EXPECT_EQ(*value, 3);
  });
}

// Rules: CH-21, CH-22
TEST(ChanCloseTest, CloseWakesEveryParkedReceiver) {
  for (const On closer : kEverywhere) {
    const Chan<int> ch = make_chan<int>();
    std::atomic<int> closed{0};
    std::vector<std::unique_ptr<Task>> threads;
    WaitGroup wg;
    for (int i = 0; i < 5; ++i) {
      go_parked(wg, [&] {
        if (ch.recv().status() == ChanStatus::closed) ++closed;
      });
      go_parked(wg, [&] {
        if (ch.recv_for(1h).status() == ChanStatus::closed) ++closed;
      });
      go_parked(wg, [&] {
        Received<int> got;
        EXPECT_EQ(weft::select(weft::on_timeout(1h, [] {}), ch.on_recv(got)), 1U);
        if (got.status() == ChanStatus::closed) ++closed;
      });
      go_parked(wg, [&] {
        for (const int value : ch) ADD_FAILURE() << value;
        ++closed;
      });
      threads.push_back(std::make_unique<Task>(On::kThread, [&] {
        if (ch.recv().status() == ChanStatus::closed) ++closed;
      }));
    }
    run_on(closer, [&] { ch.close(); });
    wg.wait();
    threads.clear();
    EXPECT_EQ(closed, 25);
  }
}

// Nobody of them can be woken by anything else, so that the close takes them off the queue all at once. Before that, some of them may
// have been alone, or beside a select that has left.
// Rules: CH-21
TEST(ChanCloseTest, CloseWakesEveryParkedReceiverThatWaitsForNothingElse) {
  for (const On closer : kEverywhere) {
    for (const int receivers : {1, 2, 300}) {
      for (const bool had_select : {false, true}) {
        const Chan<int> ch = make_chan<int>();
        std::atomic<int> closed{0};
        WaitGroup wg;
        if (had_select) {
          const Chan<int> other = make_chan<int>();
          go_parked(wg, [&] { EXPECT_EQ(weft::select(ch.on_recv([] {}), other.on_recv([] {})), 1U); });
          other.send(1);
          wg.wait();
        }
        for (int i = 0; i < receivers; ++i) {
          go_parked(wg, [&] {
            if (ch.recv().status() == ChanStatus::closed) ++closed;
            if (ch.recv().status() == ChanStatus::closed) ++closed;
          });
        }
        Task thread(On::kThread, [&] {
          if (ch.recv().status() == ChanStatus::closed) ++closed;
        });
        run_on(closer, [&] { ch.close(); });
        wg.wait();
        thread.join();
        EXPECT_EQ(closed, 2 * receivers + 1);
        EXPECT_EQ(runtime_panic([&] { ch.send(1); }), kSendText);  // nobody is left in the queue
      }
    }
  }
}

// Rules: CH-21, CH-20
TEST(ChanCloseTest, CloseMakesParkedSendersPanic) {
  for (const On closer : kEverywhere) {
    for (const std::size_t capacity : {0U, 1U, 3U}) {
      Tally tally;
      const std::size_t buffered = capacity;
      constexpr std::size_t kParked = 5;
      std::atomic<std::size_t> panics{0};
      {
        const Chan<Counted> ch = make_chan<Counted>(capacity);
        for (std::size_t i = 0; i < buffered; ++i) ch.send(Counted(tally, i));
        WaitGroup wg;
        for (std::size_t i = 0; i < kParked; ++i) {
          go_parked(wg, [&, i] {
            EXPECT_EQ(runtime_panic([&] {
                        switch (i % 3) {
                          case 0:
                            ch.send(Counted(tally, buffered + i));
                            break;
                          case 1:
                            ch.send_for(Counted(tally, buffered + i), 1h);
                            break;
                          default:
                            weft::select(ch.on_send(Counted(tally, buffered + i), [] { ADD_FAILURE() << "sent"; }),
                                         weft::on_timeout(1h, [] { ADD_FAILURE() << "timed out"; }));
                        }
                      }),
                      kSendText);
            ++panics;
          });
        }
        Task thread(On::kThread, [&] {
          EXPECT_EQ(runtime_panic([&] { ch.send(Counted(tally, buffered + kParked)); }), kSendText);
          ++panics;
        });
        run_on(closer, [&] { ch.close(); });
        wg.wait();
        thread.join();
        EXPECT_EQ(panics, kParked + 1);
        EXPECT_EQ(ch.size(), buffered);
        for (std::size_t i = 0; i < buffered; ++i) {
          const Received<Counted> got = ch.recv();
          ASSERT_TRUE(got);
          EXPECT_EQ(got->id(), i);
        }
        EXPECT_EQ(ch.recv().status(), ChanStatus::closed);
      }
      EXPECT_TRUE(weft::test::all_destroyed_once(tally, buffered + kParked + 1));
    }
  }
}

// Rules: CH-21, SEL-8
TEST(ChanCloseTest, CloseFiresParkedSelectsOnce) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    const Chan<int> quiet = make_chan<int>();
    std::atomic<int> received{0};
    std::atomic<int> panicked{0};
    WaitGroup wg;
    for (int i = 0; i < 4; ++i) {
      go_parked(wg, [&] {
        weft::select(ch.on_recv([&](const Received<int>& got) { received += got ? 1000 : 1; }),
                     quiet.on_recv([&] { received += 1000; }), ch.on_recv([&] { ++received; }));
      });
    }
    ch.close();
    wg.wait();
    EXPECT_EQ(received, 4);

    const Chan<int> other = make_chan<int>();
    for (int i = 0; i < 4; ++i) {
      go_parked(wg, [&] {
        try {
          weft::select(other.on_send(1, [&] { received += 1000; }), quiet.on_recv([&] { received += 1000; }));
        } catch (const weft::RuntimePanic& panic) {
          EXPECT_STREQ(panic.what(), kSendText);
          ++panicked;
        }
      });
    }
    other.close();
    wg.wait();
    EXPECT_EQ(panicked, 4);
    EXPECT_EQ(received, 4);
    EXPECT_EQ(quiet.try_send(1), ChanStatus::would_block);  // nobody is left in the queue
  });
}

// Rules: CH-21, PAN-4
TEST(ChanCloseTest, PanicOfAParkedSenderUnwindsItsOwnGoroutine) {
  weft::run([] {
    struct Guard {
      std::atomic<std::uint64_t>& where;
      ~Guard() { where = weft::this_goroutine::id(); }
    };
    const Chan<int> ch = make_chan<int>();
    std::atomic<std::uint64_t> unwound{0};
    std::atomic<std::uint64_t> caught{0};
    WaitGroup wg;
    const std::uint64_t sender = go_parked(wg, [&] {
      try {
        const Guard guard{unwound};
        ch.send(1);
      } catch (const weft::Panic&) {
        caught = weft::this_goroutine::id();
      }
    });
    ch.close();
    wg.wait();
    EXPECT_EQ(unwound, sender);
    EXPECT_EQ(caught, sender);
  });
}

// Rules: CH-22
TEST(ChanCloseTest, CloseIsABroadcastThatStays) {
  weft::run([] {
    const int count = weft::test::crowd(1000);
    const Chan<Unit> done = make_chan<Unit>();
    std::atomic<int> released{0};
    WaitGroup wg;
    for (int i = 0; i < count; ++i) {
      go_parked(wg, [&] {
        done.recv();
        ++released;
      });
    }
    EXPECT_EQ(released, 0);
    done.close();
    wg.wait();
    EXPECT_EQ(released, count);
    for (int i = 0; i < 10; ++i) {
      wg.go([&] {
        EXPECT_FALSE(done.recv());
        ++released;
      });
    }
    wg.wait();
    EXPECT_EQ(released, count + 10);
  });
}

// Rules: CH-23
TEST(ChanCloseTest, RangeEndsWhenClosedAndDrained) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      for (const On peer : kEverywhere) {
        for (const std::size_t capacity : {0U, 2U, 10U}) {
          const Chan<int> ch = make_chan<int>(capacity);
          Task producer(peer, [&] {
            for (int i = 0; i < 5; ++i) ch.send(i);
            ch.close();
          });
          int next = 0;
          for (int& value : ch) {
            EXPECT_EQ(value, next++);
            value = -1;  // the loop variable is the receiver's own
          }
          EXPECT_EQ(next, 5);
          int never = 0;
          for (const int value : RecvChan<int>(ch)) never += 1 + value;
          EXPECT_EQ(never, 0);
        }
      }
    });
  }
}

// Rules: CH-23
TEST(ChanCloseTest, BreakLeavesTheRestInTheChannel) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(5);
    for (int i = 0; i < 5; ++i) ch.send(i);
    ch.close();
    int seen = 0;
    for (const int value : ch) {
      EXPECT_EQ(value, seen);
      if (++seen == 2) break;
    }
    EXPECT_EQ(ch.size(), 3U);
    for (const int value : ch) EXPECT_EQ(value, seen++);
    EXPECT_EQ(seen, 5);
  });
}

// Rules: CH-23
TEST(ChanCloseTest, RangeEvaluatesItsChannelOnce) {
  everywhere([] {
    int evaluated = 0;
    const Chan<int> ch = make_chan<int>(3);
    for (int i = 0; i < 3; ++i) ch.send(i);
    ch.close();
    const auto channel = [&] {
      ++evaluated;
      return ch;
    };
    int sum = 0;
    for (const int value : channel()) sum += value;
    EXPECT_EQ(sum, 3);
    EXPECT_EQ(evaluated, 1);

    // Reassigning the variable inside the loop does not change what is ranged over.
    Chan<int> variable = make_chan<int>(2);
    variable.send(1);
    variable.send(2);
    variable.close();
    int count = 0;
    for (const int value : variable) {
      count += value > 0 ? 1 : 0;
      variable = nullptr;
    }
    EXPECT_EQ(count, 2);
  });
}

// Rules: CH-23
TEST(ChanCloseTest, CloseEndsAParkedRange) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>();
    std::atomic<int> sum{0};
    std::atomic<bool> ended{false};
    WaitGroup wg;
    const std::uint64_t reader = go_parked(wg, [&] {
      for (const std::unique_ptr<int>& value : ch) sum += *value;
      ended = true;
    });
    ch.send(std::make_unique<int>(1));
    ch.send(std::make_unique<int>(2));
    weft::testing::wait_parked(reader);
    EXPECT_EQ(sum, 3);
    EXPECT_FALSE(ended);
    ch.close();
    wg.wait();
    EXPECT_TRUE(ended);
  });
}

// Rules: CH-23, CH-13
TEST(ChanCloseTest, SeveralRangesShareTheValues) {
  weft::run([] {
    const Chan<int> ch = make_chan<int>(3);
    std::atomic<long> sum{0};
    std::atomic<int> count{0};
    WaitGroup wg;
    for (int i = 0; i < 7; ++i) {
      wg.go([&] {
        for (const int value : ch) {
          sum += value;
          ++count;
        }
      });
    }
    const int values = weft::test::rounds(10'000);
    for (int i = 1; i <= values; ++i) ch.send(i);
    ch.close();
    wg.wait();
    EXPECT_EQ(count, values);
    EXPECT_EQ(sum, static_cast<long>(values) * (values + 1) / 2);
  });
}

// Rules: CH-20, PAN-1, GEN-3
TEST(ChanCloseTest, UncaughtSendOnClosedEndsTheProcess) {
  const weft::test::ChildResult result = weft::test::in_child([] {
    weft::run([] {
      const Chan<int> ch = make_chan<int>(1);
      ch.close();
      WaitGroup wg;
      weft::go([ch] { ch.send(1); });
      wg.add(1);
      wg.wait();
    });
  });
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_NE(result.err.find(kSendText), std::string::npos) << result.err;
  EXPECT_FALSE(result.timed_out);
}

}  // namespace

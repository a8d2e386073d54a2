// What happens to the values: each one arrives intact, is never in two places, and is destroyed exactly once, whoever
// ends up with it. And nothing is allocated on the way.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <numeric>
#include <string>
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
using weft::WaitGroup;
using weft::test::AlignedCounted;
using weft::test::all_destroyed_once;
using weft::test::BasicCounted;
using weft::test::Counted;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::kEverywhere;
using weft::test::On;
using weft::test::run_on;
using weft::test::Tally;
using weft::test::Task;

template <class Value>
class ChanValuesTest : public ::testing::Test {};
using Values = ::testing::Types<Counted, AlignedCounted, BasicCounted<1024>>;
class ValueNames {
 public:
  template <class Value>
  static std::string GetName(int) {
    return "Align" + std::to_string(alignof(Value));
  }
};
TYPED_TEST_SUITE(ChanValuesTest, Values, ValueNames);

// Rules: CH-8, CH-12, CH-15, HZ-6
TYPED_TEST(ChanValuesTest, ArriveIntactThroughEveryPath) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      for (const std::size_t capacity : {0U, 1U, 3U, 8U}) {
        Tally tally;
        const std::size_t count = weft::test::rounds(std::size_t{200});
        run_on(caller, [&] {
          const auto ch = make_chan<TypeParam>(capacity);
          Task producer(peer, [&] {
            for (std::size_t i = 0; i < count; ++i) {
              switch (i % 4) {
                case 0:
                  ch.send(TypeParam(tally, i));
                  break;
                case 1:
                  EXPECT_EQ(ch.send_for(TypeParam(tally, i), 1h), ChanStatus::ok);
                  break;
                case 2:
                  EXPECT_EQ(weft::select(ch.on_send(TypeParam(tally, i), [] {})), 0U);
                  break;
                default: {
                  TypeParam value(tally, i);
                  while (ch.try_send(std::move(value)) != ChanStatus::ok) {
                    EXPECT_EQ(value.id(), i);
                    weft::yield();
                  }
                  EXPECT_FALSE(value.holds_value());
                }
              }
            }
            ch.close();
          });
          std::size_t next = 0;
          for (;;) {
            Received<TypeParam> got;
            switch (next % 5) {
              case 0:
                got = ch.recv();
                break;
              case 1:
                got = ch.recv_for(1h);
                break;
              case 2:
                weft::select(ch.on_recv(got));
                break;
              case 3:
                weft::select(ch.on_recv([&](Received<TypeParam> value) { got = std::move(value); }));
                break;
              default:
                // Without a buffer two that only try would never meet.
                if (capacity == 0) {
                  got = ch.recv();
                } else {
                  while ((got = ch.try_recv()).status() == ChanStatus::would_block) weft::yield();
                }
            }
            if (!got) break;
            EXPECT_EQ(got->id(), next);
            ++next;
          }
          EXPECT_EQ(next, count);
        });
        EXPECT_TRUE(all_destroyed_once(tally, count));
        EXPECT_EQ(tally.copies(), 0);
      }
    }
  }
}

// Rules: CH-15
TYPED_TEST(ChanValuesTest, DroppedChannelDestroysWhatItHoldsOnceInOrder) {
  everywhere([] {
    for (const bool closed : {false, true}) {
      Tally tally;
      {
        auto ch = make_chan<TypeParam>(8);
        for (std::size_t i = 0; i < 4; ++i) ch.send(TypeParam(tally, i));
        for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(ch.recv()->id(), i);
        for (std::size_t i = 4; i < 12; ++i) ch.send(TypeParam(tally, i));  // round the ring
        for (std::size_t i = 4; i < 6; ++i) EXPECT_EQ(ch.recv()->id(), i);
        if (closed) ch.close();
        EXPECT_EQ(tally.holding(), 6);
        auto last = ch;
        ch = nullptr;
        EXPECT_EQ(tally.holding(), 6);
        last = nullptr;
        EXPECT_EQ(tally.live(), 0);
      }
      EXPECT_TRUE(all_destroyed_once(tally, 12));
      for (std::size_t i = 6; i < 11; ++i) EXPECT_LT(tally.destroyed_at(i), tally.destroyed_at(i + 1));
    }
  });
}

// Rules: CH-16, HZ-9
TYPED_TEST(ChanValuesTest, RefusedSendsDoNotTouchTheValue) {
  everywhere([] {
    Tally tally;
    {
      const auto ch = make_chan<TypeParam>();
      TypeParam value(tally, 0);
      const long moves = tally.moves();
      EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::would_block);
      EXPECT_EQ(ch.send_for(std::move(value), 1ms), ChanStatus::timed_out);
      EXPECT_EQ(ch.send_for(std::move(value), -1ms), ChanStatus::timed_out);
      EXPECT_EQ(weft::select(ch.on_send(std::move(value), [] {}), weft::on_default([] {})), 1U);
      EXPECT_EQ(weft::select(ch.on_send(std::move(value), [] {}), weft::on_timeout(1ms, [] {})), 1U);
      EXPECT_EQ(tally.moves(), moves);
      EXPECT_EQ(tally.copies(), 0);
      EXPECT_TRUE(value.holds_value());
      EXPECT_EQ(value.id(), 0U);
      ch.close();
      EXPECT_THROW(ch.try_send(std::move(value)), weft::Panic);
      EXPECT_THROW(ch.send_for(std::move(value), 1h), weft::Panic);
      EXPECT_EQ(tally.moves(), moves);
      EXPECT_TRUE(value.holds_value());
    }
    EXPECT_TRUE(all_destroyed_once(tally, 1));
  });
}

// Rules: CH-15
TYPED_TEST(ChanValuesTest, DiscardedReceivesConsumeAndDestroy) {
  // Three ways to receive and throw away, three ways to send.
  weft::run([] {
    for (int receive = 0; receive < 3; ++receive) {
      for (int send = 0; send < 3; ++send) {
        for (const bool receiver_first : {true, false}) {
          Tally tally;
          {
            const auto ch = make_chan<TypeParam>();
            const auto silent = make_chan<TypeParam>();  // nobody sends
            const auto deaf = make_chan<TypeParam>();    // nobody receives
            const auto receiver = [&] {
              switch (receive) {
                case 0:
                  (void)ch.recv();
                  break;
                case 1:
                  weft::select(ch.on_recv());
                  break;
                default:
                  weft::select(ch.on_recv([] {}), silent.on_recv([] { ADD_FAILURE() << "silent"; }));
              }
            };
            const auto sender = [&] {
              switch (send) {
                case 0:
                  ch.send(TypeParam(tally, 0));
                  break;
                case 1:
                  weft::select(ch.on_send(TypeParam(tally, 0)));
                  break;
                default:
                  weft::select(ch.on_send(TypeParam(tally, 0), [] {}),
                               deaf.on_send(TypeParam(tally, 1), [] { ADD_FAILURE() << "deaf"; }));
              }
            };
            WaitGroup wg;
            if (receiver_first) {
              go_parked(wg, receiver);
              sender();
            } else {
              go_parked(wg, sender);
              receiver();
            }
            wg.wait();
            EXPECT_EQ(tally.live(), 0);
          }
          EXPECT_TRUE(all_destroyed_once(tally, send == 2 ? 2 : 1));
        }
      }
    }
  });
}

// Rules: CH-15, CH-23
TYPED_TEST(ChanValuesTest, RangeDestroysEachValueBeforeTheNextOrAtTheEnd) {
  everywhere([] {
    Tally tally;
    const auto ch = make_chan<TypeParam>(6);
    for (std::size_t i = 0; i < 6; ++i) ch.send(TypeParam(tally, i));
    ch.close();
    std::size_t next = 0;
    for (const TypeParam& value : ch) {
      EXPECT_EQ(value.id(), next);
      EXPECT_EQ(tally.holding(), 6 - static_cast<long>(next));
      if (++next == 4) break;
    }
    EXPECT_EQ(tally.holding(), 2);
    EXPECT_EQ(ch.size(), 2U);
    while (ch.recv()) {
    }
    EXPECT_TRUE(all_destroyed_once(tally, 6));
  });
}

// Rules: CH-13, HZ-6
TYPED_TEST(ChanValuesTest, ValueHandedToAParkedReceiverIsMovedOutOfTheSenderAtOnce) {
  weft::run([] {
    Tally tally;
    {
      const auto ch = make_chan<TypeParam>();
      WaitGroup wg;
      go_parked(wg, [&] { EXPECT_EQ(ch.recv()->id(), 0U); });
      TypeParam value(tally, 0);
      EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::ok);
      EXPECT_FALSE(value.holds_value());
      wg.wait();
    }
    EXPECT_TRUE(all_destroyed_once(tally, 1));
  });
}

// Rules: LEAK-1
TYPED_TEST(ChanValuesTest, HandlesHeldByParkedGoroutinesKeepTheChannel) {
  weft::run([] {
    Tally tally;
    WaitGroup wg;
    auto ch = make_chan<TypeParam>(1);
    ch.send(TypeParam(tally, 0));
    go_parked(wg, [&tally, ch] { ch.send(TypeParam(tally, 1)); });
    auto keep = ch;
    ch = nullptr;
    EXPECT_EQ(keep.recv()->id(), 0U);
    wg.wait();
    EXPECT_EQ(keep.recv()->id(), 1U);
    keep = nullptr;
    EXPECT_TRUE(all_destroyed_once(tally, 2));
  });
}

// Rules: HZ-7, CH-15
TEST(ChanValuesPlainTest, DestructorsMayUseChannels) {
  // A value that reports its own end on a channel, the very one it travelled through included.
  struct Reporter {
    Chan<int> report;
    int id = 0;
    Reporter(Chan<int> to, int number) : report(std::move(to)), id(number) {}
    Reporter(Reporter&&) noexcept = default;
    Reporter& operator=(Reporter&&) noexcept = default;
    ~Reporter() {
      if (report != nullptr) report.try_send(id);
    }
  };
  everywhere([] {
    const Chan<int> reports = make_chan<int>(16);
    {
      const auto ch = make_chan<Reporter>(4);
      ch.send(Reporter(reports, 1));
      ch.send(Reporter(reports, 2));
      ch.send(Reporter(reports, 3));
      (void)ch.recv();
      EXPECT_EQ(reports.size(), 1U);
      ch.close();
      EXPECT_THROW(ch.send(Reporter(reports, 4)), weft::Panic);
      EXPECT_EQ(reports.size(), 2U);
    }
    EXPECT_EQ(*reports.recv(), 1);
    EXPECT_EQ(*reports.recv(), 4);
    EXPECT_EQ(*reports.recv(), 2);
    EXPECT_EQ(*reports.recv(), 3);
    EXPECT_FALSE(reports.try_recv());
  });
}

// Rules: HZ-7, CH-15
TEST(ChanValuesPlainTest, ValueMayHoldTheLastHandleOfItsOwnKindOfChannel) {
  struct Node {
    Chan<Node> next;
    std::shared_ptr<int> alive;
  };
  everywhere([] {
    auto alive = std::make_shared<int>(0);
    {
      Chan<Node> head = make_chan<Node>(1);
      for (int i = 0; i < 100; ++i) {
        Chan<Node> before = make_chan<Node>(1);
        before.send(Node{head, alive});
        head = before;
      }
      EXPECT_EQ(alive.use_count(), 101);
    }
    EXPECT_EQ(alive.use_count(), 1);
  });
}

struct Page {
  std::array<std::uint32_t, 1023> words{};
  std::uint32_t sum = 0;

  static Page make(std::uint32_t seed) {
    Page page;
    weft::test::Lcg random(seed);
    for (std::uint32_t& word : page.words) word = static_cast<std::uint32_t>(random.next());
    page.sum = page.checksum();
    return page;
  }
  std::uint32_t checksum() const { return std::accumulate(words.begin(), words.end(), 1U); }
  bool sound() const { return sum == checksum(); }
};

// Rules: CH-8, SEL-17
TEST(ChanValuesPlainTest, LargeValuesArriveWhole) {
  weft::run([] {
    for (const std::size_t capacity : {0U, 2U}) {
      const auto ch = make_chan<Page>(capacity);
      const auto count = static_cast<std::uint32_t>(weft::test::rounds(1000));
      std::atomic<std::uint32_t> sound{0};
      WaitGroup wg;
      wg.go([&] {
        for (const Page& page : ch) {
          if (page.sound()) ++sound;
        }
      });
      for (std::uint32_t i = 0; i < count; ++i) ch.send(Page::make(i));
      ch.close();
      wg.wait();
      EXPECT_EQ(sound, count);
    }
  });
}

// Rules: CH-8, HZ-9
TEST(ChanValuesPlainTest, MoveOnlyValuesKeepTheirIdentity) {
  for (const On peer : kEverywhere) {
    weft::run([&] {
      const auto ch = make_chan<std::unique_ptr<int>>(2);
      auto value = std::make_unique<int>(1);
      int* const address = value.get();
      Task echo(peer, [&] {
        Received<std::unique_ptr<int>> got = ch.recv();
        ch.send(std::move(*got));
      });
      ch.send(std::move(value));
      echo.join();
      EXPECT_EQ((*ch.recv()).get(), address);
    });
  }
}

/// The smallest number of operator new calls that one run of `body` made, out of a few: other threads of the process
/// may allocate, too.
template <class F>
std::uint64_t fewest_allocations(F body) {
  std::uint64_t fewest = ~std::uint64_t{0};
  for (int attempt = 0; attempt < 5; ++attempt) {
    const std::uint64_t before = weft::test::allocations().value_or(0);
    body();
    fewest = std::min(fewest, weft::test::allocations().value_or(0) - before);
  }
  return fewest;
}

// Rules: CH-26, I8
TEST(ChanValuesPlainTest, SendRecvAndSelectAllocateNothing) {
  if (!weft::test::allocations()) GTEST_SKIP() << "this build does not count allocations";
  weft::run([] {
    const auto buffered = make_chan<std::array<std::uint64_t, 5>>(4);
    const Chan<int> there = make_chan<int>();
    const Chan<int> back = make_chan<int>();
    const Chan<int> quiet = make_chan<int>();
    WaitGroup wg;
    wg.go([&] {
      for (const int value : there) back.send(value + 1);
    });
    EXPECT_EQ(fewest_allocations([&] {
                for (int i = 0; i < 1000; ++i) {
                  buffered.send({});
                  (void)buffered.try_recv();
                  there.send(i);
                  EXPECT_EQ(back.recv().value_or(-1), i + 1);
                  weft::select(there.on_send(i, [] {}), quiet.on_recv([] {}));
                  Received<int> got;
                  weft::select(back.on_recv(got), quiet.on_recv([] {}), quiet.on_send(1, [] {}));
                  EXPECT_EQ(got.value_or(-1), i + 1);
                  weft::select(quiet.on_recv([] {}), quiet.on_send(1, [] {}), weft::on_default([] {}));
                }
              }),
              0U);
    there.close();
    wg.wait();
  });
}

// Rules: I8
TEST(ChanValuesPlainTest, TimedFormsAllocateNothing) {
  if (!weft::test::allocations()) GTEST_SKIP() << "this build does not count allocations";
  weft::run([] {
    const Chan<int> ch = make_chan<int>();
    const auto body = [&] {
      for (int i = 0; i < 20; ++i) {
        EXPECT_EQ(ch.recv_for(1us).status(), ChanStatus::timed_out);
        EXPECT_EQ(ch.send_for(1, 1us), ChanStatus::timed_out);
        weft::select(ch.on_recv([] {}), weft::on_timeout(1us, [] {}));
      }
    };
    body();  // the timer heaps of the processors grow to their size
    EXPECT_EQ(fewest_allocations(body), 0U);
  });
}

}  // namespace

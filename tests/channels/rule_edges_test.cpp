// Edges of the contract's rules on channels, select and memory order that belong to no other test's story.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::ChanStatus;
using weft::make_chan;
using weft::on_default;
using weft::Received;
using weft::select;
using weft::WaitGroup;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::rounds;

const auto kNothing = [] {};
const auto kUnreachable = [] { ADD_FAILURE() << "this case cannot go"; };

// Rules: CH-8, CH-9, SEL-1
TEST(RuleEdgesTest, OperandOfACaseMayItselfReceive) {
  everywhere([] {
    const Chan<Chan<int>> outer = make_chan<Chan<int>>(1);
    const Chan<int> inner = make_chan<int>(1);
    const Chan<int> values = make_chan<int>(1);
    outer.send(inner);
    EXPECT_EQ(select(outer.recv()->on_send(2)), 0U);
    EXPECT_EQ(*inner.recv(), 2);
    // Channel and value both come from channels, and are taken whether or not the case goes.
    outer.send(inner);
    values.send(3);
    EXPECT_EQ(select(outer.recv()->on_send(*values.recv()), on_default(kUnreachable)), 0U);
    outer.send(inner);
    values.send(4);
    EXPECT_EQ(select(outer.recv()->on_send(*values.recv()), on_default(kNothing)), 1U);
    EXPECT_EQ(*inner.recv(), 3);
    EXPECT_EQ(outer.size() + values.size() + inner.size(), 0U);
  });
}

// Rules: HZ-11, CH-9, SEL-1
TEST(RuleEdgesTest, ChannelIsEvaluatedBeforeItsValue) {
  // Between the cases of one select C++ promises no order; within a case it does, and so do the lines that add cases.
  everywhere([] {
    const Chan<int> ch = make_chan<int>(4);
    std::string trace;
    const auto channel = [&](char name) {
      trace += name;
      return ch;
    };
    const auto value = [&](char name) {
      trace += name;
      return 1;
    };
    channel('a').send(value('b'));
    (void)channel('c').try_send(value('d'));
    EXPECT_EQ(trace, "abcd");
    trace.clear();
    select(channel('a').on_send(value('b'), kNothing), channel('c').on_send(value('d'), kNothing));
    EXPECT_TRUE(trace == "abcd" || trace == "cdab") << trace;
    trace.clear();
    weft::Selector selector;
    selector.add(channel('a').on_recv());
    selector.add(channel('b').on_recv());
    selector.add(channel('c').on_recv());
    EXPECT_EQ(trace, "abc");
  });
}

// Can be moved into a new place, and nothing else.
class Bare {
 public:
  explicit Bare(int value) : value_(std::make_unique<int>(value)) {}
  Bare(Bare&&) noexcept = default;
  Bare& operator=(Bare&&) = delete;
  int value() const { return value_ ? *value_ : -1; }

 private:
  std::unique_ptr<int> value_;
};

// Rules: HZ-18, CH-8
TEST(RuleEdgesTest, ElementsNeedNothingButAMoveConstructor) {
  everywhere([] {
    for (const std::size_t capacity : {0U, 2U}) {
      const Chan<Bare> ch = make_chan<Bare>(capacity);
      WaitGroup wg;
      wg.go([&] {
        for (int i = 0; i < 5; ++i) ch.send(Bare(i));
        Bare kept(5);
        while (ch.try_send(std::move(kept)) != ChanStatus::ok) weft::yield();
        EXPECT_EQ(ch.send_for(Bare(6), 1h), ChanStatus::ok);
        select(ch.on_send(Bare(7)));
        ch.close();
      });
      EXPECT_EQ(ch.recv()->value(), 0);
      Received<Bare> got = ch.recv_for(1h);
      EXPECT_EQ(got->value(), 1);
      const Bare out = *std::move(got);
      EXPECT_EQ(out.value(), 1);
      select(ch.on_recv([](Received<Bare> third) { EXPECT_EQ(third->value(), 2); }));
      select(ch.on_recv(got));
      EXPECT_EQ(got->value(), 3);
      int next = 4;
      for (const Bare& value : ch) EXPECT_EQ(value.value(), next++);
      EXPECT_EQ(next, 8);
      wg.wait();
    }
  });
}

// Rules: HZ-19, CH-14, CH-18
TEST(RuleEdgesTest, WithoutAValueThereIsNoneToRead) {
  everywhere([] {
    const Chan<std::int64_t> ch = make_chan<std::int64_t>(1);
    const Received<std::int64_t> nothing;
    EXPECT_EQ(nothing.status(), ChanStatus::would_block);
    EXPECT_THROW(static_cast<void>(nothing.value()), weft::Panic);
    EXPECT_EQ(ch.try_recv().value_or(7), 7);
    EXPECT_EQ(ch.recv_for(1ms).value_or(8), 8);
    ch.close();
    for (int i = 0; i < 3; ++i) {
      const Received<std::int64_t> closed = ch.recv();
      EXPECT_FALSE(closed);
      EXPECT_FALSE(closed.has_value());
      EXPECT_EQ(closed.status(), ChanStatus::closed);
      EXPECT_THROW(static_cast<void>(closed.value()), weft::Panic);
      EXPECT_EQ(closed.value_or(std::int64_t{}), 0);
    }
  });
}

struct Page {
  std::array<std::uint32_t, 1023> words{};
  std::uint32_t sum = 0;
  static Page make(std::uint32_t seed) {
    Page page;
    std::iota(page.words.begin(), page.words.end(), seed * 2654435761U);
    page.sum = std::accumulate(page.words.begin(), page.words.end(), seed);
    return page;
  }
  bool is(std::uint32_t seed) const { return sum == std::accumulate(words.begin(), words.end(), seed); }
};
static_assert(sizeof(Page) == 4096);

// Rules: SEL-17
TEST(RuleEdgesTest, PagesArriveWholeAtAParkedSelect) {
  weft::run([] {
    const std::array<Chan<Page>, 2> chans{make_chan<Page>(), make_chan<Page>(1)};
    const Chan<int> quiet = make_chan<int>();
    const auto count = static_cast<std::uint32_t>(rounds(1'000));
    std::uint32_t whole = 0;
    WaitGroup wg;
    const std::uint64_t reader = go_parked(wg, [&] {
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto check = [&](const Received<Page>& got) { whole += got && got->is(i) ? 1U : 0U; };
        select(chans[0].on_recv(check), quiet.on_recv(kUnreachable), chans[1].on_recv(check));
      }
    });
    for (std::uint32_t i = 0; i < count; ++i) {
      weft::testing::wait_parked(reader);
      chans[i % 2].send(Page::make(i));
    }
    wg.wait();
    EXPECT_EQ(whole, count);
  });
}

// Rules: CH-8
TEST(RuleEdgesTest, SixtyFourKibibytesTravelWithoutTheStack) {
  // A goroutine's stack is no place for such a value: it is boxed, or sent from and received into the heap.
  struct Huge {
    std::array<std::uint32_t, 16'384> words{};
  };
  weft::run([] {
    const Chan<std::unique_ptr<Huge>> boxed = make_chan<std::unique_ptr<Huge>>();
    WaitGroup wg;
    wg.go([&] {
      auto huge = std::make_unique<Huge>();
      std::iota(huge->words.begin(), huge->words.end(), 0U);
      boxed.send(std::move(huge));
    });
    const Received<std::unique_ptr<Huge>> got = boxed.recv();
    ASSERT_TRUE(got);
    EXPECT_EQ((*got)->words.back(), 16'383U);
    wg.wait();

    const Chan<Huge> plain = make_chan<Huge>(1);
    const auto huge = std::make_unique<Huge>();
    huge->words.back() = 7;
    const auto target = std::make_unique<Received<Huge>>();
    for (int i = 0; i < 10; ++i) {
      EXPECT_EQ(plain.try_send(std::move(*huge)), ChanStatus::ok);  // NOLINT: moving copies, which is the point
      EXPECT_EQ(select(plain.on_recv(*target)), 0U);
      ASSERT_TRUE(*target);
      EXPECT_EQ((*target)->words.back(), 7U);
    }
  });
}

// Rules: MM-13
TEST(RuleEdgesTest, SequentiallyConsistentAtomicsDoNotBothMissEachOther) {
  // The store buffer litmus: each of two goroutines stores one variable and then reads the other. Both zero is impossible.
  weft::run([] {
    const int count = rounds(100'000);
    std::atomic<int> x{0};
    std::atomic<int> y{0};
    const Chan<int> start = make_chan<int>();
    const Chan<int> seen = make_chan<int>();
    weft::go([&, start, seen] {
      for ([[maybe_unused]] const int round : start) {
        x.store(1, std::memory_order_seq_cst);
        seen.send(y.load(std::memory_order_seq_cst));
      }
      seen.close();
    });
    int both_zero = 0;
    for (int i = 0; i < count; ++i) {
      x.store(0, std::memory_order_seq_cst);
      y.store(0, std::memory_order_seq_cst);
      start.send(i);
      y.store(1, std::memory_order_seq_cst);
      const int here = x.load(std::memory_order_seq_cst);
      const int there = *seen.recv();
      if (here == 0 && there == 0) ++both_zero;
    }
    start.close();
    EXPECT_FALSE(seen.recv());
    EXPECT_EQ(both_zero, 0);
  });
}

// Rules: MM-13
TEST(RuleEdgesTest, AtomicThatShowsAnEffectOrdersWhatCameBefore) {
  weft::run([] {
    for (int i = 0; i < rounds(5'000); ++i) {
      int plain = 0;
      std::atomic<bool> is_published{false};
      WaitGroup wg;
      wg.go([&] {
        plain = 1;
        is_published.store(true, std::memory_order_seq_cst);
      });
      while (!is_published.load(std::memory_order_seq_cst)) weft::yield();
      EXPECT_EQ(plain, 1);
      wg.wait();
    }
  });
}

}  // namespace

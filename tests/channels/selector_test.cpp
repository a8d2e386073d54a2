// Selector: cases known at run time, used again and again. What it shares with select (readiness, fairness, withdrawal) is
// in select_test and select_race_test; here is what it adds: indices, enabling, the values it owns, and its life.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using weft::Chan;
using weft::ChanStatus;
using weft::make_chan;
using weft::on_default;
using weft::on_timeout;
using weft::Received;
using weft::RecvChan;
using weft::Selector;
using weft::SendChan;
using weft::Unit;
using weft::WaitGroup;
using weft::test::AlignedCounted;
using weft::test::all_destroyed_once;
using weft::test::Counted;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::rounds;
using weft::test::Tally;

const auto kNothing = [] {};
const auto kUnreachable = [] { ADD_FAILURE() << "this case cannot go"; };

template <class F>
std::string panic_text(F f) {
  try {
    f();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "no panic";
}

// A value of 128 bytes alignment that cannot be copied and knows where it is.
class MoveOnly {
 public:
  MoveOnly(Tally& tally, std::size_t id) : counted_(tally, id) {}
  MoveOnly(MoveOnly&&) noexcept = default;
  MoveOnly(const MoveOnly&) = delete;
  std::size_t id() const { return counted_.id(); }

 private:
  AlignedCounted counted_;
};

// Rules: SEL-19
TEST(SelectorTest, IndicesAreThoseThatAddReturned) {
  everywhere([] {
    const Chan<int> in = make_chan<int>(1);
    const Chan<std::string> out = make_chan<std::string>(1);
    const Chan<int> none;
    int received = 0;
    int sent = 0;
    int defaults = 0;
    Selector selector;
    EXPECT_EQ(selector.size(), 0U);
    const std::size_t nil_recv = selector.add(none.on_recv(kUnreachable));
    const std::size_t recv = selector.add(in.on_recv([&](const Received<int>& got) { received = got.value_or(-1); }));
    const std::size_t otherwise = selector.add(on_default([&] { ++defaults; }));
    const std::size_t nil_send = selector.add_send(none, 7, kUnreachable);
    const std::size_t send = selector.add_send(out, "text", [&] { ++sent; });
    EXPECT_EQ(nil_recv, 0U);
    EXPECT_EQ(recv, 1U);
    EXPECT_EQ(otherwise, 2U);
    EXPECT_EQ(nil_send, 3U);
    EXPECT_EQ(send, 4U);
    EXPECT_EQ(selector.size(), 5U);

    EXPECT_EQ(selector.select(), send);
    EXPECT_EQ(sent, 1);
    EXPECT_EQ(selector.select(), otherwise);
    EXPECT_EQ(defaults, 1);
    in.send(42);
    EXPECT_EQ(selector.select(), recv);
    EXPECT_EQ(received, 42);
    EXPECT_EQ(*out.recv(), "text");
    EXPECT_EQ(selector.select(), send);
    EXPECT_EQ(selector.select(), otherwise);
  });
}

// Rules: SEL-19, SEL-1
TEST(SelectorTest, TakesEveryKindOfHandlerAndDirection) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(1);
    const RecvChan<std::unique_ptr<int>> receiving = ch;
    const SendChan<std::unique_ptr<int>> sending = ch;
    Received<std::unique_ptr<int>> target;
    int sum = 0;
    std::vector<std::size_t> cases;
    Selector selector;
    cases.push_back(selector.add(receiving.on_recv([&](Received<std::unique_ptr<int>> got) { sum += **got; })));
    cases.push_back(selector.add(receiving.on_recv([&](Received<std::unique_ptr<int>>&& got) { sum += 10 * **got; })));
    cases.push_back(selector.add(ch.on_recv([&](const Received<std::unique_ptr<int>>& got) { sum += 100 * **got; })));
    cases.push_back(selector.add(ch.on_recv([&] { sum += 1'000; })));
    cases.push_back(selector.add(ch.on_recv(target)));
    cases.push_back(selector.add(ch.on_recv()));
    for (const std::size_t one : cases) selector.disable(one);
    for (const std::size_t one : cases) {
      sending.send(std::make_unique<int>(1));
      selector.enable(one);
      EXPECT_EQ(selector.select(), one);
      selector.disable(one);
    }
    EXPECT_EQ(sum, 1'111);
    ASSERT_TRUE(target);
    EXPECT_EQ(**target, 1);
    EXPECT_EQ(ch.size(), 0U);
    const std::size_t send = selector.add_send(sending, std::make_unique<int>(2));
    EXPECT_EQ(selector.select(), send);
    EXPECT_EQ(**receiving.recv(), 2);
  });
}

// Rules: SEL-19, SEL-6, SEL-7
TEST(SelectorTest, WithoutAnEnabledCaseBlocksForEver) {
  Selector empty;
  Selector disabled;
  Selector nil;
  const Chan<int> ready = make_chan<int>(1);
  ready.send(1);
  disabled.disable(disabled.add(ready.on_recv(kUnreachable)));
  disabled.disable(disabled.add(on_default(kUnreachable)));
  disabled.disable(disabled.add(on_timeout(0s, kUnreachable)));
  nil.add(Chan<int>().on_recv(kUnreachable));
  nil.add_send(SendChan<int>(), 1, kUnreachable);
  {
    weft::Runtime runtime;
    std::atomic<int> passed{0};
    runtime.run([&] {
      for (Selector* selector : {&empty, &disabled, &nil}) {
        go_parked([&passed, selector] {
          selector->select();
          ++passed;
        });
      }
    });
    EXPECT_EQ(passed, 0);
    std::vector<std::string> reasons;
    for (const weft::GoroutineInfo& info : runtime.shutdown(0s).stragglers) reasons.push_back(info.wait_reason);
    EXPECT_THAT(reasons, testing::UnorderedElementsAre("select (no cases)", "select (no cases)", "select"));
  }
  EXPECT_EQ(ready.size(), 1U);
  EXPECT_EQ(empty.try_select(), std::nullopt);
  EXPECT_EQ(disabled.try_select(), std::nullopt);
  EXPECT_EQ(nil.try_select(), std::nullopt);
}

// Rules: SEL-19, DL-1
TEST(SelectorTest, EmptySelectorAloneIsADeadlock) {
  const weft::test::ChildResult result =
      weft::test::in_child([] { weft::run([] { static_cast<void>(Selector().select()); }); });
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("all goroutines are asleep - deadlock!"));
  EXPECT_THAT(result.err, HasSubstr("[select (no cases)]"));
}

// Rules: SEL-19, SEL-4
TEST(SelectorTest, OnlyADefaultReturnsItsIndex) {
  everywhere([] {
    Selector selector;
    int ran = 0;
    selector.add(Chan<int>().on_recv(kUnreachable));
    const std::size_t otherwise = selector.add(on_default([&] { ++ran; }));
    selector.disable(0);
    EXPECT_EQ(selector.select(), otherwise);
    selector.enable(0);
    EXPECT_EQ(selector.select(), otherwise);
    EXPECT_EQ(selector.try_select(), otherwise);
    EXPECT_EQ(ran, 3);
  });
}

// Rules: SEL-19, SEL-4
TEST(SelectorTest, TwoDefaultsPanicUnlessOneIsDisabled) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    Selector selector;
    const std::size_t first = selector.add(on_default(kNothing));
    const std::size_t send = selector.add_send(ch, 1, kNothing);
    const std::size_t second = selector.add(on_default(kNothing));
    EXPECT_THROW(selector.select(), weft::Panic);
    EXPECT_THROW(selector.try_select(), weft::Panic);
    EXPECT_EQ(ch.size(), 0U);
    selector.disable(first);
    EXPECT_EQ(selector.select(), send);
    EXPECT_EQ(selector.select(), second);
  });
}

// Rules: SEL-18, SEL-19
TEST(SelectorTest, MoreCasesThanTheLimitPanic) {
  const Chan<int> quiet = make_chan<int>();
  Selector selector;
  for (int i = 0; i < 65'535; ++i) selector.add(quiet.on_recv(kUnreachable));
  const std::size_t last = selector.add(on_default(kNothing));
  EXPECT_EQ(last, 65'535U);
  EXPECT_EQ(selector.select(), last);
  const std::size_t excess = selector.add(quiet.on_recv(kUnreachable));
  EXPECT_THAT(panic_text([&] { selector.select(); }), HasSubstr("too many cases"));
  EXPECT_THAT(panic_text([&] { selector.try_select(); }), HasSubstr("too many cases"));
  selector.disable(excess);
  EXPECT_EQ(selector.select(), last);
  selector.enable(excess);
  selector.disable(0);
  EXPECT_EQ(selector.try_select(), last);
}

// Rules: SEL-19
TEST(SelectorTest, BadIndexPanicsNamingTheCall) {
  Selector selector;
  EXPECT_THAT(panic_text([&] { selector.disable(0); }), HasSubstr("Selector::disable"));
  EXPECT_THAT(panic_text([&] { selector.enable(0); }), HasSubstr("Selector::enable"));
  EXPECT_THAT(panic_text([&] { selector.set_value(0, 1); }), HasSubstr("Selector::set_value"));
  const Chan<int> ch = make_chan<int>(1);
  const std::size_t recv = selector.add(ch.on_recv());
  const std::size_t send = selector.add_send(ch, 1);
  EXPECT_THAT(panic_text([&] { selector.disable(2); }), HasSubstr("Selector::disable"));
  EXPECT_THAT(panic_text([&] { selector.enable(SIZE_MAX); }), HasSubstr("Selector::enable"));
  EXPECT_THAT(panic_text([&] { selector.set_value(recv, 1); }), HasSubstr("does not send"));
  EXPECT_THAT(panic_text([&] { selector.set_value(send, 1.5); }), HasSubstr("another type"));
  EXPECT_EQ(selector.select(), send);
  EXPECT_EQ(*ch.recv(), 1);
}

// Rules: SEL-19
TEST(SelectorTest, DisabledCasesNeverWinAndComeBack) {
  everywhere([] {
    const Chan<int> a = make_chan<int>();
    const Chan<int> b = make_chan<int>();
    a.close();
    b.close();
    Selector selector;
    const std::size_t first = selector.add(a.on_recv());
    const std::size_t second = selector.add(b.on_recv());
    std::array<int, 2> wins{};
    for (int i = 0; i < 100; ++i) ++wins[selector.select()];
    EXPECT_GT(wins[0], 5);
    EXPECT_GT(wins[1], 5);
    selector.disable(first);
    selector.disable(first);  // no difference
    for (int i = 0; i < 100; ++i) EXPECT_EQ(selector.select(), second);
    selector.disable(second);
    EXPECT_EQ(selector.try_select(), std::nullopt);
    selector.enable(first);
    selector.enable(first);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(selector.try_select(), first);
  });
}

// Rules: SEL-19, SEL-2
TEST(SelectorTest, FairAmongReadyCases) {
  weft::run([] {
    const Chan<int> closed = make_chan<int>();
    const Chan<int> quiet = make_chan<int>();
    closed.close();
    Selector selector;
    std::array<int, 4> wins{};
    for (std::size_t i = 0; i < 8; ++i) {
      if (i % 2 == 1) {
        selector.add(quiet.on_recv(kUnreachable));
      } else {
        selector.add(closed.on_recv());
      }
    }
    constexpr int kCount = 8'000;
    for (int i = 0; i < kCount; ++i) ++wins[selector.select() / 2];
    double chi_square = 0;
    for (const int count : wins) chi_square += (count - kCount / 4.0) * (count - kCount / 4.0) / (kCount / 4.0);
    EXPECT_LT(chi_square, 30.7);  // p = 1e-6
  });
}

// Rules: SEL-19
TEST(SelectorTest, TrySelectNeverBlocks) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    int ran = 0;
    Selector selector;
    const std::size_t recv = selector.add(ch.on_recv([&] { ++ran; }));
    const std::size_t send = selector.add_send(ch, 5, [&] { ++ran; });
    const std::size_t late = selector.add(on_timeout(1h, kUnreachable));
    EXPECT_EQ(selector.try_select(), std::nullopt);
    EXPECT_EQ(ran, 0);
    WaitGroup wg;
    int got = 0;
    go_parked(wg, [&] { got = *ch.recv(); });
    EXPECT_EQ(selector.try_select(), send);
    wg.wait();
    EXPECT_EQ(got, 5);
    go_parked(wg, [&] { ch.send(6); });
    EXPECT_EQ(selector.try_select(), recv);
    wg.wait();
    EXPECT_EQ(ran, 2);
    selector.disable(late);
    const std::size_t now = selector.add(on_timeout(0s, [&] { ++ran; }));
    EXPECT_EQ(selector.try_select(), now) << "as select would";
    selector.disable(now);
    const std::size_t otherwise = selector.add(on_default([&] { ++ran; }));
    EXPECT_EQ(selector.try_select(), otherwise);
    EXPECT_EQ(ran, 4);
  });
}

// Rules: SEL-19, SEL-22
TEST(SelectorTest, TimeoutCountsAnewInEachSelect) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    int timeouts = 0;
    Selector selector;
    selector.add(ch.on_recv(kUnreachable));
    const std::size_t timeout = selector.add(on_timeout(1ms, [&] { ++timeouts; }));
    const std::size_t far = selector.add(on_timeout(std::chrono::nanoseconds::max(), kUnreachable));
    for (int i = 1; i <= 3; ++i) {
      EXPECT_EQ(selector.select(), timeout);
      EXPECT_EQ(timeouts, i);
    }
    selector.disable(timeout);
    WaitGroup wg;
    go_parked(wg, [&] { ch.send(1); });
    selector.disable(0);
    EXPECT_EQ(selector.add(ch.on_recv(kNothing)), far + 1);
    EXPECT_EQ(selector.select(), far + 1);
    wg.wait();
  });
}

// Rules: SEL-19, HZ-9
TEST(SelectorTest, CopyableValueIsSentByEveryWinAndCopiedByNoLoss) {
  everywhere([] {
    Tally tally;
    {
      const Chan<AlignedCounted> ch = make_chan<AlignedCounted>(1);
      Selector selector;
      const std::size_t send = selector.add_send(ch, AlignedCounted(tally, 7));
      const std::size_t otherwise = selector.add(on_default(kNothing));
      EXPECT_EQ(tally.copies(), 0) << "an rvalue is moved in";
      for (int win = 1; win <= 5; ++win) {
        EXPECT_EQ(selector.select(), send);
        EXPECT_EQ(tally.copies(), win);
        for (int loss = 0; loss < 10; ++loss) EXPECT_EQ(selector.select(), otherwise);
        EXPECT_EQ(tally.copies(), win + 1) << "one in hand for the next win, however often it loses";
        EXPECT_EQ(ch.recv()->id(), 7U);
      }
      EXPECT_EQ(tally.holding(), 2);
      selector.set_value(send, AlignedCounted(tally, 8));
      EXPECT_EQ(tally.holding(), 1) << "the value before is gone";
      EXPECT_EQ(selector.select(), send);
      EXPECT_EQ(ch.recv()->id(), 8U);
      selector.disable(send);
      EXPECT_EQ(selector.select(), otherwise);
      EXPECT_EQ(tally.copies(), 7) << "a disabled case needs none";
    }
    EXPECT_EQ(tally.live(), 0);
    EXPECT_EQ(tally.errors(), 0);
  });
}

// Rules: SEL-19
TEST(SelectorTest, PlainValuesAndStringsAreSentAgainAndAgain) {
  everywhere([] {
    const Chan<std::int64_t> numbers = make_chan<std::int64_t>(1);
    const Chan<std::string> strings = make_chan<std::string>(1);
    const Chan<Unit> signals = make_chan<Unit>(1);
    const std::string text = "a string that does not fit into the small buffer";
    Selector selector;
    selector.add_send(numbers, 5);
    selector.add_send(strings, text);
    selector.add_send(signals, {});
    for (int round = 0; round < 10; ++round) {
      for (int i = 0; i < 3; ++i) selector.select();
      EXPECT_EQ(*numbers.recv(), 5 + round);
      EXPECT_EQ(*strings.recv(), round == 0 ? text : std::to_string(round));
      EXPECT_TRUE(signals.try_recv());
      selector.set_value(0, std::int64_t{6} + round);
      selector.set_value<std::string>(1, std::to_string(round + 1));
    }
  });
}

// Rules: SEL-19, HZ-9
TEST(SelectorTest, MoveOnlyValueIsSentOnceUntilItGetsAnother) {
  everywhere([] {
    Tally tally;
    {
      const Chan<MoveOnly> ch = make_chan<MoveOnly>(2);
      Selector selector;
      std::size_t sent = 0;
      const std::size_t send = selector.add_send(ch, MoveOnly(tally, 0), [&] { ++sent; });
      EXPECT_EQ(selector.select(), send);
      EXPECT_EQ(tally.holding(), 1);
      EXPECT_EQ(selector.try_select(), std::nullopt);
      EXPECT_THAT(panic_text([&] { selector.enable(send); }), HasSubstr("set_value"));
      EXPECT_EQ(selector.try_select(), std::nullopt);
      selector.disable(send);  // allowed, and no difference
      selector.set_value(send, MoveOnly(tally, 1));
      selector.set_value(send, MoveOnly(tally, 2));  // instead
      EXPECT_EQ(tally.destroyed(1), 1);
      EXPECT_EQ(selector.try_select(), send);
      EXPECT_EQ(sent, 2U);
      EXPECT_EQ(ch.recv()->id(), 0U);
      EXPECT_EQ(ch.recv()->id(), 2U);

      // Losing leaves the value where it is.
      const Chan<MoveOnly> nobody = make_chan<MoveOnly>();
      const std::size_t losing = selector.add_send(nobody, MoveOnly(tally, 3));
      for (int i = 0; i < 10; ++i) EXPECT_EQ(selector.try_select(), std::nullopt);
      selector.disable(losing);
      selector.enable(losing);
      WaitGroup wg;
      std::size_t got = 0;
      go_parked(wg, [&] { got = nobody.recv()->id(); });
      EXPECT_EQ(selector.select(), losing);
      wg.wait();
      EXPECT_EQ(got, 3U);
      selector.set_value(losing, MoveOnly(tally, 4));  // never sent
    }
    EXPECT_TRUE(all_destroyed_once(tally, 5));
  });
}

// Rules: SEL-19
TEST(SelectorTest, HandlerMayRefillItsOwnCase) {
  weft::run([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>();
    constexpr int kCount = 100;
    WaitGroup wg;
    wg.go([&] {
      Selector selector;
      int next = 0;
      selector.add_send(ch, std::make_unique<int>(next), [&] {
        if (++next < kCount) selector.set_value(0, std::make_unique<int>(next));
      });
      while (next < kCount) selector.select();
    });
    for (int i = 0; i < kCount; ++i) EXPECT_EQ(**ch.recv(), i);
    wg.wait();
  });
}

// Rules: SEL-19, SEL-8
TEST(SelectorTest, HandlersDisableWhatIsClosed) {
  // The way to drain any number of channels.
  everywhere([] {
    constexpr std::size_t kChans = 9;
    std::vector<Chan<int>> chans;
    Selector selector;
    std::size_t open = kChans;
    int sum = 0;
    for (std::size_t i = 0; i < kChans; ++i) {
      chans.push_back(make_chan<int>(i % 3));
      selector.add(chans.back().on_recv([&, i](const Received<int>& got) {
        if (got) {
          sum += *got;
        } else {
          EXPECT_EQ(got.status(), ChanStatus::closed);
          selector.disable(i);
          --open;
        }
      }));
    }
    WaitGroup wg;
    for (std::size_t i = 0; i < kChans; ++i) {
      wg.go([&chans, i] {
        for (int value = 1; value <= 20; ++value) chans[i].send(value);
        chans[i].close();
      });
    }
    while (open > 0) selector.select();
    wg.wait();
    EXPECT_EQ(sum, static_cast<int>(kChans) * 210);
    EXPECT_EQ(selector.try_select(), std::nullopt);
  });
}

// Rules: SEL-19, CH-20, SEL-8
TEST(SelectorTest, SendOnClosedPanicsAndLeavesTheSelectorUsable) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(1);
    const Chan<int> quiet = make_chan<int>();
    Selector selector;
    const std::size_t send = selector.add_send(ch, std::make_unique<int>(1), kUnreachable);
    const std::size_t recv = selector.add(quiet.on_recv(kNothing));
    const std::size_t otherwise = selector.add(on_default(kUnreachable));
    ch.close();
    for (int i = 0; i < 3; ++i) {
      EXPECT_THAT(panic_text([&] { selector.select(); }), HasSubstr("send on closed channel"));
      EXPECT_THROW(selector.try_select(), weft::RuntimePanic);
    }
    selector.disable(otherwise);
    selector.disable(send);
    selector.enable(send);  // it has its value still
    selector.disable(send);
    EXPECT_EQ(selector.try_select(), std::nullopt);
    WaitGroup wg;
    go_parked(wg, [&] { quiet.send(1); });
    EXPECT_EQ(selector.select(), recv);
    wg.wait();

    // Parked when the close comes.
    const Chan<int> closing = make_chan<int>();
    selector.add_send(closing, 1, kUnreachable);
    go_parked(wg, [&] { EXPECT_THROW(selector.select(), weft::RuntimePanic); });
    closing.close();
    wg.wait();
    quiet.close();
    selector.disable(selector.size() - 1);
    EXPECT_EQ(selector.select(), recv);
  });
}

// Rules: SEL-19, HZ-10
TEST(SelectorTest, ExceptionOfAHandlerLeavesTheSelectorUsable) {
  everywhere([] {
    Tally tally;
    {
      const Chan<Counted> in = make_chan<Counted>(2);
      const Chan<MoveOnly> out = make_chan<MoveOnly>(1);
      Selector selector;
      bool throws = true;
      const std::size_t recv = selector.add(in.on_recv([&](const Received<Counted>& got) {
        if (throws) throw std::runtime_error(std::to_string(got->id()));
      }));
      in.send(Counted(tally, 0));
      in.send(Counted(tally, 1));
      EXPECT_THROW(selector.select(), std::runtime_error);
      EXPECT_EQ(tally.holding(), 1) << "what the handler did not keep is gone";
      throws = false;
      EXPECT_EQ(selector.select(), recv);
      const std::size_t send =
          selector.add_send(out, MoveOnly(tally, 2), [] { throw std::runtime_error("after sending"); });
      EXPECT_THROW(selector.select(), std::runtime_error);
      EXPECT_EQ(out.size(), 1U);
      EXPECT_EQ(selector.try_select(), std::nullopt) << "the value is sent, whatever the handler did";
      EXPECT_THROW(selector.enable(send), weft::Panic);
    }
    EXPECT_TRUE(all_destroyed_once(tally, 3));
  });
}

// Rules: SEL-19
TEST(SelectorTest, HandlerMayAddCasesAndSelectAgain) {
  everywhere([] {
    const Chan<std::string> first = make_chan<std::string>(3);
    const Chan<int> second = make_chan<int>(1);
    const std::string text = "a string that does not fit into the small buffer";
    std::string trace;
    int depth = 0;
    Selector selector;
    selector.add(first.on_recv([&](const Received<std::string>& got) {
      const int level = ++depth;
      for (int i = 0; i < 50; ++i) selector.disable(selector.add(second.on_recv(kUnreachable)));
      if (level < 3) {
        EXPECT_EQ(selector.select(), 0U) << "the same case, from its own handler";
      }
      EXPECT_EQ(*got, text + std::to_string(level)) << "the inner receive went elsewhere";
      trace += std::to_string(level);
    }));
    for (int i = 1; i <= 3; ++i) first.send(text + std::to_string(i));
    EXPECT_EQ(selector.select(), 0U);
    EXPECT_EQ(trace, "321");
    EXPECT_EQ(selector.size(), 151U);
  });
}

struct ThrowingCopy {
  explicit ThrowingCopy(int* left) : copies_left(left) {}
  ThrowingCopy(const ThrowingCopy& other) : copies_left(other.copies_left) {
    if ((*copies_left)-- == 0) throw std::runtime_error("no more copies");
  }
  ThrowingCopy(ThrowingCopy&&) noexcept = default;
  int* copies_left;
};

// Rules: SEL-19, HZ-8
TEST(SelectorTest, CopyThatThrowsDoesSoBeforeAnythingHappens) {
  everywhere([] {
    int copies_left = 1;
    const Chan<ThrowingCopy> ch = make_chan<ThrowingCopy>(2);
    const Chan<int> ready = make_chan<int>(1);
    Selector selector;
    int sent = 0;
    const std::size_t send = selector.add_send(ch, ThrowingCopy(&copies_left), [&] { ++sent; });
    EXPECT_EQ(selector.select(), send);
    const std::size_t recv = selector.add(ready.on_recv());
    ready.send(1);
    for (int i = 0; i < 2; ++i) {
      copies_left = 0;
      EXPECT_THROW(selector.select(), std::runtime_error);
    }
    EXPECT_EQ(ready.size(), 1U);
    EXPECT_EQ(ch.size(), 1U);
    selector.disable(send);
    EXPECT_EQ(selector.select(), recv);
    selector.enable(send);
    copies_left = 1;
    EXPECT_EQ(selector.select(), send);
    EXPECT_EQ(sent, 2);
  });
}

// Rules: SEL-19
TEST(SelectorTest, KeepsItsChannelsAlive) {
  everywhere([] {
    Tally tally;
    {
      Selector selector;
      {
        const Chan<Counted> buffered = make_chan<Counted>(3);
        for (std::size_t i = 0; i < 3; ++i) buffered.send(Counted(tally, i));
        selector.add(buffered.on_recv([](const Received<Counted>& got) { EXPECT_EQ(got->id(), 0U); }));
        selector.add_send(make_chan<MoveOnly>(), MoveOnly(tally, 3), kUnreachable);
      }
      EXPECT_EQ(selector.select(), 0U);
      EXPECT_EQ(tally.holding(), 3);
      Selector moved(std::move(selector));
      EXPECT_EQ(moved.size(), 2U);
      selector = std::move(moved);
      EXPECT_EQ(selector.size(), 2U);
      EXPECT_EQ(moved.size(), 0U);  // NOLINT(bugprone-use-after-move): an empty Selector by contract
      EXPECT_EQ(moved.try_select(), std::nullopt);
    }
    EXPECT_TRUE(all_destroyed_once(tally, 4));
  });
}

// Rules: SEL-19, I8
TEST(SelectorTest, SelectingAllocatesNothing) {
  if (!weft::test::allocations()) GTEST_SKIP() << "allocations are not counted in this build";
  everywhere([] {
    const Chan<int> request = make_chan<int>();
    const Chan<int> reply = make_chan<int>(1);
    const Chan<int> quiet = make_chan<int>();
    Selector selector;
    for (int i = 0; i < 60; ++i) selector.add(quiet.on_recv(kUnreachable));
    int received = 0;
    const std::size_t recv = selector.add(request.on_recv([&] { ++received; }));
    const std::size_t send = selector.add_send(reply, 1, kNothing);
    WaitGroup wg;
    const int count = 2'000;
    wg.go([&] {
      for (int i = 0; i < 2 * count; ++i) request.send(i);
    });
    std::optional<std::uint64_t> before;
    for (int i = 0; i < 2 * count; ++i) {
      if (i == count) before = weft::test::allocations();  // the first rounds fill caches
      selector.disable(send);
      EXPECT_EQ(selector.select(), recv);
      selector.disable(recv);
      selector.enable(send);
      EXPECT_EQ(selector.try_select(), send);
      EXPECT_EQ(selector.try_select(), std::nullopt);
      EXPECT_EQ(reply.try_recv().value_or(0), 1);
      selector.enable(recv);
    }
    const std::optional<std::uint64_t> after = weft::test::allocations();
    wg.wait();
    EXPECT_EQ(received, 2 * count);
    EXPECT_LE(*after - *before, 8U) << "a few belong to the runtime's caches";
  });
}

// Rules: SEL-18, SEL-19
TEST(SelectorTest, ManyCasesParkedAndReady) {
  everywhere([] {
    for (const std::size_t width : {std::size_t{2}, std::size_t{8}, std::size_t{9}, std::size_t{1024}}) {
      std::vector<Chan<std::size_t>> chans;
      Selector selector;
      std::size_t value = 0;
      for (std::size_t i = 0; i < width; ++i) {
        chans.push_back(make_chan<std::size_t>(i % 2));
        selector.add(chans.back().on_recv([&value](const Received<std::size_t>& got) { value = got.value_or(0); }));
      }
      weft::test::Lcg random(width);
      WaitGroup wg;
      for (std::size_t round = 0; round < 50; ++round) {
        const std::size_t target = random.below(width);
        std::size_t index = width;
        go_parked(wg, [&] { index = selector.select(); });
        chans[target].send(round);
        wg.wait();
        EXPECT_EQ(index, target);
        EXPECT_EQ(value, round);
        const std::size_t odd = random.below(width / 2) * 2 + 1;
        chans[odd].send(round + 1);
        EXPECT_EQ(selector.try_select(), odd);
        EXPECT_EQ(value, round + 1);
        EXPECT_EQ(selector.try_select(), std::nullopt);
      }
    }
  });
}

// Rules: SEL-19, SEL-17
TEST(SelectorTest, AlignedValuesGoThroughParkedSelectors) {
  weft::run([] {
    Tally tally;
    const std::size_t count = rounds(std::size_t{2'000});
    {
      const Chan<MoveOnly> ch = make_chan<MoveOnly>();
      const Chan<Unit> quiet = make_chan<Unit>();
      WaitGroup wg;
      wg.go([&] {
        Selector selector;
        selector.add(quiet.on_recv(kUnreachable));
        const std::size_t send = selector.add_send(ch, MoveOnly(tally, 0));
        for (std::size_t i = 0; i < count; ++i) {
          if (i != 0) selector.set_value(send, MoveOnly(tally, i));
          EXPECT_EQ(selector.select(), send);
        }
      });
      Selector selector;
      std::size_t next = 0;
      selector.add(ch.on_recv([&](Received<MoveOnly> got) {
        EXPECT_EQ(got->id(), next);
        ++next;
      }));
      selector.add(quiet.on_recv(kUnreachable));
      while (next < count) EXPECT_EQ(selector.select(), 0U);
      wg.wait();
    }
    EXPECT_TRUE(all_destroyed_once(tally, count));
  });
}

// Rules: SEL-19, SEL-9
TEST(SelectorTest, DoubleSelectDeliversEachValueOnce) {
  // One goroutine sends each number to whichever of four channels takes it; four forward them. Nothing comes twice.
  weft::run([] {
    const int count = rounds(20'000);
    std::array<Chan<int>, 4> chans;
    for (Chan<int>& ch : chans) ch = make_chan<int>();
    const Chan<int> merged = make_chan<int>();
    WaitGroup wg;
    wg.go([&] {
      Selector selector;
      for (const Chan<int>& ch : chans) selector.add_send(ch, 0);
      for (int i = 0; i < count; ++i) {
        for (std::size_t k = 0; k < chans.size(); ++k) selector.set_value(k, i);
        selector.select();
      }
      for (const Chan<int>& ch : chans) ch.close();
    });
    WaitGroup forwarders;
    for (const Chan<int>& ch : chans) {
      forwarders.go([ch, merged] {
        for (const int value : ch) merged.send(value);
      });
    }
    wg.go([&] {
      forwarders.wait();
      merged.close();
    });
    std::vector<int> seen(static_cast<std::size_t>(count), 0);
    for (const int value : merged) ++seen.at(static_cast<std::size_t>(value));
    wg.wait();
    for (int i = 0; i < count; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], 1) << i;
  });
}

// Rules: SEL-19, SEL-16
TEST(SelectorTest, StressOfSelectorsOnBothSides) {
  weft::run([] {
    const int count = rounds(10'000);
    const std::array<std::size_t, 4> capacities{0, 0, 2, 3};
    std::array<Chan<int>, 4> chans;
    for (std::size_t i = 0; i < chans.size(); ++i) chans[i] = make_chan<int>(capacities[i]);
    WaitGroup wg;
    for (const Chan<int>& ch : chans) {
      wg.go([ch, count] {
        for (int i = 0; i < count; ++i) ch.send(i);
      });
      wg.go([ch, count] {
        for (int i = 0; i < count; ++i) EXPECT_TRUE(ch.recv());
      });
    }
    for (const bool sends : {true, false}) {
      wg.go([&chans, count, sends] {
        Selector selector;
        std::array<int, 4> left{count, count, count, count};
        const auto took = [&](std::size_t i) {
          if (--left[i] == 0) selector.disable(i);
        };
        for (std::size_t i = 0; i < chans.size(); ++i) {
          if (sends) {
            selector.add_send(chans[i], 1, [&took, i] { took(i); });
          } else {
            selector.add(chans[i].on_recv([&took, i] { took(i); }));
          }
        }
        for (int i = 0; i < 4 * count; ++i) selector.select();
        EXPECT_EQ(selector.try_select(), std::nullopt);
      });
    }
    wg.wait();
    for (const Chan<int>& ch : chans) EXPECT_EQ(ch.size(), 0U);
  });
}

// Rules: SEL-19, SEL-5
TEST(SelectorTest, TrySelectJudgesAllCasesAtOneInstant) {
  // At every instant one of the two channels has a value or is closed.
  weft::run([] {
    const int count = rounds(20'000);
    for (int i = 0; i < count; ++i) {
      const Chan<int> first = make_chan<int>(1);
      const Chan<int> second = make_chan<int>(1);
      const Chan<bool> done = make_chan<bool>(1);
      first.send(1);
      weft::go([first, second, done] {
        Selector selector;
        selector.add(first.on_recv());
        selector.add(second.on_recv());
        done.send(selector.try_select().has_value());
      });
      if (i % 2 == 0) {
        second.send(1);
      } else {
        second.close();
      }
      (void)first.try_recv();
      EXPECT_TRUE(*done.recv());
    }
  });
}

// Rules: SEL-19, SEL-10, I4
TEST(SelectorTest, AbandonedSelectIsUnlinked) {
  // The channel and the Selector outlive the runtime on which somebody was selecting.
  Tally tally;
  {
    const Chan<Counted> ch = make_chan<Counted>();
    const Chan<Counted> other = make_chan<Counted>();
    Selector selector;
    selector.add(ch.on_recv(kNothing));
    selector.add_send(other, Counted(tally, 0), kNothing);
    for (int round = 0; round < 20; ++round) {
      {
        weft::Runtime runtime;
        runtime.run([&] { go_parked([&selector] { static_cast<void>(selector.select()); }); });
      }
      Counted value(tally, 1);
      EXPECT_EQ(ch.try_send(std::move(value)), ChanStatus::would_block);
      EXPECT_FALSE(other.try_recv());
      EXPECT_EQ(selector.try_select(), std::nullopt);
    }
    weft::run([&] {
      WaitGroup wg;
      go_parked(wg, [&] { EXPECT_EQ(selector.select(), 1U); });
      EXPECT_EQ(other.recv()->id(), 0U);
      wg.wait();
    });
  }
  EXPECT_EQ(tally.live(), 0);
  EXPECT_EQ(tally.errors(), 0);
}

// Rules: SEL-19, SEL-22, TM-2
TEST(SelectorTest, TimersAreCasesLikeAnyOther) {
  weft::testing::run([] {
    const weft::TimePoint start = weft::testing::now();
    const Chan<int> data = make_chan<int>();
    weft::Ticker ticker(10s);
    std::string trace;
    const auto note = [&](const char* what) {
      trace += what + std::to_string((weft::testing::now() - start) / 1s) + ' ';
    };
    Selector selector;
    const std::size_t ticks = selector.add(ticker.chan().on_recv([&] { note("tick"); }));
    const std::size_t once = selector.add(weft::after(25s).on_recv([&](const Received<weft::TimePoint>& due) {
      EXPECT_EQ((*due - start) / 1s, 25);
      note("once");
    }));
    selector.add(data.on_recv([&] { note("data"); }));
    const std::size_t timeout = selector.add(on_timeout(4s, [&] { note("timeout"); }));
    selector.disable(timeout);
    WaitGroup wg;
    wg.go([&] {
      weft::sleep_for(13s);
      data.send(1);
    });
    for (int i = 0; i < 5; ++i) selector.select();
    EXPECT_EQ(trace, "tick10 data13 tick20 once25 tick30 ");
    trace.clear();
    selector.enable(timeout);
    for (int i = 0; i < 3; ++i) selector.select();
    EXPECT_EQ(trace, "timeout34 timeout38 tick40 ");
    selector.disable(ticks);
    trace.clear();
    for (int i = 0; i < 2; ++i) selector.select();
    EXPECT_EQ(trace, "timeout44 timeout48 ");
    selector.disable(timeout);
    EXPECT_EQ(selector.try_select(), std::nullopt) << "the timer " << once << " has fired";
    wg.wait();
  });
}

// Rules: SEL-19, SEL-22
TEST(SelectorTest, LosingTheSelectDoesNotConsumeTheTick) {
  weft::testing::run([] {
    const weft::TimePoint start = weft::testing::now();
    const Chan<int> data = make_chan<int>();
    weft::Timer timer(5s);
    Selector selector;
    const std::size_t tick = selector.add(timer.chan().on_recv());
    const std::size_t other = selector.add(data.on_recv());
    weft::go([data] {
      weft::sleep_for(1s);
      data.send(1);
    });
    EXPECT_EQ(selector.select(), other);
    EXPECT_EQ(weft::testing::now() - start, 1s);
    EXPECT_EQ(selector.select(), tick);
    EXPECT_EQ(weft::testing::now() - start, 5s);
    EXPECT_EQ(selector.try_select(), std::nullopt);
  });
}

// Rules: SEL-19, SEL-6
TEST(SelectorTest, BlockedForEverIsADeadlockOfTheBubble) {
  EXPECT_THROW(weft::testing::run([] {
                 // On the heap and never destroyed: nothing is, in a goroutine that is abandoned.
                 static Selector* const selector = new Selector;
                 selector->select();
               }),
               weft::Panic);
}

// Rules: SEL-19
TEST(SelectorTest, ChannelOfABubbleIsRefusedOutsideAndTheSelectorStaysUsable) {
  Chan<int> of_the_bubble;
  weft::testing::run([&] { of_the_bubble = make_chan<int>(1); });
  const Chan<int> ours = make_chan<int>(1);
  Selector selector;
  const std::size_t foreign = selector.add(of_the_bubble.on_recv(kUnreachable));
  const std::size_t own = selector.add_send(ours, 1);
  EXPECT_THROW(selector.select(), weft::Panic);
  EXPECT_THROW(selector.try_select(), weft::Panic);
  EXPECT_EQ(ours.size(), 0U);
  selector.disable(foreign);
  EXPECT_EQ(selector.select(), own);
  EXPECT_EQ(ours.size(), 1U);
}

}  // namespace

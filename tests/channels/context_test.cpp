// Context: the tree, its end, its causes, its values. Deadlines on virtual time, so that every instant is exact.

#include <weft/context.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::background;
using weft::ChanStatus;
using weft::Clock;
using weft::Context;
using weft::errc;
using weft::TimePoint;
using weft::with_cancel;
using weft::with_cancel_cause;
using weft::with_deadline;
using weft::with_timeout;
using weft::with_timeout_cause;
using weft::with_value;
using weft::without_cancel;

/// What the cause says; empty without one.
std::string cause_of(const Context& ctx) {
  const std::exception_ptr cause = ctx.cause();
  if (!cause) return "";
  try {
    std::rethrow_exception(cause);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "not an exception";
  }
}

/// Done by every sign there is.
void expect_done(const Context& ctx, errc reason) {
  EXPECT_TRUE(ctx.is_done());
  EXPECT_EQ(ctx.err(), make_error_code(reason));
  EXPECT_EQ(ctx.done().try_recv().status(), ChanStatus::closed);
  EXPECT_TRUE(ctx.cause());
  EXPECT_THROW(ctx.throw_if_done(), std::system_error);
}

void expect_not_done(const Context& ctx) {
  EXPECT_FALSE(ctx.is_done());
  EXPECT_FALSE(ctx.err());
  EXPECT_EQ(ctx.err(), errc::none);
  EXPECT_EQ(ctx.done().try_recv().status(), ChanStatus::would_block);
  EXPECT_FALSE(ctx.cause());
  EXPECT_NO_THROW(ctx.throw_if_done());
}

std::size_t children_of(const Context& ctx) { return ctx.node()->canceller()->listeners(); }

struct UserId {
  using type = int;
};
struct OtherId {
  using type = int;
};
struct Name {
  using type = std::string;
};
struct Pointer {
  using type = const char*;
};

// Rules: CTX-1
TEST(ContextTest, RootsAreNeverDoneAndHaveNames) {
  for (const Context& root : {background(), weft::todo()}) {
    EXPECT_EQ(root.done(), nullptr);
    expect_not_done(root);
    EXPECT_FALSE(root.deadline());
    EXPECT_EQ(root.value<UserId>(), nullptr);
    std::size_t chosen = weft::select(root.on_done(), weft::on_default());
    EXPECT_EQ(chosen, 1U);
    EXPECT_FALSE(root.stop_token().stop_possible());
  }
  EXPECT_FALSE(background() == weft::todo());
  EXPECT_TRUE(background() == background());
  EXPECT_EQ(background().name(), "context.Background");
  EXPECT_EQ(weft::todo().name(), "context.TODO");
  auto [ctx, cancel] = with_timeout(with_value<UserId>(weft::todo(), 1), 1h);
  EXPECT_EQ(ctx.name(), "context.TODO.WithValue.WithDeadline");
}

// Rules: CTX-2
TEST(ContextTest, CancelOrParentEndsAChild) {
  auto [parent, cancel_parent] = with_cancel(background());
  auto [first, cancel_first] = with_cancel(parent);
  auto [second, cancel_second] = with_cancel(parent);
  expect_not_done(first);
  cancel_first();
  expect_done(first, errc::canceled);
  expect_not_done(second);
  expect_not_done(parent);
  cancel_parent();
  expect_done(second, errc::canceled);
  cancel_second();
  expect_done(second, errc::canceled);
}

// Rules: CTX-3, CTX-4
TEST(ContextTest, CancelReturnsAfterTheWholeTreeIsDone) {
  auto [root, cancel] = with_cancel(background());
  std::vector<weft::CancelPair> level{with_cancel(root)};
  std::vector<weft::CancelPair> all = level;
  for (int depth = 0; depth < 6; ++depth) {
    std::vector<weft::CancelPair> next;
    for (const auto& [ctx, keep] : level) {
      next.push_back(with_cancel(with_value<UserId>(ctx, depth)));
      next.push_back(with_timeout(ctx, 1h));
    }
    all.insert(all.end(), next.begin(), next.end());
    level = std::move(next);
  }
  std::vector<weft::RecvChan<weft::Unit>> asked_before;
  for (std::size_t i = 0; i < all.size(); i += 2) asked_before.push_back(all[i].first.done());
  cancel();
  for (const auto& [ctx, keep] : all) expect_done(ctx, errc::canceled);
  for (const auto& done : asked_before) EXPECT_EQ(done.try_recv().status(), ChanStatus::closed);
}

// Rules: CTX-3, CTX-5
TEST(ContextTest, CancelReturnsAfterTheTreeIsDoneThoughSomebodyElseHasBegun) {
  for (int round = 0; round < 60; ++round) {
    auto [root, cancel_root] = with_cancel(background());
    const auto [child, cancel_child] = with_cancel(root);
    std::vector<weft::CancelPair> below;
    for (int i = 0; i < 5000; ++i) below.push_back(with_cancel(child));
    std::thread other([&cancel = cancel_child] { cancel(); });
    while (!child.is_done()) std::this_thread::yield();
    if (round % 2 == 0) {
      cancel_root();  // finds the child settled, but perhaps not what hangs below it
    } else {
      cancel_child();
    }
    std::size_t late = 0;
    for (const auto& [ctx, keep] : below) late += ctx.is_done() ? 0 : 1;
    other.join();
    ASSERT_EQ(late, 0U) << "in round " << round;
  }
}

// Rules: CTX-4
TEST(ContextTest, WhoIsWokenByDoneSeesErrAndCause) {
  weft::test::everywhere([] {
    for (int round = 0; round < weft::test::rounds(2000); ++round) {
      auto [ctx, cancel] = with_cancel(background());
      weft::WaitGroup group;
      group.go([ctx = ctx] {
        static_cast<void>(ctx.done().recv());
        EXPECT_EQ(ctx.err(), errc::canceled);
        EXPECT_EQ(cause_of(ctx), "why");
      });
      cancel(std::runtime_error("why"));
      group.wait();
    }
  });
}

// Rules: CTX-5
TEST(ContextTest, HundredNodesCancelledByHundredGoroutines) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(200); ++round) {
      auto [root, cancel_root] = with_cancel(background());
      std::vector<weft::CancelPair> nodes{{root, cancel_root}};
      weft::test::Lcg lcg(static_cast<std::uint64_t>(round) + 1);
      while (nodes.size() < 100) nodes.push_back(with_cancel(nodes[lcg.below(nodes.size())].first));
      weft::WaitGroup group;
      for (std::size_t i = nodes.size(); i-- > 0;) group.go([cancel = nodes[i].second] { cancel(); });
      for (const auto& [ctx, keep] : nodes) static_cast<void>(ctx.done().recv());
      group.wait();
      for (const auto& [ctx, keep] : nodes) expect_done(ctx, errc::canceled);
    }
  });
}

// Rules: CTX-5
TEST(ContextTest, CancellingAChildFromWhoTheParentWokeDoesNotLock) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(2000); ++round) {
      auto [parent, cancel_parent] = with_cancel(background());
      auto [child, cancel_child] = with_cancel(parent);
      weft::WaitGroup group;
      group.go([&parent = parent, &cancel_child = cancel_child] {
        static_cast<void>(parent.done().recv());
        cancel_child();
      });
      cancel_parent();
      group.wait();
      expect_done(child, errc::canceled);
    }
  });
}

// Rules: CTX-5
TEST(ContextTest, TheFirstCancelWins) {
  auto [ctx, cancel] = with_cancel_cause(background());
  cancel(std::runtime_error("first"));
  cancel(std::runtime_error("second"));
  cancel();
  EXPECT_EQ(cause_of(ctx), "first");
}

// Rules: CTX-6
TEST(ContextTest, DoneIsOneChannelForEveryone) {
  weft::run([] {
    auto [ctx, cancel] = with_cancel(background());
    std::array<std::vector<weft::RecvChan<weft::Unit>>, 8> seen;
    weft::WaitGroup group;
    for (auto& mine : seen) {
      group.go([&mine, ctx = ctx] {
        for (int i = 0; i < 1000; ++i) mine.push_back(ctx.done());
      });
    }
    group.wait();
    for (const auto& mine : seen) {
      for (const auto& done : mine) ASSERT_EQ(done, ctx.done());
    }
    cancel();
    for (const auto& mine : seen) ASSERT_EQ(mine.front().try_recv().status(), ChanStatus::closed);
    EXPECT_EQ(ctx.done().size(), 0U);
    EXPECT_EQ(ctx.done().capacity(), 0U);
  });
}

// Rules: CTX-7
TEST(ContextTest, ErrSaysNothingBeforeDoneIsClosed) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(100'000); ++round) {
      auto [ctx, cancel] = with_cancel(background());
      const weft::RecvChan<weft::Unit> done = ctx.done();
      weft::WaitGroup group;
      group.go([&cancel = cancel] { cancel(); });
      while (!ctx.err()) weft::yield();
      ASSERT_EQ(done.try_recv().status(), ChanStatus::closed);
      group.wait();
    }
  });
}

// Rules: CTX-7
TEST(ContextTest, WhoSeesDoneClosedSeesTheErr) {
  // Nobody has asked for the channel before: the end of the context and the first look at it race.
  const int rounds = weft::test::rounds(200'000);
  std::atomic<int> turn{0};
  std::atomic<const Context*> current{nullptr};
  std::thread looker([&] {
    for (int round = 0; round < rounds; ++round) {
      const Context* ctx = nullptr;
      while ((ctx = current.exchange(nullptr, std::memory_order_acquire)) == nullptr) std::this_thread::yield();
      turn.store(round + 1, std::memory_order_release);
      for (int pause = 0; pause < round % 64; ++pause) static_cast<void>(ctx->is_done());
      if (ctx->done().try_recv().status() == ChanStatus::closed) {
        EXPECT_EQ(ctx->err(), errc::canceled) << "round " << round;
      }
      turn.store(-(round + 1), std::memory_order_release);
    }
  });
  for (int round = 0; round < rounds; ++round) {
    auto [ctx, cancel] = with_cancel(background());
    current.store(&ctx, std::memory_order_release);
    while (turn.load(std::memory_order_acquire) != round + 1) {
      if (turn.load(std::memory_order_acquire) == -(round + 1)) break;
      std::this_thread::yield();
    }
    cancel();
    while (turn.load(std::memory_order_acquire) != -(round + 1)) std::this_thread::yield();
  }
  looker.join();
}

// Rules: CTX-8
TEST(ContextTest, DeadlineExceededIsATimeOut) {
  const std::error_code exceeded = errc::deadline_exceeded;
  EXPECT_EQ(exceeded, std::errc::timed_out);
  EXPECT_EQ(exceeded, make_error_code(errc::deadline_exceeded));
  EXPECT_EQ(exceeded.message(), "context deadline exceeded");
  EXPECT_NE(exceeded, std::make_error_code(std::errc::timed_out));  // an I/O deadline is another error
  const std::error_code canceled = errc::canceled;
  EXPECT_EQ(canceled, std::errc::operation_canceled);
  EXPECT_NE(canceled, std::errc::timed_out);
  EXPECT_EQ(canceled.message(), "context canceled");
  EXPECT_STREQ(canceled.category().name(), "weft");
  EXPECT_FALSE(make_error_code(errc::none));
}

// Rules: CTX-9
TEST(ContextTest, CancelDoesNotWaitForWork) {
  weft::run([] {
    auto [ctx, cancel] = with_cancel(background());
    auto go_on = weft::make_chan<weft::Unit>();
    weft::WaitGroup group;
    group.go([=, ctx = ctx] {
      static_cast<void>(ctx.done().recv());
      static_cast<void>(go_on.recv());  // ignores the context until told to go on, which is after cancel() returned
    });
    cancel();
    go_on.send({});
    group.wait();
  });
}

// Rules: CTX-10
TEST(ContextTest, AChildLeavesItsParentAtOnce) {
  auto [parent, cancel_parent] = with_cancel(background());
  EXPECT_EQ(children_of(parent), 0U);
  {
    auto [child, cancel] = with_cancel(parent);
    EXPECT_EQ(children_of(parent), 1U);
    cancel();
    EXPECT_EQ(children_of(parent), 0U);
  }
  {
    auto [child, cancel] = with_timeout(parent, 1h);
    EXPECT_EQ(children_of(parent), 1U);
    cancel();
    EXPECT_EQ(children_of(parent), 0U);
  }
  {
    weft::StopFunc stop = weft::after_func(parent, [] { ADD_FAILURE() << "was stopped"; });
    EXPECT_EQ(children_of(parent), 1U);
    EXPECT_TRUE(stop());
    EXPECT_EQ(children_of(parent), 0U);
  }
  {
    Context dropped;
    {
      auto [child, cancel] = with_cancel(parent);
      cancel.release();
      dropped = child;
    }
    EXPECT_EQ(children_of(parent), 1U);
    expect_not_done(dropped);
    dropped = Context();  // nobody can see it any more
    EXPECT_EQ(children_of(parent), 0U);
  }
  expect_not_done(parent);
}

// Rules: CTX-11
TEST(ContextTest, AChildOfADoneParentIsBornDone) {
  auto [parent, cancel] = with_cancel(background());
  cancel(std::runtime_error("gone"));
  auto [child, cancel_child] = with_cancel(parent);
  auto [timed, cancel_timed] = with_timeout(parent, 0s);
  for (const Context& ctx : {child, timed, with_value<UserId>(parent, 1)}) {
    expect_done(ctx, errc::canceled);
    EXPECT_EQ(cause_of(ctx), "gone");
  }
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(2000); ++round) {
      auto [racing, cancel_racing] = with_cancel(background());
      weft::WaitGroup group;
      group.go([&cancel_racing = cancel_racing] { cancel_racing(std::runtime_error("raced")); });
      auto [late, cancel_late] = with_cancel(racing);
      static_cast<void>(late.done().recv());
      EXPECT_EQ(cause_of(late), "raced");
      group.wait();
    }
  });
}

// Rules: CTX-12
TEST(ContextTest, DeadlinesEndContextsAtTheirTime) {
  weft::testing::run([] {
    const TimePoint start = Clock::now();
    auto [parent, cancel_parent] = with_timeout(background(), 1s);
    auto [later, cancel_later] = with_timeout(parent, 5s);
    auto [sooner, cancel_sooner] = with_timeout(parent, 300ms);
    auto [equal, cancel_equal] = with_deadline(parent, start + 1s);
    EXPECT_EQ(parent.deadline(), start + 1s);
    EXPECT_EQ(later.deadline(), start + 1s);
    EXPECT_EQ(later.name(), "context.Background.WithDeadline.WithCancel");
    EXPECT_EQ(sooner.deadline(), start + 300ms);
    EXPECT_EQ(equal.name(), "context.Background.WithDeadline.WithDeadline");
    static_cast<void>(sooner.done().recv());
    EXPECT_EQ(Clock::now(), start + 300ms);
    expect_done(sooner, errc::deadline_exceeded);
    expect_not_done(parent);
    static_cast<void>(later.done().recv());
    EXPECT_EQ(Clock::now(), start + 1s);
    for (const Context& ctx : {parent, later, equal}) expect_done(ctx, errc::deadline_exceeded);
    EXPECT_EQ(sooner.deadline(), start + 300ms);
  });
}

// Rules: CTX-12
TEST(ContextTest, APassedDeadlineEndsItAtOnceForGood) {
  for (const auto d : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
    auto [ctx, cancel] = with_timeout(background(), d);
    expect_done(ctx, errc::deadline_exceeded);
    cancel();
    expect_done(ctx, errc::deadline_exceeded);
  }
  auto [past, cancel] = with_deadline(background(), Clock::now() - 1s);
  expect_done(past, errc::deadline_exceeded);
  auto [endless, cancel_endless] = with_timeout(background(), std::chrono::nanoseconds::max());
  expect_not_done(endless);
}

// Rules: CTX-12
TEST(ContextTest, CancelBeforeTheDeadlineReleasesTheTimer) {
  weft::testing::run([] {
    const TimePoint start = Clock::now();
    auto [ctx, cancel] = with_timeout(background(), 1s);
    cancel();
    expect_done(ctx, errc::canceled);
    weft::sleep_for(2s);
    expect_done(ctx, errc::canceled);
    EXPECT_EQ(ctx.deadline(), start + 1s);
  });
  // A timer that is still set would keep the deadlock from being reported.
  const auto result = weft::test::in_child([] {
    weft::run([] {
      auto [ctx, cancel] = with_timeout(background(), 1h);
      cancel();
      weft::select();
    });
  });
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE(result.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << result.err;
}

// Rules: CTX-12, DL-2
TEST(ContextTest, ADeadlineToComeKeepsDeadlocksFromBeingReported) {
  const auto result = weft::test::in_child([] {
    weft::run([] {
      auto [ctx, cancel] = with_timeout(background(), 30ms);
      static_cast<void>(ctx.done().recv());
    });
  });
  EXPECT_EQ(result.exit_code, 0) << result.err;
}

// Rules: CTX-13
TEST(ContextTest, CausesSayWhoEndedIt) {
  auto [plain, cancel_plain] = with_cancel(background());
  cancel_plain();
  EXPECT_EQ(cause_of(plain), "context canceled");

  auto [with_null, cancel_null] = with_cancel_cause(background());
  cancel_null(nullptr);
  EXPECT_EQ(cause_of(with_null), "context canceled");
  EXPECT_EQ(with_null.err(), errc::canceled);

  auto [given, cancel_given] = with_cancel_cause(background());
  cancel_given(std::make_exception_ptr(std::out_of_range("given")));
  EXPECT_THROW(std::rethrow_exception(given.cause()), std::out_of_range);
  EXPECT_EQ(given.err(), errc::canceled);

  // Its own cause if it was first, its parent's otherwise.
  auto [parent, cancel_parent] = with_cancel_cause(background());
  auto [first, cancel_first] = with_cancel_cause(parent);
  auto [second, cancel_second] = with_cancel_cause(parent);
  cancel_first(std::runtime_error("child"));
  cancel_parent(std::runtime_error("parent"));
  cancel_second(std::runtime_error("too late"));
  EXPECT_EQ(cause_of(first), "child");
  EXPECT_EQ(cause_of(second), "parent");
  EXPECT_EQ(cause_of(parent), "parent");
  EXPECT_FALSE(without_cancel(first).cause());
  EXPECT_EQ(cause_of(with_value<UserId>(first, 1)), "child");
}

// Rules: CTX-13
TEST(ContextTest, ATimeoutsCauseIsForItsExpiryOnly) {
  weft::testing::run([] {
    auto [slow, cancel_slow] = with_timeout_cause(background(), 1s, std::runtime_error("slow"));
    auto [cancelled, cancel_it] = with_timeout_cause(background(), 1s, std::runtime_error("never"));
    auto [plain, cancel_plain] = with_timeout_cause(background(), 1s, nullptr);
    auto [dropped, cancel_dropped] = with_timeout_cause(slow, 2s, std::runtime_error("dropped"));
    auto [inner, cancel_inner] = with_timeout_cause(slow, 500ms, std::runtime_error("inner"));
    cancel_it();
    weft::sleep_for(3s);
    EXPECT_EQ(slow.err(), errc::deadline_exceeded);
    EXPECT_EQ(cause_of(slow), "slow");
    EXPECT_EQ(cancelled.err(), errc::canceled);
    EXPECT_EQ(cause_of(cancelled), "context canceled");
    EXPECT_EQ(cause_of(plain), "context deadline exceeded");
    EXPECT_EQ(cause_of(dropped), "slow");
    EXPECT_EQ(cause_of(inner), "inner");
    auto [at_once, cancel_at_once] = with_timeout_cause(background(), -1s, std::runtime_error("before it began"));
    EXPECT_EQ(cause_of(at_once), "before it began");
    auto [by_time, cancel_by_time] = weft::with_deadline_cause(background(), Clock::now(), std::runtime_error("now"));
    EXPECT_EQ(cause_of(by_time), "now");
  });
}

// Rules: CTX-14
TEST(ContextTest, TheNearestValueOfAKeyIsFound) {
  const Context one = with_value<UserId>(background(), 1);
  const Context two = with_value<OtherId>(one, 2);
  const Context three = with_value<UserId>(two, 3);
  EXPECT_EQ(*one.value<UserId>(), 1);
  EXPECT_EQ(one.value<OtherId>(), nullptr);
  EXPECT_EQ(*two.value<UserId>(), 1);
  EXPECT_EQ(*two.value<OtherId>(), 2);
  EXPECT_EQ(*three.value<UserId>(), 3);
  EXPECT_EQ(*three.value<OtherId>(), 2);
  EXPECT_EQ(background().value<UserId>(), nullptr);

  // A stored null hides what is above.
  const Context text = with_value<Pointer>(background(), "outer");
  const Context hidden = with_value<Pointer>(text, nullptr);
  EXPECT_STREQ(*text.value<Pointer>(), "outer");
  ASSERT_NE(hidden.value<Pointer>(), nullptr);
  EXPECT_EQ(*hidden.value<Pointer>(), nullptr);
}

// Rules: CTX-14
TEST(ContextTest, AValueChangesNothingElse) {
  auto [parent, cancel] = with_timeout(background(), 1h);
  const Context ctx = with_value<Name>(parent, "weft");
  EXPECT_EQ(ctx.done(), parent.done());
  EXPECT_EQ(ctx.deadline(), parent.deadline());
  EXPECT_EQ(children_of(parent), 0U);
  expect_not_done(ctx);
  cancel();
  expect_done(ctx, errc::canceled);
  EXPECT_EQ(*ctx.value<Name>(), "weft");
}

// Rules: CTX-14
TEST(ContextTest, ValuesLiveAsLongAsAnyContextBelow) {
  struct Held {
    using type = std::shared_ptr<int>;
  };
  auto value = std::make_shared<int>(5);
  Context leaf;
  {
    const Context ctx = with_value<Held>(background(), value);
    auto [child, cancel] = with_cancel(ctx);
    leaf = child;
  }
  EXPECT_EQ(value.use_count(), 2);
  EXPECT_EQ(**leaf.value<Held>(), 5);
  leaf = Context();
  EXPECT_EQ(value.use_count(), 1);
}

// Rules: CTX-15
TEST(ContextTest, WithoutCancelKeepsOnlyTheValues) {
  auto [parent, cancel] = with_timeout(with_value<UserId>(background(), 7), 1h);
  const Context freed = without_cancel(parent);
  auto [below, cancel_below] = with_cancel(freed);
  cancel();
  for (const Context& ctx : {freed, without_cancel(parent)}) {
    EXPECT_EQ(ctx.done(), nullptr);
    expect_not_done(ctx);
    EXPECT_FALSE(ctx.deadline());
    EXPECT_EQ(*ctx.value<UserId>(), 7);
  }
  expect_not_done(below);
  weft::testing::run([&] {
    auto [timed, cancel_timed] = with_timeout(freed, 10ms);
    static_cast<void>(timed.done().recv());
    expect_done(timed, errc::deadline_exceeded);
  });
}

// Rules: CTX-16
TEST(ContextTest, AfterFuncRunsOnceInAGoroutineOfItsOwn) {
  weft::testing::run([] {
    auto [ctx, cancel] = with_cancel(background());
    auto go_on = weft::make_chan<weft::Unit>();
    int runs = 0;
    weft::StopFunc stop = weft::after_func(ctx, [&runs, go_on] {
      static_cast<void>(go_on.recv());
      ++runs;
    });
    weft::testing::wait();
    EXPECT_EQ(runs, 0);
    cancel();  // returns while the function blocks
    EXPECT_FALSE(stop());
    go_on.send({});
    weft::testing::wait();
    EXPECT_EQ(runs, 1);
    cancel();
    weft::testing::wait();
    EXPECT_EQ(runs, 1);
    EXPECT_FALSE(stop());
  });
}

// Rules: CTX-16
TEST(ContextTest, AfterFuncsAreIndependentOfEachOther) {
  weft::testing::run([] {
    auto [ctx, cancel] = with_cancel(background());
    std::array<int, 3> runs{};
    std::vector<weft::StopFunc> stops;
    for (int& mine : runs) stops.push_back(weft::after_func(with_value<UserId>(ctx, 1), [&mine] { ++mine; }));
    const weft::StopFunc copy = stops[1];
    EXPECT_TRUE(copy());
    EXPECT_FALSE(stops[1]());
    cancel();
    weft::testing::wait();
    EXPECT_EQ(runs, (std::array<int, 3>{1, 0, 1}));
    int late = 0;
    weft::after_func(ctx, [&late] { ++late; });
    weft::testing::wait();
    EXPECT_EQ(late, 1);
    weft::StopFunc never = weft::after_func(background(), [] { ADD_FAILURE() << "never done"; });
    EXPECT_TRUE(never());
    EXPECT_FALSE(never());
    EXPECT_FALSE(weft::StopFunc()());
  });
}

// Rules: CTX-16
TEST(ContextTest, AfterFuncOfADeadlineRunsThoughNobodyHoldsTheContext) {
  weft::testing::run([] {
    const TimePoint start = Clock::now();
    std::optional<TimePoint> ran;
    {
      auto [ctx, cancel] = with_timeout(background(), 1s);
      cancel.release();
      weft::after_func(ctx, [&ran] { ran = Clock::now(); });
    }
    weft::sleep_for(2s);
    EXPECT_EQ(ran, start + 1s);
  });
}

// Rules: CTX-16, HZ-1
TEST(ContextTest, AfterFuncIsDestroyedOnceItHasRunOrWasStopped) {
  weft::testing::run([] {
    auto held = std::make_shared<int>(0);
    auto [ctx, cancel] = with_cancel(background());
    weft::StopFunc ran = weft::after_func(ctx, [held] { ++*held; });
    weft::StopFunc stopped = weft::after_func(ctx, [held] { ++*held; });
    EXPECT_EQ(held.use_count(), 3);
    stopped();
    EXPECT_EQ(held.use_count(), 2);
    cancel();
    weft::testing::wait();
    EXPECT_EQ(*held, 1);
    EXPECT_EQ(held.use_count(), 1);
  });
}

// Rules: CTX-16
TEST(ContextTest, StopAndCancelAgreeOnWhoWon) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(10'000); ++round) {
      auto [ctx, cancel] = with_cancel(background());
      std::atomic<int> runs{0};
      weft::WaitGroup group;
      group.add(1);
      weft::StopFunc stop = weft::after_func(ctx, [&] {
        runs.fetch_add(1);
        group.done();
      });
      group.go([&cancel = cancel] { cancel(); });
      const bool stopped = stop();
      if (stopped) group.done();
      group.wait();
      EXPECT_EQ(runs.load(), stopped ? 0 : 1);
    }
  });
}

// Rules: CTX-18
TEST(ContextTest, ADeepChainIsDoneBeforeCancelReturns) {
  weft::run({}, [] {  // a runtime of its own: nobody else's goroutines are counted
    const std::uint64_t before = weft::stats().live;
    auto [root, cancel] = with_cancel(background());
    Context leaf = root;
    for (int depth = 0; depth < 10'000; ++depth) {
      auto [child, cancel_child] = with_cancel(leaf);
      cancel_child.release();
      leaf = child;
    }
    EXPECT_EQ(weft::stats().live, before);
    cancel();
    expect_done(leaf, errc::canceled);
    EXPECT_EQ(weft::stats().live, before);
  });
}

// Rules: CTX-18
TEST(ContextTest, AWideTreeIsDoneBeforeCancelReturns) {
  auto [root, cancel] = with_cancel(background());
  std::vector<weft::CancelPair> children;
  for (int i = 0; i < 10'000; ++i) children.push_back(with_timeout(i % 2 == 0 ? root : children.back().first, 1h));
  cancel();
  for (const auto& [ctx, keep] : children) EXPECT_TRUE(ctx.is_done());
}

// Rules: CTX-19
TEST(ContextTest, ManyLayersOfEverything) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    weft::test::Lcg lcg(seed);
    std::vector<weft::CancelPair> cancellable;
    std::vector<int> ids;
    Context leaf = background();
    for (int layer = 0; layer < 40; ++layer) {
      const std::uint64_t kind = lcg.below(3);
      if (kind == 0 || cancellable.empty()) {
        cancellable.push_back(with_cancel(leaf));
      } else if (kind == 1) {
        cancellable.push_back(with_timeout(leaf, std::chrono::hours(1 + lcg.below(5))));
      } else {
        ids.push_back(layer);
        leaf = with_value<UserId>(leaf, layer);
        EXPECT_EQ(*leaf.value<UserId>(), layer);
        continue;
      }
      leaf = cancellable.back().first;
    }
    expect_not_done(leaf);
    cancellable[lcg.below(cancellable.size())].second();
    expect_done(leaf, errc::canceled);
    if (!ids.empty()) {
      EXPECT_EQ(*leaf.value<UserId>(), ids.back());
    }
  }
}

// Rules: CTX-20
TEST(ContextTest, EveryMethodFromEverywhereAtOnce) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(1000); ++round) {
      auto [ctx, cancel] = with_timeout(with_value<UserId>(background(), 3), 1h);
      weft::WaitGroup group;
      for (int i = 0; i < 3; ++i) {
        group.go([ctx = ctx] {
          while (!ctx.cause()) {
            static_cast<void>(ctx.done());
            static_cast<void>(ctx.deadline());
            static_cast<void>(ctx.stop_token());
            EXPECT_EQ(*ctx.value<UserId>(), 3);
            auto [child, cancel_child] = with_cancel(ctx);
            weft::after_func(child, [] {});
            weft::yield();
          }
          EXPECT_EQ(cause_of(ctx), "raced");
        });
      }
      cancel(std::runtime_error("raced"));
      group.wait();
    }
  });
}

// Rules: CTX-21
TEST(ContextTest, ANilParentPanics) {
  const Context nil;
  EXPECT_TRUE(nil == nullptr);
  const auto expect_panic = [](auto derive) {
    try {
      derive();
      ADD_FAILURE() << "no panic";
    } catch (const weft::RuntimePanic&) {
      ADD_FAILURE() << "not what the runtime detects";
    } catch (const weft::Panic& panic) {
      EXPECT_STREQ(panic.what(), "cannot create context from nil parent");
    }
  };
  expect_panic([&] { static_cast<void>(with_cancel(nil)); });
  expect_panic([&] { static_cast<void>(with_deadline(nil, Clock::now())); });
  expect_panic([&] { static_cast<void>(with_timeout(nil, 1s)); });
  expect_panic([&] { static_cast<void>(with_value<UserId>(nil, 1)); });
  expect_panic([&] { static_cast<void>(without_cancel(nil)); });
  expect_not_done(nil);
  EXPECT_EQ(nil.name(), "nil");
}

TEST(ContextTest, TheLastCancelFuncCancels) {
  Context ctx;
  {
    std::optional<weft::CancelFunc> kept;
    {
      auto [made, cancel] = with_cancel(background());
      ctx = made;
      kept = cancel;
    }
    expect_not_done(ctx);
  }
  expect_done(ctx, errc::canceled);
  {
    auto [made, cancel] = with_cancel(background());
    ctx = made;
    const weft::CancelFunc copy = cancel;
    copy.release();
  }
  expect_not_done(ctx);
  weft::CancelFunc()();  // nil: nothing to do
}

TEST(ContextTest, TokensAreAskedToStopWhenItIsDone) {
  auto [parent, cancel] = with_cancel(background());
  auto [child, cancel_child] = with_cancel(parent);
  const std::stop_token token = child.stop_token();
  EXPECT_TRUE(token.stop_possible());
  EXPECT_EQ(token, child.stop_token());
  bool child_was_done = false;
  std::stop_callback callback(token, [&, &child = child] { child_was_done = child.is_done(); });
  EXPECT_FALSE(token.stop_requested());
  cancel();
  EXPECT_TRUE(token.stop_requested());
  EXPECT_TRUE(child_was_done);
  auto [late, cancel_late] = with_cancel(parent);
  EXPECT_TRUE(late.stop_token().stop_requested());
}

TEST(ContextTest, AStopTokenEndsAContext) {
  weft::test::everywhere([] {
    std::stop_source source;
    const Context ctx = weft::from_stop_token(source.get_token());
    auto [below, cancel] = with_cancel(ctx);
    expect_not_done(below);
    source.request_stop();
    expect_done(ctx, errc::canceled);
    expect_done(below, errc::canceled);
    expect_done(weft::from_stop_token(source.get_token()), errc::canceled);
    expect_not_done(weft::from_stop_token({}));
    EXPECT_EQ(ctx.name(), "context.Background.FromStopToken");
  });
}

TEST(ContextTest, AStopThatComesWhileTheLastHandleGoes) {
  weft::run([] {
    for (int round = 0; round < weft::test::rounds(10'000); ++round) {
      std::stop_source source;
      auto ctx = std::make_unique<Context>(weft::from_stop_token(source.get_token()));
      weft::WaitGroup group;
      group.go([&source] { source.request_stop(); });
      group.go([&ctx] { ctx.reset(); });
      group.wait();
    }
  });
}

// Rules: DL-7
TEST(ContextTest, AStopFromOutsideKeepsDeadlocksFromBeingReported) {
  const auto result = weft::test::in_child([] {
    std::stop_source source;
    { const Context gone = weft::from_stop_token(source.get_token()); }
    weft::run([&] {
      const Context ctx = weft::from_stop_token(source.get_token());
      weft::after_func(50ms, [&] { source.request_stop(); });
      static_cast<void>(ctx.done().recv());
    });
    std::puts("stopped");
    std::fflush(stdout);
    weft::run([&] {
      const Context done = weft::from_stop_token(source.get_token());
      const Context never = weft::from_stop_token({});
      weft::select();  // nothing outside can call any more, or ever could
    });
  });
  EXPECT_EQ(result.exit_code, 2) << result.err;
  EXPECT_EQ(result.out, "stopped\n");
  EXPECT_NE(result.err.find("all goroutines are asleep - deadlock!"), std::string::npos) << result.err;
}

// Rules: SYN-6, SYN-9
TEST(ContextTest, ABubblesContextIsDurableAndItsOwn) {
  std::optional<weft::CancelFunc> outlives;
  weft::testing::run([&] {
    auto [ctx, cancel] = with_cancel(background());
    outlives = cancel;
    const TimePoint start = Clock::now();
    weft::WaitGroup group;
    group.go([ctx = ctx] { static_cast<void>(ctx.done().recv()); });
    weft::sleep_for(1h);  // passes at once only if the wait for the context is durable
    EXPECT_EQ(Clock::now(), start + 1h);
    cancel();
    group.wait();
  });
  EXPECT_THROW((*outlives)(), weft::Panic);
  // From outside: the bubble waits for the real world.
  auto [outside, cancel_outside] = with_cancel(background());
  weft::testing::run([&, &outside = outside, &cancel_outside = cancel_outside] {
    auto [inside, cancel] = with_cancel(outside);
    std::thread canceller([&cancel_outside = cancel_outside] { cancel_outside(); });
    static_cast<void>(inside.done().recv());
    expect_done(inside, errc::canceled);
    canceller.join();
  });
}

static_assert(std::is_nothrow_move_constructible_v<Context>);
static_assert(std::is_copy_constructible_v<weft::CancelFunc>);
static_assert(sizeof(Context) == sizeof(void*));

}  // namespace

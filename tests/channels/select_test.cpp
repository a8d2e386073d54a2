// select: which case may go, which one goes, what happens to the others, and what runs afterwards. Races are in
// select_race_test.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
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
using weft::on_default;
using weft::on_timeout;
using weft::Received;
using weft::RecvChan;
using weft::select;
using weft::SendChan;
using weft::WaitGroup;
using weft::test::everywhere;
using weft::test::go_parked;
using weft::test::kEverywhere;
using weft::test::On;
using weft::test::rounds;
using weft::test::run_on;
using weft::test::Task;

const auto kNothing = [] {};
const auto kUnreachable = [] { ADD_FAILURE() << "this case cannot go"; };

// Rules: SEL-1
TEST(SelectTest, EveryOperandIsEvaluatedOnceWhoeverWins) {
  everywhere([] {
    const Chan<int> a = make_chan<int>(1);
    const Chan<int> b = make_chan<int>(1);
    const Chan<int> none;
    int channels = 0;
    int values = 0;
    const auto channel = [&](const Chan<int>& ch) {
      ++channels;
      return ch;
    };
    const auto value = [&] { return ++values; };
    int sent = 0;
    int defaults = 0;
    for (int i = 0; i < 5; ++i) {
      select(channel(a).on_send(value(), [&] { ++sent; }), channel(b).on_send(value(), [&] { ++sent; }),
             channel(none).on_send(value(), kUnreachable), on_default([&] { ++defaults; }));
    }
    EXPECT_EQ(channels, 15);
    EXPECT_EQ(values, 15);
    EXPECT_EQ(sent, 2);
    EXPECT_EQ(defaults, 3);
  });
}

// Rules: SEL-1, CH-9, CH-17
TEST(SelectTest, OnlyTheChosenCaseRunsOrWrites) {
  everywhere([] {
    const Chan<int> ready = make_chan<int>(1);
    const Chan<int> empty = make_chan<int>(1);
    for (int round = 0; round < 20; ++round) {
      ready.send(round);
      Received<int> chosen;
      Received<int> other;
      int ran = 0;
      const std::size_t index = select(empty.on_recv(other), empty.on_recv(kUnreachable), ready.on_recv(chosen));
      EXPECT_EQ(index, 2U);
      EXPECT_EQ(chosen.value_or(-1), round);
      EXPECT_EQ(other.status(), ChanStatus::would_block);
      EXPECT_EQ(ran, 0);
      ready.send(round);
      EXPECT_EQ(select(ready.on_recv([&] { ++ran; }), empty.on_recv(kUnreachable)), 0U);
      EXPECT_EQ(ran, 1);
    }
  });
}

// Rules: SEL-1, SEL-14
TEST(SelectTest, HandlersTakeTheValueOrNothing) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(2);
    const RecvChan<std::unique_ptr<int>> out = ch;
    const SendChan<std::unique_ptr<int>> in = ch;
    int seen = 0;
    for (int i = 1; i <= 4; ++i) {
      EXPECT_EQ(select(in.on_send(std::make_unique<int>(i), [&] { seen += 100; })), 0U);
      switch (i) {
        case 1:
          select(out.on_recv([&](Received<std::unique_ptr<int>> got) { seen += **got; }));
          break;
        case 2:
          select(out.on_recv([&](Received<std::unique_ptr<int>>&& got) { seen += **got; }));
          break;
        case 3:
          select(out.on_recv([&](const Received<std::unique_ptr<int>>& got) { seen += **got; }));
          break;
        default:
          select(out.on_recv([&] { seen += 4; }));
      }
    }
    EXPECT_EQ(seen, 410);
    select(ch.on_send(std::make_unique<int>(5)));
    Received<std::unique_ptr<int>> got;
    select(ch.on_recv(got));
    ASSERT_TRUE(got);
    EXPECT_EQ(**got, 5);
    ch.send(nullptr);
    EXPECT_EQ(select(ch.on_recv()), 0U);
    EXPECT_EQ(ch.size(), 0U);
  });
}

// Rules: SEL-1, HZ-9
TEST(SelectTest, SendMovesFromAnRvalueOnlyIfItWins) {
  everywhere([] {
    const Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(1);
    auto first = std::make_unique<int>(1);
    auto second = std::make_unique<int>(2);
    const std::size_t winner = select(ch.on_send(std::move(first), kNothing), ch.on_send(std::move(second), kNothing),
                                      on_default(kUnreachable));
    EXPECT_EQ(first == nullptr, winner == 0);
    EXPECT_EQ(second == nullptr, winner == 1);
    EXPECT_EQ(**ch.recv(), winner == 0 ? 1 : 2);

    // Parked, and woken by something else.
    const Chan<std::unique_ptr<int>> nobody = make_chan<std::unique_ptr<int>>();
    const Chan<int> wake = make_chan<int>();
    auto kept = std::make_unique<int>(3);
    WaitGroup wg;
    go_parked(wg,
              [&] { EXPECT_EQ(select(nobody.on_send(std::move(kept), kUnreachable), wake.on_recv(kNothing)), 1U); });
    wake.send(1);
    wg.wait();
    ASSERT_NE(kept, nullptr);
    EXPECT_EQ(*kept, 3);

    // Parked, and taken.
    go_parked(wg,
              [&] { EXPECT_EQ(select(nobody.on_send(std::move(kept), kNothing), wake.on_recv(kUnreachable)), 0U); });
    EXPECT_EQ(**nobody.recv(), 3);
    wg.wait();
    EXPECT_EQ(kept, nullptr);
  });
}

// Rules: SEL-1
TEST(SelectTest, SendCopiesAnLvalue) {
  everywhere([] {
    const Chan<std::string> ch = make_chan<std::string>(2);
    std::string variable = "a string that does not fit into the small buffer";
    const std::string constant = variable;
    select(ch.on_send(variable, kNothing));
    select(ch.on_send(constant, kNothing));
    EXPECT_EQ(variable, constant);
    EXPECT_EQ(*ch.recv(), constant);
    EXPECT_EQ(*ch.recv(), constant);
  });
}

// Rules: SEL-2
TEST(SelectTest, FairAmongReadyCases) {
  // Four cases, two of them ready: each wins half the time, whichever comes first in the source.
  for (const bool swapped : {false, true}) {
    constexpr int kTrials = 10'000;
    int first = 0;
    weft::run([&] {
      const Chan<int> one = make_chan<int>(kTrials + 1);
      const Chan<int> two = make_chan<int>(kTrials + 1);
      for (int i = 0; i < kTrials + 1; ++i) {
        one.send(1);
        two.send(2);
      }
      const Chan<int> quiet = make_chan<int>();
      const Chan<int> silent = make_chan<int>();
      int second = 0;
      for (int i = 0; i < kTrials; ++i) {
        if (swapped) {
          select(silent.on_recv(kUnreachable), two.on_recv([&] { ++second; }), quiet.on_recv(kUnreachable),
                 one.on_recv([&] { ++first; }));
        } else {
          select(quiet.on_recv(kUnreachable), one.on_recv([&] { ++first; }), silent.on_recv(kUnreachable),
                 two.on_recv([&] { ++second; }));
        }
      }
      EXPECT_EQ(first + second, kTrials);
    });
    const double bound = 4.8917 / (2 * std::sqrt(static_cast<double>(kTrials)));  // one failure in a million
    EXPECT_NEAR(static_cast<double>(first) / kTrials, 0.5, bound);
  }
}

/// Chi-square of the counts against equal shares.
template <std::size_t N>
double chi_square(const std::array<int, N>& counts) {
  double total = 0;
  for (const int count : counts) total += count;
  const double expected = total / static_cast<double>(N);
  double sum = 0;
  for (const int count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

// Rules: SEL-2
TEST(SelectTest, FairAmongFourSendsAndReceives) {
  everywhere([] {
    const Chan<int> a = make_chan<int>(1);
    const Chan<int> b = make_chan<int>(1);
    const Chan<int> c = make_chan<int>(1);
    const Chan<int> d = make_chan<int>(1);
    std::array<int, 4> wins{};
    a.send(0);
    b.send(0);
    const int count = 8'000;
    for (int i = 0; i < count; ++i) {
      ++wins[select(a.on_recv(), c.on_send(1), b.on_recv(), d.on_send(1), on_default(kUnreachable))];
      if (a.size() == 0) a.send(0);
      if (b.size() == 0) b.send(0);
      (void)c.try_recv();
      (void)d.try_recv();
    }
    EXPECT_LT(chi_square(wins), 30.7) << wins[0] << ' ' << wins[1] << ' ' << wins[2] << ' ' << wins[3];  // p = 1e-6
  });
}

// Rules: SEL-2
TEST(SelectTest, ChoicesDoNotDependOnTheOneBefore) {
  weft::run([] {
    const Chan<int> closed = make_chan<int>();
    closed.close();
    std::array<int, 4> pairs{};
    std::size_t before = 0;
    for (int i = 0; i < 8'000; ++i) {
      const std::size_t now = select(closed.on_recv(), closed.on_recv());
      ++pairs[before * 2 + now];
      before = now;
    }
    EXPECT_LT(chi_square(pairs), 30.7) << pairs[0] << ' ' << pairs[1] << ' ' << pairs[2] << ' ' << pairs[3];
  });
}

// Rules: SEL-2, SEL-11
TEST(SelectTest, ChannelListedTwiceHasTwoTickets) {
  everywhere([] {
    const Chan<int> twice = make_chan<int>();
    const Chan<int> once = make_chan<int>();
    twice.close();
    once.close();
    std::array<int, 3> wins{};
    for (int i = 0; i < 9'000; ++i) ++wins[select(twice.on_recv(), once.on_recv(), twice.on_recv())];
    EXPECT_LT(chi_square(wins), 27.6) << wins[0] << ' ' << wins[1] << ' ' << wins[2];  // p = 1e-6
  });
}

// Rules: SEL-3, SEL-11
TEST(SelectTest, PseudoRandomSend) {
  weft::run([] {
    constexpr int kCount = 100;
    for (const std::size_t capacity : {std::size_t{0}, std::size_t{kCount}}) {
      const Chan<int> ch = make_chan<int>(capacity);
      const Chan<int> result = make_chan<int>(1);
      weft::go([ch, result] {
        int zeros = 0;
        for (int i = 0; i < kCount; ++i) {
          weft::yield();
          zeros += *ch.recv() == 0 ? 1 : 0;
        }
        result.send(zeros);
      });
      for (int i = 0; i < kCount; ++i) select(ch.on_send(0, kNothing), ch.on_send(1, kNothing));
      const int zeros = *result.recv();
      EXPECT_GT(zeros, 10);
      EXPECT_LT(zeros, 90);
    }
  });
}

// Rules: SEL-3, SEL-11
TEST(SelectTest, DuplicateCasesAreDrawnWhenParked) {
  weft::run([] {
    const Chan<int> ch = make_chan<int>();
    std::array<int, 2> sent{};
    std::array<int, 2> received{};
    for (int i = 0; i < 100; ++i) {
      WaitGroup wg;
      go_parked(wg, [&] { ++sent[select(ch.on_send(0, kNothing), ch.on_send(1, kNothing))]; });
      const int value = *ch.recv();
      wg.wait();
      EXPECT_EQ(sent[0] + sent[1], i + 1);
      EXPECT_TRUE(value == 0 || value == 1);
      go_parked(wg, [&] { ++received[select(ch.on_recv(kNothing), ch.on_recv(kNothing))]; });
      ch.send(i);
      wg.wait();
    }
    EXPECT_GT(sent[0], 10);
    EXPECT_GT(sent[1], 10);
    EXPECT_GT(received[0], 10);
    EXPECT_GT(received[1], 10);
  });
}

// Rules: SEL-4
TEST(SelectTest, DefaultRunsWhenNothingElseCanWhereverItStands) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    const Chan<int> full = make_chan<int>(1);
    full.send(1);
    int defaults = 0;
    const auto handler = [&] { ++defaults; };
    EXPECT_EQ(select(on_default(handler), ch.on_recv(kUnreachable), full.on_send(2, kUnreachable)), 0U);
    EXPECT_EQ(select(ch.on_recv(kUnreachable), on_default(handler), full.on_send(2, kUnreachable)), 1U);
    EXPECT_EQ(select(ch.on_recv(kUnreachable), full.on_send(2, kUnreachable), on_default(handler)), 2U);
    EXPECT_EQ(select(on_default(handler)), 0U);
    EXPECT_EQ(defaults, 4);
    // ... and never when something can.
    int ran = 0;
    for (int i = 0; i < 100; ++i) {
      EXPECT_EQ(select(on_default(kUnreachable), full.on_recv([&] { ++ran; })), 1U);
      EXPECT_EQ(select(full.on_send(1, [&] { ++ran; }), on_default(kUnreachable)), 0U);
    }
    EXPECT_EQ(ran, 200);
  });
}

// Rules: SEL-4, SEL-19
TEST(SelectTest, TwoDefaultsPanic) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    EXPECT_THROW(select(on_default(kUnreachable), ch.on_send(1, kUnreachable), on_default(kUnreachable)), weft::Panic);
    EXPECT_EQ(ch.size(), 0U);
  });
}

// Rules: SEL-4
TEST(SelectTest, DefaultGivesWayToAParkedPartner) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    WaitGroup wg;
    for (int i = 0; i < 20; ++i) {
      int got = 0;
      go_parked(wg, [&] { got = *ch.recv(); });
      EXPECT_EQ(select(ch.on_send(i, kNothing), on_default(kUnreachable)), 0U);
      wg.wait();
      EXPECT_EQ(got, i);
      go_parked(wg, [&] { ch.send(i); });
      Received<int> received;
      EXPECT_EQ(select(on_default(kUnreachable), ch.on_recv(received)), 1U);
      EXPECT_EQ(received.value_or(-1), i);
      wg.wait();
    }
  });
}

double process_cpu_seconds() {
  std::timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Rules: SEL-6, SEL-7, SEL-13, GEN-4
TEST(SelectTest, SelectThatNothingCanWakeParks) {
  const Chan<int> lone = make_chan<int>();
  std::atomic<int> passed{0};
  weft::Runtime runtime;
  runtime.run([&] {
    go_parked([&passed] {
      select();
      ++passed;
    });
    go_parked([&passed] {
      const Chan<int> none;
      select(none.on_recv(kUnreachable));
      ++passed;
    });
    go_parked([&passed] {
      const Chan<int> none;
      select(none.on_recv(kUnreachable), none.on_send(1, kUnreachable));
      ++passed;
    });
    go_parked([&passed] {
      const Chan<int> none;
      const SendChan<int> no_send;
      const RecvChan<int> no_recv;
      select(none.on_recv(kUnreachable), no_send.on_send(1, kUnreachable), no_recv.on_recv(kUnreachable));
      ++passed;
    });
    // No rendezvous with oneself.
    go_parked([&passed, &lone] {
      select(lone.on_send(1, kUnreachable), lone.on_recv(kUnreachable));
      ++passed;
    });
  });
  // They wait, they do not spin.
  const double before = process_cpu_seconds();
  std::this_thread::sleep_for(50ms);
  EXPECT_LT(process_cpu_seconds() - before, 0.045);
  EXPECT_EQ(passed, 0);

  std::vector<std::string> reasons;
  for (const weft::GoroutineInfo& straggler : runtime.shutdown(0s).stragglers) reasons.push_back(straggler.wait_reason);
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "select (no cases)"), 1);
  EXPECT_EQ(reasons.size(), 5U);
  EXPECT_EQ(std::count_if(reasons.begin(), reasons.end(), [](const std::string& reason) { return reason == "select"; }),
            3)
      << "the one-case form waits as a plain receive does: SEL-14";
  EXPECT_EQ(std::count(reasons.begin(), reasons.end(), "chan receive (nil chan)"), 1);
}

// Rules: DL-1, CH-4, SEL-6, SEL-7, SEL-13, GEN-4
TEST(SelectTest, WaitThatNothingCanEndIsADeadlock) {
  struct Case {
    const char* reason;
    void (*wait)();
  };
  constexpr std::array<Case, 8> kCases{{
      {"[chan receive]", [] { (void)make_chan<int>().recv(); }},
      {"[chan send]", [] { make_chan<int>().send(1); }},
      {"[chan receive (nil chan)]", [] { (void)Chan<int>().recv(); }},
      {"[chan send (nil chan)]", [] { Chan<int>().send(1); }},
      {"[select (no cases)]", [] { select(); }},
      {"[select]", [] { select(Chan<int>().on_recv(kUnreachable), SendChan<int>().on_send(1, kUnreachable)); }},
      {"[select]",
       [] {
         const Chan<int> ch = make_chan<int>();
         select(ch.on_send(1, kUnreachable), ch.on_recv(kUnreachable));
       }},
      {"[chan receive]",
       [] {
         std::array<Chan<int>, 3> ring{make_chan<int>(), make_chan<int>(), make_chan<int>()};
         for (std::size_t i = 0; i < 2; ++i) weft::go([&ring, i] { ring[i].send(*ring[i + 1].recv()); });
         ring[2].send(*ring[0].recv());
       }},
  }};
  for (const Case& each : kCases) {
    const weft::test::ChildResult child = weft::test::in_child([&] { weft::run(each.wait); });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    EXPECT_EQ(child.err.rfind("fatal error: all goroutines are asleep - deadlock!", 0), 0U) << child.err;
    EXPECT_NE(child.err.find(each.reason), std::string::npos) << each.reason << " in\n" << child.err;
  }
}

// Rules: DL-2, DL-7
TEST(SelectTest, WaitThatSomethingWillEndIsNoDeadlock) {
  const weft::test::ChildResult child = weft::test::in_child([] {
    weft::run([] {
      // A sleeping goroutine.
      const Chan<int> ch = make_chan<int>();
      weft::go([ch] {
        weft::sleep_for(30ms);
        ch.send(1);
      });
      EXPECT_EQ(*ch.recv(), 1);
      // A timeout.
      EXPECT_EQ(select(ch.on_recv(kUnreachable), on_timeout(30ms, kNothing)), 1U);
      EXPECT_EQ(ch.recv_for(30ms).status(), ChanStatus::timed_out);
      // A thread that weft does not know of.
      std::thread outside([ch] {
        std::this_thread::sleep_for(30ms);
        ch.send(2);
      });
      EXPECT_EQ(*ch.recv(), 2);
      outside.join();
      // A goroutine of another runtime.
      weft::Runtime other;
      other.go([&ch] {  // with a handle of its own, it would leak that if it is abandoned on its last steps
        weft::sleep_for(30ms);
        ch.send(3);
      });
      EXPECT_EQ(*ch.recv(), 3);
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.err, "");
}

// Rules: SEL-7
TEST(SelectTest, NilCasesAreInert) {
  everywhere([] {
    const Chan<int> none;
    const Chan<int> ready = make_chan<int>(1);
    EXPECT_EQ(select(none.on_recv(kUnreachable), none.on_send(1, kUnreachable), on_default(kNothing)), 2U);
    EXPECT_EQ(select(none.on_recv(kUnreachable), on_default(kNothing)), 1U);
    EXPECT_EQ(select(none.on_send(1, kUnreachable), on_timeout(1ms, kNothing)), 1U);
    for (int i = 0; i < 50; ++i) {
      EXPECT_EQ(select(none.on_recv(kUnreachable), ready.on_send(1, kNothing)), 1U);
      EXPECT_EQ(select(none.on_send(1, kUnreachable), none.on_recv(kUnreachable), ready.on_recv(kNothing)), 2U);
    }
    auto value = std::make_unique<int>(1);
    const Chan<std::unique_ptr<int>> no_owner;
    EXPECT_EQ(select(no_owner.on_send(std::move(value), kUnreachable), on_default(kNothing)), 1U);
    EXPECT_NE(value, nullptr);
  });
}

// Rules: SEL-7, CH-4
TEST(SelectTest, SettingAChannelToNilDisablesItsCase) {
  weft::run([] {
    Chan<int> a = make_chan<int>();
    Chan<int> b = make_chan<int>();
    for (const Chan<int>& ch : {a, b}) {
      weft::go([ch] {
        for (int i = 0; i < 10; ++i) ch.send(i);
        ch.close();
      });
    }
    int received = 0;
    int closed = 0;
    while (a != nullptr || b != nullptr) {
      select(a.on_recv([&](const Received<int>& got) {
        got ? ++received : ++closed;
        if (!got) a = nullptr;
      }),
             b.on_recv([&](const Received<int>& got) {
               got ? ++received : ++closed;
               if (!got) b = nullptr;
             }));
    }
    EXPECT_EQ(received, 20);
    EXPECT_EQ(closed, 2);
  });
}

// Rules: SEL-8
TEST(SelectTest, ClosedReceiveIsReady) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    ch.send(4);
    ch.close();
    Received<int> got;
    EXPECT_EQ(select(ch.on_recv(got), on_default(kUnreachable)), 0U);
    EXPECT_EQ(got.value_or(0), 4);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(select(on_default(kUnreachable), ch.on_recv(got)), 1U);
      EXPECT_EQ(got.status(), ChanStatus::closed);
    }
  });
}

// Rules: SEL-8
TEST(SelectTest, ClosedSendIsReadyAndPanicsWhenChosen) {
  everywhere([] {
    const Chan<int> closed = make_chan<int>(1);
    closed.close();
    const Chan<int> ready = make_chan<int>(1);
    std::array<int, 2> outcomes{};
    for (int i = 0; i < 1000; ++i) {
      (void)ready.try_send(1);
      try {
        EXPECT_EQ(select(closed.on_send(1, kUnreachable), ready.on_recv(kNothing)), 1U);
        ++outcomes[0];
      } catch (const weft::RuntimePanic& panic) {
        EXPECT_STREQ(panic.what(), "send on closed channel");
        ++outcomes[1];
      }
    }
    EXPECT_EQ(outcomes[0] + outcomes[1], 1000);
    EXPECT_LT(chi_square(outcomes), 24) << outcomes[0] << ' ' << outcomes[1];  // p = 1e-6
    for (int i = 0; i < 100; ++i) {
      EXPECT_THROW(select(closed.on_send(1, kUnreachable), on_default(kUnreachable)), weft::RuntimePanic);
    }
  });
}

// Rules: SEL-10
TEST(SelectTest, WithdrawalLeavesWaitersAheadAndBehind) {
  everywhere([] {
    const Chan<int> shared = make_chan<int>();
    const Chan<int> wake = make_chan<int>();
    std::array<int, 4> got{};
    WaitGroup wg;
    WaitGroup selecting;
    // plain, select, plain, select, plain, select, plain: the selects leave through the other channel
    for (std::size_t i = 0; i < got.size(); ++i) {
      go_parked(wg, [&, i] { got[i] = *shared.recv(); });
      if (i + 1 < got.size()) {
        go_parked(selecting, [&] { select(shared.on_recv(kUnreachable), wake.on_recv(kNothing)); });
      }
    }
    for (int i = 0; i < 3; ++i) wake.send(i);
    selecting.wait();
    for (std::size_t i = 0; i < got.size(); ++i) shared.send(static_cast<int>(i) + 1);
    wg.wait();
    EXPECT_EQ(got, (std::array<int, 4>{1, 2, 3, 4}));

    // The same for senders.
    for (int i = 0; i < 4; ++i) {
      go_parked(wg, [&, i] { shared.send(i); });
      if (i < 3) go_parked(selecting, [&] { select(wake.on_recv(kNothing), shared.on_send(99, kUnreachable)); });
    }
    for (int i = 0; i < 3; ++i) wake.send(i);
    selecting.wait();
    for (int i = 0; i < 4; ++i) EXPECT_EQ(*shared.recv(), i);
    wg.wait();
    EXPECT_EQ(shared.try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: SEL-10, SEL-11
TEST(SelectTest, SelectDuplicateChannel) {
  everywhere([] {
    const Chan<int> c = make_chan<int>();
    const Chan<int> d = make_chan<int>();
    const Chan<int> e = make_chan<int>();
    WaitGroup a;
    WaitGroup b;
    go_parked(a, [&] {  // goroutine A selects on c twice
      EXPECT_EQ(select(c.on_recv(kUnreachable), c.on_recv(kUnreachable), d.on_recv(kNothing)), 2U);
      e.send(9);
    });
    int got = 0;
    go_parked(b, [&] { got = *c.recv(); });  // goroutine B waits behind it
    d.send(7);                               // wakes A
    EXPECT_EQ(*e.recv(), 9);
    c.send(8);  // reaches B, not a remnant of A
    b.wait();
    a.wait();
    EXPECT_EQ(got, 8);
  });
}

// Rules: SEL-10
TEST(SelectTest, Select6) {
  weft::run([] {
    const Chan<bool> c1 = make_chan<bool>();
    const Chan<bool> c2 = make_chan<bool>();
    const Chan<bool> c3 = make_chan<bool>();
    const Chan<bool> c4 = make_chan<bool>();
    WaitGroup wg;
    wg.go([&] { c1.recv(); });
    wg.go([&] {
      select(c1.on_recv(kUnreachable), c2.on_recv([&] { c3.send(true); }));
      c1.recv();
    });
    // This one waits until the select is parked: then both c1.recv are served below.
    wg.go([&] { c2.send(true); });
    // In Go's test the first goroutine is already waiting on c1; a value on c1 is only sent after c3.
    c3.recv();
    c1.send(true);
    c1.send(true);
    wg.go([&] { c1.send(true); });
    wg.go([&] {
      select(c1.on_send(true, kUnreachable), c2.on_recv([&] { c4.send(true); }));
      c1.send(true);
    });
    wg.go([&] { c2.send(true); });
    c4.recv();
    c1.recv();
    c1.recv();
    wg.wait();
  });
}

// Rules: SEL-13, SEL-12
TEST(SelectTest, NoRendezvousWithItself) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    EXPECT_EQ(select(ch.on_send(1, kUnreachable), ch.on_recv(kUnreachable), on_default(kNothing)), 2U);
    EXPECT_EQ(select(ch.on_send(1, kUnreachable), ch.on_recv(kUnreachable), on_timeout(1ms, kNothing)), 2U);
    // Parked so, it serves a partner of either direction.
    WaitGroup wg;
    std::size_t chosen = 9;
    const auto both = [&] { chosen = select(ch.on_send(1, kNothing), ch.on_recv(kNothing)); };
    go_parked(wg, both);
    EXPECT_EQ(*ch.recv(), 1);
    wg.wait();
    EXPECT_EQ(chosen, 0U);
    go_parked(wg, both);
    ch.send(2);
    wg.wait();
    EXPECT_EQ(chosen, 1U);
    // Through a buffer it may.
    const Chan<int> buffered = make_chan<int>(1);
    EXPECT_EQ(select(buffered.on_send(1, kNothing), buffered.on_recv(kUnreachable)), 0U);
    EXPECT_EQ(select(buffered.on_send(1, kUnreachable), buffered.on_recv(kNothing)), 1U);
  });
}

// Rules: SEL-14
TEST(SelectTest, OneCaseIsThePlainOperation) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    // open, ready
    EXPECT_EQ(select(ch.on_send(1, kNothing)), 0U);
    Received<int> got;
    EXPECT_EQ(select(ch.on_recv(got)), 0U);
    EXPECT_EQ(got.value_or(0), 1);
    // open, not ready: parks
    std::atomic<int> done{0};
    WaitGroup wg;
    go_parked(wg, [&] {
      Received<int> value;
      select(ch.on_recv(value));
      done = value.value_or(-1);
    });
    EXPECT_EQ(done, 0);
    ch.send(2);
    wg.wait();
    EXPECT_EQ(done, 2);
    ch.send(3);
    go_parked(wg, [&] {
      select(ch.on_send(4, kNothing));
      done = 4;
    });
    EXPECT_EQ(done, 2);
    EXPECT_EQ(*ch.recv(), 3);
    wg.wait();
    EXPECT_EQ(done, 4);
    EXPECT_EQ(*ch.recv(), 4);
    // with a default: the non-blocking form
    EXPECT_EQ(select(ch.on_recv(kUnreachable), on_default(kNothing)), 1U);
    EXPECT_EQ(select(ch.on_send(5, kNothing), on_default(kUnreachable)), 0U);
    EXPECT_EQ(select(ch.on_send(6, kUnreachable), on_default(kNothing)), 1U);
    EXPECT_EQ(select(ch.on_recv(got), on_default(kUnreachable)), 0U);
    EXPECT_EQ(got.value_or(0), 5);
    // closed
    ch.close();
    EXPECT_EQ(select(ch.on_recv(got)), 0U);
    EXPECT_EQ(got.status(), ChanStatus::closed);
    EXPECT_THROW(select(ch.on_send(1, kUnreachable)), weft::RuntimePanic);
    // nil, with a default
    const Chan<int> none;
    EXPECT_EQ(select(none.on_recv(kUnreachable), on_default(kNothing)), 1U);
    EXPECT_EQ(select(none.on_send(1, kUnreachable), on_default(kNothing)), 1U);
  });
}

// Rules: SEL-15
TEST(SelectTest, BreakLeavesTheSwitchNotTheLoop) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    int n = 0;
    for (;;) {
      switch (select(ch.on_send(1), on_default([] {}))) {
        case 0:
          break;
        default:
          (void)ch.recv();
          break;
      }
      if (++n == 3) break;
    }
    EXPECT_EQ(n, 3);
  });
}

// Rules: SEL-1, HZ-7
TEST(SelectTest, HandlersRunUnlockedAndWithdrawn) {
  // A handler may use every channel of its own select, select again, and park.
  everywhere([] {
    const Chan<int> a = make_chan<int>(1);
    const Chan<int> b = make_chan<int>(1);
    const Chan<int> rendezvous = make_chan<int>();
    a.send(1);
    int order = 0;
    select(b.on_recv(kUnreachable), rendezvous.on_recv(kUnreachable), a.on_recv([&](const Received<int>& got) {
      EXPECT_EQ(got.value_or(0), 1);
      EXPECT_EQ(a.try_send(2), ChanStatus::ok);
      EXPECT_EQ(rendezvous.try_send(3), ChanStatus::would_block);  // its own registration is gone
      b.send(4);
      select(b.on_recv([&] { order = order * 10 + 1; }), rendezvous.on_recv(kUnreachable));
      WaitGroup wg;
      wg.go([&] { rendezvous.send(5); });
      EXPECT_EQ(*rendezvous.recv(), 5);  // parks
      wg.wait();
      order = order * 10 + 2;
    }));
    EXPECT_EQ(order, 12);
    EXPECT_EQ(*a.recv(), 2);

    // The same after having been parked.
    WaitGroup wg;
    go_parked(wg, [&] {
      select(a.on_recv(kUnreachable), rendezvous.on_recv([&] {
        EXPECT_EQ(a.try_send(6), ChanStatus::ok);
        EXPECT_EQ(*a.recv(), 6);
        order = 3;
      }));
    });
    rendezvous.send(1);
    wg.wait();
    EXPECT_EQ(order, 3);
  });
}

// Rules: SEL-1, HZ-10
TEST(SelectTest, ExceptionOfAHandlerLeavesNothingBehind) {
  everywhere([] {
    const Chan<int> a = make_chan<int>(2);
    const Chan<int> b = make_chan<int>();
    a.send(1);
    a.send(2);
    for (int i = 1; i <= 2; ++i) {
      try {
        select(b.on_recv(kUnreachable),
               a.on_recv([](const Received<int>& got) { throw std::runtime_error(std::to_string(*got)); }));
        ADD_FAILURE() << "swallowed";
      } catch (const std::runtime_error& error) {
        EXPECT_EQ(error.what(), std::to_string(i));
      }
    }
    EXPECT_THROW(select(b.on_recv(kUnreachable), on_default([] { throw std::runtime_error("default"); })),
                 std::runtime_error);
    EXPECT_THROW(select(b.on_recv(kUnreachable), on_timeout(1ms, [] { throw std::runtime_error("late"); })),
                 std::runtime_error);
    EXPECT_EQ(b.try_send(1), ChanStatus::would_block);
    EXPECT_EQ(a.size(), 0U);
    WaitGroup wg;
    go_parked(wg, [&] {
      EXPECT_THROW(select(a.on_recv(kUnreachable), b.on_recv([] { throw std::runtime_error("parked"); })),
                   std::runtime_error);
    });
    b.send(1);
    wg.wait();
    EXPECT_EQ(a.try_send(1), ChanStatus::ok);
    EXPECT_EQ(a.size(), 1U);
  });
}

// Rules: SEL-17, CH-17
TEST(SelectTest, LosingDestinationKeepsItsValueWhenAnotherCaseFires) {
  weft::run([] {
    const Chan<std::unique_ptr<int>> pointers = make_chan<std::unique_ptr<int>>(1);
    const Chan<int> closing = make_chan<int>();
    pointers.send(std::make_unique<int>(42));
    Received<std::unique_ptr<int>> destination = pointers.recv();
    int* const address = destination->get();
    WaitGroup wg;
    go_parked(wg, [&] {
      Received<int> closed;
      EXPECT_EQ(select(pointers.on_recv(destination), closing.on_recv(closed)), 1U);
      EXPECT_EQ(closed.status(), ChanStatus::closed);
    });
    closing.close();
    wg.wait();
    ASSERT_TRUE(destination);
    EXPECT_EQ(destination->get(), address);
    EXPECT_EQ(**destination, 42);
  });
}

// Rules: SEL-17
TEST(SelectTest, ValuesWithPointersIntoThemselvesArriveAtAParkedSelect) {
  weft::run([] {
    weft::test::Tally tally;
    const std::size_t count = rounds(std::size_t{1000});
    {
      const auto a = make_chan<weft::test::AlignedCounted>();
      const auto b = make_chan<weft::test::AlignedCounted>();
      const Chan<int> done = make_chan<int>();
      std::size_t next = 0;
      WaitGroup wg;
      const std::uint64_t reader = go_parked(wg, [&] {
        for (bool open = true; open;) {
          Received<weft::test::AlignedCounted> got;
          if (select(a.on_recv(got), b.on_recv(got), done.on_recv([&] { open = false; })) != 2) {
            EXPECT_EQ(got->id(), next);
            ++next;
          }
        }
      });
      for (std::size_t i = 0; i < count; ++i) {
        weft::testing::wait_parked(reader);
        (i % 2 == 0 ? a : b).send(weft::test::AlignedCounted(tally, i));
      }
      done.close();
      wg.wait();
      EXPECT_EQ(next, count);
    }
    EXPECT_TRUE(weft::test::all_destroyed_once(tally, count));
  });
}

template <std::size_t N>
using Chans = std::array<Chan<int>, N>;

template <std::size_t N, std::size_t... I>
std::size_t select_all(const Chans<N>& chans, Received<int>& got, std::index_sequence<I...>) {
  return select(chans[I].on_recv(got)...);
}

template <std::size_t N>
void check_wide_select() {
  Chans<N> chans;
  for (Chan<int>& ch : chans) ch = make_chan<int>(1);
  weft::test::Lcg random;
  for (int round = 0; round < rounds(100); ++round) {
    const std::size_t ready = random.below(N);
    chans[ready].send(round);
    Received<int> got;
    EXPECT_EQ(select_all(chans, got, std::make_index_sequence<N>()), ready);
    EXPECT_EQ(got.value_or(-1), round);
  }
  // Parked over all of them.
  WaitGroup wg;
  for (int round = 0; round < rounds(100); ++round) {
    const std::size_t ready = random.below(N);
    std::size_t index = N;
    go_parked(wg, [&] {
      Received<int> got;
      index = select_all(chans, got, std::make_index_sequence<N>());
      EXPECT_EQ(got.value_or(-1), round);
    });
    chans[ready].send(round);
    wg.wait();
    EXPECT_EQ(index, ready);
  }
  for (const Chan<int>& ch : chans) EXPECT_EQ(ch.size(), 0U);
}

// Rules: SEL-18
TEST(SelectTest, ManyCases) {
  everywhere([] {
    check_wide_select<2>();
    check_wide_select<9>();
    check_wide_select<64>();
    check_wide_select<200>();
  });
}

// Rules: SEL-22, TM-2
TEST(SelectTest, TimeoutFiresWhenNothingElseDoesAndNeverEarly) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    for (const std::chrono::milliseconds wait : {1ms, 10ms}) {
      int timeouts = 0;
      const auto start = std::chrono::steady_clock::now();
      EXPECT_EQ(select(ch.on_recv(kUnreachable), on_timeout(wait, [&] { ++timeouts; }), ch.on_send(1, kUnreachable)),
                1U);
      EXPECT_GE(std::chrono::steady_clock::now() - start, wait);
      EXPECT_EQ(timeouts, 1);
    }
    EXPECT_EQ(select(on_timeout(1ms, kNothing)), 0U);
    EXPECT_EQ(ch.try_send(1), ChanStatus::would_block);
    EXPECT_EQ(ch.try_recv().status(), ChanStatus::would_block);
  });
}

// Rules: SEL-22
TEST(SelectTest, TimeoutWithNoTimeLeftIsChosenOnlyWhenNothingIsReady) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>(1);
    for (const std::chrono::nanoseconds none : {0ns, -1ns, std::chrono::nanoseconds::min()}) {
      for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(select(on_timeout(none, kNothing), ch.on_recv(kUnreachable)), 0U);
        EXPECT_EQ(select(on_timeout(none, kUnreachable), ch.on_send(i, kNothing)), 1U);
        EXPECT_EQ(select(ch.on_recv(kNothing), on_timeout(none, kUnreachable)), 0U);
      }
    }
  });
}

// Rules: SEL-22, HZ-12
TEST(SelectTest, TimeoutsFarAwayDoNotWrap) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    WaitGroup wg;
    go_parked(wg, [&] {
      EXPECT_EQ(select(on_timeout(std::chrono::nanoseconds::max(), kUnreachable), ch.on_recv(kNothing)), 1U);
      EXPECT_EQ(select(on_timeout(std::chrono::hours::max(), kUnreachable), ch.on_recv(kNothing)), 1U);
    });
    ch.send(1);
    ch.send(2);
    wg.wait();
  });
}

// Rules: SEL-22
TEST(SelectTest, TheEarliestOfSeveralTimeoutsWins) {
  everywhere([] {
    const Chan<int> ch = make_chan<int>();
    EXPECT_EQ(select(on_timeout(1h, kUnreachable), ch.on_recv(kUnreachable), on_timeout(2ms, kNothing)), 2U);
    EXPECT_EQ(select(on_timeout(2ms, kNothing), on_timeout(1h, kUnreachable)), 0U);
  });
}

// Rules: SEL-9, CH-10
TEST(SelectTest, WorksBetweenThreadsAndGoroutines) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        const Chan<int> request = make_chan<int>();
        const Chan<int> reply = make_chan<int>();
        const Chan<int> quiet = make_chan<int>();
        Task server(peer, [&] {
          for (bool open = true; open;) {
            select(quiet.on_recv(kUnreachable), request.on_recv([&](const Received<int>& got) {
              if (!got) {
                open = false;
              } else {
                select(quiet.on_recv(kUnreachable), reply.on_send(*got * 2, kNothing), on_timeout(1h, kUnreachable));
              }
            }));
          }
        });
        for (int i = 0; i < 200; ++i) {
          select(request.on_send(i, kNothing), quiet.on_recv(kUnreachable));
          Received<int> got;
          select(on_timeout(1h, kUnreachable), reply.on_recv(got), quiet.on_recv(kUnreachable));
          EXPECT_EQ(got.value_or(-1), 2 * i);
        }
        request.close();
      });
    }
  }
}

}  // namespace

// select under contention: one case fires, none is lost, and the verdict "nothing is ready" is true at some instant.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
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
using weft::select;
using weft::WaitGroup;
using weft::test::Counted;
using weft::test::go_parked;
using weft::test::kEverywhere;
using weft::test::Lcg;
using weft::test::On;
using weft::test::rounds;
using weft::test::run_on;
using weft::test::Tally;
using weft::test::Task;

const auto kNothing = [] {};
const auto kUnreachable = [] { ADD_FAILURE() << "this case cannot go"; };

// Rules: SEL-5
TEST(SelectRaceTest, NonblockSelectRace) {
  weft::run([] {
    // At every instant c1 or c2 holds a value: the default must never win.
    const int count = rounds(100'000);
    int defaults = 0;
    const Chan<bool> done = make_chan<bool>(1);
    for (int i = 0; i < count; ++i) {
      const Chan<int> c1 = make_chan<int>(1);
      const Chan<int> c2 = make_chan<int>(1);
      c1.send(1);
      weft::go([c1, c2, done] {
        bool found = true;
        select(c1.on_recv(), c2.on_recv(), on_default([&] { found = false; }));
        done.send(found);
      });
      c2.send(1);
      select(c1.on_recv(), on_default(kNothing));
      if (!*done.recv()) ++defaults;
    }
    EXPECT_EQ(defaults, 0);
  });
}

// Rules: SEL-5
TEST(SelectRaceTest, NonblockSelectRaceWithClose) {
  weft::run([] {
    const int count = rounds(100'000);
    int defaults = 0;
    const Chan<bool> done = make_chan<bool>(1);
    for (int i = 0; i < count; ++i) {
      const Chan<int> c1 = make_chan<int>(1);
      const Chan<int> c2 = make_chan<int>();
      c1.send(1);
      weft::go([c1, c2, done] {
        bool found = true;
        select(c1.on_recv(), c2.on_recv(), on_default([&] { found = false; }));
        done.send(found);
      });
      c2.close();
      select(c1.on_recv(), on_default(kNothing));
      if (!*done.recv()) ++defaults;
    }
    EXPECT_EQ(defaults, 0);
  });
}

// Rules: SEL-5
TEST(SelectRaceTest, NonblockSelectRaceBetweenThreads) {
  // The two sides are threads (or a thread and a goroutine) that are running already when a round begins.
  struct Pair {
    Chan<int> c1;
    Chan<int> c2;
  };
  for (const On peer : kEverywhere) {
    for (const bool closing : {false, true}) {
      const Chan<Pair> fresh = make_chan<Pair>();
      const Chan<bool> done = make_chan<bool>();
      Task other(peer, [&] {
        for (const Pair& pair : fresh) {
          bool found = true;
          select(pair.c1.on_recv(), pair.c2.on_recv(), on_default([&] { found = false; }));
          done.send(found);
        }
      });
      int defaults = 0;
      const int count = rounds(5'000);
      for (int i = 0; i < count; ++i) {
        const Pair pair{make_chan<int>(1), make_chan<int>(1)};
        pair.c1.send(1);
        fresh.send(pair);
        closing ? pair.c2.close() : pair.c2.send(1);
        select(pair.c1.on_recv(), on_default(kNothing));
        if (!*done.recv()) ++defaults;
      }
      fresh.close();
      EXPECT_EQ(defaults, 0);
    }
  }
}

// Rules: SEL-5
TEST(SelectRaceTest, NonblockSendSelectRace) {
  // The mirror image: at every instant there is room in c1 or in c2.
  weft::run([] {
    const int count = rounds(20'000);
    int defaults = 0;
    const Chan<bool> done = make_chan<bool>(1);
    for (int i = 0; i < count; ++i) {
      const Chan<int> c1 = make_chan<int>(1);
      const Chan<int> c2 = make_chan<int>(1);
      c2.send(0);
      weft::go([c1, c2, done] {
        bool found = true;
        select(c2.on_send(1), c1.on_send(1), on_default([&] { found = false; }));
        done.send(found);
      });
      (void)c2.try_recv();
      (void)c1.try_send(2);
      if (!*done.recv()) ++defaults;
    }
    EXPECT_EQ(defaults, 0);
  });
}

// Rules: SEL-12
TEST(SelectRaceTest, SelfSelect) {
  // Two goroutines that both send and receive on one channel: they find each other, and without a buffer nobody
  // receives its own value.
  weft::run([] {
    const int count = rounds(1000);
    for (const std::size_t capacity : {0U, 10U}) {
      const Chan<int> ch = make_chan<int>(capacity);
      std::array<std::atomic<int>, 2> sent{};
      std::array<std::atomic<int>, 2> received{};
      std::atomic<int> own{0};
      WaitGroup wg;
      for (std::size_t me = 0; me < 2; ++me) {
        wg.go([&, me] {
          const auto take = [&](const Received<int>& got) {
            const auto from = static_cast<std::size_t>(got.value_or(-1));
            if (from == me) ++own;
            ++received.at(from);
          };
          const auto give = [&] { ++sent[me]; };
          for (int i = 0; i < count; ++i) {
            if (me == 0) {
              select(ch.on_send(static_cast<int>(me), give), ch.on_recv(take));
            } else {
              select(ch.on_recv(take), ch.on_send(static_cast<int>(me), give));
            }
          }
        });
      }
      wg.wait();
      EXPECT_EQ(sent[0] + sent[1] + received[0] + received[1], 2 * count);
      EXPECT_EQ(static_cast<std::size_t>(sent[0] + sent[1] - received[0] - received[1]), ch.size());
      if (capacity == 0) {
        EXPECT_EQ(own, 0);
        EXPECT_EQ(received[0], sent[0]);
        EXPECT_EQ(received[1], sent[1]);
      }
    }
  });
}

// Rules: SEL-16, SEL-7, SEL-9
TEST(SelectRaceTest, SelectStress) {
  weft::run([] {
    const int count = rounds(10'000);
    std::array<Chan<int>, 4> ch{make_chan<int>(), make_chan<int>(), make_chan<int>(2), make_chan<int>(3)};
    WaitGroup wg;
    for (const Chan<int>& each : ch) {
      wg.go([&each, count] {
        for (int i = 0; i < count; ++i) each.send(0);
      });
      wg.go([&each, count] {
        for (int i = 0; i < count; ++i) (void)each.recv();
      });
    }
    wg.go([ch, count]() mutable {
      std::array<int, 4> n{};
      for (int i = 0; i < 4 * count; ++i) {
        const std::size_t index = select(ch[3].on_send(0), ch[2].on_send(0), ch[0].on_send(0), ch[1].on_send(0));
        constexpr std::array<std::size_t, 4> kChannel{3, 2, 0, 1};
        const std::size_t which = kChannel[index];
        if (++n[which] == count) ch[which] = nullptr;
      }
    });
    wg.go([ch, count]() mutable {
      std::array<int, 4> n{};
      for (int i = 0; i < 4 * count; ++i) {
        const std::size_t which = select(ch[0].on_recv(), ch[1].on_recv(), ch[2].on_recv(), ch[3].on_recv());
        if (++n[which] == count) ch[which] = nullptr;
      }
    });
    wg.wait();
    for (const Chan<int>& each : ch) EXPECT_EQ(each.size(), 0U);
  });
}

// Rules: SEL-9
TEST(SelectRaceTest, Doubleselect) {
  weft::run([] {
    const int count = rounds(100'000);
    std::array<Chan<int>, 4> ch{make_chan<int>(), make_chan<int>(), make_chan<int>(), make_chan<int>()};
    const Chan<int> merged = make_chan<int>();
    WaitGroup forwarders;
    for (const Chan<int>& from : ch) {
      forwarders.go([&from, &merged] {
        for (const int value : from) merged.send(value);
      });
    }
    weft::go([&] {
      for (int i = 0; i < count; ++i) select(ch[0].on_send(i), ch[1].on_send(i), ch[2].on_send(i), ch[3].on_send(i));
      for (const Chan<int>& each : ch) each.close();
      forwarders.wait();
      merged.close();
    });
    std::vector<std::uint8_t> seen(static_cast<std::size_t>(count));
    int duplicates = 0;
    int total = 0;
    for (const int value : merged) {
      if (seen.at(static_cast<std::size_t>(value))++ != 0) ++duplicates;
      ++total;
    }
    EXPECT_EQ(duplicates, 0);
    EXPECT_EQ(total, count);
  });
}

// Rules: SEL-9
TEST(SelectRaceTest, ParkedSelectIsClaimedByOneOfManySenders) {
  // A select parked over four channels, four senders at once: it gets one value, the others keep theirs.
  weft::run([] {
    const int count = rounds(5'000);
    for (int round = 0; round < count; ++round) {
      std::array<Chan<int>, 4> ch{make_chan<int>(), make_chan<int>(), make_chan<int>(), make_chan<int>()};
      std::atomic<int> received{0};
      WaitGroup receiver;
      go_parked(receiver, [&] {
        const auto take = [&] { ++received; };
        select(ch[0].on_recv(take), ch[1].on_recv(take), ch[2].on_recv(take), ch[3].on_recv(take));
      });
      std::atomic<int> delivered{0};
      WaitGroup senders;
      for (const Chan<int>& each : ch) {
        senders.go([&] {
          if (each.try_send(1) == ChanStatus::ok) ++delivered;
        });
      }
      senders.wait();
      receiver.wait();
      ASSERT_EQ(delivered, 1);
      ASSERT_EQ(received, 1);
    }
  });
}

// Rules: SEL-9, SEL-11
TEST(SelectRaceTest, SelectsMeetSelects) {
  // Both sides select over the same channels in different orders: every send is one receive.
  weft::run([] {
    const int count = rounds(20'000);
    const Chan<int> a = make_chan<int>();
    const Chan<int> b = make_chan<int>();
    const Chan<int> c = make_chan<int>();
    const Chan<int> stop = make_chan<int>();
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
    WaitGroup senders;
    WaitGroup receivers;
    for (int peer = 0; peer < 3; ++peer) {
      senders.go([&, peer] {
        for (int i = 1; i <= count; ++i) {
          if (peer == 0) {
            select(a.on_send(i), b.on_send(i), c.on_send(i));
          } else if (peer == 1) {
            select(c.on_send(i), b.on_send(i), a.on_send(i));
          } else {
            select(b.on_send(i), c.on_send(i), b.on_send(i));
          }
          sent += i;
        }
      });
      receivers.go([&, peer] {
        const auto take = [&](const Received<int>& got) { received += got.value_or(0); };
        for (bool open = true; open;) {
          const auto leave = [&] { open = false; };
          if (peer == 0) {
            select(a.on_recv(take), stop.on_recv(leave), c.on_recv(take), b.on_recv(take));
          } else {
            select(b.on_recv(take), c.on_recv(take), a.on_recv(take), stop.on_recv(leave), a.on_recv(take));
          }
        }
      });
    }
    senders.wait();
    stop.close();
    receivers.wait();
    EXPECT_EQ(sent, received);
    EXPECT_EQ(sent, std::int64_t{3} * count * (count + 1) / 2);
  });
}

constexpr std::size_t kWide = 16;

/// Selects over all of the channels, the first case being the one at `from`.
template <std::size_t... I>
std::size_t send_to_any(const std::array<Chan<int>, kWide>& ch, std::size_t from, int value,
                        std::index_sequence<I...>) {
  return select(ch[(from + I) % kWide].on_send(value)...);
}
template <std::size_t... I>
std::size_t recv_from_any(const std::array<Chan<int>, kWide>& ch, std::size_t from, Received<int>& got,
                          std::index_sequence<I...>) {
  return select(ch[(from + I) % kWide].on_recv(got)...);
}

// Rules: SEL-9, SEL-18, SEL-11
TEST(SelectRaceTest, WideSelectsMeetWideSelects) {
  // Everybody locks sixteen channels, each in another order of the source; some channels are listed elsewhere by the
  // plain forms. A lock taken in the wrong order, or twice, hangs here.
  weft::run([] {
    std::array<Chan<int>, kWide> ch;
    for (std::size_t i = 0; i < kWide; ++i) ch[i] = make_chan<int>(i % 4);
    const int count = rounds(4'000);
    std::atomic<std::int64_t> sent{0};
    std::atomic<std::int64_t> received{0};
    WaitGroup senders;
    WaitGroup receivers;
    for (std::size_t peer = 0; peer < 4; ++peer) {
      senders.go([&, peer] {
        Lcg random(peer + 1);
        for (int i = 1; i <= count; ++i) {
          if (i % 8 == 0) {
            ch[random.below(kWide)].send(i);
          } else {
            send_to_any(ch, random.below(kWide), i, std::make_index_sequence<kWide>());
          }
          sent += i;
        }
      });
      receivers.go([&, peer] {
        Lcg random(peer + 100);
        for (;;) {
          Received<int> got;
          recv_from_any(ch, random.below(kWide), got, std::make_index_sequence<kWide>());
          if (!got) break;
          received += *got;
        }
      });
    }
    senders.wait();
    // What is left in the buffers is drained here: a receiver leaves at the first closed channel that it draws.
    for (const Chan<int>& each : ch) each.close();
    receivers.wait();
    for (const Chan<int>& each : ch) {
      for (const int value : each) received += value;
    }
    EXPECT_EQ(sent, received);
    EXPECT_EQ(sent, std::int64_t{4} * count * (count + 1) / 2);
  });
}

// Rules: SEL-11
TEST(SelectRaceTest, SixCasesOverTwoChannelsMatchEachPartnerOnce) {
  for (const On peer : kEverywhere) {
    weft::run([&] {
      const int count = rounds(10'000);
      const Chan<int> c = make_chan<int>();
      const Chan<int> d = make_chan<int>();
      std::array<int, 6> fired{};
      WaitGroup wg;
      wg.go([&] {
        for (int i = 0; i < count; ++i) {
          ++fired[select(c.on_recv(), c.on_send(1), d.on_recv(), c.on_recv(), d.on_send(2), c.on_send(3))];
        }
      });
      int sent_c = 0;
      int sent_d = 0;
      int got_1_or_3 = 0;
      int got_2 = 0;
      Task partner(peer, [&] {
        for (int i = 0; i < count; ++i) {
          switch (i % 4) {
            case 0:
              c.send(0);
              ++sent_c;
              break;
            case 1: {
              const int value = *c.recv();
              got_1_or_3 += value == 1 || value == 3 ? 1 : 0;
              break;
            }
            case 2:
              d.send(0);
              ++sent_d;
              break;
            default:
              got_2 += *d.recv() == 2 ? 1 : 0;
          }
        }
      });
      partner.join();
      wg.wait();
      EXPECT_EQ(fired[0] + fired[3], sent_c);
      EXPECT_EQ(fired[1] + fired[5], got_1_or_3);
      EXPECT_EQ(fired[2], sent_d);
      EXPECT_EQ(fired[4], got_2);
      EXPECT_EQ(sent_c + sent_d + got_1_or_3 + got_2, count);
      EXPECT_EQ(c.try_recv().status(), ChanStatus::would_block);
      EXPECT_EQ(d.try_send(1), ChanStatus::would_block);
    });
  }
}

// Rules: SEL-10, SEL-11
TEST(SelectRaceTest, SelectDuplicateChannelUnderContention) {
  weft::run([] {
    const int count = rounds(5'000);
    for (int round = 0; round < count; ++round) {
      const Chan<int> c = make_chan<int>();
      const Chan<int> d = make_chan<int>();
      const Chan<int> stop = make_chan<int>();
      std::atomic<int> from_c{0};
      std::atomic<int> from_d{0};
      std::atomic<int> into_d{0};
      WaitGroup wg;
      const auto take_c = [&](const Received<int>& got) { from_c += got.value_or(0); };
      wg.go([&] {
        select(c.on_recv(take_c), c.on_recv(take_c), d.on_recv([&](const Received<int>& got) { from_d += *got; }));
      });
      wg.go([&] { take_c(c.recv()); });
      wg.go([&] { select(d.on_send(7, [&] { into_d += 7; }), stop.on_recv()); });
      c.send(8);  // for the select or for the plain receiver; the select may have gone through d
      c.close();  // whoever still waits for c goes
      stop.close();
      wg.wait();
      ASSERT_EQ(from_c, 8);
      ASSERT_EQ(from_d, into_d);
    }
  });
}

// Rules: SEL-9, SEL-22, I4
TEST(SelectRaceTest, TimeoutsRacingWithValuesLoseNothing) {
  for (const On sender : kEverywhere) {
    for (const On receiver : kEverywhere) {
      const int count = rounds(2'000);
      const auto ch = make_chan<std::unique_ptr<int>>();
      const Chan<int> quiet = make_chan<int>();
      Task producer(sender, [&] {
        Lcg random(3);
        for (int i = 0; i < count; ++i) {
          auto value = std::make_unique<int>(i);
          bool sent = false;
          while (!sent) {
            select(quiet.on_recv(kUnreachable), ch.on_send(std::move(value), [&] { sent = true; }),
                   on_timeout(std::chrono::nanoseconds(random.below(30'000)), kNothing));
            if ((value == nullptr) != sent) {
              ADD_FAILURE() << "value " << i << (sent ? " sent and kept" : " taken and not sent");
              ch.close();
              return;
            }
          }
        }
        ch.close();
      });
      int next = 0;
      run_on(receiver, [&] {
        Lcg random(4);
        for (bool open = true; open;) {
          select(on_timeout(std::chrono::nanoseconds(random.below(30'000)), kNothing), quiet.on_recv(kUnreachable),
                 ch.on_recv([&](const Received<std::unique_ptr<int>>& got) {
                   if (!got) {
                     open = false;
                     return;
                   }
                   EXPECT_EQ(**got, next);
                   ++next;
                 }));
        }
      });
      EXPECT_EQ(next, count);
      EXPECT_EQ(quiet.try_send(1), ChanStatus::would_block);
    }
  }
}

// Rules: SEL-9, SEL-8, I4
TEST(SelectRaceTest, CloseRacingWithValuesAndTimeouts) {
  weft::run([] {
    Tally tally;
    const int count = rounds(3'000);
    Lcg random;
    for (int round = 0; round < count; ++round) {
      const auto a = make_chan<Counted>();
      const auto b = make_chan<Counted>(1);
      const auto patience = std::chrono::nanoseconds(random.below(20'000));
      std::atomic<int> sent{0};
      std::atomic<int> received{0};
      std::atomic<int> ended{0};
      WaitGroup wg;
      for (std::size_t i = 0; i < 2; ++i) {
        wg.go([&, i] {
          try {
            select(a.on_send(Counted(tally, i), [&] { ++sent; }), b.on_send(Counted(tally, i), [&] { ++sent; }),
                   on_timeout(patience, kNothing));
          } catch (const weft::RuntimePanic&) {
          }
          ++ended;
        });
        wg.go([&] {
          const auto take = [&](const Received<Counted>& got) { received += got ? 1 : 0; };
          select(b.on_recv(take), a.on_recv(take), on_timeout(patience, kNothing));
          ++ended;
        });
      }
      if (round % 2 == 0) weft::yield();
      a.close();
      b.close();
      wg.wait();
      while (b.recv()) ++received;
      ASSERT_EQ(ended, 4);
      ASSERT_EQ(sent, received);
    }
    EXPECT_EQ(tally.live(), 0);
    EXPECT_EQ(tally.errors(), 0);
  });
}

// Rules: SEL-9, CH-24
TEST(SelectRaceTest, ValuesComeThroughSelectsExactlyOnce) {
  // Instances are counted on the way through selects on both sides, with losers on every round.
  weft::run([] {
    Tally tally;
    constexpr std::size_t kSenders = 3;
    const std::size_t each = rounds(std::size_t{1000});
    {
      const auto a = make_chan<Counted>();
      const auto b = make_chan<Counted>(2);
      const auto c = make_chan<Counted>();
      WaitGroup senders;
      WaitGroup receivers;
      for (std::size_t sender = 0; sender < kSenders; ++sender) {
        senders.go([&, sender] {
          for (std::size_t i = 0; i < each; ++i) {
            Counted value(tally, sender * each + i);
            // Three cases offer one value: whoever wins takes it, and only that one.
            select(a.on_send(std::move(value)), b.on_send(std::move(value)), c.on_send(std::move(value)));
            if (value.holds_value()) ADD_FAILURE() << "sent and kept";
          }
        });
      }
      for (int i = 0; i < 2; ++i) {
        receivers.go([&] {
          for (int open = 3; open > 0;) {
            Received<Counted> from_a;
            Received<Counted> from_c;
            select(a.on_recv(from_a), c.on_recv(from_c), b.on_recv([&](Received<Counted> got) {
              if (got && !got->holds_value()) ADD_FAILURE() << "a shell";
            }));
            if (from_a.status() == ChanStatus::closed || from_c.status() == ChanStatus::closed) open = 0;
          }
          while (b.recv()) {
          }
        });
      }
      senders.wait();
      a.close();
      b.close();
      c.close();
      receivers.wait();
    }
    EXPECT_TRUE(weft::test::all_destroyed_once(tally, kSenders * each));
  });
}

// Rules: SEL-9, HZ-5
TEST(SelectRaceTest, ChannelsMayGoTheMomentASelectReturns) {
  // Every handle but the partner's is dropped at once: under ASan a late touch of a losing channel shows.
  weft::run([] {
    const int count = rounds(20'000);
    for (int i = 0; i < count; ++i) {
      Chan<int> a = make_chan<int>();
      Chan<int> b = make_chan<int>(static_cast<std::size_t>(i % 2));
      weft::go([a, b]() mutable {
        select(a.on_send(1), b.on_send(2));
        a = nullptr;
        b = nullptr;
      });
      select(b.on_recv(), a.on_recv());
      a = nullptr;
      b = nullptr;
    }
  });
}

}  // namespace

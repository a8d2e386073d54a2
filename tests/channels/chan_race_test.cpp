// Channel races, by many short rounds on fresh channels: nothing lost, nothing twice, nobody left asleep, and never an
// answer that was true at no instant.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
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
using weft::Received;
using weft::Unit;
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

// Rules: CH-16
TEST(ChanRaceTest, TryRecvNeverSaysNotReadyWhileValueOrClosed) {
  weft::run([] {
    const int count = rounds(10'000);
    int not_ready = 0;
    for (int i = 0; i < count; ++i) {
      const Chan<int> ch = make_chan<int>(1);
      const Chan<bool> done = make_chan<bool>(1);
      ch.send(1);
      weft::go([ch, done] { done.send(ch.try_recv().status() != ChanStatus::would_block); });
      ch.close();
      (void)ch.recv();
      if (!*done.recv()) ++not_ready;
    }
    EXPECT_EQ(not_ready, 0);
  });
}

// Rules: CH-16
TEST(ChanRaceTest, SelectWithDefaultNeverSaysNotReadyWhileValueOrClosed) {
  weft::run([] {
    const int count = rounds(10'000);
    int not_ready = 0;
    for (int i = 0; i < count; ++i) {
      const Chan<int> ch = make_chan<int>(1);
      const Chan<bool> done = make_chan<bool>(1);
      ch.send(1);
      weft::go([ch, done] {
        bool ready = true;
        weft::select(ch.on_recv([] {}), weft::on_default([&] { ready = false; }));
        done.send(ready);
      });
      ch.close();
      (void)ch.recv();
      if (!*done.recv()) ++not_ready;
    }
    EXPECT_EQ(not_ready, 0);
  });
}

// Rules: CH-16
TEST(ChanRaceTest, TryRecvFromThreadsNeverSaysNotReadyWhileValueOrClosed) {
  // The same with the two sides on threads of their own, started once: a gate per round.
  const int count = rounds(10'000);
  const Chan<Chan<int>> fresh = make_chan<Chan<int>>();
  const Chan<bool> done = make_chan<bool>();
  std::thread other([&] {
    for (const Chan<int>& ch : fresh) done.send(ch.try_recv().status() != ChanStatus::would_block);
  });
  int not_ready = 0;
  for (int i = 0; i < count; ++i) {
    const Chan<int> ch = make_chan<int>(1);
    ch.send(1);
    fresh.send(ch);
    ch.close();
    (void)ch.recv();
    if (!*done.recv()) ++not_ready;
  }
  fresh.close();
  other.join();
  EXPECT_EQ(not_ready, 0);
}

// Rules: CH-16, CH-20
TEST(ChanRaceTest, TrySendNeverSaysFullWhileThereIsRoom) {
  weft::run([] {
    // cap 2 holding one value; the receiver only ever makes more room: a try_send must succeed.
    const int count = rounds(10'000);
    int refused = 0;
    for (int i = 0; i < count; ++i) {
      const Chan<int> ch = make_chan<int>(2);
      const Chan<bool> done = make_chan<bool>(1);
      ch.send(1);
      weft::go([ch, done] { done.send(ch.try_send(2) == ChanStatus::ok); });
      EXPECT_TRUE(ch.try_recv());
      if (!*done.recv()) ++refused;
    }
    EXPECT_EQ(refused, 0);
  });
}

// Rules: CH-5
TEST(ChanRaceTest, SizeStaysWithinTheCapacity) {
  weft::run([] {
    constexpr std::size_t kCapacity = 3;
    const Chan<int> ch = make_chan<int>(kCapacity);
    std::atomic<bool> stop{false};
    WaitGroup watchers;
    for (int i = 0; i < 2; ++i) {
      watchers.go([&] {
        while (!stop) {
          EXPECT_LE(ch.size(), kCapacity);
          EXPECT_EQ(ch.capacity(), kCapacity);
          weft::yield();
        }
      });
    }
    WaitGroup wg;
    const int count = rounds(5'000);
    for (int sender = 0; sender < 3; ++sender) {
      wg.go([&] {
        for (int i = 0; i < count; ++i) ch.send(i);
      });
      wg.go([&] {
        for (int i = 0; i < count; ++i) (void)ch.recv();
      });
    }
    wg.wait();
    stop = true;
    watchers.wait();
    EXPECT_EQ(ch.size(), 0U);
  });
}

// Rules: CH-24, CH-11
TEST(ChanRaceTest, EveryValueArrivesExactlyOncePerSender) {
  weft::run([] {
    constexpr std::size_t kPeers = 4;
    const std::size_t length = rounds(std::size_t{1000});
    for (const std::size_t capacity : {0U, 1U, 2U, 5U, 17U, 100U}) {
      const Chan<std::size_t> ch = make_chan<std::size_t>(capacity);
      const auto counts = make_chan<std::vector<std::size_t>>();
      for (std::size_t i = 0; i < kPeers; ++i) {
        weft::go([=] {
          for (std::size_t value = 0; value < length; ++value) ch.send(value);
        });
        weft::go([=] {
          std::vector<std::size_t> seen(length);
          std::size_t last = 0;
          for (std::size_t n = 0; n < length; ++n) {
            const std::size_t value = *ch.recv();
            if (value < seen.size()) ++seen[value];
            last = value;
          }
          EXPECT_LT(last, length);
          counts.send(std::move(seen));
        });
      }
      std::vector<std::size_t> total(length);
      for (std::size_t i = 0; i < kPeers; ++i) {
        const std::vector<std::size_t> seen = *counts.recv();
        for (std::size_t value = 0; value < length; ++value) total[value] += seen[value];
      }
      EXPECT_EQ(std::count(total.begin(), total.end(), kPeers), static_cast<std::ptrdiff_t>(length));
      EXPECT_EQ(ch.size(), 0U);
    }
  });
}

// Rules: CH-24, CH-12
TEST(ChanRaceTest, EachReceiverSeesEachSendersValuesInOrder) {
  weft::run([] {
    constexpr std::uint32_t kSenders = 4;
    struct Item {
      std::uint32_t sender;
      std::uint32_t number;
    };
    const auto length = static_cast<std::uint32_t>(rounds(5'000));
    for (const std::size_t capacity : {0U, 3U}) {
      const auto ch = make_chan<Item>(capacity);
      WaitGroup senders;
      WaitGroup receivers;
      std::atomic<std::uint64_t> received{0};
      std::atomic<int> disorder{0};
      for (int i = 0; i < 3; ++i) {
        receivers.go([&] {
          std::array<std::uint32_t, kSenders> next{};
          for (const Item& item : ch) {
            if (item.number < next[item.sender]) ++disorder;
            next[item.sender] = item.number + 1;
            ++received;
          }
        });
      }
      for (std::uint32_t sender = 0; sender < kSenders; ++sender) {
        senders.go([&, sender] {
          for (std::uint32_t i = 0; i < length; ++i) ch.send(Item{sender, i});
        });
      }
      senders.wait();
      ch.close();
      receivers.wait();
      EXPECT_EQ(disorder, 0);
      EXPECT_EQ(received, std::uint64_t{kSenders} * length);
    }
  });
}

// Rules: CH-24
TEST(ChanRaceTest, MultiConsumer) {
  weft::run([] {
    constexpr std::array<int, 23> kPrimes{3,  5,  7,  11, 13, 17, 19, 23, 29, 31, 37, 41,
                                          43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89};
    const int items = rounds(271'828);
    const Chan<int> queue = make_chan<int>(69);
    const Chan<int> results = make_chan<int>(69);
    WaitGroup workers;
    for (const int prime : kPrimes) {
      workers.go([&, prime] {
        for (const int value : queue) {
          if (value % prime == 0) weft::yield();  // some yield more often than others
          results.send(value);
        }
      });
    }
    std::int64_t expected = 0;
    WaitGroup feeder;
    feeder.go([&] {
      for (int i = 0; i < items; ++i) {
        const int value = i * 7 + 3;
        expected += value;
        queue.send(value);
      }
      queue.close();
      workers.wait();
      results.close();
    });
    std::int64_t sum = 0;
    int count = 0;
    for (const int value : results) {
      sum += value;
      ++count;
    }
    feeder.wait();
    EXPECT_EQ(count, items);
    EXPECT_EQ(sum, expected);
  });
}

// Rules: CH-24
TEST(ChanRaceTest, GoroutinesAndThreadsShareOneChannel) {
  constexpr int kPeers = 3;
  for (const std::size_t capacity : {0U, 1U, 16U}) {
    const Chan<int> ch = make_chan<int>(capacity);
    const int each = rounds(2'000);
    std::atomic<std::int64_t> sum{0};
    std::atomic<int> count{0};
    {
      std::vector<std::unique_ptr<Task>> consumers;
      std::vector<std::unique_ptr<Task>> producers;
      for (int i = 0; i < kPeers; ++i) {
        for (const On where : kEverywhere) {
          consumers.push_back(std::make_unique<Task>(where, [&] {
            for (const int value : ch) {
              sum += value;
              ++count;
            }
          }));
          producers.push_back(std::make_unique<Task>(where, [&] {
            for (int value = 1; value <= each; ++value) ch.send(value);
          }));
        }
      }
      producers.clear();
      ch.close();
    }
    EXPECT_EQ(count, 2 * kPeers * each);
    EXPECT_EQ(sum, std::int64_t{2 * kPeers} * each * (each + 1) / 2);
  }
}

// Rules: CH-24, CH-10
TEST(ChanRaceTest, SpawnAndMeetNeverHangs) {
  weft::run([] {
    const int count = rounds(100'000);
    std::int64_t sum = 0;
    for (int i = 0; i < count; ++i) {
      const Chan<int> ch = make_chan<int>();
      weft::go([ch, i] { ch.send(i); });
      sum += *ch.recv();
    }
    EXPECT_EQ(sum, std::int64_t{count} * (count - 1) / 2);
  });
}

// Rules: CH-19
TEST(ChanRaceTest, OneOfTwoClosersWins) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      const int count = rounds(1000);
      const Chan<Chan<int>> fresh = make_chan<Chan<int>>();
      const Chan<int> panics = make_chan<int>();
      const auto close = [](const Chan<int>& ch) {
        try {
          ch.close();
        } catch (const weft::RuntimePanic& panic) {
          EXPECT_STREQ(panic.what(), "close of closed channel");
          return 1;
        }
        return 0;
      };
      Task other(On::kGoroutine, [&] {
        for (const Chan<int>& ch : fresh) panics.send(close(ch));
      });
      for (int i = 0; i < count; ++i) {
        const Chan<int> ch = make_chan<int>();
        fresh.send(ch);
        const int mine = close(ch);
        EXPECT_EQ(mine + *panics.recv(), 1);
        EXPECT_FALSE(ch.recv());
      }
      fresh.close();
    });
  }
}

// Rules: CH-21, CH-20, CH-24
TEST(ChanRaceTest, SendsThatReturnedBeforeTheCloseAreReceived) {
  weft::run([] {
    for (const std::size_t capacity : {0U, 1U, 4U}) {
      const int count = rounds(1000);
      for (int round = 0; round < count; ++round) {
        const Chan<int> ch = make_chan<int>(capacity);
        std::atomic<int> sent{0};
        std::atomic<int> panicked{0};
        std::atomic<int> received{0};
        WaitGroup wg;
        for (int i = 0; i < 3; ++i) {
          wg.go([&] {
            try {
              for (;;) {
                ch.send(1);
                ++sent;
              }
            } catch (const weft::RuntimePanic&) {
              ++panicked;
            }
          });
        }
        wg.go([&] {
          for (const int value : ch) received += value;
        });
        for (int i = 0; i < round % 4; ++i) weft::yield();
        ch.close();
        wg.wait();
        ASSERT_EQ(panicked, 3);
        ASSERT_EQ(received, sent);
      }
    }
  });
}

// Rules: CH-21, CH-22
TEST(ChanRaceTest, CloseRacingWithArrivingReceiversStrandsNobody) {
  weft::run([] {
    const int count = rounds(5'000);
    for (int round = 0; round < count; ++round) {
      const Chan<Unit> done = make_chan<Unit>();
      std::atomic<int> released{0};
      WaitGroup wg;
      for (int i = 0; i < 4; ++i) {
        wg.go([&, i] {
          const bool closed = i % 2 == 0 ? !done.recv() : !done.recv_for(1h);
          if (closed) ++released;
        });
      }
      if (round % 2 == 0) weft::yield();
      done.close();
      wg.wait();
      ASSERT_EQ(released, 4);
    }
  });
}

// Rules: CH-16, CH-24, I4
TEST(ChanRaceTest, TimedSendsAndReceivesLoseNothing) {
  for (const On sender : kEverywhere) {
    for (const On receiver : kEverywhere) {
      for (const std::size_t capacity : {0U, 1U}) {
        const auto ch = make_chan<std::unique_ptr<int>>(capacity);
        const int count = rounds(2'000);
        Task producer(sender, [&] {
          Lcg random(7);
          for (int i = 0; i < count; ++i) {
            auto value = std::make_unique<int>(i);
            while (ch.send_for(std::move(value), std::chrono::nanoseconds(random.below(30'000))) != ChanStatus::ok) {
              if (value == nullptr || *value != i) {
                ADD_FAILURE() << "a send that timed out took value " << i;
                value = std::make_unique<int>(i);
              }
            }
            EXPECT_EQ(value, nullptr);
          }
          ch.close();
        });
        Lcg random(8);
        int next = 0;
        run_on(receiver, [&] {
          for (;;) {
            const Received<std::unique_ptr<int>> got = ch.recv_for(std::chrono::nanoseconds(random.below(30'000)));
            if (got.status() == ChanStatus::closed) break;
            if (!got) {
              EXPECT_EQ(got.status(), ChanStatus::timed_out);
              continue;
            }
            EXPECT_EQ(**got, next);
            ++next;
          }
        });
        EXPECT_EQ(next, count);
      }
    }
  }
}

// Rules: CH-16, CH-24, I4
TEST(ChanRaceTest, ManyTimedPeersLoseNothing) {
  weft::run([] {
    constexpr int kPeers = 4;
    Tally tally;
    {
      const auto ch = make_chan<Counted>();
      const int count = rounds(800);
      std::atomic<int> received{0};
      std::atomic<std::uint64_t> sum{0};
      WaitGroup senders;
      WaitGroup receivers;
      for (int peer = 0; peer < kPeers; ++peer) {
        senders.go([&, peer] {
          Lcg random(static_cast<std::uint64_t>(peer) + 1);
          for (int i = 0; i < count; ++i) {
            Counted value(tally, static_cast<std::size_t>(peer * count + i));
            while (ch.send_for(std::move(value), std::chrono::nanoseconds(random.below(20'000))) != ChanStatus::ok) {
              if (!value.holds_value()) ADD_FAILURE() << "a send that timed out took its value";
            }
          }
        });
        receivers.go([&, peer] {
          Lcg random(static_cast<std::uint64_t>(peer) + 100);
          for (;;) {
            const Received<Counted> got = ch.recv_for(std::chrono::nanoseconds(random.below(20'000)));
            if (got.status() == ChanStatus::closed) return;
            if (!got) continue;
            ++received;
            sum += got->id();
          }
        });
      }
      senders.wait();
      ch.close();
      receivers.wait();
      const std::uint64_t all = static_cast<std::uint64_t>(kPeers) * static_cast<std::uint64_t>(count);
      EXPECT_EQ(static_cast<std::uint64_t>(received), all);
      EXPECT_EQ(sum, all * (all - 1) / 2);
    }
    EXPECT_EQ(tally.live(), 0);
    EXPECT_EQ(tally.errors(), 0);
  });
}

// Rules: CH-21, I4
TEST(ChanRaceTest, CloseRacingWithTimeoutsEndsEachWaitOnce) {
  weft::run([] {
    const int count = rounds(2'000);
    Lcg random;
    for (int round = 0; round < count; ++round) {
      const Chan<int> in = make_chan<int>();
      const Chan<int> out = make_chan<int>();
      const auto patience = std::chrono::nanoseconds(random.below(20'000));
      std::atomic<int> ended{0};
      WaitGroup wg;
      wg.go([&] {
        const ChanStatus status = in.recv_for(patience).status();
        if (status == ChanStatus::closed || status == ChanStatus::timed_out) ++ended;
      });
      wg.go([&] {
        try {
          if (out.send_for(1, patience) == ChanStatus::timed_out) ++ended;
        } catch (const weft::RuntimePanic&) {
          ++ended;
        }
      });
      if (round % 3 != 0) weft::sleep_for(std::chrono::nanoseconds(random.below(20'000)));
      in.close();
      out.close();
      wg.wait();
      ASSERT_EQ(ended, 2);
    }
  });
}

// Rules: HZ-5, HZ-6
TEST(ChanRaceTest, LastHandleMayGoTheMomentTheMeetingIsOver) {
  // Both sides drop their handles as soon as their call returns: under ASan a late touch of the channel shows.
  weft::run([] {
    const int count = rounds(50'000);
    for (const std::size_t capacity : {0U, 1U}) {
      for (int i = 0; i < count; ++i) {
        Chan<std::unique_ptr<int>> ch = make_chan<std::unique_ptr<int>>(capacity);
        if (i % 2 == 0) {
          weft::go([ch]() mutable {
            ch.send(std::make_unique<int>(1));
            ch = nullptr;
          });
          EXPECT_TRUE(ch.recv());
        } else {
          weft::go([ch]() mutable {
            (void)ch.recv();
            ch = nullptr;
          });
          ch.send(std::make_unique<int>(1));
        }
        ch = nullptr;
      }
    }
  });
}

// Rules: HZ-5, HZ-6
TEST(ChanRaceTest, LastHandleMayGoTheMomentACloseIsSeen) {
  for (const On peer : kEverywhere) {
    weft::run([&] {
      const Chan<Chan<int>> fresh = make_chan<Chan<int>>();
      Task closer(peer, [&] {
        for (;;) {
          Received<Chan<int>> got = fresh.recv();
          if (!got) return;
          Chan<int> ch = std::move(*got);
          got = Received<Chan<int>>();
          ch.close();
        }
      });
      const int count = rounds(10'000);
      for (int i = 0; i < count; ++i) {
        Chan<int> ch = make_chan<int>();
        fresh.send(ch);
        EXPECT_FALSE(ch.recv());
        ch = nullptr;
      }
      fresh.close();
    });
  }
}

// Rules: CH-26, SEL-10
TEST(ChanRaceTest, SelectsLeaveNoResidueInAQuietChannel) {
  weft::run([] {
    const Chan<int> busy = make_chan<int>();
    const Chan<int> back = make_chan<int>();
    const Chan<int> quiet = make_chan<int>();
    const int count = rounds(100'000);
    WaitGroup wg;
    wg.go([&] {
      for (int i = 0; i < count; ++i) {
        weft::select(busy.on_send(i, [] {}), quiet.on_recv([] { ADD_FAILURE() << "quiet"; }));
      }
      busy.close();
    });
    int received = 0;
    for (bool open = true; open;) {
      weft::select(busy.on_recv([&](const Received<int>& got) {
        open = static_cast<bool>(got);
        received += open ? 1 : 0;
      }),
                   quiet.on_recv([] { ADD_FAILURE() << "quiet"; }), back.on_send(1, [] { ADD_FAILURE() << "back"; }));
    }
    wg.wait();
    EXPECT_EQ(received, count);
    // The queues are empty: nobody takes this value, nobody offers one; then a real waiter gets the real value.
    EXPECT_EQ(quiet.try_send(1), ChanStatus::would_block);
    EXPECT_EQ(quiet.try_recv().status(), ChanStatus::would_block);
    EXPECT_EQ(back.try_recv().status(), ChanStatus::would_block);
    WaitGroup reader;
    go_parked(reader, [&] { EXPECT_EQ(quiet.recv().value_or(0), 5); });
    EXPECT_EQ(quiet.try_send(5), ChanStatus::ok);
    reader.wait();
  });
}

// Rules: CH-24, CH-21, I4
TEST(ChanRaceTest, RuntimesShareAChannel) {
  // Senders and receivers of two runtimes and of no runtime, in every form, on one channel; then a close.
  for (const std::size_t capacity : {0U, 2U}) {
    const Chan<int> ch = make_chan<int>(capacity);
    const Chan<int> quiet = make_chan<int>();
    const int each = rounds(2'000);
    std::atomic<std::int64_t> sum{0};
    std::atomic<int> count{0};
    const auto send = [&] {
      for (int i = 1; i <= each; ++i) {
        switch (i % 3) {
          case 0:
            ch.send(i);
            break;
          case 1:
            weft::select(quiet.on_recv([] { ADD_FAILURE() << "quiet"; }), ch.on_send(i, [] {}));
            break;
          default:
            while (ch.send_for(i, 20us) != ChanStatus::ok) {
            }
        }
      }
    };
    const auto receive = [&] {
      for (int i = 0;; ++i) {
        Received<int> got;
        switch (i % 3) {
          case 0:
            got = ch.recv();
            break;
          case 1:
            weft::select(ch.on_recv(got), quiet.on_recv([] { ADD_FAILURE() << "quiet"; }));
            break;
          default:
            do {
              got = ch.recv_for(20us);
            } while (got.status() == ChanStatus::timed_out);
        }
        if (!got) return;
        sum += *got;
        ++count;
      }
    };
    std::array<weft::Runtime, 2> runtimes;
    WaitGroup senders;
    WaitGroup receivers;
    for (weft::Runtime& runtime : runtimes) {
      for (int i = 0; i < 2; ++i) {
        senders.add(1);
        receivers.add(1);
        runtime.go([&] {
          send();
          senders.done();
        });
        runtime.go([&] {
          receive();
          receivers.done();
        });
      }
    }
    {
      Task thread_sender(On::kThread, send);
      Task thread_receiver(On::kThread, receive);
      senders.wait();
      thread_sender.join();
      ch.close();
      receivers.wait();
    }
    EXPECT_EQ(count, 5 * each);
    EXPECT_EQ(sum, std::int64_t{5} * each * (each + 1) / 2);
  }
}

/// Seconds to release, in a random order, n goroutines that each select on a quiet channel and on one of their own. The
/// quiet channel is one for all, so that each waits in the middle of a long queue, or everybody's own.
double seconds_to_release(std::size_t n, bool one_for_all) {
  std::vector<Chan<int>> quiet;
  std::vector<Chan<int>> own;
  for (std::size_t i = 0; i < n; ++i) {
    quiet.push_back(one_for_all && i > 0 ? quiet.front() : make_chan<int>());
    own.push_back(make_chan<int>(1));
  }
  std::atomic<std::size_t> started{0};
  WaitGroup wg;
  const auto wait = [&](std::size_t i) {
    ++started;
    weft::select(quiet[i].on_recv([] { ADD_FAILURE() << "quiet"; }), own[i].on_recv([] {}));
  };
  for (std::size_t i = 0; i + 1 < n; ++i) wg.go([&wait, i] { wait(i); });
  weft::test::eventually([&] { return started == n - 1; });
  go_parked(wg, [&wait, n] { wait(n - 1); });

  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Lcg random;
  for (std::size_t i = n - 1; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  const auto start = std::chrono::steady_clock::now();
  for (const std::size_t i : order) own[i].send(1);
  wg.wait();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Rules: CH-25
TEST(ChanRaceTest, LeavingTheMiddleOfAQueueCostsTheSameHoweverLongItIs) {
  if (weft::test::kSanitized || weft::test::chaos()) GTEST_SKIP() << "compares times";
  weft::run([] {
    // If leaving a queue walked it, the long queue would cost some thousand steps for each waiter.
    constexpr std::size_t kWaiters = 10'000;
    double apart = 1e9;
    double together = 1e9;
    for (int attempt = 0; attempt < 5 && (attempt == 0 || together > 3 * apart); ++attempt) {
      apart = std::min(apart, seconds_to_release(kWaiters, false));
      together = std::min(together, seconds_to_release(kWaiters, true));
    }
    EXPECT_LT(together, 6 * apart) << "one long queue " << together << " s, many short ones " << apart << " s";
  });
}

// Rules: CH-27
TEST(ChanRaceTest, ReadiedReceiverRunsNext) {
  if (weft::test::kSanitized || weft::test::chaos()) GTEST_SKIP() << "a quality of the plain scheduler at full speed";
  const int count = rounds(1000);
  int receiver_first = 0;
  weft::run(weft::RuntimeOptions{.processors = 1}, [&] {
    for (int round = 0; round < count; ++round) {
      const Chan<int> ch = make_chan<int>();
      std::vector<char> order;  // one processor: plain data
      WaitGroup wg;
      go_parked(wg, [&] {
        (void)ch.recv();
        order.push_back('R');
      });
      wg.go([&] { order.push_back('T'); });
      weft::go([] {});  // pushes T out of the next slot into the queue
      ch.send(1);
      wg.wait();
      if (order.front() == 'R') ++receiver_first;
    }
  });
  EXPECT_GE(receiver_first, count * 9 / 10);
}

}  // namespace

// What happens before what: plain (not atomic) data written before an edge and read after it. Under TSan a missing edge
// is a report; without it the values still have to be right.
//
// No helper that synchronises on its own account (go_parked, atomics) stands between the write and the read.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
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
using weft::Mutex;
using weft::Received;
using weft::Unit;
using weft::WaitGroup;
using weft::test::kEverywhere;
using weft::test::On;
using weft::test::rounds;
using weft::test::run_on;
using weft::test::Task;

constexpr int kRounds = 1'000;

int written_before_run = 0;  // MM-16

// Rules: MM-1
TEST(MemoryModelTest, GoHappensBeforeTheGoroutine) {
  for (const On caller : kEverywhere) {
    run_on(caller, [] {
      for (int i = 1; i <= rounds(kRounds); ++i) {
        int x = 0;
        int seen = 0;
        WaitGroup wg;
        wg.add(1);
        x = i;
        weft::go([&] {
          seen = x;
          wg.done();
        });
        wg.wait();
        ASSERT_EQ(seen, i);
      }
    });
  }
}

// Rules: MM-1
TEST(MemoryModelTest, GoHappensBeforeTheGoroutineDownAChainOfSpawns) {
  weft::run([] {
    struct Link {
      static void step(std::vector<int>& trace, WaitGroup& wg, int depth) {
        trace.push_back(depth);  // plain: each link writes after its parent did
        if (depth == 0) {
          wg.done();
          return;
        }
        weft::go([&trace, &wg, depth] { step(trace, wg, depth - 1); });
      }
    };
    const int depth = rounds(5'000);
    std::vector<int> trace;
    WaitGroup wg;
    wg.add(1);
    Link::step(trace, wg, depth);
    wg.wait();
    ASSERT_EQ(trace.size(), static_cast<std::size_t>(depth) + 1);
    EXPECT_EQ(trace.front(), depth);
    EXPECT_EQ(trace.back(), 0);
  });
}

// Rules: MM-3
TEST(MemoryModelTest, SendHappensBeforeItsReceive) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        for (const std::size_t capacity : {0U, 1U, 10U}) {
          const int count = rounds(kRounds) / 2;
          const Chan<int> ch = make_chan<int>(capacity);
          std::vector<int> data(static_cast<std::size_t>(count));
          Task sender(peer, [&] {
            for (std::size_t i = 0; i < data.size(); ++i) {
              data[i] = static_cast<int>(i) + 1;
              switch (i % 3) {
                case 0:
                  ch.send(0);
                  break;
                case 1:
                  weft::select(ch.on_send(0));
                  break;
                default:
                  while (ch.try_send(0) != ChanStatus::ok) weft::yield();
              }
            }
          });
          for (std::size_t i = 0; i < data.size(); ++i) {
            switch (i % 4) {
              case 0:
                (void)ch.recv();
                break;
              case 1:
                weft::select(ch.on_recv());
                break;
              case 2:
                (void)ch.recv_for(1h);
                break;
              default:
                if (capacity == 0) {
                  (void)ch.recv();  // two that only try would never meet
                } else {
                  while (!ch.try_recv()) weft::yield();
                }
            }
            ASSERT_EQ(data[i], static_cast<int>(i) + 1);
          }
        }
      });
    }
  }
}

// Rules: MM-4
TEST(MemoryModelTest, UnbufferedReceiveHappensBeforeTheSendReturns) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        const int count = rounds(kRounds) / 2;
        const Chan<int> ch = make_chan<int>();
        std::vector<int> data(static_cast<std::size_t>(count));
        Task receiver(peer, [&] {
          for (std::size_t i = 0; i < data.size(); ++i) {
            data[i] = static_cast<int>(i) + 1;
            switch (i % 4) {
              case 0:
                (void)ch.recv();
                break;
              case 1:
                weft::select(ch.on_recv());
                break;
              case 2:  // not where the sender only tries: the two would never meet
                while (!ch.try_recv()) weft::yield();
                break;
              default:
                (void)ch.recv_for(1h);
            }
          }
        });
        for (std::size_t i = 0; i < data.size(); ++i) {
          switch (i % 4) {
            case 0:
              ch.send(0);
              break;
            case 1:
              weft::select(ch.on_send(0));
              break;
            case 2:
              EXPECT_EQ(ch.send_for(0, 1h), ChanStatus::ok);
              break;
            default:
              while (ch.try_send(0) != ChanStatus::ok) weft::yield();
          }
          ASSERT_EQ(data[i], static_cast<int>(i) + 1);
        }
      });
    }
  }
}

// Rules: MM-5
TEST(MemoryModelTest, ReceiveHappensBeforeTheSendThatTakesItsPlace) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        for (int i = 1; i <= rounds(kRounds) / 10; ++i) {
          const Chan<int> ch = make_chan<int>(1);
          int x = 0;
          Task receiver(peer, [&] {
            x = i;
            (void)ch.recv();
          });
          ch.send(0);
          ch.send(0);
          ASSERT_EQ(x, i);
        }
      });
    }
  }
}

// Rules: MM-5
TEST(MemoryModelTest, KthReceiveHappensBeforeTheSendOneCapacityLater) {
  for (const On peer : kEverywhere) {
    weft::run([&] {
      for (const std::size_t capacity : {1U, 2U, 7U}) {
        const auto count = static_cast<std::size_t>(rounds(kRounds) / 4);
        const Chan<int> ch = make_chan<int>(capacity);
        std::vector<int> data(count);
        Task receiver(peer, [&] {
          for (std::size_t k = 0; k < count; ++k) {
            data[k] = static_cast<int>(k) + 1;
            if (k % 3 == 0) {
              while (!ch.try_recv()) weft::yield();
            } else {
              (void)ch.recv();
            }
          }
        });
        for (std::size_t k = 0; k < count + capacity; ++k) {
          if (k % 2 == 0) {
            ch.send(0);
          } else {
            while (ch.try_send(0) != ChanStatus::ok) weft::yield();
          }
          if (k >= capacity) {
            ASSERT_EQ(data[k - capacity], static_cast<int>(k - capacity) + 1);
          }
        }
        receiver.join();
        EXPECT_EQ(ch.size(), capacity);
      }
    });
  }
}

// Rules: MM-5, WP-2
TEST(MemoryModelTest, ChannelAsCountingSemaphorePublishesTheCriticalSection) {
  weft::run([] {
    // Capacity 1: a mutex. The counter is plain.
    const Chan<Unit> lock = make_chan<Unit>(1);
    const int each = rounds(kRounds);
    int counter = 0;
    WaitGroup wg;
    for (int i = 0; i < 4; ++i) {
      wg.go([&] {
        for (int n = 0; n < each; ++n) {
          lock.send({});
          ++counter;
          (void)lock.recv();
        }
      });
    }
    wg.wait();
    EXPECT_EQ(counter, 4 * each);
  });
}

// Rules: MM-6
TEST(MemoryModelTest, CloseHappensBeforeAReceiveThatSeesIt) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        for (int i = 1; i <= rounds(kRounds) / 10; ++i) {
          const Chan<int> ch = make_chan<int>(static_cast<std::size_t>(i % 2));
          int x = 0;
          Task closer(peer, [&] {
            x = i;
            ch.close();
          });
          switch (i % 4) {
            case 0:
              EXPECT_FALSE(ch.recv());
              break;
            case 1:
              weft::select(ch.on_recv());
              break;
            case 2:
              EXPECT_EQ(ch.recv_for(1h).status(), ChanStatus::closed);
              break;
            default:
              while (ch.try_recv().status() != ChanStatus::closed) weft::yield();
          }
          ASSERT_EQ(x, i);
        }
      });
    }
  }
}

// Rules: MM-6
TEST(MemoryModelTest, CloseHappensBeforeThePanicOfASender) {
  for (const On peer : kEverywhere) {
    weft::run([&] {
      for (int i = 1; i <= rounds(kRounds) / 10; ++i) {
        const Chan<int> ch = make_chan<int>();
        int x = 0;
        Task closer(peer, [&] {
          x = i;
          ch.close();
        });
        bool panicked = false;
        try {
          switch (i % 3) {
            case 0:
              ch.send(1);
              break;
            case 1:
              weft::select(ch.on_send(1));
              break;
            default:
              for (;;) {
                (void)ch.try_send(1);
                weft::yield();
              }
          }
        } catch (const weft::RuntimePanic&) {
          panicked = true;
        }
        ASSERT_TRUE(panicked);
        ASSERT_EQ(x, i);
      }
    });
  }
}

// Rules: MM-6, CH-22
TEST(MemoryModelTest, CloseReleasesManyReadersToPlainData) {
  weft::run([] {
    for (int i = 1; i <= rounds(kRounds) / 8; ++i) {
      const Chan<Unit> done = make_chan<Unit>();
      std::array<int, 8> data{};
      WaitGroup wg;
      for (int reader = 0; reader < 4; ++reader) {
        wg.go([&] {
          (void)done.recv();
          for (const int value : data) EXPECT_EQ(value, i);
        });
      }
      data.fill(i);
      done.close();
      wg.wait();
    }
  });
}

// Rules: MM-7
TEST(MemoryModelTest, UnlockHappensBeforeTheNextLock) {
  for (const On caller : kEverywhere) {
    for (const On peer : kEverywhere) {
      run_on(caller, [&] {
        for (int i = 1; i <= rounds(kRounds) / 10; ++i) {
          Mutex mutex;
          int x = 0;
          mutex.lock();
          Task other(peer, [&] {
            x = i;
            mutex.unlock();
          });
          mutex.lock();
          ASSERT_EQ(x, i);
          mutex.unlock();
        }
      });
    }
  }
}

// Rules: MM-7
TEST(MemoryModelTest, EveryFormOfLockIsALock) {
  weft::run([] {
    Mutex mutex;
    int counter = 0;
    const int each = rounds(kRounds);
    {
      std::vector<std::unique_ptr<Task>> tasks;
      for (int task = 0; task < 6; ++task) {
        tasks.push_back(std::make_unique<Task>(task % 2 == 0 ? On::kGoroutine : On::kThread, [&, task] {
          for (int i = 0; i < each; ++i) {
            switch (task / 2) {
              case 0:
                mutex.lock();
                break;
              case 1:
                while (!mutex.try_lock()) weft::yield();
                break;
              default:
                while (!mutex.try_lock_for(1h)) {
                }
            }
            ++counter;
            mutex.unlock();
          }
        }));
      }
    }
    EXPECT_EQ(counter, 6 * each);
  });
}

// Rules: MM-10
TEST(MemoryModelTest, DoneHappensBeforeTheWaitItReleases) {
  for (const On waiter : kEverywhere) {
    run_on(waiter, [] {
      for (int i = 1; i <= rounds(kRounds) / 2; ++i) {
        std::array<int, 4> data{};
        WaitGroup wg;
        for (std::size_t task = 0; task < data.size(); ++task) {
          if (task % 2 == 0) {
            wg.go([&data, i, task] { data[task] = i; });
          } else {
            wg.add(1);
            weft::go([&data, &wg, i, task] {
              data[task] = i;
              wg.done();
            });
          }
        }
        wg.wait();
        for (const int value : data) ASSERT_EQ(value, i);
      }
    });
  }
}

// Rules: MM-10
TEST(MemoryModelTest, EveryWaiterSeesWhatWasDone) {
  weft::run([] {
    for (int i = 1; i <= rounds(kRounds) / 8; ++i) {
      int x = 0;
      WaitGroup work;
      work.add(1);
      WaitGroup waiters;
      for (int waiter = 0; waiter < 4; ++waiter) {
        waiters.go([&] {
          work.wait();
          EXPECT_EQ(x, i);
        });
      }
      x = i;
      work.done();
      waiters.wait();
    }
  });
}

// Rules: MM-16
TEST(MemoryModelTest, WhatRanBeforeRunIsSeenAndSeenAfterwards) {
  for (int i = 1; i <= rounds(200); ++i) {
    written_before_run = i;
    int result = 0;
    weft::run([&] {
      EXPECT_EQ(written_before_run, i);
      result = written_before_run + 1;
      weft::yield();
      written_before_run = -i;
    });
    ASSERT_EQ(result, i + 1);
    ASSERT_EQ(written_before_run, -i);
  }
}

// Rules: MM-16
TEST(MemoryModelTest, WhatRanBeforeRunIsSeenOnARuntimeOfItsOwn) {
  for (int i = 1; i <= rounds(100); ++i) {
    int x = i;
    const int result = weft::run(weft::RuntimeOptions{.processors = 2}, [&] {
      weft::yield();
      return x++;
    });
    ASSERT_EQ(result, i);
    ASSERT_EQ(x, i + 1);
  }
}

// Rules: MM-3, MM-17
TEST(MemoryModelTest, GoroutineLocalPlainDataSurvivesMigration) {
  // Plain locals of a goroutine that parks and may resume on another thread: each resume sees all that it wrote.
  weft::run([] {
    const Chan<int> ch = make_chan<int>();
    const int count = rounds(kRounds);
    WaitGroup wg;
    for (int goroutine = 0; goroutine < 4; ++goroutine) {
      wg.go([&] {
        std::array<int, 16> mine{};
        for (int i = 1; i <= count; ++i) {
          mine.fill(i);
          (void)ch.recv();
          for (const int value : mine) ASSERT_EQ(value, i);
        }
      });
    }
    for (int i = 0; i < 4 * count; ++i) ch.send(i);
    wg.wait();
  });
}

// Negative controls: without an edge TSan must speak up. If it did not, the tests above would prove nothing.

/// Spins without a runtime entry and without creating an edge. Unseen by TSan, which remembers so many events of a thread
/// and no more: a loop of calls would push the very access out of its memory that it is to report.
__attribute__((no_sanitize("thread"))) void spin_until(const std::atomic<bool>& flag) {
  while (!__atomic_load_n(reinterpret_cast<const bool*>(&flag), __ATOMIC_RELAXED)) {
  }
}

void expect_race(const weft::test::ChildResult& result) {
  EXPECT_NE(result.err.find("data race"), std::string::npos) << result.err;
  EXPECT_NE(result.exit_code, 0);
  EXPECT_FALSE(result.timed_out);
}

// Rules: MM-2
TEST(MemoryModelTest, EndOfAGoroutineIsNoEdge) {
  if (!weft::test::kTsan) GTEST_SKIP() << "needs TSan";
  expect_race(weft::test::in_child([] {
    weft::run(weft::RuntimeOptions{.processors = 2}, [] {
      std::atomic<bool> done{false};
      int x = 0;
      weft::go([&] {
        x = 1;
        done.store(true, std::memory_order_relaxed);
      });
      spin_until(done);
      EXPECT_EQ(x, 1);
    });
  }));
}

// Rules: MM-4, MM-5
TEST(MemoryModelTest, BufferedReceiveIsNoEdgeToItsOwnSend) {
  if (!weft::test::kTsan) GTEST_SKIP() << "needs TSan";
  expect_race(weft::test::in_child([] {
    weft::run(weft::RuntimeOptions{.processors = 2}, [] {
      const Chan<int> ch = make_chan<int>(1);
      std::atomic<bool> done{false};
      int x = 0;
      ch.send(0);
      weft::go([&] {
        x = 1;
        (void)ch.recv();
        done.store(true, std::memory_order_relaxed);
      });
      spin_until(done);
      EXPECT_EQ(x, 1);
    });
  }));
}

// Rules: MM-7
TEST(MemoryModelTest, FailedTryLockIsNoEdge) {
  if (!weft::test::kTsan) GTEST_SKIP() << "needs TSan";
  expect_race(weft::test::in_child([] {
    weft::run(weft::RuntimeOptions{.processors = 2}, [] {
      Mutex mutex;
      std::atomic<bool> written{false};
      std::atomic<bool> done{false};
      int x = 0;
      mutex.lock();
      weft::go([&] {
        spin_until(written);
        EXPECT_FALSE(mutex.try_lock());
        EXPECT_EQ(x, 1);
        done.store(true, std::memory_order_relaxed);
      });
      x = 1;
      written.store(true, std::memory_order_relaxed);
      spin_until(done);
      mutex.unlock();
    });
  }));
}

}  // namespace

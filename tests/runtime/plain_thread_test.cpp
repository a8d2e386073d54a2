// Every blocking call works from plain OS threads too, and goroutines and threads may share one object.

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
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
using weft::make_chan;
using weft::Mutex;
using weft::WaitGroup;
namespace test = weft::test;

/// Runs f(i) for i < count, alternately on goroutines and on plain threads, and waits for all.
template <class F>
void on_both(int count, F f) {
  std::vector<std::unique_ptr<test::Task>> tasks;
  for (int i = 0; i < count; ++i) {
    tasks.push_back(
        std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [f, i] { f(i); }));
  }
}

// Rules: CH-10
TEST(PlainThreadTest, TwoThreadsMeetOnAnUnbufferedChannel) {
  const auto there = make_chan<int>();
  const auto back = make_chan<int>();
  std::thread echo([&] {
    for (const int value : there) back.send(value + 1);
    back.close();
  });
  for (int i = 0; i < test::rounds(5000); ++i) {
    there.send(i);
    ASSERT_EQ(*back.recv(), i + 1);
  }
  there.close();
  EXPECT_EQ(back.recv().status(), weft::ChanStatus::closed);
  echo.join();
}

// Rules: CH-10, I3
TEST(PlainThreadTest, AThreadAndAGoroutinePlayPingPong) {
  const auto there = make_chan<int>();
  const auto back = make_chan<int>();
  weft::go([there, back] {
    for (const int value : there) back.send(value + 1);
    back.close();
  });
  for (int i = 0; i < test::rounds(5000); ++i) {
    there.send(i);
    ASSERT_EQ(*back.recv(), i + 1);
  }
  there.close();
  EXPECT_EQ(back.recv().status(), weft::ChanStatus::closed);
}

// Rules: CH-24
TEST(PlainThreadTest, MixedProducersAndConsumersDeliverEveryValueOnce) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{1}, std::size_t{69}}) {
    const auto values = make_chan<int>(capacity);
    constexpr int kProducers = 6;
    const int each = test::rounds(3000);
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(kProducers * each));
    std::atomic<int> producing{kProducers};
    on_both(kProducers * 2, [&](int i) {
      if (i < kProducers) {
        for (int n = 0; n < each; ++n) values.send(i * each + n);
        if (producing.fetch_sub(1, std::memory_order_acq_rel) == 1) values.close();
      } else {
        for (const int value : values) seen[static_cast<std::size_t>(value)].fetch_add(1, std::memory_order_relaxed);
      }
    });
    for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
  }
}

// Rules: SEL-9, CH-24
TEST(PlainThreadTest, MixedSelectsDeliverEveryValueOnce) {
  std::array<Chan<int>, 3> channels{make_chan<int>(), make_chan<int>(1), make_chan<int>(3)};
  const auto stop = make_chan<weft::Unit>();
  constexpr int kSenders = 4;
  const int each = test::rounds(2000);
  std::atomic<long> sent{0};
  std::atomic<long> received{0};
  std::atomic<long> sum{0};
  std::atomic<int> sending{kSenders};
  on_both(kSenders * 2, [&](int i) {
    if (i < kSenders) {
      for (int n = 1; n <= each; ++n) {
        weft::select(channels[0].on_send(n), channels[1].on_send(n), channels[2].on_send(n));
        sent.fetch_add(1, std::memory_order_relaxed);
        sum.fetch_add(n, std::memory_order_relaxed);
      }
      if (sending.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        test::eventually([&] { return received.load(std::memory_order_acquire) == kSenders * each; });
        stop.close();
      }
      return;
    }
    bool is_stopped = false;
    while (!is_stopped) {
      const auto take = [&](weft::Received<int> value) {
        sum.fetch_sub(*value, std::memory_order_relaxed);
        received.fetch_add(1, std::memory_order_release);
      };
      weft::select(channels[0].on_recv(take), channels[1].on_recv(take), channels[2].on_recv(take),
                   stop.on_recv([&] { is_stopped = true; }));
    }
  });
  EXPECT_EQ(sent.load(), kSenders * each);
  EXPECT_EQ(received.load(), kSenders * each);
  EXPECT_EQ(sum.load(), 0);
}

// Rules: CH-21, CH-22
TEST(PlainThreadTest, CloseWakesThreadsAndGoroutinesAlike) {
  for (int round = 0; round < test::rounds(100); ++round) {
    const auto done = make_chan<weft::Unit>();
    std::atomic<int> woken{0};
    std::vector<std::unique_ptr<test::Task>> tasks;
    for (int i = 0; i < 8; ++i) {
      tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&] {
        EXPECT_EQ(done.recv().status(), weft::ChanStatus::closed);
        woken.fetch_add(1, std::memory_order_relaxed);
      }));
    }
    EXPECT_EQ(woken.load(std::memory_order_relaxed), 0);
    done.close();
    tasks.clear();
    EXPECT_EQ(woken.load(std::memory_order_relaxed), 8);
  }
}

// Rules: CH-21, GEN-2
TEST(PlainThreadTest, AParkedSenderPanicsInItsOwnThreadWhenTheChannelCloses) {
  for (int round = 0; round < test::rounds(200); ++round) {
    const auto chan = make_chan<int>();
    std::atomic<int> panics{0};
    std::thread sender([&] {
      try {
        chan.send(1);
        ADD_FAILURE() << "sent to nobody";
      } catch (const weft::RuntimePanic& panic) {
        EXPECT_STREQ(panic.what(), "send on closed channel");
        ++panics;
      }
    });
    if (round % 2 == 0) std::this_thread::yield();
    chan.close();
    sender.join();
    EXPECT_EQ(panics.load(), 1);
  }
}

// Rules: WG-2, MU-1
TEST(PlainThreadTest, GoroutinesAndThreadsShareAMutexAWaitGroupAndAChannel) {
  Mutex mutex;
  long counter = 0;
  WaitGroup finished;
  const auto results = make_chan<int>(4);
  const int each = test::rounds(2000);
  constexpr int kTasks = 8;
  finished.add(kTasks);
  std::thread closer([&] {
    finished.wait();
    results.close();
  });
  std::vector<std::unique_ptr<test::Task>> tasks;
  for (int i = 0; i < kTasks; ++i) {
    tasks.push_back(std::make_unique<test::Task>(i % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&, i] {
      for (int n = 0; n < each; ++n) {
        {
          const std::lock_guard hold(mutex);
          ++counter;
        }
        if (n % 4 == 0) results.send(i);
      }
      finished.done();
    }));
  }
  int received = 0;
  for (const int value : results) received += value >= 0 ? 1 : 0;
  tasks.clear();
  closer.join();
  EXPECT_EQ(counter, long{kTasks} * each);
  EXPECT_EQ(received, kTasks * ((each + 3) / 4));
}

// Rules: CH-24
TEST(PlainThreadTest, TimedWaitsOfThreadsRaceTheWakersWithoutLosingValues) {
  const auto values = make_chan<int>();
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  on_both(8, [&](int i) {
    for (int n = 0; n < test::rounds(1500); ++n) {
      const auto patience = std::chrono::microseconds(n % 40);
      if (i < 4) {
        if (values.send_for(n, patience) == weft::ChanStatus::ok) sent.fetch_add(1);
      } else {
        if (values.recv_for(patience)) received.fetch_add(1);
      }
    }
  });
  EXPECT_EQ(sent.load(), received.load());
}

// Rules: SEL-6
TEST(PlainThreadTest, TimeoutsWorkOnAThread) {
  const auto quiet = make_chan<int>();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(weft::select(quiet.on_recv(), weft::on_timeout(2ms)), 1U);
  EXPECT_EQ(quiet.recv_for(2ms).status(), weft::ChanStatus::timed_out);
  EXPECT_EQ(Chan<int>().recv_for(2ms).status(), weft::ChanStatus::timed_out);
  EXPECT_EQ(weft::select(quiet.on_recv(), weft::on_default()), 1U);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 6ms);
}

// Rules: GO-1
TEST(PlainThreadTest, ManyShortThreadsComeAndGo) {
  const auto results = make_chan<int>(16);
  Mutex mutex;
  long counter = 0;
  for (int round = 0; round < test::rounds(200); ++round) {
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        weft::go([&, t] { results.send(t); });
        const std::lock_guard hold(mutex);
        ++counter;
      });
    }
    int sum = 0;
    for (int t = 0; t < 4; ++t) sum += *results.recv();
    EXPECT_EQ(sum, 6);
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(counter, 4L * test::rounds(200));
}

// Rules: HZ-22
TEST(PlainThreadTest, ThreadsOfTheStandardLibraryMayCallIn) {
  const auto values = make_chan<int>();
  auto future = std::async(std::launch::async, [values] {
    int sum = 0;
    for (const int value : values) sum += value;
    return sum;
  });
  weft::run([&] {
    for (int i = 1; i <= 100; ++i) values.send(i);
    values.close();
  });
  EXPECT_EQ(future.get(), 5050);
}

/// Still uses weft while its thread is being taken down.
struct LateCaller {
  Chan<int> there;
  Chan<int> back;
  ~LateCaller() {
    if (there == nullptr) return;
    there.send(1);
    EXPECT_EQ(*back.recv(), 2);
    EXPECT_FALSE(weft::this_goroutine::is_goroutine());
    static_cast<void>(weft::select(back.on_recv(), weft::on_timeout(1us)));
    weft::sleep_for(1us);
  }
};

// Rules: HZ-17, HZ-22
TEST(PlainThreadTest, DestructorsOfThreadLocalsMayStillBlock) {
  for (int round = 0; round < test::rounds(100); ++round) {
    const auto there = make_chan<int>();
    const auto back = make_chan<int>();
    std::thread thread([&] {
      thread_local LateCaller late;
      late.there = there;
      late.back = back;
      weft::yield();
    });
    weft::run([&] {
      EXPECT_EQ(*there.recv(), 1);
      back.send(2);
    });
    thread.join();
  }
}

[[gnu::noinline]] int errno_now() { return errno; }
[[gnu::noinline]] void set_errno(int value) { errno = value; }

// Rules: HZ-2
TEST(PlainThreadTest, NoCallChangesErrno) {
  const auto calls = [] {
    const auto chan = make_chan<int>(1);
    Mutex mutex;
    WaitGroup wg;
    mutex.lock();
    wg.add(1);
    const auto expect_unchanged = [](const char* call, const auto& f) {
      set_errno(EDOM);
      f();
      EXPECT_EQ(errno_now(), EDOM) << call;
    };
    expect_unchanged("recv_for", [&] { static_cast<void>(chan.recv_for(200us)); });
    expect_unchanged("try_lock_for", [&] { static_cast<void>(mutex.try_lock_for(200us)); });
    expect_unchanged("wait_for", [&] { static_cast<void>(wg.wait_for(200us)); });
    expect_unchanged("sleep_for", [] { weft::sleep_for(200us); });
    expect_unchanged("select", [&] { weft::select(chan.on_recv(), weft::on_timeout(200us)); });
    expect_unchanged("send", [&] { chan.send(1); });
    expect_unchanged("recv", [&] { chan.recv(); });
    expect_unchanged("go", [&] { weft::go([] {}); });
    expect_unchanged("yield", [] { weft::yield(); });
    expect_unchanged("unlock", [&] { mutex.unlock(); });
    expect_unchanged("done", [&] { wg.done(); });
  };
  calls();
  // A goroutine that stays on its thread: with one processor nothing else takes it elsewhere.
  if (!test::chaos()) weft::run(weft::RuntimeOptions{.processors = 1}, calls);
}

}  // namespace

// The programs of section 28 of the contract that use locks and groups, each with its exact result. They run like all of this
// suite: with 1, 2, 4 and 8 processors, and with chaos.

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <mutex>
#include <numeric>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <weft/weft.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
namespace test = weft::test;

void say(const char* text) {
  std::fputs(text, stdout);
  std::fflush(stdout);
}

// Rules: S-12, RW-8
TEST(SyncScenariosTest, S12ReadersAndWriters) {
  weft::run([] {
    const int each = test::rounds(1000);
    weft::RWMutex mutex;
    std::atomic<int> activity{0};
    std::atomic<int> wrong{0};
    weft::WaitGroup group;
    for (int reader = 0; reader < 10; ++reader) {
      group.go([&] {
        for (int i = 0; i < each; ++i) {
          const std::shared_lock guard(mutex);
          const int seen = activity.fetch_add(1) + 1;
          if (seen < 1 || seen >= 10'000) wrong.fetch_add(1);
          if (i % 16 == 0) weft::yield();
          activity.fetch_sub(1);
        }
      });
    }
    for (int writer = 0; writer < 2; ++writer) {
      group.go([&] {
        for (int i = 0; i < each; ++i) {
          const std::lock_guard guard(mutex);
          if (activity.fetch_add(10'000) + 10'000 != 10'000) wrong.fetch_add(1);
          if (i % 16 == 0) weft::yield();
          activity.fetch_sub(10'000);
        }
      });
    }
    group.wait();
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(activity.load(), 0);
  });
}

// Rules: S-30, CO-3
TEST(SyncScenariosTest, S30BoundedBufferWithCond) {
  weft::run([] {
    weft::Mutex mutex;
    weft::Cond not_full;
    weft::Cond not_empty;
    std::vector<int> ring;
    int left = 1000;
    std::array<int, 1000> seen{};
    weft::WaitGroup group;
    for (int producer = 0; producer < 4; ++producer) {
      group.go([&, producer] {
        for (int i = 0; i < 250; ++i) {
          std::unique_lock lock(mutex);
          not_full.wait(lock, [&] { return ring.size() < 4; });
          ring.push_back(producer * 250 + i);
          not_empty.notify_one();
        }
      });
    }
    for (int consumer = 0; consumer < 3; ++consumer) {
      group.go([&] {
        for (;;) {
          std::unique_lock lock(mutex);
          not_empty.wait(lock, [&] { return !ring.empty() || left == 0; });
          if (ring.empty()) return;
          ++seen.at(static_cast<std::size_t>(ring.front()));
          ring.erase(ring.begin());
          if (--left == 0) not_empty.notify_all();
          not_full.notify_one();
        }
      });
    }
    group.wait();
    int sum = 0;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      EXPECT_EQ(seen.at(i), 1) << i;
      sum += static_cast<int>(i) * seen.at(i);
    }
    EXPECT_EQ(sum, 499'500);
  });
}

// Rules: S-38, SM-2, SM-5
TEST(SyncScenariosTest, S38WeightedSemaphoreOrder) {
  weft::run([] {
    weft::Semaphore semaphore(10);
    semaphore.acquire(1);
    auto out = weft::make_chan<char>(3);
    weft::WaitGroup group;
    test::go_parked(group, [&] {
      semaphore.acquire(10);
      EXPECT_FALSE(semaphore.try_acquire(1));
      out.send('A');
      semaphore.release(10);
    });
    test::go_parked(group, [&] {
      semaphore.acquire(1);
      out.send('B');
      semaphore.release(1);
    });
    test::go_parked(group, [&] {
      semaphore.acquire(5);
      out.send('C');
      semaphore.release(5);
    });
    EXPECT_FALSE(semaphore.try_acquire(1));
    semaphore.release(1);
    EXPECT_EQ(*out.recv(), 'A');
    group.wait();
    EXPECT_EQ(*out.recv() + *out.recv(), 'B' + 'C');
    EXPECT_TRUE(semaphore.try_acquire(10));
    semaphore.release(10);
  });
  // A is cancelled while it is queued: B and C go on at once, though 1 is still held.
  weft::run([] {
    weft::Semaphore semaphore(10);
    semaphore.acquire(1);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    weft::WaitGroup group;
    weft::WaitGroup first;
    test::go_parked(first, [&, ctx = ctx] { EXPECT_FALSE(semaphore.acquire(ctx, 10)); });
    test::go_parked(group, [&] { semaphore.acquire(1); });
    test::go_parked(group, [&] { semaphore.acquire(5); });
    cancel();
    group.wait();
    first.wait();
    EXPECT_FALSE(semaphore.try_acquire(4));
    EXPECT_TRUE(semaphore.try_acquire(3));
  });
}

// Rules: S-40, MU-6
TEST(SyncScenariosTest, S40AHogDoesNotStarveAVictim) {
  weft::run([] {
    weft::Mutex mutex;
    std::atomic<bool> is_over{false};
    std::atomic<int> turns{0};
    weft::WaitGroup group;
    group.go([&] {
      while (!is_over.load()) {
        mutex.lock();
        weft::sleep_for(100us);
        turns.fetch_add(1);
        mutex.unlock();
      }
    });
    for (int i = 0; i < 10; ++i) {
      weft::sleep_for(100us);
      mutex.lock();
      mutex.unlock();
    }
    // Came this far, so it was not starved; and the hog goes on.
    const int before = turns.load();
    while (turns.load() == before) weft::yield();
    is_over.store(true);
    group.wait();
  });
}

struct Deadlock {
  const char* name;
  const char* reason;  // of one of the goroutines, as the report says it
  std::function<void()> body;
};

const std::vector<Deadlock>& deadlocks() {
  static const std::vector<Deadlock> zoo{
      {"empty select", "[select (no cases)]", [] { weft::select(); }},
      {"receive", "[chan receive]", [] { static_cast<void>(weft::make_chan<int>().recv()); }},
      {"send", "[chan send]", [] { weft::make_chan<int>().send(1); }},
      {"nil receive", "[chan receive (nil chan)]", [] { static_cast<void>(weft::Chan<int>().recv()); }},
      {"double lock", "[sync.Mutex.Lock]",
       [] {
         weft::Mutex mutex;
         mutex.lock();
         mutex.lock();
       }},
      {"read lock, then lock", "[sync.RWMutex.Lock]",
       [] {
         weft::RWMutex mutex;
         mutex.lock_shared();
         mutex.lock();
       }},
      {"wait for a group", "[sync.WaitGroup.Wait]",
       [] {
         weft::WaitGroup group;
         group.add(1);
         group.wait();
       }},
      {"wait for a condition", "[sync.Cond.Wait]",
       [] {
         weft::Mutex mutex;
         weft::Cond cond;
         std::unique_lock lock(mutex);
         cond.wait(lock);
       }},
      {"select with oneself", "[select]",
       [] {
         const auto chan = weft::make_chan<int>();
         weft::select(chan.on_recv(), chan.on_send(1));
       }},
      {"circle of three", "[chan receive]",
       [] {
         const auto a = weft::make_chan<int>();
         const auto b = weft::make_chan<int>();
         const auto c = weft::make_chan<int>();
         const auto pass_on = [](const weft::Chan<int>& from, const weft::Chan<int>& to) { to.send(*from.recv()); };
         weft::go([=] { pass_on(a, b); });
         weft::go([=] { pass_on(b, c); });
         pass_on(c, a);
       }},
      {"a timer that nobody waits for", "[select (no cases)]",
       [] {
         const weft::Timer timer(1h);
         weft::select();
       }},
      {"a semaphore that nobody releases", "[semacquire]",
       [] {
         weft::Semaphore semaphore(1);
         semaphore.acquire();
         semaphore.acquire();
       }},
      {"once inside itself", "[sync.Once.Do]",
       [] {
         weft::Once once;
         once.call([&] { once.call([] {}); });
       }},
  };
  return zoo;
}

// Rules: S-41, DL-1, GEN-4
TEST(SyncScenariosTest, S41EveryDeadlockIsReportedWithItsReason) {
  for (const Deadlock& deadlock : deadlocks()) {
    const auto child = test::in_child([&] {
      weft::run(deadlock.body);
      say("went on\n");
    });
    EXPECT_EQ(child.exit_code, 2) << deadlock.name << ": " << child.err;
    EXPECT_EQ(child.out, "") << deadlock.name;
    EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!\n"), 0U) << deadlock.name << child.err;
    EXPECT_NE(child.err.find(deadlock.reason), std::string::npos) << deadlock.name << ": " << child.err;
  }
}

// Rules: S-41, DL-2
TEST(SyncScenariosTest, S41WhatIsNoDeadlock) {
  const std::vector<std::function<void()>> innocent{
      [] {
        const auto chan = weft::make_chan<int>();
        weft::go([chan] {
          weft::sleep_for(50ms);
          chan.send(1);
        });
        static_cast<void>(chan.recv());
      },
      [] {
        const auto chan = weft::make_chan<int>();
        weft::after_func(50ms, [chan] { chan.send(1); });
        static_cast<void>(chan.recv());
      },
      [] {
        weft::Mutex mutex;
        mutex.lock();
        EXPECT_FALSE(mutex.try_lock_for(50ms));
      },
      [] {
        auto [ctx, cancel] = weft::with_timeout(weft::background(), 50ms);
        weft::Semaphore semaphore(1);
        EXPECT_FALSE(semaphore.acquire(ctx, 2));
      },
  };
  for (const auto& body : innocent) {
    const auto child = test::in_child([&] {
      weft::run(body);
      say("went on\n");
    });
    EXPECT_EQ(child.exit_code, 0) << child.err;
    EXPECT_EQ(child.out, "went on\n");
    EXPECT_EQ(child.err, "");
  }
}

/// Says so when it goes.
struct Destroyed {
  const char* text;
  explicit Destroyed(const char* what) : text(what) {}
  Destroyed(const Destroyed&) = delete;
  Destroyed& operator=(const Destroyed&) = delete;
  ~Destroyed() { say(text); }
};

[[gnu::noinline]] void boom(int depth) {
  const Destroyed frame("goroutine's destructor\n");
  if (depth > 0) return boom(depth - 1);
  throw std::runtime_error("boom");
}

// Rules: S-42, PAN-1, WG-6
TEST(SyncScenariosTest, S42APanicInAGoroutineEndsTheProcess) {
  for (const int depth : {0, 1}) {
    const auto child = test::in_child([&] {
      weft::run([&] {
        const Destroyed main_frame("main's destructor\n");
        weft::WaitGroup group;
        group.go([&] {
          say("before\n");
          boom(depth);
        });
        group.wait();
        say("went on\n");
      });
    });
    EXPECT_EQ(child.exit_code, 2) << child.err;
    std::string expected = "before\n";
    for (int i = 0; i <= depth; ++i) expected += "goroutine's destructor\n";
    EXPECT_EQ(child.out, expected);
    EXPECT_EQ(child.err.find("panic: "), 0U) << child.err;
    EXPECT_NE(child.err.find("boom"), std::string::npos) << child.err;
    EXPECT_NE(child.err.find("goroutine "), std::string::npos) << child.err;
  }
  const auto caught = test::in_child([] {
    weft::run([] {
      weft::WaitGroup group;
      group.go([] { EXPECT_THROW(boom(1), std::runtime_error); });
      group.wait();
      say("went on\n");
    });
  });
  EXPECT_EQ(caught.exit_code, 0) << caught.err;
  EXPECT_EQ(caught.out, "goroutine's destructor\ngoroutine's destructor\nwent on\n");
}

// Rules: S-52, ON-3, ON-6
TEST(SyncScenariosTest, S52AServiceThatFailsToStartFailsForEverybody) {
  weft::run([] {
    std::atomic<int> runs{0};
    std::atomic<int> caught{0};
    const auto service = weft::once_value([&]() -> int {
      runs.fetch_add(1);
      weft::sleep_for(10ms);
      throw std::runtime_error("init");
    });
    weft::WaitGroup group;
    for (int i = 0; i < 100; ++i) {
      group.go([&] {
        try {
          static_cast<void>(service());
        } catch (const std::runtime_error& e) {
          if (std::string(e.what()) == "init") caught.fetch_add(1);
        }
      });
    }
    group.wait();
    EXPECT_EQ(runs.load(), 1);
    EXPECT_EQ(caught.load(), 100);
  });
  weft::run([] {
    std::atomic<int> caught{0};
    std::atomic<int> returned{0};
    std::atomic<bool> has_ended{false};
    weft::Once once;
    weft::WaitGroup group;
    for (int i = 0; i < 100; ++i) {
      group.go([&] {
        try {
          once.call([&] {
            weft::sleep_for(10ms);
            has_ended.store(true);
            throw std::runtime_error("init");
          });
          EXPECT_TRUE(has_ended.load());
          returned.fetch_add(1);
        } catch (const std::runtime_error&) {
          caught.fetch_add(1);
        }
      });
    }
    group.wait();
    EXPECT_EQ(caught.load(), 1);
    EXPECT_EQ(returned.load(), 99);
  });
}

}  // namespace

// Goroutines that wait for each other's locks: found while others live, in dumps and in the deadlock report; and nothing is
// claimed that is not so.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/rwmutex.hpp>
#include <weft/stats.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::LockWait;
using weft::Mutex;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::RWMutex;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

using Cycles = std::vector<std::vector<LockWait>>;

constexpr RuntimeOptions kTracking{.processors = 2, .track_lock_owners = true};

std::string dump() {
  std::FILE* file = std::tmpfile();
  weft::dump_goroutines(::fileno(file));
  std::string text(static_cast<std::size_t>(::lseek(::fileno(file), 0, SEEK_END)), '\0');
  EXPECT_EQ(::pread(::fileno(file), text.data(), text.size(), 0), static_cast<::ssize_t>(text.size()));
  std::fclose(file);
  return text;
}

void come_back() { asm volatile("" ::: "memory"); }  // after a call: so it is not a jump

/// Locks one, says so, waits for `go`, and locks the other. Whether it gives the first one back is the caller's business.
template <class First, class Second>
[[gnu::noinline]] void lock_both(First& first, Second& second, std::atomic<int>& holding, const weft::Chan<int>& go) {
  first.lock();
  ++holding;
  go.recv();
  second.lock();
  come_back();
}

/// The members by name, in the order of the cycle, beginning with the first name in the alphabet.
std::string names(const std::vector<LockWait>& cycle) {
  std::vector<std::string> all;
  for (const LockWait& wait : cycle) all.push_back(wait.goroutine.name);
  std::rotate(all.begin(), std::min_element(all.begin(), all.end()), all.end());
  std::string text;
  for (const std::string& name : all) text += (text.empty() ? "" : " ") + name;
  return text;
}

/// Once the goroutines that are to be stuck are.
Cycles await_cycles(std::size_t count) {
  for (;;) {
    Cycles cycles = weft::find_lock_cycles();
    if (cycles.size() >= count) return cycles;
    weft::yield();
  }
}

// Rules: LEAK-4
TEST(MutexCycleTest, TwoThatLockInOppositeOrderAreNamedWhileOthersLive) {
  weft::run(kTracking, [] {
    Mutex a;
    Mutex b;
    WaitGroup group;
    std::atomic<int> holding{0};
    const auto go = weft::make_chan<int>();
    group.go({.name = "left"}, [&] {
      lock_both(a, b, holding, go);
      b.unlock();
      a.unlock();
    });
    group.go({.name = "right"}, [&] {
      lock_both(b, a, holding, go);
      a.unlock();  // b is unlocked in its place
    });
    test::eventually([&] { return holding == 2; });
    EXPECT_TRUE(weft::find_lock_cycles().empty());
    go.close();

    const Cycles cycles = await_cycles(1);
    ASSERT_EQ(cycles.size(), 1U);
    EXPECT_EQ(names(cycles[0]), "left right");
    for (const LockWait& wait : cycles[0]) {
      EXPECT_EQ(wait.lock, wait.goroutine.name == "left" ? &b : &a);
      EXPECT_EQ(wait.goroutine.wait_reason, "sync.Mutex.Lock");
      EXPECT_TRUE(contains(wait.goroutine.stack, "lock_both")) << wait.goroutine.stack;
      EXPECT_TRUE(contains(wait.goroutine.spawn_site, "TwoThatLockInOppositeOrder")) << wait.goroutine.spawn_site;
    }

    const std::string text = dump();
    const std::size_t at = text.find("weft: 2 goroutines wait for each other's locks:\n");
    ASSERT_NE(at, std::string::npos) << text;
    EXPECT_TRUE(contains(text.substr(at), " \"left\" [sync.Mutex.Lock")) << text;
    EXPECT_TRUE(contains(text.substr(at), "lock_both")) << text;

    b.unlock();
    group.wait();
    EXPECT_TRUE(weft::find_lock_cycles().empty());
    EXPECT_FALSE(contains(dump(), "each other's locks"));
  });
}

TEST(MutexCycleTest, WhoLocksTwiceWaitsForItself) {
  weft::run(kTracking, [] {
    Mutex mutex;
    RWMutex rw;
    WaitGroup group;
    std::atomic<int> holding{0};
    const auto go = weft::make_chan<int>();
    go.close();
    group.go({.name = "twice"}, [&] { lock_both(mutex, mutex, holding, go); });
    group.go({.name = "writes twice"}, [&] { lock_both(rw, rw, holding, go); });
    Cycles cycles = await_cycles(2);
    ASSERT_EQ(cycles.size(), 2U);
    std::sort(cycles.begin(), cycles.end(), [](const auto& x, const auto& y) { return names(x) < names(y); });
    EXPECT_EQ(names(cycles[0]), "twice");
    EXPECT_EQ(cycles[0].at(0).lock, &mutex);
    EXPECT_EQ(names(cycles[1]), "writes twice");
    EXPECT_EQ(cycles[1].at(0).lock, &rw);
    EXPECT_TRUE(contains(dump(), "weft: a goroutine waits for a lock that it holds itself:\n"));
    mutex.unlock();
    rw.unlock();
    group.wait();
    mutex.unlock();
    rw.unlock();
  });
}

// Those who only wait for a member are not of the cycle; what comes before it on the way does not matter.
TEST(MutexCycleTest, ALongCircleIsListedInItsOrderWithoutThoseWhoQueueForIt) {
  weft::run(kTracking, [] {
    constexpr std::size_t kMembers = 7;
    std::array<Mutex, kMembers> mutexes;
    WaitGroup group;
    std::atomic<int> holding{0};
    const auto go = weft::make_chan<int>();
    for (std::size_t i = 0; i < kMembers; ++i) {
      const std::string name = "member " + std::to_string(i);
      group.go({.name = name}, [&, i] {
        lock_both(mutexes[i], mutexes[(i + 1) % kMembers], holding, go);
        mutexes[(i + 1) % kMembers].unlock();
        if (i != 0) mutexes[i].unlock();
      });
    }
    test::eventually([&] { return holding == static_cast<int>(kMembers); });
    for (std::size_t i = 0; i < 10; ++i) {
      test::go_parked(group, [&, i] {
        mutexes[i % kMembers].lock();
        mutexes[i % kMembers].unlock();
      });
    }
    EXPECT_TRUE(weft::find_lock_cycles().empty());
    go.close();
    const Cycles cycles = await_cycles(1);
    ASSERT_EQ(cycles.size(), 1U);
    EXPECT_EQ(names(cycles[0]), "member 0 member 1 member 2 member 3 member 4 member 5 member 6");
    mutexes[0].unlock();
    group.wait();
  });
}

TEST(MutexCycleTest, WritersAndReadersOfARWMutexThatWaitForAWriter) {
  weft::run(kTracking, [] {
    RWMutex rw;
    Mutex mutex;
    WaitGroup group;
    std::atomic<int> holding{0};
    const auto go = weft::make_chan<int>();
    group.go({.name = "writer"}, [&] {
      lock_both(rw, mutex, holding, go);
      mutex.unlock();
      rw.unlock();
    });
    group.go({.name = "reader"}, [&] {
      auto reading = rw.rlocker();
      lock_both(mutex, reading, holding, go);
      reading.unlock();
    });
    test::eventually([&] { return holding == 2; });
    go.close();
    const Cycles cycles = await_cycles(1);
    ASSERT_EQ(cycles.size(), 1U);
    EXPECT_EQ(names(cycles[0]), "reader writer");
    for (const LockWait& wait : cycles[0]) {
      const bool is_reader = wait.goroutine.name == "reader";
      EXPECT_EQ(wait.lock, is_reader ? static_cast<const void*>(&rw) : &mutex);
      EXPECT_EQ(wait.goroutine.wait_reason, is_reader ? "sync.RWMutex.RLock" : "sync.Mutex.Lock");
    }
    mutex.unlock();
    group.wait();
  });
}

TEST(MutexCycleTest, CirclesAcrossRuntimesAreFound) {
  Mutex a;
  Mutex b;
  std::atomic<int> holding{0};
  const auto go = weft::make_chan<int>();
  Runtime one(kTracking);
  Runtime two(kTracking);
  one.go({.name = "one"}, [&] {
    lock_both(a, b, holding, go);
    b.unlock();
    a.unlock();
  });
  two.go({.name = "two"}, [&] {
    lock_both(b, a, holding, go);
    a.unlock();
  });
  test::eventually([&] { return holding == 2; });
  go.close();
  const Cycles cycles = await_cycles(1);
  ASSERT_EQ(cycles.size(), 1U);
  EXPECT_EQ(names(cycles[0]), "one two");
  b.unlock();
  EXPECT_TRUE(one.shutdown(1h).clean());
  EXPECT_TRUE(two.shutdown(1h).clean());
}

// ---- nothing is claimed that is not so ----

TEST(MutexCycleTest, WhoWillGiveUpIsInNoCycle) {
  weft::run(kTracking, [] {
    Mutex a;
    Mutex b;
    RWMutex rw;
    WaitGroup group;
    const auto [ctx, cancel] = weft::with_cancel(weft::background());
    const auto park = [&](auto f) { test::go_parked(group, f); };
    park([&, &ctx = ctx] {
      a.lock();
      EXPECT_FALSE(a.lock(ctx));
      a.unlock();
    });
    park([&] {
      b.lock();
      EXPECT_TRUE(b.try_lock_for(1h));  // unlocked in its place
      b.unlock();
    });
    park([&, &ctx = ctx] {
      rw.lock();
      EXPECT_FALSE(rw.lock_shared(ctx));
      rw.unlock();
    });
    EXPECT_TRUE(weft::find_lock_cycles().empty());
    cancel();
    b.unlock();
    group.wait();
  });
}

TEST(MutexCycleTest, WhatAThreadHoldsLeadsNowhere) {
  Mutex a;
  Mutex b;
  a.lock();
  weft::run(kTracking, [&] {
    WaitGroup group;
    test::go_parked(group, [&] {
      b.lock();
      a.lock();
      a.unlock();
      b.unlock();
    });
    EXPECT_TRUE(weft::find_lock_cycles().empty());
    a.unlock();
    group.wait();
  });
}

// Whoever was the holder when somebody came may be waiting for that one a moment later, though nobody is stuck.
TEST(MutexCycleTest, NothingIsFoundWhereEverybodyGoesOn) {
  weft::run(RuntimeOptions{.processors = 4, .track_lock_owners = true}, [] {
    std::array<Mutex, 3> mutexes;
    RWMutex rw;
    WaitGroup group;
    std::atomic<bool> is_over{false};
    for (std::uint64_t g = 0; g < 6; ++g) {
      group.go([&, g] {
        test::Lcg random(g + 1);
        while (!is_over) {
          // Each holds one at a time, then wants any other: who waits changes places with who holds all the time.
          Mutex& mutex = mutexes.at(random.below(mutexes.size()));
          mutex.lock();
          if (random.below(4) == 0) weft::yield();
          mutex.unlock();
          if (random.below(8) == 0) {
            rw.lock();
            weft::yield();
            rw.unlock();
          } else if (random.below(8) == 1) {
            rw.lock_shared();
            rw.unlock_shared();
          }
        }
      });
    }
    for (int i = 0; i < test::rounds(3000); ++i) {
      const Cycles cycles = weft::find_lock_cycles();
      if (!cycles.empty()) {
        ADD_FAILURE() << "a cycle of " << cycles[0].size() << " where nobody is stuck, in look " << i;
        break;
      }
      if (i % 16 == 0) weft::yield();
    }
    is_over = true;
    group.wait();
  });
}

// Two locks in a fixed order, under contention: holders wait, and hand over when somebody has waited for long.
TEST(MutexCycleTest, NothingIsFoundWhereTheOrderIsKept) {
  weft::run(RuntimeOptions{.processors = 4, .track_lock_owners = true}, [] {
    std::array<Mutex, 4> mutexes;
    WaitGroup group;
    std::atomic<bool> is_over{false};
    std::atomic<std::uint64_t> done{0};
    for (std::uint64_t g = 0; g < 8; ++g) {
      group.go([&, g] {
        test::Lcg random(g + 1);
        while (!is_over) {
          const std::uint64_t low = random.below(mutexes.size() - 1);
          const std::uint64_t high = low + 1 + random.below(mutexes.size() - 1 - low);
          mutexes.at(low).lock();
          weft::yield();
          mutexes.at(high).lock();
          mutexes.at(low).unlock();
          if (random.below(2) == 0) weft::yield();
          mutexes.at(high).unlock();
          ++done;
        }
      });
    }
    for (int i = 0; i < test::rounds(2000); ++i) {
      ASSERT_TRUE(weft::find_lock_cycles().empty()) << "in look " << i;
      if (i % 16 == 0) weft::yield();
    }
    is_over = true;
    group.wait();
    EXPECT_GT(done, 0U);
  });
}

// ---- reports ----

[[gnu::noinline]] void debit(Mutex& own, Mutex& other, WaitGroup& both) {
  own.lock();
  both.done();
  both.wait();
  other.lock();
  come_back();
}

// Rules: DL-1
TEST(MutexCycleTest, TheDeadlockReportNamesTheCycleFirst) {
  const auto child = test::in_child([] {
    weft::run(kTracking, [] {
      Mutex a;
      Mutex b;
      WaitGroup group;
      WaitGroup both;
      both.add(2);
      group.go({.name = "to bob"}, [&] { debit(a, b, both); });
      group.go({.name = "to alice"}, [&] { debit(b, a, both); });
      group.wait();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  const std::string expected =
      "fatal error: all goroutines are asleep - deadlock!\n\n2 goroutines wait for each other's locks:\ngoroutine ";
  EXPECT_TRUE(child.err.starts_with(expected)) << child.err;
  const std::size_t end = child.err.find("\n\n", expected.size());
  const std::string cycle = child.err.substr(0, end);
  for (const char* part : {"\"to bob\" [sync.Mutex.Lock", "\"to alice\" [sync.Mutex.Lock", "]: lock 0x",
                           ", held by goroutine ", "::debit(", "\tcreated by "}) {
    EXPECT_TRUE(contains(cycle, part)) << part << " is missing in\n" << child.err;
  }
  // The usual list follows, with who is stuck but of no cycle.
  EXPECT_TRUE(contains(child.err.substr(end), "\"main\" [sync.WaitGroup.Wait")) << child.err;
}

TEST(MutexCycleTest, WithoutTheOptionNothingIsKnown) {
  const auto child = test::in_child([] {
    ::unsetenv("WEFT_LOCK_OWNERS");
    weft::run(RuntimeOptions{.processors = 2}, [] {
      Mutex mutex;
      mutex.lock();
      test::go_parked([&] {
        mutex.lock();
        mutex.lock();
      });
      mutex.unlock();
      while (mutex.try_lock()) mutex.unlock();
      EXPECT_TRUE(weft::find_lock_cycles().empty());
      mutex.lock();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_TRUE(contains(child.err, "deadlock!\n\ngoroutine ")) << child.err;
}

TEST(MutexCycleTest, TheEnvironmentAsksForItToo) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_LOCK_OWNERS", "1", 1);
    weft::run(RuntimeOptions{.processors = 2}, [] {
      Mutex mutex;
      mutex.lock();
      mutex.lock();
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_TRUE(contains(child.err, "deadlock!\n\na goroutine waits for a lock that it holds itself:\n")) << child.err;
}

}  // namespace

// stats() and resident_stack_bytes(): what they count.

#include <weft/stats.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"

namespace {

using weft::Runtime;
using weft::RuntimeOptions;
using weft::Stats;
using weft::WaitGroup;
namespace test = weft::test;

std::uint64_t sum(const Stats& stats) {
  return std::accumulate(stats.waiting_by_reason.begin(), stats.waiting_by_reason.end(), std::uint64_t{0},
                         [](std::uint64_t n, const weft::WaitCount& wait) { return n + wait.count; });
}

std::string text(const Stats& stats) {
  std::string all;
  for (const weft::WaitCount& wait : stats.waiting_by_reason) {
    all += std::to_string(wait.count) + " " + std::string(wait.reason) + "; ";
  }
  return all;
}

TEST(StatsTest, WaitingGoroutinesAreCountedByReasonTheMostFrequentFirst) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  const auto chan = weft::make_chan<int>();
  weft::Mutex mutex;
  EXPECT_EQ(text(runtime.stats()), "");
  runtime.run([&] {
    WaitGroup group;
    mutex.lock();
    for (int i = 0; i < 5; ++i) test::go_parked(group, [&] { chan.recv(); });
    for (int i = 0; i < 2; ++i) {
      test::go_parked(group, [&] {
        mutex.lock();
        mutex.unlock();
      });
    }
    for (int i = 0; i < 3; ++i) {
      test::go_parked(group, [&] { weft::select(chan.on_recv(), weft::Chan<int>().on_recv()); });
    }
    const Stats stats = runtime.stats();
    EXPECT_EQ(text(stats), "5 chan receive; 3 select; 2 sync.Mutex.Lock; ");
    EXPECT_EQ(sum(stats), stats.waiting);
    EXPECT_EQ(stats.waiting, 10U);
    mutex.unlock();
    chan.close();
    group.wait();
    EXPECT_EQ(text(runtime.stats()), "");
  });
}

TEST(StatsTest, TheSumIsThatOfTheSnapshotWhileGoroutinesParkAndWake) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<bool> is_over{false};
  runtime.run([&] {
    WaitGroup group;
    const auto chan = weft::make_chan<int>();
    for (int g = 0; g < 4; ++g) {
      group.go([&] {
        while (!is_over) weft::select(chan.on_recv(), chan.on_send(1), weft::on_timeout(std::chrono::microseconds(50)));
      });
    }
    for (int i = 0; i < test::rounds(2000); ++i) {
      const Stats stats = runtime.stats();
      ASSERT_EQ(sum(stats), stats.waiting);
      if (i % 8 == 0) weft::yield();
    }
    is_over = true;
    group.wait();
  });
}

TEST(StatsTest, AGoroutineThatComputesForLongIsDetached) {
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::atomic<bool> is_over{false};
  std::atomic<bool> has_run{false};
  EXPECT_EQ(runtime.stats().detached, 0U);
  runtime.go([&] {
    while (!is_over) {
    }
  });
  while (runtime.stats().running == 0) std::this_thread::yield();
  runtime.go([&] { has_run = true; });
  while (!has_run) std::this_thread::yield();  // there is one processor: the other one has lost it
  EXPECT_EQ(runtime.stats().detached, 1U);
  EXPECT_GE(runtime.stats().threads, 2U);
  is_over = true;
  while (runtime.stats().detached != 0) std::this_thread::yield();
}

[[gnu::noinline]] void go_deep(std::size_t bytes) {
  volatile char* room = static_cast<char*>(__builtin_alloca(bytes));
  for (std::size_t i = 0; i < bytes; i += 1024) room[i] = 1;
}

constexpr std::size_t kMany = 200;
constexpr std::size_t kPooled = 64;  // stacks that had been used before, or were carved in advance
constexpr std::size_t kPage = 4096;
constexpr std::size_t kDeep = 40 * kPage;

TEST(StatsTest, ResidentStackBytesFollowWhatStacksHaveWritten) {
  weft::run(RuntimeOptions{.processors = 1}, [] {
    const std::size_t before = weft::resident_stack_bytes();
    EXPECT_GE(before, kPage);
    const auto chan = weft::make_chan<int>();
    WaitGroup group;
    for (std::size_t i = 0; i < kMany; ++i) test::go_parked(group, [&] { chan.recv(); });
    const std::size_t shallow = weft::resident_stack_bytes();
    EXPECT_GE(shallow - before, (kMany - kPooled) * kPage);
    EXPECT_LE(shallow, weft::stats().stack_bytes);
    test::go_parked(group, [&] {
      go_deep(kDeep);
      chan.recv();
    });
    const std::size_t deep = weft::resident_stack_bytes();
    EXPECT_GE(deep - shallow, kDeep);
    group.go({.stack_size = 4 * kDeep}, [&] {
      go_deep(3 * kDeep);
      chan.recv();
    });
    while (weft::stats().waiting < kMany + 2) weft::yield();
    EXPECT_GE(weft::resident_stack_bytes() - deep, 3 * kDeep);
    chan.close();
    group.wait();
  });
}

}  // namespace

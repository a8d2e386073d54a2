// Stacks: both kinds of guard, sizes, pages given back, and what go() says when no more stacks can be had.

#include "stack.hpp"

#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "memory_probe.hpp"
#include "watchdog.hpp"

namespace {

using testing::HasSubstr;
using weft::detail::GuardKind;
using weft::detail::page_size;
using weft::detail::StackRange;
using weft::detail::StackSlabs;
namespace detail = weft::detail;
namespace test = weft::test;

constexpr std::size_t kKiB = 1024;

/// Forces the kind of guard. In a child only, and first of all: the kind is looked up once.
void force_guard(bool with_mprotect) {
  if (with_mprotect) {
    ::setenv("WEFT_STACK_GUARD", "mprotect", 1);
  } else {
    ::unsetenv("WEFT_STACK_GUARD");
  }
}

/// The sanitizers have handlers of their own.
void die_of_bad_writes() { std::signal(SIGSEGV, SIG_DFL); }

void expect_died_of_the_guard(const test::ChildResult& child) {
  EXPECT_EQ(child.signal, SIGSEGV) << "exit code " << child.exit_code << ", stderr: " << child.err;
  EXPECT_EQ(child.out, "before\n");
}

void say(const char* text) {
  std::puts(text);
  std::fflush(stdout);
}

/// Uses about `depth` KiB of stack.
[[gnu::noinline]] std::size_t recurse(std::size_t depth) {
  volatile char frame[kKiB];
  std::memset(const_cast<char*>(frame), static_cast<int>(depth), sizeof frame);
  const std::size_t below = depth == 0 ? 0 : recurse(depth - 1);
  return below + static_cast<std::size_t>(frame[depth % kKiB] == static_cast<char>(depth));
}

// ---- sizes ----

TEST(StackTest, SizesAreWholePagesAndNotTooSmall) {
  for (const std::size_t wish :
       {std::size_t{0}, std::size_t{1}, 16 * kKiB, 16 * kKiB + 1, 100'000 * std::size_t{1}, kKiB * kKiB}) {
    const std::size_t size = detail::round_stack_size(wish);
    EXPECT_EQ(size % page_size(), 0U);
    EXPECT_GE(size, wish);
    EXPECT_GE(size, 16 * kKiB);
    EXPECT_LT(size, std::max(wish, 16 * kKiB) * (test::kAsan ? 2 : 1) + page_size());
  }
}

TEST(StackTest, AllOfAStackIsUsable) {
  const test::TouchProbe probe;
  const std::size_t size = 64 * kKiB;
  const StackRange stack = detail::map_single_stack(size);
  EXPECT_EQ(stack.size, size);
  for (std::byte* at = stack.low; at < stack.top(); at += page_size()) EXPECT_TRUE(probe.is_writable(at));
  EXPECT_TRUE(probe.is_writable(stack.top() - 1));
  detail::unmap_single_stack(stack);
  EXPECT_FALSE(probe.is_readable(stack.low));
}

// Rules: HZ-13
TEST(StackTest, AGoroutineHasTheStackItAskedFor) {
  weft::run([] {
    weft::WaitGroup wg;
    for (const std::size_t kib : {64U, 256U, 1024U, 8192U}) {
      const weft::GoOptions options{.stack_size = kib * kKiB};
      wg.go(options, [kib] { EXPECT_GT(recurse(kib / (test::kSanitized ? 4 : 2)), 0U); });
    }
    wg.go([] { EXPECT_GT(recurse(test::kSanitized ? 64 : 200), 0U); });  // the default: 256 KiB
    wg.wait();
  });
}

// ---- guards ----

// Rules: HZ-13
TEST(StackTest, EveryStackOfASlabHasAGuardOfEitherKind) {
  for (const bool with_mprotect : {false, true}) {
    const auto child = test::in_child([with_mprotect] {
      force_guard(with_mprotect);
      if (with_mprotect && detail::guard_kind() != GuardKind::kMprotect) say("not forced");
      const test::TouchProbe probe;
      StackSlabs slabs(64 * kKiB, 8);
      slabs.reserve(1'024);
      std::vector<StackSlabs::Carved> carved(1'024);
      std::size_t got = 0;
      while (got < carved.size()) {
        const std::size_t n = slabs.carve(&carved[got], 16);
        if (n == 0) break;
        got += n;
      }
      std::size_t guarded = 0;
      for (const StackSlabs::Carved& one : carved) {
        const bool usable = probe.is_writable(one.stack.low) && probe.is_writable(one.stack.top() - 1);
        const bool guard = !probe.is_readable(one.stack.low - 1) && !probe.is_writable(one.stack.low - page_size());
        guarded += usable && guard ? 1 : 0;
      }
      std::printf("%zu carved, %zu guarded\n", got, guarded);
    });
    EXPECT_EQ(child.exit_code, 0) << child.err;
    EXPECT_EQ(child.out, "1024 carved, 1024 guarded\n") << (with_mprotect ? "mprotect" : "the best kind");
  }
}

TEST(StackTest, StacksOfASlabDoNotOverlap) {
  StackSlabs slabs(64 * kKiB, 0);
  slabs.reserve(600);  // several slabs
  std::vector<StackSlabs::Carved> carved(600);
  ASSERT_EQ(slabs.carve(carved.data(), 600), 600U);
  std::sort(carved.begin(), carved.end(), [](const auto& a, const auto& b) { return a.stack.low < b.stack.low; });
  for (std::size_t i = 1; i < carved.size(); ++i) {
    EXPECT_GE(carved[i].stack.low, carved[i - 1].stack.top() + page_size()) << "no room for the guard between them";
  }
  for (const StackSlabs::Carved& one : carved) EXPECT_EQ(one.stack.size, detail::round_stack_size(64 * kKiB));
}

// The caches of addresses choose their sets by the lowest bits of a page's number: an even distance uses half of them at most.
TEST(StackTest, HotEndsOfASlabLieAnOddNumberOfPagesApart) {
  for (const std::size_t kib : {16U, 60U, 64U, 252U, 256U, 1024U}) {
    StackSlabs slabs(kib * kKiB, 0);
    slabs.reserve(16);
    StackSlabs::Carved carved[16];
    ASSERT_EQ(slabs.carve(carved, 16), 16U);
    for (std::size_t i = 1; i < 16; ++i) {
      const auto apart = static_cast<std::size_t>(carved[i].stack.top() - carved[i - 1].stack.top());
      EXPECT_EQ(apart % (2 * page_size()), page_size()) << kib << " KiB";
      EXPECT_LE(apart, carved[i].stack.size + 2 * page_size()) << kib << " KiB";
    }
  }
}

// Rules: HZ-13
TEST(StackTest, AWriteToTheGuardOfASlabStackDies) {
  for (const bool with_mprotect : {false, true}) {
    const auto child = test::in_child([with_mprotect] {
      force_guard(with_mprotect);
      die_of_bad_writes();
      StackSlabs slabs(64 * kKiB, 8);
      slabs.reserve(10);
      StackSlabs::Carved carved[3];
      if (slabs.carve(carved, 3) != 3) std::abort();
      *static_cast<volatile std::byte*>(carved[1].stack.low) = std::byte{1};
      say("before");
      *static_cast<volatile std::byte*>(carved[1].stack.low - 1) = std::byte{1};
      say("after");
    });
    expect_died_of_the_guard(child);
  }
}

// Rules: HZ-13
TEST(StackTest, AWriteToTheGuardOfASingleStackDies) {
  for (const bool with_mprotect : {false, true}) {
    const auto child = test::in_child([with_mprotect] {
      force_guard(with_mprotect);
      die_of_bad_writes();
      const StackRange stack = detail::map_single_stack(32 * kKiB);
      *static_cast<volatile std::byte*>(stack.low) = std::byte{1};
      say("before");
      *static_cast<volatile std::byte*>(stack.low - page_size()) = std::byte{1};
      say("after");
    });
    expect_died_of_the_guard(child);
  }
}

// Rules: HZ-13
TEST(StackTest, AGoroutineThatOverflowsItsStackDies) {
  if (test::kSanitized) GTEST_SKIP() << "the sanitizer's own code runs on the stack that has just overflowed";
  for (const bool with_mprotect : {false, true}) {
    const auto child = test::in_child([with_mprotect] {
      force_guard(with_mprotect);
      die_of_bad_writes();
      weft::run(weft::RuntimeOptions{.handle_stack_overflow = false}, [] {
        say("before");
        std::printf("%zu\n", recurse(1'000'000));
      });
    });
    expect_died_of_the_guard(child);
  }
}

// ---- pages ----

TEST(StackTest, ColdPagesGoBackAndHotOnesStay) {
  const StackRange stack = detail::map_single_stack(1024 * kKiB);
  std::memset(stack.low, 1, stack.size);
  ASSERT_EQ(test::resident_bytes(stack.low, stack.size), stack.size);
  detail::release_cold_pages({&stack, 1}, 16 * kKiB);
  EXPECT_EQ(test::resident_bytes(stack.low, stack.size), 16 * kKiB);
  EXPECT_EQ(*(stack.top() - 1), std::byte{1});
  EXPECT_EQ(*(stack.top() - 16 * kKiB), std::byte{1});
  EXPECT_EQ(*(stack.top() - 16 * kKiB - 1), std::byte{0});
  detail::release_cold_pages({&stack, 1}, 2 * stack.size);  // nothing to do
  EXPECT_EQ(*(stack.top() - 1), std::byte{1});
  detail::release_cold_pages({&stack, 1}, 1);  // a whole page at least
  EXPECT_EQ(*(stack.top() - page_size()), std::byte{1});
  detail::release_cold_pages({&stack, 1}, 0);
  EXPECT_EQ(test::resident_bytes(stack.low, stack.size), 0U);
  detail::unmap_single_stack(stack);
}

TEST(StackTest, ColdPagesOfManyStacksGoBackTogether) {
  std::vector<StackRange> stacks;
  // The small ones have nothing cold; the number of those that have is all, one, and none.
  for (const std::size_t big : {detail::kReleasedAtOnce, std::size_t{1}, std::size_t{0}}) {
    for (std::size_t i = 0; i < detail::kReleasedAtOnce; ++i) {
      stacks.push_back(detail::map_single_stack(i < big ? 64 * kKiB : 16 * kKiB));
      std::memset(stacks.back().low, 1, stacks.back().size);
    }
    detail::release_cold_pages(stacks, 16 * kKiB);
    for (const StackRange& stack : stacks) {
      EXPECT_EQ(test::resident_bytes(stack.low, stack.size), 16 * kKiB);
      EXPECT_EQ(*(stack.top() - 16 * kKiB), std::byte{1});
      detail::unmap_single_stack(stack);
    }
    stacks.clear();
  }
}

TEST(StackTest, ReleasingColdPagesLowersTheProcesssMemory) {
  const StackRange stack = detail::map_single_stack(64 * 1024 * kKiB);
  std::memset(stack.low, 1, stack.size);
  const std::size_t before = test::resident_bytes();
  detail::release_cold_pages({&stack, 1}, 16 * kKiB);
  const std::size_t after = test::resident_bytes();
  EXPECT_LT(after + 60 * 1024 * kKiB, before);
  detail::unmap_single_stack(stack);
}

TEST(StackTest, TheGuardSurvivesTheReleaseOfPages) {
  const test::TouchProbe probe;
  StackSlabs slabs(64 * kKiB, 0);
  slabs.reserve(4);
  StackSlabs::Carved carved[4];
  ASSERT_EQ(slabs.carve(carved, 4), 4U);
  for (StackSlabs::Carved& one : carved) detail::release_cold_pages({&one.stack, 1}, 0);
  for (StackSlabs::Carved& one : carved) EXPECT_FALSE(probe.is_readable(one.stack.low - 1));
}

// Runs that went deep leave little memory behind while there is still work to do, and no more than the caches' once there is none.
TEST(StackTest, GoroutinesThatRanDeepLeaveNoMemoryBehind) {
  if (test::kSanitized) GTEST_SKIP() << "counts the bytes of the whole process";
  const test::Watchdog watchdog("an idle runtime keeps what deep runs have left");
  weft::Runtime runtime(weft::RuntimeOptions{.processors = 1});
  std::size_t during = 0;
  runtime.run([&] {
    constexpr int kGoroutines = 1'000;
    const auto gate = weft::make_chan<weft::Unit>();
    weft::WaitGroup wg;
    for (int i = 0; i < kGoroutines; ++i) {
      wg.go([gate] {
        EXPECT_GT(recurse(180), 0U);
        gate.recv();
      });
    }
    test::eventually([&] { return weft::stats().waiting >= kGoroutines; });
    during = test::resident_bytes();
    gate.close();
    wg.wait();
    const std::size_t after = test::resident_bytes();
    // 180 MiB were touched. As they are stay 32 stacks or so in each of the two chains of the processor's cache, and 256 others.
    EXPECT_LT(after + 100 * 1024 * kKiB, during);
  });
  test::spin_until([&] { return test::resident_bytes() + 140 * 1024 * kKiB < during; });
}

// ---- limits ----

/// What is small is to be had whatever runs out: all threads share one heap, which has grown before.
void have_memory_in_hand() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TOP_PAD, 64 * 1024 * static_cast<int>(kKiB));
  std::free(std::malloc(100 * kKiB));
}

/// Starts goroutines that park until go() throws; says what it threw; lets them end; and shows that all goes on.
void spawn_until_it_fails(std::size_t most) {
  weft::run([most] {
    const auto gate = weft::make_chan<weft::Unit>();
    weft::WaitGroup wg;
    for (int round = 0; round < 2; ++round) {
      std::size_t started = 0;
      try {
        while (started < most) {
          wg.go([gate] { gate.recv(); });
          ++started;
          if (started % 64 == 0) weft::yield();
        }
        say("no error");
      } catch (const std::system_error& error) {
        std::printf("system_error: %s\n", error.what());
        std::fflush(stdout);
      }
      // Those that run go on.
      const auto echo = weft::make_chan<int>();
      if (started >= 10) {
        for (std::size_t i = 0; i < started; ++i) gate.send({});
        wg.wait();
      }
      for (int i = 0; i < 100; ++i) {
        weft::go([echo, i] { echo.send(i); });
        if (echo.recv().value() != i) std::abort();
      }
      say(started >= 10 ? "goes on" : "too few");
    }
  });
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    lines.push_back(text.substr(at, end - at));
    at = end == std::string::npos ? text.size() : end + 1;
  }
  return lines;
}

void expect_failed_twice_and_went_on(const test::ChildResult& child) {
  EXPECT_EQ(child.exit_code, 0) << "signal " << child.signal << ", stderr: " << child.err;
  const std::vector<std::string> lines = lines_of(child.out);
  ASSERT_EQ(lines.size(), 4U) << child.out;
  for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
    EXPECT_THAT(lines[i], HasSubstr("system_error: weft: go: no stack for another goroutine"));
    EXPECT_THAT(lines[i], HasSubstr("vm.max_map_count (now " + std::to_string(test::max_map_count()) + ")"));
    EXPECT_THAT(lines[i], HasSubstr("RLIMIT_AS"));
    EXPECT_EQ(lines[i + 1], "goes on");
  }
}

// Rules: HZ-13
TEST(StackTest, GoNamesTheLimitsWhenAddressSpaceRunsOut) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's shadow memory does not fit under the limit";
  const auto child = test::in_child([] {
    have_memory_in_hand();
    weft::run([] {});  // the threads' stacks are there before the limit is
    // So is the main thread's, which grows: under the limit it could not, and the process would end without a word.
    volatile char room[256 * kKiB];
    for (std::size_t i = 0; i < sizeof room; i += page_size()) room[i] = 1;
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t bytes = pages * page_size() + rlim_t{200} * 1024 * kKiB;
    const rlimit limit{bytes, bytes};
    if (::setrlimit(RLIMIT_AS, &limit) != 0) std::abort();
    spawn_until_it_fails(100'000);
  });
  expect_failed_twice_and_went_on(child);
}

// Rules: HZ-13
TEST(StackTest, GoNamesTheLimitsWhenMappingsRunOut) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer does not survive without mappings of its own";
  if (test::max_map_count() > 70'000) GTEST_SKIP() << "vm.max_map_count is not the default";
  const auto child = test::in_child([] {
    have_memory_in_hand();
    force_guard(true);
    spawn_until_it_fails(40'000);
  });
  expect_failed_twice_and_went_on(child);
}

// The same number of goroutines is no difficulty with guards that cost no mapping.
TEST(StackTest, GuardsThatCostNoMappingHaveNoSuchLimit) {
  if (test::kSanitized) GTEST_SKIP() << "counts mappings";
  if (detail::guard_kind() != GuardKind::kMadvise) GTEST_SKIP() << "this kernel has no MADV_GUARD_INSTALL";
  const auto child = test::in_child([] {
    const std::size_t before = test::mappings();
    weft::run([before] {
      const auto gate = weft::make_chan<weft::Unit>();
      weft::WaitGroup wg;
      std::atomic<int> started{0};
      for (int i = 0; i < 40'000; ++i) {
        wg.go([&started, gate] {
          started.fetch_add(1, std::memory_order_relaxed);
          gate.recv();
        });
      }
      test::eventually([&] { return started.load(std::memory_order_relaxed) == 40'000; });
      test::eventually([&] { return weft::stats().waiting >= 40'000; });
      const std::size_t now = test::mappings();
      if (now > before + 200) std::printf("%zu mappings more\n", now - before);
      gate.close();
      wg.wait();
      say("done");
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "done\n");
}

}  // namespace

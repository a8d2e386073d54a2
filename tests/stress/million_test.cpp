// A million goroutines parked on one channel: memory, mappings, guards, and that all of them come back.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/wait_group.hpp>

#include "../runtime/memory_probe.hpp"
#include "../support/support.hpp"
#include "fiber.hpp"
#include "sched.hpp"

namespace {

using weft::detail::Fiber;
using weft::detail::page_size;
using weft::detail::StackRange;
using weft::detail::Task;
namespace detail = weft::detail;
namespace test = weft::test;

constexpr std::size_t kMostBytesEach = 4'400;

std::size_t how_many() {
  // Guards by mprotect split a mapping each: then vm.max_map_count is the limit.
  if (detail::guard_kind() == detail::GuardKind::kMprotect) return test::crowd(std::size_t{20'000});
  return test::crowd(std::size_t{1'000'000});
}

/// The stacks of all goroutines of the runtime that have one.
std::vector<StackRange> stacks_of(weft::Runtime& runtime) {
  std::vector<StackRange> stacks;
  runtime.scheduler().tasks.for_each([&](Task& task) {
    const Fiber* fiber = task.fiber.load();
    if (fiber != nullptr) stacks.push_back(fiber->state.stack);
  });
  return stacks;
}

std::string dump() {
  std::FILE* file = std::tmpfile();
  weft::dump_goroutines(::fileno(file));
  std::string text(static_cast<std::size_t>(::lseek(::fileno(file), 0, SEEK_END)), '\0');
  const auto got = ::pread(::fileno(file), text.data(), text.size(), 0);
  std::fclose(file);
  return got == static_cast<::ssize_t>(text.size()) ? text : "";
}

// A million count in a dump as one entry of those whose stacks were walked, and one of those that were taken to be alike.
void expect_dump_of_a_few_lines(std::size_t count) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string report = dump();
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begin);
  std::printf("%zu goroutines: dumped in %lld ms\n", count, static_cast<long long>(ms.count()));
  EXPECT_NE(report.find(std::to_string(count) + " goroutines: 0 running, 0 runnable, "), std::string::npos) << report;
  EXPECT_NE(report.find("[chan receive"), std::string::npos);
  EXPECT_EQ(report.find("more goroutines"), std::string::npos);
  EXPECT_LT(report.size(), 10'000U) << report.substr(0, 10'000);
}

// Rules: CH-27, HZ-13
TEST(MillionTest, AMillionParkedGoroutinesCostAPageEachAndAllComeBack) {
  const std::size_t count = how_many();
  weft::Runtime runtime(weft::RuntimeOptions{.processors = 2});
  runtime.run([] {});  // what a runtime costs by itself
  const std::size_t memory_before = test::resident_bytes();
  const std::size_t mappings_before = test::mappings();

  const auto gate = weft::make_chan<std::uint64_t>();
  std::atomic<std::uint64_t> sum{0};
  std::atomic<std::size_t> started{0};
  weft::WaitGroup wg;
  runtime.run([&] {
    for (std::size_t i = 0; i < count; ++i) {
      wg.go([&] {
        started.fetch_add(1, std::memory_order_relaxed);
        sum.fetch_add(gate.recv().value(), std::memory_order_relaxed);
      });
    }
    test::eventually([&] { return started.load(std::memory_order_relaxed) == count; });
  });
  test::eventually([&] { return runtime.stats().waiting == count; });
  test::eventually([&] { return runtime.stats().live == count; });  // run()'s own goroutine has ended

  const std::size_t memory = test::resident_bytes() - memory_before;
  const std::size_t mappings = test::mappings() - mappings_before;
  std::printf("%zu goroutines: %zu bytes each, %zu mappings more\n", count, memory / count, mappings);
  if (!test::kSanitized && detail::guard_kind() == detail::GuardKind::kMadvise) {
    EXPECT_LE(memory / count, kMostBytesEach);
    EXPECT_LT(mappings_before + mappings, test::max_map_count() / 10);
  }

  // Each stack is its own, and ends in a page that cannot be touched.
  const test::TouchProbe probe;
  const std::vector<StackRange> stacks = stacks_of(runtime);
  ASSERT_EQ(stacks.size(), count);
  std::size_t guarded = 0;
  for (const StackRange stack : stacks) {
    guarded += !probe.is_readable(stack.low - 1) && !probe.is_readable(stack.low - page_size()) ? 1 : 0;
  }
  EXPECT_EQ(guarded, count);

  expect_dump_of_a_few_lines(count);

  // One value each, in whatever order.
  runtime.run([&] {
    for (std::uint64_t i = 1; i <= count; ++i) gate.send(i);
    wg.wait();
  });
  EXPECT_EQ(sum.load(), std::uint64_t{count} * (count + 1) / 2);
  test::eventually([&] { return runtime.stats().live == 0; });

  // They are used again: the same number costs no more the second time.
  const std::size_t mappings_used = test::mappings();
  const auto second_gate = weft::make_chan<std::uint64_t>();
  const std::size_t again = count / 10;
  runtime.run([&] {
    for (std::size_t i = 0; i < again; ++i) {
      wg.go([&] { second_gate.recv(); });
    }
  });
  test::eventually([&] { return runtime.stats().waiting == again; });
  EXPECT_LE(test::mappings(), mappings_used + 16);
  second_gate.close();
  wg.wait();
}

// Rules: HZ-13
TEST(MillionTest, AWriteBelowTheStackOfAParkedGoroutineDies) {
  // The first, one in the middle and the last of several thousand goroutines.
  const auto count = test::crowd(std::size_t{2'000});
  for (const std::size_t which : {std::size_t{0}, count * 3 / 5, count - 1}) {
    const auto child = test::in_child([which, count] {
      std::signal(SIGSEGV, SIG_DFL);  // the sanitizers have handlers of their own
      weft::Runtime runtime;
      const auto gate = weft::make_chan<int>();
      for (std::size_t i = 0; i < count; ++i) runtime.go([gate] { gate.recv(); });
      test::eventually([&] { return runtime.stats().waiting == count; });
      const StackRange stack = stacks_of(runtime).at(which);
      *static_cast<volatile std::byte*>(stack.low) = std::byte{1};
      std::puts("before");
      std::fflush(stdout);
      *static_cast<volatile std::byte*>(stack.low - 1) = std::byte{1};
      std::puts("after");
    });
    EXPECT_EQ(child.signal, SIGSEGV) << "exit code " << child.exit_code << ", stderr: " << child.err;
    EXPECT_EQ(child.out, "before\n");
  }
}

}  // namespace

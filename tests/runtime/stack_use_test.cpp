// How deep goroutines go, by spawn site: on new stacks, on used ones, on stacks of their own.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>

#include "../support/support.hpp"

namespace test = weft::test;

// With names that a list can show.
namespace diving {

constexpr std::size_t kKiB = 1024;

/// Uses about so many KiB of stack (more under a sanitizer).
[[gnu::noinline]] std::size_t dive(std::size_t depth) {
  volatile char frame[kKiB];
  std::memset(const_cast<char*>(frame), 1, sizeof frame);
  const std::size_t below = depth <= 1 ? 0 : dive(depth - 1);
  return below + static_cast<std::size_t>(frame[depth % kKiB]);
}

[[gnu::noinline]] void spawn_deep(weft::Runtime& runtime, const weft::GoOptions& options, std::size_t depth) {
  runtime.go(options, [depth] { static_cast<void>(dive(depth)); });
  asm volatile("" ::: "memory");  // no tail call
}

[[gnu::noinline]] void spawn_shallow(weft::Runtime& runtime) {
  runtime.go([] {
    for (int i = 0; i < 3; ++i) weft::yield();
  });
  asm volatile("" ::: "memory");
}

}  // namespace diving

namespace {

using diving::kKiB;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::StackUse;

void drain(Runtime& runtime) {
  test::eventually([&] { return runtime.stats().live == 0; });
}

std::vector<StackUse> uses_of(Runtime& runtime) {
  return runtime.run([] { return weft::stack_use(); });
}

/// The only site with so many goroutines.
StackUse with_count(const std::vector<StackUse>& uses, std::uint64_t goroutines) {
  const auto found =
      std::find_if(uses.begin(), uses.end(), [&](const StackUse& use) { return use.goroutines == goroutines; });
  return found == uses.end() ? StackUse{} : *found;
}

// Rules: HZ-13
TEST(StackUseTest, EachSpawnSiteHasItsDeepestGoroutine) {
  Runtime runtime(RuntimeOptions{.processors = 2, .stack_size = 512 * kKiB, .measure_stacks = true});
  for (int i = 0; i < 20; ++i) diving::spawn_deep(runtime, {}, i == 7 ? 100 : 10);
  drain(runtime);
  for (int i = 0; i < 300; ++i) diving::spawn_shallow(runtime);  // on the same stacks
  drain(runtime);
  const std::vector<StackUse> uses = uses_of(runtime);
  const StackUse deep = with_count(uses, 20);
  const StackUse shallow = with_count(uses, 300);
  EXPECT_GE(deep.most_bytes, 100 * kKiB);
  EXPECT_GE(deep.stack_size, 500 * kKiB);
  EXPECT_GT(shallow.most_bytes, 0U);
  EXPECT_LE(shallow.most_bytes, test::kSanitized ? 40 * kKiB : 16 * kKiB);
  EXPECT_TRUE(std::is_sorted(uses.begin(), uses.end(),
                             [](const StackUse& a, const StackUse& b) { return a.most_bytes > b.most_bytes; }));
  if (test::kSanitized) return;  // frames are bigger, and the call of go() is in a function without a name
  EXPECT_LE(deep.most_bytes, 100 * (kKiB + 128) + 8 * kKiB);
  EXPECT_EQ(deep.spawn_site.find("diving::spawn_deep("), 0U) << deep.spawn_site;
  EXPECT_EQ(shallow.spawn_site.find("diving::spawn_shallow("), 0U) << shallow.spawn_site;
}

// Rules: HZ-13
TEST(StackUseTest, StacksOfTheirOwnAreMeasuredToo) {
  Runtime runtime(RuntimeOptions{.processors = 1, .measure_stacks = true});
  for (int i = 0; i < 5; ++i) {
    diving::spawn_deep(runtime, weft::GoOptions{.stack_size = 4 * kKiB * kKiB}, i == 0 ? 600 : 3);
    drain(runtime);
  }
  const StackUse use = with_count(uses_of(runtime), 5);
  EXPECT_GE(use.most_bytes, 600 * kKiB);
  EXPECT_GE(use.stack_size, 4 * kKiB * kKiB);
}

// Rules: HZ-13
TEST(StackUseTest, NothingIsMeasuredUnlessAskedFor) {
  Runtime runtime;
  diving::spawn_deep(runtime, {}, 10);
  drain(runtime);
  EXPECT_TRUE(uses_of(runtime).empty());
}

// Rules: HZ-13
TEST(StackUseTest, TheEnvironmentPrintsTheListAtTheEnd) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_STACK_STATS", "1", 1);
    {
      Runtime runtime;
      for (int i = 0; i < 30; ++i) diving::spawn_deep(runtime, weft::GoOptions{.stack_size = kKiB * kKiB}, 50);
      drain(runtime);
    }
    weft::run([] {});
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  std::size_t tables = 0;
  for (std::size_t at = 0; (at = child.err.find("weft: stack use by spawn site\n", at)) != std::string::npos; ++at) {
    ++tables;
  }
  EXPECT_EQ(tables, 2U) << child.err;  // of that runtime, and of the default one at exit
  EXPECT_NE(child.err.find("         30  "), std::string::npos) << child.err;
  if (test::kSanitized) return;
  EXPECT_NE(child.err.find("  diving::spawn_deep("), std::string::npos) << child.err;
}

}  // namespace

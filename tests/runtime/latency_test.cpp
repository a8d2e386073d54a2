// Times from ready to running: every begin is counted, once, in the right bucket.

#include "latency_counts.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/latency.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "hogs.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::SchedLatencies;
using weft::detail::LatencyCounts;
namespace test = weft::test;

TEST(LatencyCountsTest, EachTimeIsInTheBucketThatBeginsBeforeItAndEndsAfterIt) {
  std::int64_t ns = 0;
  for (std::size_t last = 0; ns < std::int64_t{1} << 43U; ns += 1 + ns / 50) {
    const std::size_t bucket = LatencyCounts::bucket_of(ns);
    ASSERT_GE(bucket, last);
    last = bucket;
    ASSERT_LT(bucket, LatencyCounts::kBuckets);
    ASSERT_LE(LatencyCounts::begin_of(bucket), ns);
    if (bucket + 1 == LatencyCounts::kBuckets) continue;
    ASSERT_GT(LatencyCounts::begin_of(bucket + 1), ns);
    ASSERT_LE(LatencyCounts::begin_of(bucket + 1) - LatencyCounts::begin_of(bucket),
              std::max<std::int64_t>(1, ns / 16));
  }
  EXPECT_EQ(LatencyCounts::bucket_of(-5), 0U);  // never, but no reason to fall over
  EXPECT_EQ(LatencyCounts::bucket_of(std::numeric_limits<std::int64_t>::max()), LatencyCounts::kBuckets - 1);
  for (std::size_t bucket = 0; bucket < LatencyCounts::kBuckets; ++bucket) {
    ASSERT_EQ(LatencyCounts::bucket_of(LatencyCounts::begin_of(bucket)), bucket);
  }
}

TEST(LatencyCountsTest, PercentilesAreTheEndsOfBuckets) {
  SchedLatencies all;
  EXPECT_EQ(all.percentile(50), 0ns);
  all.buckets = {{10ns, 11ns, 50}, {100ns, 104ns, 49}, {1000ns, 1040ns, 1}};
  all.count = 100;
  all.longest = 1010ns;
  EXPECT_EQ(all.percentile(0), 11ns);
  EXPECT_EQ(all.percentile(50), 11ns);
  EXPECT_EQ(all.percentile(50.5), 104ns);
  EXPECT_EQ(all.percentile(99), 104ns);
  EXPECT_EQ(all.percentile(99.1), 1010ns);  // none was longer
  EXPECT_EQ(all.percentile(100), 1010ns);
  EXPECT_EQ(all.percentile(1000), 1010ns);
}

/// Every goroutine has ended: so each that was started, and each that parked, has begun once.
std::uint64_t begins_without_yields(const weft::Stats& stats) { return stats.spawned + stats.parks; }

/// Chaos mode yields where it likes, and takes processors.
void expect_count(std::uint64_t count, std::uint64_t wanted) {
  EXPECT_GE(count, wanted);
  if (!test::chaos()) {
    EXPECT_EQ(count, wanted);
  }
}

std::uint64_t sum(const SchedLatencies& all) {
  std::uint64_t count = 0;
  for (const SchedLatencies::Bucket& bucket : all.buckets) count += bucket.count;
  return count;
}

TEST(LatencyTest, EveryStartAndWakeUpIsCountedOnce) {
  for (const unsigned processors : {1U, 2U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors, .measure_latency = true});
    runtime.run([] {
      weft::WaitGroup group;
      for (int i = 0; i < 200; ++i) group.go([] {});
      group.wait();
      for (int i = 0; i < 10; ++i) weft::sleep_for(10us);
    });
    test::eventually([&] { return runtime.stats().live == 0; });
    const SchedLatencies all = weft::sched_latencies(runtime);
    const std::uint64_t wanted = begins_without_yields(runtime.stats());
    EXPECT_GE(wanted, 201U);
    EXPECT_EQ(sum(all), all.count);
    expect_count(all.count, wanted);
    EXPECT_GE(all.longest, all.buckets.back().from);
    EXPECT_LT(all.longest, all.buckets.back().below);
    EXPECT_EQ(all.percentile(100), all.longest);
  }
}

TEST(LatencyTest, YieldsThatRunOthersAreCounted) {
  constexpr std::uint64_t kYields = 100;
  Runtime runtime(RuntimeOptions{.processors = 1, .measure_latency = true});
  runtime.run([] {
    weft::WaitGroup group;
    for (int i = 0; i < 2; ++i) {
      group.go([] {
        for (std::uint64_t k = 0; k < kYields; ++k) weft::yield();
      });
    }
    group.wait();
  });
  test::eventually([&] { return runtime.stats().live == 0; });
  const std::uint64_t others = begins_without_yields(runtime.stats());
  const std::uint64_t yields = weft::sched_latencies(runtime).count - others;
  EXPECT_GE(yields, kYields);  // at least while both are there each makes the other run
  if (!test::chaos()) {
    EXPECT_LE(yields, 2 * kYields);
  }
}

TEST(LatencyTest, WhoWaitsBehindAHogWaitsForLong) {
  Runtime runtime(RuntimeOptions{.processors = 1, .measure_latency = true});
  runtime.run([] {
    weft::WaitGroup group;
    group.go([] {});
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < 3ms) {
    }
    group.wait();
  });
  if (test::chaos()) return;  // the hog loses its processor at once
  EXPECT_GE(weft::sched_latencies(runtime).longest, 3ms);
  EXPECT_LT(weft::sched_latencies(runtime).percentile(10), 3ms);
}

TEST(LatencyTest, NothingIsCountedUnlessAskedFor) {
  Runtime runtime;
  const SchedLatencies all = runtime.run([] {
    weft::yield();
    return weft::sched_latencies();  // of the runtime that it is called on
  });
  EXPECT_EQ(all.count, 0U);
  EXPECT_TRUE(all.buckets.empty());
  EXPECT_EQ(all.percentile(99), 0ns);
}

TEST(LatencyTest, ProcessorsThatComeLaterCountToo) {
  Runtime runtime(RuntimeOptions{.processors = 1, .measure_latency = true});
  runtime.set_processors(3);
  runtime.run([] {
    weft::WaitGroup group;
    for (int i = 0; i < 300; ++i) group.go([] {});
    group.wait();
  });
  test::eventually([&] { return runtime.stats().live == 0; });
  const std::uint64_t wanted = begins_without_yields(runtime.stats());
  expect_count(weft::sched_latencies(runtime).count, wanted);
}

}  // namespace

// The ring of events: what is read is whole, in order and without a gap, while it is written over.

#include "trace_ring.hpp"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "../support/support.hpp"

namespace {

using weft::detail::TraceEvent;
using weft::detail::TraceKind;
using weft::detail::TraceRing;
using weft::detail::TraceTrack;
namespace test = weft::test;

constexpr std::uint64_t kLow48 = (std::uint64_t{1} << 48U) - 1;

/// All its fields tell its number.
TraceEvent event_of(std::uint64_t n) {
  return {static_cast<std::int64_t>(n),
          static_cast<TraceKind>(n % 8),
          static_cast<std::uint8_t>(n % 251),
          (n * 3) & kLow48,
          n * 5,
          n * 7};
}

void expect_event(const TraceEvent& event, std::uint64_t n) {
  const TraceEvent wanted = event_of(n);
  ASSERT_EQ(event.ns, wanted.ns);
  ASSERT_EQ(event.kind, wanted.kind) << n;
  ASSERT_EQ(event.detail, wanted.detail) << n;
  ASSERT_EQ(event.who, wanted.who) << n;
  ASSERT_EQ(event.other, wanted.other) << n;
  ASSERT_EQ(event.word, wanted.word) << n;
}

TEST(TraceRingTest, WhatIsPutIsReadInOrder) {
  TraceRing ring(64);
  std::vector<TraceEvent> events;
  EXPECT_EQ(ring.read(events), 0U);
  EXPECT_TRUE(events.empty());
  for (std::uint64_t n = 0; n < 64; ++n) ring.put(event_of(n));
  EXPECT_EQ(ring.read(events), 0U);
  ASSERT_EQ(events.size(), 64U);
  for (std::uint64_t n = 0; n < 64; ++n) expect_event(events[n], n);
}

TEST(TraceRingTest, TheOldestAreWrittenOver) {
  TraceRing ring(50);  // becomes 64
  EXPECT_EQ(ring.capacity(), 64U);
  for (std::uint64_t n = 0; n < 1000; ++n) ring.put(event_of(n));
  std::vector<TraceEvent> events{event_of(7)};  // what is there stays
  EXPECT_EQ(ring.read(events), 1000U - 64U);
  ASSERT_EQ(events.size(), 65U);
  expect_event(events[0], 7);
  for (std::uint64_t i = 0; i < 64; ++i) expect_event(events[1 + i], 1000 - 64 + i);
  EXPECT_EQ(ring.written(), 1000U);
}

TEST(TraceRingTest, ATrackKeepsItsRingUnlessABiggerOneIsAskedFor) {
  TraceTrack track;
  EXPECT_EQ(track.ring(), nullptr);
  track.provide(64);
  TraceRing* const first = track.ring();
  first->put(event_of(1));
  track.provide(32);
  EXPECT_EQ(track.ring(), first);
  EXPECT_EQ(track.written_before(), 1U);
  track.provide(128);
  EXPECT_NE(track.ring(), first);
  EXPECT_EQ(track.written_before(), 0U);
  first->put(event_of(2));  // by somebody who is late: it is still there
}

TEST(TraceRingTest, NothingTornIsReadWhileItIsWrittenOver) {
  const std::uint64_t total = test::rounds(std::uint64_t{3'000'000});
  TraceRing ring(128);  // small: readers are overtaken all the time
  std::atomic<bool> is_done{false};
  std::atomic<int> ready{0};
  const auto reader = [&] {
    std::vector<TraceEvent> events;
    std::uint64_t last = 0;
    std::uint64_t overtaken = 0;
    ready.fetch_add(1);
    while (!is_done.load()) {
      events.clear();
      const std::uint64_t first = ring.read(events);
      for (std::size_t i = 0; i < events.size(); ++i) {
        expect_event(events[i], first + i);
        if (testing::Test::HasFatalFailure()) return;
      }
      ASSERT_GE(first + events.size(), last);  // time does not go back
      last = first + events.size();
      if (events.size() < ring.capacity() && first > 0) ++overtaken;
    }
    testing::Test::RecordProperty("overtaken", static_cast<int>(overtaken));
  };
  std::thread one(reader);
  std::thread two(reader);
  while (ready.load() != 2) std::this_thread::yield();
  for (std::uint64_t n = 0; n < total; ++n) ring.put(event_of(n));
  is_done.store(true);
  one.join();
  two.join();
  std::vector<TraceEvent> events;
  EXPECT_EQ(ring.read(events), total - 128);
}

}  // namespace

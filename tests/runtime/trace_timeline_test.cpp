// From events to slices and arrows, and to JSON: recordings made by hand.

#include "trace_timeline.hpp"

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "../support/json.hpp"
#include "trace_json.hpp"
#include "weft/detail/wait_reason.hpp"

namespace {

using weft::detail::make_timeline;
using weft::detail::TraceDetail;
using weft::detail::TraceEvent;
using weft::detail::TraceKind;
using weft::detail::TraceRecording;
using weft::detail::TraceSlice;
using weft::detail::TraceSource;
using weft::detail::TraceTimeline;
using weft::detail::TraceTrackId;
using weft::detail::WaitReason;
using weft::test::Json;

constexpr auto kParked = static_cast<std::uint8_t>(WaitReason::kChanReceive);

TraceEvent begins(std::int64_t ns, std::uint64_t who) {
  return {ns, TraceKind::kSwitch, TraceDetail::kNobody, who, 0, 0};
}
TraceEvent switches(std::int64_t ns, std::uint64_t from, std::uint8_t why, std::uint64_t to) {
  return {ns, TraceKind::kSwitch, why, to, from, 0};
}
TraceEvent readies(std::int64_t ns, std::uint64_t waker, std::uint64_t who) {
  return {ns, TraceKind::kReady, TraceDetail::kByGoroutine, who, waker, 0};
}
TraceEvent starts(std::int64_t ns, std::uint64_t spawner, std::uint64_t who) {
  return {ns, TraceKind::kSpawn, TraceDetail::kByGoroutine, who, spawner, 0};
}

TraceSource processor(std::uint32_t index, std::vector<TraceEvent> events) {
  TraceSource source;
  source.runtime = 1;
  source.processor = index;
  source.events = std::move(events);
  return source;
}
TraceSource shared(std::vector<TraceEvent> events) {
  TraceSource source = processor(0, std::move(events));
  source.is_shared = true;
  return source;
}

TraceTimeline play(std::vector<TraceSource> sources, std::int64_t until_ns = 1000, std::int64_t keep_ns = 0) {
  TraceRecording recording;
  recording.until_ns = until_ns;
  recording.sources = std::move(sources);
  return make_timeline(std::move(recording), keep_ns);
}

const TraceTrackId& track_of(const TraceTimeline& timeline, std::size_t slice) {
  return timeline.tracks[timeline.slices[slice].track];
}

TEST(TraceTimelineTest, SwitchesBecomeSlicesThatFollowEachOther) {
  const TraceTimeline t =
      play({processor(0, {begins(10, 1), starts(15, 1, 2), switches(20, 1, kParked, 2), readies(25, 2, 1),
                          switches(30, 0, TraceDetail::kEnded, 1), switches(40, 1, TraceDetail::kYielded, 0)})});
  ASSERT_EQ(t.slices.size(), 3U);
  EXPECT_EQ(t.slices[0].begin_ns, 10);
  EXPECT_EQ(t.slices[0].end_ns, 20);
  EXPECT_EQ(t.slices[0].left, kParked);
  EXPECT_EQ(t.slices[1].goroutine, 2U);
  EXPECT_EQ(t.slices[1].left, TraceDetail::kEnded);
  EXPECT_TRUE(t.slices[1].was_spawned);
  EXPECT_EQ(t.slices[1].waker_slice, 0U);
  EXPECT_EQ(t.slices[1].ready_ns, 15);
  EXPECT_EQ(t.slices[2].goroutine, 1U);
  EXPECT_EQ(t.slices[2].waker, 2U);
  EXPECT_EQ(t.slices[2].waker_slice, 1U);
  EXPECT_EQ(t.slices[2].ready_ns, 25);
  EXPECT_EQ(t.slices[2].end_ns, 40);
  EXPECT_EQ(t.unexplained, 0U);
}

TEST(TraceTimelineTest, EventsOfSeveralProcessorsAreOneStory) {
  // 1 yields on processor 0 and goes on on processor 1, whose ring is read first.
  const TraceTimeline t = play({processor(1, {begins(30, 1), switches(50, 1, kParked, 0)}),
                                processor(0, {begins(10, 1), switches(20, 1, TraceDetail::kYielded, 0)})});
  ASSERT_EQ(t.slices.size(), 2U);
  EXPECT_EQ(track_of(t, 0).number, 0U);
  EXPECT_EQ(track_of(t, 1).number, 1U);
  EXPECT_EQ(t.slices[1].ready_ns, 20);
  EXPECT_EQ(t.slices[1].cause, TraceDetail::kYielded);
  EXPECT_EQ(t.slices[1].waker_slice, TraceSlice::kNone);
  EXPECT_EQ(t.unexplained, 0U);
}

TEST(TraceTimelineTest, WhatHappenedAfterTheEndIsLeftOut) {
  const TraceTimeline t = play(
      {processor(0, {begins(10, 1), readies(90, 1, 2), switches(101, 1, kParked, 2)}), processor(1, {begins(102, 1)})},
      100);
  ASSERT_EQ(t.slices.size(), 1U);
  EXPECT_EQ(t.slices[0].end_ns, 100);
  EXPECT_EQ(t.slices[0].left, TraceDetail::kStillRuns);
}

TEST(TraceTimelineTest, WhoRanBeforeTheFirstEventRanSinceTheRingBegins) {
  TraceSource first = processor(0, {readies(40, 1, 2), switches(50, 1, kParked, 2)});
  first.from_ns = 30;
  // 3 left processor 1 at 35 for processor 2, whose ring begins before that.
  TraceSource second = processor(1, {switches(35, 3, TraceDetail::kYielded, 0)});
  second.from_ns = 20;
  TraceSource third = processor(2, {switches(60, 3, kParked, 0)});
  third.from_ns = 25;
  const TraceTimeline t = play({first, second, third});
  ASSERT_EQ(t.slices.size(), 4U);
  EXPECT_EQ(t.slices[0].goroutine, 3U);
  EXPECT_EQ(t.slices[0].begin_ns, 20);
  EXPECT_EQ(t.slices[1].goroutine, 1U);
  EXPECT_EQ(t.slices[1].begin_ns, 30);
  EXPECT_EQ(t.slices[2].goroutine, 3U);
  EXPECT_EQ(t.slices[2].begin_ns, 35);  // not 25: it was elsewhere until then
  EXPECT_EQ(t.slices[2].end_ns, 60);
  EXPECT_EQ(t.unexplained, 0U);
}

TEST(TraceTimelineTest, ATakenProcessorLeavesTheGoroutineOnItsThread) {
  const TraceTimeline t = play(
      {processor(0, {begins(10, 1), {50, TraceKind::kTaken, 0, 1, 0, 7}, begins(60, 2), switches(70, 2, kParked, 1)}),
       shared({{65, TraceKind::kComeHome, TraceDetail::kYielded, 1, 0, 7}})});
  ASSERT_EQ(t.slices.size(), 4U);
  EXPECT_EQ(t.slices[0].left, TraceDetail::kTaken);
  EXPECT_EQ(track_of(t, 1).kind, TraceTrackId::Kind::kWorker);
  EXPECT_EQ(track_of(t, 1).number, 7U);
  EXPECT_EQ(t.slices[1].begin_ns, 50);
  EXPECT_EQ(t.slices[1].end_ns, 65);
  EXPECT_EQ(t.slices[3].goroutine, 1U);
  EXPECT_EQ(t.slices[3].ready_ns, 65);
  EXPECT_EQ(t.unexplained, 0U);
}

TEST(TraceTimelineTest, AProcessorFoundAgainEndsTheSliceOnTheThread) {
  const TraceTimeline t = play({processor(0, {begins(10, 1), {50, TraceKind::kTaken, 0, 1, 0, 7}}),
                                processor(1, {begins(80, 1), switches(90, 1, TraceDetail::kEnded, 0)})});
  ASSERT_EQ(t.slices.size(), 3U);
  EXPECT_EQ(t.slices[1].end_ns, 80);
  EXPECT_EQ(t.slices[1].left, TraceDetail::kGotProcessor);
  EXPECT_EQ(t.slices[2].begin_ns, 80);
  EXPECT_EQ(t.unexplained, 0U);
}

TEST(TraceTimelineTest, WhatDoesNotFitIsCounted) {
  const TraceTimeline t = play({processor(0, {begins(10, 1), switches(20, 9, kParked, 0)}),
                                processor(1, {begins(30, 2)}), processor(2, {begins(40, 2)})});
  EXPECT_EQ(t.unexplained, 2U);  // 9 leaves where 1 ran; 2 begins twice
  ASSERT_EQ(t.slices.size(), 3U);
  EXPECT_EQ(t.slices[1].end_ns, 40);
}

TEST(TraceTimelineTest, ThreadsThatWakeHaveATrackAndShortSlices) {
  const TraceEvent wake{500, TraceKind::kReady, TraceDetail::kByThread, 1, 4242, 0};
  TraceEvent again = wake;
  again.ns = 700;
  again.who = 2;
  const TraceTimeline t =
      play({processor(0, {begins(800, 1), switches(900, 1, kParked, 2)}), shared({wake, again})}, 5000);
  ASSERT_EQ(t.slices.size(), 4U);
  EXPECT_EQ(track_of(t, 0).kind, TraceTrackId::Kind::kThread);
  EXPECT_EQ(track_of(t, 0).number, 4242U);
  EXPECT_EQ(t.slices[0].goroutine, 0U);
  EXPECT_EQ(t.slices[0].end_ns, 700);  // the next one begins
  EXPECT_EQ(t.slices[2].waker_slice, 0U);
  EXPECT_EQ(t.slices[3].waker_slice, 1U);
}

TEST(TraceTimelineTest, OnlyTheLastOfItIsKept) {
  const TraceTimeline t =
      play({processor(0, {begins(10, 1), readies(15, 1, 2), switches(20, 1, kParked, 2), switches(700, 2, kParked, 3),
                          readies(750, 3, 1), switches(800, 3, TraceDetail::kEnded, 1)})},
           1000, 400);
  EXPECT_EQ(t.begin_ns, 600);
  ASSERT_EQ(t.slices.size(), 3U);
  EXPECT_EQ(t.slices[0].goroutine, 2U);
  EXPECT_EQ(t.slices[0].begin_ns, 600);
  EXPECT_EQ(t.slices[0].ready_ns, 0);
  EXPECT_EQ(t.slices[0].waker_slice, TraceSlice::kNone);
  EXPECT_EQ(t.slices[2].waker_slice, 1U);
}

// --- names and texts ---

void add_text(std::vector<TraceEvent>& events, std::int64_t ns, TraceKind kind, std::uint64_t who,
              std::string_view text) {
  for (std::size_t part = 0; part * 16 < text.size(); ++part) {
    std::uint64_t words[2] = {};
    const std::string_view piece = text.substr(part * 16, 16);
    std::memcpy(words, piece.data(), piece.size());
    events.push_back({ns, kind, static_cast<std::uint8_t>(part), who, words[0], words[1]});
  }
}

class StringSink final : public weft::detail::TextSink {
 public:
  void take(std::string_view piece) override { text += piece; }
  std::string text;
};

Json as_json(const TraceTimeline& timeline) {
  StringSink sink;
  weft::detail::write_trace_json(timeline, sink);
  return weft::test::JsonReader::read(sink.text);
}

std::vector<Json> events_with(const Json& trace, const std::string& phase) {
  std::vector<Json> found;
  for (const Json& event : trace["traceEvents"].items) {
    if (event["ph"].text == phase) found.push_back(event);
  }
  return found;
}

TEST(TraceTimelineTest, TextsAreWholeAgainThoughTheyWereCutForTheRing) {
  const std::string sixteen = "exactly sixteen!";
  const std::string longer = "a text of more than one part, to its very end";
  std::vector<TraceEvent> events{begins(10, 1)};
  add_text(events, 20, TraceKind::kLog, 1, longer);
  add_text(events, 20, TraceKind::kLog, 1, sixteen);  // at the same time
  add_text(events, 30, TraceKind::kName, 1, sixteen);
  events.push_back(switches(30, 0, TraceDetail::kEnded, 0));
  const TraceTimeline t = play({processor(0, events)});
  ASSERT_EQ(t.instants.size(), 2U);
  EXPECT_EQ(t.instants[0].text, longer);
  EXPECT_EQ(t.instants[1].text, sixteen);
  EXPECT_EQ(t.names.at(1).name, sixteen);
}

TEST(TraceJsonTest, NamesMayHoldAnything) {
  const std::vector<std::pair<std::string, std::string>> names{
      {"plain", "plain"},
      {"\"quoted\" back\\slash", "\"quoted\" back\\slash"},
      {"line\nbreak\ttab\x01", "line\nbreak\ttab\x01"},
      {"h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8d\xb5", "h\xc3\xa4user \xe2\x82\xac \xf0\x9f\x8d\xb5"},
      {"cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd"},
      {"\xff\x80\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
      {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},  // half of a surrogate pair
      {"</script>", "</script>"},
  };
  for (const auto& [name, shown] : names) {
    std::vector<TraceEvent> events{begins(10, 7)};
    add_text(events, 20, TraceKind::kName, 7, name);
    add_text(events, 20, TraceKind::kLog, 7, name);
    events.push_back(switches(30, 0, TraceDetail::kEnded, 0));
    const Json trace = as_json(play({processor(0, events)}));
    EXPECT_EQ(events_with(trace, "X").at(0)["name"].text, shown + " #7");
    EXPECT_EQ(events_with(trace, "i").at(0)["name"].text, shown);
  }
}

TEST(TraceJsonTest, ArrowsBeginInsideTheWakerAndEndAtTheWoken) {
  const Json trace =
      as_json(play({processor(0, {begins(1'010'500, 1), readies(1'012'345, 1, 2), switches(1'020'000, 1, kParked, 0)}),
                    processor(1, {begins(1'015'001, 2)})},
                   2'000'000));
  const auto slices = events_with(trace, "X");
  ASSERT_EQ(slices.size(), 2U);
  EXPECT_EQ(slices[0]["ts"].nanos(), 1'010'500);
  EXPECT_EQ(slices[0]["dur"].nanos(), 9'500);
  EXPECT_EQ(slices[0]["args"]["then"].text, "chan receive");
  EXPECT_EQ(slices[0]["name"].text, "goroutine #1");
  EXPECT_EQ(slices[1]["args"]["waited_us"].nanos(), 2'656);
  EXPECT_EQ(slices[1]["args"]["woken_by"].text, "goroutine 1");
  EXPECT_EQ(slices[1]["args"]["then"].text, "still running");
  const auto begin = events_with(trace, "s");
  const auto end = events_with(trace, "f");
  ASSERT_EQ(begin.size(), 1U);
  ASSERT_EQ(end.size(), 1U);
  EXPECT_EQ(begin[0]["id"].number, end[0]["id"].number);
  EXPECT_EQ(begin[0]["tid"].number, slices[0]["tid"].number);
  EXPECT_EQ(begin[0]["ts"].nanos(), 1'012'345);
  EXPECT_EQ(end[0]["tid"].number, slices[1]["tid"].number);
  EXPECT_EQ(end[0]["ts"].nanos(), 1'015'001);
  EXPECT_EQ(end[0]["bp"].text, "e");
}

TEST(TraceJsonTest, EveryTrackHasAName) {
  const Json trace = as_json(play({processor(0, {begins(10, 1), {50, TraceKind::kTaken, 0, 1, 0, 3}}), processor(1, {}),
                                   shared({{20, TraceKind::kReady, TraceDetail::kByThread, 2, 99, 0}})}));
  std::vector<std::string> names;
  for (const Json& event : events_with(trace, "M")) {
    if (event["name"].text == "thread_name") names.push_back(event["args"]["name"].text);
  }
  EXPECT_EQ(names, (std::vector<std::string>{"processor 0", "processor 1", "other thread 99",
                                             "thread weft-3, without a processor"}));
}

}  // namespace

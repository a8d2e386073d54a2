#pragma once

// From the events of many rings to what ran when: slices on tracks, arrows from wakers to woken, instants.
//
// A recording is all events up to `until_ns`, which was read before any ring was: what a later event tells of happened after some
// ring was read, so it is left out, and what is left fits together (worker_trace.cpp, "Order"). The events are put into the
// order of their times and played back.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "trace_ring.hpp"

namespace weft::detail {

/// The events of one ring.
struct TraceSource {
  std::uint32_t runtime = 0;
  bool is_shared = false;       // of those who hold no processor
  std::uint32_t processor = 0;  // unless shared
  std::int64_t from_ns = 0;     // nothing is missing since then
  std::uint64_t lost = 0;       // events written over before
  std::vector<TraceEvent> events;
};

/// What is known of a goroutine that lives, or has ended.
struct TraceName {
  std::string name;                  // empty: none
  const void* spawn_site = nullptr;  // nullptr: not known
};

struct TraceRecording {
  std::int64_t since_ns = 0;
  std::int64_t until_ns = 0;
  std::vector<TraceSource> sources;
  std::unordered_map<std::uint64_t, TraceName> names;
};

/// Where slices are: a processor, a thread of ours whose processor was taken, a thread of somebody else's.
struct TraceTrackId {
  enum class Kind : std::uint8_t { kProcessor, kWorker, kThread };
  std::uint32_t runtime = 0;
  Kind kind = Kind::kProcessor;
  std::uint64_t number = 0;
  bool operator==(const TraceTrackId&) const = default;
};

struct TraceSlice {
  static constexpr std::size_t kNone = SIZE_MAX;

  std::size_t track = 0;
  std::uint64_t goroutine = 0;  // 0: a thread makes something ready
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  const void* run = nullptr;  // the goroutine's function; nullptr: not known
  std::uint8_t left = 0;      // TraceDetail, or a WaitReason
  std::int64_t ready_ns = 0;  // since when it was runnable; 0: not known
  std::uint8_t cause = 0;     // TraceDetail: who made it so, if ready_ns is known; kYielded: it was still
  std::uint64_t waker = 0;    // a goroutine, or with kByThread a thread
  std::size_t waker_slice = kNone;
  bool was_spawned = false;
};

/// Something that takes no time.
struct TraceInstant {
  std::size_t track = 0;
  std::int64_t ns = 0;
  TraceKind kind = TraceKind::kSteal;  // or kLog
  std::uint64_t who = 0;
  std::uint64_t victim = 0;  // kSteal: a processor
  std::string text;          // kLog
};

struct TraceTimeline {
  std::vector<TraceTrackId> tracks;
  std::vector<TraceSlice> slices;      // in the order of their begins; on one track none overlap
  std::vector<TraceInstant> instants;  // in the order of their times
  std::unordered_map<std::uint64_t, TraceName> names;
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;
  std::uint64_t lost = 0;  // events written over
  std::uint64_t unexplained =
      0;  // events that did not fit: a goroutine that begins twice, or leaves where it did not run
};

/// Of the last `keep_ns` (0: of all). Throws std::bad_alloc.
TraceTimeline make_timeline(TraceRecording recording, std::int64_t keep_ns);

}  // namespace weft::detail

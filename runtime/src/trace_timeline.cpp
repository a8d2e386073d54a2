#include "trace_timeline.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

namespace weft::detail {
namespace {

constexpr std::int64_t kThreadSliceNs = 1'000;  // what a wake-up by a thread takes, on the picture

struct Ordered {
  const TraceEvent* event;
  std::uint32_t source;
};

struct TrackKey {
  std::uint64_t number;
  std::uint32_t kind_and_runtime;
  bool operator==(const TrackKey&) const = default;
};
struct TrackHash {
  std::size_t operator()(const TrackKey& key) const noexcept {
    return (key.number * 0x9e3779b97f4a7c15U) ^ key.kind_and_runtime;
  }
};

class Playback {
 public:
  explicit Playback(TraceRecording& recording) : recording_(recording) {
    timeline_.end_ns = recording.until_ns;
    timeline_.begin_ns = recording.since_ns;
    timeline_.names = std::move(recording.names);
  }

  TraceTimeline play() {
    std::vector<Ordered> events;
    for (std::uint32_t i = 0; i < recording_.sources.size(); ++i) {
      const TraceSource& source = recording_.sources[i];
      timeline_.lost += source.lost;
      if (!source.is_shared) static_cast<void>(processor_track(source));  // one with nothing on it is to be seen too
      for (const TraceEvent& event : source.events) {
        if (event.ns >= recording_.since_ns && event.ns <= recording_.until_ns) events.push_back({&event, i});
      }
    }
    std::stable_sort(events.begin(), events.end(),
                     [](const Ordered& a, const Ordered& b) { return a.event->ns < b.event->ns; });
    for (const Ordered& o : events) take(*o.event, recording_.sources[o.source]);
    for (Track& track : tracks_) {
      if (track.open != TraceSlice::kNone) close(track, recording_.until_ns, TraceDetail::kStillRuns);
    }
    // Those that ran before anything was noted come last so far.
    sort_slices();
    if (timeline_.lost != 0 && !timeline_.slices.empty()) timeline_.begin_ns = timeline_.slices.front().begin_ns;
    return std::move(timeline_);
  }

 private:
  static constexpr std::size_t kNone = TraceSlice::kNone;

  struct Track {
    std::size_t open = kNone;
    bool was_used = false;
  };
  struct Goroutine {
    std::size_t slice = kNone;  // it runs
    std::int64_t last_ns = 0;   // its last event
    std::int64_t ready_ns = 0;  // it is runnable since
    std::uint8_t cause = 0;
    std::uint64_t waker = 0;
    std::size_t waker_slice = kNone;
    bool was_spawned = false;
  };

  std::size_t track_of(TraceTrackId id) {
    const TrackKey key{id.number, id.runtime << 2U | static_cast<std::uint32_t>(id.kind)};
    const auto [at, is_new] = track_index_.try_emplace(key, timeline_.tracks.size());
    if (is_new) {
      timeline_.tracks.push_back(id);
      tracks_.emplace_back();
    }
    return at->second;
  }
  std::size_t processor_track(const TraceSource& source) {
    return track_of({source.runtime, TraceTrackId::Kind::kProcessor, source.processor});
  }

  void take(const TraceEvent& event, const TraceSource& source) {
    switch (event.kind) {
      case TraceKind::kSwitch:
        return take_switch(event, source);
      case TraceKind::kTaken:
        return take_taken(event, source);
      case TraceKind::kComeHome:
        return take_come_home(event, source);
      case TraceKind::kReady:
      case TraceKind::kSpawn:
        return take_ready(event, source);
      case TraceKind::kSteal:
        timeline_.instants.push_back({processor_track(source), event.ns, event.kind, event.who, event.word, {}});
        return;
      case TraceKind::kName:
        return take_name(event);
      case TraceKind::kLog:
        return take_log(event, source);
    }
  }

  void take_switch(const TraceEvent& event, const TraceSource& source) {
    const std::size_t at = processor_track(source);
    if (tracks_[at].open != kNone) {
      const std::uint64_t ran = timeline_.slices[tracks_[at].open].goroutine;
      if (event.other != 0 && event.other != ran) ++timeline_.unexplained;
      close(tracks_[at], event.ns, event.detail);
    } else if (event.other != 0) {
      add_unseen(at, event, source);
    }
    tracks_[at].was_used = true;
    if (event.who != 0) open(at, event.who, event.ns, reinterpret_cast<const void*>(event.word));
  }

  void take_taken(const TraceEvent& event, const TraceSource& source) {
    const std::size_t from = processor_track(source);
    const std::size_t to = track_of({source.runtime, TraceTrackId::Kind::kWorker, event.word});
    const void* run = nullptr;
    if (tracks_[from].open != kNone) {
      run = timeline_.slices[tracks_[from].open].run;
      close(tracks_[from], event.ns, TraceDetail::kTaken);
    } else {
      add_unseen(from, {event.ns, event.kind, TraceDetail::kTaken, 0, event.who, 0}, source);
    }
    tracks_[from].was_used = true;
    open(to, event.who, event.ns, run);
  }

  void take_come_home(const TraceEvent& event, const TraceSource& source) {
    const std::size_t at = track_of({source.runtime, TraceTrackId::Kind::kWorker, event.word});
    if (tracks_[at].open != kNone) return close(tracks_[at], event.ns, event.detail);
    if (event.who != 0) leave(goroutines_[event.who], event.who, event.ns, event.detail);
  }

  void take_ready(const TraceEvent& event, const TraceSource& source) {
    Goroutine& woken = goroutines_[event.who];
    woken.last_ns = woken.ready_ns = event.ns;
    woken.cause = event.detail;
    woken.waker = event.other;
    woken.waker_slice = kNone;
    woken.was_spawned = event.kind == TraceKind::kSpawn;
    if (woken.was_spawned) {
      TraceName& name = timeline_.names[event.who];
      if (name.spawn_site == nullptr) name.spawn_site = reinterpret_cast<const void*>(event.word);
    }
    if (event.detail == TraceDetail::kByThread) {
      woken.waker_slice = add_thread_slice(event, source);
    } else if (event.detail == TraceDetail::kByGoroutine && event.other != 0) {
      woken.waker_slice = goroutines_[event.other].slice;  // may move `woken`
    }
  }

  void take_name(const TraceEvent& event) {
    std::string& name = timeline_.names[event.who].name;
    if (event.detail == 0) name.clear();
    append_part(name, event);
  }

  void take_log(const TraceEvent& event, const TraceSource& source) {
    std::size_t at = kNone;
    if (!source.is_shared) {
      at = processor_track(source);
    } else if (const std::size_t slice = event.who != 0 ? goroutines_[event.who].slice : kNone; slice != kNone) {
      at = timeline_.slices[slice].track;
    } else {
      at = track_of({source.runtime, TraceTrackId::Kind::kThread, 0});
    }
    if (event.detail == 0) timeline_.instants.push_back({at, event.ns, event.kind, event.who, 0, {}});
    // The parts follow each other in their ring, and have one time; another ring's may come between.
    for (auto last = timeline_.instants.rbegin(); last != timeline_.instants.rend() && last->ns == event.ns; ++last) {
      if (last->kind != TraceKind::kLog || last->who != event.who || last->track != at) continue;
      append_part(last->text, event);
      break;
    }
  }

  static void append_part(std::string& text, const TraceEvent& event) {
    char part[TraceText::kPartBytes];
    std::memcpy(part, &event.other, sizeof event.other);
    std::memcpy(part + sizeof event.other, &event.word, sizeof event.word);
    text.append(part, strnlen(part, sizeof part));
  }

  void open(std::size_t at, std::uint64_t who, std::int64_t ns, const void* run) {
    Goroutine& g = goroutines_[who];
    if (g.slice != kNone) {
      // It ran without a processor, and has got one again; anything else should not be.
      Track& before = tracks_[timeline_.slices[g.slice].track];
      if (timeline_.tracks[timeline_.slices[g.slice].track].kind != TraceTrackId::Kind::kWorker)
        ++timeline_.unexplained;
      close(before, ns, TraceDetail::kGotProcessor);
    }
    TraceSlice slice;
    slice.track = at;
    slice.goroutine = who;
    slice.begin_ns = ns;
    slice.run = run;
    slice.ready_ns = g.ready_ns;
    slice.cause = g.cause;
    slice.waker = g.waker;
    slice.waker_slice = g.waker_slice;
    slice.was_spawned = g.was_spawned;
    g.ready_ns = 0;
    g.waker_slice = kNone;
    g.was_spawned = false;
    g.last_ns = ns;
    g.slice = tracks_[at].open = timeline_.slices.size();
    timeline_.slices.push_back(slice);
  }

  void close(Track& track, std::int64_t ns, std::uint8_t why) {
    TraceSlice& slice = timeline_.slices[std::exchange(track.open, kNone)];
    slice.end_ns = ns;
    slice.left = why;
    Goroutine& g = goroutines_[slice.goroutine];
    g.slice = kNone;
    leave(g, slice.goroutine, ns, why);
  }

  static void leave(Goroutine& g, std::uint64_t who, std::int64_t ns, std::uint8_t why) {
    g.last_ns = ns;
    if (why != TraceDetail::kYielded) return;
    g.ready_ns = ns;
    g.cause = TraceDetail::kYielded;
    g.waker = who;
    g.waker_slice = kNone;
  }

  /// Somebody leaves who began before anything of it was noted: it ran since the ring begins, or since it was last seen.
  void add_unseen(std::size_t at, const TraceEvent& event, const TraceSource& source) {
    Goroutine& g = goroutines_[event.other];
    if (tracks_[at].was_used || g.slice != kNone) {
      ++timeline_.unexplained;
      return;
    }
    TraceSlice slice;
    slice.track = at;
    slice.goroutine = event.other;
    slice.begin_ns = std::max({source.from_ns, g.last_ns, recording_.since_ns});
    slice.end_ns = event.ns;
    slice.left = event.detail;
    timeline_.slices.push_back(slice);
    leave(g, event.other, event.ns, event.detail);
  }

  std::size_t add_thread_slice(const TraceEvent& event, const TraceSource& source) {
    const std::size_t at = track_of({source.runtime, TraceTrackId::Kind::kThread, event.other});
    std::size_t& last = last_of_thread_[at];
    if (last != 0) {
      TraceSlice& before = timeline_.slices[last - 1];
      before.end_ns = std::min(before.end_ns, event.ns);
    }
    TraceSlice slice;
    slice.track = at;
    slice.begin_ns = event.ns;
    slice.end_ns = std::min(event.ns + kThreadSliceNs, recording_.until_ns);
    timeline_.slices.push_back(slice);
    last = timeline_.slices.size();
    return last - 1;
  }

  void sort_slices() {
    std::vector<std::size_t> order(timeline_.slices.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return timeline_.slices[a].begin_ns < timeline_.slices[b].begin_ns;
    });
    std::vector<std::size_t> place(order.size());
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
    std::vector<TraceSlice> sorted;
    sorted.reserve(order.size());
    for (const std::size_t i : order) {
      TraceSlice slice = timeline_.slices[i];
      if (slice.waker_slice != kNone) slice.waker_slice = place[slice.waker_slice];
      sorted.push_back(slice);
    }
    timeline_.slices = std::move(sorted);
  }

  TraceRecording& recording_;
  TraceTimeline timeline_;
  std::vector<Track> tracks_;  // as in the timeline
  std::unordered_map<TrackKey, std::size_t, TrackHash> track_index_;
  std::unordered_map<std::size_t, std::size_t> last_of_thread_;  // by track; one more than the slice
  std::unordered_map<std::uint64_t, Goroutine> goroutines_;
};

/// Cuts off what was before.
void keep_since(TraceTimeline& timeline, std::int64_t begin_ns) {
  timeline.begin_ns = std::max(timeline.begin_ns, begin_ns);
  std::vector<TraceSlice> kept;
  std::vector<std::size_t> place(timeline.slices.size(), TraceSlice::kNone);
  for (std::size_t i = 0; i < timeline.slices.size(); ++i) {
    TraceSlice slice = timeline.slices[i];
    if (slice.end_ns < begin_ns) continue;
    if (slice.begin_ns < begin_ns) {  // nobody sees it begin
      slice.begin_ns = begin_ns;
      slice.ready_ns = 0;
      slice.waker_slice = TraceSlice::kNone;
    }
    if (slice.waker_slice != TraceSlice::kNone) {
      // A waker runs while it wakes, so it is here already, unless all of that was before.
      slice.waker_slice = slice.ready_ns >= begin_ns ? place[slice.waker_slice] : TraceSlice::kNone;
    }
    place[i] = kept.size();
    kept.push_back(slice);
  }
  timeline.slices = std::move(kept);
  std::erase_if(timeline.instants, [&](const TraceInstant& instant) { return instant.ns < begin_ns; });
}

}  // namespace

TraceTimeline make_timeline(TraceRecording recording, std::int64_t keep_ns) {
  TraceTimeline timeline = Playback(recording).play();
  if (keep_ns > 0 && keep_ns < timeline.end_ns) keep_since(timeline, timeline.end_ns - keep_ns);
  return timeline;
}

}  // namespace weft::detail

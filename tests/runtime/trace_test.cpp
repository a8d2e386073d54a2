// Traces of programs: they say what happened, whatever happens meanwhile.

#include <fcntl.h>
#include <unistd.h>

#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/trace.hpp>
#include <weft/wait_group.hpp>

#include "../support/json.hpp"
#include "../support/support.hpp"
#include "hogs.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::TraceOptions;
using weft::test::Json;
namespace test = weft::test;
namespace trace = weft::trace;

/// A folder of its own for each test, gone afterwards. In a child process (in_child) it is the parent's.
class Folder {
 public:
  Folder() {
    if (const char* parents = std::getenv(kVariable)) {
      path_ = parents;
      return;
    }
    std::string name = "/tmp/weft-trace-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    path_ = name;
    is_owner_ = true;
    ::setenv(kVariable, name.c_str(), 1);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    if (!is_owner_) return;
    ::unsetenv(kVariable);
    std::filesystem::remove_all(path_);
  }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) names.push_back(entry.path().filename());
    return names;
  }

 private:
  static constexpr const char* kVariable = "WEFT_TEST_FOLDER";
  std::string path_;
  bool is_owner_ = false;
};

Json read_json(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return test::JsonReader::read(text.str());
}

/// A trace as a viewer understands it. Reading it checks what must hold for every one.
class Seen {
 public:
  struct Slice {
    std::pair<std::uint64_t, std::uint64_t> track;
    std::uint64_t goroutine;  // 0: a thread
    std::int64_t begin_ns, end_ns;
    std::string name;
    Json args;
  };
  struct Arrow {
    const Slice* from;
    const Slice* to;
    std::string name;
  };

  explicit Seen(const Json& json) : json_(json) {
    steady_ns_ = static_cast<std::int64_t>(json["otherData"]["steady_ns"].number);
    EXPECT_EQ(json["otherData"]["unexplained_events"].number, 0);
    for (const Json& event : json["traceEvents"].items) {
      const std::string& phase = event["ph"].text;
      if (phase == "X") add_slice(event);
      if (phase == "M" && event["name"].text == "thread_name") tracks[track_of(event)] = event["args"]["name"].text;
      if (phase == "i") instants.push_back(event);
    }
    check_overlaps();
    add_arrows();
  }
  static Seen now() {
    char path[] = "/tmp/weft-trace-XXXXXX";
    const int fd = ::mkstemp(path);
    if (fd < 0) throw std::runtime_error("mkstemp");
    trace::write(fd);
    ::close(fd);
    const Json json = read_json(path);
    ::unlink(path);
    return Seen(json);
  }

  /// Whether the goroutine runs then, by the steady clock.
  bool runs_at(std::uint64_t goroutine, std::int64_t steady_ns) const {
    const std::int64_t ns = steady_ns - steady_ns_;
    return std::any_of(slices.begin(), slices.end(),
                       [&](const Slice& s) { return s.goroutine == goroutine && s.begin_ns <= ns && ns <= s.end_ns; });
  }
  std::vector<const Slice*> of(std::uint64_t goroutine) const {
    std::vector<const Slice*> found;
    for (const Slice& slice : slices) {
      if (slice.goroutine == goroutine) found.push_back(&slice);
    }
    return found;
  }
  bool has_arrow(std::uint64_t from, std::uint64_t to) const {
    return std::any_of(arrows.begin(), arrows.end(),
                       [&](const Arrow& a) { return a.from->goroutine == from && a.to->goroutine == to; });
  }
  std::uint64_t lost() const { return json_["otherData"]["lost_events"].count(); }
  std::int64_t length_ns() const {
    std::int64_t end = 0;
    for (const Slice& slice : slices) end = std::max(end, slice.end_ns);
    return end - (slices.empty() ? 0 : slices.front().begin_ns);
  }

  std::vector<Slice> slices;
  std::vector<Arrow> arrows;
  std::vector<Json> instants;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> tracks;

 private:
  static std::pair<std::uint64_t, std::uint64_t> track_of(const Json& event) {
    return {event["pid"].count(), event["tid"].count()};
  }
  void add_slice(const Json& event) {
    Slice slice{track_of(event),    0, event["ts"].nanos(), event["ts"].nanos() + event["dur"].nanos(),
                event["name"].text, {}};
    if (event.has("args")) {
      slice.args = event["args"];
      slice.goroutine = slice.args["goroutine"].count();
    }
    slices.push_back(std::move(slice));
  }
  void check_overlaps() {
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::int64_t> track_ends;
    std::map<std::uint64_t, std::int64_t> goroutine_ends;
    std::int64_t last = 0;
    int wrong = 0;
    for (const Slice& slice : slices) {
      wrong += slice.begin_ns < last || slice.end_ns < slice.begin_ns ? 1 : 0;
      last = slice.begin_ns;
      std::int64_t& track = track_ends[slice.track];
      wrong += slice.begin_ns < track ? 1 : 0;
      track = slice.end_ns;
      if (slice.goroutine == 0) continue;
      std::int64_t& goroutine = goroutine_ends[slice.goroutine];
      wrong += slice.begin_ns < goroutine ? 1 : 0;
      goroutine = slice.end_ns;
    }
    EXPECT_EQ(wrong, 0) << "slices overlap";
  }
  const Slice* slice_at(std::pair<std::uint64_t, std::uint64_t> track, std::int64_t ns, bool begins_there) {
    for (std::size_t i = 0; i < by_track_[track].size(); ++i) {
      const auto& all = by_track_[track];
      auto at =
          std::upper_bound(all.begin(), all.end(), ns, [](std::int64_t t, const Slice* s) { return t < s->begin_ns; });
      // Of those that begin at one time, the first may end there too.
      while (at != all.begin()) {
        const Slice* slice = *--at;
        if (begins_there ? slice->begin_ns == ns : slice->end_ns >= ns) return slice;
        if (slice->begin_ns < ns) break;
      }
      return nullptr;
    }
    return nullptr;
  }
  void add_arrows() {
    for (const Slice& slice : slices) by_track_[slice.track].push_back(&slice);
    std::map<std::uint64_t, const Slice*> begun;
    int wrong = 0;
    for (const Json& event : json_["traceEvents"].items) {
      const std::string& phase = event["ph"].text;
      if (phase == "s") {
        const Slice* from = slice_at(track_of(event), event["ts"].nanos(), false);
        wrong += from == nullptr || !begun.emplace(event["id"].count(), from).second ? 1 : 0;
      } else if (phase == "f") {
        const Slice* to = slice_at(track_of(event), event["ts"].nanos(), true);
        const auto from = begun.find(event["id"].count());
        if (to == nullptr || from == begun.end()) {
          ++wrong;
          continue;
        }
        arrows.push_back({from->second, to, event["name"].text});
        begun.erase(from);
      }
    }
    wrong += static_cast<int>(begun.size());
    EXPECT_EQ(wrong, 0) << "arrows without an end, or from nobody's slice";
  }

  Json json_;
  std::int64_t steady_ns_ = 0;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::vector<const Slice*>> by_track_;
};

/// A trace that ends with the scope.
class Tracing {
 public:
  explicit Tracing(const TraceOptions& options = {}) {
    if (trace::is_on()) trace::stop();  // $WEFT_TRACE
    trace::start(options);
  }
  Tracing(const Tracing&) = delete;
  Tracing& operator=(const Tracing&) = delete;
  ~Tracing() { trace::stop(); }
};

std::int64_t steady_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

/// Two goroutines that throw a ball.
void play(int rounds) {
  auto there = weft::make_chan<int>();
  auto back = weft::make_chan<int>();
  weft::WaitGroup group;
  group.go([&] {
    for (int i = 0; i < rounds; ++i) {
      there.send(i);
      back.recv();
    }
  });
  group.go([&] {
    for (int i = 0; i < rounds; ++i) {
      there.recv();
      back.send(i);
    }
  });
  group.wait();
}

void drain(Runtime& runtime) {
  test::eventually([&] { return runtime.stats().live == 0; });
}

TEST(TraceTest, GoroutinesAreSeenToRunWhenTheyRun) {
  struct Note {
    std::uint64_t goroutine;
    std::int64_t ns;
  };
  constexpr int kGoroutines = 20;
  std::vector<std::vector<Note>> notes(kGoroutines);
  {
    const Tracing tracing;
    // In a runtime of its own: with it the workers end, after they have noted the goroutines' ends.
    weft::run(weft::RuntimeOptions{}, [&] {
      weft::WaitGroup group;
      weft::Mutex mutex;
      for (auto& mine : notes) {
        group.go([&] {
          for (int i = 0; i < 50; ++i) {
            mine.push_back({weft::this_goroutine::id(), steady_ns()});
            if (i % 5 == 0) {
              weft::sleep_for(20us);
            } else if (i % 3 == 0) {
              mutex.lock();
              weft::yield();
              mutex.unlock();
            } else {
              weft::yield();
            }
          }
        });
      }
      group.wait();
    });
    trace::stop();
    const Seen seen = Seen::now();
    EXPECT_EQ(seen.lost(), 0U);
    for (const auto& mine : notes) {
      ASSERT_EQ(mine.size(), 50U);
      for (const Note& note : mine) EXPECT_TRUE(seen.runs_at(note.goroutine, note.ns)) << note.goroutine;
      const auto slices = seen.of(mine[0].goroutine);
      EXPECT_GE(slices.size(), 10U);
      EXPECT_EQ(slices.front()->args["started_by"].text.substr(0, 10), "goroutine ");
      EXPECT_EQ(slices.back()->args["then"].text, "ended");
    }
  }
}

TEST(TraceTest, WhoWakesWhomIsAnArrow) {
  std::uint64_t sender = 0;
  std::uint64_t receiver = 0;
  {
    const Tracing tracing;
    weft::run([&] {
      auto chan = weft::make_chan<int>();
      weft::WaitGroup group;
      receiver = test::go_parked(group, [&] { chan.recv(); });
      group.go([&] {
        sender = weft::this_goroutine::id();
        chan.send(1);
      });
      group.wait();
    });
  }
  const Seen seen = Seen::now();
  EXPECT_TRUE(seen.has_arrow(sender, receiver));
  EXPECT_FALSE(seen.has_arrow(receiver, sender));
  const auto slices = seen.of(receiver);
  const auto woken = std::find_if(slices.begin(), slices.end(), [&](const Seen::Slice* s) {
    return s->args.has("woken_by") && s->args["woken_by"].text == "goroutine " + std::to_string(sender);
  });
  ASSERT_NE(woken, slices.end());
  EXPECT_EQ((*(woken - 1))->args["then"].text, "chan receive");
}

// Every sixteenth or so finds no stack in its processor's cache, and is started by the worker's own stack.
TEST(TraceTest, AGoroutineBeginsOnceWhoeverMakesItsStack) {
  if (test::chaos()) GTEST_SKIP() << "chaos yields at every entry";
  constexpr std::size_t kGoroutines = 100;
  std::array<std::uint64_t, kGoroutines> parked{};
  {
    const Tracing tracing;
    Runtime runtime(RuntimeOptions{.processors = 1});
    runtime.run([&] {
      const auto gate = weft::make_chan<int>();
      weft::WaitGroup begun;
      weft::WaitGroup group;
      begun.add(kGoroutines);
      for (std::uint64_t& mine : parked) {
        group.go([&, gate] {
          mine = weft::this_goroutine::id();
          begun.done();
          gate.recv();
        });
      }
      begun.wait();
      gate.close();
      group.wait();
    });
  }
  const Seen seen = Seen::now();
  for (const std::uint64_t goroutine : parked) {
    const auto slices = seen.of(goroutine);
    ASSERT_GE(slices.size(), 2U);
    EXPECT_TRUE(slices.front()->args.has("started_by"));
    const std::string& then = slices.front()->args["then"].text;
    EXPECT_TRUE(then == "chan receive" || then == "its processor was taken") << then;
  }
}

TEST(TraceTest, TimersAndThreadsWakeToo) {
  std::uint64_t sleeper = 0;
  std::uint64_t receiver = 0;
  {
    const Tracing tracing;
    auto chan = weft::make_chan<int>();
    std::atomic<bool> is_parked{false};
    std::thread thread([&] {
      while (!is_parked.load()) std::this_thread::yield();
      chan.send(1);
    });
    weft::run([&] {
      weft::WaitGroup group;
      std::atomic<bool> is_asleep{false};  // a sleep that ends before the machine looks does not park
      sleeper = test::go_parked(group, [&] {
        for (auto pause = 100us; !is_asleep.load(); pause *= 2) weft::sleep_for(pause);
      });
      is_asleep.store(true);
      receiver = test::go_parked(group, [&] { chan.recv(); });
      is_parked.store(true);
      group.wait();
    });
    thread.join();
  }
  const Seen seen = Seen::now();
  const auto has = [&](std::uint64_t goroutine, const std::string& waker) {
    const auto slices = seen.of(goroutine);
    return std::any_of(slices.begin(), slices.end(), [&](const Seen::Slice* s) {
      return s->args.has("woken_by") && s->args["woken_by"].text.starts_with(waker);
    });
  };
  EXPECT_TRUE(has(sleeper, "a timer"));
  EXPECT_TRUE(has(receiver, "thread "));
  EXPECT_TRUE(seen.has_arrow(0, receiver));
  EXPECT_TRUE(std::any_of(seen.tracks.begin(), seen.tracks.end(),
                          [](const auto& track) { return track.second.starts_with("other thread "); }));
}

[[gnu::noinline]] void named_function() { weft::yield(); }

TEST(TraceTest, GoroutinesHaveTheirNames) {
  std::uint64_t ended = 0;
  std::uint64_t alive = 0;
  std::uint64_t plain = 0;
  auto chan = weft::make_chan<int>();
  weft::WaitGroup group;
  {
    const Tracing tracing;
    weft::run([&] {
      weft::WaitGroup first;
      first.go(weft::GoOptions{.name = "a name that is longer than one event holds"},
               [&] { ended = weft::this_goroutine::id(); });
      first.go([&] {
        plain = weft::this_goroutine::id();
        named_function();
      });
      first.wait();
      std::atomic<bool> has_begun{false};
      group.go(weft::GoOptions{.name = "\"alive\""}, [&] {
        alive = weft::this_goroutine::id();
        has_begun.store(true);
        chan.recv();
      });
      test::eventually([&] { return has_begun.load(); });
    });
    trace::stop();
    chan.close();
    group.wait();
  }
  const Seen seen = Seen::now();
  EXPECT_EQ(seen.of(ended).at(0)->name, "a name that is longer than one event holds #" + std::to_string(ended));
  EXPECT_EQ(seen.of(alive).at(0)->name, "\"alive\" #" + std::to_string(alive));
  EXPECT_TRUE(seen.of(plain).at(0)->name.ends_with(" #" + std::to_string(plain)));
  if (!test::kSanitized) {
    EXPECT_NE(seen.of(plain).at(0)->name.find("GoroutinesHaveTheirNames"), std::string::npos)
        << seen.of(plain).at(0)->name;
  }
}

TEST(TraceTest, TheOldestEventsGiveWay) {
  const Tracing tracing(TraceOptions{.events_per_processor = 256});
  Runtime runtime(RuntimeOptions{.processors = 2});  // whose rings have never been bigger
  runtime.run([] { play(2000); });
  const Seen seen = Seen::now();
  EXPECT_GT(seen.lost(), 256U);
  EXPECT_GT(seen.slices.size(), 100U);
  EXPECT_LE(seen.slices.size(), 3U * 256U);
}

TEST(TraceTest, OnlyTheLastIsKept) {
  const Tracing tracing(TraceOptions{.keep = 5ms});
  weft::run([] {
    play(100);
    weft::sleep_for(20ms);
    play(100);
  });
  const Seen seen = Seen::now();
  EXPECT_LE(seen.length_ns(), 5'000'000);
  EXPECT_EQ(seen.lost(), 0U);
}

TEST(TraceTest, AGoroutineThatLosesItsProcessorIsSeenOnItsThread) {
  const Tracing tracing;
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::uint64_t hog = 0;
  runtime.run([&] {
    weft::WaitGroup group;
    std::atomic<bool> stop{false};
    group.go([&] {
      hog = weft::this_goroutine::id();
      test::spin_until(stop);
    });
    // Two wake-ups: by the second one the hog was seen to hog.
    for (int i = 0; i < 2; ++i) weft::sleep_for(1ms);
    stop.store(true);
    group.wait();
  });
  drain(runtime);
  const Seen seen = Seen::now();
  bool was_detached = false;
  for (const Seen::Slice* slice : seen.of(hog)) {
    was_detached = was_detached || seen.tracks.at(slice->track).ends_with("without a processor");
  }
  EXPECT_TRUE(was_detached);
  EXPECT_EQ(seen.of(hog).back()->args["then"].text, "ended");
}

TEST(TraceTest, ABlockingCallThatEndsFindsAProcessorAgain) {
  const Tracing tracing;
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::uint64_t caller = 0;
  runtime.run([&] {
    weft::WaitGroup group;
    std::atomic<bool> others_ran{false};
    group.go([&] {
      caller = weft::this_goroutine::id();
      weft::blocking([&] {
        while (!others_ran.load()) std::this_thread::yield();
      });
    });
    group.go([&] { others_ran.store(true); });
    group.wait();
  });
  drain(runtime);
  const Seen seen = Seen::now();
  EXPECT_GE(seen.of(caller).size(), 2U);
}

TEST(TraceTest, PinnedGoroutinesAreTracedAsOthers) {
  const Tracing tracing;
  std::uint64_t pinned = 0;
  std::vector<std::int64_t> notes;
  weft::run([&] {
    weft::WaitGroup group;
    group.go([&] {
      const weft::PinGuard pin;
      pinned = weft::this_goroutine::id();
      for (int i = 0; i < 20; ++i) {
        notes.push_back(steady_ns());
        i % 2 == 0 ? weft::yield() : weft::sleep_for(10us);
      }
    });
    group.go([] {
      for (int i = 0; i < 50; ++i) weft::yield();
    });
    group.wait();
  });
  const Seen seen = Seen::now();
  for (const std::int64_t ns : notes) EXPECT_TRUE(seen.runs_at(pinned, ns));
}

TEST(TraceTest, SeveralRuntimesEndedOnesIncludedAreInOneTrace) {
  const Tracing tracing;
  std::set<std::uint64_t> mains;
  Runtime lasting(RuntimeOptions{.processors = 2});
  for (int i = 0; i < 3; ++i) {
    weft::run(RuntimeOptions{.processors = 2}, [&] {
      mains.insert(weft::this_goroutine::id());
      play(20);
    });
    lasting.run([&] {
      mains.insert(weft::this_goroutine::id());
      play(20);
    });
  }
  const Seen seen = Seen::now();
  std::set<std::uint64_t> processes;
  for (const std::uint64_t main : mains) {
    ASSERT_FALSE(seen.of(main).empty());
    processes.insert(seen.of(main).front()->track.first);
  }
  EXPECT_EQ(processes.size(), 4U);
}

TEST(TraceTest, ProcessorsThatComeLaterAreTraced) {
  const Tracing tracing;
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.set_processors(4);
  // As many hogs as processors: each is on one.
  { const test::Hogs hogs(runtime, 4); }
  drain(runtime);
  const Seen seen = Seen::now();
  std::set<std::string> used;
  for (const Seen::Slice& slice : seen.slices) used.insert(seen.tracks.at(slice.track));
  EXPECT_TRUE(used.count("processor 3") != 0 || test::chaos());
}

TEST(TraceTest, ABubblesTraceIsInRealTime) {
  const Tracing tracing;
  weft::testing::run([] { weft::sleep_for(1h); });
  const Seen seen = Seen::now();
  ASSERT_FALSE(seen.slices.empty());
  EXPECT_LT(seen.length_ns(), 60'000'000'000);
}

TEST(TraceTest, TextsAreMarks) {
  const Tracing tracing;
  std::uint64_t who = 0;
  weft::run([&] {
    who = weft::this_goroutine::id();
    trace::log("half past two");
  });
  trace::log("from a thread that runs no goroutine");
  const Seen seen = Seen::now();
  std::vector<Json> logs;
  for (const Json& instant : seen.instants) {
    if (instant["cat"].text == "log") logs.push_back(instant);
  }
  ASSERT_EQ(logs.size(), 1U);
  EXPECT_EQ(logs[0]["name"].text, "half past two");
  EXPECT_EQ(logs[0]["args"]["goroutine"].count(), who);
}

TEST(TraceTest, AnotherTraceKnowsNothingOfTheOneBefore) {
  std::uint64_t before = 0;
  {
    const Tracing tracing;
    weft::run([&] {
      before = weft::this_goroutine::id();
      play(50);
    });
  }
  weft::run([] { play(50); });
  const Tracing tracing;
  weft::run([] { play(5); });
  const Seen seen = Seen::now();
  EXPECT_TRUE(seen.of(before).empty());
  EXPECT_FALSE(seen.slices.empty());
  EXPECT_LT(seen.slices.size(), 200U);
  EXPECT_EQ(seen.lost(), 0U);
}

TEST(TraceTest, StartStopAndWriteMayComeAtAnyTimeFromAnywhere) {
  if (trace::is_on()) trace::stop();
  const Folder folder;
  std::atomic<bool> is_done{false};
  std::atomic<int> written{0};
  const auto shake = [&](unsigned seed) {
    test::Lcg random(seed);
    const std::string path = folder / ("trace" + std::to_string(seed));
    while (!is_done.load()) {
      try {
        switch (random.below(3)) {
          case 0:
            trace::start(TraceOptions{.events_per_processor = 64U << random.below(6)});
            break;
          case 1:
            trace::stop();
            break;
          default:
            trace::write(path);
            static_cast<void>(Seen(read_json(path)));
            written.fetch_add(1);
            break;
        }
      } catch (const weft::Panic&) {
        // It was on already, or never.
      }
    }
  };
  std::thread thread([&] { shake(1); });
  weft::run([&] {
    weft::WaitGroup shaker;
    shaker.go([&] { shake(2); });
    const int rounds = test::rounds(100);
    for (int i = 0; i < rounds || written.load() < 20; ++i) {
      play(20);
      weft::run(RuntimeOptions{.processors = 2}, [] { play(5); });
    }
    is_done.store(true);
    shaker.wait();
  });
  thread.join();
  trace::stop();
}

// --- the flight recorder ---

/// On one processor somebody computes while another one could run.
void make_somebody_wait(Runtime& runtime, std::chrono::nanoseconds time) {
  runtime.run([&] {
    weft::WaitGroup group;
    group.go(weft::GoOptions{.name = "patient"}, [] {});
    const auto begin = std::chrono::steady_clock::now();
    while (std::chrono::steady_clock::now() - begin < time) {
    }
    group.wait();
  });
}

TEST(TraceTest, TheTraceIsWrittenWhenAGoroutineWasRunnableForTooLong) {
  const Folder folder;
  const std::string path = folder / "slow.json";
  const auto limit = test::chaos() ? 1ns : 2ms;  // chaos mode takes the hog's processor away
  const auto child = test::in_child([&] {
    Runtime runtime(RuntimeOptions{.processors = 1});
    const Tracing tracing(TraceOptions{.keep = 10s, .runnable_limit = limit, .path = path, .at_most_every = 1h});
    make_somebody_wait(runtime, 3ms);
    while (!std::filesystem::exists(path)) std::this_thread::yield();
  });
  ASSERT_EQ(child.exit_code, 0) << child.err;
  EXPECT_NE(child.err.find("weft: trace: goroutine "), std::string::npos) << child.err;
  EXPECT_NE(child.err.find(path), std::string::npos) << child.err;
  EXPECT_EQ(folder.files(), (std::vector<std::string>{"slow.json"}));  // nothing half done stays
  const Seen seen(read_json(path));
  if (test::chaos()) return;
  const bool has_waited = std::any_of(seen.slices.begin(), seen.slices.end(), [&](const Seen::Slice& slice) {
    return slice.args.has("waited_us") && slice.args["waited_us"].nanos() > 2'000'000;
  });
  EXPECT_TRUE(has_waited);
}

TEST(TraceTest, NothingIsWrittenBelowTheLimit) {
  const Folder folder;
  const Tracing tracing(TraceOptions{.runnable_limit = 1h, .path = folder / "slow.json"});
  Runtime runtime(RuntimeOptions{.processors = 1});
  make_somebody_wait(runtime, 3ms);
  trace::stop();  // waits for whoever might be writing
  EXPECT_TRUE(folder.files().empty());
}

TEST(TraceTest, ItIsWrittenOnceInSoLong) {
  const Folder folder;
  const std::string path = folder / "slow.json";
  const Tracing tracing(TraceOptions{.runnable_limit = 1ns, .path = path, .at_most_every = 1h});
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([] { play(10); });
  while (!std::filesystem::exists(path)) runtime.run([] { play(10); });
  std::filesystem::remove(path);
  for (int i = 0; i < 20; ++i) runtime.run([] { play(10); });
  trace::stop();
  EXPECT_TRUE(folder.files().empty());
}

TEST(TraceTest, ItIsWrittenAgainAfterAPause) {
  const Folder folder;
  const std::string path = folder / "slow.json";
  const Tracing tracing(TraceOptions{.runnable_limit = 1ns, .path = path, .at_most_every = 1ns});
  Runtime runtime(RuntimeOptions{.processors = 1});
  for (int i = 0; i < 3; ++i) {
    while (!std::filesystem::exists(path)) runtime.run([] { play(10); });
    std::filesystem::remove(path);
  }
}

// --- what goes wrong ---

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(TraceTest, ErrorsNameTheCallAndWhatIsWrong) {
  if (trace::is_on()) trace::stop();
  using Options = TraceOptions;
  EXPECT_EQ(message_of([] { trace::start(Options{.events_per_processor = std::size_t{1} << 27U}); }),
            "weft: trace::start: events_per_processor must be at most 2^26");
  EXPECT_EQ(message_of([] { trace::start(Options{.keep = -1ns}); }), "weft: trace::start: a duration is negative");
  EXPECT_EQ(message_of([] { trace::start(Options{.runnable_limit = 1s}); }),
            "weft: trace::start: a runnable_limit needs a path to write to");
  EXPECT_EQ(message_of([] { trace::start(Options{.runnable_limit = 1s, .path = "/no/such/folder/t.json"}); }),
            "weft: trace::start: /no/such/folder/t.json.part: No such file or directory");
  EXPECT_FALSE(trace::is_on());
  {
    const Tracing tracing;
    EXPECT_TRUE(trace::is_on());
    EXPECT_THROW(trace::start(), weft::Panic);
    EXPECT_EQ(message_of([] { trace::start(); }), "weft: trace::start: a trace is being recorded already");
    errno = 7;
    EXPECT_EQ(message_of([] { trace::write("/no/such/folder/t.json"); }),
              "weft: trace::write: /no/such/folder/t.json: No such file or directory");
    EXPECT_EQ(errno, 7);
    EXPECT_EQ(message_of([] { trace::write(-1); }), "weft: trace::write: file descriptor -1: Bad file descriptor");
    EXPECT_EQ(message_of([] { trace::write("/dev/full"); }), "weft: trace::write: /dev/full: No space left on device");
  }
  trace::stop();  // once more: nothing happens
}

TEST(TraceTest, WithoutATraceThereIsNothingToWrite) {
  const auto child = test::in_child([] {
    ::unsetenv("WEFT_TRACE");
    const Folder folder;
    std::fputs(message_of([&] { trace::write(folder / "t.json"); }).c_str(), stderr);
    trace::stop();
    trace::log("nobody hears it");
  });
  EXPECT_EQ(child.exit_code, 0);
  EXPECT_NE(child.err.find("weft: trace::write: nothing was recorded (trace::start begins it)"), std::string::npos)
      << child.err;
}

// Rules: HZ-16
TEST(TraceTest, AForkedChildHasNoTraceAndMayBeginOne) {
  if (test::kTsan) GTEST_SKIP() << "it allows no threads in a forked child";
  const auto child = test::in_child([] {
    ::unsetenv("WEFT_TRACE");
    trace::start();
    weft::run([] { play(10); });
    const pid_t pid = test::fork_quietly();
    if (pid == 0) {
      const bool was_on = trace::is_on();
      bool is_right = false;
      {
        Runtime runtime(RuntimeOptions{.processors = 2});
        trace::start();
        runtime.run([] { play(10); });
        is_right = !Seen::now().slices.empty();
        trace::stop();
      }
      ::_exit(!was_on && is_right ? 0 : 1);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    weft::run([] { play(10); });
    static_cast<void>(Seen::now());
    ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 3);
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
}

// --- a whole program ---

TEST(TraceTest, TheEnvironmentTracesAWholeProgram) {
  const Folder folder;
  const auto child = test::in_child([&] {
    ::setenv("WEFT_TRACE", (folder / "%p.json").c_str(), 1);
    weft::run(RuntimeOptions{.processors = 2}, [] { play(10); });
    weft::run([] { play(10); });
    if (test::fork_quietly() == 0) std::exit(0);  // which has no trace to write
    int status = 0;
    ::wait(&status);
    std::ofstream(folder / "pid") << ::getpid();
    std::exit(0);
  });
  ASSERT_EQ(child.exit_code, 0) << child.err;
  std::string pid;
  std::ifstream(folder / "pid") >> pid;
  EXPECT_EQ(folder.files().size(), 2U);
  const Seen seen(read_json(folder / (pid + ".json")));
  std::set<std::uint64_t> runtimes;
  for (const Seen::Slice& slice : seen.slices) runtimes.insert(slice.track.first);
  EXPECT_EQ(runtimes.size(), 2U);
}

TEST(TraceTest, AnEnvironmentThatCannotBeWrittenToIsToldAtTheBeginning) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_TRACE", "/no/such/folder/t.json", 1);
    std::fputs(message_of([] { const Runtime runtime; }).c_str(), stderr);
  });
  EXPECT_NE(child.err.find("weft: WEFT_TRACE: /no/such/folder/t.json.part: No such file or directory"),
            std::string::npos)
      << child.err;
}

}  // namespace

#include "trace.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "forked.hpp"
#include "keep_errno.hpp"
#include "sched.hpp"
#include "trace_file.hpp"
#include "trace_state.hpp"
#include "weft/error.hpp"
#include "worker.hpp"

namespace weft::detail {

Tracer& Tracer::instance() {
  static auto* instance = new Tracer;
  return *instance;
}

void Tracer::provide(Processor& processor) { processor.trace.provide(options_.events_per_processor); }

void Tracer::provide(Scheduler& scheduler) {
  scheduler.shared_trace.provide(options_.events_per_processor);
  for (const auto& processor : scheduler.processors) provide(*processor);
}

void Tracer::add(Scheduler& scheduler) {
  const std::lock_guard guard(lock_);
  if (is_on_) provide(scheduler);
  traced_.push_back({&scheduler, ++last_number_});
  if (is_on_) scheduler.set_traced(true);
}

void Tracer::adopt(Processor& processor) noexcept {
  const std::lock_guard guard(lock_);
  if (!is_on_) return;
  try {
    provide(processor);
    processor.attention.fetch_or(Attention::kTraced, std::memory_order_relaxed);
  } catch (const std::bad_alloc&) {
    // It is not in the trace.
  }
}

void Tracer::remove(Scheduler& scheduler) noexcept {
  const std::lock_guard guard(lock_);
  const auto at =
      std::find_if(traced_.begin(), traced_.end(), [&](const Traced& t) { return t.scheduler == &scheduler; });
  if (at == traced_.end()) return;
  if (is_on_) {
    constexpr std::size_t kMostRings = 64;  // of runtimes that have ended; the oldest are forgotten
    try {
      collect(*at, ended_);
      std::size_t events = 0;
      for (const TraceSource& source : ended_.sources) events += source.events.size();
      while (!ended_.sources.empty() && events > kMostRings * options_.events_per_processor) {
        events -= ended_.sources.front().events.size();
        ended_.sources.erase(ended_.sources.begin());
      }
    } catch (const std::bad_alloc&) {
      // It is not in the trace.
    }
  }
  traced_.erase(at);
}

void Tracer::forget_all() noexcept {
  // Whatever state it was in: it is left there.
  ::new (this) Tracer;
  TraceState::is_on.store(false, std::memory_order_relaxed);
  TraceState::limit_ns.store(INT64_MAX, std::memory_order_relaxed);
}

void Tracer::start(const TraceOptions& options) {
  const KeepErrno keep_errno;
  if (options.events_per_processor > TraceRing::kMost)
    throw std::invalid_argument("weft: trace::start: events_per_processor must be at most 2^26");
  if (options.keep.count() < 0 || options.runnable_limit.count() < 0 || options.at_most_every.count() < 0)
    throw std::invalid_argument("weft: trace::start: a duration is negative");
  if (options.runnable_limit.count() != 0 && options.path.empty())
    throw std::invalid_argument("weft: trace::start: a runnable_limit needs a path to write to");
  TraceOptions wanted = options;
  wanted.path = with_process_number(wanted.path);
  if (options.runnable_limit.count() != 0) check_trace_path("trace::start", wanted.path);

  const std::lock_guard lifecycle_guard(lifecycle_lock_);
  const std::lock_guard guard(lock_);
  if (is_on_) throw_panic("weft: trace::start: a trace is being recorded already");
  options_ = std::move(wanted);
  for (const Traced& traced : traced_) provide(*traced.scheduler);
  if (options_.runnable_limit.count() != 0) {
    recorder_ = std::make_unique<TraceRecorder>(options_.path, options_.at_most_every.count(),
                                                [](const char* call) { return instance().timeline(call); });
  }
  recording_.reset();
  ended_ = {};
  is_on_ = true;
  since_ns_ = trace_clock_ns();
  TraceState::since_ns.store(since_ns_, std::memory_order_relaxed);
  TraceState::limit_ns.store(options_.runnable_limit.count() != 0 ? options_.runnable_limit.count() : INT64_MAX,
                             std::memory_order_relaxed);
  TraceState::is_on.store(true, std::memory_order_relaxed);
  for (const Traced& traced : traced_) traced.scheduler->set_traced(true);
  complete_since_ns_ = trace_clock_ns();
}

void Tracer::stop() {
  std::unique_ptr<TraceRecorder> ending;  // joined without the lock: it may be writing
  const std::lock_guard lifecycle_guard(lifecycle_lock_);
  {
    const std::lock_guard guard(lock_);
    if (!is_on_) return;
    recording_ = record_now();
    ended_ = {};
    is_on_ = false;
    TraceState::is_on.store(false, std::memory_order_relaxed);
    TraceState::limit_ns.store(INT64_MAX, std::memory_order_relaxed);
    for (const Traced& traced : traced_) traced.scheduler->set_traced(false);
    ending = std::move(recorder_);
  }
  ending.reset();
}

TraceTimeline Tracer::timeline(const char* call) {
  TraceRecording recording;
  std::int64_t keep_ns = 0;
  {
    const std::lock_guard guard(lock_);
    if (!is_on_ && !recording_) {
      throw_panic(("weft: " + std::string(call) + ": nothing was recorded (trace::start begins it)").c_str());
    }
    recording = is_on_ ? record_now() : *recording_;
    keep_ns = options_.keep.count();
  }
  return make_timeline(std::move(recording), keep_ns);
}

TraceRecording Tracer::record_now() {
  const std::int64_t until_ns = trace_clock_ns();  // before any ring is read
  TraceRecording recording = ended_;
  recording.since_ns = since_ns_;
  recording.until_ns = until_ns;
  for (const Traced& traced : traced_) collect(traced, recording);
  return recording;
}

void Tracer::collect(Traced traced, TraceRecording& recording) {
  Scheduler& scheduler = *traced.scheduler;
  std::vector<std::uint64_t> who;
  const auto add = [&](const TraceTrack& track, const Processor* processor) {
    const TraceRing* ring = track.ring();
    if (ring == nullptr) return;
    TraceSource source;
    source.runtime = traced.number;
    source.is_shared = processor == nullptr;
    source.processor = processor == nullptr ? 0 : processor->index;
    const std::uint64_t first = ring->read(source.events);
    source.lost = first > track.written_before() ? first - track.written_before() : 0;
    source.from_ns = complete_since_ns_;
    if (source.lost != 0 && !source.events.empty()) source.from_ns = source.events.front().ns;
    std::erase_if(source.events, [&](const TraceEvent& event) { return event.ns < since_ns_; });  // of another trace
    for (const TraceEvent& event : source.events) who.push_back(event.who);
    recording.sources.push_back(std::move(source));
  };
  for (const auto& processor : scheduler.processors) add(processor->trace, processor.get());
  add(scheduler.shared_trace, nullptr);

  std::sort(who.begin(), who.end());
  who.erase(std::unique(who.begin(), who.end()), who.end());
  // Those that have ended have left their names in the rings.
  scheduler.tasks.for_each([&](const Task& task) {
    const std::uint64_t id = task.id.load(std::memory_order_relaxed);
    if (!std::binary_search(who.begin(), who.end(), id)) return;
    TraceName& name = recording.names[id];
    name.spawn_site = task.spawn_site.load(std::memory_order_relaxed);
    if (task.extras != nullptr) name.name = task.extras->name;
  });
}

// --- for a whole program ---

namespace {

void write_at_exit() {
  const char* path = std::getenv("WEFT_TRACE");
  if (path == nullptr || is_forked_child()) return;
  try {
    replace_trace(Tracer::instance().timeline("WEFT_TRACE"), "WEFT_TRACE", with_process_number(path));
  } catch (const std::exception& error) {
    write_all(STDERR_FILENO, std::string(error.what()) + "\n");
  }
}

bool start_for_program() {
  const char* path = std::getenv("WEFT_TRACE");
  if (path == nullptr || *path == '\0') return false;
  check_trace_path("WEFT_TRACE", with_process_number(path));
  Tracer::instance().start({});
  std::atexit(&write_at_exit);
  return true;
}

}  // namespace

void trace_as_environment_says() {
  static const bool is_done = start_for_program();
  static_cast<void>(is_done);
}

}  // namespace weft::detail

namespace weft::trace {

void start(const TraceOptions& options) { detail::Tracer::instance().start(options); }

void stop() {
  const detail::KeepErrno keep_errno;
  detail::Tracer::instance().stop();
}

bool is_on() noexcept { return detail::TraceState::is_on.load(std::memory_order_relaxed); }

void write(int fd) {
  constexpr const char* kCall = "trace::write";
  detail::write_trace(detail::Tracer::instance().timeline(kCall), fd, kCall, "file descriptor " + std::to_string(fd));
}

void write(const std::string& path) {
  constexpr const char* kCall = "trace::write";
  detail::write_trace(detail::Tracer::instance().timeline(kCall), kCall, path);
}

void log(std::string_view text) noexcept {
  if (!is_on()) return;
  detail::Worker* worker = detail::current_worker();
  if (worker == nullptr || worker->current == &worker->root) return;
  const detail::Entry entry(*worker);
  worker->scheduler.put_text(entry.has_processor() ? worker : nullptr, detail::TraceKind::kLog, worker->goroutine(),
                             text);
}

}  // namespace weft::trace

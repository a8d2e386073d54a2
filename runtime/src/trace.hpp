#pragma once

// The trace of the process (weft/trace.hpp): the runtimes whose rings belong to it, from start to stop and after, and the thread
// that writes it when a goroutine was runnable for too long.
//
// Locks. lock_ guards everything but the rings' contents. It is taken by those who start, stop, write, make or end a runtime and
// add a processor, never while a goroutine is scheduled; under it, the lock of a runtime's records is taken. Files are written without it.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "trace_recorder.hpp"
#include "trace_timeline.hpp"
#include "weft/trace.hpp"

namespace weft::detail {

class Scheduler;
struct Processor;

class Tracer {
 public:
  static Tracer& instance();  // outlives every static object

  void start(const TraceOptions& options);
  void stop();
  /// Throws Panic that names `call`.
  TraceTimeline timeline(const char* call);

  /// A runtime, before its first worker runs. Throws std::bad_alloc.
  void add(Scheduler& scheduler);
  /// Before it is freed; what it has recorded stays.
  void remove(Scheduler& scheduler) noexcept;
  /// A processor that a runtime has got later.
  void adopt(Processor& processor) noexcept;
  /// In a forked child: another process's runtimes, and a lock that may be held.
  void forget_all() noexcept;

 private:
  struct Traced {
    Scheduler* scheduler;
    std::uint32_t number;
  };

  void provide(Scheduler& scheduler);
  void provide(Processor& processor);
  void collect(Traced traced, TraceRecording& recording);
  TraceRecording record_now();

  std::mutex lifecycle_lock_;  // held by start() and stop(): one recorder at a time. Taken before lock_
  std::mutex lock_;
  std::vector<Traced> traced_;
  std::uint32_t last_number_ = 0;
  bool is_on_ = false;
  TraceOptions options_;
  std::int64_t since_ns_ = 0;
  std::int64_t complete_since_ns_ = 0;       // by then every processor had been told
  TraceRecording ended_;                     // of runtimes that have ended meanwhile
  std::optional<TraceRecording> recording_;  // of a trace that was stopped
  std::unique_ptr<TraceRecorder> recorder_;
};

/// A runtime that is being made: forgotten again if that fails.
class TracedScheduler {
 public:
  explicit TracedScheduler(Scheduler& scheduler) : scheduler_(&scheduler) { Tracer::instance().add(scheduler); }
  TracedScheduler(const TracedScheduler&) = delete;
  TracedScheduler& operator=(const TracedScheduler&) = delete;
  ~TracedScheduler() {
    if (scheduler_ != nullptr) Tracer::instance().remove(*scheduler_);
  }
  void keep() noexcept { scheduler_ = nullptr; }

 private:
  Scheduler* scheduler_;
};

/// Before the first runtime: $WEFT_TRACE. Throws as trace::start().
void trace_as_environment_says();

}  // namespace weft::detail

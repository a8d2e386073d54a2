#pragma once

// The flight recorder's thread: it writes the trace when a goroutine was runnable for too long (TraceState::note_slow). At most one
// at a time.

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "trace_state.hpp"
#include "trace_timeline.hpp"

namespace weft::detail {

class TraceRecorder {
 public:
  using Timeline = TraceTimeline (*)(const char* call);
  /// Writes what `timeline` returns to `path`, at most once in `pause_ns`. Throws std::system_error.
  TraceRecorder(std::string path, std::int64_t pause_ns, Timeline timeline);
  TraceRecorder(const TraceRecorder&) = delete;
  TraceRecorder& operator=(const TraceRecorder&) = delete;
  /// Waits until what is being written is there.
  ~TraceRecorder();

 private:
  void main() noexcept;
  void report(const TraceState::Slow& slow) noexcept;
  void pause() noexcept;

  const std::string path_;
  const std::int64_t pause_ns_;
  const Timeline timeline_;
  std::atomic<bool> is_stopping_{false};
  std::atomic<std::uint32_t> pause_is_over_{0};  // futex
  std::thread thread_;
};

}  // namespace weft::detail

#pragma once

// Whether a trace is recorded (weft/trace.hpp), for those who do not look at a processor's `attention`: they are off the fast paths,
// or hold no processor. And how somebody who was runnable for too long makes the recorder write.

#include <atomic>
#include <cstdint>

namespace weft::detail {

/// relaxed everywhere: an event more or less at the beginning or the end.
struct TraceState {
  static std::atomic<bool> is_on;
  static std::atomic<std::int64_t> since_ns;  // when it was last started; steady
  static std::atomic<std::int64_t> limit_ns;  // how long a goroutine may be runnable; INT64_MAX: as long as it likes

  /// A goroutine was runnable for longer than the limit. Never blocks; the first one since expect_slow() costs a system call.
  static void note_slow(std::uint64_t goroutine, std::int64_t waited_ns) noexcept;
  /// From now on the next one counts.
  static void expect_slow() noexcept;
  /// For the recorder, one thread: waits for the next one, or until `is_stopping` is set and wake_recorder() called after it.
  struct Slow {
    std::uint64_t goroutine = 0;  // 0: there is none
    std::int64_t waited_ns = 0;
  };
  static Slow await_slow(const std::atomic<bool>& is_stopping) noexcept;
  static void wake_recorder() noexcept;
};

/// Steady nanoseconds: of the real clock, also where a test or a bubble has one of its own.
std::int64_t trace_clock_ns() noexcept;

}  // namespace weft::detail

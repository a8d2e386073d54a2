#pragma once

// A trace: which goroutine ran when on which processor, who woke whom, and how long each waited for its turn. Recorded in memory
// while the program runs, and written as a file for ui.perfetto.dev or chrome://tracing. docs/diagnosing.md shows one.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace weft {

struct TraceOptions {
  /// How many events a processor keeps, 32 bytes each; then it writes over the oldest. A switch is one event, a wake-up or a start
  /// another one. Rounded up to a power of two; memory is taken as events come.
  std::size_t events_per_processor = 131'072;
  /// What is written begins at most so long ago. 0: with the oldest event that is left.
  std::chrono::nanoseconds keep{0};
  /// A goroutine that was runnable for longer, when it begins to run, makes weft write the trace to `path`. 0: none does.
  std::chrono::nanoseconds runnable_limit{0};
  /// Where that is written; each time over the file before. "%p" in it is the number of the process. A file that is there is whole.
  std::string path = {};
  /// Written at most once in so long.
  std::chrono::nanoseconds at_most_every = std::chrono::seconds(10);
};

namespace trace {

/// From now on events of all runtimes of the process are recorded, those that are made later included. What was recorded before is
/// forgotten. $WEFT_TRACE=<file> does it for a whole program, and writes the file when the process exits ("%p" as above).
/// Blocks: never parks. Safe from: goroutines and threads.
/// Throws: Panic if a trace is being recorded already; std::invalid_argument (more than 2^26 events, a negative duration, a limit without a
/// path); std::system_error (the file of `path` cannot be made, no thread to be had); std::bad_alloc.
/// Cost: docs/performance.md. While nothing is recorded: nothing.
/// Go: runtime/trace.Start, and with `keep` or `runnable_limit` trace.FlightRecorder.
void start(const TraceOptions& options = {});
/// What was recorded stays, for write(), until the next start(). Does nothing if nothing is being recorded.
/// Blocks: the calling thread, while a file is being written because of `runnable_limit`. Safe from: goroutines and threads.
/// Throws: std::bad_alloc. Go: trace.Stop, FlightRecorder.Stop.
void stop();
[[nodiscard]] bool is_on() noexcept;

/// Writes what was recorded, up to this moment or to stop(): JSON, the Trace Event Format. May be called while goroutines run, any
/// number of times.
/// Blocks: the calling thread, for about a second for each million of events; never parks. Safe from: goroutines and threads.
/// Throws: Panic if nothing was ever recorded; std::system_error, which names the file; std::bad_alloc.
/// Go: FlightRecorder.WriteTo.
void write(const std::string& path);
void write(int fd);

/// A mark with a text (its first 64 bytes) where the caller runs. Does nothing unless a trace is recorded: a load.
/// Safe from: goroutines; a thread that runs none leaves no mark. Throws: nothing. Cost: docs/performance.md. Go: trace.Log.
void log(std::string_view text) noexcept;

}  // namespace trace
}  // namespace weft

#pragma once

// How long goroutines wait for a processor once they could run.

#include <chrono>
#include <cstdint>
#include <vector>

namespace weft {

class Runtime;

/// Times from ready to running: one for each time that a goroutine begins to run, be it new, woken or back from a yield.
struct SchedLatencies {
  /// Those of at least `from` and below `below`; the last one has no end. A bucket is at most a sixteenth as wide as its times.
  struct Bucket {
    std::chrono::nanoseconds from;
    std::chrono::nanoseconds below;
    std::uint64_t count;
  };
  std::vector<Bucket> buckets;  ///< shortest first, without the empty ones
  std::uint64_t count = 0;      ///< of all
  std::chrono::nanoseconds longest{0};

  /// At least `percent` of a hundred were no longer: the end of a bucket. Of none: 0.
  [[nodiscard]] std::chrono::nanoseconds percentile(double percent) const noexcept;
};

/// Of the calling goroutine's runtime, of the default one elsewhere. Empty without RuntimeOptions::measure_latency.
/// Blocks: never. Safe from: goroutines and threads. Throws: std::bad_alloc; Panic in a forked child.
/// Ordering: none; goroutines go on meanwhile, and each figure is exact at some instant during the call.
/// Cost: some microseconds for each processor. What measuring costs: docs/performance.md.
/// Go: /sched/latencies:seconds of runtime/metrics (which leaves out nine of ten).
SchedLatencies sched_latencies();
/// The same of a given one.
SchedLatencies sched_latencies(const Runtime& runtime);

}  // namespace weft

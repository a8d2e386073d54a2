// What the processors have counted, put together.

#include "weft/latency.hpp"

#include <algorithm>

#include "latency_counts.hpp"
#include "sched.hpp"
#include "weft/runtime.hpp"

namespace weft {

std::chrono::nanoseconds SchedLatencies::percentile(double percent) const noexcept {
  const double wanted = static_cast<double>(count) * std::clamp(percent, 0.0, 100.0) / 100;
  std::uint64_t seen = 0;
  for (const Bucket& bucket : buckets) {
    seen += bucket.count;
    if (static_cast<double>(seen) >= wanted) return std::min(bucket.below, longest);
  }
  return longest;
}

SchedLatencies sched_latencies(const Runtime& runtime) {
  using detail::LatencyCounts;
  SchedLatencies all;
  const detail::ProcessorTable& processors = runtime.scheduler().processors;
  for (std::size_t bucket = 0; bucket < LatencyCounts::kBuckets; ++bucket) {
    std::uint64_t count = 0;
    for (const auto& p : processors) count += p->latency != nullptr ? p->latency->count(bucket) : 0;
    if (count == 0) continue;
    const bool is_last = bucket == LatencyCounts::kBuckets - 1;
    all.buckets.push_back(
        {std::chrono::nanoseconds(LatencyCounts::begin_of(bucket)),
         is_last ? std::chrono::nanoseconds::max() : std::chrono::nanoseconds(LatencyCounts::begin_of(bucket + 1)),
         count});
    all.count += count;
  }
  for (const auto& p : processors) {
    if (p->latency != nullptr) all.longest = std::max(all.longest, std::chrono::nanoseconds(p->latency->longest_ns()));
  }
  return all;
}

SchedLatencies sched_latencies() {
  if (const Runtime* runtime = Runtime::current()) return sched_latencies(*runtime);
  return sched_latencies(Runtime::process_default_for("sched_latencies"));
}

}  // namespace weft

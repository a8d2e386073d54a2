#pragma once

// Times from ready to running, counted by length: sixteen buckets for each power of two. One for each processor; its owner
// writes, anybody reads.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "weft/detail/platform.hpp"

namespace weft::detail {

class alignas(kCacheLine) LatencyCounts {
 public:
  static constexpr unsigned kLinearBits = 4;
  static constexpr std::size_t kPerPower = std::size_t{1} << kLinearBits;
  static constexpr unsigned kPowers = 43;  // up to 2^43 ns, two hours; what is longer counts in the last one
  static constexpr std::size_t kBuckets = (kPowers - kLinearBits + 1) * kPerPower;

  void add(std::int64_t ns) noexcept {
    if (ns > longest_.load(std::memory_order_relaxed)) longest_.store(ns, std::memory_order_relaxed);  // owner only
    std::atomic<std::uint64_t>& count = counts_[bucket_of(ns)];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // likewise
  }
  // relaxed: counters
  [[nodiscard]] std::uint64_t count(std::size_t bucket) const noexcept {
    return counts_[bucket].load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::int64_t longest_ns() const noexcept { return longest_.load(std::memory_order_relaxed); }

  static constexpr std::size_t bucket_of(std::int64_t ns) noexcept {
    if (ns < static_cast<std::int64_t>(kPerPower)) return ns < 0 ? 0 : static_cast<std::size_t>(ns);
    const auto value = static_cast<std::uint64_t>(ns);
    const auto power = static_cast<unsigned>(std::bit_width(value)) - 1;
    if (power >= kPowers) return kBuckets - 1;
    const std::size_t within = (value >> (power - kLinearBits)) & (kPerPower - 1);
    return (power - kLinearBits + 1) * kPerPower + within;
  }
  /// The shortest that counts there.
  static constexpr std::int64_t begin_of(std::size_t bucket) noexcept {
    if (bucket < kPerPower) return static_cast<std::int64_t>(bucket);
    const std::size_t shift = bucket / kPerPower - 1;
    return static_cast<std::int64_t>((kPerPower + bucket % kPerPower) << shift);
  }

 private:
  std::atomic<std::int64_t> longest_{0};
  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
};

}  // namespace weft::detail

#pragma once

// The steady clock in a few nanoseconds, for deadlines that begin now: never behind the system's, and ahead by one or one and a half
// microseconds. So a deadline may be late by that much, but not early.
//
// Between two readings of the system's clock, at most 50 us apart, the processor's ticks are added. Of one thread, at one time.
//   C1 Never behind: each reading goes with ticks from before it, and ticks are counted at a rate that is a thousandth too high. The rate
//      is measured between readings two milliseconds and more apart, to a five-thousandth, and counts if it is what the measurement before
//      said, to a two-thousandth: so no jump of either clock has been measured, and the system's is not steered by more.
//   C2 Ticks may be read before loads that stand before have come back from memory: that is what the microsecond is for.
//   C3 It never goes back: it stands still after a reading until the system's clock has caught up.
//   C4 Ticks that jump, since the machine has slept or its processors' ticks are far apart, are more than 50 us, or negative: then the
//      system's clock is read. So it is where ticks are not steady. That processors agree to a microsecond is taken for granted, as it
//      is for the order of arrivals in crowded channels.

#include <algorithm>
#include <cstdint>

#include "weft/detail/platform.hpp"

namespace weft::detail {

class QuickClock {
 public:
  /// Of the system's clock, with the ticks from before it, and how many passed meanwhile.
  struct Reading {
    std::uint64_t ticks;
    std::int64_t now_ns;
    std::uint64_t took;
  };

  [[nodiscard]] std::int64_t now_ns() noexcept {
    const std::uint64_t passed = early_ticks() - ticks_;
    if (passed >= valid_for_) [[unlikely]]
      read();
    else
      last_ns_ = std::max(last_ns_, base_ns_ + static_cast<std::int64_t>(passed * rate_ >> kRateBits));
    return last_ns_ + kEarlyNs;
  }

  /// What follows is counted from there. now_ns() does this by itself.
  void note(const Reading& reading) noexcept;
  /// Whether ticks are counted, and not each call asks the system's clock.
  [[nodiscard]] bool counts_ticks() const noexcept { return valid_for_ != 0; }

 private:
  static constexpr unsigned kRateBits = 20;
  static constexpr std::uint64_t kValidNs = 50'000;
  static constexpr std::int64_t kEarlyNs = 1'000;

  void read() noexcept;
  void measure(const Reading& reading) noexcept;

  std::uint64_t ticks_ = 0;
  std::uint64_t valid_for_ = 0;  // ticks; 0: the rate is not known
  std::uint64_t rate_ = 0;       // nanoseconds for each tick, a little too many, times 2^kRateBits
  std::int64_t base_ns_ = 0;     // at ticks_
  std::int64_t last_ns_ = INT64_MIN;
  // Where the measurement under way began.
  Reading first_{};
  std::uint64_t last_measured_ = 0;  // what the one before said, of rate_'s kind
};

}  // namespace weft::detail

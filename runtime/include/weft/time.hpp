#pragma once

// The runtime's clock, and sleeping.

#include <chrono>
#include <cstdint>

#include "weft/detail/park.hpp"

namespace weft {

/// The clock of the calling goroutine's runtime; the steady clock on a plain thread. A std::chrono clock.
class Clock {
 public:
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Clock>;
  static constexpr bool is_steady = true;
  static time_point now() noexcept { return time_point(duration(detail::now_ns())); }
};

using TimePoint = Clock::time_point;

namespace detail {
/// Any std::chrono duration as nanoseconds, saturating, never rounded to a shorter wait.
template <class Rep, class Period>
constexpr std::int64_t saturated_ns(std::chrono::duration<Rep, Period> d) noexcept {
  using Wide = std::chrono::duration<long double, std::nano>;
  const long double wide = std::chrono::duration_cast<Wide>(d).count();
  if (wide >= 9.2e18L) return INT64_MAX;
  if (wide <= -9.2e18L) return INT64_MIN;
  return std::chrono::ceil<std::chrono::nanoseconds>(d).count();
}
constexpr std::int64_t saturated_ns(std::chrono::nanoseconds d) noexcept { return d.count(); }

void sleep_until_ns(std::int64_t deadline_ns) noexcept;
}  // namespace detail

/// Parks the caller for at least d; d <= 0 returns at once. A duration that would overflow lasts for ever.
/// Go: time.Sleep.
template <class Rep, class Period>
void sleep_for(std::chrono::duration<Rep, Period> d) noexcept {
  const std::int64_t ns = detail::saturated_ns(d);
  if (ns > 0) detail::sleep_until_ns(detail::deadline_after(ns));
}

/// Parks the caller until the clock has reached t; returns at once if it has.
inline void sleep_until(TimePoint t) noexcept { detail::sleep_until_ns(t.time_since_epoch().count()); }

}  // namespace weft

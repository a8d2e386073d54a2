#include "quick_clock.hpp"

#include <chrono>

namespace weft::detail {
namespace {

const bool steady_ticks = has_steady_ticks();

}  // namespace

[[gnu::noinline]] void QuickClock::read() noexcept {
  const std::uint64_t ticks = cheap_ticks();
  const std::int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
  const std::uint64_t took = cheap_ticks() - ticks;
  last_ns_ = std::max(last_ns_, now);
  if (!steady_ticks) return;
  measure(ticks, now, took);
  ticks_ = ticks;
  base_ns_ = now;
  // Between the ticks and the clock the thread may have been off its processor.
  constexpr std::uint64_t kMostTicks = 1U << 20U;
  constexpr std::uint64_t kMostNs = 300;
  const bool is_close = rate_ != 0 && took < kMostTicks && took * rate_ >> kRateBits < kMostNs;
  valid_for_ = is_close ? (kValidNs << kRateBits) / rate_ : 0;
}

void QuickClock::measure(std::uint64_t ticks, std::int64_t now_ns, std::uint64_t took) noexcept {
  constexpr std::int64_t kLeastNs = 2'000'000;
  constexpr std::int64_t kMostNs = 10'000'000'000;  // what fits into the product below
  const std::uint64_t span = ticks - first_ticks_;
  const std::int64_t span_ns = now_ns - first_ns_;
  const bool has_begun = first_ns_ != 0;
  if (has_begun && span_ns < kLeastNs) return;
  if (has_begun && span_ns < kMostNs && span < UINT64_MAX / 2 && took + first_took_ < span / 5'000) {
    const std::uint64_t rate = (static_cast<std::uint64_t>(span_ns) << kRateBits) / span;
    const std::uint64_t apart = std::max(rate, last_measured_) - std::min(rate, last_measured_);
    rate_ = rate != 0 && apart <= rate / 2'000 ? rate + rate / 1'000 + 1 : 0;
    last_measured_ = rate;
  } else {
    rate_ = last_measured_ = 0;
  }
  first_ticks_ = ticks;
  first_took_ = took;
  first_ns_ = now_ns;
}

}  // namespace weft::detail

#include "quick_clock.hpp"

#include <chrono>

namespace weft::detail {
namespace {

const bool steady_ticks = has_steady_ticks();

}  // namespace

[[gnu::noinline]] void QuickClock::read() noexcept {
  Reading reading{};
  reading.ticks = cheap_ticks();
  reading.now_ns = std::chrono::steady_clock::now().time_since_epoch().count();
  reading.took = cheap_ticks() - reading.ticks;
  last_ns_ = std::max(last_ns_, reading.now_ns);
  if (steady_ticks) note(reading);
}

void QuickClock::note(const Reading& reading) noexcept {
  measure(reading);
  ticks_ = reading.ticks;
  base_ns_ = reading.now_ns;
  // Between the ticks and the clock the thread may have been off its processor.
  constexpr std::uint64_t kMostTicks = 1U << 20U;
  constexpr std::uint64_t kMostNs = 300;
  const bool is_close = rate_ != 0 && reading.took < kMostTicks && reading.took * rate_ >> kRateBits < kMostNs;
  valid_for_ = is_close ? (kValidNs << kRateBits) / rate_ : 0;
}

void QuickClock::measure(const Reading& reading) noexcept {
  constexpr std::int64_t kLeastNs = 2'000'000;
  constexpr std::int64_t kMostNs = 10'000'000'000;  // what fits into the product below
  const std::uint64_t span = reading.ticks - first_.ticks;
  const std::int64_t span_ns = reading.now_ns - first_.now_ns;
  const bool has_begun = first_.now_ns != 0;
  if (has_begun && span_ns < kLeastNs) return;
  if (has_begun && span_ns < kMostNs && span < UINT64_MAX / 2 && reading.took + first_.took < span / 5'000) {
    const std::uint64_t rate = (static_cast<std::uint64_t>(span_ns) << kRateBits) / span;
    const std::uint64_t apart = std::max(rate, last_measured_) - std::min(rate, last_measured_);
    rate_ = rate != 0 && apart <= rate / 2'000 ? rate + rate / 1'000 + 1 : 0;
    last_measured_ = rate;
  } else {
    rate_ = last_measured_ = 0;
  }
  first_ = reading;
}

}  // namespace weft::detail

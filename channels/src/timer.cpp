// Timer, Ticker and after, compiled half.

#include "weft/timer.hpp"

#include "chan_timer.hpp"

namespace weft::detail {

RecvChan<TimePoint> TimerChan::make(std::int64_t after_ns, std::int64_t period_ns) {
  return RecvChan<TimePoint>(ChanTimer::make(after_ns, period_ns));
}

bool TimerChan::stop() { return ChanTimer::stop(*chan_.core_of()); }

bool TimerChan::reset(std::int64_t after_ns, std::int64_t period_ns) {
  return ChanTimer::reset(*chan_.core_of(), after_ns, period_ns);
}

void TimerChan::stop_quietly() noexcept {
  // Nobody is left who could receive, and no heap holds it (it would have a reference): it just goes.
  if (chan_ == nullptr || chan_.core_of()->is_sole_reference()) return;
  ChanTimer::halt(*chan_.core_of());
}

}  // namespace weft::detail

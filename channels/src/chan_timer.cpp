#include "chan_timer.hpp"

#include <new>

#include "weft/detail/line_blocks.hpp"
#include "weft/detail/received.hpp"
#include "weft/time.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kTimerChanBytes = sizeof(ChanCore) + sizeof(ChanTimer);

std::int64_t deadline_from_now(std::int64_t after_ns) noexcept {
  return after_ns <= 0 ? now_ns() : deadline_after(after_ns);
}

std::int64_t deadline_from(std::int64_t now_ns, std::int64_t after_ns) noexcept {
  return after_ns <= 0 ? now_ns : saturating_deadline(now_ns, after_ns);
}

}  // namespace

ChanTimer::ChanTimer(ChanCore& owner, std::int64_t after_ns, std::int64_t period) noexcept
    : Alarm(kAlarmOps), chan(owner), when_ns(deadline_from_now(after_ns)), period_ns(period) {}

ChanCore* ChanTimer::make(std::int64_t after_ns, std::int64_t period_ns) {
  static_assert(sizeof(ChanCore) % alignof(ChanTimer) == 0);
  // One block: the channel, and its timer where an ordinary channel has its buffer.
  auto* block = static_cast<std::byte*>(allocate_lines(kTimerChanBytes, alignof(ChanCore)));
  auto* timer = reinterpret_cast<ChanTimer*>(block + sizeof(ChanCore));
  auto* chan = ::new (static_cast<void*>(block)) ChanCore(kElementType<TimePoint>, 0, timer);
  ::new (static_cast<void*>(timer)) ChanTimer(*chan, after_ns, period_ns);
  chan->note_queues();
  return chan;
}

void ChanTimer::destroy() noexcept {
  ChanCore* core = &chan;
  this->~ChanTimer();
  core->~ChanCore();
  free_lines(core, kTimerChanBytes, alignof(ChanCore));
}

/// The value is the instant it was due. A ticker's next one is due a whole number of periods later: those that were
/// missed are dropped.
void ChanTimer::put(void* slot, std::int64_t now_ns) noexcept {
  ::new (slot) TimePoint(TimePoint::duration(when_ns));
  if (period_ns == 0) {
    is_armed = false;
  } else {
    const std::int64_t late_ns = now_ns - when_ns;
    when_ns = saturating_deadline(when_ns + late_ns / period_ns * period_ns, period_ns);
  }
}

/// What is due belongs to those who came earlier and still wait, to whom the heap's alarm is about to bring it (CH-13).
bool ChanTimer::is_due(std::int64_t now_ns) noexcept {
  if (!is_armed || when_ns > now_ns) return false;
  // Selects that have been claimed elsewhere are not there any more.
  while (Waiter* first = chan.receivers_.front()) {
    if (first->claim == nullptr || first->claim->winner() == Claim::kNobody) return false;
    chan.receivers_.remove(*first);
  }
  chan.note_queues();
  return true;
}

bool ChanTimer::take(void* slot) noexcept {
  const std::int64_t now = now_ns();
  if (!is_due(now)) return false;
  put(slot, now);
  return true;
}

void ChanTimer::await() noexcept {
  if (is_armed && !is_held() && set(when_ns)) chan.retain();
}

void ChanTimer::withdrawn() noexcept {
  // Not the last reference: whoever calls has a handle.
  if (chan.receivers_.empty() && clear()) chan.release();
}

/// To the receiver that has waited longest, if the value is due and somebody waits.
SleeperHandle ChanTimer::deliver(std::int64_t now_ns) noexcept {
  if (!is_armed || when_ns > now_ns) return {};
  Waiter* receiver = chan.receivers_.claim_front();
  chan.note_queues();
  if (receiver == nullptr) return {};
  put(receiver->slot, now_ns);
  receiver->is_ok = true;
  return receiver->sleeper;
}

SleeperHandle ChanTimer::expire(TimerNode& node, std::int64_t now_ns) noexcept {
  auto& self = static_cast<ChanTimer&>(node);
  ChanCore& chan = self.chan;
  chan.lock_.lock();
  self.left_heap();
  const SleeperHandle receiver = self.deliver(now_ns);
  const bool is_held = self.is_armed && !chan.receivers_.empty() && self.set(self.when_ns);
  chan.lock_.unlock();
  if (!is_held) chan.release();
  return receiver;
}

/// The runtime whose heap it was in is gone; somebody of another runtime, or a plain thread, may wait all the same.
void ChanTimer::forget(TimerNode& node, const Scheduler* dying) noexcept {
  auto& self = static_cast<ChanTimer&>(node);
  ChanCore& chan = self.chan;
  chan.lock_.lock();
  self.left_heap();
  const bool is_held = dying != nullptr && self.is_armed && !chan.receivers_.empty() && self.set(self.when_ns);
  chan.lock_.unlock();
  if (!is_held) chan.release();
}

bool ChanTimer::halt(ChanCore& chan) noexcept {
  ChanTimer& self = *chan.timer_;
  chan.lock_.lock();
  const bool was_armed = self.is_armed;
  self.is_armed = false;
  const bool is_let_go = self.clear();
  chan.lock_.unlock();
  if (is_let_go) chan.release();
  return was_armed;
}

bool ChanTimer::stop(ChanCore& chan) {
  chan.check_bubble("stop of synctest timer from outside bubble");
  return halt(chan);
}

bool ChanTimer::reset(ChanCore& chan, std::int64_t after_ns, std::int64_t period_ns) {
  chan.check_bubble("reset of synctest timer from outside bubble");
  ChanTimer& self = *chan.timer_;
  chan.lock_.lock();
  const bool was_armed = self.is_armed;
  const std::int64_t now = self.now_ns();
  self.is_armed = true;
  self.when_ns = deadline_from(now, after_ns);
  self.period_ns = period_ns;
  const SleeperHandle receiver = self.deliver(now);
  bool is_let_go = false;
  if (self.is_armed && !chan.receivers_.empty()) {
    if (self.set(self.when_ns)) chan.retain();
  } else {
    is_let_go = self.clear();
  }
  chan.lock_.unlock();
  if (receiver) ready(receiver);
  if (is_let_go) chan.release();
  return was_armed;
}

}  // namespace weft::detail

// A waiter's place is queued before the user's lock is released (CO-2). That release is the user's code, so no lock of ours
// may be held over it, and it may take as long as it likes: a notification may find a place whose owner has not parked yet.
//
// D1 Cond::lock_ guards the queue; CondWait::lock_ guards what became of a place. Who needs both takes the Cond's first; a
//    place that leaves by itself has its own first, and tries for the Cond's.
// D2 A notification takes places off from the front and tries to win their claims. It has ended the wait of one whose claim
//    it won; the others had reached their limit, and do not use it up.
// D3 The owner decides under CondWait::lock_ whether to park, and holds it until the commit: so a notification knows whether
//    it has to ready him.
// D4 A place in state kQueued has not been notified, so the Cond is there. One that has been taken off does not touch the Cond
//    any more: whoever notified all may destroy it, though they have not returned. That is why a place has a lock of its own.
// D5 A notification gives the Cond's lock free before it lets go of the first place that may run on: somebody who has returned
//    from wait() may destroy the Cond (HZ-5). A place that is not parked runs on when its lock is free, a parked one when it
//    is readied.
// D6 Who was notified by notify_one, but can never run again (its runtime is destroyed), or left its place because unlock()
//    threw, passes it on to the next.

#include "weft/cond.hpp"

#include "weft/context.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/error.hpp"

namespace weft {
namespace detail {
namespace {

constexpr auto kWoken = static_cast<std::uint32_t>(WaitEnd::kWoken);

}  // namespace

const WaitOps CondWait::kOps{
    [](WaitPoint& point) noexcept { static_cast<CondWait&>(point).lock_.unlock(); },
    [](WaitPoint& point) noexcept { return static_cast<CondWait&>(point).leave(); },
    [](WaitPoint& point) noexcept {
      auto& place = static_cast<CondWait&>(point);
      if (place.claim_.winner() != kWoken) {
        static_cast<void>(place.leave());
      } else if (place.is_single_) {
        place.cond_.wake_first();  // D6
      }
    },
};

CondWait::CondWait(Cond& cond) noexcept : cond_(cond), bubble_(current_bubble()) {
  ops = &kOps;
  reason = WaitReason::kCondWait;
  is_durable = bubble_ != 0;
  waiter_.slot = this;
  chaos_point();
  const SpinGuard guard(cond_.lock_);
  cond_.waiters_.push_back(waiter_);
}

CondWait::~CondWait() {
  if (!is_done_ && !leave() && is_single_) cond_.wake_first();  // D6
}

bool CondWait::wait() noexcept { return wait_within({}); }
bool CondWait::wait_until_ns(std::int64_t deadline_ns) noexcept { return wait_within({.deadline_ns = deadline_ns}); }
bool CondWait::wait(ChanCore* done) noexcept { return wait_within({.done = done}); }

bool CondWait::wait_within(const Limit& limit) noexcept {
  chaos_point();
  is_done_ = true;
  lock_.lock();
  if (state_ == State::kNotified) {
    lock_.unlock();
    return true;
  }
  if (limit.has_passed()) {
    lock_.unlock();
    return !leave();  // not there any more: notified, for nothing else can have claimed it
  }
  Sleeper self;
  waiter_.sleeper = self.handle();
  is_parked_ = true;
  LimitedPark limited(limit, claim_);
  if (limited.park(self, *this) == WaitEnd::kWoken) return true;
  static_cast<void>(leave());
  return false;
}

/// Off the queue. False: a notification has taken it off.
bool CondWait::leave() noexcept {
  Backoff backoff;
  for (;;) {
    lock_.lock();
    if (state_ != State::kQueued) {
      lock_.unlock();
      return false;
    }
    if (cond_.lock_.try_lock()) break;  // D4: it is there; D1: against the order
    lock_.unlock();
    backoff.pause();
  }
  cond_.waiters_.remove(waiter_);
  state_ = State::kTakenOff;
  cond_.lock_.unlock();
  lock_.unlock();
  return true;
}

/// Lets the owner of a place that was notified run on: the last access to it.
void CondWait::let_go() noexcept {
  if (!is_parked_) return lock_.unlock();
  ready(waiter_.sleeper);
}

/// Its wait counts as durable: only the bubble may end it.
void CondWait::check_bubble() const noexcept {
  if (bubble_ != 0 && bubble_ != current_bubble()) {
    fatal("semaphore wake of synctest goroutine from outside bubble");
  }
}

}  // namespace detail

bool Cond::is_done(const Context& ctx) noexcept { return ctx.is_done(); }
detail::ChanCore* Cond::done_core(const Context& ctx) { return ctx.done_core(); }

/// With lock_ held: notifies the first place whose limit was not first. It is returned with its lock held, unless its owner
/// is parked; null if there is none.
detail::CondWait* Cond::take_first(bool is_single) noexcept {
  while (detail::Waiter* waiter = waiters_.pop_front()) {
    auto& place = *static_cast<detail::CondWait*>(waiter->slot);
    place.lock_.lock();
    if (!place.claim_.try_win(detail::kWoken)) {
      place.state_ = detail::CondWait::State::kTakenOff;  // D2
      place.lock_.unlock();
      continue;
    }
    place.state_ = detail::CondWait::State::kNotified;
    place.is_single_ = is_single;
    if (place.is_parked_) place.lock_.unlock();  // it stays until it is readied
    return &place;
  }
  return nullptr;
}

void Cond::wake_first() noexcept {
  lock_.lock();
  detail::CondWait* place = take_first(true);
  lock_.unlock();  // D5
  if (place != nullptr) place->let_go();
}

void Cond::notify_one() noexcept {
  detail::chaos_point();
  lock_.lock();
  detail::CondWait* place = take_first(true);
  if (place != nullptr) place->check_bubble();
  lock_.unlock();  // D5
  if (place != nullptr) place->let_go();
}

void Cond::notify_all() noexcept {
  detail::chaos_point();
  lock_.lock();
  detail::CondWait* first = nullptr;
  detail::CondWait** last = &first;
  while (detail::CondWait* place = take_first(false)) {
    place->check_bubble();
    *last = place;
    last = &place->next_;
  }
  lock_.unlock();  // D5
  while (first != nullptr) {
    detail::CondWait* next = first->next_;
    first->let_go();
    first = next;
  }
}

}  // namespace weft

// ErrGroup: a count of places, who waits for one, and who waits for all of them to be free.
//
// E1 A place that is given back while somebody waits for one goes to that one in the same critical section: active_ does not
//    drop in between, so nobody who waits for all sees a gap between two tasks, and no newcomer overtakes.
// E2 leave() touches the group for the last time when it releases lock_. Whoever sees active_ at 0 may destroy the group: it
//    has seen that under lock_, or was woken after the release (HZ-5). So a place is free before wait() returns (EG-5).
// E3 The error is stored before the context is cancelled with it, and both before the place is given back: who waits for a
//    place with that context hears of the failure first.

#include "weft/err_group.hpp"

#include <string>

#include "weft/detail/bubble.hpp"
#include "weft/detail/queue_wait.hpp"
#include "weft/error.hpp"

namespace weft {

/// For a place (which it gives back if its goroutine is abandoned before it can use it), or for all to be free.
class ErrGroup::PlaceWait final : public detail::QueueWait {
 public:
  PlaceWait(ErrGroup& group, detail::WaitQueue& queue, detail::WaitReason why, bool durable) noexcept
      : QueueWait(group.lock_, queue, why, durable), group_(group), is_for_place_(&queue == &group.want_place_) {}

 private:
  void give_back() noexcept override {
    if (is_for_place_) group_.leave();
  }
  ErrGroup& group_;
  const bool is_for_place_;
};

ErrGroup::ErrGroup() : ErrGroup(background()) {}

ErrGroup::ErrGroup(const Context& parent) : exceptions_in_flight_(std::uncaught_exceptions()) {
  auto [context, cancel] = with_cancel(parent);
  context_ = std::move(context);
  cancel_ = std::move(cancel);
}

ErrGroup::~ErrGroup() {
  if (std::uncaught_exceptions() > exceptions_in_flight_) cancel_();
  static_cast<void>(await_all({}));
}

void ErrGroup::set_limit(std::int64_t n) {
  detail::WakeList woken;
  lock_.lock();
  if (active_ != 0) {
    const std::int64_t active = active_;
    lock_.unlock();
    const std::string what =
        "errgroup: modify limit while " + std::to_string(active) + " goroutines in the group are still active";
    detail::throw_panic(what.c_str());
  }
  limit_ = n;
  while (has_place()) {  // callers that the old limit, which was 0, had kept out
    detail::Waiter* waiter = want_place_.claim_front();
    if (waiter == nullptr) break;
    ++active_;
    woken.add(*waiter);
  }
  lock_.unlock();
  woken.ready_all();
}

bool ErrGroup::enter(Wanted wanted, const detail::Limit& limit) {
  detail::chaos_point();
  const std::uint32_t bubble = detail::current_bubble();
  lock_.lock();
  if (active_ == 0 && want_place_.empty()) {
    bubble_ = bubble;
  } else if (bubble_ != bubble) {
    lock_.unlock();
    detail::throw_panic("weft: ErrGroup::go: called from inside and outside a bubble");
  }
  if (has_place() && want_place_.empty()) {
    ++active_;
    lock_.unlock();
    return true;
  }
  if (wanted == Wanted::kTry || limit.has_passed()) {
    lock_.unlock();
    return false;
  }
  PlaceWait wait(*this, want_place_, detail::WaitReason::kSemacquire, bubble != 0);
  return wait.run(limit) == detail::WaitEnd::kWoken;
}

void ErrGroup::leave() noexcept {
  lock_.lock();
  if (detail::Waiter* next = limit_ < 0 || active_ <= limit_ ? want_place_.claim_front() : nullptr) {
    lock_.unlock();  // E1: active_ stays
    detail::ready(next->sleeper);
    return;
  }
  detail::WakeList woken;
  if (--active_ == 0) woken.add_all(want_all_);
  lock_.unlock();  // E2
  woken.ready_all();
}

void ErrGroup::fail(std::exception_ptr error) noexcept {
  lock_.lock();
  const bool is_first = error_ == nullptr;
  if (is_first) error_ = error;
  lock_.unlock();
  if (is_first) cancel_(error);
}

/// False: the limit was reached.
bool ErrGroup::await_all(const detail::Limit& limit) noexcept {
  detail::chaos_point();
  lock_.lock();
  if (active_ == 0 || limit.has_passed()) {
    const bool is_over = active_ == 0;
    lock_.unlock();
    return is_over;
  }
  const bool is_durable = bubble_ != 0 && bubble_ == detail::current_bubble();
  PlaceWait wait(*this, want_all_, detail::WaitReason::kWaitGroupWait, is_durable);
  return wait.run(limit) == detail::WaitEnd::kWoken;
}

void ErrGroup::report() {
  lock_.lock();
  const std::exception_ptr error = error_;
  lock_.unlock();
  cancel_(error);  // if there was no error: errc::canceled
  if (error) std::rethrow_exception(error);
}

void ErrGroup::wait() {
  static_cast<void>(await_all({}));
  report();
}

bool ErrGroup::wait(const Context& ctx) {
  if (ctx.is_done() || !await_all({.done = ctx.done_core()})) return false;
  report();
  return true;
}

}  // namespace weft

// A counter and a queue under one lock; whoever changes either looks whether the head of the queue can be served now.
//
// E1 While lock_ is free, the head of the queue does not fit (or has claimed itself away and is about to leave, which looks
//    again). Three things can make it fit: units that come back, a head that leaves, and a head that is served; grant()
//    follows each of them.
// E2 What a waiter asked for is taken for it under the lock, by whoever serves it: nobody can overtake it any more.
// E3 The release of lock_ is the last access to the object of everybody who serves others: those may destroy it as soon as
//    they run (HZ-5). So grant() hands the served on in a list, through their own frames, and they are readied after that.
// E4 A context that was done before the grant was seen wins: acquire() gives the units back (SM-4).

#include "weft/semaphore.hpp"

#include "weft/context.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/queue_wait.hpp"
#include "weft/error.hpp"

namespace weft {
namespace {

void check(std::int64_t n) {
  if (n < 0) detail::throw_panic("semaphore: negative number of units");
}

/// A wait that only its limit can end: in no queue, so there is nothing to release and nothing to leave.
constexpr detail::WaitOps kNeverOps{nullptr, nullptr, nullptr};

}  // namespace

struct Semaphore::Wait final : detail::QueueWait {
  Wait(Semaphore& owner, std::int64_t units, bool durable) noexcept
      : QueueWait(owner.lock_, owner.waiters_, detail::WaitReason::kSemacquire, durable), semaphore(owner), n(units) {
    waiter.slot = this;
  }
  void left() noexcept override {
    const detail::WakeList served = semaphore.grant();  // those behind it may fit (SM-5)
    semaphore.lock_.unlock();
    served.ready_all();
  }
  void give_back() noexcept override { semaphore.put_back(n); }

  Semaphore& semaphore;
  const std::int64_t n;
};

Semaphore::Semaphore(std::int64_t n) : size_(n), bubble_(detail::current_bubble()) { check(n); }

/// With the lock held: serves the head of the queue as long as it fits. Returns the served, to be readied without the lock.
detail::WakeList Semaphore::grant() noexcept {
  detail::WakeList served;
  while (detail::Waiter* head = waiters_.front()) {
    const std::int64_t n = static_cast<Wait*>(head->slot)->n;
    if (n > size_ - held_) break;
    waiters_.pop_front();
    if (!head->try_claim()) continue;  // its limit was first
    held_ += n;
    served.add(*head);
  }
  return served;
}

bool Semaphore::try_take(std::int64_t n) noexcept {
  if (!waiters_.empty() || n > size_ - held_) return false;
  held_ += n;
  return true;
}

bool Semaphore::try_acquire(std::int64_t n) {
  check(n);
  const detail::SpinGuard guard(lock_);
  return try_take(n);
}

void Semaphore::acquire(std::int64_t n) { static_cast<void>(acquire_within({}, n)); }

bool Semaphore::acquire(const Context& ctx, std::int64_t n) {
  check(n);
  if (ctx.is_done()) return false;
  if (!acquire_within({.done = ctx.done_core()}, n)) return false;
  if (!ctx.is_done()) return true;
  put_back(n);  // E4
  return false;
}

bool Semaphore::acquire_until_ns(std::int64_t deadline_ns, std::int64_t n) {
  return acquire_within({.deadline_ns = deadline_ns}, n);
}

bool Semaphore::acquire_within(const detail::Limit& limit, std::int64_t n) {
  check(n);
  detail::chaos_point();
  if (n > size_) return never(limit);
  lock_.lock();
  if (try_take(n)) {
    lock_.unlock();
    return true;
  }
  if (limit.has_passed()) {
    lock_.unlock();
    return false;
  }
  Wait wait(*this, n, bubble_ != 0 && bubble_ == detail::current_bubble());
  return wait.run(limit) == detail::WaitEnd::kWoken;
}

/// Waits for the limit alone (SM-3).
bool Semaphore::never(const detail::Limit& limit) noexcept {
  if (limit.has_passed()) return false;
  detail::Sleeper self;
  detail::Claim claim;
  detail::WaitPoint point{&kNeverOps, detail::WaitReason::kSemacquire, true};
  detail::LimitedPark limited(limit, claim);
  static_cast<void>(limited.park(self, point));
  return false;
}

void Semaphore::put_back(std::int64_t n) noexcept {
  lock_.lock();
  held_ -= n;
  const detail::WakeList served = grant();
  lock_.unlock();  // E3
  served.ready_all();
}

void Semaphore::release(std::int64_t n) {
  check(n);
  lock_.lock();
  const bool too_many = n > held_;
  // What ends a durable wait must happen in the bubble, or its clock would jump over it.
  const bool is_outside = bubble_ != 0 && !waiters_.empty() && bubble_ != detail::current_bubble();
  if (too_many || is_outside) {
    lock_.unlock();
    detail::throw_panic(too_many ? "semaphore: released more than held"
                                 : "semaphore: release of synctest semaphore from outside bubble");
  }
  held_ -= n;
  const detail::WakeList served = grant();
  lock_.unlock();  // E3
  served.ready_all();
}

Semaphore::Guard Semaphore::acquire_guard(std::int64_t n) {
  acquire(n);
  return {*this, n};
}

Semaphore::Guard Semaphore::acquire_guard(const Context& ctx, std::int64_t n) {
  if (!acquire(ctx, n)) return {};
  return {*this, n};
}

}  // namespace weft

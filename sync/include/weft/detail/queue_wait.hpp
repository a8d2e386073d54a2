#pragma once

// A wait in a queue that a spinlock guards: what a sync object's slow path is made of, and a wait for a file.
//
//   lock.lock(); ... cannot go on at once ...
//   Wait wait(lock, queue, reason);  wait.waiter.slot = ...;
//   const WaitEnd end = wait.run(limit);     (gives the lock away)
//
// Who wakes it: takes it off with queue.claim_front() under the lock, hands over what it waits for, releases the lock, and
// only then calls ready(waiter.sleeper): after the release it does not touch the object, which whoever was woken may destroy
// (HZ-5).

#include "weft/detail/limited_park.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"

namespace weft::detail {

class QueueWait : private WaitPoint {
 public:
  QueueWait(Spinlock& lock, WaitQueue& queue, WaitReason why, bool durable = false) noexcept
      : lock_(lock), queue_(queue) {
    ops = &kOps;
    reason = why;
    is_durable = durable;
  }
  QueueWait(const QueueWait&) = delete;
  QueueWait& operator=(const QueueWait&) = delete;
  virtual ~QueueWait() = default;

  Waiter waiter;  // the slot is for the object to use

  /// With the lock held, which is free when it returns. Queues the caller at the end and parks it until it is woken or the
  /// limit is reached.
  WaitEnd run(const Limit& limit) noexcept {
    Sleeper self;
    waiter.sleeper = self.handle();
    waiter.claim = limit.is_none() ? nullptr : &claim_;
    queue_.push_back(waiter);
    LimitedPark limited(limit, claim_);
    const WaitEnd end = limited.park(self, *this);
    if (end != WaitEnd::kWoken) static_cast<void>(withdraw());
    return end;
  }

 protected:
  /// It has left the queue unserved. With the lock held, which this releases: those behind it may have something to do.
  virtual void left() noexcept { lock_.unlock(); }
  /// It was served, but is abandoned before it can run: gives back what it was given. Without the lock.
  virtual void give_back() noexcept {}
  /// The goroutine will never run again, so what it holds is not given back by its destructors. May be called twice.
  virtual void abandoned() noexcept {}

  Spinlock& lock_;
  WaitQueue& queue_;

 private:
  bool withdraw() noexcept {
    lock_.lock();
    const bool removed = queue_.remove(waiter);
    left();
    return removed;
  }
  static const WaitOps kOps;

  Claim claim_;
};

inline const WaitOps QueueWait::kOps{
    [](WaitPoint& point) noexcept { static_cast<QueueWait&>(point).lock_.unlock(); },
    [](WaitPoint& point) noexcept {
      auto& self = static_cast<QueueWait&>(point);
      const bool removed = self.withdraw();
      if (removed || self.waiter.claim != nullptr) self.abandoned();
      return removed;
    },
    [](WaitPoint& point) noexcept {
      auto& self = static_cast<QueueWait&>(point);
      const bool is_unserved = self.waiter.claim != nullptr && self.claim_.winner() != self.waiter.claim_id;
      if (is_unserved) {
        static_cast<void>(self.withdraw());
      } else {
        self.give_back();
      }
      self.abandoned();
    },
};

}  // namespace weft::detail

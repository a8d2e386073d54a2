#pragma once

// A wait that may also end by a deadline, or because a Context is done. What sync's timed and cancellable calls stand on.
//
//   Claim claim;  waiter.claim = &claim  (null for a wait without limits)  ... enqueue under the object's lock ...
//   LimitedPark limited(limit, claim);
//   switch (limited.park(self, point)) ...            (the point's commit releases the lock)
//   not woken: take the object's lock, leave its queue, release it; only then may `limited` go
//
// L1 The commit arms deadline and Context before the point's own commit releases the object's lock. What ends the wait
//    through them may be earlier than that release, but the sleeper cannot leave the frame before it: first it leaves the
//    object's queue, for which it needs that lock; only after that it leaves the Context's (the destructor).
//    A wait without an object, that nothing but its limit ends, has no such commit: it may have a deadline or a Context, not
//    both.
// L2 Who ends the wait has won the claim, so only one does, and the frame stays until that one has called ready().

#include <cstdint>

#include "weft/detail/chan_core.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/waiter.hpp"

namespace weft::detail {

/// How long a wait may last.
struct Limit {
  std::int64_t deadline_ns = kForever;
  ChanCore* done = nullptr;  ///< closed when it is to end; null: by nothing of the kind. The caller keeps it alive

  [[nodiscard]] bool is_none() const noexcept { return deadline_ns == kForever && done == nullptr; }
  /// True if the wait is over before it begins.
  [[nodiscard]] bool has_passed() const noexcept {
    return (done != nullptr && done->is_closed()) || (deadline_ns != kForever && deadline_ns <= now_ns());
  }
};

/// How a wait ended. The values are what the claim is won with.
enum class WaitEnd : std::uint32_t { kWoken = 1, kTimedOut = 2, kCancelled = 3, kAbandoned = 4 };

class LimitedPark {
 public:
  LimitedPark(const Limit& limit, Claim& claim) noexcept : limit_(limit), claim_(claim) {}
  LimitedPark(const LimitedPark&) = delete;
  LimitedPark& operator=(const LimitedPark&) = delete;
  /// Leaves the Context's queue (L1).
  ~LimitedPark() {
    if (limit_.done != nullptr) limit_.done->unwatch(point_.waiter);
  }

  /// As park(). Called once.
  WaitEnd park(Sleeper& self, WaitPoint& inner) noexcept;

 private:
  struct Point : WaitPoint {
    WaitPoint* inner;
    ChanCore* done;
    Waiter waiter;
  };
  static const WaitOps kOps;

  const Limit limit_;
  Claim& claim_;
  Point point_{};
};

}  // namespace weft::detail

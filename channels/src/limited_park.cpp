#include "weft/detail/limited_park.hpp"

#include "weft/detail/wait_target.hpp"

namespace weft::detail {

const WaitOps LimitedPark::kOps{
    [](WaitPoint& point) noexcept {
      auto& self = static_cast<Point&>(point);
      WaitPoint& inner = *self.inner;
      const SleeperHandle sleeper = self.waiter.sleeper;
      const bool commits = has_commit(inner);  // if not, the frame may be gone once the context knows of it (L1)
      // Already done: end the wait, but ready the sleeper last, for the inner commit still uses the frame. If somebody else
      // has won, that one readies it.
      const bool ends_now = !self.done->watch(self.waiter) && self.waiter.try_claim();
      if (commits) commit(inner);
      if (ends_now) ready(sleeper);
    },
    [](WaitPoint& point) noexcept {
      auto& self = static_cast<Point&>(point);
      // Whoever wins the claim readies the sleeper: abandoning it means to win that.
      const bool won = self.waiter.claim->try_win(static_cast<std::uint32_t>(WaitEnd::kAbandoned));
      if (won && self.inner->ops->abandon != nullptr) static_cast<void>(self.inner->ops->abandon(*self.inner));
      self.done->unwatch(self.waiter);
      return won;
    },
    [](WaitPoint& point) noexcept {
      auto& self = static_cast<Point&>(point);
      if (self.inner->ops->forsake != nullptr) self.inner->ops->forsake(*self.inner);
      self.done->unwatch(self.waiter);
    },
    [](const WaitPoint& point, WaitTargets& out) noexcept {
      const WaitPoint& inner = *static_cast<const Point&>(point).inner;
      out.add_way_out();
      if (inner.ops->targets != nullptr) inner.ops->targets(inner, out);
    },
};

WaitEnd LimitedPark::park(Sleeper& self, WaitPoint& inner) noexcept {
  constexpr auto kTimedOut = static_cast<std::uint32_t>(WaitEnd::kTimedOut);
  if (limit_.is_none()) {
    detail::park(self, inner);
    return WaitEnd::kWoken;
  }
  if (limit_.done == nullptr) {
    park_until(self, inner, claim_, kTimedOut, limit_.deadline_ns);
  } else {
    point_.ops = &kOps;
    point_.reason = inner.reason;
    point_.is_durable = inner.is_durable && limit_.done->is_in_bubble();
    point_.inner = &inner;
    point_.done = limit_.done;
    point_.waiter.sleeper = self.handle();
    point_.waiter.claim = &claim_;
    point_.waiter.claim_id = static_cast<std::uint32_t>(WaitEnd::kCancelled);
    park_until(self, point_, claim_, kTimedOut, limit_.deadline_ns);
  }
  return static_cast<WaitEnd>(claim_.winner());
}

}  // namespace weft::detail

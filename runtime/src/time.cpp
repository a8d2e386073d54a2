// Sleeping: a timed wait that nothing but its deadline ends.

#include "weft/time.hpp"

#include "weft/detail/park.hpp"

namespace weft::detail {
namespace {
constexpr WaitOps kSleepOps{nullptr, nullptr, nullptr};
}

void sleep_until_ns(std::int64_t deadline_ns) noexcept {
  chaos_point();
  if (deadline_ns <= now_ns()) return;
  Sleeper self;
  WaitPoint point{&kSleepOps, WaitReason::kSleep, true};
  Claim claim;
  park_until(self, point, claim, 1, deadline_ns);
}

}  // namespace weft::detail

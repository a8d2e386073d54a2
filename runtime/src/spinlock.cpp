#include "weft/detail/spinlock.hpp"

#include <sched.h>

#include "forked.hpp"
#include "thread_count.hpp"

namespace weft::detail {

namespace {
constexpr std::uint32_t kRoundsBetweenLooks = 100'000;
}

void Backoff::give_up_cpu() noexcept { sched_yield(); }

void Spinlock::lock_slow() noexcept {
  Backoff backoff;
  for (std::uint32_t round = 1; !try_lock(); ++round) {
    backoff.pause();
    // In a forked child the holder may be a thread that has stayed in the parent.
    if (round % kRoundsBetweenLooks == 0 && is_forked_child() && count_threads() == 1) {
      die_after_fork("an internal lock was held when the process was forked");
    }
  }
}

}  // namespace weft::detail

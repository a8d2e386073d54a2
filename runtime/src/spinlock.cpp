#include "weft/detail/spinlock.hpp"

#include <sched.h>

namespace weft::detail {

void Backoff::give_up_cpu() noexcept { sched_yield(); }

void Spinlock::lock_slow() noexcept {
  Backoff backoff;
  while (!try_lock()) backoff.pause();
}

}  // namespace weft::detail

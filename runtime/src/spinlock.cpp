#include "weft/detail/spinlock.hpp"

#include <sched.h>

#include "forked.hpp"
#include "thread_count.hpp"

namespace weft::detail {

namespace {
constexpr std::uint32_t kRoundsBetweenLooks = 100'000;
// Between two tries. Long against a critical section: who has the lock's line does many operations meanwhile, instead of one for
// each journey of the line. Two processors, ns for an operation, with a pause of 1 and of 32: chan_128_4p4c 120 and 44,
// chan_unbuf_4p4c 356 and 141, semaphore_4 230 and 52, worker_pool 234 and 73.
constexpr int kPauses = 32;
}  // namespace

void Backoff::give_up_cpu() noexcept { sched_yield(); }

void Spinlock::lock_slow() noexcept {
  Backoff backoff;
  for (std::uint32_t round = 1; !try_lock(); ++round) {
    for (int i = 0; i < kPauses; ++i) cpu_pause();
    backoff.pause();
    // In a forked child the holder may be a thread that has stayed in the parent.
    if (round % kRoundsBetweenLooks == 0 && is_forked_child() && count_threads() == 1) {
      die_after_fork("an internal lock was held when the process was forked");
    }
  }
}

}  // namespace weft::detail

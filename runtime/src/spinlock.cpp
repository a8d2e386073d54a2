#include "weft/detail/spinlock.hpp"

#include <sched.h>

#include "forked.hpp"
#include "thread_count.hpp"

namespace weft::detail {

namespace {
// Between two tries. Long against a critical section: who has the lock's line does many operations meanwhile, instead of one
// for each journey of the line. Two processors, ns for an operation, with 1, 32 and 128 pauses: chan_128_4p4c 120, 37 and 26,
// chan_unbuf_4p4c 356, 110 and 81, worker_pool 234, 58 and 48; sieve_select 316 and 239 us with 32 and 128. 256 are as 128.
// (A pause is 17 ns here, so that 128 are 2 us; 10 to 50 ns elsewhere.)
constexpr unsigned kPauses = 128;
constexpr std::uint32_t kTriesBeforeYield = 16;  // by then the holder has probably been descheduled
constexpr std::uint32_t kTriesBetweenLooks = 20'000;
}  // namespace

void Backoff::give_up_cpu() noexcept { sched_yield(); }

void Spinlock::lock_slow() noexcept {
  for (std::uint32_t tries = 1; !try_lock(); ++tries) {
    cpu_pauses(kPauses);
    if (tries % kTriesBeforeYield == 0) sched_yield();
    // In a forked child the holder may be a thread that has stayed in the parent.
    if (tries % kTriesBetweenLooks == 0 && is_forked_child() && count_threads() == 1) {
      die_after_fork("an internal lock was held when the process was forked");
    }
  }
}

}  // namespace weft::detail

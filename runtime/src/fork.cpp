// The hook that runs in a forked child, before fork() returns there. It may have been called while other threads were
// anywhere in the runtime: it takes no lock, allocates nothing, and gives the process's own lists and counts a new start.

#include <pthread.h>

#include "deadlock.hpp"
#include "fault.hpp"
#include "forked.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "trace.hpp"
#include "uncaught.hpp"
#include "weft/detail/biased_lock.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

void begin_child() noexcept {
  fork_count.fetch_add(1, std::memory_order_relaxed);  // one thread
  forget_worker();
  end_report();
  WeftThreads::forget_all();
  DeadlockRegistry::forget_all();
  forget_default_lock();
  forget_fault_lock();
  forget_lock_users_lock();
  Netpoll::forget();
  Tracer::instance().forget_all();
}

}  // namespace

void watch_forks() noexcept {
  static_cast<void>(Tracer::instance());  // made before a child could find it half made
  static const int once = pthread_atfork(nullptr, nullptr, &begin_child);
  static_cast<void>(once);
}

void check_wait_after_fork(WaitReason reason, const std::atomic<std::uint32_t>& token) noexcept {
  // The token last: once nobody else is there, it does not change any more.
  const bool is_alone = DeadlockRegistry::is_empty() && !WeftThreads::outsiders();
  if (is_alone && token.load(std::memory_order_acquire) == 0) die_after_fork(to_string(reason).data());
}

}  // namespace weft::detail

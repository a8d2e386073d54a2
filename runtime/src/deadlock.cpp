#include "deadlock.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "keep_errno.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "thread_count.hpp"
#include "weft/detail/external_waker.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/error.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

std::atomic<int> worker_threads{0};
std::atomic<int> blocked_threads{0};
std::atomic<std::uint64_t> departures{0};
std::atomic<int> external_wakers{0};

struct Registry {
  Spinlock lock;
  std::vector<Scheduler*> schedulers;   // guarded by lock
  std::atomic<pthread_t> handler_on{};  // the thread that holds the lock and runs a handler of the user's
  std::vector<Scheduler*> parents;      // in a forked child: what was there; may be broken, and is never touched
};

Registry& registry() {
  static auto* instance = new Registry;  // outlives every static object
  return *instance;
}

bool is_quiet(Scheduler& scheduler) noexcept {
  // Detached goroutines first: what the last of them did is seen by what is looked at after it.
  return scheduler.detached.load(std::memory_order_seq_cst) == 0 &&
         scheduler.idle.free_processors() == scheduler.processor_count() && scheduler.idle.searching() == 0 &&
         scheduler.earliest_deadline() == kForever && !scheduler.has_work();
}

/// Nothing if any runtime is not quiet; else a mark that changes with the next processor that leaves a free list, and with
/// the next plain thread whose wait ends.
///
/// The parts of "quiet" are read one after the other. Two equal marks with a look at the threads between them make one
/// instant of it: no processor left a free list between the marks, so what was pushed before the second look at the queues
/// is still in them; and at the look in the middle there was no thread that could push after it.
std::optional<std::uint64_t> quiet_mark() noexcept {
  if (Netpoll::waiting() != 0) return std::nullopt;
  std::uint64_t mark = departures.load(std::memory_order_seq_cst);
  for (Scheduler* scheduler : registry().schedulers) {
    mark += scheduler->idle.departures();
    if (!is_quiet(*scheduler)) return std::nullopt;
  }
  return mark;
}

[[noreturn]] void die_of_deadlock(Scheduler& scheduler) noexcept {
  const std::string goroutines = describe_all(scheduler);
  std::string text = goroutines.empty() && scheduler.main_exited.load(std::memory_order_relaxed)
                         ? "no goroutines (main called runtime.Goexit) - deadlock!"
                         : "all goroutines are asleep - deadlock!";
  // fatal() adds the last newline.
  const auto add = [&text](const std::string& part) {
    if (!part.empty()) text += "\n\n" + part.substr(0, part.size() - 1);
  };
  add(describe_lock_cycles(registry().schedulers));
  add(goroutines);
  fatal(text);
}

}  // namespace

void WeftThreads::add() noexcept { worker_threads.fetch_add(1, std::memory_order_seq_cst); }
// Who leaves is counted out first and changes the mark then, before it can end: if it was still counted as ours, but not
// among all threads any more, the mark has changed in between, and there is no verdict.
void WeftThreads::remove() noexcept {
  worker_threads.fetch_sub(1, std::memory_order_seq_cst);
  departures.fetch_add(1, std::memory_order_seq_cst);
}
void WeftThreads::block() noexcept { blocked_threads.fetch_add(1, std::memory_order_seq_cst); }
void WeftThreads::unblock() noexcept {
  blocked_threads.fetch_sub(1, std::memory_order_seq_cst);
  departures.fetch_add(1, std::memory_order_seq_cst);
}

void WeftThreads::forget_all() noexcept {
  worker_threads.store(0, std::memory_order_seq_cst);
  blocked_threads.store(0, std::memory_order_seq_cst);
}

ExternalWaker::ExternalWaker() noexcept { external_wakers.fetch_add(1, std::memory_order_seq_cst); }
// As a thread that leaves: counted out, then the mark changes.
void ExternalWaker::end() noexcept {
  if (!is_counted_.exchange(false, std::memory_order_relaxed)) return;
  external_wakers.fetch_sub(1, std::memory_order_seq_cst);
  departures.fetch_add(1, std::memory_order_seq_cst);
}

bool WeftThreads::outsiders() noexcept {
  if (external_wakers.load(std::memory_order_seq_cst) != 0) return true;
  // Ours first: a thread that starts another one and then blocks must not count as blocked without the other one.
  // The thread sanitizer has a thread of its own.
  const int ours = worker_threads.load(std::memory_order_seq_cst) + blocked_threads.load(std::memory_order_seq_cst) +
                   (kTsan ? 1 : 0);
  const int all = count_threads();
  return all < 0 || all > ours;
}

void DeadlockRegistry::add(Scheduler& scheduler) {
  SpinGuard guard(registry().lock);
  registry().schedulers.push_back(&scheduler);
}

void DeadlockRegistry::remove(Scheduler& scheduler) noexcept {
  SpinGuard guard(registry().lock);
  std::erase(registry().schedulers, &scheduler);
}

void DeadlockRegistry::forget_all() noexcept {
  Registry& all = registry();
  std::construct_at(&all.lock);
  std::construct_at(&all.parents, std::move(all.schedulers));
  std::construct_at(&all.schedulers);
}

bool DeadlockRegistry::is_empty() noexcept {
  SpinGuard guard(registry().lock);
  return registry().schedulers.empty();
}

void DeadlockRegistry::poke(const Scheduler* but_not) noexcept {
  if (Netpoll::waiting() == 0) return;
  SpinGuard guard(registry().lock);
  for (Scheduler* one : registry().schedulers) {
    if (one == but_not) continue;
    if (Worker* sleeper = one->idle.any_sleeper()) sleeper->parker.unpark();
  }
}

void DeadlockRegistry::with_all_raw(void (*visit)(Schedulers, void*), void* context) {
  // relaxed: if it is this thread, this thread wrote it.
  if (registry().handler_on.load(std::memory_order_relaxed) == pthread_self())
    return visit(registry().schedulers, context);
  SpinGuard guard(registry().lock);
  visit(registry().schedulers, context);
}

bool DeadlockRegistry::check_all() noexcept {
  const KeepErrno keep_errno;
  // With the lock held over the reports: nobody may destroy a runtime that is being looked at.
  SpinGuard guard(registry().lock);
  const std::optional<std::uint64_t> before = quiet_mark();
  if (!before) return false;
  if (WeftThreads::outsiders()) {
    return std::any_of(registry().schedulers.begin(), registry().schedulers.end(),
                       [](const Scheduler* scheduler) { return scheduler->live() != 0; });
  }
  const std::optional<std::uint64_t> after = quiet_mark();
  if (!after) return false;
  if (after != before) return true;  // somebody has just left: look again later
  for (Scheduler* scheduler : registry().schedulers) {
    if (scheduler->live() == 0 && !scheduler->main_exited.load(std::memory_order_relaxed)) continue;
    const OnDeadlock handler = scheduler->options.on_deadlock;
    registry().handler_on.store(pthread_self(), std::memory_order_relaxed);
    const bool is_ignored = handler != nullptr && handler(scheduler->goroutines()) == DeadlockAction::ignore;
    registry().handler_on.store(pthread_t{}, std::memory_order_relaxed);
    if (is_ignored) continue;
    die_of_deadlock(*scheduler);
  }
  return false;
}

}  // namespace weft::detail

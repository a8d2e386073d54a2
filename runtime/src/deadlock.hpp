#pragma once

// When can nothing run any more? The verdict is per runtime, and withheld while anything outside could still call in.
//
// Counted: threads that weft started, plain threads blocked in a weft call without a deadline, all threads of the process
// (/proc/self/task). Each count errs towards more outside threads, that is towards silence: a worker counts itself in
// after it exists and out before it ends; whoever readies a plain thread counts it out before the thread can run.

#include <span>
#include <string>

namespace weft::detail {

class Scheduler;

struct WeftThreads {
  static void add() noexcept;
  static void remove() noexcept;
  static void block() noexcept;    // a plain thread is about to wait for ready()
  static void unblock() noexcept;  // by whoever readies it
  /// In a forked child: none of them is here.
  static void forget_all() noexcept;
  /// True if a thread that is none of these may exist.
  static bool outsiders() noexcept;
};

using Schedulers = std::span<Scheduler* const>;

/// Goroutines that wait for each other's locks, as text; empty if there are none (lock_cycles.cpp).
std::string describe_lock_cycles(Schedulers schedulers);

/// All runtimes of the process.
class DeadlockRegistry {
 public:
  static void add(Scheduler& scheduler);
  static void remove(Scheduler& scheduler) noexcept;
  /// Reports a deadlock and ends the process if nothing can run any more. Called by whoever may have been the last: a
  /// worker that found every processor free, a plain thread that has just blocked.
  /// True: withheld, since a thread outside could call in. That thread may end without a word, so ask again some time.
  static bool check_all() noexcept;
  /// In a forked child: its runtimes are those that it makes.
  static void forget_all() noexcept;
  [[nodiscard]] static bool is_empty() noexcept;
  /// A sleeper of every other runtime looks at everything again, if there are goroutines that wait for files.
  static void poke_others(const Scheduler& scheduler) noexcept { poke(&scheduler); }
  /// The same, of every runtime.
  static void poke_all() noexcept { poke(nullptr); }
  /// Calls visit(Scheduler&) for each.
  template <class Visit>
  static void for_each(Visit visit) {
    with_all([&](Schedulers all) {
      for (Scheduler* scheduler : all) visit(*scheduler);
    });
  }
  /// Calls visit(Schedulers) once. None of them ends meanwhile.
  template <class Visit>
  static void with_all(Visit visit) {
    with_all_raw([](Schedulers all, void* context) { (*static_cast<Visit*>(context))(all); }, &visit);
  }

 private:
  static void poke(const Scheduler* but_not) noexcept;
  static void with_all_raw(void (*visit)(Schedulers, void*), void* context);
};

}  // namespace weft::detail

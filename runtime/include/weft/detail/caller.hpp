#pragma once

// Who is calling: the thread-local that every operation begins with.
//
// Compilers keep addresses of thread-locals across calls they cannot see through, and a goroutine may come back from a switch on
// another thread. So it is read by an assembler statement, which is done anew each time and never moved over a switch, for that
// is one as well; or else, on other machines, in a function that is never inlined. Nothing derived from it is kept over a switch.

#include <cstdint>

#include "weft/detail/platform.hpp"

namespace weft::detail {

class LineBlocks;
struct Fiber;

/// What a BiasedLock knows a thread by, unique in the process. A number, or kNeverFavoured: a thread that is no worker, or one of too
/// many.
using LockUser = std::uint16_t;
inline constexpr LockUser kNeverFavoured = UINT16_MAX;

/// What of a worker is looked at without asking the runtime.
struct WorkerFace {
  Fiber* current = nullptr;  // whose stack its thread is on
  LineBlocks* const kept;
};

/// The calling thread, for several steps of one operation: not to be kept over a switch.
struct Caller {
  WorkerFace* worker;  ///< null: a plain thread
  LockUser lock_user;
};

Caller current_caller_by_call() noexcept;

/// For the library's own sources: its shared object does not export the variable.
[[gnu::always_inline]] inline Caller current_caller() noexcept {
  if constexpr (kReadsThreadInPlace) {
    Caller caller;
    asm volatile(
        "movq weft_this_thread@gottpoff(%%rip), %[worker]\n\t"
        "movzwl %%fs:8(%[worker]), %k[user]\n\t"
        "movq %%fs:(%[worker]), %[worker]"
        : [worker] "=&r"(caller.worker), [user] "=&r"(caller.lock_user));
    return caller;
  } else {
    return current_caller_by_call();
  }
}
[[gnu::always_inline]] inline WorkerFace* current_face() noexcept {
  if constexpr (kReadsThreadInPlace) {
    WorkerFace* worker = nullptr;
    asm volatile(
        "movq weft_this_thread@gottpoff(%%rip), %[worker]\n\t"
        "movq %%fs:(%[worker]), %[worker]"
        : [worker] "=r"(worker));
    return worker;
  } else {
    return current_caller_by_call().worker;
  }
}

}  // namespace weft::detail

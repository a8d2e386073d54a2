#pragma once

// A pthread mutex (std::mutex) that a goroutine holds while it is suspended: it may go on on another thread, which may not
// unlock the mutex, and whoever waits for it meanwhile blocks a thread and a processor. Here such goroutines are told of.
//
// Only in builds with -Dheld_locks=enabled (auto: debug builds without a sanitizer). There the lock functions of pthreads are
// wrapped, and each worker keeps a list of what its goroutine has locked and where. In other builds none of this exists.
// Every pair of sites (locked, suspended) is reported once. $WEFT_HELD_LOCKS: warn (the default), fatal, off.

#include <cstddef>

namespace weft::detail {

struct Fiber;

#ifdef WEFT_HELD_LOCKS
inline constexpr bool kHeldLocks = true;
#else
inline constexpr bool kHeldLocks = false;
#endif

/// What one goroutine has locked; on its worker while it runs, on its stack while it does not. Memory of this thread alone.
struct HeldLocks {
  static constexpr std::size_t kMost = 16;  // more are not remembered
  static constexpr std::size_t kFrames = 12;

  struct Lock {
    const void* mutex;
    int frame_count;
    void* frames[kFrames];  // where it was locked
  };
  Lock locks[kMost];
  std::size_t count = 0;
  bool is_busy = false;  // an unwinder that locks is not to be unwound
};

/// Of the calling thread (worker.cpp). Never keep the reference over a switch.
HeldLocks& held_locks_of_thread() noexcept;

/// The goroutine is about to be suspended, or has ended: reports what it holds, and takes it off the thread's list.
void take_held_locks(HeldLocks& out, const Fiber& fiber, bool has_ended) noexcept;
/// It goes on.
void give_held_locks_back(const HeldLocks& locks) noexcept;

/// For the time of a switch. In other builds: nothing.
template <bool kIsOn>
class HeldLocksAside {
 public:
  explicit HeldLocksAside(const Fiber*) noexcept {}
  void give_back() noexcept {}
};

template <>
class HeldLocksAside<true> {
 public:
  /// nullptr: a worker's own stack.
  explicit HeldLocksAside(const Fiber* leaving) noexcept : is_goroutine_(leaving != nullptr) {
    if (is_goroutine_) take_held_locks(locks_, *leaving, false);
  }
  void give_back() noexcept {
    if (is_goroutine_) give_held_locks_back(locks_);
  }

 private:
  const bool is_goroutine_;
  HeldLocks locks_;
};

}  // namespace weft::detail

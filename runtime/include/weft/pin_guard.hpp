#pragma once

// PinGuard: for code that must stay on one thread.

#include <cstdint>

namespace weft {

/// While one lives, the calling goroutine runs on its thread and nowhere else, and no other goroutine runs on that thread:
/// for libraries that keep state in the thread (thread_local, locale, signal mask, priority, a std::mutex held over a
/// blocking call). Guards nest: the goroutine is free again when as many have ended as were made. It blocks, yields and
/// is waited for as any other goroutine, but each of its parks hands the processor to another thread and each wake-up
/// fetches one back: some ten microseconds instead of some hundred nanoseconds.
///
/// A guard ends in the goroutine that made it, so no goroutine can end while it is pinned (Go ends the thread then); a guard
/// on the heap that outlives its goroutine, or that another one destroys, is fatal. Only an abandoned goroutine leaves
/// guards behind: its runtime's threads are gone by then, but for the thread of one that a bubble's deadlock leaves, which
/// waits until the runtime ends. On a plain thread a guard does nothing.
///
/// Blocks: never. Throws: std::system_error when another thread is needed and cannot be had (RuntimeOptions::max_threads,
/// or the system's limit); the goroutine is not pinned then.
/// Cost: the first of nested ones takes a lock, and may start threads: a runtime has at least as many as it has processors
/// and pinned goroutines. Go: runtime.LockOSThread and UnlockOSThread.
class PinGuard {
 public:
  PinGuard();
  PinGuard(const PinGuard&) = delete;
  PinGuard& operator=(const PinGuard&) = delete;
  ~PinGuard();

 private:
  std::uint64_t goroutine_;  // 0: a plain thread
};

}  // namespace weft

#pragma once

// What the netpoller knows of one open file: whether it can be read and written, and who waits for that.
//
// Readiness is edge-triggered: the poller says once that something has changed. So whoever wants to read
//   R1 tries; if it would block      R2 locks, and if is_ready is set clears it and goes back to R1
//   R3 else leaves a waiter, and parks; the commit unlocks
// and the poller, when something has changed
//   P1 locks                         P2 ends the wait of the waiter, or sets is_ready if there is none.
// Argument. A change that comes before R1 is seen by R1. One that comes after R1 is told by P after R1: either before R2, which then sees
// is_ready, or after R3, and then there is a waiter. is_ready may be left over from a change that somebody has seen
// already, or be told of the file that had the descriptor before: then R1 is tried once more than need be, no harm done.
//
// Who has waited looks at everything again: the wait may have been ended because a deadline was changed, or by close().
//
// Instead of a waiter there may be a starter: a goroutine that is prepared but has no stack yet, and is started where a waiter would
// be readied. So what is idle costs a record, and what is busy uses the few stacks that are warm.
//
// Descriptors are never given back to the system: an event that was fetched before a close finds memory of this type, and sees by
// the generation that it is not meant.

#include <atomic>
#include <cstdint>

#include "weft/detail/park.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"

namespace weft::detail {

struct Task;

enum class PollSide : std::uint8_t { kRead, kWrite };

struct PollDescriptor {
  /// One direction. Guarded by the descriptor's lock.
  struct Side {
    WaitQueue waiters;
    /// Of every operation in this direction, of the runtime's clock. Written under the lock; relaxed outside of it: who
    /// waits looks again with the lock held.
    std::atomic<std::int64_t> deadline_ns{kForever};
    bool is_ready = false;
    Task* starter = nullptr;
    /// The peer has gone or sends no more, there is an error or urgent data: nothing is to be concluded from a read that was
    /// short. Written under the lock; relaxed outside of it: whoever is woken by that event sees it.
    std::atomic<bool> is_over{false};
  };

  // What readers and the poller use is one cache line: with thousands of files, few of their lines are in any cache.
  alignas(kCacheLine) Spinlock lock;
  bool is_closing = false;         // guarded by lock
  bool has_started = false;        // guarded by lock: is counted as a wait until it is closed (start_when_ready)
  std::uint32_t generation = 0;    // guarded by lock: of the file that has it
  Side sides[2];                   // guarded by lock
  int fd = -1;                     // of who opened it
  PollDescriptor* next = nullptr;  // on the free list

  [[nodiscard]] Side& side(PollSide which) noexcept { return sides[static_cast<int>(which)]; }
};

/// Has the poller watch the file, which must be non-blocking. nullptr: it cannot be polled (a regular file), or the system
/// has refused: errno tells. Throws: std::bad_alloc; std::system_error if there is no poller to be had.
PollDescriptor* open_poll(int fd);
/// Nobody watches any more. The file is still open; nobody waits for it.
void close_poll(PollDescriptor& descriptor) noexcept;

/// Starts a goroutine that was prepared (spawn.hpp) once the file, which must be of that generation, may be ready, or would end
/// the waits. At once if it may be ready already, as it may unless R1 has found it `is_empty`. One at a time, and nobody
/// waits beside it. A deadline is not watched, but looked at once. If the goroutine's runtime ends before, it is never run,
/// and its closure not destroyed.
void start_when_ready(PollDescriptor& descriptor, std::uint32_t generation, PollSide which, Task* task,
                      void (*run)(void*), bool is_empty) noexcept;
/// With the lock held: the starter, if there is one, to be started without it.
Task* take_starter(PollDescriptor::Side& side) noexcept;
/// Behind all goroutines that are ready. Null: nothing to be done.
void start_goroutine(Task* task) noexcept;

/// How many wait for files: while somebody does, there is no deadlock (DL-5). Counted by who waits.
class PollWaiting {
 public:
  /// Throws, on a plain thread, if the default runtime cannot be started.
  PollWaiting();
  PollWaiting(const PollWaiting&) = delete;
  PollWaiting& operator=(const PollWaiting&) = delete;
  ~PollWaiting();
};

}  // namespace weft::detail

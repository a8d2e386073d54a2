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
// Descriptors are never given back to the system: an event that was fetched before a close finds memory of this type, and sees by
// the generation that it is not meant.

#include <atomic>
#include <cstdint>

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"

namespace weft::detail {

enum class PollSide : std::uint8_t { kRead, kWrite };

struct PollDescriptor {
  /// One direction. Guarded by the descriptor's lock.
  struct Side {
    WaitQueue waiters;
    /// Of every operation in this direction, of the runtime's clock. Written under the lock; relaxed outside of it: who
    /// waits looks again with the lock held.
    std::atomic<std::int64_t> deadline_ns{kForever};
    bool is_ready = false;
  };

  Spinlock lock;
  Side sides[2];                   // guarded by lock
  bool is_closing = false;         // guarded by lock
  std::uint32_t generation = 0;    // guarded by lock: of the file that has it
  int fd = -1;                     // of who opened it
  PollDescriptor* next = nullptr;  // on the free list

  [[nodiscard]] Side& side(PollSide which) noexcept { return sides[static_cast<int>(which)]; }
};

/// Has the poller watch the file, which must be non-blocking. nullptr: it cannot be polled (a regular file), or the system
/// has refused: errno tells. Throws: std::bad_alloc; std::system_error if there is no poller to be had.
PollDescriptor* open_poll(int fd);
/// Nobody watches any more. The file is still open; nobody waits for it.
void close_poll(PollDescriptor& descriptor) noexcept;

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

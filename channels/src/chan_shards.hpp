#pragma once

// The wait queues of a channel that many selects wait to receive from while nobody sends: the quit channel of a program, or a
// Context's. Each select must enter and leave its queue, so that with one queue all of them want one lock, from all processors, for
// a channel on which nothing ever happens. Such a channel gets a queue with a lock for each of 16 groups of processors.
//
// A select that waits to receive takes the lock of its shard instead of the channel's (of which it is a part, at the same place of
// the locks' order). Everything else takes the channel's lock; what needs to know the receivers or changes what they could
// receive (send, a select that sends, close, the end) gathers all of them into the channel's queue first, and that is that: a
// channel is sharded once at most, so that one that does carry values loses no more than one gathering.
//   S1 While it is sharded: nothing to receive, not closed, no sender waits, and has_receivers_ is set, so that nobody sends past
//      the shards. So a select that has its shard's lock, and sees under it that the channel is sharded, knows that the case is
//      not ready, and that it stays so until it unlocks.
//   S2 is_sharded_ is set under lock_, and cleared under lock_ and the locks of all shards.
//   S3 gather() takes the shards' locks after the channel's, and is called in a select before a lock of a higher channel is
//      taken: so the order of locks is kept.
//   S4 A waiter in a shard is there until it leaves or gather() takes it to the channel's queue. Who leaves looks, under the shard's
//      lock, whether the channel is still sharded.
//   S5 First come, first served (CH-13) across shards: waiters carry their arrival in ticks, by which gather() merges. Who has
//      seen another one wait, and then waits, reads the ticks after that (cheap_ticks waits for loads), and so has a later tick, if
//      processors' clocks differ by less than it takes to see that: a kernel that has found otherwise keeps its time by another
//      clock, but we do not look.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "weft/detail/biased_lock.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/waiter.hpp"

namespace weft::detail {

/// Two lines, since processors fetch lines in pairs.
struct alignas(2 * kCacheLine) ReceiverShard {
  BiasedLock lock;
  WaitQueue receivers;  // guarded by lock
};

class ReceiverShards {
 public:
  /// For the calling goroutine's processor: 1 and up.
  static std::uint8_t number_here() noexcept {
    return static_cast<std::uint8_t>(1 + current_processor_index() % kShards);
  }
  ReceiverShard& operator[](std::uint8_t number) noexcept { return shards_[number - 1]; }
  [[nodiscard]] bool any_is_locked() const noexcept {
    for (const ReceiverShard& shard : shards_) {
      if (shard.lock.is_locked()) return true;
    }
    return false;
  }
  /// Clears `is_sharded` and moves all waiters to `receivers`, in the order in which they arrived. Costs up to 16 revocations of locks
  /// that favour somebody (biased_lock.hpp), and four moves of each waiter; once in a channel's life.
  void gather(std::atomic<bool>& is_sharded, WaitQueue& receivers) noexcept;

 private:
  static constexpr std::size_t kShards = 16;  // a power of two
  ReceiverShard shards_[kShards];
};

}  // namespace weft::detail

#pragma once

// Deadlines of one processor: a 4-ary heap with the times inline, so that a comparison does not touch a parked stack.
//
// Entered by the processor's owner (add), by whoever sweeps (run_expired), by the goroutine whose wait ended otherwise
// (remove), by whoever moves an alarm. All under lock_. Never calls up: what has expired is returned as a list.
// Lifetime: a wait's node lives in a parked frame. It is in the heap, or it is not touched any more: expiry decides the
// claim before lock_ is released, so after remove() (either result) the frame may go. An alarm that was taken out as
// expired is kept alive by the heap's reference, which goes to the taker (timer.hpp, A2, A3).

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/timer.hpp"

namespace weft::detail {

class TimerHeap {
 public:
  /// A sleeper to ready, whose claim the timeout has won, or an alarm.
  struct Expired {
    SleeperHandle sleeper;
    TimerNode* alarm = nullptr;
  };

  /// With room for a few timers: a timed wait allocates only where many are pending at once.
  TimerHeap() { heap_.reserve(64); }

  void add(TimerNode& node, std::int64_t when);
  /// True if it had not expired.
  static bool remove(TimerNode& node) noexcept;

  /// Takes up to `capacity` of what is due, in the order of the deadlines; without `alarms_too`, what comes before the first
  /// alarm.
  std::size_t run_expired(std::int64_t now, Expired* out, std::size_t capacity, bool alarms_too = true) noexcept;

  /// Takes out all alarms and lets their owners know. For a heap in which no wait is left.
  void forget_all(const Scheduler* dying) noexcept;

  /// kForever when empty.
  [[nodiscard]] std::int64_t next_deadline() const noexcept {
    // acquire [timer.next]: pairs with the release in publish(); idle re-checks it after its fence.
    return next_.load(std::memory_order_acquire);
  }
  [[nodiscard]] std::size_t size() noexcept;

 private:
  struct Entry {
    std::int64_t when;
    TimerNode* node;
  };
  void place(std::size_t index, Entry entry) noexcept;
  void sift_up(std::size_t index, Entry entry) noexcept;
  void sift_down(std::size_t index, Entry entry) noexcept;
  void erase(std::size_t index) noexcept;
  void publish() noexcept;

  Spinlock lock_;
  std::vector<Entry> heap_;  // guarded by lock_
  std::atomic<std::int64_t> next_{kForever};
};

}  // namespace weft::detail

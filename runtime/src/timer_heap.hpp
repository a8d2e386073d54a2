#pragma once

// Deadlines of one processor: a 4-ary heap with the times inline, so that a comparison does not touch a parked stack.
//
// Entered by the processor's owner (add), by whoever sweeps (run_expired), by the goroutine whose wait ended otherwise
// (remove). All under lock_. Never calls up: expired sleepers are returned as a list.
// Lifetime: a node lives in a parked frame. It is in the heap, or it is not touched any more: expiry decides the claim
// before lock_ is released, so after remove() (either result) the frame may go.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"

namespace weft::detail {

class TimerHeap;

struct TimerNode {
  static constexpr std::uint32_t kNotQueued = UINT32_MAX;

  TimerHeap* home = nullptr;
  std::uint32_t index = kNotQueued;  // guarded by home's lock
  std::uint32_t claim_id = 0;
  Claim* claim = nullptr;
  SleeperHandle sleeper;
};

class TimerHeap {
 public:
  /// With room for a few timers: a timed wait allocates only where many are pending at once.
  TimerHeap() { heap_.reserve(64); }

  void add(TimerNode& node, std::int64_t when);
  /// True if it had not expired.
  static bool remove(TimerNode& node) noexcept;

  /// Takes up to `capacity` sleepers whose deadline has passed and whose claim the timeout won.
  std::size_t run_expired(std::int64_t now, SleeperHandle* out, std::size_t capacity) noexcept;

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

#pragma once

// What a parked goroutine waits for, for reports: who could wake it (lock_cycles, leak hints). Nothing that runs asks for it.

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weft::detail {

/// Told by WaitOps::targets.
class WaitTargets {
 public:
  WaitTargets() = default;
  WaitTargets(const WaitTargets&) = delete;
  WaitTargets& operator=(const WaitTargets&) = delete;

  /// A lock, and the low half of the number of the goroutine that holds it (0: not known).
  virtual void add_lock(const void* lock, std::uint32_t holder) noexcept = 0;
  /// A channel whose memory this is: whoever can do anything to it has a pointer into that.
  virtual void add_channel(const void* core, std::size_t bytes) noexcept = 0;
  /// A deadline, a timer, a Context: it may end without anybody's doing.
  virtual void add_way_out() noexcept = 0;

 protected:
  ~WaitTargets() = default;
};

/// Whether a Mutex that is locked notes by whom (RuntimeOptions::track_lock_owners). relaxed: a setting, which takes effect
/// for locks taken from then on.
extern std::atomic<bool> tracks_lock_owners;

}  // namespace weft::detail

#pragma once

// Sleep and wake of an OS thread on a futex. Sole user of the futex system call.

#include <atomic>
#include <cstdint>

namespace weft::detail {

/// Sleeps while `word` is `expected`, until woken or until the deadline (CLOCK_MONOTONIC ns; kForever: none). May return
/// for no reason. Keeps errno.
void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept;
/// Wakes up to `count` sleepers. Only the address is used: the word may be gone already.
void futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept;

/// One thread sleeps, others wake it; a wake before the sleep is remembered (once).
class ThreadParker {
 public:
  /// Returns true if it was woken, false at the deadline.
  bool park_until(std::int64_t deadline_ns) noexcept;
  void unpark() noexcept;

  /// Around a sleep in the poller instead: a wake interrupts that. False: there was a wake, and it is used up.
  bool enter_poll() noexcept;
  void leave_poll() noexcept;

 private:
  static constexpr std::uint32_t kNone = 0;
  static constexpr std::uint32_t kWoken = 1;
  static constexpr std::uint32_t kPolling = 2;
  std::atomic<std::uint32_t> token_{kNone};
};

}  // namespace weft::detail

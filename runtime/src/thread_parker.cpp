#include "thread_parker.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "netpoll.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/platform.hpp"

namespace weft::detail {
namespace {

// The thread sanitizer runs a signal's handler when the thread next does something that it knows of, and a wait is nothing of
// the kind: so there are no long ones. (Who waits looks again anyway; a futex may wake without a reason.)
constexpr std::int64_t kTsanSliceNs = 100'000'000;

std::int64_t steady_ns() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns) noexcept {
  const int saved = errno;
  if constexpr (kTsan) deadline_ns = std::min(deadline_ns, steady_ns() + kTsanSliceNs);
  timespec deadline{};
  deadline.tv_sec = static_cast<time_t>(deadline_ns / 1'000'000'000);
  deadline.tv_nsec = static_cast<long>(deadline_ns % 1'000'000'000);
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, deadline_ns == kForever ? nullptr : &deadline, nullptr,
          FUTEX_BITSET_MATCH_ANY);
  errno = saved;
}

void futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept {
  const int saved = errno;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
  errno = saved;
}

bool ThreadParker::park_until(std::int64_t deadline_ns) noexcept {
  for (;;) {
    // acquire [parker]: pairs with the release in unpark().
    if (token_.exchange(kNone, std::memory_order_acquire) == kWoken) return true;
    if (deadline_ns != kForever && steady_ns() >= deadline_ns) return false;
    futex_wait(token_, kNone, deadline_ns);
  }
}

void ThreadParker::unpark() noexcept {
  // release [parker]: publishes what the waker prepared (a processor, usually).
  const std::uint32_t before = token_.exchange(kWoken, std::memory_order_release);
  if (before == kNone) futex_wake(token_, 1);
  if (before == kPolling) [[unlikely]]
    Netpoll::get()->interrupt();
}

// acquire [parker]: as in park_until(), wherever a wake is taken note of.
bool ThreadParker::enter_poll() noexcept {
  std::uint32_t none = kNone;
  if (token_.compare_exchange_strong(none, kPolling, std::memory_order_acquire)) return true;
  token_.exchange(kNone, std::memory_order_acquire);  // wakes are not counted: this one may have been several
  return false;
}

void ThreadParker::leave_poll() noexcept { token_.exchange(kNone, std::memory_order_acquire); }

}  // namespace weft::detail

#include "trace_state.hpp"

#include <chrono>

#include "keep_errno.hpp"
#include "thread_parker.hpp"
#include "weft/detail/park.hpp"

namespace weft::detail {
namespace {

enum : std::uint32_t { kAwake, kAsleep, kCalled };
std::atomic<std::uint32_t> recorder{kAwake};  // futex
// Who was slow: written by the one that moves `recorder` from kAsleep to kCalled, through kAwake.
std::atomic<std::uint64_t> slow_goroutine{0};
std::atomic<std::int64_t> slow_ns{0};

}  // namespace

std::atomic<bool> TraceState::is_on{false};
std::atomic<std::int64_t> TraceState::since_ns{0};
std::atomic<std::int64_t> TraceState::limit_ns{INT64_MAX};

void TraceState::note_slow(std::uint64_t goroutine, std::int64_t waited_ns) noexcept {
  std::uint32_t expected = kAsleep;
  if (recorder.load(std::memory_order_relaxed) != kAsleep) return;  // it writes already, or rests
  if (!recorder.compare_exchange_strong(expected, kAwake, std::memory_order_relaxed)) return;
  slow_goroutine.store(goroutine, std::memory_order_relaxed);
  slow_ns.store(waited_ns, std::memory_order_relaxed);
  recorder.store(kCalled,
                 std::memory_order_release);  // [recorder]: who was slow; pairs with the acquire in await_slow()
  const KeepErrno keep_errno;
  futex_wake(recorder, 1);
}

void TraceState::expect_slow() noexcept {
  // seq_cst: if this store hides the one of wake_recorder(), await_slow() sees what was set before that.
  recorder.store(kAsleep, std::memory_order_seq_cst);
}

TraceState::Slow TraceState::await_slow(const std::atomic<bool>& is_stopping) noexcept {
  while (!is_stopping.load(std::memory_order_seq_cst)) {
    const std::uint32_t seen = recorder.load(std::memory_order_acquire);  // [recorder]
    if (seen == kCalled) break;
    futex_wait(recorder, seen, kForever);
  }
  recorder.store(kAwake, std::memory_order_relaxed);
  return {slow_goroutine.exchange(0, std::memory_order_relaxed), slow_ns.load(std::memory_order_relaxed)};
}

void TraceState::wake_recorder() noexcept {
  recorder.store(kCalled, std::memory_order_seq_cst);
  futex_wake(recorder, 1);
}

std::int64_t trace_clock_ns() noexcept { return std::chrono::steady_clock::now().time_since_epoch().count(); }

}  // namespace weft::detail

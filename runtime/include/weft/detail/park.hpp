#pragma once

// THE WAIST: everything that blocks goes through here, from goroutines and from plain threads alike.
//
// Who blocks:   Sleeper self;  ... enqueue a waiter that names self.handle() under some lock L ...
//               park(self, wait_point)                        (the wait point's commit releases L)
// Who wakes:    takes the waiter off its queue under L, releases L, then ready(handle), exactly once.
//
// Contract
//   1. The commit runs after the goroutine's stack has been left, on another stack, possibly while the goroutine is
//      already running again elsewhere: after its last unlock it must not touch the wait point or the frame.
//   2. ready() is called exactly once for each park. What the waker wrote before is visible after park returns.
//   3. After ready() was called the waiter's frame may be gone: the waker's last access comes before.
//   4. The commit runs on the thread that called park: locks are released where they were taken.
//   5. No lock is held over park except the one (or ones) that the commit releases.

#include <atomic>
#include <cstdint>

#include "weft/detail/biased_lock.hpp"
#include "weft/detail/caller.hpp"
#include "weft/detail/wait_reason.hpp"

namespace weft::detail {

struct WaitPoint;
class WaitTargets;

/// What a kind of wait does; one static table for each kind.
struct WaitOps {
  /// Runs after the stack has been left (see the contract), unless the wait point names a lock. May be null.
  void (*commit)(WaitPoint&) noexcept;
  /// Takes a parked goroutine that is being abandoned off everything that could still wake it. Returns false if
  /// somebody has claimed it already and is about to ready it.
  bool (*abandon)(WaitPoint&) noexcept;
  /// The wait has ended, but the goroutine is abandoned before it could run: leaves other queues, passes on what it was
  /// given. May be null.
  void (*forsake)(WaitPoint&) noexcept;
  /// Tells what could end the wait of a goroutine that is parked here and stays so meanwhile. Takes no lock, allocates
  /// nothing. Null: that is not known. Locks say it while others run, channels while the whole process rests.
  void (*targets)(const WaitPoint&, WaitTargets&) noexcept = nullptr;
};

/// Where a goroutine waits; lives in the frame of the blocking call.
struct WaitPoint {
  const WaitOps* ops;
  WaitReason reason;
  bool is_durable = false;     ///< in a bubble: only the bubble itself can end the wait
  BiasedLock* held = nullptr;  ///< a lock to be released, if that is all there is to the commit
};

[[nodiscard]] inline bool has_commit(const WaitPoint& point) noexcept {
  return point.held != nullptr || point.ops->commit != nullptr;
}
inline void commit(WaitPoint& point) noexcept {
  if (point.held != nullptr) {
    point.held->unlock();
  } else if (point.ops->commit != nullptr) {
    point.ops->commit(point);
  }
}

/// The right to end somebody's wait: a goroutine or a plain thread that is about to park or parked.
class SleeperHandle {
 public:
  static constexpr std::uintptr_t kThreadBit = 1;

  constexpr SleeperHandle() noexcept = default;
  constexpr explicit SleeperHandle(std::uintptr_t bits) noexcept : bits_(bits) {}
  [[nodiscard]] std::uintptr_t bits() const noexcept { return bits_; }
  explicit operator bool() const noexcept { return bits_ != 0; }

 private:
  std::uintptr_t bits_ = 0;  // Fiber*, or ThreadStub* with the lowest bit set
};

/// It is to be readied before long: what ready() touches.
inline void prefetch(SleeperHandle sleeper) noexcept {
  const auto* at = reinterpret_cast<const std::byte*>(sleeper.bits());
  prefetch(static_cast<const void*>(at));
  prefetch(static_cast<const void*>(at + kCacheLine));
  prefetch(static_cast<const void*>(at + 2 * kCacheLine));
}

/// One-shot choice between several ways in which a wait can end (I4): value, close, timeout, cancel.
class Claim {
 public:
  static constexpr std::uint32_t kNobody = 0;

  /// True for the first caller only. Safe from: any thread.
  bool try_win(std::uint32_t who) noexcept {
    std::uint32_t expected = kNobody;
    // acq_rel [claim]: the winner's writes reach the sleeper through ready(); acquire orders it after the registration.
    return winner_.compare_exchange_strong(expected, who, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  [[nodiscard]] std::uint32_t winner() const noexcept { return winner_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint32_t> winner_{kNobody};
};

/// A plain thread's stand-in for a fiber. The word is the futex it sleeps on.
struct ThreadStub {
  std::atomic<std::uint32_t> token{0};
  bool is_counted = false;  // as blocked, for the deadlock verdict
};

/// The calling goroutine or thread, about to block. Lives in the frame of the blocking call.
class Sleeper {
 public:
  Sleeper() noexcept;
  explicit Sleeper(WorkerFace* caller) noexcept : worker_(caller) {
    handle_ = caller != nullptr ? SleeperHandle(reinterpret_cast<std::uintptr_t>(caller->current))
                                : SleeperHandle(reinterpret_cast<std::uintptr_t>(&stub_) | SleeperHandle::kThreadBit);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

  [[nodiscard]] SleeperHandle handle() const noexcept { return handle_; }
  [[nodiscard]] bool is_goroutine() const noexcept { return worker_ != nullptr; }

 private:
  friend void park(Sleeper&, WaitPoint&) noexcept;
  friend void park_until(Sleeper&, WaitPoint&, Claim&, std::uint32_t, std::int64_t) noexcept;
  WorkerFace* const worker_;  // of the calling thread, up to the park: a Sleeper is made right before it
  SleeperHandle handle_;
  ThreadStub stub_;
};

/// Blocks until ready(self.handle()). The wait point must stay alive until then.
void park(Sleeper& self, WaitPoint& point) noexcept;

/// The same with a deadline (steady nanoseconds of the runtime's clock): at the deadline `claim` is tried for
/// `timeout_winner`, and the sleeper is readied if that wins. Whoever readies the sleeper must have won `claim`.
void park_until(Sleeper& self, WaitPoint& point, Claim& claim, std::uint32_t timeout_winner,
                std::int64_t deadline_ns) noexcept;

/// Ends a park. Safe from: any thread, exactly once for each park.
void ready(SleeperHandle sleeper) noexcept;
/// The same as the last thing that an operation does. `caller`: the calling thread's worker. If its processor was taken, since the
/// goroutine has kept others waiting for long, it waits for its turn.
void ready(SleeperHandle sleeper, WorkerFace* caller) noexcept;

/// A runtime entry in chaos mode: yields at random. Costs one relaxed load otherwise.
extern std::atomic<bool> chaos_enabled;
void chaos_yield() noexcept;
inline void chaos_point() noexcept {
  // relaxed: set once, before the first runtime starts.
  if (chaos_enabled.load(std::memory_order_relaxed)) [[unlikely]]
    chaos_yield();
}

/// Code of the user's that runs under an internal lock (a move of a channel's element): runtime entries inside do not
/// yield, or on one processor the next goroutine would wait for that lock for ever (I5).
class NoChaos {
 public:
  NoChaos() noexcept : is_on_(chaos_enabled.load(std::memory_order_relaxed)) {  // relaxed: as in chaos_point
    if (is_on_) [[unlikely]]
      hold(true);
  }
  NoChaos(const NoChaos&) = delete;
  NoChaos& operator=(const NoChaos&) = delete;
  ~NoChaos() {
    if (is_on_) [[unlikely]]
      hold(false);
  }

 private:
  static void hold(bool more) noexcept;
  const bool is_on_;
};

/// True if whoever holds a lock may be running right now on another CPU.
bool spinning_helps() noexcept;

/// Lets a goroutine that the caller has just readied run first. Does nothing on a plain thread.
void yield_to_ready() noexcept;

/// Uniform in [0, bound) from the runtime's random source (a plain thread has one of its own).
std::uint32_t random_below(std::uint32_t bound) noexcept;

inline constexpr std::uint32_t kNoProcessor = UINT32_MAX;
/// Which processor of its runtime the calling goroutine is on; kNoProcessor on a plain thread. A hint: the goroutine may be
/// on another one by the time the caller looks at the answer.
std::uint32_t current_processor_index() noexcept;

/// Steady nanoseconds of the calling goroutine's runtime; of the steady clock elsewhere.
std::int64_t now_ns() noexcept;

inline constexpr std::int64_t kForever = INT64_MAX;           ///< no deadline
inline constexpr std::int64_t kLastDeadline = INT64_MAX - 1;  ///< the end of time: a deadline all the same (DL-2)

/// now + duration (which is positive), saturating: a wait that would overflow lasts till the end of time.
constexpr std::int64_t saturating_deadline(std::int64_t now_ns, std::int64_t duration_ns) noexcept {
  return duration_ns > kLastDeadline - now_ns ? kLastDeadline : now_ns + duration_ns;
}
/// The same from now; INT64_MIN, which has always passed, for a duration that is not positive.
std::int64_t deadline_after(std::int64_t duration_ns) noexcept;

}  // namespace weft::detail

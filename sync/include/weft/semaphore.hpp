#pragma once

// Semaphore: a number of units that goroutines and threads take and give back.

#include <chrono>
#include <cstdint>
#include <utility>

#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/time.hpp"

namespace weft {

class Context;
namespace detail {
struct Limit;
}

/// n units, of which each acquire takes as many as it asks for. Strictly first come, first served: while somebody waits,
/// a later acquire waits behind, even if what it asks for is there, so that a big one is never starved by small ones.
///
/// Safe from: any number of goroutines and threads. It may be destroyed as soon as nobody is about to acquire or release;
/// whoever was let in by a release may destroy it at once.
/// Ordering: a release happens before the return of the acquires that it enables. In a bubble (weft::testing::run) waiting
/// is durable if the Semaphore was made in it. Go: golang.org/x/sync/semaphore.Weighted.
class Semaphore {
 public:
  /// Throws: Panic if n is negative.
  explicit Semaphore(std::int64_t n);
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Takes n units. Blocks: until they are there and everybody who came earlier has been served; for ever if n is more
  /// than the semaphore has. Nothing is taken for n == 0, but it waits its turn. Throws: Panic if n is negative, as all do.
  void acquire(std::int64_t n = 1);
  /// The same, until ctx is done: false, and nothing was taken. A done context always wins, whatever is free. What asks for
  /// more than there is waits for its context without keeping others out.
  [[nodiscard]] bool acquire(const Context& ctx, std::int64_t n = 1);
  /// The same, for at most d.
  template <class Rep, class Period>
  [[nodiscard]] bool acquire_for(std::chrono::duration<Rep, Period> d, std::int64_t n = 1) {
    const std::int64_t ns = detail::saturated_ns(d);
    return try_acquire(n) || (ns > 0 && acquire_until_ns(detail::deadline_after(ns), n));
  }
  /// True if it took n units. False also while somebody waits. Never parks.
  [[nodiscard]] bool try_acquire(std::int64_t n = 1);

  /// Gives n units back. Anybody may. Throws: Panic "semaphore: released more than held"; and from outside the bubble that
  /// the semaphore was made in, while somebody waits.
  void release(std::int64_t n = 1);

  class Guard;
  /// The same as acquire; the units go back when the guard is destroyed.
  [[nodiscard]] Guard acquire_guard(std::int64_t n = 1);
  /// The guard is empty if ctx was done first.
  [[nodiscard]] Guard acquire_guard(const Context& ctx, std::int64_t n = 1);

 private:
  struct Wait;
  bool try_take(std::int64_t n) noexcept;
  bool acquire_within(const detail::Limit& limit, std::int64_t n);
  bool acquire_until_ns(std::int64_t deadline_ns, std::int64_t n);
  bool never(const detail::Limit& limit) noexcept;
  detail::WakeList grant() noexcept;
  void put_back(std::int64_t n) noexcept;

  detail::Spinlock lock_;
  detail::WaitQueue waiters_;  // guarded by lock_
  const std::int64_t size_;
  std::int64_t held_ = 0;  // guarded by lock_
  const std::uint32_t bubble_;
};

/// Units that go back when it is destroyed. Movable; empty if it holds none.
class [[nodiscard]] Semaphore::Guard {
 public:
  Guard() noexcept = default;
  Guard(Guard&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)), n_(other.n_) {}
  Guard& operator=(Guard other) noexcept {
    std::swap(semaphore_, other.semaphore_);
    std::swap(n_, other.n_);
    return *this;
  }
  ~Guard() { release(); }

  explicit operator bool() const noexcept { return semaphore_ != nullptr; }
  /// Gives them back now.
  void release() {
    if (Semaphore* semaphore = std::exchange(semaphore_, nullptr)) semaphore->release(n_);
  }

 private:
  friend class Semaphore;
  Guard(Semaphore& semaphore, std::int64_t n) noexcept : semaphore_(&semaphore), n_(n) {}

  Semaphore* semaphore_ = nullptr;
  std::int64_t n_ = 0;
};

}  // namespace weft

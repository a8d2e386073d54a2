#pragma once
// What the tests share: how many rounds to run, goroutines that are known to be parked, values that count themselves,
// the generator of section 28 of the contract, and child processes.
//
// Nothing here sleeps to order events. Everything may be called from a goroutine and from a plain thread unless it
// says otherwise.

#include <sys/types.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>

#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

namespace weft::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kTsan = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif
#else
inline constexpr bool kTsan = false;
#endif

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif
#else
inline constexpr bool kAsan = false;
#endif

inline constexpr bool kSanitized = kTsan || kAsan;

/// True when WEFT_CHAOS asks for a randomised scheduler: orders and speeds that are only "usual" do not hold then.
bool chaos();

/// True under `./dev soak`, which has time.
bool soaking();

/// How often to repeat a race that deserves `n` rounds in a release build: fewer where each round costs more; chaos makes
/// the quickest ones fifty times as slow. A soak gives each race that deserves ten thousand a hundred thousand.
template <std::integral T>
T rounds(T n) {
  if (soaking() && n >= 10'000) {
    return static_cast<T>(std::max<std::common_type_t<T, int>>(n, 100'000) / (kTsan ? 20 : kAsan ? 8 : 1));
  }
  const T divisor = static_cast<T>((kTsan ? 20 : kAsan ? 8 : 1) * (!chaos() ? 1 : n < 10'000 ? 4 : 16));
  return std::max(static_cast<T>(n / divisor), std::min(n, static_cast<T>(20)));
}

/// How many goroutines may be alive at once where `n` are wanted: each costs TSan as much as a thread, and ASan memory.
template <std::integral T>
T crowd(T n) {
  return std::min(n, static_cast<T>(kTsan ? 500 : kAsan ? 10'000 : n));
}

/// Starts `f` on a goroutine, waits until that goroutine is parked (or has ended) and returns its id.
template <class F>
std::uint64_t go_parked(F f) {
  std::atomic<std::uint64_t> id{0};
  weft::go([&id, f = std::move(f)]() mutable {
    id.store(weft::this_goroutine::id(), std::memory_order_release);  // the last touch of the starter's frame
    f();
  });
  std::uint64_t started = 0;
  while ((started = id.load(std::memory_order_acquire)) == 0) weft::yield();
  weft::testing::wait_parked(started);
  return started;
}

/// The same for a goroutine that `group` waits for.
template <class F>
std::uint64_t go_parked(weft::WaitGroup& group, F f) {
  std::atomic<std::uint64_t> id{0};
  group.go([&id, f = std::move(f)]() mutable {
    id.store(weft::this_goroutine::id(), std::memory_order_release);
    f();
  });
  std::uint64_t started = 0;
  while ((started = id.load(std::memory_order_acquire)) == 0) weft::yield();
  weft::testing::wait_parked(started);
  return started;
}

/// Yields until `ready()` is true. For conditions that must come true; a test that hangs here has found a bug.
template <class Predicate>
void eventually(Predicate ready) {
  while (!ready()) weft::yield();
}

/// The same without a call of weft's: a goroutine keeps its processor.
template <class Condition>
void spin_until(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

/// fork(), at a moment when nothing of a sanitizer's own, its allocator above all, is in another thread's hands: else it stays locked in the
/// child (GCC 12). With a sanitizer it waits until all other threads sleep, or for a while (some tests keep one busy).
::pid_t fork_quietly();

inline bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

/// Where a piece of a test runs. Every blocking call of weft works from both.
enum class On { kGoroutine, kThread };

inline constexpr std::array<On, 2> kEverywhere{On::kGoroutine, On::kThread};

/// Runs `f` to its end on a goroutine of the default runtime, or here.
template <class F>
void run_on(On where, F f) {
  if (where == On::kGoroutine) {
    weft::run(std::move(f));
  } else {
    f();
  }
}

/// Runs `f` once on a goroutine and once on a plain thread.
template <class F>
void everywhere(F f) {
  for (const On where : kEverywhere) run_on(where, f);
}

/// `f` on a goroutine or a thread of its own; the destructor joins it.
class Task {
 public:
  template <class F>
  Task(On where, F f) {
    if (where == On::kGoroutine) {
      group_.go(std::move(f));
    } else {
      group_.add(1);
      thread_ = std::thread([this, f = std::move(f)]() mutable {
        f();
        group_.done();
      });
    }
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() { join(); }

  void join() {
    group_.wait();  // parks a goroutine; what is left for the thread to do after this is to end
    if (thread_.joinable()) thread_.join();
  }

 private:
  weft::WaitGroup group_;
  std::thread thread_;
};

/// The generator of section 28 of the contract: x0 = seed, x <- (1103515245 x + 12345) mod 2^31.
class Lcg {
 public:
  explicit Lcg(std::uint64_t seed = 42) : state_(seed & kMask) {}
  std::uint64_t next() {
    state_ = (1103515245U * state_ + 12345U) & kMask;
    return state_;
  }
  /// A value below `bound`, from the high bits (the low ones of this generator have short periods).
  std::uint64_t below(std::uint64_t bound) { return (next() >> 8U) % bound; }

 private:
  static constexpr std::uint64_t kMask = 0x7fff'ffffU;
  std::uint64_t state_;
};

/// The book-keeping of a family of `Counted` values. Outlives all of them.
class Tally {
 public:
  static constexpr std::size_t kIds = 4096;

  /// Instances alive now, moved-from shells included.
  long live() const { return live_.load(); }
  /// Instances alive now that hold a value.
  long holding() const { return holding_.load(); }
  long moves() const { return moves_.load(); }
  long copies() const { return copies_.load(); }
  /// Things that must never happen: a value at another address than it was made at, destroyed twice, misaligned,
  /// moved from after it was moved from or destroyed.
  long errors() const { return errors_.load(); }
  /// How many instances that held the value `id` (below kIds) have been destroyed holding it.
  int destroyed(std::size_t id) const { return destroyed_.at(id).load(); }
  /// The ids in the order in which they were destroyed holding their value; only meaningful for one thread at a time.
  std::size_t destroyed_at(std::size_t id) const { return order_.at(id).load(); }

 private:
  template <std::size_t>
  friend class BasicCounted;
  std::atomic<long> live_{0};
  std::atomic<long> holding_{0};
  std::atomic<long> moves_{0};
  std::atomic<long> copies_{0};
  std::atomic<long> errors_{0};
  std::atomic<std::size_t> next_order_{0};
  std::array<std::atomic<int>, kIds> destroyed_{};
  std::array<std::atomic<std::size_t>, kIds> order_{};
};

/// A value that counts its instances in a Tally and knows where it lives: it holds a pointer to itself, so a value
/// that is copied as bytes, destroyed twice or placed at the wrong alignment is noticed.
template <std::size_t Align>
class alignas(Align) BasicCounted {
 public:
  BasicCounted() : self_(this), state_(kShell) {}
  BasicCounted(Tally& tally, std::size_t id) : self_(this), tally_(&tally), id_(id), state_(kHolding) { born(); }
  BasicCounted(BasicCounted&& other) noexcept
      : self_(this), tally_(other.tally_), id_(other.id_), state_(other.state_) {
    other.check();
    born();
    if (tally_ != nullptr) tally_->moves_.fetch_add(1);
    other.give_up();
  }
  BasicCounted(const BasicCounted& other) : self_(this), tally_(other.tally_), id_(other.id_), state_(other.state_) {
    other.check();
    born();
    if (tally_ != nullptr) tally_->copies_.fetch_add(1);
  }
  BasicCounted& operator=(BasicCounted&& other) noexcept {
    if (this != &other) {
      die();
      tally_ = other.tally_;
      id_ = other.id_;
      state_ = other.state_;
      other.check();
      born();
      if (tally_ != nullptr) tally_->moves_.fetch_add(1);
      other.give_up();
    }
    return *this;
  }
  BasicCounted& operator=(const BasicCounted& other) {
    if (this != &other) {
      BasicCounted copy(other);
      *this = std::move(copy);
    }
    return *this;
  }
  ~BasicCounted() {
    die();
    state_ = kDead;
    self_ = nullptr;
  }

  bool holds_value() const { return state_ == kHolding && self_ == this; }
  /// The value; kNone when moved from.
  std::size_t id() const {
    check();
    return state_ == kHolding ? id_ : kNone;
  }
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

 private:
  static constexpr std::uint32_t kHolding = 0x600dF00d;
  static constexpr std::uint32_t kShell = 0x5e11e55e;
  static constexpr std::uint32_t kDead = 0xdeadbeef;

  bool sound() const {
    return self_ == this && (state_ == kHolding || state_ == kShell) &&
           reinterpret_cast<std::uintptr_t>(this) % Align == 0;
  }
  void check() const {
    if (!sound() && tally_ != nullptr) tally_->errors_.fetch_add(1);
  }
  void born() {
    if (tally_ == nullptr) return;
    check();
    tally_->live_.fetch_add(1);
    if (state_ == kHolding) tally_->holding_.fetch_add(1);
  }
  void give_up() {
    if (state_ != kHolding) return;
    state_ = kShell;
    if (tally_ != nullptr) tally_->holding_.fetch_sub(1);
  }
  void die() {
    if (tally_ == nullptr) return;
    check();
    tally_->live_.fetch_sub(1);
    if (state_ == kHolding) {
      tally_->holding_.fetch_sub(1);
      if (id_ < Tally::kIds) {
        tally_->destroyed_[id_].fetch_add(1);
        tally_->order_[id_].store(tally_->next_order_.fetch_add(1));
      }
    }
  }

  const BasicCounted* self_;
  Tally* tally_ = nullptr;
  std::size_t id_ = kNone;
  std::uint32_t state_;
};

using Counted = BasicCounted<alignof(void*)>;
using AlignedCounted = BasicCounted<128>;

/// Every id below `count` was destroyed exactly once holding its value, nothing lives, nothing went wrong.
bool all_destroyed_once(const Tally& tally, std::size_t count);

/// operator new calls of the whole process so far; nothing in builds (sanitizers) that do not count them.
std::optional<std::uint64_t> allocations();

/// How a child process ended and what it wrote.
struct ChildResult {
  int exit_code = -1;      ///< -1 when it did not exit
  int signal = 0;          ///< what killed it, or 0
  bool timed_out = false;  ///< it was killed because it took too long
  std::string out;
  std::string err;
};

/// Runs `body` in a fresh process (this test binary, executed again up to this very call) and waits for it, at most a
/// minute. The child exits with 0 when `body` returns and 99 when it throws. Call it from the
/// test's own thread only, and let no ASSERT stand before a second call in the same test.
ChildResult in_child(const std::function<void()>& body);

/// Expects the tests that `filter` names to be there, and to pass in a process that has no membarrier. Through in_child.
void expect_pass_without_membarrier(const std::string& filter);

}  // namespace weft::test

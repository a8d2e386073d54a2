#pragma once

// The compiled core of a channel: it moves elements it does not know through two function pointers.
//
// Invariants (all under lock_; of a sharded channel, whose receivers are elsewhere too: chan_shards.hpp)
//   C1 At most one of the two wait queues holds a waiter that can be claimed, unless a select waits on both sides.
//   C2 Receivers wait only while the buffer is empty, senders only while it is full (or the capacity is 0).
//   C3 Once closed: no waiter is queued, nothing is added to the buffer.
// Lock rules: user code runs under lock_ only as the noexcept move constructor and destructor of an element; ready() is
// called after unlock. A waiter that was claimed belongs to the claimer until ready().
// Answers to Go's runtime/chan.go.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#include "weft/detail/biased_lock.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"

namespace weft {

/// How a channel operation ended.
enum class ChanStatus : std::uint8_t { ok, closed, would_block, timed_out, cancelled };

namespace detail {

/// How an element is moved: by a call, or as bytes. The sizes that registers have are worth a branch.
enum class ElementCopy : std::uint8_t { kNothing, k4Bytes, k8Bytes, kBytes, kCalls };

template <class T>
constexpr ElementCopy element_copy() noexcept {
  if (!std::is_trivially_copyable_v<T>) return ElementCopy::kCalls;
  if (std::is_empty_v<T>) return ElementCopy::kNothing;
  return sizeof(T) == 8 ? ElementCopy::k8Bytes : sizeof(T) == 4 ? ElementCopy::k4Bytes : ElementCopy::kBytes;
}

/// What the core must know of an element type. Size 0: an empty type, of which nothing is stored.
struct ElementType {
  std::size_t size;
  std::size_t align;
  ElementCopy copy;
  void (*move)(void* to, void* from) noexcept;  ///< constructs *to from *from
  void (*destroy)(void* element) noexcept;

  /// The two functions are not called.
  [[nodiscard]] constexpr bool is_trivial() const noexcept { return copy != ElementCopy::kCalls; }
  /// It fits into a register.
  [[nodiscard]] constexpr bool is_small() const noexcept { return copy <= ElementCopy::k8Bytes; }
};

struct ChanTimer;
class ReceiverShards;

class ChanCore {
 public:
  /// Throws RuntimePanic "makechan: size out of range"; std::bad_alloc.
  static ChanCore* make(const ElementType& type, std::size_t capacity, std::uint32_t bubble = current_bubble());

  void retain() noexcept {
    // relaxed: the caller holds a reference already.
    references_.fetch_add(1, std::memory_order_relaxed);
  }
  void release() noexcept {
    // acq_rel [chan.refs]: what each holder did happens before the last one destroys. The holder of the only reference
    // need not count it down: nobody else could count up.
    if (is_sole_reference() || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy_self();
  }
  /// For a holder of a reference: whether it is the only one.
  [[nodiscard]] bool is_sole_reference() const noexcept { return references_.load(std::memory_order_acquire) == 1; }

  /// True only if a try_ form would have said would_block at one instant of this call: looks without the lock. A channel
  /// that is not plain has more to see to before it can say so.
  [[nodiscard]] bool surely_nothing_to_receive() const noexcept {
    return is_plain() && looks_empty() && !is_closed_.load(std::memory_order_acquire);
  }
  [[nodiscard]] bool surely_no_room() const noexcept {
    return is_plain() && looks_full() && !is_closed_.load(std::memory_order_acquire);
  }

  /// The buffered path of small trivially copyable elements, for the headers (docs/performance.md says what it brings).
  /// False: nothing has been done; whoever waits, a close and a full or empty buffer are for the compiled operation.
  [[nodiscard]] bool has_quick_path() const noexcept { return kind_ == Kind::kBuffered; }
  template <class T>
  bool quick_send(const T& value) noexcept {
    // relaxed: hints, which keep an operation that will not go this way from locking twice.
    if (has_receivers_.load(std::memory_order_relaxed) || count_.load(std::memory_order_relaxed) == capacity_)
      return false;
    const SpinGuard guard(lock_);
    const std::size_t count = count_.load(std::memory_order_relaxed);            // guarded by lock_
    if (count == capacity_ || has_receivers_.load(std::memory_order_relaxed) ||  // guarded by lock_
        is_closed_.load(std::memory_order_relaxed))
      return false;
    std::size_t tail = head_ + count;
    if (tail >= capacity_) tail -= capacity_;
    std::memcpy(quick_buffer<T>() + tail * sizeof(T), std::addressof(value), sizeof(T));
    count_.store(count + 1, std::memory_order_release);  // release [chan.count]: see looks_empty()
    return true;
  }
  template <class T>
  bool quick_recv(void* slot) noexcept {
    if (count_.load(std::memory_order_relaxed) == 0) return false;  // relaxed: a hint
    const SpinGuard guard(lock_);
    const std::size_t count = count_.load(std::memory_order_relaxed);  // guarded by lock_
    if (count == 0 || !senders_.empty()) return false;
    std::memcpy(slot, quick_buffer<T>() + head_ * sizeof(T), sizeof(T));
    head_ = head_ + 1 == capacity_ ? 0 : head_ + 1;
    count_.store(count - 1, std::memory_order_release);  // release [chan.count]: see looks_full()
    return true;
  }

  void send(void* value);
  ChanStatus try_send(void* value);

  /// `slot` is raw storage, constructed if and only if the status is ok.
  ChanStatus recv(void* slot);
  ChanStatus try_recv(void* slot);

  void close();

  // For a channel that is only ever closed, a Context's: whoever it belongs to knows who may use it.
  /// Closes it. False: it was closed before. Safe from: any thread, also from outside its bubble.
  bool shut() noexcept;
  /// Queues a waiter that the close will wake. False: it is closed, the waiter was not queued.
  bool watch(Waiter& waiter) noexcept;
  void unwatch(Waiter& waiter) noexcept;
  [[nodiscard]] bool is_closed() const noexcept { return is_closed_.load(std::memory_order_acquire); }
  [[nodiscard]] bool is_in_bubble() const noexcept { return !is_plain() && bubble_ != 0; }

  /// Many selects wait to receive, and nobody sends: gives them a queue for each group of processors (chan_shards.hpp). Does
  /// nothing to a channel that has had those before or is in use otherwise. Allocates. Safe from: any thread, without the lock.
  void shard() noexcept;
  [[nodiscard]] bool is_sharded() const noexcept {
    return is_sharded_.load(std::memory_order_relaxed);  // changes under lock_; a snapshot elsewhere
  }

  [[nodiscard]] std::size_t size() const noexcept { return count_.load(std::memory_order_relaxed); }  // snapshot
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  friend class SelectRun;
  friend struct ChanTimer;
  struct Wait;
  static const WaitOps kWaitOps;
  static const WaitOps kTimerWaitOps;

  // What the usual cases of an operation jump to. All but the first two with the lock held, which they release.
  void send_anyhow(void* value);
  ChanStatus recv_anyhow(void* slot);
  void finish_send(void* value, WorkerFace* caller);
  ChanStatus finish_recv(void* slot, WorkerFace* caller);
  void await_receiver(void* value, WorkerFace* caller);
  template <bool kIsKnownPlain>
  ChanStatus await_value(void* slot, WorkerFace* caller);

  ChanCore(const ElementType& type, std::size_t capacity, ChanTimer* timer,
           std::uint32_t bubble = current_bubble()) noexcept
      : kind_(bubble != 0 || timer != nullptr ? Kind::kSpecial
              : capacity != 0                 ? Kind::kBuffered
                                              : Kind::kUnbuffered),
        capacity_(capacity),
        type_(type),
        timer_(timer),
        bubble_(bubble) {}
  void destroy_self() noexcept;
  void tell(WaitTargets& targets) const noexcept;
  /// The buffer is behind this object.
  static std::size_t buffer_offset(const ElementType& type) noexcept;
  template <class T>
  [[nodiscard]] std::byte* quick_buffer() noexcept {
    static_assert(sizeof(ChanCore) % alignof(T) == 0);
    return reinterpret_cast<std::byte*>(this + 1);
  }
  [[nodiscard]] bool is_plain() const noexcept { return kind_ != Kind::kSpecial; }

  [[nodiscard]] void* element(std::size_t index) noexcept;
  void move_element(void* to, void* from) noexcept;
  void move_small(void* to, const void* from) const noexcept;
  void relocate_element(void* to, void* from) noexcept;

  // Under lock_. Each does one whole operation if it can go at once; `peer` is whom to ready after unlock.
  enum class Step : std::uint8_t { kDone, kClosed, kWait };
  Step do_send(void* value, SleeperHandle& peer) noexcept;
  Step do_recv(void* slot, SleeperHandle& peer) noexcept;
  Step send_locked(void* value, SleeperHandle& peer) noexcept;
  Step recv_locked(void* slot, SleeperHandle& peer) noexcept;

  // The lock-free look of the try_ forms (CH-16). "Nothing to receive" must have been true at one instant while the
  // channel was open. looks_empty() is read first, is_closed_ after it, with acquire: a channel never opens again, so if
  // it is open then, it was open when it was empty. "No room" likewise needs an instant at which it was full and open.
  [[nodiscard]] bool looks_empty() const noexcept {
    // acquire [chan.count, chan.waiters]: a close that the emptiness came after is visible; is_closed_ is read after it.
    return capacity_ == 0 ? !has_senders_.load(std::memory_order_acquire) : count_.load(std::memory_order_acquire) == 0;
  }
  [[nodiscard]] bool looks_full() const noexcept {
    return capacity_ == 0 ? !has_receivers_.load(std::memory_order_acquire)
                          : count_.load(std::memory_order_acquire) == capacity_;
  }
  void note_queues() noexcept {
    // release [chan.waiters]: see looks_empty(). A timer is a sender that may be ready at any time.
    has_senders_.store(!senders_.empty() || timer() != nullptr, std::memory_order_release);
    note_receivers();
  }
  void note_receivers() noexcept {
    has_receivers_.store(!receivers_.empty() || is_sharded(), std::memory_order_release);  // as note_queues()
  }

  // See shard(). Under lock_.
  [[nodiscard]] bool is_quiet() const noexcept {
    return !is_closed_.load(std::memory_order_relaxed) && count_.load(std::memory_order_relaxed) == 0 &&
           senders_.empty();
  }
  void queue_receiver(Waiter& waiter) noexcept {
    if (is_sharded()) [[unlikely]]
      waiter.arrival = cheap_ticks();
    receivers_.push_back(waiter);
    has_receivers_.store(true, std::memory_order_release);  // as note_queues()
  }
  bool note_crowd() noexcept;
  void gather() noexcept;

  /// A channel made in a bubble is for that bubble only. Throws Panic `what` elsewhere.
  void check_bubble(const char* what) const {
    if (!is_plain()) [[unlikely]]
      check_bubble_slow(what);
  }
  void check_bubble_slow(const char* what) const;
  // Without a look at the second line for an ordinary channel.
  [[nodiscard]] ChanTimer* timer() const noexcept { return is_plain() ? nullptr : timer_; }

  /// What short cuts ask first. An ordinary channel belongs to no bubble and has no timer. One with more rules takes the compiled
  /// way always.
  enum class Kind : std::uint8_t { kSpecial, kUnbuffered, kBuffered };

  // The first cache line is all that an operation touches, but for the buffer's.
  BiasedLock lock_;
  const Kind kind_;
  // Written under lock_, read without it by the try_ forms and size().
  std::atomic<bool> is_closed_{false};
  std::atomic<bool> has_senders_{false};
  std::atomic<bool> has_receivers_{false};
  std::atomic<bool> is_sharded_{false};
  std::uint8_t crowd_ : 7 = 0;   // guarded by lock_: how often a select had to wait for it only to leave
  bool has_claims_ : 1 = false;  // guarded by lock_: somebody with a claim may be queued
  std::atomic<std::size_t> count_{0};
  const std::size_t capacity_;
  WaitQueue receivers_;  // guarded by lock_
  WaitQueue senders_;    // guarded by lock_
  const ElementType& type_;
  std::size_t head_ = 0;  // guarded by lock_: where the oldest element is

  std::atomic<std::size_t> references_{1};
  ChanTimer* const timer_;      // where the values of a timer's channel come from (chan_timer.hpp); null: from senders
  const std::uint32_t bubble_;  // 0: made outside
  std::atomic<ReceiverShards*> shards_{nullptr};  // once it is there it stays until the end
};

// The operations on a handle, which may be nil: a nil channel blocks for ever, cannot be closed, and is never ready.
void chan_send(ChanCore* chan, void* value);
ChanStatus chan_send_until(ChanCore* chan, void* value, std::int64_t deadline_ns);
ChanStatus chan_recv(ChanCore* chan, void* slot);
ChanStatus chan_recv_until(ChanCore* chan, void* slot, std::int64_t deadline_ns);
void chan_close(ChanCore* chan);

// In the header, since polling an idle channel should cost a few loads.
inline ChanStatus chan_try_send(ChanCore* chan, void* value) {
  chaos_point();
  if (chan == nullptr || chan->surely_no_room()) return ChanStatus::would_block;
  return chan->try_send(value);
}
inline ChanStatus chan_try_recv(ChanCore* chan, void* slot) {
  chaos_point();
  if (chan == nullptr || chan->surely_nothing_to_receive()) return ChanStatus::would_block;
  return chan->try_recv(slot);
}

/// Whether the header has a path of its own for elements of this type.
template <class T>
inline constexpr bool kIsQuick = std::is_trivially_copyable_v<T> && !std::is_empty_v<T> && sizeof(T) <= 16;

/// One copy of the quick path for each type, not one for each call: the call is what it costs least.
template <class T>
[[gnu::noinline]] void chan_send_buffered(ChanCore* chan, T& value) {
  if (!chan->quick_send(value)) chan_send(chan, std::addressof(value));
}
template <class T>
[[gnu::noinline]] ChanStatus chan_recv_buffered(ChanCore* chan, void* slot) {
  return chan->quick_recv<T>(slot) ? ChanStatus::ok : chan_recv(chan, slot);
}

template <class T>
void chan_send_value(ChanCore* chan, T& value) {
  chaos_point();
  if constexpr (kIsQuick<T>) {
    if (chan != nullptr && chan->has_quick_path()) return chan_send_buffered(chan, value);
  }
  chan_send(chan, std::addressof(value));
}
template <class T>
ChanStatus chan_recv_value(ChanCore* chan, void* slot) {
  chaos_point();
  if constexpr (kIsQuick<T>) {
    if (chan != nullptr && chan->has_quick_path()) return chan_recv_buffered<T>(chan, slot);
  }
  return chan_recv(chan, slot);
}

}  // namespace detail
}  // namespace weft

#include "weft/detail/chan_core.hpp"

#include <cstring>
#include <new>

#include "chan_shards.hpp"
#include "chan_timer.hpp"
#include "weft/detail/line_blocks.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 47U;  // of address space on the machines we run on
constexpr std::size_t kMostCapacity = PTRDIFF_MAX;

struct NilWait {
  static constexpr WaitOps kOps{nullptr, [](WaitPoint&) noexcept { return true; }, nullptr,
                                [](const WaitPoint&, WaitTargets&) noexcept {}};

  /// Nobody will ever call ready().
  [[noreturn, gnu::noinline, gnu::cold]] static void forever(WaitReason reason) noexcept {
    Sleeper self;
    WaitPoint point{&kOps, reason, true};
    park(self, point);
    fatal("weft: internal: a wait on a nil channel has ended");
  }
};

}  // namespace

/// One goroutine's wait on one channel. The channel stays alive: the caller holds a handle.
struct ChanCore::Wait : WaitPoint {
  Wait(ChanCore& on, WaitQueue& in, const Sleeper& self, void* value) noexcept
      : WaitPoint{&kWaitOps, WaitReason::kNone, false, &on.lock_}, chan(&on), queue(&in) {
    waiter.sleeper = self.handle();
    waiter.slot = value;
  }

  ChanCore* chan;
  WaitQueue* queue;
  Waiter waiter;

  static void tell(const WaitPoint& point, WaitTargets& targets) noexcept {
    const Wait& wait = static_cast<const Wait&>(point);
    wait.chan->tell(targets);
    // Somebody has taken it off and is about to ready it.
    if (!wait.waiter.is_queued || wait.chan->is_closed()) targets.add_way_out();
  }
};

const WaitOps ChanCore::kWaitOps{
    nullptr,  // the lock is all
    [](WaitPoint& point) noexcept {
      auto& wait = static_cast<Wait&>(point);
      SpinGuard guard(wait.chan->lock_);
      if (wait.chan->is_closed()) return false;  // C3
      const bool removed = wait.queue->remove(wait.waiter);
      wait.chan->note_queues();
      return removed;
    },
    nullptr,  // whoever woke it has taken it off the queue
    &Wait::tell,
};

/// A receiver of a timer's channel: while somebody waits, the deadline is in a heap.
const WaitOps ChanCore::kTimerWaitOps{
    [](WaitPoint& point) noexcept {
      ChanCore& chan = *static_cast<Wait&>(point).chan;
      chan.timer_->await();
      chan.lock_.unlock();
    },
    [](WaitPoint& point) noexcept {
      auto& wait = static_cast<Wait&>(point);
      SpinGuard guard(wait.chan->lock_);
      const bool removed = wait.queue->remove(wait.waiter);
      wait.chan->timer_->withdrawn();
      return removed;
    },
    nullptr,
    &Wait::tell,
};

// --- life ---

static_assert(sizeof(BiasedLock) == 10);  // then the first line ends where references_ begins

std::size_t ChanCore::buffer_offset(const ElementType& type) noexcept {
  return (sizeof(ChanCore) + type.align - 1) & ~(type.align - 1);
}

ChanCore* ChanCore::make(const ElementType& type, std::size_t capacity, std::uint32_t bubble) {
  const std::size_t offset = buffer_offset(type);
  std::size_t buffer = 0;
  if (capacity > kMostCapacity || __builtin_mul_overflow(capacity, type.size, &buffer) || buffer > kMostBytes - offset)
    throw_runtime_panic("makechan: size out of range");
  void* block = allocate_lines(offset + buffer, type.align);
  auto* chan = ::new (block) ChanCore(type, capacity, nullptr, bubble);
  if (chaos_enabled.load(std::memory_order_relaxed) && random_below(2) == 0) [[unlikely]]
    chan->shard();
  return chan;
}

void ChanCore::check_bubble_slow(const char* what) const {
  if (bubble_ != 0 && bubble_ != current_bubble()) throw_panic(what);
}

void ChanCore::destroy_self() noexcept {
  if (is_sharded_.load(std::memory_order_acquire)) [[unlikely]] {  // acquire [chan.sharded]
    const SpinGuard guard(lock_);
    gather();
  }
  // The last handle is gone, so nobody waits on it: unless through a handle that was not its own, a static one that has been
  // destroyed. A runtime that is destroyed after it still has to take that waiter off: so the channel stays (HZ-17).
  // acquire [chan.waiters]
  if (timer_ == nullptr &&
      (has_senders_.load(std::memory_order_acquire) || has_receivers_.load(std::memory_order_acquire))) [[unlikely]] {
    return;
  }
  if (!type_.is_trivial()) {
    for (std::size_t n = count_.load(std::memory_order_relaxed); n > 0; --n) {
      type_.destroy(element(head_));
      head_ = head_ + 1 == capacity_ ? 0 : head_ + 1;
    }
  }
  if (timer_ != nullptr) return timer_->destroy();
  delete shards_.load(std::memory_order_relaxed);
  const std::size_t bytes = buffer_offset(type_) + capacity_ * type_.size;
  const std::size_t align = type_.align;
  this->~ChanCore();
  free_lines(this, bytes, align);
}

/// While the whole process rests. A lock that is held: somebody is in the middle of something.
void ChanCore::tell(WaitTargets& targets) const noexcept {
  targets.add_channel(
      this, timer_ != nullptr ? sizeof(ChanCore) + sizeof(ChanTimer) : buffer_offset(type_) + capacity_ * type_.size);
  const ReceiverShards* shards = shards_.load(std::memory_order_acquire);
  if (shards != nullptr) targets.add_channel(shards, sizeof *shards);  // which this channel leads to
  if (lock_.is_locked() || (shards != nullptr && shards->any_is_locked()) || (timer_ != nullptr && timer_->is_armed))
    targets.add_way_out();
}

// --- elements ---

inline void* ChanCore::element(std::size_t index) noexcept {
  return reinterpret_cast<std::byte*>(this) + buffer_offset(type_) + index * type_.size;
}

/// Of a small type.
[[gnu::always_inline]] inline void ChanCore::move_small(void* to, const void* from) const noexcept {
  if (type_.copy == ElementCopy::k8Bytes) {
    std::memcpy(to, from, 8);
  } else if (type_.copy == ElementCopy::k4Bytes) {
    std::memcpy(to, from, 4);
  }
}

inline void ChanCore::move_element(void* to, void* from) noexcept {
  if (type_.is_small()) return move_small(to, from);
  if (type_.is_trivial()) {
    std::memcpy(to, from, type_.size);
    return;
  }
  const NoChaos under_lock;
  type_.move(to, from);
}

inline void ChanCore::relocate_element(void* to, void* from) noexcept {
  move_element(to, from);
  if (type_.is_trivial()) return;
  const NoChaos under_lock;
  type_.destroy(from);
}

// --- the locked steps ---

// Inline where an operation is nothing else.
[[gnu::always_inline]] inline ChanCore::Step ChanCore::do_send(void* value, SleeperHandle& peer) noexcept {
  if (is_closed_.load(std::memory_order_relaxed)) return Step::kClosed;  // guarded by lock_
  if (has_receivers_.load(std::memory_order_relaxed)) {                  // guarded by lock_
    if (is_sharded()) [[unlikely]]
      gather();
    Waiter* receiver = receivers_.claim_front();
    has_receivers_.store(!receivers_.empty(), std::memory_order_release);  // release [chan.waiters]
    if (receiver != nullptr) {
      move_element(receiver->slot, value);
      receiver->is_ok = true;
      peer = receiver->sleeper;
      return Step::kDone;
    }
  }
  const std::size_t count = count_.load(std::memory_order_relaxed);  // guarded by lock_
  if (count == capacity_) return Step::kWait;
  std::size_t tail = head_ + count;
  if (tail >= capacity_) tail -= capacity_;
  move_element(element(tail), value);
  count_.store(count + 1, std::memory_order_release);  // release [chan.count]: see looks_empty()
  return Step::kDone;
}

[[gnu::always_inline]] inline ChanCore::Step ChanCore::do_recv(void* slot, SleeperHandle& peer) noexcept {
  const std::size_t count = count_.load(std::memory_order_relaxed);  // guarded by lock_
  if (count != 0) {
    relocate_element(slot, element(head_));
    // The longest-waiting sender's value goes to the end of the queue in the same step (CH-12).
    Waiter* sender = nullptr;
    if (!senders_.empty()) {
      sender = senders_.claim_front();
      has_senders_.store(!senders_.empty(), std::memory_order_release);  // release [chan.waiters]
    }
    if (sender != nullptr) {
      move_element(element(head_), sender->slot);  // the buffer was full: the end is where the head was
      sender->is_ok = true;
      peer = sender->sleeper;
    } else {
      count_.store(count - 1, std::memory_order_release);  // release [chan.count]: see looks_full()
    }
    head_ = head_ + 1 == capacity_ ? 0 : head_ + 1;
    return Step::kDone;
  }
  if (!senders_.empty()) {
    Waiter* sender = senders_.claim_front();
    has_senders_.store(!senders_.empty(), std::memory_order_release);  // release [chan.waiters]
    if (sender != nullptr) {
      move_element(slot, sender->slot);
      sender->is_ok = true;
      peer = sender->sleeper;
      return Step::kDone;
    }
  }
  if (ChanTimer* source = timer()) return source->take(slot) ? Step::kDone : Step::kWait;
  return is_closed_.load(std::memory_order_relaxed) ? Step::kClosed : Step::kWait;  // guarded by lock_
}

ChanCore::Step ChanCore::send_locked(void* value, SleeperHandle& peer) noexcept { return do_send(value, peer); }
ChanCore::Step ChanCore::recv_locked(void* slot, SleeperHandle& peer) noexcept { return do_recv(slot, peer); }

// --- operations ---

// The usual cases do without a call, so that they need no frame: somebody waits on the other side of a plain channel, or the caller
// has to wait. Whatever else there is, they jump to. Who waits does so in one frame (docs/performance.md).

[[gnu::always_inline]] inline void ChanCore::send(void* value) {
  const Caller caller = current_caller();
  if (!is_plain() || !lock_.lock_quickly(caller.lock_user)) [[unlikely]]
    return send_anyhow(value);
  Waiter* receiver = receivers_.front();
  const bool is_full = count_.load(std::memory_order_relaxed) == capacity_;  // guarded by lock_
  if (receiver == nullptr && is_full && !is_closed_.load(std::memory_order_relaxed) && !is_sharded())  // likewise
    return await_receiver(value, caller.worker);
  if (receiver == nullptr || is_sharded() || !type_.is_small() || !receiver->try_claim())
    return finish_send(value, caller.worker);
  receivers_.pop_front();
  has_receivers_.store(!receivers_.empty(), std::memory_order_release);  // release [chan.waiters]
  move_small(receiver->slot, value);
  receiver->is_ok = true;
  const SleeperHandle peer = receiver->sleeper;
  lock_.unlock();
  ready(peer, caller.worker);
}

[[gnu::always_inline]] inline ChanStatus ChanCore::recv(void* slot) {
  const Caller caller = current_caller();
  if (!is_plain() || !lock_.lock_quickly(caller.lock_user)) [[unlikely]]
    return recv_anyhow(slot);
  if (count_.load(std::memory_order_relaxed) != 0) return finish_recv(slot, caller.worker);  // guarded by lock_
  Waiter* sender = senders_.front();
  if (sender == nullptr && !is_closed_.load(std::memory_order_relaxed))  // guarded by lock_
    return await_value<true>(slot, caller.worker);
  if (sender == nullptr || !type_.is_small() || !sender->try_claim()) return finish_recv(slot, caller.worker);
  senders_.pop_front();
  has_senders_.store(!senders_.empty(), std::memory_order_release);  // release [chan.waiters]
  move_small(slot, sender->slot);
  sender->is_ok = true;
  const SleeperHandle peer = sender->sleeper;
  lock_.unlock();
  ready(peer, caller.worker);
  return ChanStatus::ok;
}

[[gnu::noinline]] void ChanCore::send_anyhow(void* value) {
  check_bubble("send on synctest channel from outside bubble");
  const Caller caller = current_caller();
  lock_.lock(caller.lock_user);
  finish_send(value, caller.worker);
}

[[gnu::noinline]] ChanStatus ChanCore::recv_anyhow(void* slot) {
  check_bubble("receive on synctest channel from outside bubble");
  const Caller caller = current_caller();
  lock_.lock(caller.lock_user);
  return finish_recv(slot, caller.worker);
}

[[gnu::noinline]] void ChanCore::finish_send(void* value, WorkerFace* caller) {
  SleeperHandle peer;
  switch (do_send(value, peer)) {
    case Step::kDone:
      lock_.unlock();
      if (peer) ready(peer, caller);
      return;
    case Step::kClosed:
      lock_.unlock();
      throw_runtime_panic("send on closed channel");
    case Step::kWait:
      return await_receiver(value, caller);
  }
}

[[gnu::noinline]] ChanStatus ChanCore::finish_recv(void* slot, WorkerFace* caller) {
  SleeperHandle peer;
  switch (do_recv(slot, peer)) {
    case Step::kDone:
      lock_.unlock();
      if (peer) ready(peer, caller);
      return ChanStatus::ok;
    case Step::kClosed:
      break;
    case Step::kWait:
      return is_plain() ? await_value<true>(slot, caller) : await_value<false>(slot, caller);
  }
  lock_.unlock();
  return ChanStatus::closed;
}

[[gnu::noinline]] void ChanCore::await_receiver(void* value, WorkerFace* caller) {
  Sleeper self(caller);
  Wait wait(*this, senders_, self, value);
  wait.reason = WaitReason::kChanSend;
  wait.is_durable = is_in_bubble();
  senders_.push_back(wait.waiter);
  has_senders_.store(true, std::memory_order_release);  // release [chan.waiters]
  park(self, wait);
  if (!wait.waiter.is_ok) throw_runtime_panic("send on closed channel");
}

template <bool kIsKnownPlain>
[[gnu::noinline]] ChanStatus ChanCore::await_value(void* slot, WorkerFace* caller) {
  Sleeper self(caller);
  Wait wait(*this, receivers_, self, slot);
  wait.reason = WaitReason::kChanReceive;
  wait.is_durable = !kIsKnownPlain && is_in_bubble();
  if (!kIsKnownPlain && timer() != nullptr) {
    wait.ops = &kTimerWaitOps;
    wait.held = nullptr;
  }
  queue_receiver(wait.waiter);
  park(self, wait);
  return wait.waiter.is_ok ? ChanStatus::ok : ChanStatus::closed;
}

// The try_ forms, once the look without a lock (in the header) has not settled them.

ChanStatus ChanCore::try_send(void* value) {
  check_bubble("send on synctest channel from outside bubble");
  SleeperHandle peer;
  lock_.lock();
  const Step step = send_locked(value, peer);
  lock_.unlock();
  if (step == Step::kClosed) throw_runtime_panic("send on closed channel");
  if (peer) ready(peer);
  return step == Step::kDone ? ChanStatus::ok : ChanStatus::would_block;
}

ChanStatus ChanCore::try_recv(void* slot) {
  check_bubble("receive on synctest channel from outside bubble");
  SleeperHandle peer;
  lock_.lock();
  const Step step = recv_locked(slot, peer);
  lock_.unlock();
  if (peer) ready(peer);
  return step == Step::kDone ? ChanStatus::ok : step == Step::kClosed ? ChanStatus::closed : ChanStatus::would_block;
}

void ChanCore::close() {
  check_bubble("close of synctest channel from outside bubble");
  if (!shut()) throw_runtime_panic("close of closed channel");
}

bool ChanCore::shut() noexcept {
  lock_.lock();
  if (is_closed_.load(std::memory_order_relaxed)) {  // guarded by lock_
    lock_.unlock();
    return false;
  }
  if (is_sharded()) [[unlikely]]
    gather();
  is_closed_.store(true, std::memory_order_release);
  // Everybody who waits leaves the queues here, with is_ok false, and is woken after the unlock.
  WakeList woken;
  if (has_claims_) {
    woken.add_all(receivers_);
    woken.add_all(senders_);
  } else {
    woken.add_unclaimed(receivers_);
    woken.add_unclaimed(senders_);
  }
  note_queues();
  lock_.unlock();
  woken.ready_all();
  return true;
}

bool ChanCore::watch(Waiter& waiter) noexcept {
  const SpinGuard guard(lock_);
  if (is_closed_.load(std::memory_order_relaxed)) return false;  // guarded by lock_
  has_claims_ = true;
  queue_receiver(waiter);
  return true;
}

void ChanCore::unwatch(Waiter& waiter) noexcept {
  const SpinGuard guard(lock_);
  receivers_.remove(waiter);
  note_queues();
}

// --- on handles, which may be nil ---

void chan_send(ChanCore* chan, void* value) {
  if (chan == nullptr) [[unlikely]]
    NilWait::forever(WaitReason::kChanSendNil);
  chan->send(value);
}

ChanStatus chan_recv(ChanCore* chan, void* slot) {
  if (chan == nullptr) [[unlikely]]
    NilWait::forever(WaitReason::kChanReceiveNil);
  return chan->recv(slot);
}

void chan_close(ChanCore* chan) {
  chaos_point();
  if (chan == nullptr) throw_runtime_panic("close of nil channel");
  chan->close();
}

}  // namespace weft::detail

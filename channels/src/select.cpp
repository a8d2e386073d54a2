// select, compiled half. All channels of the statement are locked in address order, so that the readiness of the cases is
// judged at one instant (SEL-5) and two selects cannot deadlock.
//
// Most selects that find a case ready never come that far. Looking is enough to find a candidate, uniformly among all that
// look ready, and its channel's lock alone is enough to do it: a select may choose any case that is ready at the instant at
// which it acts, and that the others were looked at earlier only matters to a verdict that none is ready. With one channel
// the look is that verdict too (CH-16, see ChanCore::looks_empty); with more of them "none" is said under all locks only.
//
// A parked select has a waiter in the queue of each of its channels, all with one Claim: whoever wins it (a peer, a close,
// the timeout) ends the wait; the others' waiters are withdrawn by the select itself before it returns, under the channels'
// locks. A loser that was already taken off a queue by somebody who then failed to claim it is simply not there any more.
// The winner's waiter has been taken off by whoever claimed it, so the winner's channel is not locked again, unless it is
// listed twice.
// Lifetime: entries live in the caller's frame. The commit unlocks channel after channel and reads the next entry before
// each unlock; after the last unlock, that of the lowest channel, it touches nothing, since the select may have been woken,
// withdrawn and returned. It cannot return earlier: either the lowest channel is the winner's, and it was claimed under
// the lock that the commit released last, or withdrawing has to take that lock. Wakers are done with a waiter before they
// ready its sleeper; those that fail to claim one touch it only under the lock that withdrawing takes.
// Answers to Go's runtime/select.go.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "chan_shards.hpp"
#include "chan_timer.hpp"
#include "weft/detail/chan_core.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/select_case.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"

namespace weft::detail {

/// One execution of a select statement.
class SelectRun {
 public:
  SelectRun(SelectEntry* entries, std::size_t count) noexcept : entries_(entries), count_(count) {}

  std::size_t run();

 private:
  static constexpr std::uint32_t kTimeoutWinner = UINT32_MAX;
  static constexpr std::size_t kNone = SIZE_MAX;

  struct Wait : WaitPoint {
    SelectRun* run;
  };
  static const WaitOps kWaitOps;
  static const WaitOps kTimeOnlyOps;
  static bool abandon(WaitPoint& point) noexcept;
  static void forsake(WaitPoint& point) noexcept;
  static void tell(const WaitPoint& point, WaitTargets& targets) noexcept;

  std::size_t read_cases();
  void read_other(std::size_t i);
  void read_special(const ChanCore& chan);
  bool act_alone(SelectEntry& entry, const Caller& caller);
  void sort_by_channel() noexcept;
  std::size_t lock_all(const Caller& caller) noexcept;
  void lock_channel(std::size_t i, const Caller& caller) noexcept;
  bool lock_shard(std::size_t i, const Caller& caller) noexcept;
  static bool leave_shard(SelectEntry& entry, const Caller& caller) noexcept;
  [[nodiscard]] static ReceiverShard& shard_of(const SelectEntry& entry) noexcept {
    return (*entry.chan->shards_.load(std::memory_order_relaxed))[entry.shard];
  }
  [[nodiscard]] static BiasedLock& lock_of(const SelectEntry& entry) noexcept {
    return entry.shard == 0 ? entry.chan->lock_ : shard_of(entry).lock;
  }
  void unlock_all() noexcept;
  [[nodiscard]] static bool looks_ready(const SelectEntry& entry) noexcept;
  [[nodiscard]] static bool is_ready(SelectEntry& entry) noexcept;
  std::size_t choose_ready() noexcept;
  static bool communicate(SelectEntry& entry, SleeperHandle& peer) noexcept;
  std::size_t wait(const Caller& caller);
  void shuffle_duplicates() noexcept;
  void enqueue_all(SleeperHandle self) noexcept;
  std::uint32_t withdraw() noexcept;
  std::size_t finish(std::size_t chosen);
  static std::size_t run_alone(SelectEntry& entry);
  void await_timers() noexcept;
  [[nodiscard]] WaitReason wait_reason() const noexcept;
  [[nodiscard]] SelectEntry& in_lock_order(std::size_t i) noexcept { return entries_[entries_[i].lock_rank]; }

  SelectEntry* entries_;
  const std::size_t count_;
  std::size_t live_ = 0;  // cases on channels that are not nil; the first live_ lock ranks name them
  std::size_t default_ = kNone;
  std::size_t timeout_ = kNone;
  bool has_timers_ = false;      // some case receives from a timer's channel
  bool is_durable_ = true;       // in a bubble: every case that can ever be ready is the bubble's own
  bool has_duplicates_ = false;  // a channel is listed twice; known once all are locked
  ChanCore* crowded_ = nullptr;  // a channel of which a select had to wait for the lock only to leave it
  Claim claim_;
};

bool SelectRun::abandon(WaitPoint& point) noexcept {
  SelectRun& run = *static_cast<Wait&>(point).run;
  // Winning the claim is what keeps others from waking it.
  const bool won = run.claim_.try_win(kTimeoutWinner);
  if (won) static_cast<void>(run.withdraw());
  return won;
}

void SelectRun::forsake(WaitPoint& point) noexcept { static_cast<void>(static_cast<Wait&>(point).run->withdraw()); }

/// A time-out is told by the wait around this one.
void SelectRun::tell(const WaitPoint& point, WaitTargets& targets) noexcept {
  SelectRun& run = *static_cast<const Wait&>(point).run;
  for (std::size_t i = 0; i < run.live_; ++i) run.in_lock_order(i).chan->tell(targets);
  if (run.claim_.winner() != Claim::kNobody) targets.add_way_out();
}

const WaitOps SelectRun::kWaitOps{[](WaitPoint& point) noexcept {
                                    SelectRun& run = *static_cast<Wait&>(point).run;
                                    if (run.has_timers_) run.await_timers();
                                    run.unlock_all();
                                  },
                                  &SelectRun::abandon, &SelectRun::forsake, &SelectRun::tell};

// No channel, so no lock keeps the frame there once the time-out is armed: nothing may look at it in a commit.
const WaitOps SelectRun::kTimeOnlyOps{nullptr, &SelectRun::abandon, &SelectRun::forsake, &SelectRun::tell};

namespace {

/// Uniform among those that enter: the n-th replaces the choice with probability 1/n.
class Lottery {
 public:
  void enter(std::size_t ticket) noexcept {
    ++entered_;
    if (entered_ == 1 || random_below(entered_) == 0) winner_ = ticket;
  }
  [[nodiscard]] std::size_t winner() const noexcept { return winner_; }

 private:
  std::uint32_t entered_ = 0;
  std::size_t winner_ = SIZE_MAX;
};

}  // namespace

inline bool SelectRun::looks_ready(const SelectEntry& entry) noexcept {
  const ChanCore& chan = *entry.chan;
  return !(entry.kind == CaseKind::kRecv ? chan.looks_empty() : chan.looks_full()) ||
         chan.is_closed_.load(std::memory_order_acquire);  // read last: see looks_empty()
}

/// Returns a case that looks ready, if any does. A timer's channel cannot be judged by a look: with one of those there is
/// no candidate.
[[gnu::always_inline]] inline std::size_t SelectRun::read_cases() {
  Lottery lottery;
  std::size_t live = 0;
  bool has_plain = false;
  for (std::size_t i = 0; i < count_; ++i) {
    const SelectEntry& entry = entries_[i];
    if (entry.kind != CaseKind::kRecv && entry.kind != CaseKind::kSend) {
      read_other(i);
      continue;
    }
    if (entry.chan == nullptr) continue;
    if (entry.chan->is_plain()) [[likely]] {
      has_plain = true;
    } else {
      read_special(*entry.chan);
    }
    entries_[live++].lock_rank = static_cast<std::uint32_t>(i);
    if (looks_ready(entry)) lottery.enter(i);
  }
  live_ = live;
  if (has_plain) is_durable_ = false;
  return has_timers_ ? kNone : lottery.winner();
}

void SelectRun::read_other(std::size_t i) {
  if (entries_[i].kind == CaseKind::kDefault) {
    if (default_ != kNone) throw_panic("weft: select: more than one on_default");
    default_ = i;
  } else if (timeout_ == kNone || entries_[i].timeout_ns < entries_[timeout_].timeout_ns) {
    timeout_ = i;
  }
}

void SelectRun::read_special(const ChanCore& chan) {
  chan.check_bubble("select on synctest channel from outside bubble");
  if (chan.timer() != nullptr) has_timers_ = true;
  if (!chan.is_in_bubble()) is_durable_ = false;
}

[[gnu::always_inline]] inline void SelectRun::sort_by_channel() noexcept {
  const auto before = [this](std::size_t a, std::size_t b) noexcept {
    return std::less<ChanCore*>()(in_lock_order(a).chan, in_lock_order(b).chan);
  };
  const auto exchange = [this](std::size_t a, std::size_t b) noexcept {
    std::swap(entries_[a].lock_rank, entries_[b].lock_rank);
  };
  if (live_ == 2) {
    if (before(1, 0)) exchange(0, 1);
    return;
  }
  if (live_ <= 8) {
    for (std::size_t i = 1; i < live_; ++i) {
      for (std::size_t j = i; j > 0 && before(j, j - 1); --j) exchange(j, j - 1);
    }
    return;
  }
  // Heap sort in place: n log n without memory of its own.
  const auto sift = [&](std::size_t root, std::size_t end) noexcept {
    for (std::size_t child; (child = 2 * root + 1) < end; root = child) {
      if (child + 1 < end && before(child, child + 1)) ++child;
      if (!before(root, child)) return;
      exchange(root, child);
    }
  };
  for (std::size_t i = live_ / 2; i-- > 0;) sift(i, live_);
  for (std::size_t end = live_; end-- > 1;) {
    exchange(0, end);
    sift(0, end);
  }
}

[[gnu::always_inline]] inline bool SelectRun::is_ready(SelectEntry& entry) noexcept {
  ChanCore& chan = *entry.chan;
  const bool is_closed = chan.is_closed_.load(std::memory_order_relaxed);  // guarded by lock_
  if (is_closed) return true;
  if (entry.kind == CaseKind::kSend && chan.is_sharded()) [[unlikely]]
    chan.gather();                                                        // S3 (chan_shards.hpp)
  const std::size_t count = chan.count_.load(std::memory_order_relaxed);  // guarded by lock_
  if (entry.kind == CaseKind::kRecv ? count != 0 : count < chan.capacity_) return true;
  if (ChanTimer* timer = chan.timer()) return timer->is_due();
  WaitQueue& peers = entry.kind == CaseKind::kRecv ? chan.senders_ : chan.receivers_;
  // Selects that have been claimed elsewhere are not there any more.
  if (peers.empty()) return false;
  while (Waiter* peer = peers.front()) {
    if (peer->claim == nullptr || peer->claim->winner() == Claim::kNobody) return true;
    peers.remove(*peer);
  }
  chan.note_queues();
  return false;
}

/// Looks at each case once its channel is locked: what is not ready then stays so, for only a timer can become ready while
/// its channel is locked, and those are looked at again at the end. Returns a ready case, if there is one.
[[gnu::always_inline]] inline std::size_t SelectRun::lock_all(const Caller& caller) noexcept {
  const ChanCore* last = nullptr;
  Lottery lottery;
  for (std::size_t i = 0; i < live_; ++i) {
    const std::uint32_t index = entries_[i].lock_rank;
    SelectEntry& entry = entries_[index];
    if (entry.chan != last) {
      lock_channel(i, caller);
    } else {
      has_duplicates_ = true;  // locked once
    }
    last = entry.chan;
    if (is_ready(entry)) lottery.enter(index);
  }
  if (has_timers_) return choose_ready();
  return lottery.winner();
}

/// The i-th in the locks' order, which is the first of its channel.
inline void SelectRun::lock_channel(std::size_t i, const Caller& caller) noexcept {
  ChanCore& chan = *in_lock_order(i).chan;
  // acquire [chan.sharded]: the shards are there.
  if (chan.is_sharded_.load(std::memory_order_acquire) && lock_shard(i, caller)) [[unlikely]]
    return;
  chan.lock_.lock(caller.lock_user);
}

/// False: it needs the channel's lock.
[[gnu::noinline]] bool SelectRun::lock_shard(std::size_t i, const Caller& caller) noexcept {
  SelectEntry& entry = in_lock_order(i);
  const bool is_listed_again = i + 1 < live_ && in_lock_order(i + 1).chan == entry.chan;
  if (entry.kind != CaseKind::kRecv || is_listed_again) return false;
  entry.shard = ReceiverShards::number_here();
  BiasedLock& lock = lock_of(entry);
  lock.lock(caller.lock_user);
  if (entry.chan->is_sharded()) return true;  // S1, S2 (chan_shards.hpp)
  lock.unlock();
  entry.shard = 0;
  return false;
}

void SelectRun::unlock_all() noexcept {
  // What is needed next is read before each unlock: after the last one the frame may be gone.
  std::size_t left = live_;
  BiasedLock* lock = left > 0 ? &lock_of(in_lock_order(left - 1)) : nullptr;
  while (left > 0) {
    BiasedLock* next = nullptr;
    do {
      --left;
      next = left > 0 ? &lock_of(in_lock_order(left - 1)) : nullptr;
    } while (next == lock);
    lock->unlock();
    lock = next;
  }
}

[[gnu::noinline]] std::size_t SelectRun::choose_ready() noexcept {
  Lottery lottery;
  for (std::size_t i = 0; i < count_; ++i) {
    if (entries_[i].chan != nullptr && is_ready(entries_[i])) lottery.enter(i);
  }
  return lottery.winner();
}

inline bool SelectRun::communicate(SelectEntry& entry, SleeperHandle& peer) noexcept {
  const ChanCore::Step step = entry.kind == CaseKind::kRecv ? entry.chan->recv_locked(entry.slot, peer)
                                                            : entry.chan->send_locked(entry.slot, peer);
  entry.status = step == ChanCore::Step::kDone ? ChanStatus::ok : ChanStatus::closed;
  return step != ChanCore::Step::kWait;
}

inline std::size_t SelectRun::finish(std::size_t chosen) {
  const SelectEntry& entry = entries_[chosen];
  if (entry.kind == CaseKind::kSend && entry.status == ChanStatus::closed)
    throw_runtime_panic("send on closed channel");
  return chosen;
}

/// Does a case that looked ready, under its channel's lock alone. False: it was not ready after all.
inline bool SelectRun::act_alone(SelectEntry& entry, const Caller& caller) {
  ChanCore& chan = *entry.chan;
  SleeperHandle peer;
  chan.lock_.lock(caller.lock_user);
  const bool done = communicate(entry, peer);
  chan.lock_.unlock();
  if (peer) ready(peer, caller.worker);
  return done;
}

/// One case and nothing else: the plain operation (SEL-14).
std::size_t SelectRun::run_alone(SelectEntry& entry) {
  if (entry.kind == CaseKind::kRecv) {
    entry.status = chan_recv(entry.chan, entry.slot);
  } else {
    chan_send(entry.chan, entry.slot);
    entry.status = ChanStatus::ok;
  }
  return 0;
}

/// Cases on the same channel are equally likely to be met first by a peer (SEL-3).
void SelectRun::shuffle_duplicates() noexcept {
  for (std::size_t first = 0; first < live_;) {
    std::size_t end = first + 1;
    for (; end < live_ && in_lock_order(end).chan == in_lock_order(first).chan; ++end) {
      const std::size_t other = first + random_below(static_cast<std::uint32_t>(end - first + 1));
      std::swap(entries_[other].lock_rank, entries_[end].lock_rank);
    }
    first = end;
  }
}

[[gnu::always_inline]] inline void SelectRun::enqueue_all(SleeperHandle self) noexcept {
  if (has_duplicates_) shuffle_duplicates();
  for (std::size_t i = 0; i < live_; ++i) {
    const std::uint32_t index = entries_[i].lock_rank;
    SelectEntry& entry = entries_[index];
    Waiter& waiter = *std::construct_at(std::addressof(entry.waiter.made));
    waiter.sleeper = self;
    waiter.claim = &claim_;
    waiter.claim_id = index + 1;
    waiter.slot = entry.slot;
    if (entry.kind == CaseKind::kRecv) {
      if (entry.shard == 0) [[likely]] {
        entry.chan->queue_receiver(waiter);
      } else {
        waiter.arrival = cheap_ticks();
        shard_of(entry).receivers.push_back(waiter);
      }
    } else {
      entry.chan->senders_.push_back(waiter);
      entry.chan->has_senders_.store(true, std::memory_order_release);  // release [chan.waiters]: see looks_empty()
    }
  }
}

/// While somebody waits for a timer's channel, its deadline is in a heap. With the locks held.
void SelectRun::await_timers() noexcept {
  for (std::size_t i = 0; i < live_; ++i) {
    if (ChanTimer* timer = in_lock_order(i).chan->timer()) timer->await();
  }
}

/// False: all who waited in shards have been gathered in the channel's queue.
[[gnu::noinline]] bool SelectRun::leave_shard(SelectEntry& entry, const Caller& caller) noexcept {
  ReceiverShard& shard = shard_of(entry);
  shard.lock.lock(caller.lock_user);
  const bool is_there = entry.chan->is_sharded();  // S4 (chan_shards.hpp)
  if (is_there) shard.receivers.remove(entry.waiter.made);
  shard.lock.unlock();
  return is_there;
}

/// Leaves every queue; returns who has won.
[[gnu::always_inline]] inline std::uint32_t SelectRun::withdraw() noexcept {
  const std::uint32_t winner = claim_.winner();
  const Caller caller = current_caller();
  ChanCore* locked = nullptr;
  for (std::size_t i = 0; i < live_; ++i) {
    const std::uint32_t index = entries_[i].lock_rank;
    if (index + 1 == winner && !has_duplicates_) continue;
    SelectEntry& entry = entries_[index];
    if (entry.shard != 0 && leave_shard(entry, caller)) [[unlikely]]
      continue;
    if (entry.chan != locked) {
      if (locked != nullptr) locked->lock_.unlock();
      locked = entry.chan;
      if (locked->lock_.lock(caller.lock_user) && entry.kind == CaseKind::kRecv && locked->note_crowd()) [[unlikely]]
        crowded_ = locked;
    }
    if (entry.kind == CaseKind::kRecv) {
      locked->receivers_.remove(entry.waiter.made);
      locked->note_receivers();
    } else {
      locked->senders_.remove(entry.waiter.made);
      locked->has_senders_.store(!locked->senders_.empty(), std::memory_order_release);
    }
    if (ChanTimer* timer = locked->timer()) timer->withdrawn();
  }
  if (locked != nullptr) locked->lock_.unlock();
  return winner;
}

inline WaitReason SelectRun::wait_reason() const noexcept {
  if (count_ == 0) return WaitReason::kSelectNoCases;
  const bool is_timed_operation = count_ == 2 && timeout_ != kNone;
  if (!is_timed_operation) return WaitReason::kSelect;
  const SelectEntry& entry = entries_[1 - timeout_];
  if (entry.kind == CaseKind::kRecv)
    return entry.chan != nullptr ? WaitReason::kChanReceive : WaitReason::kChanReceiveNil;
  return entry.chan != nullptr ? WaitReason::kChanSend : WaitReason::kChanSendNil;
}

[[gnu::always_inline]] inline std::size_t SelectRun::wait(const Caller& caller) {
  Sleeper self(caller.worker);
  Wait point;
  point.ops = live_ == 0 ? &kTimeOnlyOps : &kWaitOps;
  point.reason = wait_reason();
  point.is_durable = is_durable_;
  point.run = this;
  // The clock is read with the locks held: a deadline that counts from before the readiness check would be early.
  const std::int64_t deadline = timeout_ == kNone ? kForever : deadline_after(entries_[timeout_].timeout_ns);
  enqueue_all(self.handle());
  if (deadline == kForever) {
    park(self, point);
  } else {
    park_until(self, point, claim_, kTimeoutWinner, deadline);
  }
  const std::uint32_t winner = withdraw();
  if (crowded_ != nullptr) [[unlikely]]
    crowded_->shard();
  if (winner == kTimeoutWinner) return timeout_;
  SelectEntry& entry = entries_[winner - 1];
  entry.status = entry.waiter.made.is_ok ? ChanStatus::ok : ChanStatus::closed;
  return finish(winner - 1);
}

[[gnu::always_inline]] inline std::size_t SelectRun::run() {
  chaos_point();
  const std::size_t candidate = read_cases();
  const Caller caller = current_caller();
  if (candidate != kNone && act_alone(entries_[candidate], caller)) return finish(candidate);
  const bool never_waits = default_ != kNone || (timeout_ != kNone && entries_[timeout_].timeout_ns <= 0);
  const std::size_t otherwise = default_ != kNone ? default_ : timeout_;
  if (never_waits && live_ <= 1 && !has_timers_) return otherwise;
  if (count_ == 1 && otherwise == kNone) return run_alone(entries_[0]);
  sort_by_channel();
  std::size_t chosen = lock_all(caller);
  for (; chosen != kNone; chosen = choose_ready()) {
    SleeperHandle peer;
    // A waiting select may be claimed through another of its channels at any moment: then this case was not ready.
    if (!communicate(entries_[chosen], peer)) continue;
    unlock_all();
    if (peer) ready(peer, caller.worker);
    return finish(chosen);
  }
  if (never_waits) {
    unlock_all();
    return otherwise;
  }
  return wait(caller);
}

std::size_t run_select(SelectEntry* entries, std::size_t count) { return SelectRun(entries, count).run(); }

// A timed operation is a select of that operation and a timeout.

namespace {

ChanStatus run_timed(CaseKind kind, ChanCore* chan, void* value, std::int64_t deadline_ns) {
  SelectEntry entries[2];
  entries[0].kind = kind;
  entries[0].chan = chan;
  entries[0].slot = value;
  entries[1].kind = CaseKind::kTimeout;
  entries[1].timeout_ns = deadline_ns == kForever ? kForever : deadline_ns == INT64_MIN ? 0 : deadline_ns - now_ns();
  return run_select(entries, 2) == 0 ? entries[0].status : ChanStatus::timed_out;
}

}  // namespace

ChanStatus chan_send_until(ChanCore* chan, void* value, std::int64_t deadline_ns) {
  return run_timed(CaseKind::kSend, chan, value, deadline_ns);
}

ChanStatus chan_recv_until(ChanCore* chan, void* slot, std::int64_t deadline_ns) {
  return run_timed(CaseKind::kRecv, chan, slot, deadline_ns);
}

}  // namespace weft::detail

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
// each unlock; after the last unlock it touches nothing, since the select may have been woken, withdrawn and returned. It
// cannot return earlier: either the last channel is the winner's, and it was claimed under the lock that the commit released
// last, or withdrawing has to take that lock. Wakers are done with a waiter before they ready its sleeper; those that fail to
// claim one touch it only under the lock that withdrawing takes.
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

  struct Wait : WaitPoint {
    SelectRun* run;
  };
  static const WaitOps kWaitOps;
  static const WaitOps kTimeOnlyOps;
  static bool abandon(WaitPoint& point) noexcept;
  static void forsake(WaitPoint& point) noexcept;
  static void tell(const WaitPoint& point, WaitTargets& targets) noexcept;

  SelectEntry* read_cases();
  void read_other(SelectEntry& entry);
  void read_special(const ChanCore& chan);
  static ChanCore::Step act_alone(const SelectEntry& entry, const Caller& caller);
  void sort_by_channel() noexcept;
  SelectEntry* lock_all(const Caller& caller) noexcept;
  static void lock_channel(SelectEntry& entry, const Caller& caller) noexcept;
  static bool lock_shard(SelectEntry& entry, const Caller& caller) noexcept;
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
  SelectEntry* choose_ready() noexcept;
  static ChanCore::Step communicate(const SelectEntry& entry, SleeperHandle& peer) noexcept;
  std::size_t wait(const Caller& caller);
  void shuffle_duplicates() noexcept;
  void enqueue_all(SleeperHandle self) noexcept;
  std::uint32_t withdraw() noexcept;
  static std::size_t finish(SelectEntry& chosen, bool is_closed);
  static std::size_t run_alone(SelectEntry& entry);
  void await_timers() noexcept;
  [[nodiscard]] WaitReason wait_reason() const noexcept;

  SelectEntry* const entries_;
  const std::size_t count_;
  SelectEntry* first_ = nullptr;  // cases on channels that are not nil; in the order of these once they are sorted
  std::size_t live_ = 0;          // how many
  SelectEntry* default_ = nullptr;
  SelectEntry* timeout_ = nullptr;
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
  for (const SelectEntry* entry = run.first_; entry != nullptr; entry = entry->scratch.next) entry->chan->tell(targets);
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
  void enter(SelectEntry& entry) noexcept {
    ++entered_;
    if (entered_ == 1 || random_below(entered_) == 0) winner_ = &entry;
  }
  /// nullptr: nobody has entered.
  [[nodiscard]] SelectEntry* winner() const noexcept { return winner_; }

 private:
  std::uint32_t entered_ = 0;
  SelectEntry* winner_ = nullptr;
};

}  // namespace

inline bool SelectRun::looks_ready(const SelectEntry& entry) noexcept {
  const ChanCore& chan = *entry.chan;
  return !(entry.kind == CaseKind::kRecv ? chan.looks_empty() : chan.looks_full()) ||
         chan.is_closed_.load(std::memory_order_acquire);  // read last: see looks_empty()
}

/// Returns a case that looks ready, if any does. A timer's channel cannot be judged by a look: with one of those there is
/// no candidate.
[[gnu::always_inline]] inline SelectEntry* SelectRun::read_cases() {
  Lottery lottery;
  SelectEntry** last = &first_;
  std::size_t live = 0;
  bool has_plain = false;
  SelectEntry* const end = entries_ + count_;
  std::uint32_t index = 0;
  for (SelectEntry* entry = entries_; entry != end; ++entry) {
    entry->index = index++;
    if (entry->kind > CaseKind::kSend) {
      read_other(*entry);
      continue;
    }
    if (entry->chan == nullptr) continue;
    if (entry->chan->is_plain()) [[likely]] {
      has_plain = true;
    } else {
      read_special(*entry->chan);
    }
    ++live;
    *last = entry;
    last = &entry->scratch.next;
    if (looks_ready(*entry)) lottery.enter(*entry);
  }
  *last = nullptr;
  live_ = live;
  if (has_plain) is_durable_ = false;
  return has_timers_ ? nullptr : lottery.winner();
}

void SelectRun::read_other(SelectEntry& entry) {
  if (entry.kind == CaseKind::kDefault) {
    if (default_ != nullptr) throw_panic("weft: select: more than one on_default");
    default_ = &entry;
  } else if (timeout_ == nullptr || entry.timeout_ns < timeout_->timeout_ns) {
    timeout_ = &entry;
  }
}

void SelectRun::read_special(const ChanCore& chan) {
  chan.check_bubble("select on synctest channel from outside bubble");
  if (chan.timer() != nullptr) has_timers_ = true;
  if (!chan.is_in_bubble()) is_durable_ = false;
}

namespace {

bool precedes(const SelectEntry& a, const SelectEntry& b) noexcept { return std::less<ChanCore*>()(a.chan, b.chan); }

/// The first `count` of a list, sorted and by themselves; `rest` are the others. n log n without memory of its own.
template <class Precedes>
SelectEntry* sorted(SelectEntry* list, std::size_t count, SelectEntry*& rest, Precedes precedes) noexcept {
  if (count == 1) {
    rest = std::exchange(list->scratch.next, nullptr);
    return list;
  }
  SelectEntry* right = nullptr;
  SelectEntry* left = sorted(list, count / 2, right, precedes);
  right = sorted(right, count - count / 2, rest, precedes);
  SelectEntry* first = nullptr;
  SelectEntry** last = &first;
  while (left != nullptr && right != nullptr) {
    SelectEntry*& next = precedes(*right, *left) ? right : left;
    *last = next;
    last = &next->scratch.next;
    next = next->scratch.next;
  }
  *last = left != nullptr ? left : right;
  return first;
}

}  // namespace

[[gnu::always_inline]] inline void SelectRun::sort_by_channel() noexcept {
  if (live_ < 2) return;
  if (live_ > 2) {
    SelectEntry* rest = nullptr;
    first_ = sorted(first_, live_, rest, precedes);
    return;
  }
  SelectEntry* const second = first_->scratch.next;
  if (!precedes(*second, *first_)) return;
  second->scratch.next = first_;
  first_->scratch.next = nullptr;
  first_ = second;
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
[[gnu::always_inline]] inline SelectEntry* SelectRun::lock_all(const Caller& caller) noexcept {
  const ChanCore* last = nullptr;
  Lottery lottery;
  for (SelectEntry* entry = first_; entry != nullptr; entry = entry->scratch.next) {
    if (entry->chan != last) {
      lock_channel(*entry, caller);
    } else {
      has_duplicates_ = true;  // locked once
    }
    last = entry->chan;
    if (is_ready(*entry)) lottery.enter(*entry);
  }
  if (has_timers_) return choose_ready();
  return lottery.winner();
}

/// The first one of its channel.
inline void SelectRun::lock_channel(SelectEntry& entry, const Caller& caller) noexcept {
  ChanCore& chan = *entry.chan;
  // acquire [chan.sharded]: the shards are there.
  if (chan.is_sharded_.load(std::memory_order_acquire) && lock_shard(entry, caller)) [[unlikely]]
    return;
  chan.lock_.lock(caller.lock_user);
}

/// False: it needs the channel's lock.
[[gnu::noinline]] bool SelectRun::lock_shard(SelectEntry& entry, const Caller& caller) noexcept {
  const bool is_listed_again = entry.scratch.next != nullptr && entry.scratch.next->chan == entry.chan;
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
  for (SelectEntry* entry = first_; entry != nullptr;) {
    // What is needed next is read before each unlock: after the last one the frame may be gone.
    BiasedLock& lock = lock_of(*entry);
    SelectEntry* next = entry->scratch.next;
    while (next != nullptr && next->chan == entry->chan) next = next->scratch.next;
    lock.unlock();
    entry = next;
  }
}

[[gnu::noinline]] SelectEntry* SelectRun::choose_ready() noexcept {
  Lottery lottery;
  for (SelectEntry* entry = first_; entry != nullptr; entry = entry->scratch.next) {
    if (is_ready(*entry)) lottery.enter(*entry);
  }
  return lottery.winner();
}

inline ChanCore::Step SelectRun::communicate(const SelectEntry& entry, SleeperHandle& peer) noexcept {
  return entry.kind == CaseKind::kRecv ? entry.chan->recv_locked(entry.slot, peer)
                                       : entry.chan->send_locked(entry.slot, peer);
}

/// The two bytes that lie side by side in an entry are not read together where one of them has just been written: the processor would
/// wait until it is in the cache, longer than for anything else here.
inline std::size_t SelectRun::finish(SelectEntry& chosen, bool is_closed) {
  chosen.status = is_closed ? ChanStatus::closed : ChanStatus::ok;
  if (is_closed && chosen.kind == CaseKind::kSend) [[unlikely]]
    throw_runtime_panic("send on closed channel");
  return chosen.index;
}

/// Does a case that looked ready, under its channel's lock alone. kWait: it was not ready after all.
inline ChanCore::Step SelectRun::act_alone(const SelectEntry& entry, const Caller& caller) {
  ChanCore& chan = *entry.chan;
  SleeperHandle peer;
  chan.lock_.lock(caller.lock_user);
  const ChanCore::Step step = communicate(entry, peer);
  chan.lock_.unlock();
  if (peer) ready(peer, caller.worker);
  return step;
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
[[gnu::noinline]] void SelectRun::shuffle_duplicates() noexcept {
  for (SelectEntry* entry = first_; entry != nullptr; entry = entry->scratch.next)
    entry->scratch.ticket = random_below(UINT32_MAX);
  SelectEntry* rest = nullptr;
  first_ = sorted(first_, live_, rest, [](const SelectEntry& a, const SelectEntry& b) noexcept {
    return a.chan == b.chan ? a.scratch.ticket < b.scratch.ticket : precedes(a, b);
  });
}

[[gnu::always_inline]] inline void SelectRun::enqueue_all(SleeperHandle self) noexcept {
  if (has_duplicates_) [[unlikely]]
    shuffle_duplicates();
  for (SelectEntry* entry = first_; entry != nullptr; entry = entry->scratch.next) {
    Waiter& waiter = *std::construct_at(std::addressof(entry->scratch.waiter));
    waiter.sleeper = self;
    waiter.claim = &claim_;
    waiter.claim_id = entry->index + 1;
    waiter.slot = entry->slot;
    if (entry->kind == CaseKind::kRecv) {
      if (entry->shard == 0) [[likely]] {
        entry->chan->has_claims_ = true;
        entry->chan->queue_receiver(waiter);
      } else {
        waiter.arrival = cheap_ticks();
        shard_of(*entry).receivers.push_back(waiter);
      }
    } else {
      entry->chan->has_claims_ = true;
      entry->chan->senders_.push_back(waiter);
      entry->chan->has_senders_.store(true, std::memory_order_release);  // release [chan.waiters]: see looks_empty()
    }
  }
}

/// While somebody waits for a timer's channel, its deadline is in a heap. With the locks held.
void SelectRun::await_timers() noexcept {
  for (const SelectEntry* entry = first_; entry != nullptr; entry = entry->scratch.next) {
    if (ChanTimer* timer = entry->chan->timer()) timer->await();
  }
}

/// False: all who waited in shards have been gathered in the channel's queue.
[[gnu::noinline]] bool SelectRun::leave_shard(SelectEntry& entry, const Caller& caller) noexcept {
  ReceiverShard& shard = shard_of(entry);
  shard.lock.lock(caller.lock_user);
  const bool is_there = entry.chan->is_sharded();  // S4 (chan_shards.hpp)
  if (is_there) shard.receivers.remove(entry.scratch.waiter);
  shard.lock.unlock();
  return is_there;
}

/// Leaves every queue; returns who has won.
[[gnu::always_inline]] inline std::uint32_t SelectRun::withdraw() noexcept {
  const std::uint32_t winner = claim_.winner();
  const Caller caller = current_caller();
  ChanCore* locked = nullptr;
  for (SelectEntry* at = first_; at != nullptr; at = at->scratch.next) {
    SelectEntry& entry = *at;
    if (entry.index + 1 == winner && !has_duplicates_) continue;
    if (entry.shard != 0 && leave_shard(entry, caller)) [[unlikely]]
      continue;
    if (entry.chan != locked) {
      if (locked != nullptr) locked->lock_.unlock();
      locked = entry.chan;
      if (locked->lock_.lock(caller.lock_user) && entry.kind == CaseKind::kRecv && locked->note_crowd()) [[unlikely]]
        crowded_ = locked;
    }
    if (entry.kind == CaseKind::kRecv) {
      locked->receivers_.remove(entry.scratch.waiter);
      locked->note_receivers();
    } else {
      locked->senders_.remove(entry.scratch.waiter);
      locked->has_senders_.store(!locked->senders_.empty(), std::memory_order_release);
    }
    if (ChanTimer* timer = locked->timer()) timer->withdrawn();
  }
  if (locked != nullptr) locked->lock_.unlock();
  return winner;
}

inline WaitReason SelectRun::wait_reason() const noexcept {
  if (count_ == 0) return WaitReason::kSelectNoCases;
  const bool is_timed_operation = count_ == 2 && timeout_ != nullptr;
  if (!is_timed_operation) return WaitReason::kSelect;
  const SelectEntry& entry = entries_[1 - timeout_->index];
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
  const std::int64_t deadline = timeout_ == nullptr ? kForever : deadline_after(timeout_->timeout_ns);
  enqueue_all(self.handle());
  if (deadline == kForever) {
    park(self, point);
  } else {
    park_until(self, point, claim_, kTimeoutWinner, deadline);
  }
  const std::uint32_t winner = withdraw();
  if (crowded_ != nullptr) [[unlikely]]
    crowded_->shard();
  if (winner == kTimeoutWinner) return timeout_->index;
  SelectEntry& entry = entries_[winner - 1];
  return finish(entry, !entry.scratch.waiter.is_ok);
}

[[gnu::always_inline]] inline std::size_t SelectRun::run() {
  chaos_point();
  SelectEntry* const candidate = read_cases();
  const Caller caller = current_caller();
  if (candidate != nullptr) {
    const ChanCore::Step step = act_alone(*candidate, caller);
    if (step != ChanCore::Step::kWait) return finish(*candidate, step == ChanCore::Step::kClosed);
  }
  const SelectEntry* const otherwise = default_ != nullptr ? default_ : timeout_;
  const bool never_waits = otherwise != nullptr && (otherwise == default_ || otherwise->timeout_ns <= 0);
  if (never_waits && live_ <= 1 && !has_timers_) return otherwise->index;
  if (count_ == 1 && otherwise == nullptr) return run_alone(entries_[0]);
  sort_by_channel();
  for (SelectEntry* chosen = lock_all(caller); chosen != nullptr; chosen = choose_ready()) {
    SleeperHandle peer;
    // A waiting select may be claimed through another of its channels at any moment: then this case was not ready.
    const ChanCore::Step step = communicate(*chosen, peer);
    if (step == ChanCore::Step::kWait) continue;
    unlock_all();
    if (peer) ready(peer, caller.worker);
    return finish(*chosen, step == ChanCore::Step::kClosed);
  }
  if (never_waits) {
    unlock_all();
    return otherwise->index;
  }
  return wait(caller);
}

std::size_t run_select(SelectEntry* entries, std::size_t count) { return SelectRun(entries, count).run(); }

}  // namespace weft::detail

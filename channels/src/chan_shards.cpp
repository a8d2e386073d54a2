#include "chan_shards.hpp"

#include <new>
#include <utility>

#include "weft/detail/chan_core.hpp"

namespace weft::detail {
namespace {

constexpr std::uint8_t kCrowd = 16;

void move_front(WaitQueue& from, WaitQueue& to) noexcept { to.push_back(*from.pop_front()); }

WaitQueue merged(WaitQueue a, WaitQueue b) noexcept {
  WaitQueue all;
  while (!a.empty() && !b.empty()) move_front(a.front()->arrival <= b.front()->arrival ? a : b, all);
  while (!a.empty()) move_front(a, all);
  while (!b.empty()) move_front(b, all);
  return all;
}

}  // namespace

void ReceiverShards::gather(std::atomic<bool>& is_sharded, WaitQueue& receivers) noexcept {
  WaitQueue queues[kShards];
  for (ReceiverShard& shard : shards_) shard.lock.lock();
  is_sharded.store(false, std::memory_order_relaxed);  // S2
  for (std::size_t i = 0; i < kShards; ++i) queues[i] = std::exchange(shards_[i].receivers, {});
  for (ReceiverShard& shard : shards_) shard.lock.unlock();
  // Who leaves now waits for the channel's lock.
  for (std::size_t width = 1; width < kShards; width *= 2) {
    for (std::size_t i = 0; i < kShards; i += 2 * width) queues[i] = merged(queues[i], queues[i + width]);
  }
  receivers = merged(receivers, queues[0]);
}

/// A select that wanted to receive had to wait for lock_, which it has now, to leave. True: shard() may help.
bool ChanCore::note_crowd() noexcept {
  if (!is_plain() || shards_.load(std::memory_order_relaxed) != nullptr) return false;
  if (++crowd_ < kCrowd) return false;
  crowd_ = 0;
  return is_quiet();
}

void ChanCore::gather() noexcept {
  has_claims_ = true;
  shards_.load(std::memory_order_relaxed)->gather(is_sharded_, receivers_);
  note_receivers();
}

void ChanCore::shard() noexcept {
  if (!kHasTicks || !is_plain()) return;
  auto* made = new (std::nothrow) ReceiverShards;
  if (made == nullptr) return;
  {
    const SpinGuard guard(lock_);
    if (is_quiet() && shards_.load(std::memory_order_relaxed) == nullptr) {
      shards_.store(made, std::memory_order_release);  // release [chan.sharded], for tell()
      has_receivers_.store(true, std::memory_order_release);
      is_sharded_.store(true, std::memory_order_release);  // release [chan.sharded]: publishes the shards
      return;
    }
  }
  delete made;
}

}  // namespace weft::detail

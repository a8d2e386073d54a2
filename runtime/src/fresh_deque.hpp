#pragma once

// Goroutines that have not started, newest first for their own processor, oldest first for thieves (Chase and Lev, with
// the orders of Le, Pop, Cohen and Zappa Nardelli, on a bounded ring).
//
// Why not in the FIFO ring: a goroutine that spawns children and waits for them runs depth first that way, on a few warm
// stacks; breadth first it would have a stack for every node of the tree.
// Owner: push(), pop(). Anybody: take_oldest() (the owner too, for fairness).
//   D1 bottom is written by the owner only; top only grows, by compare-and-swap.
//   D2 A slot is overwritten only after top has passed it: push() refuses when bottom - top == kCapacity.
//   D3 Owner and thief can both want the last item only, and then the swap on top decides. Of one item the owner knows that it
//      is the last. Of several it takes the newest without a swap: so pop() announces bottom - 1 before it reads top again, with a
//      seq_cst fence between, as take_oldest() reads top before bottom with one between; at least one of them sees the other.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "weft/detail/platform.hpp"

namespace weft::detail {

struct Runnable;

class FreshDeque {
 public:
  static constexpr std::int64_t kCapacity = 256;

  /// Owner only. False: full.
  bool push(Runnable* item) noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // owner only
    // acquire [fresh.top]: pairs with the release of a thief's swap: it has read the slot (D2).
    if (bottom - top_.load(std::memory_order_acquire) >= kCapacity) return false;
    slot(bottom).store(item, std::memory_order_relaxed);
    // release [fresh.bottom]: publishes the slot; pairs with the acquire in take_oldest().
    bottom_.store(bottom + 1, std::memory_order_release);
    return true;
  }

  /// Owner only: the newest.
  Runnable* pop() noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;  // owner only
    std::int64_t top = top_.load(std::memory_order_relaxed);                  // only thieves move it, upwards
    if (top > bottom) return nullptr;
    if (top == bottom) return take_at(top);  // the only one: the swap decides, without an announcement
    // seq_cst [fresh]: store and load in one total order with take_oldest()'s (D3); an exchange is one locked
    // instruction, and every sanitizer understands it, unlike a fence.
    bottom_.exchange(bottom, std::memory_order_seq_cst);
    top = top_.load(std::memory_order_seq_cst);
    if (top < bottom) return slot(bottom).load(std::memory_order_relaxed);
    // It has become the only one meanwhile, or is gone.
    Runnable* const item = top == bottom ? take_at(top) : nullptr;
    bottom_.store(bottom + 1, std::memory_order_release);  // release [fresh.bottom]: as push()
    return item;
  }

  /// Any thread: the oldest. nullptr: empty, or somebody else was quicker.
  Runnable* take_oldest() noexcept {
    // seq_cst [fresh]: see pop() (D3).
    std::int64_t top = top_.load(std::memory_order_seq_cst);
    // also acquire [fresh.bottom]: pairs with the release in push().
    const std::int64_t bottom = bottom_.load(std::memory_order_seq_cst);
    return top < bottom ? take_at(top) : nullptr;
  }

  /// Owner only: up to `capacity` of the oldest. It does not pop meanwhile, so thieves alone may be quicker.
  std::size_t take_oldest(Runnable** out, std::size_t capacity) noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // owner only
    std::int64_t top = top_.load(std::memory_order_relaxed);              // re-checked by the swap
    for (;;) {
      if (top >= bottom) return 0;
      const std::size_t count = std::min(static_cast<std::size_t>(bottom - top), capacity);
      for (std::size_t i = 0; i < count; ++i) {
        out[i] = slot(top + static_cast<std::int64_t>(i)).load(std::memory_order_relaxed);
      }
      // seq_cst, also release [fresh.top]: the slots have been read (D2).
      if (top_.compare_exchange_strong(top, top + static_cast<std::int64_t>(count), std::memory_order_seq_cst,
                                       std::memory_order_relaxed)) {
        return count;
      }
    }
  }

  /// Any thread: a hint.
  [[nodiscard]] std::int64_t size() const noexcept {
    const std::int64_t size = bottom_.load(std::memory_order_relaxed) - top_.load(std::memory_order_relaxed);
    return size < 0 ? 0 : size;
  }

 private:
  /// The item at top, which the caller has seen below bottom. nullptr: somebody else was quicker.
  Runnable* take_at(std::int64_t top) noexcept {
    Runnable* item = slot(top).load(std::memory_order_relaxed);
    // seq_cst, also release [fresh.top]: the slot has been read (D2).
    return top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed) ? item
                                                                                                            : nullptr;
  }
  std::atomic<Runnable*>& slot(std::int64_t i) noexcept { return slots_[static_cast<std::uint64_t>(i) % kCapacity]; }

  alignas(kCacheLine) std::atomic<std::int64_t> top_{0};
  alignas(kCacheLine) std::atomic<std::int64_t> bottom_{0};
  std::atomic<Runnable*> slots_[kCapacity]{};
};

}  // namespace weft::detail

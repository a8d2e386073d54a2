#pragma once

// A processor's run queue: a bounded ring (FIFO), and the `next` slot for the fiber that was readied last.
//
// Owner: the worker that holds the processor pushes and pops. Thieves: any worker, concurrently.
// Ring. Slots [head, tail) are full. Only the owner writes tail and slots; head moves by compare-and-swap, by the owner
// one at a time, by a thief over a whole range.
//   Q1 A slot is overwritten only after head has passed it: push() refuses when tail - head == kCapacity, with head read
//      with acquire, so the thief that moved head has read the slots before.
//   Q2 A thief reads slots before its compare-and-swap; if that fails, it drops what it read. If it succeeds nobody else
//      took any of them, since head only grows (32 bits: a wrap-around between read and swap would take 2^32 pops).
// Next. A single pointer. N1-N4: the thief; P1-P6: the owner.
//   Q3 A replace() that sees no thief at P3 is over before any thief exchanges, or begins after that. By the barrier pair
//      (barrier.hpp) of P1-P3 and N1-N3 either P3 reads N1 or something later: as it says "no thief" it is the end of that steal,
//      whose exchange came before. Or N3 reads P1 or something later: if it says "not busy" that is the end of that replace(),
//      and the exchange comes after. If each sees the other, the owner exchanges as well, and the thief leaves.
// Answers to Go's runqput, runqget, runqgrab.

#include <atomic>
#include <cstdint>

#include "barrier.hpp"
#include "weft/detail/platform.hpp"

namespace weft::detail {

struct Runnable;

class RunQueue {
 public:
  static constexpr std::uint32_t kCapacity = 256;

  /// Owner only. False: full.
  bool push(Runnable* item) noexcept {
    // acquire [runq.head]: pairs with the release in steal(): the thief has read its slots (Q1).
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);  // owner only
    if (tail - head == kCapacity) return false;
    slots_[tail % kCapacity].store(item, std::memory_order_relaxed);
    // release [runq.tail]: publishes the slot; pairs with the acquire in steal().
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  /// Owner only.
  Runnable* pop() noexcept {
    std::uint32_t head = head_.load(std::memory_order_relaxed);  // re-checked by the swap
    for (;;) {
      if (head == tail_.load(std::memory_order_relaxed)) return nullptr;  // owner only
      Runnable* item = slots_[head % kCapacity].load(std::memory_order_relaxed);
      // relaxed success: the owner reads only what it wrote itself. The failure re-reads head.
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_relaxed, std::memory_order_relaxed))
        return item;
    }
  }

  /// Any thread. Takes half (rounded up), at most `capacity`.
  std::uint32_t steal(Runnable** out, std::uint32_t capacity) noexcept {
    // acquire: orders the read of tail after that of head, so that tail - head is never negative for long.
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      // acquire [runq.tail]: pairs with the release in push(): the slots are visible.
      const std::uint32_t tail = tail_.load(std::memory_order_acquire);
      const std::uint32_t size = tail - head;
      if (size == 0) return 0;
      if (size > kCapacity) {  // head and tail are from different moments
        head = head_.load(std::memory_order_acquire);
        continue;
      }
      std::uint32_t count = size - size / 2;
      if (count > capacity) count = capacity;
      for (std::uint32_t i = 0; i < count; ++i) out[i] = slots_[(head + i) % kCapacity].load(std::memory_order_relaxed);
      // release [runq.head]: the slots have been read (Q1). acquire on failure: start again from the new head.
      if (head_.compare_exchange_weak(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire)) {
        return count;
      }
    }
  }

  /// Any thread: a hint. How many have been taken, modulo 2^32.
  [[nodiscard]] std::uint32_t taken() const noexcept { return head_.load(std::memory_order_relaxed); }

  /// Any thread: a hint.
  [[nodiscard]] std::uint32_t size() const noexcept {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    const std::uint32_t size = tail_.load(std::memory_order_relaxed) - head;
    return size > kCapacity ? 0 : size;
  }

 private:
  alignas(kCacheLine) std::atomic<std::uint32_t> head_{0};
  alignas(kCacheLine) std::atomic<std::uint32_t> tail_{0};
  std::atomic<Runnable*> slots_[kCapacity]{};
};

/// The `next` slot. Every hand-over takes from it, so its owner does without a locked instruction; a thief, who comes seldom, pays.
class NextSlot {
 public:
  /// Owner only. Returns who was there.
  Runnable* put(Runnable* item) noexcept {
    if (!empty()) return replace(item);
    fill(item);
    return nullptr;
  }
  /// Owner only, who has seen it empty: nobody else fills it.
  void fill(Runnable* item) noexcept {
    // release [next]: publishes the fiber; pairs with the acquire in steal().
    slot_.store(item, std::memory_order_release);
  }
  /// Owner only.
  Runnable* take() noexcept { return empty() ? nullptr : replace(nullptr); }

  /// Any thread but the owner's. nullptr: empty, or the owner or another thief is just there. A system call.
  Runnable* steal() noexcept {
    // acquire [next.wanted]: pairs with the release of the thief before.
    if (empty() || is_wanted_.exchange(true, std::memory_order_acquire)) return nullptr;  // N1
    heavy_barrier();                                                                      // N2
    // acquire [next.busy], [next]: what the owner did there last is visible.
    Runnable* const item = is_busy_.load(std::memory_order_acquire)  // N3
                               ? nullptr
                               : slot_.exchange(nullptr, std::memory_order_acquire);  // N4
    // release [next.wanted]: the owner sees what was taken.
    is_wanted_.store(false, std::memory_order_release);
    return item;
  }
  /// Any thread: a hint.
  [[nodiscard]] bool empty() const noexcept { return slot_.load(std::memory_order_relaxed) == nullptr; }

 private:
  Runnable* replace(Runnable* item) noexcept {
    is_busy_.store(true, std::memory_order_relaxed);  // P1
    light_barrier();                                  // P2
    Runnable* old = nullptr;
    if (!is_wanted_.load(std::memory_order_acquire)) [[likely]] {  // P3
      old = slot_.load(std::memory_order_relaxed);                 // P4
      slot_.store(item, std::memory_order_release);                // release [next]: as put()
    } else {
      old = slot_.exchange(item, std::memory_order_release);  // P5
    }
    is_busy_.store(false, std::memory_order_release);  // P6: release [next.busy]
    return old;
  }

  std::atomic<Runnable*> slot_{nullptr};
  std::atomic<bool> is_busy_{false};    // written by the owner
  std::atomic<bool> is_wanted_{false};  // a thief is there
};

}  // namespace weft::detail

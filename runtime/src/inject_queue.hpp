#pragma once

// The global queue: work from outside threads, from full local queues, from processors that have no worker any more.
// Sole user of moodycamel::ConcurrentQueue (kept out of this header). FIFO for each producer, not over all of them.

#include <atomic>
#include <cstddef>
#include <memory>

#include "weft/detail/platform.hpp"

extern "C" {
void __tsan_acquire(void* address);
void __tsan_release(void* address);
}

namespace weft::detail {

struct Runnable;

class InjectQueue {
 public:
  explicit InjectQueue(unsigned producers);
  ~InjectQueue();
  /// For one processor more. One caller at a time. Throws std::bad_alloc.
  void add_producer();

  /// `producer`: the processor's index; each index is used by one thread at a time.
  void push(unsigned producer, Runnable* const* items, std::size_t count) {
    note_push(items, count);
    enqueue(producer, items, count);
  }
  /// From a thread that holds no processor.
  void push_foreign(Runnable* item) {
    note_push(&item, 1);
    enqueue_foreign(item);
  }
  std::size_t pop(unsigned consumer, Runnable** out, std::size_t capacity) noexcept {
    const std::size_t n = dequeue(consumer, out, capacity);
    note_pop(out, n);
    return n;
  }

  /// Any thread: a hint; exact when nobody pushes or pops.
  [[nodiscard]] std::size_t size() const noexcept {
    const auto n = size_.load(std::memory_order_relaxed);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }

 private:
  void enqueue(unsigned producer, Runnable* const* items, std::size_t count);
  void enqueue_foreign(Runnable* item);
  std::size_t dequeue(unsigned consumer, Runnable** out, std::size_t capacity) noexcept;

  // What happened before a push is visible after the pop of that item: the queue guarantees it, with fences that the
  // thread sanitizer does not see.
  static void note_push(Runnable* const* items, std::size_t count) noexcept {
    if constexpr (kTsan) {
      for (std::size_t i = 0; i < count; ++i) __tsan_release(items[i]);
    }
  }
  static void note_pop(Runnable** items, std::size_t count) noexcept {
    if constexpr (kTsan) {
      for (std::size_t i = 0; i < count; ++i) __tsan_acquire(items[i]);
    }
  }

  struct Impl;
  std::unique_ptr<Impl> impl_;
  alignas(kCacheLine) std::atomic<std::ptrdiff_t> size_{0};
};

}  // namespace weft::detail

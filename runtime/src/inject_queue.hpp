#pragma once

// The global queue: work from outside threads, from full local queues, from processors that have no worker any more.
// Sole user of moodycamel::ConcurrentQueue (kept out of this header). FIFO for each producer, not over all of them.

#include <atomic>
#include <cstddef>
#include <memory>

#include "weft/detail/platform.hpp"

namespace weft::detail {

struct Runnable;

class InjectQueue {
 public:
  explicit InjectQueue(unsigned producers);
  ~InjectQueue();

  /// `producer`: the processor's index; each index is used by one thread at a time.
  void push(unsigned producer, Runnable* const* items, std::size_t count);
  /// From a thread that holds no processor.
  void push_foreign(Runnable* item);
  std::size_t pop(unsigned consumer, Runnable** out, std::size_t capacity) noexcept;

  /// Any thread: a hint; exact when nobody pushes or pops.
  [[nodiscard]] std::size_t size() const noexcept {
    const auto n = size_.load(std::memory_order_relaxed);
    return n < 0 ? 0 : static_cast<std::size_t>(n);
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  alignas(kCacheLine) std::atomic<std::ptrdiff_t> size_{0};
};

}  // namespace weft::detail

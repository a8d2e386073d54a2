#include "inject_queue.hpp"

#include <concurrentqueue/concurrentqueue.h>

#include <vector>

#include "weft/detail/spinlock.hpp"

// Each push publishes with this order and each pop acquires it; the queue's own fences are invisible to the thread
// sanitizer, the counter's are not.

namespace weft::detail {

using Queue = moodycamel::ConcurrentQueue<Runnable*>;

struct InjectQueue::Impl {
  Queue queue{1024};
  // One token for each processor, used only by the worker that holds it; implicit producers would use thread_local.
  std::vector<moodycamel::ProducerToken> producers;
  std::vector<moodycamel::ConsumerToken> consumers;
  moodycamel::ProducerToken foreign{queue};  // guarded by foreign_lock
  Spinlock foreign_lock;
};

InjectQueue::InjectQueue(unsigned producers) : impl_(std::make_unique<Impl>()) {
  for (unsigned i = 0; i < producers; ++i) {
    impl_->producers.emplace_back(impl_->queue);
    impl_->consumers.emplace_back(impl_->queue);
  }
}

InjectQueue::~InjectQueue() = default;

void InjectQueue::push(unsigned producer, Runnable* const* items, std::size_t count) {
  impl_->queue.enqueue_bulk(impl_->producers[producer], items, count);
  // release [inject]: after the items are in, so that a size > 0 is never about an empty queue for long.
  size_.fetch_add(static_cast<std::ptrdiff_t>(count), std::memory_order_release);
}

void InjectQueue::push_foreign(Runnable* item) {
  {
    SpinGuard guard(impl_->foreign_lock);
    impl_->queue.enqueue(impl_->foreign, item);
  }
  size_.fetch_add(1, std::memory_order_release);
}

std::size_t InjectQueue::pop(unsigned consumer, Runnable** out, std::size_t capacity) noexcept {
  // acquire [inject]: pairs with the release in push.
  if (size_.load(std::memory_order_acquire) <= 0) return 0;
  const std::size_t n = impl_->queue.try_dequeue_bulk(impl_->consumers[consumer], out, capacity);
  if (n != 0) size_.fetch_sub(static_cast<std::ptrdiff_t>(n), std::memory_order_acq_rel);
  return n;
}

}  // namespace weft::detail

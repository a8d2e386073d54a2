#include "inject_queue.hpp"

#include <concurrentqueue/concurrentqueue.h>

#include <array>
#include <memory>
#include <mutex>

#include "processor_count.hpp"

// This file is compiled without the thread sanitizer, also in its builds: the queue's fences are invisible to it. The header
// tells it what the queue guarantees. So nothing here may be shared with other files but through the queue.

namespace weft::detail {

/// Each take goes on to the next producer: a goroutine that comes back again and again (by way of the foreign token) must not
/// pass those that wait in another producer's part.
struct Traits : moodycamel::ConcurrentQueueDefaultTraits {
  // NOLINTNEXTLINE(readability-identifier-naming): moodycamel's name
  static const std::uint32_t EXPLICIT_CONSUMER_CONSUMPTION_QUOTA_BEFORE_ROTATE = 1;
};
using Queue = moodycamel::ConcurrentQueue<Runnable*, Traits>;

struct InjectQueue::Impl {
  Queue queue{1024};
  // One token for each processor, used only by the worker that holds it; implicit producers would use thread_local.
  struct Tokens {
    explicit Tokens(Queue& q) : producer(q), consumer(q) {}
    moodycamel::ProducerToken producer;
    moodycamel::ConsumerToken consumer;
  };
  // In slots that do not move when there is one more.
  std::array<std::unique_ptr<Tokens>, kMostProcessors> tokens;
  unsigned count = 0;
  moodycamel::ProducerToken foreign{queue};  // guarded by foreign_lock
  std::mutex foreign_lock;
};

InjectQueue::InjectQueue(unsigned producers) : impl_(std::make_unique<Impl>()) {
  for (unsigned i = 0; i < producers; ++i) add_producer();
}

void InjectQueue::add_producer() {
  impl_->tokens.at(impl_->count) = std::make_unique<Impl::Tokens>(impl_->queue);
  ++impl_->count;
}

InjectQueue::~InjectQueue() = default;

void InjectQueue::enqueue(unsigned producer, Runnable* const* items, std::size_t count) {
  impl_->queue.enqueue_bulk(impl_->tokens[producer]->producer, items, count);
  // release [inject]: after the items are in, so that a size > 0 is never about an empty queue for long.
  size_.fetch_add(static_cast<std::ptrdiff_t>(count), std::memory_order_release);
}

void InjectQueue::enqueue_foreign(Runnable* item) {
  {
    const std::lock_guard guard(impl_->foreign_lock);
    impl_->queue.enqueue(impl_->foreign, item);
  }
  size_.fetch_add(1, std::memory_order_release);
}

std::size_t InjectQueue::dequeue(unsigned consumer, Runnable** out, std::size_t capacity) noexcept {
  // acquire [inject]: pairs with the release in push.
  if (size_.load(std::memory_order_acquire) <= 0) return 0;
  const std::size_t n = impl_->queue.try_dequeue_bulk(impl_->tokens[consumer]->consumer, out, capacity);
  if (n != 0) size_.fetch_sub(static_cast<std::ptrdiff_t>(n), std::memory_order_acq_rel);
  return n;
}

}  // namespace weft::detail

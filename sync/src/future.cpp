// The compiled half of Future: one result, any number of waiters, and a channel for select if somebody asks for one.
//
// D1 is_complete_ is set under lock_; the channel, if there is one, is closed right after, without the lock. is_ready() waits
//    out these few instructions, so that whoever is told "ready" finds the channel closed too (as a Context's err() does).
// D2 done() never publishes an open channel after is_complete_ was set.

#include "weft/future.hpp"

#include "weft/detail/queue_wait.hpp"
#include "weft/error.hpp"

namespace weft::detail {
namespace {

class FutureWait final : public QueueWait {
 public:
  using QueueWait::QueueWait;
};

}  // namespace

FutureCore::~FutureCore() {
  if (ChanCore* done = done_.load(std::memory_order_relaxed)) done->release();  // the last reference: see release()
}

bool FutureCore::is_ready() const noexcept {
  // acquire [future.complete]: the outcome is visible.
  if (!is_complete_.load(std::memory_order_acquire)) return false;
  // acquire [future.done]: a channel that was there at completion is seen, for it was written under lock_ before that.
  if (const ChanCore* done = done_.load(std::memory_order_acquire)) {
    Backoff backoff;
    while (!done->is_closed()) backoff.pause();  // D1
  }
  return true;
}

bool FutureCore::wait(const Limit& limit) noexcept {
  chaos_point();
  if (is_ready()) return true;
  if (limit.has_passed()) return is_ready();
  lock_.lock();
  if (is_complete_.load(std::memory_order_relaxed)) {  // guarded by lock_
    lock_.unlock();
    return is_ready();
  }
  const bool is_durable = bubble_ != 0 && bubble_ == current_bubble();
  FutureWait wait(lock_, waiters_, WaitReason::kFutureWait, is_durable);
  return wait.run(limit) == WaitEnd::kWoken;
}

ChanCore* FutureCore::done() {
  if (ChanCore* made = done_.load(std::memory_order_acquire)) return made;
  ChanCore* fresh = ChanCore::make(kElementType<Unit>, 0, bubble_);
  for (;;) {
    lock_.lock();
    ChanCore* current = done_.load(std::memory_order_relaxed);  // guarded by lock_
    if (current == nullptr && is_complete_.load(std::memory_order_relaxed) && !fresh->is_closed()) {
      lock_.unlock();
      fresh->shut();  // D2
      continue;
    }
    if (current == nullptr) done_.store(fresh, std::memory_order_release);
    lock_.unlock();
    if (current == nullptr) return fresh;
    fresh->release();
    return current;
  }
}

void FutureCore::complete() noexcept {
  lock_.lock();
  is_complete_.store(true, std::memory_order_release);
  ChanCore* const done = done_.load(std::memory_order_relaxed);  // guarded by lock_
  WakeList woken;
  woken.add_all(waiters_);
  lock_.unlock();
  if (done != nullptr) done->shut();
  woken.ready_all();
}

std::exception_ptr exited_error() {
  return std::make_exception_ptr(Panic("weft: Future::get: the function ended by exit_goroutine, without a result"));
}

}  // namespace weft::detail

// One word says how far it is, and guards the queue of those who wait for the end.
//
// N1 kNew -> kRunning by whoever runs the function; kRunning <-> kLocked by whoever is at the queue, for a few instructions
//    and over a park until the commit; kRunning -> kLocked -> kDone by whoever has run it. kDone stays.
// N2 The store of kDone is the last access of whoever has run it: anybody who sees it may return and destroy the object
//    (HZ-5). The queue has been emptied before, and its waiters are readied after, through their own frames.
// N3 No lock is held while the function runs: it may park, throw, or never end.

#include "weft/once.hpp"

#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/runtime.hpp"

namespace weft {

struct Once::Wait : detail::WaitPoint {
  explicit Wait(Once& owner) noexcept : WaitPoint{&kOps, detail::WaitReason::kOnceDo}, once(owner) {}

  void unlock() noexcept { once.state_.store(kRunning, std::memory_order_release); }  // release [once.queue]

  Once& once;
  detail::Waiter waiter;

 private:
  static const detail::WaitOps kOps;
};

const detail::WaitOps Once::Wait::kOps{
    [](detail::WaitPoint& point) noexcept { static_cast<Wait&>(point).unlock(); },
    [](detail::WaitPoint& point) noexcept {
      auto& wait = static_cast<Wait&>(point);
      if (!wait.once.lock_queue()) return false;  // done: about to be readied
      const bool removed = wait.once.waiters_.remove(wait.waiter);
      wait.unlock();
      return removed;
    },
    nullptr,
};

/// True with the queue locked; false once it is done.
bool Once::lock_queue() noexcept {
  detail::Backoff backoff;
  for (;;) {
    std::uint32_t state = kRunning;
    // acquire [once], [once.queue]: pairs with the releases in finish() and Wait::unlock().
    if (state_.compare_exchange_weak(state, kLocked, std::memory_order_acquire, std::memory_order_acquire)) return true;
    if (state == kDone) return false;
    backoff.pause();
  }
}

/// True if the caller is to run the function; else it has been run.
bool Once::begin() noexcept {
  detail::chaos_point();
  std::uint32_t state = kNew;
  // relaxed on success: nothing happened before; acquire [once] on failure: it may be done.
  if (state_.compare_exchange_strong(state, kRunning, std::memory_order_relaxed, std::memory_order_acquire))
    return true;
  if (state == kDone || !lock_queue()) return false;
  detail::Sleeper self;
  Wait wait(*this);
  wait.waiter.sleeper = self.handle();
  waiters_.push_back(wait.waiter);
  detail::park(self, wait);
  return false;
}

void Once::finish() noexcept {
  static_cast<void>(lock_queue());
  detail::Waiter* woken = nullptr;
  detail::Waiter** last = &woken;
  while (detail::Waiter* waiter = waiters_.pop_front()) {
    *last = waiter;
    last = &waiter->next;
  }
  *last = nullptr;
  state_.store(kDone, std::memory_order_release);  // release [once]: N2
  while (woken != nullptr) {
    detail::Waiter* next = woken->next;  // the frame is gone after ready()
    detail::ready(woken->sleeper);
    woken = next;
  }
}

std::exception_ptr detail::keep_exception() noexcept {
  try {
    throw;
  } catch (const detail::GoroutineExit&) {
    return std::make_exception_ptr(Panic("weft: once_func: the function has ended its goroutine"));
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace weft

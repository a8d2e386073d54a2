#pragma once

// A place in a wait queue. It lives on the stack of whoever waits, and the queue's lock guards all of it.

#include <cstdint>
#include <utility>

#include "weft/detail/park.hpp"

namespace weft::detail {

struct Waiter {
  Waiter* next;                // guarded by the queue's lock, while it is queued
  Waiter* prev;                // likewise; the first one's: the last one
  SleeperHandle sleeper;       // set before it is queued
  Claim* claim = nullptr;      // null: leaving the queue under its lock is the claim
  void* slot = nullptr;        // where the value is or goes
  std::uint64_t arrival = 0;   // guarded by the queue's lock: in ticks, if it may have to be merged with other queues
  std::uint32_t claim_id = 1;  // what to win the claim with
  bool is_queued = false;      // guarded by the queue's lock
  bool is_ok = false;          // written by the waker before ready(): a value moved, not a close

  /// Decides who ends the wait. Called with the queue's lock held.
  bool try_claim() noexcept { return claim == nullptr || claim->try_win(claim_id); }
};

/// FIFO of waiters with removal from the middle in O(1). Guarded by its owner's lock. One word, since queues stand where lines are
/// dear: the first one's `prev` is the last one.
class WaitQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] Waiter* front() const noexcept { return head_; }

  void push_back(Waiter& waiter) noexcept {
    waiter.next = nullptr;
    waiter.is_queued = true;
    if (head_ == nullptr) {
      waiter.prev = head_ = &waiter;
      return;
    }
    waiter.prev = std::exchange(head_->prev, &waiter);
    waiter.prev->next = &waiter;
  }

  void push_front(Waiter& waiter) noexcept {
    waiter.next = head_;
    waiter.is_queued = true;
    waiter.prev = head_ == nullptr ? &waiter : std::exchange(head_->prev, &waiter);
    head_ = &waiter;
  }

  /// False if it was not queued any more.
  bool remove(Waiter& waiter) noexcept {
    if (!waiter.is_queued) return false;
    if (&waiter == head_) {
      pop_front();
      return true;
    }
    waiter.prev->next = waiter.next;
    (waiter.next != nullptr ? waiter.next : head_)->prev = waiter.prev;
    waiter.is_queued = false;
    return true;
  }

  Waiter* pop_front() noexcept {
    Waiter* waiter = head_;
    if (waiter == nullptr) return nullptr;
    head_ = waiter->next;
    if (head_ != nullptr) head_->prev = waiter->prev;
    waiter->is_queued = false;
    return waiter;
  }

  /// Leaves it empty. What was queued hangs together as before, and counts as queued still.
  Waiter* take_all() noexcept { return std::exchange(head_, nullptr); }

  /// The first waiter whose wait this call may end; those that were claimed elsewhere drop out of the queue.
  Waiter* claim_front() noexcept {
    while (Waiter* waiter = pop_front()) {
      if (waiter->try_claim()) return waiter;
    }
    return nullptr;
  }

 private:
  Waiter* head_ = nullptr;
};

/// Waiters whose waits have been ended under a lock, to be readied once it is free: through their own frames, so that the
/// object is not touched any more (HZ-5). In the order in which they were added.
class WakeList {
 public:
  void add(Waiter& claimed) noexcept {
    claimed.next = nullptr;
    (last_ != nullptr ? last_->next : first_) = &claimed;
    last_ = &claimed;
  }
  /// All of a queue whose waits this call may end.
  void add_all(WaitQueue& queue) noexcept {
    while (Waiter* waiter = queue.claim_front()) add(*waiter);
  }
  /// All of a queue in which nobody has a claim, in O(1). They still look queued: whoever asks knows better by something else.
  void add_unclaimed(WaitQueue& queue) noexcept {
    Waiter* first = queue.take_all();
    if (first == nullptr) return;
    Waiter* last = first->prev;
    (last_ != nullptr ? last_->next : first_) = first;
    last_ = last;
  }
  /// Without the lock. A million of them have left the caches: the next one's lines come while this one is readied.
  void ready_all() const noexcept {
    Waiter* next = first_ != nullptr ? first_->next : nullptr;
    for (Waiter* waiter = first_; waiter != nullptr;) {
      Waiter* after = nullptr;
      if (next != nullptr) {
        after = next->next;
        prefetch(after);
        prefetch(next->sleeper);
      }
      ready(waiter->sleeper);  // the frame is gone
      waiter = std::exchange(next, after);
    }
  }

 private:
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

}  // namespace weft::detail

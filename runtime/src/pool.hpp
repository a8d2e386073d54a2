#pragma once

// Objects that are used again: a small cache for each processor and a depot that all share, which exchange whole chains.
//
// T has two fields, `next` and `next_chain`, that belong to the pool while the object is in it.

#include <cstddef>

#include "weft/detail/spinlock.hpp"

namespace weft::detail {

/// LIFO list of free objects; owned by whoever holds it.
template <class T>
struct Chain {
  T* head = nullptr;
  unsigned count = 0;

  void push(T* object) noexcept {
    object->next = head;
    head = object;
    ++count;
  }
  T* pop() noexcept {
    T* object = head;
    if (object != nullptr) {
      head = static_cast<T*>(object->next);
      --count;
    }
    return object;
  }
};

/// Chains that no processor holds. Safe from: any thread.
template <class T>
class Depot {
 public:
  bool take(Chain<T>& out) noexcept {
    SpinGuard guard(lock_);
    if (first_ == nullptr) return false;
    out.head = first_;
    out.count = static_cast<unsigned>(first_->chain_count);
    first_ = static_cast<T*>(first_->next_chain);
    return true;
  }
  void give(Chain<T> chain) noexcept {
    if (chain.head == nullptr) return;
    chain.head->chain_count = chain.count;
    SpinGuard guard(lock_);
    chain.head->next_chain = first_;
    first_ = chain.head;
  }

 private:
  Spinlock lock_;
  T* first_ = nullptr;  // guarded by lock_
};

/// A processor's share: two chains, so that a get-put-get-put at a boundary does not visit the depot each time.
template <class T, unsigned kChain>
class LocalCache {
 public:
  /// nullptr: not here.
  T* get_at_hand() noexcept {
    if (T* object = active_.pop()) [[likely]]
      return object;
    active_ = spare_;
    spare_ = {};
    return active_.pop();
  }
  /// nullptr: neither here nor in the depot, which may be any source with take().
  template <class Source>
  T* get(Source& depot) noexcept {
    T* object = get_at_hand();
    if (object == nullptr && depot.take(active_)) [[unlikely]]
      object = active_.pop();
    return object;
  }

  [[nodiscard]] bool is_empty() const noexcept { return active_.count == 0 && spare_.count == 0; }

  /// Returns the chain that has to leave for the depot, usually an empty one.
  [[nodiscard]] Chain<T> put(T* object) noexcept {
    active_.push(object);
    if (active_.count <= kChain) [[likely]]  // a chain that was taken fits: no swap at each turn
      return {};
    Chain<T> leaving = spare_;
    spare_ = active_;
    active_ = {};
    return leaving;
  }

  /// Gives everything back.
  void flush(Depot<T>& depot) noexcept {
    depot.give(active_);
    depot.give(spare_);
    active_ = {};
    spare_ = {};
  }

  void adopt(Chain<T> chain) noexcept {
    while (T* object = chain.pop()) active_.push(object);
  }

 private:
  Chain<T> active_;
  Chain<T> spare_;
};

}  // namespace weft::detail

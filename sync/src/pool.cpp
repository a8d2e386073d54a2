// Pool, compiled half: where nodes lie while nobody uses them.
//
// L1 A node lies in at most one place; whoever takes it off under the shelf's lock has it alone. No lock is held while an
//    object is made or destroyed.
// L2 A shelf is chosen by the processor that the caller is on; if the goroutine moves meanwhile it uses another one's shelf,
//    which costs a cache miss and nothing else.
// L3 A put fills `first`, what comes after that goes to `rest`, newest first; a take empties them in that order, then tries the
//    other shelves, then what is old there and here (Go's order). The pointers are read without the lock to see whether it is
//    worth taking: a node that is put meanwhile may be missed, then a new object is made.
// Answers to Go's sync/pool.go.

#include "weft/pool.hpp"

#include <algorithm>
#include <thread>

namespace weft::detail {

struct alignas(64) PoolShelves::Shelf {
  Spinlock lock;
  // Written under lock; relaxed reads without it are hints.
  std::atomic<PoolNode*> first{nullptr};
  std::atomic<PoolNode*> rest{nullptr};
  std::atomic<PoolNode*> old{nullptr};

  PoolNode* take_fresh() noexcept {
    if (load(first) == nullptr && load(rest) == nullptr) return nullptr;
    const SpinGuard guard(lock);
    if (PoolNode* node = load(first)) {
      first.store(nullptr, std::memory_order_relaxed);
      return node;
    }
    return pop(rest);
  }
  PoolNode* take_old() noexcept {
    if (load(old) == nullptr) return nullptr;
    const SpinGuard guard(lock);
    return pop(old);
  }
  /// With the lock held: all that is fresh, as one chain.
  PoolNode* take_all_fresh() noexcept {
    PoolNode* chain = rest.exchange(nullptr, std::memory_order_relaxed);
    if (PoolNode* node = first.exchange(nullptr, std::memory_order_relaxed)) {
      node->next = chain;
      chain = node;
    }
    return chain;
  }

  static PoolNode* load(const std::atomic<PoolNode*>& at) noexcept { return at.load(std::memory_order_relaxed); }
  static PoolNode* pop(std::atomic<PoolNode*>& chain) noexcept {
    PoolNode* node = load(chain);
    if (node != nullptr) chain.store(node->next, std::memory_order_relaxed);
    return node;
  }
};

namespace {

/// The two joined.
PoolNode* join(PoolNode* chain, PoolNode* more) noexcept {
  if (chain == nullptr) return more;
  PoolNode* last = chain;
  while (last->next != nullptr) last = last->next;
  last->next = more;
  return chain;
}

}  // namespace

// One more than there are CPUs, for plain threads; processors beyond that share.
PoolShelves::PoolShelves()
    : count_(std::clamp<std::size_t>(std::thread::hardware_concurrency(), 4, 64) + 1), shelves_(new Shelf[count_]) {}

PoolShelves::~PoolShelves() { delete[] shelves_; }

std::size_t PoolShelves::own_shelf() const noexcept {
  const std::uint32_t processor = current_processor_index();
  return processor == kNoProcessor ? count_ - 1 : processor % (count_ - 1);
}

PoolNode* PoolShelves::take() noexcept {
  chaos_point();
  const std::size_t own = own_shelf();
  for (std::size_t i = 0; i < count_; ++i) {
    if (PoolNode* node = shelves_[(own + i) % count_].take_fresh()) return node;
  }
  for (std::size_t i = 0; i < count_; ++i) {
    if (PoolNode* node = shelves_[(own + i) % count_].take_old()) return node;
  }
  return nullptr;
}

void PoolShelves::put(PoolNode* node) noexcept {
  Shelf& shelf = shelves_[own_shelf()];
  const SpinGuard guard(shelf.lock);
  if (Shelf::load(shelf.first) == nullptr) {
    shelf.first.store(node, std::memory_order_relaxed);
  } else {
    node->next = Shelf::load(shelf.rest);
    shelf.rest.store(node, std::memory_order_relaxed);
  }
}

PoolNode* PoolShelves::age() noexcept {
  PoolNode* dropped = nullptr;
  for (std::size_t i = 0; i < count_; ++i) {
    Shelf& shelf = shelves_[i];
    PoolNode* old = nullptr;
    {
      const SpinGuard guard(shelf.lock);
      old = Shelf::load(shelf.old);
      shelf.old.store(shelf.take_all_fresh(), std::memory_order_relaxed);
    }
    dropped = join(old, dropped);
  }
  return dropped;
}

PoolNode* PoolShelves::clear() noexcept {
  PoolNode* aged = age();
  return join(aged, age());
}

bool PoolShelves::is_to_drop() noexcept {
  // relaxed: as in chaos_point.
  return chaos_enabled.load(std::memory_order_relaxed) && random_below(4) == 0;
}

}  // namespace weft::detail

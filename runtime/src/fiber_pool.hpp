#pragma once

// Stacks that are used again: LIFO for each processor, so that a short-lived goroutine runs on warm memory.

#include <vector>

#include "fiber.hpp"
#include "pool.hpp"
#include "stack.hpp"

namespace weft::detail {

using FiberCache = LocalCache<Fiber, 32>;

/// Places a control block at the hot end of a stack. `index` shifts it, so that stacks do not all fall on the same
/// cache sets.
Fiber* place_fiber(StackRange stack, std::size_t index) noexcept;

class FiberPool {
 public:
  /// What the caches of `processors` processors may hold at most, and what carving takes in advance.
  FiberPool(std::size_t stack_size, unsigned processors) noexcept;
  ~FiberPool();

  Fiber* get(FiberCache& cache) noexcept {
    if (Fiber* fiber = cache.get(depot_)) [[likely]]
      return fiber;
    return carve(cache);
  }
  void put(Fiber* fiber, FiberCache& cache) noexcept {
    const Chain<Fiber> leaving = cache.put(fiber);
    if (leaving.count != 0) retire(leaving);
  }

  void flush(FiberCache& cache) noexcept { cache.flush(depot_); }

  /// Stacks of unusual sizes. They stay mapped while the runtime lives, so that whoever looks at a fiber that has just
  /// ended finds its memory. Throws std::system_error.
  StackRange get_single(std::size_t size);
  void put_single(StackRange stack) noexcept;
  void put_single(Fiber* fiber) noexcept;

  /// Memory of all stacks, resting ones included. Throws std::bad_alloc.
  [[nodiscard]] std::size_t resident_bytes();

  StackSlabs& slabs() noexcept { return slabs_; }

 private:
  static constexpr unsigned kCarve = 16;
  static constexpr std::size_t kKeptBytes = std::size_t{16} * 1024;  // of a stack that leaves a cache

  Fiber* carve(FiberCache& cache) noexcept;
  void retire(Chain<Fiber> chain) noexcept;

  StackSlabs slabs_;
  Depot<Fiber> depot_;
  Spinlock singles_lock_;
  std::vector<StackRange> singles_;       // guarded by singles_lock_: all; abandoned goroutines never give theirs back
  std::vector<StackRange> free_singles_;  // guarded by singles_lock_
};

}  // namespace weft::detail

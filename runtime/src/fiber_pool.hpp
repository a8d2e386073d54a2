#pragma once

// Stacks that are used again: LIFO for each processor, so that a short-lived goroutine runs on warm memory.
//
// What a deep run has left below the hot end of a stack goes back to the OS when a worker has nothing else to do, or some
// hundreds of such stacks lie about. Not at once, since most are used again soon; and by one thread at a time, since the
// kernel clears the address caches of all processors when two threads of a process unmap at the same time, even if there
// was nothing to unmap.
//
// Mostly there is nothing, and to ask the kernel for it costs more than all else that a goroutine's end does. Each page of a stack
// came by a page fault; those of the process are counted, and one for each stack is its hottest page's. Each one beyond pays for the
// release of one stack. So what is left to those that were not released is less than one cold page for each of them.

#include <atomic>
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
  /// Stacks that are mapped beyond those in use: what the caches of `processors` processors may hold (66 each, of which a chain that
  /// leaves is one half until it has arrived), what carving takes in advance, and a chain in the hands of a worker that has
  /// nothing else to do than to release its pages.
  FiberPool(std::size_t stack_size, unsigned processors) noexcept;
  ~FiberPool();

  Fiber* get(FiberCache& cache) noexcept {
    if (Fiber* fiber = cache.get(*this)) [[likely]]
      return fiber;
    return carve(cache);
  }
  void put(Fiber* fiber, FiberCache& cache) noexcept {
    const Chain<Fiber> leaving = cache.put(fiber);
    if (leaving.count != 0) retire(leaving);
  }

  void flush(FiberCache& cache) noexcept { cache.flush(depot_); }
  /// For a cache that is empty: a chain of stacks that nobody holds.
  bool take(Chain<Fiber>& out) noexcept;
  /// Gives the cold pages of some stacks that nobody holds back to the OS. False: there was too little to do, or another thread is at it.
  /// Costs: a system call for 32 stacks (where the kernel does not do that to the calling process: one for each), 5 us, and
  /// up to 250 us if they ran deep.
  bool release_cold(bool though_another_does = false) noexcept;

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
  static constexpr std::size_t kKeptBytes = std::size_t{16} * 1024;  // of a stack whose cold pages are released
  static constexpr unsigned kMostUnreleased = 8;  // chains that may have cold pages while there is work to do
  static constexpr unsigned kFarTooMany = 16 * kMostUnreleased;  // then by several threads at the same time
  static constexpr unsigned kMostAtOnce = 2;                     // chains for one that was given: they become fewer

  Fiber* carve(FiberCache& cache) noexcept;
  void retire(Chain<Fiber> chain) noexcept;
  [[nodiscard]] bool may_have_cold_pages() const noexcept;
  bool take_unreleased(Chain<Fiber>& out) noexcept;

  StackSlabs slabs_;
  Depot<Fiber> unreleased_;  // chains that may have cold pages; used again first
  std::atomic<unsigned> unreleased_count_{0};
  std::atomic<bool> is_releasing_{false};
  std::atomic<std::uint64_t> known_faults_;  // of the process: hottest pages', and those that have paid for a release
  std::atomic<bool> has_looked_{false};      // there was too little to do, and no stack has come since
  Depot<Fiber> depot_;
  Spinlock singles_lock_;
  std::vector<StackRange> singles_;       // guarded by singles_lock_: all; abandoned goroutines never give theirs back
  std::vector<StackRange> free_singles_;  // guarded by singles_lock_
};

}  // namespace weft::detail

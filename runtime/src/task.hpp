#pragma once

// A goroutine's record, from go() to its end: what to run, its number, its name, where it was spawned. It waits in a
// queue as it is; a stack (a Fiber) is attached only when a worker first runs it.
//
// Ownership: go() fills it; then the queue it is in, then the fiber that runs it, then the pool. The pool's slabs are also
// the list of all goroutines: whoever reports walks them and looks at `id`.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pool.hpp"
#include "stack.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/spinlock.hpp"

namespace weft::detail {

struct Fiber;
class Bubble;
class Scheduler;

/// What a run queue holds: a Task that has not started, or a Fiber that is ready.
struct Runnable {
  Runnable* next = nullptr;        // belongs to the pool
  Runnable* next_chain = nullptr;  // belongs to the pool
  std::uint32_t chain_count = 0;   // belongs to the pool
  const bool is_task;
  // Since when it is runnable, if that is traced or measured; 0: not known. Owner only: who makes it ready, then who runs it.
  std::int64_t ready_ns = 0;

  explicit Runnable(bool task) noexcept : is_task(task) {}
};

/// What few goroutines have.
struct TaskExtras {
  std::string name;
  StackRange stack;  // of its own; empty: from the slabs
};

struct Task : Runnable {
  static constexpr std::size_t kInlineBytes = 64;

  Task() noexcept : Runnable(true) {}

  std::atomic<std::uint64_t> id{0};  // 0: not in use. release [task.id]: publishes the fields below
  void (*run)(void*) = nullptr;      // calls and destroys the closure
  void* closure = nullptr;           // in `storage`, or on the heap
  std::uint32_t closure_align = 0;   // of a closure on the heap
  std::uint32_t closure_bytes = 0;   // likewise, for reports: saturates
  // An address inside the function that called go(). relaxed: a visitor may come late.
  std::atomic<const void*> spawn_site{nullptr};
  std::atomic<Fiber*> fiber{nullptr};  // once it has started
  std::unique_ptr<TaskExtras> extras;
  Scheduler* scheduler = nullptr;
  std::atomic<Bubble*> bubble{nullptr};   // relaxed: likewise.              // its spawner's
  std::uint8_t is_main = 0;               // ended by exit_goroutine: the deadlock report has words of its own
  bool is_exiting = false;                // has called exit_goroutine
  std::atomic<bool> is_abandoned{false};  // of a bubble that ended in a deadlock: parked for ever, not counted
  alignas(16) std::byte storage[kInlineBytes];

  /// It is to run before long, and has not been touched for some time.
  void prefetch() const noexcept {
    for (std::size_t at = 0; at < sizeof(Task); at += kCacheLine)
      detail::prefetch(reinterpret_cast<const std::byte*>(this) + at);
  }
  /// Once that is there: what its closure knows first, most often an object. (If it is no address, no harm is done.)
  void prefetch_captured() const noexcept {
    const void* captured = nullptr;
    if (closure == storage) std::memcpy(&captured, storage, sizeof captured);
    detail::prefetch(captured);
  }

  [[nodiscard]] bool has_own_stack() const noexcept { return extras != nullptr && extras->stack.low != nullptr; }
};

/// Makes a goroutine that was prepared runnable, by way of the global queue: from a thread that has no processor.
void start_from_outside(Task* task) noexcept;

using TaskCache = LocalCache<Task, 64>;

/// All tasks of a runtime.
class TaskPool {
 public:
  static constexpr std::size_t kSlabTasks = 64;

  TaskPool() = default;
  ~TaskPool();
  TaskPool(const TaskPool&) = delete;
  TaskPool& operator=(const TaskPool&) = delete;

  /// Throws std::bad_alloc.
  Task* get(TaskCache& cache) {
    if (Task* task = cache.get(depot_)) [[likely]]
      return task;
    return grow(cache);
  }
  void put(Task* task, TaskCache& cache) noexcept {
    const Chain<Task> leaving = cache.put(task);
    if (leaving.count != 0) depot_.give(leaving);
  }

  /// Calls visit(Task&) for each task in use. The tasks may change meanwhile, unless the runtime is stopped; what a visitor
  /// may follow (fiber, extras) stays until await_visitors().
  template <class Visit>
  void for_each(Visit visit) {
    SpinGuard guard(lock_);
    for (Task* slab : slabs_) {
      for (std::size_t i = 0; i < kSlabTasks; ++i) {
        // acquire [task.id]: pairs with the release in commit_spawn().
        if (slab[i].id.load(std::memory_order_acquire) != 0) visit(slab[i]);
      }
    }
  }

  /// The same for the records of one slab, in use or not, so that nobody waits long: visit(std::span<Task>). False: there
  /// are not so many slabs.
  template <class Visit>
  bool visit_slab(std::size_t index, Visit visit) {
    SpinGuard guard(lock_);
    if (index >= slabs_.size()) return false;
    visit(std::span<Task>(slabs_[index], kSlabTasks));
    return true;
  }
  /// The same for all slabs at once: visit(std::span<Task* const>), the first records of their slabs.
  template <class Visit>
  void visit_slabs(Visit visit) {
    SpinGuard guard(lock_);
    visit(std::span<Task* const>(slabs_));
  }
  /// The same for who must not wait. False: somebody has the lock.
  template <class Visit>
  bool try_visit_slabs(Visit visit) {
    if (!lock_.try_lock()) return false;
    visit(std::span<Task* const>(slabs_));
    lock_.unlock();
    return true;
  }
  /// The same for a record that is known already: visit().
  template <class Visit>
  void visit_one(Visit visit) {
    SpinGuard guard(lock_);
    visit();
  }

  /// Returns once nobody can hold on to what was in a record before the call.
  void await_visitors() noexcept { SpinGuard guard(lock_); }

 private:
  /// Memory for many slabs: an allocation for each would have the allocator ask the system for it slab by slab, and each time
  /// wait for whoever is in a page fault.
  struct Block {
    std::unique_ptr<std::byte[]> memory;
    std::size_t slabs = 0;
    std::size_t used = 0;
  };
  static constexpr std::size_t kSlabBytes = kSlabTasks * sizeof(Task);
  static constexpr std::size_t kMostSlabs = 128;  // of a block: more than a megabyte

  Task* grow(TaskCache& cache);
  [[nodiscard]] bool has_room() const noexcept {
    return !blocks_.empty() && blocks_.back().used < blocks_.back().slabs;
  }
  Task* add_slab();

  Depot<Task> depot_;
  Spinlock lock_;
  std::vector<Task*> slabs_;   // guarded by lock_
  std::vector<Block> blocks_;  // guarded by lock_; the next slab comes from the last one
};

}  // namespace weft::detail

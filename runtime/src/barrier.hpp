#pragma once

// An asymmetric pair of store-load barriers: the frequent side pays a compiler barrier, the rare side a system call.
//
// Argument: light() keeps the compiler from moving the load above the store. heavy() makes every running thread of the
// process execute a full barrier (membarrier, PRIVATE_EXPEDITED). If thread A does {store x; light; load y} and thread B
// {store y; heavy; load x}, then A's barrier falls either after A's store, and B's load sees x, or before A's load, and
// A's load sees y. Without membarrier both sides add to the same word, and whoever comes second sees what the other did before:
// a fence would do, but the thread sanitizer does not know those.

#include <atomic>

namespace weft::detail {

extern const bool has_membarrier;
extern std::atomic<int> barrier_word;

inline void light_barrier() noexcept {
  if (has_membarrier) [[likely]] {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    barrier_word.fetch_add(0, std::memory_order_seq_cst);
  }
}

void heavy_barrier() noexcept;

}  // namespace weft::detail

#pragma once

// Stacks: slabs of address space, each cut into equal stacks with a guard page at the cold (low) end.
//
// Entered from fiber_pool (any thread). Invariants:
//   K1 Every stack handed out has a guard below its lowest usable byte.
//   K2 reserve() promises stacks before goroutines are accepted, so that carve() cannot run out of address space later:
//      capacity >= promised + what the processors' caches may hold.
// Sole user of mmap, munmap, mprotect and madvise.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "weft/detail/spinlock.hpp"

namespace weft::detail {

/// The usable part of one stack.
struct StackRange {
  std::byte* low = nullptr;
  std::size_t size = 0;
  [[nodiscard]] std::byte* top() const noexcept { return low + size; }
};

std::size_t page_size() noexcept;

enum class GuardKind : std::uint8_t { kMadvise, kMprotect };
/// MADV_GUARD_INSTALL where the kernel has it (Linux 6.13), which costs no mapping; else mprotect, two mappings each.
/// $WEFT_STACK_GUARD=mprotect forces the second, as does the address sanitizer.
GuardKind guard_kind() noexcept;

/// What a wish for `size` bytes amounts to: whole pages, never less than 16 KiB.
std::size_t round_stack_size(std::size_t size) noexcept;

/// A stack of its own for goroutines with an unusual (rounded) size. Throws std::system_error.
StackRange map_single_stack(std::size_t size);
void unmap_single_stack(StackRange stack) noexcept;

/// For the address sanitizer: nothing of what ran on the stack is left.
void forget_redzones(StackRange stack) noexcept;

/// Gives the pages of resting stacks, kReleasedAtOnce at most, back to the OS, but for the `keep` hottest bytes of each.
void release_cold_pages(std::span<const StackRange> stacks, std::size_t keep) noexcept;
inline constexpr std::size_t kReleasedAtOnce = 32;

/// How many pages the process has touched for the first time, or again after they had been given back: its minor page faults. 0: the
/// kernel does not count them. Costs a system call.
std::uint64_t page_faults() noexcept;

/// How much of a stack has been written to, from its top down; what is below `end` is dead. Right for a stack that was clean:
/// new, or cleaned. Not for what has been swapped out meanwhile.
std::size_t touched_bytes(StackRange stack, const std::byte* end) noexcept;
/// How much memory a range of whole pages has now. Throws std::bad_alloc.
std::size_t resident_bytes(StackRange range);
/// Everything below `end` reads as zero and costs no memory. Called on the stack itself, with some room left below the frame.
void clean_stack(StackRange stack, std::byte* end) noexcept;

class StackSlabs {
 public:
  StackSlabs(std::size_t stack_size, std::size_t slack) noexcept;
  ~StackSlabs();
  StackSlabs(const StackSlabs&) = delete;
  StackSlabs& operator=(const StackSlabs&) = delete;

  /// Promises `count` more stacks. Throws std::system_error naming the limit that was hit.
  void reserve(std::size_t count);
  void unreserve(std::size_t count) noexcept;

  struct Carved {
    StackRange stack;
    std::size_t index = 0;  // running number, for cache colouring
  };
  /// Cuts up to `count` fresh stacks off the slabs.
  std::size_t carve(Carved* out, std::size_t count) noexcept;

  /// From one stack to the next.
  [[nodiscard]] std::size_t stride() const noexcept { return stride_; }
  /// Of all stacks ever handed out. Throws std::bad_alloc.
  [[nodiscard]] std::size_t resident_bytes();
  /// The slabs, in no order. Throws std::bad_alloc.
  [[nodiscard]] std::vector<StackRange> ranges();

 private:
  struct Slab {
    std::byte* base;
    std::size_t stacks;
  };
  void map_slab(std::size_t wanted);

  const std::size_t size_;    // of a stack, without its guard
  const std::size_t stride_;  // with it
  const std::size_t slack_;
  Spinlock lock_;
  // All guarded by lock_.
  std::vector<Slab> slabs_;
  std::size_t capacity_ = 0;
  std::size_t promised_ = 0;
  std::size_t carve_slab_ = 0;   // index of the slab that carve() cuts
  std::size_t carve_index_ = 0;  // next stack in it
  std::size_t carved_ = 0;
};

}  // namespace weft::detail

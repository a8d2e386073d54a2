#pragma once

// Walking a stack: the caller's own, or one that rests (whose context was saved by the switch).
//
// By the unwind tables that exceptions need anyway, so code without frame pointers is walked too. What the switch saves of a
// stack is known here and in Boost.Context only; the part that depends on the processor is a few instructions. Where nobody
// has written them, resting stacks have no frames. Allocates nothing, takes no lock (glibc 2.35 and GCC 12 on), and may be
// called in a signal handler.

#include <cstdint>

#include "switch.hpp"

namespace weft::detail {

/// Return addresses, innermost first. Each lies behind the call (or behind the first byte of the instruction that a signal
/// interrupted): one byte before it is inside the function.
struct Frames {
  static constexpr unsigned kMost = 64;

  std::uint32_t count = 0;
  bool is_cut = false;                 // there are more
  std::uintptr_t outermost_stack = 0;  // an address in the stack of the outermost frame seen
  const void* pcs[kMost];              // the first `count`
};

/// Frames of a stack that nobody can switch to meanwhile.
void walk_resting(const ExecutionState& state, Frames& out) noexcept;

/// Frames of the caller, its own first. In a signal handler: those of what was interrupted, if that can be told.
void walk_here(Frames& out) noexcept;

}  // namespace weft::detail

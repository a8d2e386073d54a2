#pragma once

// Where channels live: blocks that begin with a cache line.
//
// A thread keeps some of the small ones that it frees, for those that it allocates next: a channel that carries one result is made
// and dropped for each goroutine that is forked, and the allocator's own cache is too small for such a tree's depth. Blocks go where
// they are freed, not where they came from; what is too much goes back to the allocator, and all when the thread ends.

#include <cstddef>

namespace weft::detail {

/// Throws std::bad_alloc.
void* allocate_chan(std::size_t bytes, std::size_t align);
/// `bytes` and `align` as they were then.
void free_chan(void* at, std::size_t bytes, std::size_t align) noexcept;

}  // namespace weft::detail

#pragma once

// What the rest of weft needs to know of bubbles (weft::testing::run): which one the caller is in. Costs one load where
// there is none.

#include <atomic>
#include <cstdint>

namespace weft::detail {

/// Bubbles that exist in the process.
extern std::atomic<unsigned> bubble_count;

std::uint32_t current_bubble_slow() noexcept;

/// The number of the calling goroutine's bubble; 0 outside.
inline std::uint32_t current_bubble() noexcept {
  // relaxed: whoever is in a bubble has counted it, or was started by somebody who has.
  return bubble_count.load(std::memory_order_relaxed) == 0 ? 0 : current_bubble_slow();
}

}  // namespace weft::detail

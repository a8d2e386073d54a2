#pragma once

// How deep goroutines went into their stacks, by spawn site (RuntimeOptions::measure_stacks).
//
// A goroutine is measured at its end, on its own stack: the lowest byte that is not zero. Then everything below is cleaned, for
// whoever comes next on that stack. So each goroutine costs a few system calls: a diagnosis, not for production.

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "stack.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/stats.hpp"

namespace weft::detail {

class StackUses {
 public:
  using Describe = std::string (*)(const void* address);
  /// Of the goroutine that is ending on this stack, which was spawned at `site`.
  void measure(StackRange stack, const void* site) noexcept;
  /// The deepest first.
  [[nodiscard]] std::vector<StackUse> list(Describe describe);
  /// A table on the standard error.
  void print(Describe describe);

 private:
  struct Use {
    std::uint64_t goroutines = 0;
    std::size_t most = 0;
    std::size_t size = 0;
  };
  Spinlock lock_;
  std::unordered_map<const void*, Use> uses_;  // guarded by lock_
};

}  // namespace weft::detail

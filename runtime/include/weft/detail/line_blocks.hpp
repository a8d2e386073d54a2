#pragma once

// Memory that begins with a cache line: where channels live.
//
// A worker keeps some of the small blocks that are freed on its thread, for those that are allocated there next: a channel that
// carries one result is made and dropped for each goroutine that is forked, and the allocator's own cache is too small for such a
// tree's depth. Blocks go where they are freed, not where they came from; what is too much goes back to the allocator, and all when
// the worker ends. A plain thread keeps none.

#include <cstddef>
#include <cstdint>

namespace weft::detail {

/// `align` may be larger than a line. Throws std::bad_alloc.
void* allocate_lines(std::size_t bytes, std::size_t align);
/// `bytes` and `align` as they were then.
void free_lines(void* at, std::size_t bytes, std::size_t align) noexcept;

/// What a worker keeps: a list for each number of lines. For its thread only.
class LineBlocks {
 public:
  static constexpr std::size_t kMostLines = 4;

  LineBlocks() noexcept = default;
  LineBlocks(const LineBlocks&) = delete;
  LineBlocks& operator=(const LineBlocks&) = delete;
  ~LineBlocks();

 private:
  friend void* allocate_lines(std::size_t bytes, std::size_t align);
  friend void free_lines(void* at, std::size_t bytes, std::size_t align) noexcept;

  /// nullptr: there is none.
  void* take(std::size_t lines) noexcept;
  /// False: there are enough.
  bool keep(void* at, std::size_t lines) noexcept;

  static constexpr std::uint32_t kMost = 64;
  struct Block {
    Block* next;
  };
  struct List {
    Block* first = nullptr;
    std::uint32_t count = 0;
  };
  List lists_[kMostLines];
};

}  // namespace weft::detail

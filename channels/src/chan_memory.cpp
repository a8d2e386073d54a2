#include "chan_memory.hpp"

#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#include "weft/detail/platform.hpp"

namespace weft::detail {
namespace {

// malloc is asked for a line more than that takes, and not for alignment: glibc's aligned allocation cuts a chunk out of a larger one
// under the arena's lock each time. In front of the channel stands how far it is from the block's begin.
[[gnu::noinline]] void* allocate_on_a_line(std::size_t bytes) {
  static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ >= sizeof(std::size_t));
  auto* block = static_cast<std::byte*>(::operator new(bytes + kCacheLine));
  const std::size_t offset = kCacheLine - reinterpret_cast<std::uintptr_t>(block) % kCacheLine;
  std::memcpy(block + offset - sizeof offset, &offset, sizeof offset);
  return block + offset;
}

void free_on_a_line(void* at) noexcept {
  auto* begin = static_cast<std::byte*>(at);
  std::size_t offset = 0;
  std::memcpy(&offset, begin - sizeof offset, sizeof offset);
  ::operator delete(begin - offset);
}

/// What a thread keeps: a list for each number of lines. Those that keep nothing, before and after, look full.
class KeptBlocks {
 public:
  static constexpr std::size_t kMostLines = 4;

  /// nullptr: there is none.
  void* take(std::size_t lines) noexcept {
    List& list = lists_[lines - 1];
    Block* block = list.first;
    if (block == nullptr) return nullptr;
    list.first = block->next;
    --list.count;
    return block;
  }
  /// False: it is full.
  bool keep(void* at, std::size_t lines) noexcept {
    List& list = lists_[lines - 1];
    if (list.count == kMost) return false;
    list.first = ::new (at) Block{list.first};
    ++list.count;
    return true;
  }
  void open() noexcept {
    for (List& list : lists_) list.count = 0;
  }
  void close() noexcept {
    for (List& list : lists_) {
      list.count = kMost;
      while (list.first != nullptr) free_on_a_line(std::exchange(list.first, list.first->next));
    }
  }

 private:
  static constexpr std::uint32_t kMost = 64;
  struct Block {
    Block* next;
  };
  struct List {
    Block* first = nullptr;
    std::uint32_t count = kMost;
  };
  List lists_[kMostLines];
};

// Used by two functions that are never inlined, for those who call them run code of the user's, which may switch (caller.hpp).
[[gnu::tls_model("initial-exec")]] constinit thread_local KeptBlocks kept_blocks;

/// Open while the thread lives. Apart, since what has a destructor is looked after at each access.
struct Opening {
  Opening() noexcept { kept_blocks.open(); }
  ~Opening() { kept_blocks.close(); }
};

[[gnu::noinline]] void keep_or_free(void* at, std::size_t lines) noexcept {
  static thread_local Opening opening;
  if (!kept_blocks.keep(at, lines)) free_on_a_line(at);
}

std::size_t lines_of(std::size_t bytes) noexcept { return (bytes + kCacheLine - 1) / kCacheLine; }

/// Not under the address sanitizer, which would not see who uses a channel that is gone.
bool is_kept(std::size_t lines) noexcept { return !kAsan && lines <= KeptBlocks::kMostLines; }

}  // namespace

[[gnu::noinline]] void* allocate_chan(std::size_t bytes, std::size_t align) {
  asm volatile("" ::: "memory");
  if (align > kCacheLine) return ::operator new(bytes, std::align_val_t(align));
  const std::size_t lines = lines_of(bytes);
  if (!is_kept(lines)) return allocate_on_a_line(bytes);
  void* kept = kept_blocks.take(lines);
  return kept != nullptr ? kept : allocate_on_a_line(lines * kCacheLine);
}

[[gnu::noinline]] void free_chan(void* at, std::size_t bytes, std::size_t align) noexcept {
  asm volatile("" ::: "memory");
  if (align > kCacheLine) return ::operator delete(at, std::align_val_t(align));
  const std::size_t lines = lines_of(bytes);
  if (!is_kept(lines)) return free_on_a_line(at);
  if (!kept_blocks.keep(at, lines)) keep_or_free(at, lines);
}

}  // namespace weft::detail

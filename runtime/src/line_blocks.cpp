#include "weft/detail/line_blocks.hpp"

#include <cstring>
#include <new>
#include <utility>

#include "weft/detail/caller.hpp"
#include "weft/detail/platform.hpp"

namespace weft::detail {
namespace {

// malloc is asked for a line more than that takes, and not for alignment: glibc's aligned allocation cuts a chunk out of a larger one
// under the arena's lock each time. In front of the block stands how far it is from where malloc's begins.
void* allocate_on_a_line(std::size_t bytes) {
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

std::size_t lines_of(std::size_t bytes) noexcept { return (bytes + kCacheLine - 1) / kCacheLine; }

/// Where the calling thread keeps blocks of that size, if it does. Not under the address sanitizer, which would not see who uses a
/// channel that is gone.
LineBlocks* kept_here(std::size_t lines) noexcept {
  if (kAsan || lines > LineBlocks::kMostLines) return nullptr;
  const WorkerFace* worker = current_face();
  return worker != nullptr ? worker->kept : nullptr;
}

}  // namespace

inline void* LineBlocks::take(std::size_t lines) noexcept {
  List& list = lists_[lines - 1];
  Block* block = list.first;
  if (block == nullptr) return nullptr;
  list.first = block->next;
  --list.count;
  return block;
}

inline bool LineBlocks::keep(void* at, std::size_t lines) noexcept {
  List& list = lists_[lines - 1];
  if (list.count == kMost) return false;
  list.first = ::new (at) Block{list.first};
  ++list.count;
  return true;
}

LineBlocks::~LineBlocks() {
  for (List& list : lists_) {
    while (list.first != nullptr) free_on_a_line(std::exchange(list.first, list.first->next));
  }
}

void* allocate_lines(std::size_t bytes, std::size_t align) {
  if (align > kCacheLine) return ::operator new(bytes, std::align_val_t(align));
  const std::size_t lines = lines_of(bytes);
  LineBlocks* kept = kept_here(lines);
  void* block = kept != nullptr ? kept->take(lines) : nullptr;
  return block != nullptr ? block : allocate_on_a_line(lines * kCacheLine);
}

void free_lines(void* at, std::size_t bytes, std::size_t align) noexcept {
  if (align > kCacheLine) return ::operator delete(at, std::align_val_t(align));
  const std::size_t lines = lines_of(bytes);
  LineBlocks* kept = kept_here(lines);
  if (kept == nullptr || !kept->keep(at, lines)) free_on_a_line(at);
}

}  // namespace weft::detail

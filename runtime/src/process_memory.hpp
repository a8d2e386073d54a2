#pragma once

// The memory of the own process, read as the kernel shows it in /proc: so a page that may not be read, or that nobody has
// touched yet, costs nothing and hurts nobody. Allocates nothing once it is made, and takes no lock: all other threads may rest.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>

#include "stack.hpp"

namespace weft::detail {

using Word = std::uintptr_t;

/// From low to below high.
struct Region {
  Word low = 0;
  Word high = 0;
  [[nodiscard]] bool has(Word word) const noexcept { return word >= low && word < high; }
};

/// A line of /proc/self/maps.
struct Mapping : Region {
  bool is_writable = false;
  bool is_guard = false;  // no access at all
  bool is_device = false;
  bool is_main_stack = false;
};

class ProcessMemory {
 public:
  /// Throws std::system_error if /proc cannot be read.
  ProcessMemory() = default;

  /// visit(mapping), from low to high. Once.
  template <class Visit>
  void for_each_mapping(Visit visit) noexcept {
    std::size_t kept = 0;
    while (const std::size_t n = maps_.read_on(text_ + kept, sizeof text_ - 1 - kept)) {
      text_[kept + n] = '\0';
      char* line = text_;
      while (char* end = std::strchr(line, '\n')) {
        *end = '\0';
        visit(parse(line));
        line = end + 1;
      }
      kept = std::strlen(line);
      std::memmove(text_, line, kept);
    }
  }

  /// visit(word), aligned ones only.
  template <class Visit>
  void for_each_word(Region region, Visit visit) noexcept {
    const std::size_t page = page_size();
    Word at = region.low;
    while (at < region.high) {
      const Word first = at / page * page;
      const std::size_t pages = std::min((region.high - first + page - 1) / page, std::size(flags_));
      const std::size_t known = pagemap_.read_at(first / page * 8, flags_, pages * 8) / 8;
      const auto has_memory = [&](std::size_t i) {
        constexpr std::uint64_t kPresentOrSwapped = std::uint64_t{3} << 62U;
        return i >= known || (flags_[i] & kPresentOrSwapped) != 0;
      };
      for (std::size_t i = 0; i < pages;) {
        std::size_t end = i;
        while (end < pages && (end - i) * page < sizeof words_ && has_memory(end)) ++end;
        if (end != i) {
          read({std::max(first + i * page, region.low), std::min(first + end * page, region.high)}, visit);
        }
        i = std::max(end, i + 1);
      }
      at = first + pages * page;
    }
  }

 private:
  class File {
   public:
    explicit File(const char* path, bool is_needed = true);
    ~File();
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    [[nodiscard]] std::size_t read_on(void* to, std::size_t bytes) const noexcept;
    [[nodiscard]] std::size_t read_at(std::uint64_t offset, void* to, std::size_t bytes) const noexcept;

   private:
    int fd_;
  };

  static Mapping parse(const char* line) noexcept;

  template <class Visit>
  void read(Region region, Visit visit) noexcept {
    for (Word at = (region.low + 7) / 8 * 8; at < region.high;) {
      const std::size_t words = memory_.read_at(at, words_, std::min<std::size_t>(region.high - at, sizeof words_)) / 8;
      for (std::size_t i = 0; i < words; ++i) visit(words_[i]);
      at += words * 8;
      if (words == 0) at = (at / page_size() + 1) * page_size();  // a guard
    }
  }

  File maps_{"/proc/self/maps"};
  File pagemap_{"/proc/self/pagemap", false};  // without it, whatever can be read is
  File memory_{"/proc/self/mem"};
  char text_[8192];
  std::uint64_t flags_[512];
  Word words_[8192];
};

}  // namespace weft::detail

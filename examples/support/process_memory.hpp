// What the kernel says about this process's memory: resident bytes, mappings, and the guard page below a stack.

#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace examples {

inline std::uint64_t page_bytes() { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

inline std::uint64_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t total_pages = 0;
  std::uint64_t resident_pages = 0;
  if (!(statm >> total_pages >> resident_pages)) {
    throw std::runtime_error("cannot read /proc/self/statm");
  }
  return resident_pages * page_bytes();
}

/// Bytes that this machine can still give out; nothing if it does not say.
inline std::optional<std::uint64_t> available_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string line; std::getline(meminfo, line);) {
    unsigned long long kilobytes = 0;
    if (std::sscanf(line.c_str(), "MemAvailable: %llu kB", &kilobytes) == 1) {
      return kilobytes * 1024;
    }
  }
  return std::nullopt;
}

inline std::uint64_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::uint64_t count = 0;
  for (std::string line; std::getline(maps, line);) {
    ++count;
  }
  return count;
}

/// How many mappings the kernel allows; 0 if it does not say.
inline std::uint64_t max_mappings() {
  std::uint64_t limit = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> limit;
  return limit;
}

/// How far below `frame` its stack ends in a page that traps, looking `reach` bytes down at most. Such a page is either
/// marked in the page table (MADV_GUARD_INSTALL: costs no mapping; shown since Linux 6.15) or a mapping without access.
class GuardFinder {
 public:
  GuardFinder() : pagemap_(::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)) {}
  ~GuardFinder() {
    if (pagemap_ >= 0) {
      ::close(pagemap_);
    }
  }
  GuardFinder(const GuardFinder&) = delete;
  GuardFinder& operator=(const GuardFinder&) = delete;

  [[nodiscard]] std::optional<std::uint64_t> bytes_to_guard(const void* frame, std::uint64_t reach) const {
    const auto address = reinterpret_cast<std::uintptr_t>(frame);
    const std::optional<std::uint64_t> marked = bytes_to_mark(address, reach);
    return marked ? marked : bytes_to_inaccessible(address, reach);
  }

 private:
  [[nodiscard]] std::optional<std::uint64_t> bytes_to_mark(std::uintptr_t address, std::uint64_t reach) const {
    constexpr std::uint64_t kGuardRegion = std::uint64_t{1} << 58;
    const std::uint64_t page = address / page_bytes();
    const std::uint64_t count = std::min(reach / page_bytes() + 1, page + 1);
    const std::uint64_t first = page + 1 - count;
    std::vector<std::uint64_t> entries(count);
    const std::size_t wanted = count * sizeof(std::uint64_t);
    if (::pread(pagemap_, entries.data(), wanted, static_cast<off_t>(first * sizeof(std::uint64_t))) !=
        static_cast<ssize_t>(wanted)) {
      return std::nullopt;
    }
    for (std::uint64_t i = count; i-- > 0;) {
      if ((entries[i] & kGuardRegion) != 0) {
        return address - (first + i + 1) * page_bytes();
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] static std::optional<std::uint64_t> bytes_to_inaccessible(std::uintptr_t address, std::uint64_t reach) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
      unsigned long long begin = 0;
      unsigned long long end = 0;
      std::array<char, 5> access{};
      if (std::sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, access.data()) == 3 && end <= address &&
          address - end <= reach && access[0] == '-' && access[1] == '-' && access[2] == '-') {
        return address - end;
      }
    }
    return std::nullopt;
  }

  int pagemap_;
};

}  // namespace examples

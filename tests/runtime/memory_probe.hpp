#pragma once

// What the tests of stacks ask the kernel about memory.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "stack.hpp"

namespace weft::test {

/// Tells whether memory can be touched, without dying of it: the kernel tries on our behalf and returns EFAULT. By raw
/// system calls, since the sanitizers' wrappers would look at the memory themselves.
class TouchProbe {
 public:
  TouchProbe() {
    if (::pipe(pipe_) != 0) throw std::runtime_error("pipe");
    zero_ = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
    if (zero_ < 0) throw std::runtime_error("/dev/zero");
  }
  TouchProbe(const TouchProbe&) = delete;
  TouchProbe& operator=(const TouchProbe&) = delete;
  ~TouchProbe() {
    ::close(pipe_[0]);
    ::close(pipe_[1]);
    ::close(zero_);
  }
  bool is_readable(const std::byte* at) const {
    if (::syscall(SYS_write, pipe_[1], at, std::size_t{1}) != 1) return false;
    std::byte sink;
    return ::syscall(SYS_read, pipe_[0], &sink, std::size_t{1}) == 1;
  }
  /// Sets the byte to 0 if it is.
  bool is_writable(std::byte* at) const { return ::syscall(SYS_read, zero_, at, std::size_t{1}) == 1; }

 private:
  int pipe_[2];
  int zero_;
};

inline std::uintptr_t page_of(const std::byte* at) {
  return reinterpret_cast<std::uintptr_t>(at) / detail::page_size() * detail::page_size();
}

/// Bytes of [low, low + size) that are in memory now.
inline std::size_t resident_bytes(std::byte* low, std::size_t size) {
  const std::size_t page = detail::page_size();
  std::vector<unsigned char> pages((size + page - 1) / page);
  auto* const start = low - (reinterpret_cast<std::uintptr_t>(low) - page_of(low));
  if (::mincore(start, size, pages.data()) != 0) throw std::runtime_error("mincore");
  std::size_t resident = 0;
  for (const unsigned char state : pages) resident += (state & 1U) != 0 ? page : 0;
  return resident;
}

/// Of the whole process.
inline std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * detail::page_size();
}

inline std::size_t mappings() {
  std::ifstream file("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

inline std::size_t max_map_count() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  std::size_t count = 65'530;
  file >> count;
  return count;
}

}  // namespace weft::test

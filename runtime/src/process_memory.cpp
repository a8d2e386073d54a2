#include "process_memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>
#include <system_error>

namespace weft::detail {

ProcessMemory::File::File(const char* path, bool is_needed) : fd_(open(path, O_RDONLY | O_CLOEXEC)) {
  if (fd_ < 0 && is_needed)
    throw std::system_error(errno, std::generic_category(), std::string("weft: leak_hints: ") + path);
}

ProcessMemory::File::~File() {
  if (fd_ >= 0) close(fd_);
}

std::size_t ProcessMemory::File::read_on(void* to, std::size_t bytes) const noexcept {
  const ssize_t n = ::read(fd_, to, bytes);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

std::size_t ProcessMemory::File::read_at(std::uint64_t offset, void* to, std::size_t bytes) const noexcept {
  const ssize_t n = pread(fd_, to, bytes, static_cast<off_t>(offset));
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

Mapping ProcessMemory::parse(const char* line) noexcept {
  Mapping m;
  char* at = nullptr;
  m.low = std::strtoull(line, &at, 16);
  m.high = std::strtoull(at + 1, &at, 16);
  const std::string_view rest(at + 1);
  m.is_writable = rest.starts_with("rw");
  m.is_guard = rest.starts_with("---");
  const std::size_t path = rest.find('/');
  if (path != std::string_view::npos) {
    const std::string_view name = rest.substr(path);
    m.is_device = name.starts_with("/dev/") && !name.starts_with("/dev/zero") && !name.starts_with("/dev/shm");
  }
  m.is_main_stack = rest.ends_with("[stack]");
  return m;
}

}  // namespace weft::detail

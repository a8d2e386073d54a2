#include "thread_count.hpp"

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

namespace weft::detail {

// The kernel's own count: a listing of /proc/self/task ends early if
// the thread that it has come to exits, and one too few is a deadlock that is none (I9).
int count_threads() noexcept {
  const int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return -1;
  char text[1024];
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return -1;
  text[length] = '\0';
  // The second field, the program's name, is in parentheses and may hold anything; the count is the twentieth.
  const char* at = std::strrchr(text, ')');
  for (int field = 2; at != nullptr && field < 20; ++field) at = std::strchr(at + 1, ' ');
  return at == nullptr ? -1 : std::atoi(at);
}

}  // namespace weft::detail

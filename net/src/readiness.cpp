#include "weft/net/readiness.hpp"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>

#include "last_error.hpp"
#include "weft/net/detail/file.hpp"
#include "weft/net/error.hpp"

namespace weft::net {
namespace {

bool is_ready(int fd, short events) noexcept {
  pollfd one{fd, events, 0};
  return ::poll(&one, 1, 0) > 0;
}

/// On a descriptor of our own: the file may be watched by others, under its own number.
std::error_code wait(int fd, detail::PollSide side, short events, const Context& ctx) {
  if (const std::error_code done = ctx.err()) return done;
  if (is_ready(fd, events)) return {};
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return last_error();
  std::error_code error;
  try {
    detail::File file(copy, detail::File::Flags::kKept);
    file.run(side, ctx, error, [&](int own) {
      if (is_ready(own, events)) return 0;
      errno = EAGAIN;
      return -1;
    });
  } catch (const std::system_error& refused) {
    if (refused.code() != errc::not_pollable) return refused.code();
  }
  return error;
}

}  // namespace

std::error_code wait_readable(int fd, const Context& ctx) { return wait(fd, detail::PollSide::kRead, POLLIN, ctx); }
std::error_code wait_writable(int fd, const Context& ctx) { return wait(fd, detail::PollSide::kWrite, POLLOUT, ctx); }

}  // namespace weft::net

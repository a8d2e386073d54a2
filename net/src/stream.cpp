#include "weft/net/stream.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "fail.hpp"
#include "file_calls.hpp"
#include "weft/error.hpp"

namespace weft::net {

using detail::PollSide;

detail::File& Stream::file() const {
  if (file_ == nullptr) weft::detail::throw_panic("net: use of a stream that is not connected");
  return *file_;
}

std::size_t Stream::read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_some(buffer, error);
  check(error, "Stream::read_some");
  return n;
}

std::size_t Stream::read_full(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t n = 0;
  error.clear();
  while (n < buffer.size() && !error) n += read_some(buffer.subspan(n), error);
  return n;
}

std::size_t Stream::read_full(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_full(buffer, error);
  check(error, "Stream::read_full");
  return n;
}

std::size_t Stream::write(std::span<const std::byte> data) {
  std::error_code error;
  const std::size_t n = write(data, error);
  check(error, "Stream::write");
  return n;
}

std::error_code Stream::set_deadline(std::optional<TimePoint> deadline) noexcept {
  const std::error_code error = set_read_deadline(deadline);
  return error ? error : set_write_deadline(deadline);
}

std::error_code Stream::set_read_deadline(std::optional<TimePoint> deadline) noexcept {
  return file_ == nullptr ? errc::closed : file_->set_deadline(PollSide::kRead, to_ns(deadline));
}

std::error_code Stream::set_write_deadline(std::optional<TimePoint> deadline) noexcept {
  return file_ == nullptr ? errc::closed : file_->set_deadline(PollSide::kWrite, to_ns(deadline));
}

std::error_code Stream::shutdown_write() {
  return file().with_descriptor([](int fd) { return ::shutdown(fd, SHUT_WR); });
}

std::error_code Stream::set_no_delay(bool on) {
  const int value = on ? 1 : 0;
  return file().with_descriptor(
      [&](int fd) { return ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value); });
}

Endpoint Stream::local() const { return name_of(file(), &::getsockname); }
Endpoint Stream::peer() const { return name_of(file(), &::getpeername); }

std::error_code Stream::close() noexcept { return file_ == nullptr ? errc::closed : file_->close(); }

void Listener::State::remove_socket_file() noexcept {
  // Before the socket closes: later, it could be the file of somebody who has taken the name over. (relaxed: one removes it.)
  if (!socket_file.empty() && !is_removed.exchange(true, std::memory_order_relaxed)) ::unlink(socket_file.c_str());
}

detail::File& Listener::file() const {
  if (state_ == nullptr) weft::detail::throw_panic("net: use of a listener that does not listen");
  return state_->file;
}

Stream Listener::accept(const Context& ctx, std::error_code& error) {
  sockaddr peer{};
  const int fd = file().run(PollSide::kRead, ctx, error, [&](int listener) {
    int accepted = 0;
    do {
      socklen_t size = sizeof peer;  // its kind is enough
      accepted = ::accept4(listener, &peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (accepted < 0 && errno == ECONNABORTED);  // went before its turn came
    return accepted;
  });
  if (fd < 0) return {};
  const bool is_tcp = peer.sa_family != AF_UNIX;
  const auto kind = is_tcp ? detail::File::Flags::kTcp : detail::File::Flags::kNonBlocking;
  Stream stream = or_error(error, [&] { return Stream(std::make_unique<detail::File>(fd, kind)); });
  if (!error && is_tcp) static_cast<void>(stream.set_no_delay(true));
  return stream;
}

Stream Listener::accept() {
  std::error_code error;
  Stream stream = accept(error);
  check(error, "Listener::accept");
  return stream;
}

std::error_code Listener::set_deadline(std::optional<TimePoint> deadline) noexcept {
  return state_ == nullptr ? errc::closed : state_->file.set_deadline(PollSide::kRead, to_ns(deadline));
}

Endpoint Listener::local() const { return name_of(file(), &::getsockname); }

std::error_code Listener::close() noexcept {
  if (state_ == nullptr) return errc::closed;
  state_->remove_socket_file();
  return state_->file.close();
}

}  // namespace weft::net

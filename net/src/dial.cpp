#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>
#include <vector>

#include "fail.hpp"
#include "last_error.hpp"
#include "socket.hpp"
#include "weft/net/tcp.hpp"

namespace weft::net {
namespace {

/// Nobody listened at the port that was dialed, so that the system gave it to the dialer, who has reached himself.
bool has_met_itself(const Stream& stream) { return stream.local() == stream.peer(); }

/// Connects in steps, each of which returns at once: 0; or -1 with errno, which is EAGAIN while it goes on.
class Connecting {
 public:
  explicit Connecting(const Endpoint& endpoint) : endpoint_(endpoint) {}

  int operator()(int socket) {
    if (!std::exchange(has_begun_, true)) return begin(socket);
    int status = 0;
    socklen_t size = sizeof status;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &status, &size) != 0) return -1;
    if (status != 0) {
      errno = status;
      return -1;
    }
    // Not yet, if the poller has told of something else.
    sockaddr_storage peer{};
    size = sizeof peer;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
    if (errno == ENOTCONN) errno = EAGAIN;
    return -1;
  }
  /// Set instead of EAGAIN where the poller would tell of nothing: a Unix socket's queue is full, or there is no port.
  [[nodiscard]] std::error_code refused() const { return refused_; }

 private:
  int begin(int socket) {
    if (::connect(socket, endpoint_.data(), endpoint_.size()) == 0) return 0;
    if (errno == EAGAIN) {
      refused_ = last_error();
      return 0;
    }
    if (errno == EINPROGRESS || errno == EINTR) errno = EAGAIN;  // goes on by itself
    return -1;
  }

  const Endpoint& endpoint_;
  bool has_begun_ = false;
  std::error_code refused_;
};

}  // namespace

Stream dial(const Endpoint& endpoint, const Context& ctx, std::error_code& error) {
  error = ctx.err();
  if (error) return {};
  const int fd = open_socket(endpoint.family(), SOCK_STREAM, error);
  if (error) return {};
  const auto kind = endpoint.family() == AF_UNIX ? detail::File::Flags::kNonBlocking : detail::File::Flags::kTcp;
  auto file = or_error(error, [&] { return std::make_unique<detail::File>(fd, kind); });
  if (error) return {};
  Connecting connecting(endpoint);
  file->run(weft::detail::PollSide::kWrite, ctx, error, [&](int socket) { return connecting(socket); });
  if (!error) error = connecting.refused();
  if (error) return {};
  Stream stream(std::move(file));
  if (endpoint.family() == AF_UNIX) return stream;
  if (has_met_itself(stream)) {
    error = std::make_error_code(std::errc::connection_refused);
    return {};
  }
  static_cast<void>(stream.set_no_delay(true));
  return stream;
}

Stream dial_tcp(std::string_view host_and_port, const Context& ctx, std::error_code& error) {
  std::error_code first;
  const std::vector<Endpoint> endpoints = resolve(host_and_port, error);
  for (const Endpoint& endpoint : endpoints) {
    Stream stream = dial(endpoint, ctx, error);
    if (!error || ctx.is_done()) return stream;
    if (!first) first = error;
  }
  if (first) error = first;
  return {};
}

Stream dial_tcp(std::string_view host_and_port, std::error_code& error) {
  return dial_tcp(host_and_port, Context(), error);
}

Stream dial_tcp(std::string_view host_and_port) {
  std::error_code error;
  Stream stream = dial_tcp(host_and_port, error);
  if (error) fail(error, "dial_tcp", host_and_port);
  return stream;
}

}  // namespace weft::net

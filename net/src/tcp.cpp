#include "weft/net/tcp.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "fail.hpp"
#include "last_error.hpp"
#include "socket.hpp"

namespace weft::net {
namespace {

constexpr int kBacklog = 4096;  // the system cuts it to what it allows

/// Takes over a socket that is bound, unless there has been an error.
Listener listen_on(int fd, std::string socket_file, std::error_code& error) {
  if (error) return {};
  if (::listen(fd, kBacklog) == 0) return or_error(error, [&] { return Listener(fd, std::move(socket_file)); });
  error = last_error();
  ::close(fd);
  return {};
}

}  // namespace

Listener listen(const Endpoint& endpoint, std::error_code& error) {
  std::string file = endpoint.family() == AF_UNIX ? endpoint.to_string() : "";
  if (file.starts_with('@')) file.clear();
  return listen_on(open_bound(endpoint, SOCK_STREAM, error), std::move(file), error);
}

Listener listen_tcp(std::string_view address, std::error_code& error) {
  return listen_on(open_bound(address, SOCK_STREAM, error), {}, error);
}

Listener listen_tcp(std::string_view address) {
  std::error_code error;
  Listener listener = listen_tcp(address, error);
  if (error) fail(error, "listen_tcp", address);
  return listener;
}

}  // namespace weft::net

#include "socket.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "last_error.hpp"
#include "resolve.hpp"

namespace weft::net {

int open_socket(int family, int type, std::error_code& error) {
  error.clear();
  const int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) error = last_error();
  return fd;
}

int open_bound(const Endpoint& endpoint, int type, std::error_code& error) {
  const int fd = open_socket(endpoint.family(), type, error);
  if (error) return -1;
  const int on = 1;
  const int off = 0;
  // A server that starts anew need not wait for the connections of the one before. (For UDP it would mean to take a port away.)
  if (type == SOCK_STREAM && endpoint.family() != AF_UNIX) {
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  }
  if (endpoint.family() == AF_INET6) ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  if (::bind(fd, endpoint.data(), endpoint.size()) == 0) return fd;
  error = last_error();
  ::close(fd);
  return -1;
}

int open_bound(std::string_view address, int type, std::error_code& error) {
  if (address.starts_with(':')) {
    const Endpoint both = Endpoint::parse("[::]" + std::string(address), error);
    const int fd = error ? -1 : open_bound(both, type, error);
    if (error != std::errc::address_family_not_supported && error != std::errc::address_not_available) return fd;
    return open_bound(Endpoint::parse(address, error), type, error);
  }
  const std::vector<Endpoint> endpoints = resolve(address, type, error);
  return error ? -1 : open_bound(endpoints.front(), type, error);
}

}  // namespace weft::net

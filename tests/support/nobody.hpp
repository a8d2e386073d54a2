#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <weft/net/endpoint.hpp>

namespace weft::test {

/// An address that refuses connections: it is taken, by a socket that does not listen. (The port of a listener that is gone may be
/// another program's a moment later.)
class Nobody {
 public:
  Nobody() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const net::Endpoint any = net::Endpoint::parse("127.0.0.1:0");
    ::bind(fd_, any.data(), any.size());
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &size);
    address_ = net::Endpoint(reinterpret_cast<const sockaddr*>(&name), size);
  }
  Nobody(const Nobody&) = delete;
  Nobody& operator=(const Nobody&) = delete;
  ~Nobody() { ::close(fd_); }
  const net::Endpoint& address() const { return address_; }

 private:
  int fd_;
  net::Endpoint address_;
};

}  // namespace weft::test

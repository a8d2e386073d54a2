#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include <weft/net/endpoint.hpp>

namespace weft::test {

/// An address that takes no more connections, and refuses none: its queue is full.
class BlackHole {
 public:
  BlackHole() {
    const net::Endpoint any = net::Endpoint::parse("127.0.0.1:0");
    fds_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::bind(fds_[0], any.data(), any.size());
    ::listen(fds_[0], 0);
    sockaddr_storage name{};
    socklen_t size = sizeof name;
    ::getsockname(fds_[0], reinterpret_cast<sockaddr*>(&name), &size);
    address_ = net::Endpoint(reinterpret_cast<const sockaddr*>(&name), size);
    for (int i = 0; i < 4; ++i) {
      fds_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      static_cast<void>(::connect(fds_.back(), address_.data(), address_.size()));
    }
  }
  BlackHole(const BlackHole&) = delete;
  BlackHole& operator=(const BlackHole&) = delete;
  ~BlackHole() {
    for (const int fd : fds_) ::close(fd);
  }
  const net::Endpoint& address() const { return address_; }

 private:
  std::vector<int> fds_;
  net::Endpoint address_;
};

}  // namespace weft::test

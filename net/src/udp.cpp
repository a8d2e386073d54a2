#include "weft/net/udp.hpp"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "fail.hpp"
#include "file_calls.hpp"
#include "last_error.hpp"
#include "resolve.hpp"
#include "socket.hpp"
#include "weft/error.hpp"

namespace weft::net {

using detail::PollSide;

namespace {

/// The address as the system wants it: a socket of IPv6 reaches IPv4 through addresses of its own family.
struct RawAddress {
  RawAddress(const Endpoint& endpoint, bool is_v6) {
    std::memcpy(&storage, endpoint.data(), endpoint.size());
    size = endpoint.size();
    if (!is_v6 || endpoint.family() != AF_INET) return;
    sockaddr_in6 mapped{};
    mapped.sin6_family = AF_INET6;
    mapped.sin6_port = reinterpret_cast<const sockaddr_in&>(storage).sin_port;
    mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xff;
    std::memcpy(&mapped.sin6_addr.s6_addr[12], &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, 4);
    std::memcpy(&storage, &mapped, sizeof mapped);
    size = sizeof mapped;
  }
  sockaddr_storage storage{};
  socklen_t size;
};

UdpSocket open_udp(int fd, std::error_code& error) {
  if (error) return {};
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  return or_error(error, [&] { return UdpSocket(fd); });
}

}  // namespace

UdpSocket::UdpSocket(int fd) : file_(std::make_unique<detail::File>(fd)), is_v6_(local().family() == AF_INET6) {}

detail::File& UdpSocket::file() const {
  if (file_ == nullptr) weft::detail::throw_panic("net: use of a UDP socket that is not open");
  return *file_;
}

Datagram UdpSocket::receive(std::span<std::byte> buffer, const Context& ctx, std::error_code& error) {
  Datagram datagram;
  file().run(PollSide::kRead, ctx, error, [&](int fd) {
    sockaddr_storage sender{};
    iovec place{buffer.data(), buffer.size()};
    msghdr message{};
    message.msg_name = &sender;
    message.msg_namelen = sizeof sender;
    message.msg_iov = &place;
    message.msg_iovlen = 1;
    const ::ssize_t got = ::recvmsg(fd, &message, 0);
    if (got < 0) return -1;
    datagram = {static_cast<std::size_t>(got), (message.msg_flags & MSG_TRUNC) != 0,
                Endpoint(reinterpret_cast<const sockaddr*>(&sender), message.msg_namelen)};
    return 0;
  });
  return datagram;
}

Datagram UdpSocket::receive(std::span<std::byte> buffer) {
  std::error_code error;
  const Datagram datagram = receive(buffer, error);
  check(error, "UdpSocket::receive");
  return datagram;
}

void UdpSocket::send_to(std::span<const std::byte> data, const Endpoint& receiver, std::error_code& error) {
  const RawAddress address(receiver, is_v6_);
  file().run(PollSide::kWrite, Context(), error, [&](int fd) {
    const auto* to = reinterpret_cast<const sockaddr*>(&address.storage);
    return ::sendto(fd, data.data(), data.size(), MSG_NOSIGNAL, to, address.size) < 0 ? -1 : 0;
  });
}

void UdpSocket::send_to(std::span<const std::byte> data, const Endpoint& receiver) {
  std::error_code error;
  send_to(data, receiver, error);
  if (error) fail(error, "UdpSocket::send_to", receiver.to_string());
}

void UdpSocket::send(std::span<const std::byte> data, std::error_code& error) {
  file().run(PollSide::kWrite, Context(), error,
             [&](int fd) { return ::send(fd, data.data(), data.size(), MSG_NOSIGNAL) < 0 ? -1 : 0; });
}

void UdpSocket::send(std::span<const std::byte> data) {
  std::error_code error;
  send(data, error);
  check(error, "UdpSocket::send");
}

std::error_code UdpSocket::set_deadline(std::optional<TimePoint> deadline) noexcept {
  const std::error_code error = set_read_deadline(deadline);
  return error ? error : set_write_deadline(deadline);
}

std::error_code UdpSocket::set_read_deadline(std::optional<TimePoint> deadline) noexcept {
  return file_ == nullptr ? errc::closed : file_->set_deadline(PollSide::kRead, to_ns(deadline));
}

std::error_code UdpSocket::set_write_deadline(std::optional<TimePoint> deadline) noexcept {
  return file_ == nullptr ? errc::closed : file_->set_deadline(PollSide::kWrite, to_ns(deadline));
}

Endpoint UdpSocket::local() const { return name_of(file(), &::getsockname); }
Endpoint UdpSocket::peer() const { return name_of(file(), &::getpeername); }

std::error_code UdpSocket::close() noexcept { return file_ == nullptr ? errc::closed : file_->close(); }

UdpSocket listen_udp(std::string_view address, std::error_code& error) {
  return open_udp(open_bound(address, SOCK_DGRAM, error), error);
}

UdpSocket listen_udp(std::string_view address) {
  std::error_code error;
  UdpSocket socket = listen_udp(address, error);
  if (error) fail(error, "listen_udp", address);
  return socket;
}

UdpSocket dial_udp(std::string_view host_and_port, const Context& ctx, std::error_code& error) {
  for (const Endpoint& endpoint : resolve(host_and_port, SOCK_DGRAM, ctx, error)) {
    const int fd = open_socket(endpoint.family(), SOCK_DGRAM, error);
    if (error) continue;
    if (::connect(fd, endpoint.data(), endpoint.size()) == 0) return open_udp(fd, error);
    error = last_error();
    ::close(fd);
  }
  return {};
}

UdpSocket dial_udp(std::string_view host_and_port, std::error_code& error) {
  return dial_udp(host_and_port, Context(), error);
}

UdpSocket dial_udp(std::string_view host_and_port) {
  std::error_code error;
  UdpSocket socket = dial_udp(host_and_port, error);
  if (error) fail(error, "dial_udp", host_and_port);
  return socket;
}

}  // namespace weft::net

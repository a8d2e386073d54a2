#pragma once

// UDP: single messages, which arrive whole, twice, in another order, or not at all.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>

#include "weft/context.hpp"
#include "weft/net/detail/file.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/error.hpp"
#include "weft/time.hpp"

namespace weft::net {

/// What a receive has brought.
struct Datagram {
  std::size_t size = 0;       ///< in the buffer; may be 0: an empty message
  bool is_truncated = false;  ///< there was more than fits into the buffer: that is lost
  Endpoint sender;
};

/// Calls, deadlines and close() are as Stream's. Go: net.UDPConn.
class UdpSocket {
 public:
  UdpSocket() noexcept = default;
  /// Takes over a socket of datagrams. Throws std::system_error.
  explicit UdpSocket(int fd);

  [[nodiscard]] bool is_open() const noexcept { return file_ != nullptr; }

  /// Waits for a message; if the socket is connected, for one of its peer. An earlier send that nobody has taken may be
  /// reported here: connection_refused.
  Datagram receive(std::span<std::byte> buffer, const Context& ctx, std::error_code& error);
  Datagram receive(std::span<std::byte> buffer, std::error_code& error) { return receive(buffer, Context(), error); }
  Datagram receive(std::span<std::byte> buffer);

  /// Sends one message, whole. std::errc::message_size if it is too long (more than 65,507 bytes over IPv4).
  void send_to(std::span<const std::byte> data, const Endpoint& receiver, std::error_code& error);
  void send_to(std::string_view text, const Endpoint& receiver, std::error_code& error) {
    send_to(std::as_bytes(std::span(text)), receiver, error);
  }
  void send_to(std::span<const std::byte> data, const Endpoint& receiver);
  void send_to(std::string_view text, const Endpoint& receiver) { send_to(std::as_bytes(std::span(text)), receiver); }
  /// To the peer of a socket that is connected (dial_udp), else destination_address_required.
  void send(std::span<const std::byte> data, std::error_code& error);
  void send(std::string_view text, std::error_code& error) { send(std::as_bytes(std::span(text)), error); }
  void send(std::span<const std::byte> data);
  void send(std::string_view text) { send(std::as_bytes(std::span(text))); }

  std::error_code set_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_read_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_write_deadline(std::optional<TimePoint> deadline) noexcept;
  [[nodiscard]] Endpoint local() const;
  [[nodiscard]] Endpoint peer() const;  ///< none if it is not connected
  std::error_code close() noexcept;

 private:
  detail::File& file() const;
  std::unique_ptr<detail::File> file_;
  bool is_v6_ = false;
};

/// Receives at "host:port"; ":53" for every address of this machine; port 0 for one that the system chooses. May send to
/// broadcast addresses. Go: net.ListenPacket("udp", ...).
UdpSocket listen_udp(std::string_view address, std::error_code& error);
/// Throws std::system_error that names the address.
UdpSocket listen_udp(std::string_view address);

/// A socket that sends to "host:port", and receives only from there. Nothing is sent yet: that somebody is there, only an
/// answer shows. The context may end the look-up. Go: net.Dial("udp", ...).
UdpSocket dial_udp(std::string_view host_and_port, const Context& ctx, std::error_code& error);
UdpSocket dial_udp(std::string_view host_and_port, std::error_code& error);
/// Throws std::system_error that names the address.
UdpSocket dial_udp(std::string_view host_and_port);

}  // namespace weft::net

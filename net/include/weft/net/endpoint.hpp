#pragma once

// Where a socket is: an IP address and a port, or the path of a Unix socket.

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

namespace weft::net {

class Endpoint {
 public:
  Endpoint() noexcept = default;
  /// Of the system's. Cut to what fits. An address of IPv4 as a socket of IPv6 shows it becomes one of IPv4.
  Endpoint(const sockaddr* address, socklen_t size) noexcept;

  /// "127.0.0.1:80", "[::1]:80", ":80" (any address). Numbers only: names are for resolve(). errc::bad_address.
  static Endpoint parse(std::string_view text, std::error_code& error);
  /// Throws std::system_error that quotes the text.
  static Endpoint parse(std::string_view text);
  /// Of a Unix socket; "@name" for one without a file. errc::bad_address if it is empty; std::errc::filename_too_long if it has
  /// more than 107 bytes.
  static Endpoint unix_path(std::string_view path, std::error_code& error);

  [[nodiscard]] std::uint16_t port() const noexcept;  ///< 0 if it has none
  [[nodiscard]] int family() const noexcept { return storage_.ss_family; }
  [[nodiscard]] const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }
  /// As parse() reads it; a Unix socket's path.
  [[nodiscard]] std::string to_string() const;

  friend bool operator==(const Endpoint& a, const Endpoint& b) noexcept;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

}  // namespace weft::net

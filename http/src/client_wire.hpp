#pragma once

// What a connection of the client's is below HTTP: plain, or with TLS. Each call ends when its context does, with the context's
// error.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "weft/context.hpp"
#include "weft/net/stream.hpp"

namespace weft::net {
class TlsConfig;
}

namespace weft::http::detail {

class Wire {
 public:
  Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  virtual ~Wire() = default;  ///< closes it

  /// As Stream's.
  virtual std::size_t read_some(std::span<std::byte> buffer, const Context& ctx, std::error_code& error) = 0;
  virtual std::size_t write(std::string_view text, const Context& ctx, std::error_code& error) = 0;
  /// Whether the peer has neither sent anything nor closed: asked of the system, for the poller may not know yet. A wire that is
  /// not quiet serves no further request.
  virtual bool is_quiet() = 0;
};

/// Null with an error.
std::unique_ptr<Wire> dial_plain_wire(const std::string& address, const Context& ctx, std::error_code& error);
/// The same, and the handshake with that host. config null: the system's authorities are trusted.
std::unique_ptr<Wire> dial_tls_wire(const std::string& address, const net::TlsConfig* config, const Context& ctx,
                                    std::error_code& error);

}  // namespace weft::http::detail

// Instead of tls_transport.cpp and tls_wire.cpp where weft is built without OpenSSL.

#include "client_wire.hpp"
#include "weft/http/server.hpp"

namespace weft::http {

std::error_code Server::serve_tls(net::Listener, const net::TlsConfig&) {
  throw std::system_error(
      std::make_error_code(std::errc::function_not_supported),
      "weft: http: Server::serve_tls: this weft was built without TLS; install OpenSSL's headers and "
      "configure with -Dtls=enabled");
}

std::unique_ptr<detail::Wire> detail::dial_tls_wire(const std::string&, const net::TlsConfig*, const Context&,
                                                    std::error_code& error) {
  error = std::make_error_code(std::errc::protocol_not_supported);
  return nullptr;
}

}  // namespace weft::http

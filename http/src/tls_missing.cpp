// Instead of tls_transport.cpp where weft is built without OpenSSL.

#include "weft/http/server.hpp"

namespace weft::http {

std::error_code Server::serve_tls(net::Listener, const net::TlsConfig&) {
  throw std::system_error(
      std::make_error_code(std::errc::function_not_supported),
      "weft: http: Server::serve_tls: this weft was built without TLS; install OpenSSL's headers and "
      "configure with -Dtls=enabled");
}

}  // namespace weft::http

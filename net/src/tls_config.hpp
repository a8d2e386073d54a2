#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "weft/net/tls.hpp"

namespace weft::net {

struct TlsConfig::Data {
  struct Free {
    void operator()(SSL_CTX* owned) const noexcept { ::SSL_CTX_free(owned); }
  };
  Data(SSL_CTX* own, bool server) noexcept : ctx(own), is_server(server) {}

  const std::unique_ptr<SSL_CTX, Free> ctx;
  const bool is_server;
  std::string protocols;  ///< as they go over the wire; OpenSSL refers to it
};

}  // namespace weft::net

#include "tls_error.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <string>

namespace weft::net {
namespace {

// A code is one of tls_errc; or the result of a verification, from here on; or OpenSSL's, with its library in the upper bits.
constexpr int kVerification = 1'000;
constexpr int kOpenSsl = 10'000;

class TlsCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft.tls"; }

  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<tls_errc>(code)) {
      case tls_errc::truncated:
        return "tls: the connection ended without the peer's close_notify: data may be missing";
      case tls_errc::not_tls:
        return "tls: the peer does not speak TLS";
      case tls_errc::bad_certificate:
        return "tls: the peer's certificate cannot be trusted";
    }
    if (code >= kVerification && code < kOpenSsl) {
      return std::string("tls: the peer's certificate: ") + ::X509_verify_cert_error_string(code - kVerification);
    }
    const char* reason = ::ERR_reason_error_string(static_cast<unsigned long>(code));
    return reason != nullptr ? std::string("tls: ") + reason : "tls: OpenSSL error " + std::to_string(code);
  }

  [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
    if (code >= kVerification && code < kOpenSsl) return tls_errc::bad_certificate;
    return {code, *this};
  }
};

}  // namespace

const std::error_category& tls_category() noexcept {
  static const TlsCategory category;
  return category;
}

std::error_condition make_error_condition(tls_errc code) noexcept { return {static_cast<int>(code), tls_category()}; }

std::error_code make_tls_error(tls_errc code) noexcept { return {static_cast<int>(code), tls_category()}; }

std::error_code take_tls_error(const SSL* ssl) noexcept {
  const unsigned long first = ::ERR_peek_error();  // those after it say what that led to
  bool is_verification = false;
  while (const unsigned long code = ::ERR_get_error()) {
    is_verification |= ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
  }
  if (is_verification && ssl != nullptr) {
    return {kVerification + static_cast<int>(::SSL_get_verify_result(ssl)), tls_category()};
  }
  if (first == 0) return std::make_error_code(std::errc::protocol_error);
  if (ERR_SYSTEM_ERROR(first)) return {ERR_GET_REASON(first), std::system_category()};
  return {static_cast<int>(first), tls_category()};
}

}  // namespace weft::net

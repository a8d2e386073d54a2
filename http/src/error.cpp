#include "weft/http/error.hpp"

#include <string>
#include <system_error>

namespace weft::http {
namespace {

class HttpCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft.http"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::none:
        return "no error";
      case errc::eof:
        return "EOF";
      case errc::bad_message:
        return "malformed HTTP message";
      case errc::header_too_large:
        return "the header of the message is too large";
      case errc::body_too_large:
        return "the body of the message is too large";
      case errc::truncated:
        return "unexpected EOF";
      case errc::server_closed:
        return "http: Server closed";
      case errc::bad_url:
        return "malformed URL";
      case errc::too_many_redirects:
        return "too many redirects";
      case errc::no_body_allowed:
        return "a reply with this status has no body";
      case errc::wrong_length:
        return "the body is not as long as its Content-Length says";
      case errc::bad_version:
        return "neither HTTP/1.0 nor HTTP/1.1";
      case errc::target_too_long:
        return "the target of the request is too long";
      case errc::unknown_encoding:
        return "a Transfer-Encoding other than chunked";
    }
    return "unknown error";
  }
};

constinit const HttpCategory http_category_object;

}  // namespace

const std::error_category& error_category() noexcept { return http_category_object; }

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), error_category()}; }

}  // namespace weft::http

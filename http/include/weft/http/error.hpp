#pragma once

// What is wrong with a message, and how a handler says that a request cannot be served.

#include <stdexcept>
#include <string>
#include <system_error>

#include "weft/http/status.hpp"

namespace weft::http {

enum class errc {
  none = 0,
  eof = 1,  ///< the body is read to its end (Go: io.EOF)
  bad_message = 2,
  header_too_large = 3,
  body_too_large = 4,
  truncated = 5,      ///< the connection has ended within a message (Go: io.ErrUnexpectedEOF)
  server_closed = 6,  ///< Go: http.ErrServerClosed
  bad_url = 7,
  too_many_redirects = 8,
  no_body_allowed = 9,  ///< Go: http.ErrBodyNotAllowed
  wrong_length = 10,    ///< more or less was written than Content-Length says (Go: http.ErrContentLength)
  bad_version = 11,     ///< neither HTTP/1.0 nor HTTP/1.1
  target_too_long = 12,
  unknown_encoding = 13,  ///< a Transfer-Encoding other than "chunked"
};

/// The category "weft.http".
const std::error_category& error_category() noexcept;
std::error_code make_error_code(errc code) noexcept;

/// Thrown by a handler: the server replies with that status and text, if the reply has not begun. A text of 5xx is for the log only.
class StatusError : public std::runtime_error {
 public:
  StatusError(Status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  [[nodiscard]] Status status() const noexcept { return status_; }

 private:
  Status status_;
};

}  // namespace weft::http

template <>
struct std::is_error_code_enum<weft::http::errc> : std::true_type {};

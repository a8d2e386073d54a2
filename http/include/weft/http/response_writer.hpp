#pragma once

// The reply to a request, as a handler of the server makes it.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "weft/http/headers.hpp"
#include "weft/http/status.hpp"

namespace weft::http {

namespace detail {
class Exchange;
}

/// Status and headers first, then the body; 200 if nothing is said. A short body is kept until the handler returns, and so has
/// its Content-Length; what is longer, or is flushed before, goes out in chunks. For one goroutine at a time, until the handler
/// returns. Go: http.ResponseWriter.
class ResponseWriter {
 public:
  ResponseWriter(const ResponseWriter&) = delete;
  ResponseWriter& operator=(const ResponseWriter&) = delete;

  /// Throws Panic once the head has been sent, and for a status that is no reply's (100 to 199 are none).
  ResponseWriter& status(Status status);
  [[nodiscard]] Status status() const noexcept { return status_; }
  /// To be changed before the head is sent. "Date" is set by the server; "Content-Length" and "Connection" may be.
  [[nodiscard]] Headers& headers() noexcept { return headers_; }
  ResponseWriter& header(std::string_view name, std::string_view value) {
    headers_.set(name, value);
    return *this;
  }

  /// Goes on with the body. Parks when the peer takes no more. Fails with errc::no_body_allowed, errc::wrong_length, or what has
  /// happened to the connection: the handler need not look, nothing more is sent then. To a HEAD nothing is sent.
  std::error_code write(std::string_view text);
  /// The whole reply at once.
  std::error_code send(Status status, std::string_view content_type, std::string_view body);
  std::error_code send(std::string_view text) { return send(status_, "text/plain; charset=utf-8", text); }
  /// In the stead of what was written so far, unless that has begun to go out: text/plain. Go: http.Error.
  std::error_code error(Status status, std::string_view text);
  std::error_code error(Status status, std::string_view content_type, std::string_view body);
  /// What was written so far goes out, head included. Go: http.Flusher.
  std::error_code flush();
  /// 302 by default; 301, 303, 307 or 308.
  std::error_code redirect(std::string_view location, Status status = Status::found);

  /// The head has been sent, or nothing may be changed any more.
  [[nodiscard]] bool has_begun() const noexcept { return has_begun_; }
  [[nodiscard]] std::uint64_t body_bytes() const noexcept { return body_bytes_; }  ///< written so far

 private:
  friend class detail::Exchange;
  explicit ResponseWriter(detail::Exchange& exchange) noexcept : exchange_(exchange) {}

  detail::Exchange& exchange_;
  Status status_ = Status::ok;
  Headers headers_;
  std::string pending_;  // of the body, while the head can wait
  std::uint64_t body_bytes_ = 0;
  bool has_begun_ = false;
  std::optional<std::uint64_t> left_;  // of the Content-Length that was promised
  bool is_chunked_ = false;
};

}  // namespace weft::http

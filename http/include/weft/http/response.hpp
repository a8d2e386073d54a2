#pragma once

// A server's reply, as the client has it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "weft/http/error.hpp"
#include "weft/http/headers.hpp"
#include "weft/http/status.hpp"

namespace weft::http {

namespace detail {
class Reply;
}

/// Status and headers are there; the body is read from the connection as it comes. Once it has been read to its end the
/// connection is free for other requests. What ends the request (its context, the client's timeout) ends reading too.
/// For one goroutine at a time; it may outlive its Client. Go: http.Response.
class Response {
 public:
  /// None: every call but close() throws Panic.
  Response() noexcept;
  explicit Response(std::unique_ptr<detail::Reply> reply) noexcept;  // for weft only
  Response(Response&& other) noexcept;
  Response& operator=(Response&& other) noexcept;
  ~Response();  ///< as close()

  [[nodiscard]] explicit operator bool() const noexcept { return reply_ != nullptr; }

  [[nodiscard]] Status status() const;
  [[nodiscard]] std::string_view reason() const;  ///< as the server has put it: "Not Found"; may be empty
  [[nodiscard]] int version() const;              ///< 10 or 11
  [[nodiscard]] const Headers& headers() const;
  [[nodiscard]] std::string_view header(std::string_view name) const { return headers().get(name); }
  /// Where it came from, after redirects; without user, password and fragment.
  [[nodiscard]] const std::string& url() const;
  /// As the server has announced it; nullopt: it has not. To HEAD: what GET would bring.
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;

  /// The next bytes of the body, at least one; 0 with errc::eof at its end. errc::truncated: the connection ended before.
  /// Parks.
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  /// The same; 0 at the end of the body. Throws std::system_error that names the URL.
  std::size_t read_some(std::span<std::byte> buffer);
  /// All of the body that has not been read yet; kept, so that it may be called again. errc::body_too_large if it has more than
  /// ClientOptions::max_body_bytes. Parks.
  const std::string& body(std::error_code& error);
  /// Throws std::system_error that names the URL.
  const std::string& body();
  /// As body(), but given away: get(url).text().
  std::string text(std::error_code& error);
  std::string text();

  /// Done with it: what is left of the body is not waited for; unless all of it is here already, the connection is closed. May
  /// be repeated. Status and headers stay. Go: Body.Close.
  void close() noexcept;

 private:
  [[nodiscard]] detail::Reply& reply() const;
  std::unique_ptr<detail::Reply> reply_;
};

}  // namespace weft::http

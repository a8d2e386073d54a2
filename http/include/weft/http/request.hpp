#pragma once

// A request, as a handler of the server sees it.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "weft/context.hpp"
#include "weft/http/headers.hpp"
#include "weft/net/endpoint.hpp"

namespace weft::http {

namespace detail {
class Exchange;
}

/// Valid until the handler returns. For one goroutine at a time. Go: http.Request.
class Request {
 public:
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  [[nodiscard]] std::string_view method() const noexcept { return method_; }  ///< "GET"; HEAD is what it says
  [[nodiscard]] std::string_view target() const noexcept { return target_; }  ///< as it was sent: "/a%20b?x=1"
  /// Without query, as it was sent. "/" at least; "*" for OPTIONS *.
  [[nodiscard]] std::string_view path() const noexcept { return path_; }
  [[nodiscard]] int version() const noexcept { return version_; }  ///< 10 or 11
  [[nodiscard]] const Headers& headers() const noexcept { return headers_; }
  [[nodiscard]] std::string_view header(std::string_view name) const noexcept { return headers_.get(name); }
  /// The host that was asked for, with port if one was given.
  [[nodiscard]] std::string_view host() const noexcept { return header("Host"); }
  [[nodiscard]] net::Endpoint peer() const;
  [[nodiscard]] bool is_tls() const noexcept;

  /// The first query parameter of that name, decoded; nullopt if there is none. One with a percent sign that stands for nothing
  /// is left out. Cost: parses the query.
  [[nodiscard]] std::optional<std::string> query(std::string_view name) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> queries() const;
  /// What stands in the path for {name} of the route, decoded; "" if the route has none. Go: PathValue.
  [[nodiscard]] std::string_view param(std::string_view name) const noexcept;
  /// The route's pattern, "/users/{id}"; "" before one was found. Go: Pattern.
  [[nodiscard]] std::string_view route() const noexcept { return route_; }

  /// The next bytes of the body; 0 with errc::eof at its end; errc::body_too_large, errc::truncated; net::errc::timed_out if the
  /// peer keeps it waiting. Parks. The client is told to go on if it waits for that (Expect: 100-continue).
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  /// The same; 0 at the end. Throws StatusError: 413, 400, 408.
  std::size_t read_some(std::span<std::byte> buffer);
  /// All of the body; may be called again. Throws likewise.
  const std::string& body();
  /// nullopt: it comes in chunks.
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;
  /// Of this request only, instead of the server's.
  void set_max_body_bytes(std::uint64_t bytes) noexcept;

  /// Done when the handler has returned, the server is closed, or the peer has gone, which is looked for once the body is
  /// read, unless the peer has sent its next request. Cost: some allocations at the first call.
  [[nodiscard]] const Context& context();
  /// Instead of it, for the handlers that follow: with a value or a deadline. Derived from context().
  void set_context(Context ctx);

 private:
  friend class detail::Exchange;
  friend class Router;
  explicit Request(detail::Exchange& exchange) noexcept : exchange_(exchange) {}

  detail::Exchange& exchange_;
  std::string method_;
  std::string target_;
  std::string_view path_;
  std::string_view query_;
  int version_ = 11;
  Headers headers_;
  std::string_view route_;
  std::vector<std::pair<std::string_view, std::string>> params_;
  std::optional<std::string> body_;
};

}  // namespace weft::http

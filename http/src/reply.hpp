#pragma once

// A request on its way to the server, and what stands behind a Response.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "client_pool.hpp"
#include "request_url.hpp"
#include "response_parser.hpp"
#include "weft/context.hpp"
#include "weft/http/client.hpp"

namespace weft::http::detail {

/// What is sent to one URL; redirects change it.
struct Outgoing {
  RequestUrl url;
  std::string method;
  Headers headers;  // the client's own ones included
  std::string_view body;
  const BodySource* source = nullptr;
  std::optional<std::uint64_t> source_length;
  bool has_used_source = false;
};

/// Sends a request over a connection, and reads the reply; the connection goes back to the pool at the reply's end, if it may
/// serve another one, or is closed.
class Reply {
 public:
  Reply(std::shared_ptr<ClientPool> pool, std::unique_ptr<ClientConnection> connection, Context ctx)
      : pool_(std::move(pool)), connection_(std::move(connection)), ctx_(std::move(ctx)) {}
  Reply(const Reply&) = delete;
  Reply& operator=(const Reply&) = delete;
  ~Reply() { close(); }

  /// Sends the request, and reads the reply's status and headers. Once, first of all.
  std::error_code exchange(Outgoing& request);
  /// After an error of exchange(): whether the server cannot have acted on it, so that it may be sent again.
  [[nodiscard]] bool may_be_repeated(const Outgoing& request) const noexcept;
  /// What ends the context goes on until the body is read.
  void hold(CancelFunc end) noexcept { end_context_ = std::move(end); }

  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  const std::string& body(std::error_code& error);
  std::string text(std::error_code& error);
  /// Reads on, and no further than that, so that the connection can be kept.
  void skip_body(std::size_t most);
  void close() noexcept;

  [[nodiscard]] Status status() const noexcept { return status_; }
  [[nodiscard]] const std::string& reason() const noexcept { return reason_; }
  [[nodiscard]] const Headers& headers() const noexcept { return headers_; }
  [[nodiscard]] const std::string& url() const noexcept { return url_; }
  [[nodiscard]] int version() const noexcept { return parser_->version(); }
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;
  /// Throws the error, with the request's name; `doing`: "reading the body".
  [[noreturn]] void fail(const std::error_code& error, const char* doing) const;

 private:
  std::error_code send(Outgoing& request);
  std::error_code send_source(Outgoing& request);
  std::error_code write(std::string_view text);
  std::error_code read_head(bool is_head);
  std::error_code parse_head();
  std::error_code read_more();
  std::error_code parse_body();
  std::error_code read_body(std::span<std::byte> buffer);
  std::string read_all(std::error_code& error);
  void end(const std::error_code& how) noexcept;

  const std::shared_ptr<ClientPool> pool_;
  std::unique_ptr<ClientConnection> connection_;  // null once the body has ended
  Context ctx_;
  CancelFunc end_context_;
  std::string method_;
  std::string url_;
  bool has_sent_ = false;      // at least one byte
  bool has_received_ = false;  // likewise
  bool is_peer_gone_ = false;  // a write has failed
  bool may_reuse_ = false;

  Status status_{};
  std::string reason_;
  Headers headers_;
  std::optional<ResponseParser> parser_;
  std::error_code end_;  // how the body has ended
  std::optional<std::string> body_;
};

}  // namespace weft::http::detail

#pragma once

// What a connection needs while it is in use: buffers, parser, the request and its reply. Kept in a pool between uses, so that an idle
// connection has none.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "date.hpp"
#include "input_buffer.hpp"
#include "peer_watch.hpp"
#include "request_parser.hpp"
#include "service.hpp"
#include "transport.hpp"
#include "weft/context.hpp"
#include "weft/http/request.hpp"
#include "weft/http/response_writer.hpp"

namespace weft::http::detail {

/// What a request is replied whose reading has ended so.
Status status_of(const std::error_code& error) noexcept;

class Exchange {
 public:
  Exchange() noexcept : request_(*this), response_(*this) {}

  enum class End { kSilent, kIdle, kClosed };
  /// Serves the requests that are there, and those that come while it does. kSilent: there were none; kIdle: nothing has come
  /// since the last one.
  End serve(Service& service, Transport& transport);

  // --- for Request ---

  std::size_t read_body(std::span<std::byte> buffer, std::error_code& error);
  [[nodiscard]] std::optional<std::uint64_t> content_length() const;
  void set_max_body_bytes(std::uint64_t bytes) noexcept { max_body_bytes_ = bytes; }
  [[nodiscard]] Transport& transport() const noexcept { return *transport_; }
  const Context& context();
  void set_context(Context ctx) { context_ = std::move(ctx); }

  // --- for ResponseWriter ---

  std::error_code write(std::string_view text);
  std::error_code send(std::string_view body);
  std::error_code flush();

 private:
  static constexpr std::size_t kMostOutput = 32768;  // collected before it is sent
  enum class Header { kComplete, kIdle, kClosed, kBad };

  bool serve_one();
  void begin();
  Header read_header();
  Header check_header();
  bool find_path();
  void run_handler();
  void watch_peer();
  void fail(Status status, std::string_view text);
  void finish();
  [[nodiscard]] bool is_rest_short() const;
  bool skip_rest_of_body();
  void part_politely();

  bool tell_to_continue();

  [[nodiscard]] bool may_have_body() const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> promised_length() const noexcept;
  void begin_body(std::optional<std::uint64_t> length);
  void append_head(std::optional<std::uint64_t> length);
  void append_body(std::string_view text);
  std::error_code send_out();

  Service* service_ = nullptr;
  Transport* transport_ = nullptr;

  InputBuffer input_;
  std::optional<RequestParser> parser_;
  Request request_;
  std::uint64_t max_body_bytes_ = 0;
  std::uint64_t body_read_ = 0;
  std::error_code body_error_;  // once it has ended: how
  bool must_continue_ = false;  // the peer waits for "100 Continue"

  ResponseWriter response_;
  std::string output_;
  std::error_code output_error_;
  DateText date_;
  bool is_head_ = false;  // the method
  bool keeps_alive_ = false;
  std::string absolute_path_;  // of a target that is a whole URL

  std::optional<Context> context_;
  std::optional<CancelFunc> cancel_;
  std::shared_ptr<PeerWatch> peer_watch_;
};

}  // namespace weft::http::detail

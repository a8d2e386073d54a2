#pragma once

// From bytes to a reply: Beast's parser, which keeps nothing itself, put to our own types. Sole user of Beast in the client.

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "weft/http/error.hpp"
#include "weft/http/headers.hpp"
#include "weft/http/status.hpp"

namespace weft::http::detail {

/// For one reply. Bytes are given to it as they come; the body goes where set_sink() says, no further than that.
class ResponseParser final : public boost::beast::http::basic_parser<false> {
 public:
  ResponseParser(Status& status, std::string& reason, Headers& headers, std::size_t max_header_bytes)
      : status_(status), reason_(reason), headers_(headers), max_header_bytes_(max_header_bytes) {
    constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
    header_limit(static_cast<std::uint32_t>(std::min(max_header_bytes, kMost)));
    body_limit(boost::none);  // counted by who reads it
  }

  /// Parses on, by one step; returns how much of it is used. None without an error: more is needed.
  std::size_t parse(std::span<const char> input, std::error_code& error) {
    const bool is_in_body = is_header_done();
    // What comes after a chunk has five bytes at least ("0\r\n\r\n"): Beast asserts that in one place.
    if (is_in_body && chunked() && chunk_left_ == 0 && input.size() < 5) return 0;
    const std::size_t got = got_;
    Code ec;
    const std::size_t n = put(boost::asio::const_buffer(input.data(), input.size()), ec);
    if (ec == boost::beast::http::error::need_more) {
      // Of chunks Beast limits neither the headers nor what comes after the last one.
      if (input.size() > max_header_bytes_) error = errc::header_too_large;
    } else if (ec) {
      error = ec == boost::beast::http::error::header_limit  ? errc::header_too_large
              : ec == boost::beast::http::error::bad_version ? errc::bad_version
                                                             : errc::bad_message;
    } else if (is_in_body) {
      body_bytes_ += got_ - got;
      chunk_header_bytes_ += n - (got_ - got);
      if (chunk_header_bytes_ > max_header_bytes_ + kMostAroundByte * body_bytes_) error = errc::bad_message;
    }
    return n;
  }

  /// The connection has ended. False: within the reply.
  bool parse_end() {
    Code ec;
    if (got_some()) put_eof(ec);
    return got_some() && !ec;
  }

  void set_sink(std::span<std::byte> sink) noexcept {
    sink_ = sink;
    got_ = 0;
  }
  [[nodiscard]] std::size_t got() const noexcept { return got_; }
  [[nodiscard]] int version() const noexcept { return version_; }  // once the header is done

 private:
  using Text = boost::beast::string_view;
  using Code = boost::system::error_code;
  using Field = boost::beast::http::field;
  static constexpr std::uint64_t kMostAroundByte = 16;  // in a chunk of its own

  static std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }
  std::size_t deliver(Text body) noexcept {
    const std::size_t n = std::min(body.size(), sink_.size() - got_);
    void* const place = sink_.data() + got_;
    if (n > 0 && place != body.data()) std::memcpy(place, body.data(), n);  // else it was read into its place
    got_ += n;
    return n;
  }

  void on_request_impl(boost::beast::http::verb, Text, Text, int, Code&) override {}
  void on_response_impl(int number, Text reason, int version, Code&) override {
    status_ = static_cast<Status>(number);
    reason_ = view(reason);
    version_ = version;
  }
  void on_field_impl(Field field, Text name, Text value, Code& ec) override {
    if (is_header_done()) return;  // no trailers: they were not asked for
    // Beast would take a body in another coding for one that lasts until the connection ends.
    if (field == Field::transfer_encoding && !equal_ignoring_case(view(value), "chunked")) {
      ec = boost::beast::http::error::bad_transfer_encoding;
    }
    headers_.append_parsed(view(name), view(value));
  }
  void on_header_impl(Code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Code&) override {}
  std::size_t on_body_impl(Text body, Code&) override { return deliver(body); }
  void on_chunk_header_impl(std::uint64_t size, Text, Code&) override { chunk_left_ = size; }
  std::size_t on_chunk_body_impl(std::uint64_t, Text body, Code&) override {
    const std::size_t n = deliver(body);
    chunk_left_ -= n;
    return n;
  }
  void on_finish_impl(Code&) override {}

  Status& status_;
  std::string& reason_;
  Headers& headers_;
  const std::size_t max_header_bytes_;
  int version_ = 11;
  std::span<std::byte> sink_;
  std::size_t got_ = 0;
  std::uint64_t chunk_left_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t chunk_header_bytes_ = 0;
};

}  // namespace weft::http::detail

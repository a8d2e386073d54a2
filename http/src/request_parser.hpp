#pragma once

// From bytes to a request: Beast's parser, which keeps nothing itself, put to our own types. Sole user of Beast in the server.

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <system_error>

#include "weft/http/error.hpp"
#include "weft/http/headers.hpp"

namespace weft::http::detail {

/// For one request. Bytes are given to it as they come; the body goes where set_sink() says, no further than that.
class RequestParser final : public boost::beast::http::basic_parser<true> {
 public:
  RequestParser(std::string& method, std::string& target, Headers& headers, std::size_t max_header_bytes)
      : method_(method), target_(target), headers_(headers) {
    header_limit(static_cast<std::uint32_t>(std::min<std::size_t>(max_header_bytes, UINT32_MAX)));
    body_limit(boost::none);  // counted by who reads it
  }

  /// Parses on, by one step; returns how much of it is used. None without an error: more is needed.
  std::size_t parse(std::span<const char> input, std::error_code& error) {
    boost::system::error_code ec;
    const std::size_t n = put(boost::asio::const_buffer(input.data(), input.size()), ec);
    if (ec && ec != boost::beast::http::error::need_more) {
      error = ec == boost::beast::http::error::header_limit  ? errc::header_too_large
              : ec == boost::beast::http::error::bad_version ? errc::bad_version
                                                             : errc::bad_message;
    }
    return n;
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

  static std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }
  std::size_t deliver(Text body) noexcept {
    const std::size_t n = std::min(body.size(), sink_.size() - got_);
    std::memcpy(sink_.data() + got_, body.data(), n);
    got_ += n;
    return n;
  }

  void on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Code&) override {
    method_ = view(method);
    target_ = view(target);
    version_ = version;
  }
  void on_response_impl(int, Text, int, Code&) override {}
  void on_field_impl(boost::beast::http::field, Text name, Text value, Code&) override {
    if (!is_header_done()) headers_.append_parsed(view(name), view(value));  // no trailers: they were not asked for
  }
  void on_header_impl(Code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, Code&) override {}
  std::size_t on_body_impl(Text body, Code&) override { return deliver(body); }
  void on_chunk_header_impl(std::uint64_t, Text, Code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, Text body, Code&) override { return deliver(body); }
  void on_finish_impl(Code&) override {}

  std::string& method_;
  std::string& target_;
  Headers& headers_;
  std::span<std::byte> sink_;
  std::size_t got_ = 0;
  int version_ = 11;
};

}  // namespace weft::http::detail

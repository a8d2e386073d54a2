#pragma once

// From bytes to a request: Beast's parser, which keeps nothing itself, put to our own types. Sole user of Beast in the server.
//
// What it adds to Beast's: Beast's limit is on what is not parsed yet, so a header that comes field by field could go on for
// ever, and so could a chunk's header; of a Transfer-Encoding that it does not know Beast says nothing, and takes the body for the
// next request.

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

#include <algorithm>
#include <array>
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
      : method_(method), target_(target), headers_(headers), max_header_bytes_(max_header_bytes) {
    // Beast's limit is for a line that does not end; what has come in full is counted here, however it was cut into pieces.
    const std::size_t most = std::min<std::size_t>(max_header_bytes, UINT32_MAX - kSlack) + kSlack;
    header_limit(static_cast<std::uint32_t>(most));
    body_limit(boost::none);  // counted by who reads it
  }

  /// Parses on, by one step; returns how much of it is used. None without an error: more is needed.
  std::size_t parse(std::span<const char> input, std::error_code& error) {
    const bool is_in_body = is_header_done();
    // At the beginning of a chunk Beast asserts that there is room for the last one, which is the shortest.
    if (is_in_body && chunked() && chunk_left_ == 0 && input.size() < kShortestChunk) return 0;
    const std::size_t got = got_;
    Code ec;
    const std::size_t n = put(boost::asio::const_buffer(input.data(), input.size()), ec);
    if (ec && ec != boost::beast::http::error::need_more) {
      error = error_of(ec, {input.data(), input.size()});
    } else if (is_in_body) {
      body_bytes_ += got_ - got;
      chunk_header_bytes_ += n - (got_ - got);
      const std::uint64_t most = max_header_bytes_ + body_bytes_ * kMostOverhead;
      if (chunk_header_bytes_ > most || (n == 0 && input.size() > max_header_bytes_)) error = errc::bad_message;
    }
    return n;
  }

  void set_sink(std::span<std::byte> sink) noexcept {
    sink_ = sink;
    got_ = 0;
  }
  [[nodiscard]] std::size_t got() const noexcept { return got_; }
  [[nodiscard]] int version() const noexcept { return version_; }  // once the header is done
  [[nodiscard]] int hosts() const noexcept { return hosts_; }      // fields of that name
  [[nodiscard]] bool is_host_valid() const noexcept { return is_host_valid_; }
  [[nodiscard]] bool expects_continue() const noexcept { return expects_continue_; }
  /// The body comes as it is, or in chunks. (Beast takes what it does not know for no encoding, and the end of a list for all.)
  [[nodiscard]] bool is_encoding_known() const noexcept { return encodings_ == 0 || (encodings_ == 1 && is_chunked_); }

 private:
  using Text = boost::beast::string_view;
  using Code = boost::system::error_code;
  static constexpr std::size_t kSlack = 64;
  static constexpr std::size_t kAroundLine = 12;      // spaces, version, line end
  static constexpr std::size_t kAroundField = 4;      // ": ", line end
  static constexpr std::size_t kShortestChunk = 5;    // "0", and two line ends
  static constexpr std::uint64_t kMostOverhead = 16;  // bytes around a chunk of one

  /// Which host it is, and whether it is ours, is the handler's affair.
  static bool is_host(Text text) noexcept {
    static constexpr auto kMayBe = [] {
      std::array<bool, 256> may_be{};
      for (const char c : std::string_view("-._~%!$&'()*+,;=:[]")) may_be[static_cast<std::size_t>(c)] = true;
      for (const std::string_view range : {"09", "az", "AZ"}) {
        for (char c = range[0]; c <= range[1]; ++c) may_be[static_cast<std::size_t>(c)] = true;
      }
      return may_be;
    }();
    bool is_host = true;
    for (const char c : text) is_host = is_host && kMayBe[static_cast<unsigned char>(c)];
    return is_host;
  }
  static std::string_view view(Text text) noexcept { return {text.data(), text.size()}; }
  std::size_t deliver(Text body) noexcept {
    const std::size_t n = std::min(body.size(), sink_.size() - got_);
    if (n == 0) return 0;
    std::memcpy(sink_.data() + got_, body.data(), n);
    got_ += n;
    return n;
  }

  void count(std::size_t bytes, Code& ec) {
    header_bytes_ += bytes;
    if (header_bytes_ > max_header_bytes_) ec = boost::beast::http::error::header_limit;
  }
  [[nodiscard]] errc error_of(const Code& ec, std::string_view input) const {
    using Error = boost::beast::http::error;
    if (ec == Error::header_limit) {
      const bool is_in_first_line = !has_request_line_ && input.substr(0, max_header_bytes_).find('\n') == input.npos;
      return is_in_first_line ? errc::target_too_long : errc::header_too_large;
    }
    return ec == Error::bad_version && names_version(input) ? errc::bad_version : errc::bad_message;
  }
  /// Whether the first line is that of a request in some version of HTTP.
  static bool names_version(std::string_view input) noexcept {
    const std::string_view line = input.substr(0, input.find("\r\n"));
    const std::string_view end = line.substr(line.rfind(' ') + 1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    return std::count(line.begin(), line.end(), ' ') == 2 && line.find_first_of("\r\n") == line.npos &&
           end.size() == 8 && end.starts_with("HTTP/") && is_digit(end[5]) && end[6] == '.' && is_digit(end[7]);
  }

  void on_request_impl(boost::beast::http::verb, Text method, Text target, int version, Code& ec) override {
    count(method.size() + target.size() + kAroundLine, ec);
    if (ec) return;
    has_request_line_ = true;
    method_ = view(method);
    target_ = view(target);
    version_ = version;
  }
  void on_response_impl(int, Text, int, Code&) override {}
  void on_field_impl(boost::beast::http::field field, Text name, Text value, Code& ec) override {
    if (is_header_done()) return;  // no trailers: they were not asked for
    count(name.size() + value.size() + kAroundField, ec);
    if (ec) return;
    using Name = boost::beast::http::field;
    if (field == Name::transfer_encoding) {
      ++encodings_;
      is_chunked_ = equal_ignoring_case(view(value), "chunked");
    } else if (field == Name::host) {
      ++hosts_;
      is_host_valid_ = is_host(value);
    } else if (field == Name::expect) {
      expects_continue_ = equal_ignoring_case(view(value), "100-continue");
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

  std::string& method_;
  std::string& target_;
  Headers& headers_;
  const std::size_t max_header_bytes_;
  std::size_t header_bytes_ = 0;
  bool has_request_line_ = false;
  int version_ = 11;
  int encodings_ = 0;        // fields of that name
  bool is_chunked_ = false;  // the last of them
  int hosts_ = 0;
  bool is_host_valid_ = true;
  bool expects_continue_ = false;

  std::span<std::byte> sink_;
  std::size_t got_ = 0;
  std::uint64_t chunk_left_ = 0;
  std::uint64_t body_bytes_ = 0;
  std::uint64_t chunk_header_bytes_ = 0;
};

}  // namespace weft::http::detail

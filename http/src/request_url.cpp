#include "request_url.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>

#include "weft/http/error.hpp"

namespace weft::http::detail {
namespace {

constexpr std::string_view kHexDigits = "0123456789ABCDEF";
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr bool is_alphanumeric(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

constexpr bool is_hex(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

constexpr bool is_control(char c) noexcept { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

/// Of a host that is no address of IPv6. (Names beyond ASCII would have to be put into it first.)
constexpr bool is_host_char(char c) noexcept {
  return is_alphanumeric(c) || c == '.' || c == '-' || c == '_' || c == '~';
}

constexpr bool is_target_char(char c) noexcept {
  return is_alphanumeric(c) || std::string_view("-._~!$&'()*+,;=:@/?").find(c) != std::string_view::npos;
}

/// Where path and query begin.
std::size_t end_of_authority(std::string_view text) noexcept {
  const std::size_t slashes = text.find("//");
  // "//" of a path or query has a '/' or '?' before it
  if (slashes == std::string_view::npos || text.find_first_of("/?") < slashes) return 0;
  return std::min(text.find_first_of("/?", slashes + 2), text.size());
}

/// As people and servers write it: with spaces, brackets and letters of any language in path and query, which are escaped, and
/// a fragment, which is dropped.
std::string tidy(std::string_view text) {
  text = text.substr(0, text.find('#'));
  const std::size_t begin = end_of_authority(text);
  std::string tidied(text.substr(0, begin));
  for (std::size_t i = begin; i < text.size(); ++i) {
    const bool is_escape = text[i] == '%' && i + 2 < text.size() && is_hex(text[i + 1]) && is_hex(text[i + 2]);
    if (is_target_char(text[i]) || is_escape) {
      tidied += text[i];
    } else {
      const auto byte = static_cast<unsigned char>(text[i]);
      tidied += {'%', kHexDigits[byte >> 4U], kHexDigits[byte & 0xfU]};
    }
  }
  return tidied;
}

std::string base64(std::string_view text) {
  std::string encoded;
  for (std::size_t i = 0; i < text.size(); i += 3) {
    const std::string_view three = text.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8U | (k < three.size() ? static_cast<unsigned char>(three[k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      encoded += k > three.size() ? '=' : kBase64[bits >> (18U - 6U * k) & 0x3fU];
    }
  }
  return encoded;
}

template <class Text>
std::string to_text(const Text& text) {
  return std::string(text.data(), text.size());
}

bool is_host(const boost::urls::url_view& url) {
  const auto host = url.encoded_host();
  if (url.host_type() == boost::urls::host_type::ipv6) return true;
  return !host.empty() && std::all_of(host.begin(), host.end(), &is_host_char);
}

bool is_port(std::string_view text) noexcept {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return text.empty() || (error == std::errc() && end == text.data() + text.size() && number != 0);
}

RequestUrl from_parsed(const boost::urls::url_view& url, std::error_code& error) {
  error.clear();
  RequestUrl result;
  const auto scheme = url.scheme_id();
  if (scheme != boost::urls::scheme::http && scheme != boost::urls::scheme::https) {
    error = url.has_scheme() ? std::make_error_code(std::errc::protocol_not_supported) : make_error_code(errc::bad_url);
    return result;
  }
  result.is_tls = scheme == boost::urls::scheme::https;
  result.host = to_text(url.encoded_host());
  std::transform(result.host.begin(), result.host.end(), result.host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
  result.port = to_text(url.port());
  result.target = to_text(url.encoded_path());
  if (result.target.empty()) result.target = "/";
  // Boost.URL 1.81 takes what it does not understand of "h:8x" for a path.
  if (!is_host(url) || !is_port(result.port) || result.target.front() != '/') error = errc::bad_url;
  if (url.has_query()) result.target += "?" + to_text(url.encoded_query());
  if (url.has_userinfo()) {
    result.user_info = to_text(url.encoded_userinfo());
    result.authorization = "Basic " + base64(url.user() + ":" + url.password());
  }
  return result;
}

}  // namespace

RequestUrl parse_url(std::string_view text, std::error_code& error) {
  error = errc::bad_url;
  if (std::any_of(text.begin(), text.end(), &is_control)) return {};
  const std::string tidied = tidy(text);
  const auto url = boost::urls::parse_uri(tidied);
  return url ? from_parsed(*url, error) : RequestUrl{};
}

RequestUrl resolve_url(const RequestUrl& base, std::string_view location, std::error_code& error) {
  error = errc::bad_url;
  if (std::any_of(location.begin(), location.end(), &is_control)) return {};
  const std::string whole =
      base.scheme() + (base.user_info.empty() ? "" : base.user_info + "@") + base.host_and_port() + base.target;
  const std::string tidied = tidy(location);
  const auto from = boost::urls::parse_uri(whole);
  const auto to = boost::urls::parse_uri_reference(tidied);
  boost::urls::url resolved;
  if (!from || !to || boost::urls::resolve(*from, *to, resolved).has_error()) return {};
  return from_parsed(resolved, error);
}

bool is_absolute_url(std::string_view location) noexcept { return end_of_authority(location) != 0; }

}  // namespace weft::http::detail

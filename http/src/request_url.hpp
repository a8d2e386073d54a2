#pragma once

// Where a request goes. Boost.URL reads it.

#include <string>
#include <string_view>
#include <system_error>

namespace weft::http::detail {

struct RequestUrl {
  bool is_tls = false;
  std::string host;           // in lower case; an address of IPv6 in brackets
  std::string port;           // "": the scheme's
  std::string target;         // path and query, escaped; "/" at least
  std::string user_info;      // as it stood there
  std::string authorization;  // "Basic ...", if there was a user

  /// For the Host field.
  [[nodiscard]] std::string host_and_port() const { return port.empty() ? host : host + ":" + port; }
  /// To dial.
  [[nodiscard]] std::string address() const { return host + ":" + (!port.empty() ? port : is_tls ? "443" : "80"); }
  /// Whose connections can serve it.
  [[nodiscard]] std::string origin() const { return scheme() + address(); }
  /// Without the user.
  [[nodiscard]] std::string text() const { return scheme() + host_and_port() + target; }
  [[nodiscard]] std::string scheme() const { return is_tls ? "https://" : "http://"; }
};

/// errc::bad_url; std::errc::protocol_not_supported for a scheme that is neither http nor https.
RequestUrl parse_url(std::string_view text, std::error_code& error);
/// What a Location means in a reply from `base`.
RequestUrl resolve_url(const RequestUrl& base, std::string_view location, std::error_code& error);
/// Whether it names its host itself.
bool is_absolute_url(std::string_view location) noexcept;

}  // namespace weft::http::detail

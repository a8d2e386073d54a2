#include "weft/http/request.hpp"

#include <boost/url/pct_string_view.hpp>

#include <cstdint>
#include <utility>

#include "exchange.hpp"

namespace weft::http {
namespace {

/// As forms have it; nullopt: a percent sign that stands for nothing.
std::optional<std::string> decode_form(std::string_view text) {
  const auto checked = boost::urls::make_pct_string_view({text.data(), text.size()});
  if (!checked) return std::nullopt;
  boost::urls::encoding_opts form;
  form.space_as_plus = true;
  return checked->decode(form);
}

}  // namespace

net::Endpoint Request::peer() const { return exchange_.transport().peer(); }
bool Request::is_tls() const noexcept { return exchange_.transport().is_tls(); }

std::vector<std::pair<std::string, std::string>> Request::queries() const {
  std::vector<std::pair<std::string, std::string>> found;
  // Not by a URL's grammar: browsers send what it has no room for, "a[]=1" say.
  for (std::string_view rest = query_; !rest.empty();) {
    const std::size_t end = rest.find('&');
    const std::string_view one = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (one.empty()) continue;
    const std::size_t sign = one.find('=');
    std::optional<std::string> name = decode_form(one.substr(0, sign));
    std::optional<std::string> value =
        decode_form(sign == std::string_view::npos ? std::string_view() : one.substr(sign + 1));
    if (name && value) found.emplace_back(*std::move(name), *std::move(value));
  }
  return found;
}

std::optional<std::string> Request::query(std::string_view name) const {
  if (query_.empty()) return std::nullopt;
  for (auto& [key, value] : queries()) {
    if (key == name) return std::move(value);
  }
  return std::nullopt;
}

std::string_view Request::param(std::string_view name) const noexcept {
  for (const auto& [key, value] : params_) {
    if (key == name) return value;
  }
  return {};
}

std::size_t Request::read_some(std::span<std::byte> buffer, std::error_code& error) {
  return exchange_.read_body(buffer, error);
}

std::size_t Request::read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_some(buffer, error);
  if (error && error != errc::eof) throw StatusError(detail::status_of(error), error.message());
  return n;
}

const std::string& Request::body() {
  if (body_) return *body_;
  std::string text;
  if (const auto length = content_length(); length && *length <= (std::uint64_t{1} << 20U)) text.reserve(*length);
  std::byte piece[4096];
  while (const std::size_t n = read_some(piece)) text.append(reinterpret_cast<const char*>(piece), n);
  return body_.emplace(std::move(text));
}

std::optional<std::uint64_t> Request::content_length() const { return exchange_.content_length(); }
void Request::set_max_body_bytes(std::uint64_t bytes) noexcept { exchange_.set_max_body_bytes(bytes); }
const Context& Request::context() { return exchange_.context(); }
void Request::set_context(Context ctx) { exchange_.set_context(std::move(ctx)); }

}  // namespace weft::http

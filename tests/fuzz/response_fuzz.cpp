// Everything that a server may reply, against the client's way from bytes to a response; and the URL that a redirect names.
//
// What must hold, besides that nothing crashes: a reply is the same in whatever pieces its bytes come, and a URL that was
// understood is understood again when it is written down.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <weft/context.hpp>
#include <weft/net/error.hpp>

#include "reply.hpp"

namespace {

namespace http = weft::http;
namespace detail = weft::http::detail;

[[noreturn]] void fail(const char* what, std::string_view one, std::string_view other) {
  std::fprintf(stderr, "%s\n--- one:\n%.*s\n--- other:\n%.*s\n", what, static_cast<int>(one.size()), one.data(),
               static_cast<int>(other.size()), other.data());
  std::abort();
}

class MemoryWire final : public detail::Wire {
 public:
  MemoryWire(std::string_view input, std::size_t piece) : input_(input), piece_(piece) {}
  std::size_t read_some(std::span<std::byte> buffer, const weft::Context&, std::error_code& error) override {
    error.clear();
    if (input_.empty()) error = weft::net::errc::eof;
    const std::size_t most = piece_ == 0 ? buffer.size() : std::min(piece_, buffer.size());
    const std::size_t n = input_.copy(reinterpret_cast<char*>(buffer.data()), most);
    input_.remove_prefix(n);
    return n;
  }
  std::size_t write(std::string_view text, const weft::Context&, std::error_code& error) override {
    error.clear();
    return text.size();
  }
  bool is_quiet() override { return input_.empty(); }

 private:
  std::string_view input_;
  const std::size_t piece_;
};

void check_url(const detail::RequestUrl& base, std::string_view location) {
  std::error_code error;
  const detail::RequestUrl url = detail::resolve_url(base, location, error);
  if (error) return;
  const detail::RequestUrl again = detail::parse_url(url.text(), error);
  if (error || again.text() != url.text()) fail("a URL changes when it is read again", url.text(), again.text());
  if (url.target.empty() || url.target.front() != '/') fail("a target that is none", location, url.target);
  for (const char c : url.target + url.host) {
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f) fail("a URL with a space", location, url.text());
  }
}

/// What a client gets; "" if it was too much.
std::string ask(std::string_view input, const char* method, std::size_t piece) {
  http::ClientOptions options;
  options.max_header_bytes = 600;  // so that limits are met
  options.max_body_bytes = 400;
  options.max_idle = 0;
  const auto pool = std::make_shared<detail::ClientPool>(std::move(options));
  auto connection = std::make_unique<detail::ClientConnection>();
  connection->wire = std::make_unique<MemoryWire>(input, piece);
  std::error_code error;
  detail::Outgoing request;
  request.url = detail::parse_url("http://user@a.example:81/b/c?d", error);
  request.method = method;
  detail::Reply reply(pool, std::move(connection), weft::background());
  error = reply.exchange(request);
  std::string seen;
  if (!error) {
    seen = std::to_string(code(reply.status())) + reply.reason();
    for (const auto& field : reply.headers()) seen.append("|").append(field.name).append("=").append(field.value);
    if (piece == 0) check_url(request.url, reply.headers().get("Location"));
    seen += "\n" + reply.text(error);
  }
  if (error == http::errc::header_too_large || error == http::errc::body_too_large) return {};
  return seen + "!" + (error ? "error" : "");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  for (const char* method : {"GET", "HEAD"}) {
    const std::string whole = ask(input, method, 0);
    for (const std::size_t piece : {std::size_t{1}, 2 + size % 31}) {
      const std::string other = ask(input, method, piece);
      if (!whole.empty() && !other.empty() && whole != other) fail("pieces make a difference", whole, other);
    }
  }
  return 0;
}

#pragma once

// An HTTP/1.1 client.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "weft/context.hpp"
#include "weft/http/headers.hpp"
#include "weft/http/response.hpp"

namespace weft::net {
class TlsConfig;
}

namespace weft::http {

namespace detail {
class ClientPool;
}

struct ClientOptions {
  /// From the call to the end of the reply's body, redirects included: weft::errc::deadline_exceeded. 0: none but the context's.
  std::chrono::nanoseconds timeout{0};
  /// To look a name up, connect, and agree on keys: net::errc::timed_out. 0: none.
  std::chrono::nanoseconds dial_timeout = std::chrono::seconds(30);
  /// How many redirects are followed: errc::too_many_redirects after that. 0: a redirect is a reply like others.
  int max_redirects = 10;
  std::size_t max_header_bytes = std::size_t{64} << 10U;    ///< of a reply: errc::header_too_large
  std::uint64_t max_body_bytes = std::uint64_t{64} << 20U;  ///< for Response::body() and text(): errc::body_too_large
  /// Connections that are kept for later requests, and how long. 0: none is kept; for ever.
  std::size_t max_idle = 100;
  std::size_t max_idle_per_host = 2;
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(90);
  /// Most that are open to one host at once; who finds none free waits. 0: no limit.
  std::size_t max_connections_per_host = 0;
  /// For https. Null: TlsConfig::client(). Go: Transport.TLSClientConfig.
  std::shared_ptr<const net::TlsConfig> tls = {};
  /// For every request that has no such fields itself.
  Headers headers = {};
};

/// Fills the buffer with the next bytes of a request's body, at least one, and returns how many; 0 at the end. An error other than
/// errc::eof ends the request.
using BodySource = std::function<std::size_t(std::span<std::byte> buffer, std::error_code& error)>;

/// What to ask. Content-Length and Transfer-Encoding are set by the client; "User-Agent" is unless it is here (empty: not sent); "Host"
/// may be here instead of the URL's. Go: http.Request.
struct ClientRequest {
  std::string
      url;  ///< "http://user:password@host:port/path?query"; what may not stand there, such as a space, is escaped
  std::string method = "GET";
  Headers headers = {};
  std::string body = {};
  /// Instead of `body`: read while it is sent, in the calling goroutine. It can be sent only once, so that neither a redirect of 307
  /// or 308 is followed nor a stale connection made good.
  BodySource source = {};
  /// How much the source has; more or less: errc::wrong_length. nullopt: it is sent in chunks.
  std::optional<std::uint64_t> source_length = {};
};

/// Keeps connections for later requests, and follows redirects as Go does: 301, 302 and 303 go on with GET (HEAD stays), 307 and
/// 308 as before; credentials do not go to another host. A request that finds its connection closed by the server while it was
/// idle is sent once more on a new one, if it is GET, HEAD, OPTIONS or TRACE, or nothing of it was sent.
///
/// All of it happens in the calling goroutine; the request's body is sent before the reply is read. Each call ends when its
/// context does, and its connection is closed then. Not there: proxies, cookies, compression (none is asked for), HTTP/2.
/// Safe from: several goroutines and threads at once. Go: http.Client with its http.Transport.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();  ///< closes idle connections; replies that are still being read go on

  /// Any status is a reply, not an error. std::errc::invalid_argument for a method that is no token; errc::bad_url;
  /// std::errc::protocol_not_supported (so is https in a build without TLS); errc::truncated if the server closes without a
  /// reply; errc::bad_message, bad_version, header_too_large; what dialing, writing, reading may end with; the context's error.
  Response send(const ClientRequest& request, const Context& ctx, std::error_code& error);
  /// Throws std::system_error that names the URL (never its password).
  Response send(const ClientRequest& request, const Context& ctx = Context());

  Response get(std::string_view url, const Context& ctx, std::error_code& error);
  Response get(std::string_view url, const Context& ctx = Context());
  Response head(std::string_view url, const Context& ctx, std::error_code& error);
  Response head(std::string_view url, const Context& ctx = Context());
  Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx,
                std::error_code& error);
  Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx = Context());

  /// Go: CloseIdleConnections.
  void close_idle();

 private:
  std::shared_ptr<detail::ClientPool> pool_;
};

/// What the functions below use; with no timeout. Go: http.DefaultClient.
Client& default_client();

Response get(std::string_view url, const Context& ctx, std::error_code& error);
Response get(std::string_view url, const Context& ctx = Context());
Response head(std::string_view url, const Context& ctx, std::error_code& error);
Response head(std::string_view url, const Context& ctx = Context());
Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx,
              std::error_code& error);
Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx = Context());

}  // namespace weft::http

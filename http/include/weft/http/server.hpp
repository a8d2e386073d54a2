#pragma once

// An HTTP/1.1 server.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>

#include "weft/context.hpp"
#include "weft/http/handler.hpp"
#include "weft/net/stream.hpp"

namespace weft::net {
class TlsConfig;
}

namespace weft::http {

namespace detail {
class ServerState;
}

struct ServerOptions {
  std::chrono::nanoseconds header_timeout =
      std::chrono::seconds(10);  ///< from a request's first byte to its header's end
  std::chrono::nanoseconds read_timeout = std::chrono::seconds(30);   ///< for the next bytes of a body
  std::chrono::nanoseconds write_timeout = std::chrono::seconds(30);  ///< for the peer to take the next bytes
  std::chrono::nanoseconds idle_timeout = std::chrono::minutes(2);    ///< between requests; kept to within a second
  std::size_t max_header_bytes = std::size_t{64} << 10U;
  std::uint64_t max_body_bytes = std::uint64_t{32} << 20U;
  /// Most that are open at once; more wait in the system's queue. 0: no limit.
  std::size_t max_connections = 0;
  /// What goes wrong without being anybody's reply: exceptions, accept errors. To standard error if none.
  std::function<void(std::string_view line)> log = {};
};

struct ServerStats {
  std::uint64_t accepted = 0, requests = 0, bad_requests = 0;
  std::size_t open = 0;    ///< connections
  std::size_t active = 0;  ///< of them in a request
};

/// Each request is served by a goroutine of its own, which starts when its first bytes are there; a connection between
/// requests has neither goroutine nor stack nor buffer, and costs about a kilobyte. Go: http.Server.
/// Safe from: several goroutines and threads at once.
class Server {
 public:
  explicit Server(Handler handler, ServerOptions options = {});
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  /// Closes, and waits for the handlers.
  ~Server();

  /// Serves what the listener accepts, until the server is shut down: then errc::server_closed, at once: shutdown() waits for
  /// the rest. Or until accepting fails for good. Too many open files: it is tried again, a little later.
  /// May be called for several listeners. To be called by a goroutine.
  std::error_code serve(net::Listener listener);
  /// By TLS (<weft/net/tls.hpp>). Throws std::system_error if weft was built without it.
  std::error_code serve_tls(net::Listener listener, const net::TlsConfig& config);
  /// "127.0.0.1:8080", ":8080". Throws std::system_error that names the address, if it cannot listen there.
  std::error_code listen_and_serve(std::string_view address);

  /// Accepts no more, closes idle connections, lets requests end. Returns once all are gone, or the context's error; then
  /// close() does the rest. Go: Shutdown.
  std::error_code shutdown(const Context& ctx = Context());
  /// Closes all connections now, and ends the contexts of the requests; waits until the handlers have returned. Go: Close.
  void close();

  [[nodiscard]] ServerStats stats() const;

 private:
  std::unique_ptr<detail::ServerState> state_;
};

}  // namespace weft::http

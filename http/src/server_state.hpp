#pragma once

// What all connections of a server share.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "exchange.hpp"
#include "weft/cond.hpp"
#include "weft/context.hpp"
#include "weft/http/server.hpp"
#include "weft/mutex.hpp"
#include "weft/net/stream.hpp"
#include "weft/pool.hpp"

namespace weft::http::detail {

class Connection;

struct ServerState {
  ServerState(Handler server_handler, ServerOptions server_options);

  const Handler handler;
  const ServerOptions options;
  const CancelPair requests_end = with_cancel(background());  // done when the server is closed
  const CancelPair accepts_end = with_cancel(background());   // done when it is shut down

  std::atomic<bool> is_draining{
      false};  // seq_cst: connection.hpp. relaxed elsewhere: replies say so as soon as they can
  std::atomic<std::uint32_t> round{1};                                   // relaxed: counted by the idle watch
  std::atomic<std::uint64_t> accepted{0}, requests{0}, bad_requests{0};  // relaxed: counters

  Mutex mutex;
  Connection* first = nullptr;            // guarded by mutex: list of all that are open
  std::size_t open = 0;                   // guarded by mutex
  std::vector<net::Listener*> listeners;  // guarded by mutex: those that are accepted from
  bool is_watched = false;                // guarded by mutex: the idle watch runs
  Cond changed;                           // one of these has, or the server is shut down

  Pool<Exchange> exchanges;

  using MakeTransport = std::function<std::unique_ptr<Transport>(net::Stream)>;
  std::error_code serve(net::Listener& listener, const MakeTransport& make_transport);
  /// Nothing new is accepted, and what is idle goes.
  void drain();
  /// Everything goes.
  void expire_all();
  /// True once there is nothing left; false if the context was done before.
  bool wait_until_empty(const Context& ctx);
  void log(std::string_view line) const;

 private:
  std::error_code accept_all(net::Listener& listener, const MakeTransport& make_transport);
  bool wait_for_room();
  void start_watch();
  void watch();
};

}  // namespace weft::http::detail

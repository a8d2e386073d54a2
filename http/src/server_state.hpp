#pragma once

// A server's life: accepting, watching who is idle, and its end.

#include <cstddef>
#include <functional>
#include <memory>
#include <system_error>

#include "connection.hpp"
#include "service.hpp"
#include "transport.hpp"
#include "weft/cond.hpp"
#include "weft/context.hpp"
#include "weft/mutex.hpp"
#include "weft/net/stream.hpp"

namespace weft::http::detail {

class ServerState {
 public:
  ServerState(Handler handler, ServerOptions options);

  Service service;
  Connections connections{service};

  using MakeTransport = std::function<std::unique_ptr<Transport>(net::Stream)>;
  std::error_code serve(net::Listener& listener, const MakeTransport& make_transport);
  /// Nothing new is accepted, and what is idle goes.
  void drain();
  /// True once there is nothing left; false if the context was done before.
  bool wait_until_empty(const Context& ctx);
  /// Everything goes, and has gone.
  void close();

 private:
  std::error_code accept_all(net::Listener& listener, const MakeTransport& make_transport);
  void watch();

  const CancelPair accepts_end_ = with_cancel(background());  // done when the server is shut down
  Mutex mutex_;
  std::size_t serving_ = 0;  // guarded by mutex_: who accepts
  bool is_watched_ = false;  // guarded by mutex_: the idle watch runs
  Cond changed_;
};

}  // namespace weft::http::detail

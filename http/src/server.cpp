#include "weft/http/server.hpp"

#include <mutex>
#include <string>
#include <utility>

#include "connection.hpp"
#include "server_state.hpp"
#include "transport.hpp"
#include "weft/error.hpp"
#include "weft/net/tcp.hpp"
#include "weft/runtime.hpp"

namespace weft::http {

Server::Server(Handler handler, ServerOptions options) {
  if (!handler) weft::detail::throw_panic("http: Server without a handler");
  state_ = std::make_unique<detail::ServerState>(std::move(handler), std::move(options));
}

Server::~Server() { close(); }

std::error_code Server::serve(net::Listener listener) { return state_->serve(listener, &detail::make_plain_transport); }

std::error_code Server::listen_and_serve(std::string_view address) { return serve(net::listen_tcp(address)); }

std::error_code Server::shutdown(const Context& ctx) {
  state_->drain();
  return state_->wait_until_empty(ctx) ? std::error_code() : ctx.err();
}

void Server::close() {
  state_->expire_all();
  static_cast<void>(state_->wait_until_empty(background()));
}

ServerStats Server::stats() const {
  ServerStats stats;
  stats.accepted = state_->accepted.load(std::memory_order_relaxed);
  stats.requests = state_->requests.load(std::memory_order_relaxed);
  stats.bad_requests = state_->bad_requests.load(std::memory_order_relaxed);
  const std::scoped_lock guard(state_->mutex);
  stats.open = state_->open;
  for (const detail::Connection* one = state_->first; one != nullptr; one = one->next) {
    if (!one->is_idle()) ++stats.active;
  }
  return stats;
}

}  // namespace weft::http

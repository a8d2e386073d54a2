#include "weft/http/server.hpp"

#include <string>
#include <utility>

#include "server_state.hpp"
#include "transport.hpp"
#include "weft/error.hpp"
#include "weft/net/tcp.hpp"

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

void Server::close() { state_->close(); }

ServerStats Server::stats() const {
  const detail::Service& service = state_->service;
  const detail::Connections::Counts counts = state_->connections.count();
  ServerStats stats;
  stats.accepted = service.accepted.load(std::memory_order_relaxed);
  stats.requests = service.requests.load(std::memory_order_relaxed);
  stats.bad_requests = service.bad_requests.load(std::memory_order_relaxed);
  stats.open = counts.open;
  stats.active = counts.active;
  return stats;
}

}  // namespace weft::http

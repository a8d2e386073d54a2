#include "connection.hpp"

#include <exception>
#include <mutex>
#include <string>
#include <utility>

#include "server_state.hpp"

namespace weft::http::detail {

Connection::Connection(ServerState& server, std::unique_ptr<Transport> transport)
    : server_(server), transport_(std::move(transport)), idle_since_(server.round.load(std::memory_order_relaxed)) {
  const std::scoped_lock guard(server_.mutex);
  next = server_.first;
  if (next != nullptr) next->prev = this;
  server_.first = this;
  ++server_.open;
}

void Connection::leave() noexcept {
  ServerState& server = server_;
  {
    const std::scoped_lock guard(server.mutex);
    (prev != nullptr ? prev->next : server.first) = next;
    if (next != nullptr) next->prev = prev;
  }
  delete this;
  const std::scoped_lock guard(server.mutex);
  --server.open;
  if (server.open == 0 || server.options.max_connections != 0) server.changed.notify_all();
}

void Connection::wait() noexcept {
  idle_since_.store(server_.round.load(std::memory_order_relaxed), std::memory_order_seq_cst);  // C1
  if (server_.is_draining.load(std::memory_order_seq_cst) && end_if_idle()) return leave();
  try {
    transport_->file().go_when_readable([this] { run(); });
  } catch (const std::exception& error) {
    server_.log(std::string("weft: http: a connection is closed for lack of memory: ") + error.what());
    leave();
  }
}

bool Connection::end_if_idle() noexcept {
  std::uint32_t since = idle_since_.load(std::memory_order_relaxed);
  return since != kInUse && since != kExpired &&
         idle_since_.compare_exchange_strong(since, kExpired, std::memory_order_seq_cst);
}

void Connection::expire_after(std::uint32_t idle_rounds, std::uint32_t fresh_rounds) noexcept {
  const std::uint32_t limit = is_fresh_.load(std::memory_order_relaxed) ? fresh_rounds : idle_rounds;
  const std::uint32_t age = server_.round.load(std::memory_order_relaxed) - idle_since_.load(std::memory_order_relaxed);
  if (age >= limit && end_if_idle()) expire();
}

void Connection::run() {
  if (idle_since_.exchange(kInUse, std::memory_order_seq_cst) == kExpired) return leave();
  is_fresh_.store(false, std::memory_order_relaxed);
  struct LeaveUnless {
    Connection* connection;
    ~LeaveUnless() {
      if (connection != nullptr) connection->leave();
    }
  } closing{this};
  const auto exchange = server_.exchanges.get();
  if (exchange->serve(server_, *transport_) == Exchange::End::kClosed) return;
  closing.connection = nullptr;
  wait();
}

}  // namespace weft::http::detail

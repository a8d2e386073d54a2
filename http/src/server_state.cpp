#include "server_state.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <string>
#include <utility>

#include "connection.hpp"
#include "weft/go.hpp"
#include "weft/http/error.hpp"
#include "weft/time.hpp"

namespace weft::http::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds kLongestRound(1000);  // of the idle watch
constexpr milliseconds kShortestRound(10);
constexpr milliseconds kFirstPause(5);  // before it is tried again to accept
constexpr milliseconds kLongestPause(1000);

/// The connection is still in the system's queue: it may be taken later.
bool is_for_lack(const std::error_code& error) noexcept {
  return error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system ||
         error == std::errc::not_enough_memory || error == std::errc::no_buffer_space;
}

/// What the network has to say of a connection that was about to be accepted: accept(2).
bool is_of_connection(const std::error_code& error) noexcept {
  return error == std::errc::network_down || error == std::errc::protocol_error ||
         error == std::errc::no_protocol_option || error == std::errc::host_unreachable ||
         error == std::errc::operation_not_supported || error == std::errc::network_unreachable ||
         error == std::errc::operation_not_permitted || error == std::errc::connection_aborted;
}

std::uint32_t rounds_of(nanoseconds time, nanoseconds round) noexcept {
  return static_cast<std::uint32_t>(
      std::min<std::int64_t>(time / round + (time % round != nanoseconds(0) ? 1 : 0), INT32_MAX));
}

}  // namespace

ServerState::ServerState(Handler handler, ServerOptions options)
    : service{.handler = std::move(handler), .options = std::move(options)} {}

std::error_code ServerState::serve(net::Listener& listener, const MakeTransport& make_transport) {
  {
    const std::scoped_lock guard(mutex_);
    if (service.is_draining.load(std::memory_order_relaxed)) return errc::server_closed;
    if (!std::exchange(is_watched_, true)) go([this] { watch(); });
    ++serving_;
  }
  struct Done {
    ServerState& state;
    ~Done() {
      const std::scoped_lock guard(state.mutex_);
      --state.serving_;
      state.changed_.notify_all();
    }
  } done{*this};
  const std::error_code error = accept_all(listener, make_transport);
  static_cast<void>(listener.close());
  return accepts_end_.first.is_done() ? make_error_code(errc::server_closed) : error;
}

std::error_code ServerState::accept_all(net::Listener& listener, const MakeTransport& make_transport) {
  nanoseconds pause = kFirstPause;
  for (;;) {
    const std::size_t most = service.options.max_connections;
    if (most != 0) connections.wait_until_below(most);
    std::error_code error;
    net::Stream stream = listener.accept(accepts_end_.first, error);
    if (!error) {
      service.accepted.fetch_add(1, std::memory_order_relaxed);
      pause = kFirstPause;
      try {
        connections.add(make_transport(std::move(stream)));
      } catch (const std::exception& refused) {
        service.log(std::string("weft: http: a connection is not served: ") + refused.what());
      }
    } else if (is_for_lack(error)) {
      if (pause == kFirstPause) service.log("weft: http: accept: " + error.message() + "; trying again");
      if (!sleep_for(accepts_end_.first, pause)) return error;
      pause = std::min<nanoseconds>(pause * 2, kLongestPause);
    } else if (!is_of_connection(error)) {
      return error;
    }
  }
}

void ServerState::watch() {
  const nanoseconds shorter = std::min(service.options.idle_timeout, service.options.header_timeout);
  const nanoseconds round = std::clamp<nanoseconds>(shorter / 4, kShortestRound, kLongestRound);
  const std::uint32_t idle_rounds = rounds_of(service.options.idle_timeout, round);
  const std::uint32_t fresh_rounds = rounds_of(service.options.header_timeout, round);
  while (sleep_for(accepts_end_.first, round)) connections.end_round(idle_rounds, fresh_rounds);
  const std::scoped_lock guard(mutex_);
  is_watched_ = false;
  changed_.notify_all();
}

void ServerState::drain() {
  {
    const std::scoped_lock guard(mutex_);
    service.is_draining.store(true, std::memory_order_seq_cst);
  }
  accepts_end_.second();
  connections.wake_waiters();
  {
    // Nobody learns of it, by the end of a connection, before the listeners are closed; and all that were accepted are known.
    const std::scoped_lock guard(mutex_);
    changed_.wait(mutex_, [&] { return serving_ == 0 && !is_watched_; });
  }
  connections.expire_idle();
}

void ServerState::close() {
  drain();
  service.requests_end.second();
  connections.expire_all();
  static_cast<void>(connections.wait_until_none(background()));
}

bool ServerState::wait_until_empty(const Context& ctx) { return connections.wait_until_none(ctx); }

}  // namespace weft::http::detail

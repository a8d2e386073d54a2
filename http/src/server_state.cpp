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
  return static_cast<std::uint32_t>(std::min<std::int64_t>((time + round - nanoseconds(1)) / round, INT32_MAX));
}

}  // namespace

ServerState::ServerState(Handler server_handler, ServerOptions server_options)
    : handler(std::move(server_handler)), options(std::move(server_options)) {}

void ServerState::log(std::string_view line) const {
  if (options.log) return options.log(line);
  const std::string whole = std::string(line) + "\n";
  std::fwrite(whole.data(), 1, whole.size(), stderr);
}

std::error_code ServerState::serve(net::Listener& listener, const MakeTransport& make_transport) {
  {
    const std::scoped_lock guard(mutex);
    if (is_draining.load(std::memory_order_relaxed)) return errc::server_closed;
    start_watch();
    listeners.push_back(&listener);
  }
  struct Done {
    ServerState& state;
    net::Listener& listener;
    ~Done() {
      const std::scoped_lock guard(state.mutex);
      std::erase(state.listeners, &listener);
      state.changed.notify_all();
    }
  } done{*this, listener};
  return accept_all(listener, make_transport);
}

std::error_code ServerState::accept_all(net::Listener& listener, const MakeTransport& make_transport) {
  nanoseconds pause = kFirstPause;
  while (wait_for_room()) {
    std::error_code error;
    net::Stream stream = listener.accept(accepts_end.first, error);
    if (!error) {
      accepted.fetch_add(1, std::memory_order_relaxed);
      pause = kFirstPause;
      try {
        (new Connection(*this, make_transport(std::move(stream))))->wait();
      } catch (const std::exception& refused) {
        log(std::string("weft: http: a connection is not served: ") + refused.what());
      }
    } else if (is_for_lack(error) && !accepts_end.first.is_done()) {
      if (pause == kFirstPause) log("weft: http: accept: " + error.message() + "; trying again");
      static_cast<void>(sleep_for(accepts_end.first, pause));
      pause = std::min<nanoseconds>(pause * 2, kLongestPause);
    } else if (!is_of_connection(error)) {
      static_cast<void>(listener.close());
      return accepts_end.first.is_done() ? make_error_code(errc::server_closed) : error;
    }
  }
  static_cast<void>(listener.close());
  return errc::server_closed;
}

/// False: the server is shut down.
bool ServerState::wait_for_room() {
  if (options.max_connections != 0) {
    const std::scoped_lock guard(mutex);
    changed.wait(mutex, [&] { return open < options.max_connections || is_draining.load(std::memory_order_relaxed); });
  }
  return !is_draining.load(std::memory_order_relaxed);
}

// --- the idle watch ---

/// With the lock held.
void ServerState::start_watch() {
  if (std::exchange(is_watched, true)) return;
  go([this] { watch(); });
}

void ServerState::watch() {
  const nanoseconds shorter = std::min(options.idle_timeout, options.header_timeout);
  const nanoseconds length = std::clamp<nanoseconds>(shorter / 4, kShortestRound, kLongestRound);
  const std::uint32_t idle_rounds = rounds_of(options.idle_timeout, length);
  const std::uint32_t fresh_rounds = rounds_of(options.header_timeout, length);
  while (sleep_for(accepts_end.first, length)) {
    const std::scoped_lock guard(mutex);
    round.fetch_add(1, std::memory_order_relaxed);
    for (Connection* one = first; one != nullptr; one = one->next) one->expire_after(idle_rounds, fresh_rounds);
  }
  const std::scoped_lock guard(mutex);
  is_watched = false;
  changed.notify_all();
}

// --- the end ---

void ServerState::drain() {
  accepts_end.second();
  const std::scoped_lock guard(mutex);
  is_draining.store(true, std::memory_order_seq_cst);
  for (Connection* one = first; one != nullptr; one = one->next) one->expire_after(0, 0);  // C2
  changed.notify_all();
}

void ServerState::expire_all() {
  drain();
  requests_end.second();
  const std::scoped_lock guard(mutex);
  for (Connection* one = first; one != nullptr; one = one->next) one->expire();
}

bool ServerState::wait_until_empty(const Context& ctx) {
  const std::scoped_lock guard(mutex);
  return changed.wait(ctx, mutex, [&] { return open == 0 && listeners.empty() && !is_watched; });
}

}  // namespace weft::http::detail

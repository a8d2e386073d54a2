#pragma once

// The connections of a server, between their requests and in them.
//
// Who has one. In use, its goroutine does; idle, nobody does but the poller, which starts the goroutine when something comes. Whoever
// changes idle_since_ from a round to kExpired makes that the end: the goroutine is started once more, only to leave. It leaves
// the list with the mutex, under which the others look: so what is on the list is there.
// C1 wait(): stores the round, then looks whether the server is shut down. C2 expire_idle(): comes after that is said, looks at all
// rounds. seq_cst: at least one of them sees the other.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "exchange.hpp"
#include "service.hpp"
#include "transport.hpp"
#include "weft/cond.hpp"
#include "weft/context.hpp"
#include "weft/mutex.hpp"
#include "weft/pool.hpp"

namespace weft::http::detail {

class Connections;

class Connection {
 public:
  Connection(Connections& all, std::unique_ptr<Transport> transport) noexcept;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Serves what comes. The connection may be gone when it returns.
  void wait() noexcept;

 private:
  friend class Connections;
  static constexpr std::uint32_t kInUse = 0;
  static constexpr std::uint32_t kExpired = UINT32_MAX;

  void run();
  bool end_if_idle() noexcept;

  Connections& all_;
  const std::unique_ptr<Transport> transport_;
  net::detail::File* const file_;  // its own
  std::atomic<std::uint32_t> idle_since_;
  std::atomic<bool> is_fresh_{true};  // relaxed: for the idle watch
  Connection* next_ = nullptr;        // guarded by the mutex of all
  Connection* prev_ = nullptr;        // guarded by the mutex of all
};

class Connections {
 public:
  explicit Connections(Service& service) noexcept : service_(service) {}

  /// Serves one more.
  void add(std::unique_ptr<Transport> transport);
  /// Until there are fewer than that, or the server is shut down.
  void wait_until_below(std::size_t count);
  /// Of that kind: they look again whether the server is shut down.
  void wake_waiters();
  /// True once there are none; false if the context was done before.
  bool wait_until_none(const Context& ctx);

  /// One more round has passed. Who has been idle, or has not sent anything yet, for longer than that many goes.
  void end_round(std::uint32_t idle_rounds, std::uint32_t fresh_rounds);
  /// The server is shut down, and has said so: who is idle goes.
  void expire_idle();
  void expire_all();

  struct Counts {
    std::size_t open = 0, active = 0;
  };
  [[nodiscard]] Counts count();

 private:
  friend class Connection;
  template <class F>
  void for_each(F f) {
    for (Connection* one = first_; one != nullptr; one = one->next_) f(*one);
  }
  void remove(Connection& connection) noexcept;

  Service& service_;
  std::atomic<std::uint32_t> round_{1};  // relaxed
  Mutex mutex_;
  Connection* first_ = nullptr;  // guarded by mutex_
  std::size_t open_ = 0;         // guarded by mutex_: those that are removed, but not gone, too
  Cond changed_;
  Pool<Exchange> exchanges_;
};

}  // namespace weft::http::detail

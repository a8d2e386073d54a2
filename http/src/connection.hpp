#pragma once

// One connection of a server, between its requests and in them.
//
// Who has it. In use, its goroutine does; idle, nobody does but the poller, which starts the goroutine when something comes. Whoever
// changes idle_since_ from a round to kExpired makes that the end: the goroutine is started once more, only to leave. It leaves
// with the server's mutex, under which the others look at it: so what is on the list is there.
// C1 wait(): stores the round, then looks whether the server is shut down. C2 shutdown: says so, then looks at all rounds.
// seq_cst: at least one of them sees the other.

#include <atomic>
#include <cstdint>
#include <memory>

#include "transport.hpp"

namespace weft::http::detail {

struct ServerState;

class Connection {
 public:
  /// On the server's list from now on, until it has left.
  Connection(ServerState& server, std::unique_ptr<Transport> transport);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Serves what comes. The connection may be gone when it returns.
  void wait() noexcept;

  // --- with the server's mutex ---

  [[nodiscard]] bool is_idle() const noexcept { return idle_since_.load(std::memory_order_relaxed) != kInUse; }
  /// If it has been idle, or has not sent anything yet, for longer than that many rounds.
  void expire_after(std::uint32_t idle_rounds, std::uint32_t fresh_rounds) noexcept;
  /// Whatever it is at.
  void expire() noexcept { transport_->expire(); }

  Connection* next = nullptr;
  Connection* prev = nullptr;

 private:
  static constexpr std::uint32_t kInUse = 0;
  static constexpr std::uint32_t kExpired = UINT32_MAX;

  void run();
  void leave() noexcept;
  bool end_if_idle() noexcept;

  ServerState& server_;
  const std::unique_ptr<Transport> transport_;
  std::atomic<std::uint32_t> idle_since_;
  std::atomic<bool> is_fresh_{true};  // relaxed: for the idle watch
};

}  // namespace weft::http::detail

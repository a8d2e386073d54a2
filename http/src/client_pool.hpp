#pragma once

// The client's connections: those that wait for a request, and how many there may be.
//
// P1 lock_ guards who is idle; nothing is dialed, closed or asked while it is held.
// P2 A connection in use, or about to be dialed, holds one of its host's slots (if their number is limited); an idle one holds
//    none. New ones are dialed only by who holds a slot and has found no idle one, so that both together never are more than the
//    limit.
// P3 Idle connections are closed by a sweep that is always under way while there are any; should the runtime that it belongs to
//    end, the next connection to be put back starts another.

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <system_error>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client_wire.hpp"
#include "input_buffer.hpp"
#include "request_url.hpp"
#include "weft/context.hpp"
#include "weft/http/client.hpp"
#include "weft/mutex.hpp"
#include "weft/semaphore.hpp"

namespace weft::http::detail {

/// One of those that a host may have.
class Slot {
 public:
  Slot() = default;
  Slot(std::shared_ptr<Semaphore> slots, Semaphore::Guard guard) noexcept
      : slots_(std::move(slots)), guard_(std::move(guard)) {}

 private:
  std::shared_ptr<Semaphore> slots_;
  Semaphore::Guard guard_;  // goes first
};

struct ClientConnection {
  std::unique_ptr<Wire> wire;
  std::string origin;
  InputBuffer input;  // what was read and not used yet; empty while it is idle
  bool is_reused = false;
  Slot slot;
};

class ClientPool : public std::enable_shared_from_this<ClientPool> {
 public:
  explicit ClientPool(ClientOptions options) : options_(std::move(options)) {}
  ClientPool(const ClientPool&) = delete;
  ClientPool& operator=(const ClientPool&) = delete;

  [[nodiscard]] const ClientOptions& options() const noexcept { return options_; }

  /// An idle connection, or a new one. must_be_new: one has proved to be stale, so the origin's others are closed. Parks.
  std::unique_ptr<ClientConnection> get(const RequestUrl& url, bool must_be_new, const Context& ctx,
                                        std::error_code& error);
  /// For the next request. Its reply has been read to its end.
  void put(std::unique_ptr<ClientConnection> connection) noexcept;
  void close_idle(const std::string& origin);
  void close_idle();

 private:
  struct Idle {
    std::unique_ptr<ClientConnection> connection;
    std::int64_t since_ns = 0;
  };
  using IdleList = std::list<Idle>;

  Slot take_slot(const std::string& origin, const Context& ctx, std::error_code& error);
  std::shared_ptr<Semaphore> slots_of(const std::string& origin);
  std::unique_ptr<ClientConnection> take_idle(const std::string& origin);
  std::unique_ptr<Wire> dial(const RequestUrl& url, const Context& ctx, std::error_code& error) const;
  [[nodiscard]] bool is_expired(const Idle& idle, std::int64_t now) const noexcept;
  void drop_oldest(IdleList& dropped);
  void start_sweep(std::int64_t now) noexcept;
  void sweep();

  const ClientOptions options_;
  Mutex lock_;
  IdleList idle_;                                                               // oldest first
  std::unordered_map<std::string, std::vector<IdleList::iterator>> by_origin_;  // each in the same order
  std::int64_t sweep_at_ns_ = 0;
  std::unordered_map<std::string, std::weak_ptr<Semaphore>> slots_;
  std::size_t clean_slots_at_ = 16;
};

}  // namespace weft::http::detail

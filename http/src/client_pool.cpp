#include "client_pool.hpp"

#include <chrono>
#include <exception>
#include <mutex>
#include <tuple>

#include "weft/errc.hpp"
#include "weft/net/error.hpp"
#include "weft/timer.hpp"

namespace weft::http::detail {
namespace {

std::int64_t pool_now_ns() noexcept { return Clock::now().time_since_epoch().count(); }

}  // namespace

std::unique_ptr<ClientConnection> ClientPool::get(const RequestUrl& url, bool must_be_new, const Context& ctx,
                                                  std::error_code& error) {
  const std::string origin = url.origin();
  Slot slot = take_slot(origin, ctx, error);
  if (error) return nullptr;
  if (must_be_new) {
    close_idle(origin);
  } else if (std::unique_ptr<ClientConnection> idle = take_idle(origin)) {
    idle->slot = std::move(slot);
    idle->is_reused = true;
    return idle;
  }
  auto connection = std::make_unique<ClientConnection>();
  connection->wire = dial(url, ctx, error);
  connection->origin = origin;
  connection->slot = std::move(slot);
  return error ? nullptr : std::move(connection);
}

Slot ClientPool::take_slot(const std::string& origin, const Context& ctx, std::error_code& error) {
  error = ctx.err();
  if (error || options_.max_connections_per_host == 0) return {};
  std::shared_ptr<Semaphore> slots = slots_of(origin);
  Semaphore::Guard guard = slots->acquire_guard(ctx);
  if (!guard) error = ctx.err();
  return {std::move(slots), std::move(guard)};
}

std::shared_ptr<Semaphore> ClientPool::slots_of(const std::string& origin) {
  const std::scoped_lock guard(lock_);
  std::weak_ptr<Semaphore>& known = slots_[origin];
  std::shared_ptr<Semaphore> slots = known.lock();
  if (slots == nullptr) {
    slots = std::make_shared<Semaphore>(static_cast<std::int64_t>(options_.max_connections_per_host));
    known = slots;
  }
  if (slots_.size() >= clean_slots_at_) {  // hosts that nobody is connected with any more
    std::erase_if(slots_, [](const auto& entry) { return entry.second.expired(); });
    clean_slots_at_ = 2 * slots_.size() + 16;
  }
  return slots;
}

std::unique_ptr<Wire> ClientPool::dial(const RequestUrl& url, const Context& ctx, std::error_code& error) const {
  Context dialing = ctx;
  CancelFunc end;
  if (options_.dial_timeout > std::chrono::nanoseconds(0)) {
    std::tie(dialing, end) = with_timeout(ctx == nullptr ? background() : ctx, options_.dial_timeout);
  }
  std::unique_ptr<Wire> wire = url.is_tls ? dial_tls_wire(url.address(), options_.tls.get(), dialing, error)
                                          : dial_plain_wire(url.address(), dialing, error);
  if (error == weft::errc::deadline_exceeded && !ctx.is_done()) error = net::errc::timed_out;
  return wire;
}

// --- idle ones ---

bool ClientPool::is_expired(const Idle& idle, std::int64_t now) const noexcept {
  return options_.idle_timeout > std::chrono::nanoseconds(0) && now - idle.since_ns >= options_.idle_timeout.count();
}

std::unique_ptr<ClientConnection> ClientPool::take_idle(const std::string& origin) {
  for (;;) {
    Idle newest;
    {
      const std::scoped_lock guard(lock_);
      const auto found = by_origin_.find(origin);
      if (found == by_origin_.end() || found->second.empty()) return nullptr;
      const IdleList::iterator last = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) by_origin_.erase(found);
      newest = std::move(*last);
      idle_.erase(last);
    }
    if (!is_expired(newest, pool_now_ns()) && newest.connection->wire->is_quiet()) return std::move(newest.connection);
  }
}

void ClientPool::put(std::unique_ptr<ClientConnection> connection) noexcept try {
  const Slot given_back = std::exchange(connection->slot, Slot());  // at the end, when others can find it
  connection->input.reset();
  const std::string origin = connection->origin;
  IdleList dropped;
  dropped.push_back({std::move(connection), pool_now_ns()});
  const std::scoped_lock guard(lock_);
  if (options_.max_idle == 0 || options_.max_idle_per_host == 0) return;
  std::vector<IdleList::iterator>& same = by_origin_[origin];
  if (same.size() >= options_.max_idle_per_host) return;
  same.push_back(dropped.begin());
  idle_.splice(idle_.end(), dropped);
  if (idle_.size() > options_.max_idle) drop_oldest(dropped);
  start_sweep(idle_.back().since_ns);
} catch (const std::exception&) {
  // No memory to keep it.
}

/// Under the lock.
void ClientPool::drop_oldest(IdleList& dropped) {
  const auto same = by_origin_.find(idle_.front().connection->origin);
  same->second.erase(same->second.begin());
  if (same->second.empty()) by_origin_.erase(same);
  dropped.splice(dropped.end(), idle_, idle_.begin());
}

/// Under the lock. P3.
void ClientPool::start_sweep(std::int64_t now) noexcept try {
  if (options_.idle_timeout <= std::chrono::nanoseconds(0) || idle_.empty() || sweep_at_ns_ > now) return;
  const std::int64_t at = idle_.front().since_ns + options_.idle_timeout.count();
  after_func(std::chrono::nanoseconds(at - now), [pool = weak_from_this()] {
    if (const auto alive = pool.lock()) alive->sweep();
  });
  sweep_at_ns_ = at;
} catch (const std::exception&) {
  // No goroutine can be had for it now: the next connection that is put back tries again.
}

void ClientPool::sweep() {
  IdleList dropped;
  const std::scoped_lock guard(lock_);
  const std::int64_t now = pool_now_ns();
  while (!idle_.empty() && is_expired(idle_.front(), now)) drop_oldest(dropped);
  start_sweep(now);
}

void ClientPool::close_idle(const std::string& origin) {
  IdleList dropped;
  const std::scoped_lock guard(lock_);
  const auto found = by_origin_.find(origin);
  if (found == by_origin_.end()) return;
  for (const IdleList::iterator& one : found->second) dropped.splice(dropped.end(), idle_, one);
  by_origin_.erase(found);
}

void ClientPool::close_idle() {
  IdleList dropped;
  const std::scoped_lock guard(lock_);
  dropped.swap(idle_);
  by_origin_.clear();
}

}  // namespace weft::http::detail

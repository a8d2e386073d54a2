#include "connection.hpp"

#include <exception>
#include <mutex>
#include <string>
#include <utility>

namespace weft::http::detail {

// --- one ---

Connection::Connection(Connections& all, std::unique_ptr<Transport> transport) noexcept
    : all_(all),
      transport_(std::move(transport)),
      file_(&transport_->file()),
      idle_since_(all.round_.load(std::memory_order_relaxed)) {}

void Connection::wait() noexcept {
  idle_since_.store(all_.round_.load(std::memory_order_relaxed), std::memory_order_seq_cst);  // C1
  if (all_.service_.is_draining.load(std::memory_order_seq_cst) && end_if_idle()) return all_.remove(*this);
  try {
    file_->go_when_readable([this] { run(); });
  } catch (const std::exception& error) {
    all_.service_.log(std::string("weft: http: a connection is closed, as no goroutine is to be had: ") + error.what());
    all_.remove(*this);
  }
}

bool Connection::end_if_idle() noexcept {
  std::uint32_t since = idle_since_.load(std::memory_order_relaxed);
  return since != kInUse && since != kExpired &&
         idle_since_.compare_exchange_strong(since, kExpired, std::memory_order_seq_cst);
}

void Connection::run() {
  struct RemoveUnless {
    Connection* connection;
    ~RemoveUnless() {
      if (connection != nullptr) connection->all_.remove(*connection);
    }
  } closing{this};
  weft::detail::prefetch(transport_.get());  // untouched since the last request
  weft::detail::prefetch(file_);
  weft::detail::prefetch(reinterpret_cast<const std::byte*>(file_) + weft::detail::kCacheLine);
  if (idle_since_.exchange(kInUse, std::memory_order_seq_cst) == kExpired) return;
  Exchange::End end{};
  {
    const auto exchange = all_.exchanges_.get();
    end = exchange->serve(all_.service_, *transport_);
  }
  if (end == Exchange::End::kClosed) return;
  if (end == Exchange::End::kIdle) is_fresh_.store(false, std::memory_order_relaxed);
  closing.connection = nullptr;
  wait();
}

// --- all ---

void Connections::add(std::unique_ptr<Transport> transport) {
  auto connection = std::make_unique<Connection>(*this, std::move(transport));
  {
    const std::scoped_lock guard(mutex_);
    connection->next_ = first_;
    if (first_ != nullptr) first_->prev_ = connection.get();
    first_ = connection.get();
    ++open_;
  }
  connection.release()->wait();
}

void Connections::remove(Connection& connection) noexcept {
  {
    const std::scoped_lock guard(mutex_);
    (connection.prev_ != nullptr ? connection.prev_->next_ : first_) = connection.next_;
    if (connection.next_ != nullptr) connection.next_->prev_ = connection.prev_;
  }
  delete &connection;
  const std::scoped_lock guard(mutex_);
  --open_;
  if (open_ == 0 || service_.options.max_connections != 0) changed_.notify_all();
}

void Connections::wait_until_below(std::size_t count) {
  const std::scoped_lock guard(mutex_);
  changed_.wait(mutex_, [&] { return open_ < count || service_.is_draining.load(std::memory_order_relaxed); });
}

void Connections::wake_waiters() {
  const std::scoped_lock guard(mutex_);
  changed_.notify_all();
}

bool Connections::wait_until_none(const Context& ctx) {
  const std::scoped_lock guard(mutex_);
  return changed_.wait(ctx, mutex_, [&] { return open_ == 0; });
}

void Connections::end_round(std::uint32_t idle_rounds, std::uint32_t fresh_rounds) {
  const std::scoped_lock guard(mutex_);
  const std::uint32_t round = round_.fetch_add(1, std::memory_order_relaxed) + 1;
  for_each([&](Connection& one) {
    const std::uint32_t limit = one.is_fresh_.load(std::memory_order_relaxed) ? fresh_rounds : idle_rounds;
    const std::uint32_t since = one.idle_since_.load(std::memory_order_relaxed);
    if (since != Connection::kInUse && round - since > limit && one.end_if_idle()) one.transport_->expire();
  });
}

void Connections::expire_idle() {
  const std::scoped_lock guard(mutex_);
  for_each([](Connection& one) {
    if (one.end_if_idle()) one.transport_->expire();  // C2
  });
}

void Connections::expire_all() {
  const std::scoped_lock guard(mutex_);
  for_each([](Connection& one) { one.transport_->expire(); });
}

Connections::Counts Connections::count() {
  const std::scoped_lock guard(mutex_);
  Counts counts{open_, 0};
  for_each([&](const Connection& one) {
    if (one.idle_since_.load(std::memory_order_relaxed) == Connection::kInUse) ++counts.active;
  });
  return counts;
}

}  // namespace weft::http::detail

#pragma once

// The cases of a select: what ch.on_recv(...), ch.on_send(...), on_timeout(...) and on_default(...) return. They live in
// the caller's full expression; nothing of them outlives it.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "weft/detail/chan_core.hpp"
#include "weft/detail/received.hpp"

namespace weft {
namespace detail {

enum class CaseKind : std::uint8_t { kRecv, kSend, kTimeout, kDefault };

struct SelectEntry;

/// What a select notes with a case while it runs. (The constructor is there so that nothing is zeroed.)
struct SelectScratch {
  SelectScratch() noexcept {}
  SelectEntry* next;  ///< which is locked after this one
  union {
    Waiter waiter;         ///< made when the select parks, which most never do
    std::uint32_t ticket;  ///< before: what cases on the same channel are shuffled by
  };
};

/// One case as the compiled select sees it.
struct SelectEntry {
  CaseKind kind = CaseKind::kDefault;
  ChanStatus status = ChanStatus::would_block;  ///< of the chosen case: ok or closed
  std::uint8_t shard = 0;       ///< scratch: of chan, 1 and up, where it waits; 0: in the channel's own queue
  std::uint32_t index = 0;      ///< scratch: among the cases
  ChanCore* chan = nullptr;     ///< nil: never ready
  void* slot = nullptr;         ///< where the value is or goes
  std::int64_t timeout_ns = 0;  ///< kTimeout only
  SelectScratch scratch{};
};

/// Blocks until a case can go, does its communication, returns its index. Throws RuntimePanic for a chosen send on a
/// closed channel.
std::size_t run_select(SelectEntry* entries, std::size_t count);

struct SelectorAccess;

/// Does nothing when its case wins.
struct NoHandler {
  void operator()() const noexcept {}
};

}  // namespace detail

template <class T, class Handler>
class RecvCase {
 public:
  RecvCase(detail::ChanCore* chan, Handler handler) noexcept(std::is_nothrow_move_constructible_v<Handler>)
      : chan_(chan), handler_(std::move(handler)) {}

  detail::SelectEntry entry() noexcept {
    return {.kind = detail::CaseKind::kRecv, .chan = chan_, .slot = detail::ReceivedAccess::slot(received_)};
  }
  void fire(const detail::SelectEntry& entry) { fire(entry.status); }

  /// Without an entry: the whole case if it can go at once.
  bool try_fire() {
    const ChanStatus status = detail::chan_try_recv(chan_, detail::ReceivedAccess::slot(received_));
    if (status == ChanStatus::would_block) return false;
    fire(status);
    return true;
  }

 private:
  void fire(ChanStatus status) {
    detail::ReceivedAccess::fill(received_, status);
    if constexpr (std::invocable<Handler&, Received<T>>) {
      handler_(std::move(received_));
    } else {
      handler_();
    }
  }

  friend struct detail::SelectorAccess;

  detail::ChanCore* chan_;
  Handler handler_;
  Received<T> received_;
};

template <class T, class Handler>
class SendCase {
 public:
  /// Binds an rvalue: moved from only if this case wins.
  SendCase(detail::ChanCore* chan, T* value, Handler handler)
      : chan_(chan), value_(value), handler_(std::move(handler)) {}

  detail::SelectEntry entry() noexcept { return {.kind = detail::CaseKind::kSend, .chan = chan_, .slot = value_}; }
  void fire(const detail::SelectEntry&) { handler_(); }
  bool try_fire() {
    if (detail::chan_try_send(chan_, value_) == ChanStatus::would_block) return false;
    handler_();
    return true;
  }

 private:
  detail::ChanCore* chan_;
  T* value_;
  Handler handler_;
};

/// Owns a copy of the value.
template <class T, class Handler>
class OwningSendCase {
 public:
  template <class U>
  OwningSendCase(detail::ChanCore* chan, U&& value, Handler handler)
      : chan_(chan), value_(std::forward<U>(value)), handler_(std::move(handler)) {}

  detail::SelectEntry entry() noexcept {
    return {.kind = detail::CaseKind::kSend, .chan = chan_, .slot = static_cast<void*>(std::addressof(value_))};
  }
  void fire(const detail::SelectEntry&) { handler_(); }
  bool try_fire() {
    if (detail::chan_try_send(chan_, std::addressof(value_)) == ChanStatus::would_block) return false;
    handler_();
    return true;
  }

 private:
  detail::ChanCore* chan_;
  T value_;
  Handler handler_;
};

template <class Handler>
class TimeoutCase {
 public:
  TimeoutCase(std::int64_t timeout_ns, Handler handler) : timeout_ns_(timeout_ns), handler_(std::move(handler)) {}
  detail::SelectEntry entry() noexcept { return {.kind = detail::CaseKind::kTimeout, .timeout_ns = timeout_ns_}; }
  void fire(const detail::SelectEntry&) { handler_(); }

 private:
  std::int64_t timeout_ns_;
  Handler handler_;
};

template <class Handler>
class DefaultCase {
 public:
  explicit DefaultCase(Handler handler) : handler_(std::move(handler)) {}
  detail::SelectEntry entry() noexcept { return {.kind = detail::CaseKind::kDefault}; }
  void fire(const detail::SelectEntry&) { handler_(); }
  void fire() { handler_(); }

 private:
  Handler handler_;
};

namespace detail {

/// Takes a case apart for a Selector, which has a slot of its own for it.
struct SelectorAccess {
  template <class T, class Handler>
  static ChanCore* chan(const RecvCase<T, Handler>& from) noexcept {
    return from.chan_;
  }
  template <class T, class Handler>
  static Handler&& take_handler(RecvCase<T, Handler>& from) noexcept {
    return std::move(from.handler_);
  }
};

template <class C>
concept SelectCase = requires(C& c, const SelectEntry& e) {
  { c.entry() } -> std::same_as<SelectEntry>;
  c.fire(e);
};

/// A send or receive case.
template <class C>
concept ChannelCase = SelectCase<C> && requires(C& c) {
  { c.try_fire() } -> std::same_as<bool>;
};
template <class C>
concept DefaultOnly = SelectCase<C> && requires(C& c) { c.fire(); };
}  // namespace detail
}  // namespace weft

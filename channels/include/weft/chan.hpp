#pragma once

// Channels: typed conduits between goroutines (and plain threads).

#include <chrono>
#include <cstddef>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>

#include "weft/detail/chan_core.hpp"
#include "weft/detail/chan_handle.hpp"
#include "weft/detail/received.hpp"
#include "weft/detail/select_case.hpp"
#include "weft/time.hpp"

namespace weft {

class Context;

/// The element of a channel that only signals (Go: struct{}).
struct Unit {
  friend constexpr bool operator==(Unit, Unit) noexcept { return true; }
};

namespace detail {

class TimerChan;

// ok, closed (a receive) or cancelled; a context that is done already wins. See context.cpp.
ChanStatus chan_send_with(ChanCore* chan, void* value, const Context& ctx);
ChanStatus chan_recv_with(ChanCore* chan, void* slot, const Context& ctx);

/// The sending operations; Handle is the channel handle that has them.
template <class Handle, class T>
class SendOps {
  static_assert(kCanBeElement<T>, "weft::Chan<T>: T must be an object type: no reference, array, const type or void");

 public:
  /// Hands the value to a waiting receiver, else puts it into the buffer, else parks until one of the two is possible.
  /// Throws: RuntimePanic "send on closed channel", also when the channel is closed while it waits.
  /// Ordering: a send happens before the receive of its value returns; on a channel of capacity C the k-th receive
  /// happens before the (k+C)-th send returns. Values come out in the order in which they went in.
  /// Cost: O(1); allocates nothing. Go: ch <- v. On the nil channel: blocks for ever.
  void send(T value) const { chan_send_value(core(), value); }

  /// Sends if that is possible at once: ok, else would_block and the value is untouched.
  /// Throws: RuntimePanic "send on closed channel".
  ChanStatus try_send(T&& value) const { return chan_try_send(core(), std::addressof(value)); }
  template <class U = T>
    requires std::copy_constructible<U>
  ChanStatus try_send(const T& value) const {
    T copy(value);
    return chan_try_send(core(), std::addressof(copy));
  }

  /// Sends within d: ok, else timed_out and the value is untouched. Throws: RuntimePanic "send on closed channel".
  template <class Rep, class Period>
  ChanStatus send_for(T&& value, std::chrono::duration<Rep, Period> d) const {
    return chan_send_until(core(), std::addressof(value), deadline_after(saturated_ns(d)));
  }
  template <class Rep, class Period, class U = T>
    requires std::copy_constructible<U>
  ChanStatus send_for(const T& value, std::chrono::duration<Rep, Period> d) const {
    T copy(value);
    return chan_send_until(core(), std::addressof(copy), deadline_after(saturated_ns(d)));
  }

  /// Sends unless ctx is done, or is done first: ok, else cancelled and the value is untouched.
  /// Throws: RuntimePanic "send on closed channel". Go: a select of the send and <-ctx.Done(), but a context that is done
  /// already always wins.
  ChanStatus send(const Context& ctx, T&& value) const { return chan_send_with(core(), std::addressof(value), ctx); }
  template <class U = T>
    requires std::copy_constructible<U>
  ChanStatus send(const Context& ctx, const T& value) const {
    T copy(value);
    return chan_send_with(core(), std::addressof(copy), ctx);
  }

  /// No more values will come: receivers drain the buffer and then get `closed`; parked senders panic.
  /// Throws: RuntimePanic "close of nil channel", "close of closed channel". Never blocks. Go: close(ch).
  void close() const { chan_close(core()); }

  /// A select case. An rvalue is bound by reference and moved from only if the case wins; an lvalue is copied now.
  template <class Handler = NoHandler>
    requires std::invocable<std::decay_t<Handler>&>
  SendCase<T, std::decay_t<Handler>> on_send(T&& value, Handler&& handler = {}) const {
    return {core(), std::addressof(value), std::forward<Handler>(handler)};
  }
  template <class Handler = NoHandler, class U = T>
    requires(std::copy_constructible<U> && std::invocable<std::decay_t<Handler>&>)
  OwningSendCase<T, std::decay_t<Handler>> on_send(const T& value, Handler&& handler = {}) const {
    return {core(), value, std::forward<Handler>(handler)};
  }
  template <class U, class Handler = NoHandler>
    requires(std::constructible_from<T, U &&> && !std::same_as<std::remove_cvref_t<U>, T> &&
             std::invocable<std::decay_t<Handler>&>)
  OwningSendCase<T, std::decay_t<Handler>> on_send(U&& value, Handler&& handler = {}) const {
    return {core(), std::forward<U>(value), std::forward<Handler>(handler)};
  }

 private:
  [[nodiscard]] ChanCore* core() const noexcept { return static_cast<const Handle*>(this)->core_of(); }
};

/// Assigns what a case received to a variable of the caller's.
template <class T>
struct StoreReceived {
  Received<T>* target;
  void operator()(Received<T> received) const noexcept { *target = std::move(received); }
};

/// Single-pass iteration until the channel is closed and drained.
template <class T>
class RecvIterator {
 public:
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using pointer = T*;
  using iterator_category = std::input_iterator_tag;

  explicit RecvIterator(ChanHandle chan) : chan_(std::move(chan)) { ++*this; }

  T& operator*() const noexcept { return *received_; }
  T* operator->() const noexcept { return received_.operator->(); }
  RecvIterator& operator++();
  void operator++(int) { ++*this; }
  friend bool operator==(const RecvIterator& it, std::default_sentinel_t) noexcept { return !it.received_; }

 private:
  ChanHandle chan_;  // counted: the loop's channel is the one it began with, whatever happens to the handle
  mutable Received<T> received_;
};

/// The receiving operations.
template <class Handle, class T>
class RecvOps {
  static_assert(kCanBeElement<T>, "weft::Chan<T>: T must be an object type: no reference, array, const type or void");

 public:
  /// Takes the oldest value, else parks until one comes or the channel is closed: ok or closed.
  /// On the nil channel: blocks for ever. Cost: O(1); allocates nothing. Go: v, ok := <-ch.
  /// Throws, as every operation: Panic for a channel of a bubble (weft::testing::run) that the caller is not in.
  Received<T> recv() const {
    Received<T> received;
    ReceivedAccess::fill(received, chan_recv_value<T>(core(), ReceivedAccess::slot(received)));
    return received;
  }
  /// ok, closed, or would_block when nothing can be received at once. Never parks.
  Received<T> try_recv() const {
    Received<T> received;
    ReceivedAccess::fill(received, chan_try_recv(core(), ReceivedAccess::slot(received)));
    return received;
  }
  /// ok, closed, or timed_out when nothing came within d.
  template <class Rep, class Period>
  Received<T> recv_for(std::chrono::duration<Rep, Period> d) const {
    Received<T> received;
    const std::int64_t deadline = deadline_after(saturated_ns(d));
    ReceivedAccess::fill(received, chan_recv_until(core(), ReceivedAccess::slot(received), deadline));
    return received;
  }

  /// ok, closed, or cancelled when ctx is done, or is done before anything can be received.
  Received<T> recv(const Context& ctx) const {
    Received<T> received;
    ReceivedAccess::fill(received, chan_recv_with(core(), ReceivedAccess::slot(received), ctx));
    return received;
  }

  /// for (T& v : ch): every value until the channel is closed and drained. Go: for v := range ch.
  RecvIterator<T> begin() const { return RecvIterator<T>(*static_cast<const Handle*>(this)); }
  std::default_sentinel_t end() const noexcept { return {}; }

  /// A select case: handler(Received<T>) or handler(), or a Received<T> to fill, or nothing.
  RecvCase<T, NoHandler> on_recv() const { return {core(), {}}; }
  RecvCase<T, StoreReceived<T>> on_recv(Received<T>& target) const { return {core(), {&target}}; }
  template <class Handler>
    requires(std::invocable<std::decay_t<Handler>&, Received<T>> || std::invocable<std::decay_t<Handler>&>)
  RecvCase<T, std::decay_t<Handler>> on_recv(Handler&& handler) const {
    return {core(), std::forward<Handler>(handler)};
  }

 private:
  [[nodiscard]] ChanCore* core() const noexcept { return static_cast<const Handle*>(this)->core_of(); }
};

template <class T>
RecvIterator<T>& RecvIterator<T>::operator++() {
  received_ = Received<T>();
  ReceivedAccess::fill(received_, chan_recv_value<T>(chan_.core_of(), ReceivedAccess::slot(received_)));
  return *this;
}

}  // namespace detail

template <class T>
class Chan;

/// chan<- T: the sending end.
template <class T>
class SendChan : public detail::ChanHandle, public detail::SendOps<SendChan<T>, T> {
 public:
  using detail::ChanHandle::ChanHandle;
  SendChan() noexcept = default;
  SendChan(const Chan<T>& both) noexcept : ChanHandle(both) {}

  /// Only the receiving end can be ranged over; said here, since range-for would look for begin() elsewhere.
  void begin() const = delete;
  void end() const = delete;
};

/// <-chan T: the receiving end.
template <class T>
class RecvChan : public detail::ChanHandle, public detail::RecvOps<RecvChan<T>, T> {
 public:
  using detail::ChanHandle::ChanHandle;
  RecvChan() noexcept = default;
  RecvChan(const Chan<T>& both) noexcept : ChanHandle(both) {}

 private:
  friend class detail::TimerChan;
  friend class weft::Context;
  explicit RecvChan(detail::ChanCore* adopted) noexcept : ChanHandle(adopted) {}
};

/// chan T: a handle; copies refer to the same channel. Default-constructed or nullptr: the nil channel, on which send
/// and receive block for ever. The channel lives as long as a handle to it; values left in it are destroyed with it.
/// All operations may be used from any number of goroutines and threads at once.
template <class T>
class Chan : public detail::ChanHandle, public detail::SendOps<Chan<T>, T>, public detail::RecvOps<Chan<T>, T> {
 public:
  using value_type = T;
  using detail::ChanHandle::ChanHandle;
  Chan() noexcept = default;

 private:
  template <class U>
  friend Chan<U> make_chan(std::size_t capacity);
  explicit Chan(detail::ChanCore* adopted) noexcept : ChanHandle(adopted) {}
};

/// A new channel. capacity 0: every send waits for its receive; else a buffer of exactly that many values.
/// Throws: RuntimePanic "makechan: size out of range" for a negative or absurd capacity; std::bad_alloc.
/// Go: make(chan T, capacity).
template <class T>
[[nodiscard]] Chan<T> make_chan(std::size_t capacity = 0) {
  detail::check_element<T>();
  return Chan<T>(detail::ChanCore::make(detail::kElementType<T>, capacity));
}

}  // namespace weft

template <class T>
struct std::hash<weft::Chan<T>> : std::hash<weft::detail::ChanHandle> {};
template <class T>
struct std::hash<weft::SendChan<T>> : std::hash<weft::detail::ChanHandle> {};
template <class T>
struct std::hash<weft::RecvChan<T>> : std::hash<weft::detail::ChanHandle> {};

#pragma once

// The outcome of a receive: a value, or why there is none.

#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "weft/detail/chan_core.hpp"
#include "weft/error.hpp"

namespace weft {

namespace detail {
struct ReceivedAccess;
}

/// Like std::optional<T> that knows why it is empty. Default-constructed: empty, would_block.
template <class T>
class Received {
 public:
  using value_type = T;

  Received() noexcept {}
  explicit Received(ChanStatus status) noexcept
      : status_(status == ChanStatus::ok ? ChanStatus::would_block : status) {}
  explicit Received(T value) noexcept : status_(ChanStatus::ok) {
    std::construct_at(std::addressof(value_), std::move(value));
  }

  Received(const Received& other)
    requires std::is_copy_constructible_v<T>
      : status_(other.status_) {
    if (other) std::construct_at(std::addressof(value_), other.value_);
  }
  Received(Received&& other) noexcept : status_(other.status_) {
    if (other) std::construct_at(std::addressof(value_), std::move(other.value_));
  }
  Received& operator=(const Received& other)
    requires std::is_copy_constructible_v<T>
  {
    if (this != &other) *this = Received(other);
    return *this;
  }
  Received& operator=(Received&& other) noexcept {
    if (this == &other) return *this;
    reset();
    if (other) std::construct_at(std::addressof(value_), std::move(other.value_));
    status_ = other.status_;
    return *this;
  }
  ~Received() { reset(); }

  explicit operator bool() const noexcept { return status_ == ChanStatus::ok; }
  [[nodiscard]] bool has_value() const noexcept { return status_ == ChanStatus::ok; }
  [[nodiscard]] ChanStatus status() const noexcept { return status_; }

  /// The value; undefined without one (use value_or or test first).
  T& operator*() & noexcept { return value_; }
  const T& operator*() const& noexcept { return value_; }
  T&& operator*() && noexcept { return std::move(value_); }
  T* operator->() noexcept { return std::addressof(value_); }
  const T* operator->() const noexcept { return std::addressof(value_); }

  /// The value, or Panic without one.
  T& value() & { return check(), value_; }
  const T& value() const& { return check(), value_; }
  T&& value() && { return check(), std::move(value_); }

  template <class U>
  T value_or(U&& fallback) const& {
    return *this ? value_ : static_cast<T>(std::forward<U>(fallback));
  }
  template <class U>
  T value_or(U&& fallback) && {
    return *this ? std::move(value_) : static_cast<T>(std::forward<U>(fallback));
  }

 private:
  friend struct detail::ReceivedAccess;

  void check() const {
    if (!*this) detail::throw_panic("weft: Received::value: nothing was received");
  }
  void reset() noexcept {
    if (*this) std::destroy_at(std::addressof(value_));
    status_ = ChanStatus::would_block;
  }
  void* slot() noexcept { return static_cast<void*>(std::addressof(value_)); }
  void set_status(ChanStatus status) noexcept { status_ = status; }

  union {
    T value_;  // alive if and only if status_ is ok
  };
  ChanStatus status_ = ChanStatus::would_block;
};

namespace detail {

/// Lets a receive construct the value in place.
struct ReceivedAccess {
  template <class T>
  static void* slot(Received<T>& received) noexcept {
    return received.slot();
  }
  template <class T>
  static void fill(Received<T>& received, ChanStatus status) noexcept {
    received.set_status(status);
  }
};

template <class T>
void move_element_of(void* to, void* from) noexcept {
  ::new (to) T(std::move(*static_cast<T*>(from)));
}
template <class T>
void destroy_element_of(void* element) noexcept {
  std::destroy_at(static_cast<T*>(element));
}

template <class T>
inline constexpr ElementType kElementType{
    .size = std::is_empty_v<T> && std::is_trivially_copyable_v<T> ? 0 : sizeof(T),
    .align = alignof(T),
    .copy = element_copy<T>(),
    .move = &move_element_of<T>,
    .destroy = &destroy_element_of<T>,
};

/// What a channel can carry at all; T may be incomplete.
template <class T>
inline constexpr bool kCanBeElement = std::is_object_v<T> && !std::is_const_v<T> && !std::is_array_v<T>;

template <class T>
constexpr void check_element() noexcept {
  static_assert(std::is_nothrow_destructible_v<T>, "weft::Chan<T>: T must have a noexcept destructor");
  // A destructor that may throw makes a move constructor look as if it did: one message is enough.
  static_assert(std::is_nothrow_move_constructible_v<T> || !std::is_nothrow_destructible_v<T>,
                "weft::Chan<T>: T must have a noexcept move constructor; wrap it in std::unique_ptr<T> if it cannot");
}

}  // namespace detail
}  // namespace weft

#pragma once

// What the three kinds of channel handle share: a counted reference to a core, or nil.

#include <cstddef>
#include <memory>
#include <utility>

#include "weft/detail/chan_core.hpp"

namespace weft::detail {

class ChanHandle {
 public:
  constexpr ChanHandle() noexcept = default;
  constexpr ChanHandle(std::nullptr_t) noexcept {}
  ChanHandle(const ChanHandle& other) noexcept : core_(other.core_) {
    if (core_ != nullptr) core_->retain();
  }
  ChanHandle(ChanHandle&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  ChanHandle& operator=(const ChanHandle& other) noexcept {
    ChanHandle copy(other);
    std::swap(core_, copy.core_);
    return *this;
  }
  ChanHandle& operator=(ChanHandle&& other) noexcept {
    ChanHandle moved(std::move(other));
    std::swap(core_, moved.core_);
    return *this;
  }
  ~ChanHandle() {
    if (core_ != nullptr) core_->release();
  }

  /// Values in the buffer now: a snapshot. 0 for nil and unbuffered channels. Go: len.
  [[nodiscard]] std::size_t size() const noexcept { return core_ == nullptr ? 0 : core_->size(); }
  /// Size of the buffer. Go: cap.
  [[nodiscard]] std::size_t capacity() const noexcept { return core_ == nullptr ? 0 : core_->capacity(); }

  /// Equal if they refer to the same channel, whatever their direction, or are both nil.
  friend bool operator==(const ChanHandle& a, const ChanHandle& b) noexcept { return a.core_ == b.core_; }
  friend bool operator==(const ChanHandle& a, std::nullptr_t) noexcept { return a.core_ == nullptr; }

  [[nodiscard]] ChanCore* core_of() const noexcept { return core_; }  // for weft only

 protected:
  explicit ChanHandle(ChanCore* adopted) noexcept : core_(adopted) {}

 private:
  ChanCore* core_ = nullptr;
};

}  // namespace weft::detail

template <>
struct std::hash<weft::detail::ChanHandle> {
  std::size_t operator()(const weft::detail::ChanHandle& handle) const noexcept {
    return std::hash<const void*>()(handle.core_of());
  }
};

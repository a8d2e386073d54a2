#pragma once

// Bytes that have come in and are not used yet.

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

namespace weft::http::detail {

class InputBuffer {
 public:
  static constexpr std::size_t kUsual = 4096;

  [[nodiscard]] std::span<const char> bytes() const noexcept { return {data_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }
  void consume(std::size_t n) noexcept {
    begin_ += n;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  /// Where the next bytes go: never empty. The buffer grows when it is full.
  std::span<std::byte> room() {
    if (end_ == capacity_) {
      if (begin_ > capacity_ / 2) {
        std::memmove(data_.get(), data_.get() + begin_, end_ - begin_);
      } else {
        const std::size_t wanted = std::max(kUsual, capacity_ * 2);
        auto bigger = std::make_unique_for_overwrite<char[]>(wanted);
        if (!empty()) std::memcpy(bigger.get(), data_.get() + begin_, end_ - begin_);
        data_ = std::move(bigger);
        capacity_ = wanted;
      }
      end_ -= begin_;
      begin_ = 0;
    }
    return {reinterpret_cast<std::byte*>(data_.get()) + end_, capacity_ - end_};
  }
  void commit(std::size_t n) noexcept { end_ += n; }

  /// Forgets what is there, and memory that was for something unusual.
  void reset() noexcept {
    begin_ = end_ = 0;
    if (capacity_ <= 4 * kUsual) return;
    data_.reset();
    capacity_ = 0;
  }

 private:
  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace weft::http::detail

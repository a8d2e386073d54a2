#pragma once

// The time of day, as HTTP writes it.

#include <ctime>
#include <string_view>

namespace weft::http::detail {

/// Makes the text anew only when a second has passed. For one goroutine at a time.
class DateText {
 public:
  /// "Sun, 06 Nov 1994 08:49:37 GMT". Cost: a look at a coarse clock.
  std::string_view now() noexcept;

 private:
  std::time_t second_ = -1;
  char text_[32] = "";
  std::size_t size_ = 0;
};

}  // namespace weft::http::detail

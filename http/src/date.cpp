#include "date.hpp"

#include <cstdio>

namespace weft::http::detail {

std::string_view DateText::now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME_COARSE, &now);
  if (now.tv_sec != second_) {
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    std::tm parts{};
    ::gmtime_r(&now.tv_sec, &parts);
    // Not by strftime(), whose names depend on the locale.
    const int n =
        std::snprintf(text_, sizeof text_, "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday], parts.tm_mday,
                      kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min, parts.tm_sec);
    size_ = n > 0 && static_cast<std::size_t>(n) < sizeof text_ ? static_cast<std::size_t>(n) : 0;
    second_ = now.tv_sec;
  }
  return {text_, size_};
}

}  // namespace weft::http::detail

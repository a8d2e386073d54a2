#pragma once

// Why a Context is done, as std::error_code.

#include <system_error>

namespace weft {

/// canceled compares equal to std::errc::operation_canceled, deadline_exceeded to std::errc::timed_out.
/// Go: context.Canceled, context.DeadlineExceeded.
enum class errc { none = 0, canceled = 1, deadline_exceeded = 2 };

/// The category "weft"; its messages are Go's: "context canceled", "context deadline exceeded".
const std::error_category& error_category() noexcept;
/// errc::none becomes the default std::error_code, which is false.
std::error_code make_error_code(errc code) noexcept;

}  // namespace weft

template <>
struct std::is_error_code_enum<weft::errc> : std::true_type {};

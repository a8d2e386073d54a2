#pragma once

#include <cerrno>
#include <system_error>

namespace weft::net {

/// What the last system call failed with.
inline std::error_code last_error() noexcept { return {errno, std::system_category()}; }

}  // namespace weft::net

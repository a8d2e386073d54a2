#pragma once

namespace weft::detail {

/// Threads of this process, by the kernel's own count; -1 if that cannot be known.
int count_threads() noexcept;

}  // namespace weft::detail

#pragma once

// What happens to an exception that leaves a goroutine, and to fatal errors: reports that never interleave.

namespace weft::detail {

/// Blocks for ever if a report that will end the process has begun.
void await_reports() noexcept;

}  // namespace weft::detail

#pragma once

// What happens to an exception that leaves a goroutine, and to fatal errors: reports that never interleave.

namespace weft::detail {

/// Blocks for ever if a report that will end the process has begun.
void await_reports() noexcept;

/// Returns if no other thread has begun a report: then this one must write its own, and end the process or the report. May
/// be called in a signal handler.
void begin_report() noexcept;
/// The process may go on: it is not for us to say.
void end_report() noexcept;
/// Status 2, or an abort if $WEFT_TRACEBACK says crash. May be called in a signal handler.
[[noreturn]] void end_process() noexcept;

}  // namespace weft::detail

#pragma once

// What ends an operation on a file or a socket, beside the system's own errors, as std::error_code.

#include <system_error>

namespace weft::net {

/// eof: the peer has closed its side and all it sent has been read (Go: io.EOF). closed: close() was called here (net.ErrClosed).
/// timed_out: the deadline that was set on the stream has passed (os.ErrDeadlineExceeded); compares equal to
/// std::errc::timed_out, but is not a Context's errc::deadline_exceeded.
enum class errc {
  none = 0,
  eof = 1,
  closed = 2,
  timed_out = 3,
  not_pollable = 4,
  bad_address = 5,
  closed_pipe = 6,  ///< of pipe(): one of its ends has been closed (Go: io.ErrClosedPipe)
  would_block = 7,  ///< nothing can be done without waiting
};

/// The category "weft.net"; its messages are Go's: "EOF", "use of closed network connection", "i/o timeout".
const std::error_category& error_category() noexcept;
std::error_code make_error_code(errc code) noexcept;

}  // namespace weft::net

template <>
struct std::is_error_code_enum<weft::net::errc> : std::true_type {};

#pragma once

// Waiting for a descriptor that belongs to somebody else: a database client's socket, a device.

#include <system_error>

#include "weft/context.hpp"

namespace weft::net {

/// Parks until the descriptor may be read (written), is at its end, or has an error; or until the context is done
/// (weft::errc::canceled, deadline_exceeded). Returns at once for a file that never blocks. The descriptor need not be
/// non-blocking, stays the caller's, and must stay open meanwhile. Several may wait for one.
/// Cost: some system calls; a Stream needs none of them when it waits again.
std::error_code wait_readable(int fd, const Context& ctx = Context());
std::error_code wait_writable(int fd, const Context& ctx = Context());

}  // namespace weft::net

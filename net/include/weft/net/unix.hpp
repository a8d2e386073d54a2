#pragma once

// Unix sockets: connections between processes of one machine, by a path.

#include <string_view>
#include <system_error>

#include "weft/context.hpp"
#include "weft/net/stream.hpp"

namespace weft::net {

/// Connects to who listens at the path ("@name": a name without a file). At most 107 bytes, else errc::filename_too_long.
/// resource_unavailable_try_again if its queue is full, for which nobody can wait. Go: net.Dial("unix", path).
Stream dial_unix(std::string_view path, const Context& ctx, std::error_code& error);
Stream dial_unix(std::string_view path, std::error_code& error);
/// Throws std::system_error that names the path.
Stream dial_unix(std::string_view path);

/// Listens at the path, where it makes a file that close() removes. address_in_use if there is a file already: also one that
/// a process which died has left (docs/net.md has a recipe). Go: net.Listen("unix", path).
Listener listen_unix(std::string_view path, std::error_code& error);
/// Throws std::system_error that names the path.
Listener listen_unix(std::string_view path);

}  // namespace weft::net

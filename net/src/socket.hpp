#pragma once

// Opening sockets.

#include <string_view>
#include <system_error>

#include "weft/net/endpoint.hpp"

namespace weft::net {

/// A socket that does not block. -1 with an error.
int open_socket(int family, int type, std::error_code& error);

/// One that is bound to the endpoint; of IPv6, "every address" means those of IPv4 too.
int open_bound(const Endpoint& endpoint, int type, std::error_code& error);
/// The same for "host:port" or ":port", which is every address of this machine, of both families if it has them.
int open_bound(std::string_view address, int type, std::error_code& error);

}  // namespace weft::net

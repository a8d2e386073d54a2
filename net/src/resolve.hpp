#pragma once

#include <string_view>
#include <system_error>
#include <vector>

#include "weft/context.hpp"
#include "weft/net/endpoint.hpp"

namespace weft::net {

/// As the public ones, for SOCK_STREAM or SOCK_DGRAM: a service's name may mean one only.
std::vector<Endpoint> resolve(std::string_view host_and_port, int socket_type, std::error_code& error);
std::vector<Endpoint> resolve(std::string_view host_and_port, int socket_type, const Context& ctx,
                              std::error_code& error);

}  // namespace weft::net

#pragma once

// TCP: dialing, listening, and looking names up.

#include <span>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/context.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/stream.hpp"

namespace weft::net {

/// The addresses of "host:port", of which either may be a name; "" as host is this machine. In the order in which they are to
/// be tried. The look-up blocks a thread, not the goroutine's processor. Go: net.Resolver.
std::vector<Endpoint> resolve(std::string_view host_and_port, std::error_code& error);
/// Until the context is done; the system's look-up then goes on alone, in a goroutine that ends with it.
std::vector<Endpoint> resolve(std::string_view host_and_port, const Context& ctx, std::error_code& error);

/// Connects to "host:port", as dial_any does to its addresses, until the context is done.
/// Go: net.Dialer.DialContext("tcp", ...).
Stream dial_tcp(std::string_view host_and_port, const Context& ctx, std::error_code& error);
Stream dial_tcp(std::string_view host_and_port, std::error_code& error);
/// Throws std::system_error that names the address.
Stream dial_tcp(std::string_view host_and_port);
/// Connects to one endpoint, of a Unix socket too.
Stream dial(const Endpoint& endpoint, const Context& ctx, std::error_code& error);
/// Connects to one of the endpoints that a host has: those of the first one's family in turn, each for its share of the time that
/// the context leaves; those of other families alongside, after 300 ms or when the first family has failed ("happy
/// eyeballs"). Whoever comes too late is closed, and nobody is left when this returns. If all fail, the error of the first.
Stream dial_any(std::span<const Endpoint> endpoints, const Context& ctx, std::error_code& error);

/// "127.0.0.1:8080"; ":8080" for every address of this machine, IPv6 and IPv4; port 0 for one that the system chooses (local().port()).
Listener listen_tcp(std::string_view address, std::error_code& error);
/// Throws std::system_error that names the address.
Listener listen_tcp(std::string_view address);
Listener listen(const Endpoint& endpoint, std::error_code& error);

}  // namespace weft::net

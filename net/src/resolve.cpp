#include "resolve.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <utility>

#include "last_error.hpp"
#include "weft/chan.hpp"
#include "weft/go.hpp"
#include "weft/net/error.hpp"
#include "weft/net/tcp.hpp"

namespace weft::net {
namespace {

class ResolverCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft.net.resolve"; }
  [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
};

const std::error_category& resolver_category() noexcept {
  static const ResolverCategory category;
  return category;
}

/// Nothing to look up. (":80" is: where to find this machine.)
std::optional<Endpoint> parse_literal(std::string_view host_and_port) {
  std::error_code error;
  const Endpoint literal = Endpoint::parse(host_and_port, error);
  if (error || host_and_port.starts_with(':')) return std::nullopt;
  return literal;
}

struct Found {
  std::vector<Endpoint> endpoints;
  std::error_code error;
};

}  // namespace

std::vector<Endpoint> resolve(std::string_view host_and_port, int socket_type, std::error_code& error) {
  if (const auto literal = parse_literal(host_and_port)) return {*literal};
  const std::size_t colon = host_and_port.rfind(':');
  error = errc::bad_address;
  if (colon == std::string_view::npos || colon + 1 == host_and_port.size()) return {};
  std::string host(host_and_port.substr(0, colon));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string port(host_and_port.substr(colon + 1));
  // The system would take 65616 for 80.
  if (port.find_first_not_of("0123456789") == std::string::npos && (port.size() > 5 || std::stoi(port) > 65'535))
    return {};
  addrinfo hints{};
  hints.ai_socktype = socket_type;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* found = nullptr;
  const int status =
      blocking([&] { return ::getaddrinfo(host.empty() ? nullptr : host.c_str(), port.c_str(), &hints, &found); });
  if (status != 0) {
    error = status == EAI_SYSTEM ? last_error() : std::error_code(status, resolver_category());
    return {};
  }
  error.clear();
  std::vector<Endpoint> endpoints;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) endpoints.emplace_back(at->ai_addr, at->ai_addrlen);
  ::freeaddrinfo(found);
  return endpoints;
}

std::vector<Endpoint> resolve(std::string_view host_and_port, int socket_type, const Context& ctx,
                              std::error_code& error) {
  error = ctx.err();
  if (error) return {};
  if (ctx.done_core() == nullptr || parse_literal(host_and_port)) return resolve(host_and_port, socket_type, error);
  // The system's look-up cannot be ended: it is left to itself.
  const auto done = make_chan<Found>(1);
  go([done, socket_type, text = std::string(host_and_port)] {
    Found found;
    found.endpoints = resolve(text, socket_type, found.error);
    done.send(std::move(found));
  });
  Received<Found> found = done.recv(ctx);
  error = found ? found->error : ctx.err();
  return found ? std::move(found->endpoints) : std::vector<Endpoint>();
}

std::vector<Endpoint> resolve(std::string_view host_and_port, std::error_code& error) {
  return resolve(host_and_port, SOCK_STREAM, error);
}

std::vector<Endpoint> resolve(std::string_view host_and_port, const Context& ctx, std::error_code& error) {
  return resolve(host_and_port, SOCK_STREAM, ctx, error);
}

}  // namespace weft::net

#include "weft/net/tcp.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "fail.hpp"
#include "last_error.hpp"
#include "weft/go.hpp"
#include "weft/net/error.hpp"

namespace weft::net {
namespace {

constexpr int kBacklog = 4096;  // the system cuts it to what it allows

class ResolverCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft.net.resolve"; }
  [[nodiscard]] std::string message(int code) const override { return ::gai_strerror(code); }
};

const std::error_category& resolver_category() noexcept {
  static const ResolverCategory category;
  return category;
}

/// Nobody listened at the port that was dialed, so that the system gave it to the dialer, who has reached himself.
bool has_met_itself(const Stream& stream) { return stream.local() == stream.peer(); }

}  // namespace

std::vector<Endpoint> resolve(std::string_view host_and_port, std::error_code& error) {
  const Endpoint literal = Endpoint::parse(host_and_port, error);
  if (!error && host_and_port.front() != ':') return {literal};
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
  hints.ai_socktype = SOCK_STREAM;
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

Stream dial(const Endpoint& endpoint, const Context& ctx, std::error_code& error) {
  error = ctx.err();
  if (error) return {};
  const int fd = ::socket(endpoint.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    error = last_error();
    return {};
  }
  auto file = or_error(error, [&] { return std::make_unique<detail::File>(fd); });
  if (error) return {};
  bool has_begun = false;
  std::error_code refused;
  file->run(weft::detail::PollSide::kWrite, ctx, error, [&](int socket) {
    if (!has_begun) {
      has_begun = true;
      if (::connect(socket, endpoint.data(), endpoint.size()) == 0) return 0;
      if (errno == EAGAIN) {  // no room in a Unix socket's queue, or no port: of neither would the poller tell
        refused = last_error();
        return 0;
      }
      if (errno == EINPROGRESS || errno == EINTR) errno = EAGAIN;  // goes on by itself
      return -1;
    }
    int status = 0;
    socklen_t size = sizeof status;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &status, &size) != 0) return -1;
    if (status != 0) {
      errno = status;
      return -1;
    }
    // Not yet, if the poller has told of something else.
    sockaddr_storage peer{};
    size = sizeof peer;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
    if (errno == ENOTCONN) errno = EAGAIN;
    return -1;
  });
  if (refused) error = refused;
  if (error) return {};
  Stream stream(std::move(file));
  if (endpoint.family() == AF_UNIX) return stream;
  if (has_met_itself(stream)) {
    error = std::make_error_code(std::errc::connection_refused);
    return {};
  }
  static_cast<void>(stream.set_no_delay(true));
  return stream;
}

Stream dial_tcp(std::string_view host_and_port, const Context& ctx, std::error_code& error) {
  std::error_code first;
  const std::vector<Endpoint> endpoints = resolve(host_and_port, error);
  for (const Endpoint& endpoint : endpoints) {
    Stream stream = dial(endpoint, ctx, error);
    if (!error || ctx.is_done()) return stream;
    if (!first) first = error;
  }
  if (first) error = first;
  return {};
}

Stream dial_tcp(std::string_view host_and_port, std::error_code& error) {
  return dial_tcp(host_and_port, Context(), error);
}

Stream dial_tcp(std::string_view host_and_port) {
  std::error_code error;
  Stream stream = dial_tcp(host_and_port, error);
  if (error) fail(error, "dial_tcp", host_and_port);
  return stream;
}

Listener listen(const Endpoint& endpoint, std::error_code& error) {
  error.clear();
  const int fd = ::socket(endpoint.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    error = last_error();
    return {};
  }
  const int on = 1;
  if (endpoint.family() != AF_UNIX) ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, endpoint.data(), endpoint.size()) != 0 || ::listen(fd, kBacklog) != 0) {
    error = last_error();
    ::close(fd);
    return {};
  }
  const bool has_file = endpoint.family() == AF_UNIX && endpoint.to_string().front() != '@';
  return or_error(error, [&] { return Listener(fd, has_file ? endpoint.to_string() : ""); });
}

Listener listen_tcp(std::string_view address, std::error_code& error) {
  const Endpoint endpoint = Endpoint::parse(address, error);
  if (!error) return listen(endpoint, error);
  const std::vector<Endpoint> endpoints = resolve(address, error);
  return error ? Listener() : listen(endpoints.front(), error);
}

Listener listen_tcp(std::string_view address) {
  std::error_code error;
  Listener listener = listen_tcp(address, error);
  if (error) fail(error, "listen_tcp", address);
  return listener;
}

}  // namespace weft::net

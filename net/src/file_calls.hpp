#pragma once

// What streams, listeners and datagram sockets have in common above an open file.

#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

#include "weft/net/detail/file.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/time.hpp"

namespace weft::net {

inline void check(const std::error_code& error, const char* call) {
  if (error) throw std::system_error(error, std::string("weft: net: ") + call);
}

inline std::int64_t to_ns(std::optional<TimePoint> deadline) noexcept {
  return deadline ? deadline->time_since_epoch().count() : weft::detail::kForever;
}

/// What getsockname or getpeername says; nothing if the file is closed.
inline Endpoint name_of(detail::File& file, int (*get)(int, sockaddr*, socklen_t*)) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  const std::error_code error =
      file.with_descriptor([&](int fd) { return get(fd, reinterpret_cast<sockaddr*>(&storage), &size); });
  return error ? Endpoint() : Endpoint(reinterpret_cast<const sockaddr*>(&storage), size);
}

}  // namespace weft::net

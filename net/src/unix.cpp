#include "weft/net/unix.hpp"

#include "fail.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/tcp.hpp"

namespace weft::net {

Stream dial_unix(std::string_view path, const Context& ctx, std::error_code& error) {
  const Endpoint endpoint = Endpoint::unix_path(path, error);
  return error ? Stream() : dial(endpoint, ctx, error);
}

Stream dial_unix(std::string_view path, std::error_code& error) { return dial_unix(path, Context(), error); }

Stream dial_unix(std::string_view path) {
  std::error_code error;
  Stream stream = dial_unix(path, error);
  if (error) fail(error, "dial_unix", path);
  return stream;
}

Listener listen_unix(std::string_view path, std::error_code& error) {
  const Endpoint endpoint = Endpoint::unix_path(path, error);
  return error ? Listener() : listen(endpoint, error);
}

Listener listen_unix(std::string_view path) {
  std::error_code error;
  Listener listener = listen_unix(path, error);
  if (error) fail(error, "listen_unix", path);
  return listener;
}

}  // namespace weft::net

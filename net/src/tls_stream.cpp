#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <mutex>
#include <string>
#include <utility>

#include "fail.hpp"
#include "file_calls.hpp"
#include "tls_config.hpp"
#include "tls_error.hpp"
#include "tls_state.hpp"
#include "weft/error.hpp"
#include "weft/net/tcp.hpp"
#include "weft/net/tls.hpp"

namespace weft::net {
namespace {

/// Whose certificate it must be. OpenSSL's own rules, but a name is looked for only where names belong today.
void expect_peer(SSL* ssl, std::string name) {
  if (name.size() >= 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  if (name.ends_with('.')) name.pop_back();
  if (name.empty() && ::SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE) {
    weft::detail::throw_panic("net: TlsStream::client needs the server's name, or a config with skip_verification()");
  }
  X509_VERIFY_PARAM* param = ::SSL_get0_param(ssl);
  ::X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
  if (name.empty() || ::X509_VERIFY_PARAM_set1_ip_asc(param, name.c_str()) == 1) return;
  ::ERR_clear_error();
  const bool is_set = ::X509_VERIFY_PARAM_set1_host(param, name.data(), name.size()) == 1 &&
                      ::SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, name.data()) == 1;
  if (!is_set) throw std::system_error(take_tls_error(nullptr), "weft: net: TlsStream::client \"" + name + "\"");
}

}  // namespace

TlsStream::TlsStream() noexcept = default;
TlsStream::TlsStream(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TlsStream::TlsStream(TlsStream&& other) noexcept = default;
TlsStream& TlsStream::operator=(TlsStream&& other) noexcept = default;
TlsStream::~TlsStream() = default;

TlsStream::State& TlsStream::state() const {
  if (state_ == nullptr) weft::detail::throw_panic("net: use of a TLS stream that is not connected");
  return *state_;
}

TlsStream TlsStream::client(Stream stream, const TlsConfig& config, std::string_view server_name) {
  if (config.data_->is_server) weft::detail::throw_panic("net: TlsStream::client with the TlsConfig of a server");
  auto state = std::make_unique<State>(std::move(stream), config);
  expect_peer(state->ssl.get(), std::string(server_name));
  ::SSL_set_connect_state(state->ssl.get());
  return TlsStream(std::move(state));
}

TlsStream TlsStream::server(Stream stream, const TlsConfig& config) {
  if (!config.data_->is_server) weft::detail::throw_panic("net: TlsStream::server with the TlsConfig of a client");
  auto state = std::make_unique<State>(std::move(stream), config);
  ::SSL_set_accept_state(state->ssl.get());
  return TlsStream(std::move(state));
}

std::error_code TlsStream::handshake(const Context& ctx) { return state().ready(ctx); }

std::size_t TlsStream::read_some(std::span<std::byte> buffer, std::error_code& error) {
  return state().read_some(buffer, error);
}

std::size_t TlsStream::write(std::span<const std::byte> data, std::error_code& error) {
  return state().write(data, error);
}

std::error_code TlsStream::shutdown_write() { return state().shutdown_write(); }

bool TlsStream::has_pending() const { return state().has_pending(); }

std::string TlsStream::protocol() const {
  State& s = state();
  const std::scoped_lock guard(s.lock);
  const unsigned char* name = nullptr;
  unsigned int size = 0;
  ::SSL_get0_alpn_selected(s.ssl.get(), &name, &size);
  return name == nullptr ? "" : std::string(reinterpret_cast<const char*>(name), size);
}

std::string TlsStream::version() const {
  State& s = state();
  const std::scoped_lock guard(s.lock);
  return ::SSL_get_version(s.ssl.get());
}

std::size_t TlsStream::read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_some(buffer, error);
  check(error, "TlsStream::read_some");
  return n;
}

std::size_t TlsStream::read_full(std::span<std::byte> buffer, std::error_code& error) {
  std::size_t n = 0;
  error.clear();
  while (n < buffer.size() && !error) n += read_some(buffer.subspan(n), error);
  return n;
}

std::size_t TlsStream::read_full(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_full(buffer, error);
  check(error, "TlsStream::read_full");
  return n;
}

std::size_t TlsStream::write(std::span<const std::byte> data) {
  std::error_code error;
  const std::size_t n = write(data, error);
  check(error, "TlsStream::write");
  return n;
}

Stream& TlsStream::stream() { return state().stream; }
Endpoint TlsStream::local() const { return state().stream.local(); }
Endpoint TlsStream::peer() const { return state().stream.peer(); }

std::error_code TlsStream::set_deadline(std::optional<TimePoint> deadline) noexcept {
  return state_ == nullptr ? errc::closed : state_->stream.set_deadline(deadline);
}

std::error_code TlsStream::set_read_deadline(std::optional<TimePoint> deadline) noexcept {
  return state_ == nullptr ? errc::closed : state_->stream.set_read_deadline(deadline);
}

std::error_code TlsStream::set_write_deadline(std::optional<TimePoint> deadline) noexcept {
  return state_ == nullptr ? errc::closed : state_->stream.set_write_deadline(deadline);
}

std::error_code TlsStream::close() noexcept { return state_ == nullptr ? errc::closed : state_->close(); }

TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config, const Context& ctx,
                   std::error_code& error) {
  Stream stream = dial_tcp(host_and_port, ctx, error);
  if (error) return {};
  TlsStream tls = TlsStream::client(std::move(stream), config, host_and_port.substr(0, host_and_port.rfind(':')));
  error = tls.handshake(ctx);
  return error ? TlsStream() : std::move(tls);
}

TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config, std::error_code& error) {
  return dial_tls(host_and_port, config, Context(), error);
}

TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config) {
  std::error_code error;
  TlsStream stream = dial_tls(host_and_port, config, error);
  if (error) fail(error, "dial_tls", host_and_port);
  return stream;
}

}  // namespace weft::net

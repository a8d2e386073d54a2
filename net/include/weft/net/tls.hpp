#pragma once

// TLS over a stream, by OpenSSL 3. In a library of its own, weft-tls, so that who does without links no OpenSSL.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "weft/context.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/stream.hpp"
#include "weft/time.hpp"

namespace weft::net {

/// What ends TLS, beside errc::eof (the peer has ended it properly), errc::closed and errc::timed_out; and beside OpenSSL's own
/// reasons, which have this category too. Conditions: compare an error with them.
enum class tls_errc {
  truncated = 1,        ///< the connection ended, but the peer has not ended TLS: what was read may have been cut short
  not_tls = 2,          ///< the peer speaks something else: plain HTTP, say
  bad_certificate = 3,  ///< the peer's cannot be trusted; the error's message says why
};

/// The category "weft.tls"; its messages are OpenSSL's where the reason is.
const std::error_category& tls_category() noexcept;
std::error_condition make_error_condition(tls_errc code) noexcept;

/// How to speak TLS (1.2 and 1.3). A handle: copies are the same configuration. First it is set up, then used; from then on it
/// stays as it is, and may be used by any number of goroutines and threads. Files are PEM, and read at once; without
/// pass phrase. What reads them throws std::system_error that names the file. Go: tls.Config.
class TlsConfig {
 public:
  /// Verifies the peer against the system's authorities.
  static TlsConfig client();
  /// Shows this certificate, which those that lead to its authority follow in the file.
  static TlsConfig server(const std::string& certificate_file, const std::string& key_file);

  /// Trusted besides the system's. Go: RootCAs, ClientCAs.
  TlsConfig& add_authority(const std::string& certificate_file);
  /// Trusts whoever answers: for tests. Go: InsecureSkipVerify.
  TlsConfig& skip_verification();
  /// ALPN, the most wanted first. A server takes its first that the client has too, and refuses a client that has none of them.
  /// Go: NextProtos.
  TlsConfig& protocols(const std::vector<std::string>& names);
  /// A client's, for servers that ask for it.
  TlsConfig& certificate(const std::string& certificate_file, const std::string& key_file);
  /// A server's: refuses clients without a certificate of an authority that was added. Go: RequireAndVerifyClientCert.
  TlsConfig& require_client_certificate();

 private:
  friend class TlsStream;
  struct Data;
  explicit TlsConfig(bool is_server);
  std::shared_ptr<Data> data_;
};

/// As Stream, with these differences. The handshake is done by handshake(), else by the first read or write; if it fails, a
/// deadline included, all that follows fails in the same way. So it is with a write that has failed: what the peer has got of it,
/// nobody knows. Bytes that are decrypted already are read whatever the deadline says.
/// A handshake takes some 20 KiB of stack. Go: tls.Conn.
class TlsStream {
 public:
  TlsStream() noexcept;
  TlsStream(TlsStream&& other) noexcept;
  TlsStream& operator=(TlsStream&& other) noexcept;
  ~TlsStream();

  /// Takes the stream over. The name is what the peer's certificate must be for: a host's name, or an IP address.
  /// Throws: Panic if there is no name, unless skip_verification(), and for a server's configuration; std::system_error for what
  /// cannot be a name; std::bad_alloc.
  static TlsStream client(Stream stream, const TlsConfig& config, std::string_view server_name);
  static TlsStream server(Stream stream, const TlsConfig& config);

  [[nodiscard]] bool is_open() const noexcept { return state_ != nullptr; }

  /// Agrees with the peer on keys, and on whom it talks to. The context ends it, and the connection with it. If it is going on
  /// already, waits for its end.
  std::error_code handshake(const Context& ctx = Context());

  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  std::size_t read_some(std::span<std::byte> buffer);
  std::size_t read_full(std::span<std::byte> buffer, std::error_code& error);
  std::size_t read_full(std::span<std::byte> buffer);
  /// The number of bytes is of those that were handed to the system as whole records.
  std::size_t write(std::span<const std::byte> data, std::error_code& error);
  std::size_t write(std::span<const std::byte> data);
  std::size_t write(std::string_view text, std::error_code& error) {
    return write(std::as_bytes(std::span(text)), error);
  }
  std::size_t write(std::string_view text) { return write(std::as_bytes(std::span(text))); }

  /// The stream's.
  std::error_code set_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_read_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_write_deadline(std::optional<TimePoint> deadline) noexcept;

  /// Ends this direction of TLS: the peer reads errc::eof. Writes fail with std::errc::broken_pipe then. Go: CloseWrite.
  std::error_code shutdown_write();
  [[nodiscard]] Endpoint local() const;
  [[nodiscard]] Endpoint peer() const;
  /// What was agreed on, once the handshake is done: one of protocols(), or ""; "TLSv1.3".
  [[nodiscard]] std::string protocol() const;
  [[nodiscard]] std::string version() const;

  /// Whether read_some would return without waiting for the socket: what wait_readable cannot know.
  [[nodiscard]] bool has_pending() const;
  /// The one below.
  [[nodiscard]] Stream& stream();

  /// As Stream's. Tells the peer first, unless a write is going on: waits for at most 5 s for room in the socket's buffer.
  std::error_code close() noexcept;

 private:
  struct State;
  explicit TlsStream(std::unique_ptr<State> state) noexcept;
  State& state() const;
  std::unique_ptr<State> state_;
};

/// dial_tcp("host:port"), and the handshake with that host, until the context is done.
TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config, const Context& ctx, std::error_code& error);
TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config, std::error_code& error);
/// Throws std::system_error that names the address.
TlsStream dial_tls(std::string_view host_and_port, const TlsConfig& config);

}  // namespace weft::net

template <>
struct std::is_error_condition_enum<weft::net::tls_errc> : std::true_type {};

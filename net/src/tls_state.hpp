#pragma once

// What is behind a TlsStream: OpenSSL, the stream, and the turns of those who read and write.
//
// OpenSSL never touches the socket: it works on two buffers, and bytes are moved between those and the socket when it has
// returned. So no goroutine is suspended inside of it, nor between a call and the look at the thread's queue of errors.
//
// T1 `lock` guards OpenSSL's objects, and is held for single calls of it; never while anybody waits for the socket.
// T2 `sending_` is held from the making of records until they are sent, so that they leave in their order. A reader makes records
//    too, when it has come upon nonsense: an alert. But it must not wait for a writer whose peer does not read. It sends them
//    if it gets `sending_` at once. If not, who holds it does so: whoever lets go of `sending_` looks for output afterwards
//    (send_rest). Argument: what the reader has made, it has made under `lock` before it tried; so either the look of who
//    holds `sending_`, which is under `lock` too, comes later and sees it, or that look came before, and then `sending_` was
//    free when the reader tried. (Answers to new keys OpenSSL makes with the next write.)
// T3 `reading_` is held by the one who takes plain text, and waits for more of the socket.
// Order: reading_ or the handshake, sending_, lock.

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>

#include "weft/context.hpp"
#include "weft/mutex.hpp"
#include "weft/net/stream.hpp"
#include "weft/net/tls.hpp"
#include "weft/once.hpp"

namespace weft::net {

/// What OpenSSL has made of one call.
struct TlsOutcome {
  std::size_t size = 0;
  bool wants_input = false;
  bool has_output = false;
  std::error_code error;
};

struct TlsStream::State {
  struct Free {
    void operator()(SSL* own) const noexcept { ::SSL_free(own); }
  };

  State(Stream below, const TlsConfig& shared);
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { static_cast<void>(close()); }

  /// The handshake, by whoever comes first.
  std::error_code ready(const Context& ctx = Context());
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  std::size_t write(std::span<const std::byte> data, std::error_code& error);
  std::error_code shutdown_write();
  bool has_pending();
  std::error_code close() noexcept;

  Stream stream;
  const TlsConfig config;  // OpenSSL refers to it
  Mutex lock;
  std::unique_ptr<SSL, Free> ssl;  // guarded by lock

 private:
  template <class Call>
  TlsOutcome attempt(Call call);
  std::error_code shake_hands(const Context& ctx);
  std::error_code shake_hands();
  std::error_code receive(bool is_first = false);
  std::error_code send_output();
  void send_rest();
  std::error_code why_mute() const;
  std::error_code encrypt(std::span<const std::byte> data);
  TlsOutcome decrypt(std::span<std::byte> buffer);
  std::error_code end_writing();

  Once handshake_;
  std::error_code handshake_error_ = std::make_error_code(std::errc::not_enough_memory);  // unless it says otherwise
  Mutex reading_;
  Mutex sending_;
  // Guarded by lock.
  BIO* incoming_;  // the ssl's
  BIO* outgoing_;
  std::error_code read_error_;  // for good: OpenSSL would not say it twice
  std::error_code send_error_;
  bool has_ended_writing_ = false;
  bool is_closed_ = false;
};

}  // namespace weft::net

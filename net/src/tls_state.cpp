#include "tls_state.hpp"

#include <openssl/buffer.h>
#include <openssl/err.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <new>
#include <utility>

#include "tls_config.hpp"
#include "tls_error.hpp"
#include "weft/net/error.hpp"
#include "weft/time.hpp"
#include "weft/wait_group.hpp"

namespace weft::net {
namespace {

constexpr std::size_t kRecord = 16'384;  // the most plain text in a record of TLS
constexpr std::size_t kReceive = 8'192;  // asked of the socket at once; it lies on the stack of whoever waits
constexpr auto kFarewell = std::chrono::seconds(5);

/// A record that begins a handshake, or an alert.
bool may_be_tls(std::byte first) noexcept { return first == std::byte{22} || first == std::byte{21}; }

/// Of a buffer that has been emptied the memory goes back: a connection at rest keeps little.
void shrink(BIO* buffer) {
  constexpr std::size_t kKept = 1'024;
  BUF_MEM* memory = nullptr;
  ::BIO_ctrl(buffer, BIO_C_GET_BUF_MEM_PTR, 0, &memory);
  if (BIO_pending(buffer) > 0 || memory == nullptr || memory->max <= kKept) return;
  if (BUF_MEM* fresh = ::BUF_MEM_new()) ::BIO_ctrl(buffer, BIO_C_SET_BUF_MEM, BIO_CLOSE, fresh);
}

/// While it lives, the end of the context closes the stream.
class CloseWhenDone {
 public:
  CloseWhenDone(Stream& stream, const Context& ctx) {
    closing_.add(1);
    stop_ = after_func(ctx, [this, &stream] {
      static_cast<void>(stream.close());
      closing_.done();
    });
  }
  CloseWhenDone(const CloseWhenDone&) = delete;
  CloseWhenDone& operator=(const CloseWhenDone&) = delete;
  ~CloseWhenDone() { has_closed(); }

  /// From now on it will not.
  bool has_closed() {
    if (std::exchange(is_over_, true)) return has_closed_;
    has_closed_ = !stop_();
    if (has_closed_) closing_.wait();
    return has_closed_;
  }

 private:
  WaitGroup closing_;
  StopFunc stop_;
  bool is_over_ = false;
  bool has_closed_ = false;
};

}  // namespace

TlsStream::State::State(Stream below, const TlsConfig& shared)
    : stream(std::move(below)),
      config(shared),
      incoming_(::BIO_new(::BIO_s_mem())),
      outgoing_(::BIO_new(::BIO_s_mem())) {
  ::ERR_clear_error();
  ssl.reset(::SSL_new(config.data_->ctx.get()));
  if (ssl == nullptr || incoming_ == nullptr || outgoing_ == nullptr) {
    ::BIO_free(incoming_);
    ::BIO_free(outgoing_);
    throw std::bad_alloc();
  }
  ::SSL_set_bio(ssl.get(), incoming_, outgoing_);
}

/// Under the lock: call(size) is one of OpenSSL's that returns 1 if all is well.
template <class Call>
TlsOutcome TlsStream::State::attempt(Call call) {
  TlsOutcome outcome;
  ::ERR_clear_error();
  const int result = call(outcome.size);
  if (result != 1) {
    switch (::SSL_get_error(ssl.get(), result)) {
      case SSL_ERROR_WANT_READ:
        outcome.wants_input = true;
        break;
      case SSL_ERROR_ZERO_RETURN:
        outcome.error = errc::eof;
        break;
      default:
        outcome.error = take_tls_error(ssl.get());
    }
  }
  outcome.has_output = BIO_pending(outgoing_) > 0;
  return outcome;
}

std::error_code TlsStream::State::ready(const Context& ctx) {
  handshake_.call([&] { handshake_error_ = ctx.done_core() == nullptr ? shake_hands() : shake_hands(ctx); });
  return handshake_error_;
}

std::error_code TlsStream::State::shake_hands(const Context& ctx) {
  if (const std::error_code done = ctx.err()) return done;
  CloseWhenDone closing(stream, ctx);
  const std::error_code error = shake_hands();
  return closing.has_closed() ? ctx.err() : error;
}

std::error_code TlsStream::State::shake_hands() {
  for (bool is_first = true;; is_first = false) {
    TlsOutcome outcome;
    {
      const std::scoped_lock guard(lock);
      outcome = attempt([&](std::size_t&) { return ::SSL_do_handshake(ssl.get()); });
    }
    std::error_code sent;
    if (outcome.has_output) {  // if it has failed: why, for the peer
      const std::scoped_lock turn(sending_);
      sent = send_output();
    }
    if (outcome.error == errc::eof) return make_tls_error(tls_errc::truncated);  // anybody may have written that
    if (outcome.error) return outcome.error;
    if (sent || !outcome.wants_input) return sent;
    if (const std::error_code error = receive(is_first)) return error;
  }
}

/// Waits for bytes of the socket, and hands them to OpenSSL. (Not inlined, nor is send_output: their buffers need not be on the
/// stack together with OpenSSL's frames.)
[[gnu::noinline]] std::error_code TlsStream::State::receive(bool is_first) {
  std::array<std::byte, kReceive> bytes;
  std::error_code error;
  const std::size_t n = stream.read_some(bytes, error);
  if (error) return error == errc::eof ? make_tls_error(tls_errc::truncated) : error;
  if (is_first && !may_be_tls(bytes[0])) return make_tls_error(tls_errc::not_tls);
  const std::scoped_lock guard(lock);
  const bool is_taken = ::BIO_write(incoming_, bytes.data(), static_cast<int>(n)) == static_cast<int>(n);
  return is_taken ? std::error_code() : std::make_error_code(std::errc::not_enough_memory);
}

/// With `sending_`: all that OpenSSL has produced.
[[gnu::noinline]] std::error_code TlsStream::State::send_output() {
  std::array<std::byte, kRecord + 512> bytes;
  for (;;) {
    int n = 0;
    {
      const std::scoped_lock guard(lock);
      if (send_error_) static_cast<void>(BIO_reset(outgoing_));
      n = send_error_ ? 0 : ::BIO_read(outgoing_, bytes.data(), static_cast<int>(bytes.size()));
      if (n <= 0) {
        shrink(outgoing_);
        return send_error_;
      }
    }
    std::error_code error;
    stream.write(std::span(bytes).first(static_cast<std::size_t>(n)), error);
    if (!error) continue;
    const std::scoped_lock guard(lock);
    send_error_ = error;
  }
}

/// Without `sending_`: what readers have produced meanwhile. T2.
void TlsStream::State::send_rest() {
  for (;;) {
    {
      const std::scoped_lock guard(lock);
      if (BIO_pending(outgoing_) == 0) return;
    }
    if (!sending_.try_lock()) return;
    const std::lock_guard turn(sending_, std::adopt_lock);
    static_cast<void>(send_output());
  }
}

/// Under the lock: why nothing can be sent any more.
std::error_code TlsStream::State::why_mute() const {
  if (is_closed_) return errc::closed;
  if (send_error_ || read_error_ == errc::eof) return send_error_;
  return read_error_;  // of TLS itself, which ends both directions
}

/// With `sending_`: at most a record.
std::error_code TlsStream::State::encrypt(std::span<const std::byte> data) {
  const std::scoped_lock guard(lock);
  if (const std::error_code error = why_mute()) return error;
  if (has_ended_writing_) return std::make_error_code(std::errc::broken_pipe);
  const TlsOutcome outcome =
      attempt([&](std::size_t& n) { return ::SSL_write_ex(ssl.get(), data.data(), data.size(), &n); });
  send_error_ = outcome.wants_input ? std::make_error_code(std::errc::protocol_error) : outcome.error;
  return send_error_;
}

TlsOutcome TlsStream::State::decrypt(std::span<std::byte> buffer) {
  const std::scoped_lock guard(lock);
  if (is_closed_) return {.error = errc::closed};
  if (read_error_) return {.error = read_error_};
  TlsOutcome outcome =
      attempt([&](std::size_t& n) { return ::SSL_read_ex(ssl.get(), buffer.data(), buffer.size(), &n); });
  read_error_ = outcome.error;
  if (outcome.wants_input) shrink(incoming_);
  return outcome;
}

/// With `sending_`.
std::error_code TlsStream::State::end_writing() {
  const std::scoped_lock guard(lock);
  if (const std::error_code error = why_mute()) return error;
  if (::SSL_is_init_finished(ssl.get()) == 0) return std::make_error_code(std::errc::not_connected);
  ::ERR_clear_error();
  if (!std::exchange(has_ended_writing_, true)) ::SSL_shutdown(ssl.get());
  return {};
}

std::error_code TlsStream::State::close() noexcept {
  if (sending_.try_lock()) {
    const std::lock_guard turn(sending_, std::adopt_lock);
    if (!end_writing()) {
      static_cast<void>(stream.set_write_deadline(Clock::now() + kFarewell));
      static_cast<void>(send_output());
    }
  }
  {
    const std::scoped_lock guard(lock);
    is_closed_ = true;
  }
  return stream.close();
}

std::size_t TlsStream::State::read_some(std::span<std::byte> buffer, std::error_code& error) {
  error.clear();
  if (buffer.empty()) return 0;
  error = ready();
  if (error) return 0;
  const std::scoped_lock turn(reading_);
  for (;;) {
    const TlsOutcome outcome = decrypt(buffer);
    if (outcome.has_output) send_rest();
    error = outcome.error;
    if (!error && outcome.wants_input) {
      error = receive();
      if (!error) continue;
    }
    return outcome.size;
  }
}

std::size_t TlsStream::State::write(std::span<const std::byte> data, std::error_code& error) {
  error = ready();
  std::size_t written = 0;
  {
    const std::scoped_lock turn(sending_);
    while (!error && written < data.size()) {
      const std::span<const std::byte> part = data.subspan(written, std::min(data.size() - written, kRecord));
      error = encrypt(part);
      if (!error) error = send_output();
      if (!error) written += part.size();
    }
  }
  send_rest();
  return written;
}

std::error_code TlsStream::State::shutdown_write() {
  std::error_code error = ready();
  if (error) return error;
  {
    const std::scoped_lock turn(sending_);
    error = end_writing();
    if (!error) error = send_output();
  }
  send_rest();
  return error;
}

bool TlsStream::State::has_pending() {
  const std::scoped_lock guard(lock);
  if (is_closed_ || ::SSL_is_init_finished(ssl.get()) == 0) return false;
  if (read_error_ || ::SSL_pending(ssl.get()) > 0) return true;
  // Of the bytes that have come, only OpenSSL knows whether they are whole records.
  std::byte next{};
  const TlsOutcome outcome = attempt([&](std::size_t& n) { return ::SSL_peek_ex(ssl.get(), &next, 1, &n); });
  read_error_ = outcome.error;
  return !outcome.wants_input;
}

}  // namespace weft::net

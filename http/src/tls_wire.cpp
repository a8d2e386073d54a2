// Asking by TLS.

#include <memory>
#include <utility>

#include "client_wire.hpp"
#include "weft/http/error.hpp"
#include "weft/net/detail/file.hpp"
#include "weft/net/error.hpp"
#include "weft/net/tls.hpp"
#include "weft/time.hpp"

namespace weft::http::detail {
namespace {

class TlsWire final : public Wire {
 public:
  explicit TlsWire(net::TlsStream stream) : stream_(std::make_shared<net::TlsStream>(std::move(stream))) {}

  std::size_t read_some(std::span<std::byte> buffer, const Context& ctx, std::error_code& error) override {
    const std::size_t n = bounded(ctx, error, [&] { return stream_->read_some(buffer, error); });
    // Also of a body that lasts until the end: somebody on the way may have cut it.
    if (error == net::tls_errc::truncated) error = errc::truncated;
    return n;
  }

  std::size_t write(std::string_view text, const Context& ctx, std::error_code& error) override {
    return bounded(ctx, error, [&] { return stream_->write(text, error); });
  }

  bool is_quiet() override {
    if (is_ended_ || stream_->has_pending()) return false;
    std::error_code error;
    static_cast<void>(stream_->stream().file().peek_now(error));
    return error == net::errc::would_block;
  }

 private:
  template <class F>
  std::size_t bounded(const Context& ctx, std::error_code& error, F operation) {
    error = ctx.err();
    if (error) return 0;
    if (ctx.done_core() == nullptr) return operation();
    // A deadline that has passed ends it, and whatever comes later on this connection.
    const StopFunc stop = after_func(ctx, [stream = stream_] { static_cast<void>(stream->set_deadline(TimePoint())); });
    const std::size_t n = operation();
    if (!stop()) {
      is_ended_ = true;
      if (error) error = ctx.err();
    }
    return n;
  }

  const std::shared_ptr<net::TlsStream> stream_;
  bool is_ended_ = false;
};

/// For clients that have not been given one.
const net::TlsConfig& default_tls_config() {
  static const auto* const config = new net::TlsConfig(net::TlsConfig::client());
  return *config;
}

}  // namespace

std::unique_ptr<Wire> dial_tls_wire(const std::string& address, const net::TlsConfig* config, const Context& ctx,
                                    std::error_code& error) {
  net::TlsStream stream = net::dial_tls(address, config == nullptr ? default_tls_config() : *config, ctx, error);
  return error ? nullptr : std::make_unique<TlsWire>(std::move(stream));
}

}  // namespace weft::http::detail

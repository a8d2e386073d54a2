// Serving by TLS.

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "server_state.hpp"
#include "transport.hpp"
#include "weft/http/server.hpp"
#include "weft/net/error.hpp"
#include "weft/net/tls.hpp"
#include "weft/time.hpp"

namespace weft::http {
namespace detail {
namespace {

class TlsTransport final : public Transport {
 public:
  TlsTransport(net::Stream stream, const net::TlsConfig& config)
      : stream_(net::TlsStream::server(std::move(stream), config)) {}

  /// What is there may be a part of a record only: then it waits for the rest, that long.
  std::size_t read_now(std::span<std::byte> buffer, std::chrono::nanoseconds limit, std::error_code& error) override {
    if (!stream_.has_pending()) {
      static_cast<void>(file().peek_now(error));
      if (error == net::errc::would_block) return 0;
    }
    return read_some(buffer, limit, error);
  }

  std::size_t read_some(std::span<std::byte> buffer, std::chrono::nanoseconds limit, std::error_code& error) override {
    // The handshake, which the first read does, writes too.
    const Until until(*this, limit);
    return stream_.read_some(buffer, error);
  }

  std::error_code write(std::string_view text, std::chrono::nanoseconds limit) override {
    constexpr std::size_t kPiece = 65'536;  // what the peer has to take within the limit
    std::error_code error;
    while (!text.empty() && !error) {
      const Until until(*this, limit);
      text.remove_prefix(stream_.write(text.substr(0, kPiece), error));
    }
    return error;
  }

  void shutdown_write() override {
    static_cast<void>(stream_.shutdown_write());
    static_cast<void>(stream_.stream().shutdown_write());
  }
  void expire() noexcept override {
    is_expired_.store(true, std::memory_order_seq_cst);
    static_cast<void>(stream_.set_deadline(TimePoint()));
  }
  net::detail::File& file() noexcept override { return stream_.stream().file(); }
  [[nodiscard]] net::Endpoint peer() const override { return stream_.peer(); }
  [[nodiscard]] bool is_tls() const noexcept override { return true; }

 private:
  /// A deadline for what is done meanwhile. None stays: who is idle is watched by others. seq_cst: this one and expire() both
  /// set a deadline and look at the flag; the last one sees it.
  class Until {
   public:
    Until(TlsTransport& transport, std::chrono::nanoseconds limit) : transport_(transport) {
      set(Clock::now() + limit);
    }
    Until(const Until&) = delete;
    Until& operator=(const Until&) = delete;
    ~Until() { set(std::nullopt); }

   private:
    void set(std::optional<TimePoint> deadline) noexcept {
      static_cast<void>(transport_.stream_.set_deadline(deadline));
      if (transport_.is_expired_.load(std::memory_order_seq_cst))
        static_cast<void>(transport_.stream_.set_deadline(TimePoint()));
    }
    TlsTransport& transport_;
  };

  net::TlsStream stream_;
  std::atomic<bool> is_expired_{false};
};

}  // namespace
}  // namespace detail

std::error_code Server::serve_tls(net::Listener listener, const net::TlsConfig& config) {
  return state_->serve(listener, [config](net::Stream stream) {
    return std::make_unique<detail::TlsTransport>(std::move(stream), config);
  });
}

}  // namespace weft::http

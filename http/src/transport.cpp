#include "transport.hpp"

#include <utility>

#include "weft/errc.hpp"
#include "weft/net/error.hpp"

namespace weft::http::detail {
namespace {

net::detail::Limit from_now(std::chrono::nanoseconds limit) noexcept {
  return {.deadline_ns = weft::detail::deadline_after(limit.count())};
}

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(net::Stream stream) noexcept : stream_(std::move(stream)) {}

  std::size_t read_now(std::span<std::byte> buffer, std::chrono::nanoseconds /*limit*/,
                       std::error_code& error) override {
    return file().read_now(buffer.data(), buffer.size(), error);
  }

  std::size_t read_some(std::span<std::byte> buffer, std::chrono::nanoseconds limit, std::error_code& error) override {
    std::size_t n = read_now(buffer, limit, error);
    if (error == net::errc::would_block) n = file().read_some(buffer.data(), buffer.size(), error, from_now(limit));
    if (error == weft::errc::deadline_exceeded) error = net::errc::timed_out;
    return n;
  }

  std::error_code write(std::string_view text, std::chrono::nanoseconds limit) override {
    std::error_code error;
    text.remove_prefix(file().write_now(text.data(), text.size(), error));
    while (!text.empty() && (!error || error == net::errc::would_block)) {
      const std::size_t n = file().write(text.data(), text.size(), error, from_now(limit));
      text.remove_prefix(n);
      if (error == weft::errc::deadline_exceeded)
        error = make_error_code(n == 0 ? net::errc::timed_out : net::errc::would_block);
    }
    return error;
  }

  void shutdown_write() override { static_cast<void>(stream_.shutdown_write()); }
  void expire() noexcept override { static_cast<void>(stream_.set_deadline(TimePoint())); }
  net::detail::File& file() noexcept override { return stream_.file(); }
  [[nodiscard]] net::Endpoint peer() const override { return stream_.peer(); }
  [[nodiscard]] bool is_tls() const noexcept override { return false; }

 private:
  net::Stream stream_;
};

}  // namespace

std::unique_ptr<Transport> make_plain_transport(net::Stream stream) {
  return std::make_unique<PlainTransport>(std::move(stream));
}

}  // namespace weft::http::detail

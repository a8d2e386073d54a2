#include "client_wire.hpp"

#include <utility>

#include "weft/errc.hpp"
#include "weft/net/detail/file.hpp"
#include "weft/net/error.hpp"
#include "weft/net/tcp.hpp"

namespace weft::http::detail {
namespace {

class PlainWire final : public Wire {
 public:
  explicit PlainWire(net::Stream stream) noexcept : stream_(std::move(stream)) {}

  std::size_t read_some(std::span<std::byte> buffer, const Context& ctx, std::error_code& error) override {
    return bounded(ctx, error, [&](const net::detail::Limit& limit) {
      return stream_.file().read_some(buffer.data(), buffer.size(), error, limit);
    });
  }

  std::size_t write(std::string_view text, const Context& ctx, std::error_code& error) override {
    return bounded(ctx, error, [&](const net::detail::Limit& limit) {
      return stream_.file().write(text.data(), text.size(), error, limit);
    });
  }

  bool is_quiet() override {
    std::error_code error;
    static_cast<void>(stream_.file().peek_now(error));
    return error == net::errc::would_block;
  }

 private:
  template <class F>
  static std::size_t bounded(const Context& ctx, std::error_code& error, F operation) {
    error = ctx.err();
    if (error) return 0;
    const std::size_t n = operation(net::detail::Limit{.done = ctx.done_core()});
    if (error == weft::errc::canceled) error = ctx.err();
    return n;
  }

  net::Stream stream_;
};

}  // namespace

std::unique_ptr<Wire> dial_plain_wire(const std::string& address, const Context& ctx, std::error_code& error) {
  net::Stream stream = net::dial_tcp(address, ctx, error);
  return error ? nullptr : std::make_unique<PlainWire>(std::move(stream));
}

}  // namespace weft::http::detail

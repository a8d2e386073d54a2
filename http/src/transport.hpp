#pragma once

// The connection below a server: plain, or with TLS.

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>

#include "weft/net/detail/file.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/stream.hpp"

namespace weft::http::detail {

class Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  /// What there is; net::errc::would_block if that is nothing. With TLS it may have to wait for the rest of it, that long.
  virtual std::size_t read_now(std::span<std::byte> buffer, std::chrono::nanoseconds limit, std::error_code& error) = 0;
  /// At least one byte, for which it waits that long: net::errc::timed_out.
  virtual std::size_t read_some(std::span<std::byte> buffer, std::chrono::nanoseconds limit,
                                std::error_code& error) = 0;
  /// All. The peer may take that long for the next bytes.
  virtual std::error_code write(std::string_view text, std::chrono::nanoseconds limit) = 0;
  /// The peer reads the end after what was written.
  virtual void shutdown_write() = 0;
  /// Ends all operations, now and later, with net::errc::timed_out. Safe from: others.
  virtual void expire() noexcept = 0;
  /// What to wait for between requests.
  virtual net::detail::File& file() noexcept = 0;
  [[nodiscard]] virtual net::Endpoint peer() const = 0;
  [[nodiscard]] virtual bool is_tls() const noexcept = 0;
};

std::unique_ptr<Transport> make_plain_transport(net::Stream stream);

}  // namespace weft::http::detail

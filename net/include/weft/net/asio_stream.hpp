#pragma once

// Streams as Boost.Asio's synchronous ones: so Boost.Beast, and whatever else is written on those concepts, runs on
// goroutines as it is. The only header of weft's that needs Boost (Asio, headers only; nothing to link).

#include <array>
#include <concepts>
#include <cstddef>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include "weft/net/error.hpp"

namespace weft::net {

/// What Stream, TlsStream and PipeEnd have in common.
template <class S>
concept ByteStream = requires(S& s, std::span<std::byte> in, std::span<const std::byte> out, std::error_code& error) {
  { s.read_some(in, error) } -> std::same_as<std::size_t>;
  { s.write(out, error) } -> std::same_as<std::size_t>;
};

/// weft's errors as Asio's: eof, timed_out; operation_aborted for what close() has ended; the system's as the system's; others
/// as what they are, in a category of their own.
inline boost::system::error_code to_asio_error(const std::error_code& error) {
  if (!error) return {};
  if (error == errc::eof) return boost::asio::error::eof;
  if (error == errc::timed_out) return boost::asio::error::timed_out;
  if (error == errc::closed || error == errc::closed_pipe) return boost::asio::error::operation_aborted;
  if (error.category() == std::system_category()) return {error.value(), boost::system::system_category()};
  return boost::system::error_code(error);
}

/// Meets SyncReadStream and SyncWriteStream. Made of a stream that is given to it, or of one that stays the caller's:
///   AsioStream own(dial_tcp("example.org:80"));    AsioStream borrowed(stream);
/// Safe from: a reader and a writer at once, as the stream below; not more, as a message is several calls.
template <class S>
  requires ByteStream<std::remove_reference_t<S>>
class AsioStream {
 public:
  using next_layer_type = std::remove_reference_t<S>;

  explicit AsioStream(S&& stream) : stream_(std::forward<S>(stream)) {}

  next_layer_type& next_layer() noexcept { return stream_; }

  /// Into the first buffer that has room.
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers, boost::system::error_code& ec) {
    const auto first = first_of<boost::asio::mutable_buffer>(buffers);
    std::error_code error;
    std::size_t n = 0;
    if (first.size() != 0) n = stream_.read_some({static_cast<std::byte*>(first.data()), first.size()}, error);
    ec = to_asio_error(error);
    return n;
  }
  template <class MutableBuffers>
  std::size_t read_some(const MutableBuffers& buffers) {
    boost::system::error_code ec;
    const std::size_t n = read_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec, "read_some");
    return n;
  }

  /// All of the first buffer; small ones together, so that a head and its body are one packet.
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers, boost::system::error_code& ec) {
    const auto first = first_of<boost::asio::const_buffer>(buffers);
    std::error_code error;
    std::size_t n = 0;
    if (first.size() < kTogether && first.size() < boost::asio::buffer_size(buffers)) {
      n = write_together(buffers, error);
    } else if (first.size() != 0) {
      n = stream_.write({static_cast<const std::byte*>(first.data()), first.size()}, error);
    }
    ec = to_asio_error(error);
    return n;
  }
  template <class ConstBuffers>
  std::size_t write_some(const ConstBuffers& buffers) {
    boost::system::error_code ec;
    const std::size_t n = write_some(buffers, ec);
    if (ec) throw boost::system::system_error(ec, "write_some");
    return n;
  }

 private:
  static constexpr std::size_t kTogether = 8'192;

  /// The first that is not empty, else an empty one.
  template <class Buffer, class Buffers>
  static Buffer first_of(const Buffers& buffers) {
    for (auto at = boost::asio::buffer_sequence_begin(buffers); at != boost::asio::buffer_sequence_end(buffers); ++at) {
      if (const Buffer buffer(*at); buffer.size() != 0) return buffer;
    }
    return {};
  }
  template <class ConstBuffers>
  std::size_t write_together(const ConstBuffers& buffers, std::error_code& error) {
    std::array<std::byte, kTogether> bytes;
    const std::size_t n = boost::asio::buffer_copy(boost::asio::buffer(bytes.data(), bytes.size()), buffers);
    return stream_.write(std::span<const std::byte>(bytes).first(n), error);
  }

  S stream_;
};

template <class S>
AsioStream(S&&) -> AsioStream<S>;

}  // namespace weft::net

#pragma once

// A connection that is read and written as a stream of bytes: TCP or a Unix socket.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "weft/context.hpp"
#include "weft/net/detail/file.hpp"
#include "weft/net/endpoint.hpp"
#include "weft/net/error.hpp"
#include "weft/time.hpp"

namespace weft::net {

/// Reads and writes may go on at the same time; reads queue behind each other, and so do writes, so that what one write sends is
/// never mixed with another's. Calls park the goroutine (a plain thread blocks). Each has a form that reports by
/// std::error_code and one that throws std::system_error.
/// Safe from: several goroutines and threads at once; close() ends what the others are at with errc::closed. Moving and
/// destroying are for one owner. Go: net.Conn.
class Stream {
 public:
  Stream() noexcept = default;
  /// Takes over a connected socket, or a pipe (with SIGPIPE ignored, if it is written). Throws std::system_error.
  explicit Stream(int fd) : file_(std::make_unique<detail::File>(fd)) {}
  explicit Stream(std::unique_ptr<detail::File> file) noexcept : file_(std::move(file)) {}

  [[nodiscard]] bool is_open() const noexcept { return file_ != nullptr; }

  /// Reads what there is, at least one byte; returns how many. 0 with errc::eof at the end; 0 at once if there is no room.
  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error) {
    return file().read_some(buffer.data(), buffer.size(), error);
  }
  std::size_t read_some(std::span<std::byte> buffer);
  /// Reads until the buffer is full. Returns how many bytes were read, which is less only with an error.
  std::size_t read_full(std::span<std::byte> buffer, std::error_code& error);
  std::size_t read_full(std::span<std::byte> buffer);

  /// Writes all. Returns how many bytes were written, which is less only with an error.
  std::size_t write(std::span<const std::byte> data, std::error_code& error) {
    return file().write(data.data(), data.size(), error);
  }
  std::size_t write(std::span<const std::byte> data);
  std::size_t write(std::string_view text, std::error_code& error) {
    return write(std::as_bytes(std::span(text)), error);
  }
  std::size_t write(std::string_view text) { return write(std::as_bytes(std::span(text))); }

  /// Both directions, or one: from then on every operation ends with errc::timed_out, those that wait already too, until
  /// another deadline is set; nullopt: none. A deadline that has passed ends them at once, whatever is there to read.
  /// Go: SetDeadline, SetReadDeadline, SetWriteDeadline.
  std::error_code set_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_read_deadline(std::optional<TimePoint> deadline) noexcept;
  std::error_code set_write_deadline(std::optional<TimePoint> deadline) noexcept;

  /// The peer reads errc::eof after what was written so far. Go: CloseWrite.
  std::error_code shutdown_write();
  /// Small writes are sent at once: true for a new TCP stream, as in Go.
  std::error_code set_no_delay(bool on);
  [[nodiscard]] Endpoint local() const;
  [[nodiscard]] Endpoint peer() const;

  /// Ends the operations of others with errc::closed, waits until they are out of it, and gives the descriptor back.
  /// errc::closed if that was done before. The destructor does the same.
  std::error_code close() noexcept;

  [[nodiscard]] detail::File& file() const;  // for weft only

 private:
  std::unique_ptr<detail::File> file_;
};

/// Accepts connections. Go: net.Listener.
class Listener {
 public:
  Listener() noexcept = default;
  /// Takes over a socket that listens. Throws std::system_error.
  explicit Listener(int fd) : Listener(fd, {}) {}
  /// Removes the file of that name, which is a Unix socket's, before the socket closes.
  Listener(int fd, std::string socket_file) : state_(std::make_unique<State>(fd, std::move(socket_file))) {}

  [[nodiscard]] bool is_open() const noexcept { return state_ != nullptr; }

  /// Waits for the next connection. errc::closed after close(); weft::errc::canceled when the context is done. The system's
  /// errors go to the caller: too_many_files_open (or _in_system) means that the connection waits until a descriptor is free,
  /// so pause a little and accept again (docs/net.md).
  Stream accept(std::error_code& error) { return accept(Context(), error); }
  Stream accept(const Context& ctx, std::error_code& error);
  Stream accept();
  std::error_code set_deadline(std::optional<TimePoint> deadline) noexcept;
  [[nodiscard]] Endpoint local() const;
  /// As Stream's; the file of a Unix socket is removed.
  std::error_code close() noexcept;

 private:
  struct State {
    State(int fd, std::string name) : file(fd), socket_file(std::move(name)) {}
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    ~State() { remove_socket_file(); }
    void remove_socket_file() noexcept;

    detail::File file;
    const std::string socket_file;
    std::atomic<bool> is_removed{false};
  };
  detail::File& file() const;
  std::unique_ptr<State> state_;
};

}  // namespace weft::net

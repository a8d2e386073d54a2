#pragma once

// A connection within the process, without a system call: for tests, also in a bubble on virtual time.

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "weft/net/error.hpp"
#include "weft/time.hpp"

namespace weft::net {

/// One end of a pipe. Nothing is buffered: a write hands its bytes to reads, of which it may take several, and returns when the
/// last byte is taken. Writes queue behind each other; one of no bytes also waits for a read. Otherwise as Stream. Go: net.Pipe.
class PipeEnd {
 public:
  PipeEnd() noexcept = default;

  std::size_t read_some(std::span<std::byte> buffer, std::error_code& error);
  /// How much was taken; less than all only with an error.
  std::size_t write(std::span<const std::byte> data, std::error_code& error);
  std::size_t write(std::string_view text, std::error_code& error) {
    return write(std::as_bytes(std::span(text)), error);
  }

  std::error_code set_deadline(std::optional<TimePoint> deadline);
  std::error_code set_read_deadline(std::optional<TimePoint> deadline);
  std::error_code set_write_deadline(std::optional<TimePoint> deadline);

  /// The other end reads errc::eof; its writes, and everything on this end, end with errc::closed_pipe. May be repeated.
  void close();

 private:
  struct State;
  friend std::pair<PipeEnd, PipeEnd> pipe();
  PipeEnd(std::shared_ptr<State> own, std::shared_ptr<State> other) noexcept
      : own_(std::move(own)), other_(std::move(other)) {}

  std::shared_ptr<State> own_;
  std::shared_ptr<State> other_;
};

/// Two ends that are connected with each other. Closing is up to the caller: a destroyed end closes nothing, as others may hold
/// copies of it.
std::pair<PipeEnd, PipeEnd> pipe();

}  // namespace weft::net

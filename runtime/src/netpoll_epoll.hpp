#pragma once

// The system's half of the netpoller. Sole user of epoll.

#include <cstddef>
#include <cstdint>

namespace weft::detail {

struct PollEvent {
  std::uint64_t data;
  bool is_readable;  // or whoever reads is to see what has happened
  bool is_writable;
  bool is_over;  // the peer sends no more, or there is an error or urgent data
};

class Epoll {
 public:
  /// Throws std::system_error.
  Epoll();
  Epoll(const Epoll&) = delete;
  Epoll& operator=(const Epoll&) = delete;

  /// Tells of every change from now on, and of what the file is ready for now. False: errno says why.
  bool add(int fd, std::uint64_t data) noexcept;
  void remove(int fd) noexcept;
  struct Found {
    std::size_t events;
    bool is_interrupted;  // by interrupt(): it is told to this caller alone
  };
  /// Waits for events until the deadline (CLOCK_MONOTONIC ns; kForever: none; one that has passed: does not wait). Keeps errno.
  Found wait(PollEvent* events, std::size_t capacity, std::int64_t deadline_ns) noexcept;
  /// Makes one wait that has begun, or the next one, return: of all who wait, or only look, just one.
  void interrupt() noexcept;

 private:
  int epoll_;
  int event_;
};

}  // namespace weft::detail

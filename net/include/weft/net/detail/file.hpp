#pragma once

// An open file that goroutines wait for: a socket, a pipe. What all of net's types stand on.
//
// F1 Operations of one direction go one after the other, under that direction's mutex (NET-9).
// F2 close() first ends all waits, then takes both mutexes: so nobody is inside an operation when the descriptor is given
//    back, and its number cannot be another file's under anybody's feet (NET-8). Whoever comes later, or was queued, finds it
//    closed.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>

#include "weft/context.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/poll_descriptor.hpp"
#include "weft/detail/spawn.hpp"
#include "weft/mutex.hpp"

namespace weft::net::detail {

using weft::detail::Limit;
using weft::detail::PollDescriptor;
using weft::detail::PollSide;

class File {
 public:
  /// kKept: they are others' too. kTcp: it is non-blocking already, and a read that was short has left nothing.
  enum class Flags { kNonBlocking, kKept, kTcp };
  /// Takes the descriptor over, and makes it non-blocking. Closes it and throws std::system_error if it cannot be polled.
  explicit File(int fd, Flags flags = Flags::kNonBlocking);
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { static_cast<void>(close()); }

  /// weft::errc::deadline_exceeded when the limit is reached, here as below.
  std::size_t read_some(void* data, std::size_t size, std::error_code& error, const Limit& limit = {});
  /// What there is, or can be written, without waiting; 0 with errc::would_block if that is nothing.
  std::size_t read_now(void* data, std::size_t size, std::error_code& error);
  std::size_t write_now(const void* data, std::size_t size, std::error_code& error);
  /// Whether there is something to read, which stays; errors as read_now().
  bool peek_now(std::error_code& error);
  /// Goes on until all is written, or there is an error: then returns how much was.
  std::size_t write(const void* data, std::size_t size, std::error_code& error, const Limit& limit = {});
  /// errc::closed if it was closed before.
  std::error_code close() noexcept;

  std::error_code set_deadline(PollSide which, std::int64_t deadline_ns) noexcept;

  /// As the other form, until the context is done: then its error.
  template <class Attempt>
  int run(PollSide which, const Context& ctx, std::error_code& error, Attempt attempt) {
    error = ctx.err();
    if (error) return -1;
    const int result = run(which, Limit{.done = ctx.done_core()}, error, attempt);
    if (error == weft::errc::canceled) error = ctx.err();
    return result;
  }
  /// Any other operation: `attempt(fd)` returns at once, -1 with errno if it fails; repeated while it would block.
  template <class Attempt>
  int run(PollSide which, const Limit& limit, std::error_code& error, Attempt attempt) {
    return run_raw(
        which, limit, error, [](int fd, void* f) { return (*static_cast<Attempt*>(f))(fd); }, &attempt);
  }
  /// Starts a goroutine that calls f once there may be something to read, the file was closed or a deadline changed: f looks for
  /// itself. Until then it costs a record, not a stack. A deadline is not watched meanwhile. For who reads, when nobody
  /// does.
  template <class F>
  void go_when_readable(F f) {
    weft::detail::Task* task = weft::detail::prepare_closure(nullptr, std::move(f));
    start_when_readable(task, &weft::detail::run_and_destroy<F>);
  }

  /// Starts it now, if it still waits.
  void start_what_waits() noexcept;

  /// Calls f(fd), unless it is closed: one quick system call, whatever else goes on.
  template <class F>
  std::error_code with_descriptor(F f) {
    return with_descriptor_raw([](int fd, void* g) { return (*static_cast<F*>(g))(fd); }, &f);
  }

 private:
  int run_raw(PollSide which, const Limit& limit, std::error_code& error, int (*attempt)(int, void*), void* argument);
  std::error_code with_descriptor_raw(int (*f)(int, void*), void* argument);
  void start_when_readable(weft::detail::Task* task, void (*body)(void*)) noexcept;
  Mutex& mutex(PollSide which) noexcept { return mutexes_[static_cast<int>(which)]; }
  std::error_code begin(PollSide which) const noexcept;
  bool has_nothing() noexcept;
  std::size_t try_read(void* data, std::size_t size, std::error_code& error) noexcept;
  std::size_t try_write(const void* data, std::size_t size, std::error_code& error) noexcept;
  std::error_code wait(PollSide which, const Limit& limit);

  Mutex mutexes_[2];
  int fd_;
  PollDescriptor* poll_;          // may be another file's once this one is closed
  std::uint32_t generation_ = 0;  // by which that is known
  std::atomic<bool> is_closing_{false};
  bool is_closed_ = false;  // written under both mutexes
  const bool is_tcp_;
  /// What the last read has found, of who reads: it would have had to wait, or was short, after which a TCP socket has nothing
  /// either until the poller notes something.
  enum class Left { kSomething, kPerhapsNothing, kNothing };
  Left left_ = Left::kSomething;
};

}  // namespace weft::net::detail

#include "weft/net/detail/file.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include "last_error.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/queue_wait.hpp"
#include "weft/errc.hpp"
#include "weft/net/error.hpp"
#include "weft/time.hpp"

namespace weft::net::detail {
namespace {

using weft::detail::kForever;

constexpr std::size_t kChunk = std::size_t{1} << 30U;  // most that one call is asked for (NET-13)

bool would_block() noexcept { return errno == EAGAIN || errno == EWOULDBLOCK; }

bool make_non_blocking(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ((flags & O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

// recv() and send() by the bare system call: the library's are places where a thread may be cancelled, for which each takes two
// locked operations. Sanitizers have to see the library's.

::ssize_t receive(int fd, void* data, std::size_t size) noexcept {
  if constexpr (weft::detail::kAsan || weft::detail::kTsan) return ::recv(fd, data, size, 0);
  return ::syscall(SYS_recvfrom, fd, data, size, 0, nullptr, nullptr);
}

::ssize_t transmit(int fd, const void* data, std::size_t size) noexcept {
  if constexpr (weft::detail::kAsan || weft::detail::kTsan) return ::send(fd, data, size, MSG_NOSIGNAL);
  return ::syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL, nullptr, 0);
}

/// R3. A goroutine that is abandoned leaves the operation, or nobody could ever close the file.
class IoWait final : public weft::detail::QueueWait {
 public:
  IoWait(PollDescriptor& descriptor, PollDescriptor::Side& side, Mutex& turn) noexcept
      : QueueWait(descriptor.lock, side.waiters, weft::detail::WaitReason::kIoWait), turn_(turn) {}

 private:
  void abandoned() noexcept override {
    if (!std::exchange(has_left_, true)) turn_.unlock();
  }
  Mutex& turn_;
  bool has_left_ = false;
};

}  // namespace

File::File(int fd, Flags flags) : fd_(fd), poll_(nullptr), is_tcp_(flags == Flags::kTcp) {
  if (flags != Flags::kNonBlocking || make_non_blocking(fd)) poll_ = weft::detail::open_poll(fd);
  if (poll_ != nullptr) {
    generation_ = poll_->generation;
    return;
  }
  const std::error_code error = errno == EPERM ? make_error_code(errc::not_pollable) : last_error();
  ::close(fd);
  throw std::system_error(error, "weft: net: a file that goroutines may wait for");
}

std::error_code File::begin(PollSide which) const noexcept {
  // relaxed: who sees it late waits with the lock of poll_ held, and sees that it closes. (Who saw only is_closed_ would be
  // started again and again by start_when_ready while close() waits for the mutexes.)
  if (is_closing_.load(std::memory_order_relaxed)) return errc::closed;
  const std::int64_t deadline = poll_->side(which).deadline_ns.load(std::memory_order_relaxed);
  if (deadline != kForever && deadline <= weft::detail::now_ns())
    return errc::timed_out;  // even if it is ready (NET-2)
  return {};
}

/// Until the file may be ready. R2 and R3 of poll_descriptor.hpp.
std::error_code File::wait(PollSide which, const Limit& limit) {
  const weft::detail::PollWaiting counted;
  PollDescriptor::Side& side = poll_->side(which);
  for (;;) {
    poll_->lock.lock();
    const std::int64_t deadline = side.deadline_ns.load(std::memory_order_relaxed);
    std::error_code error;
    if (poll_->is_closing) {
      error = errc::closed;
    } else if (deadline != kForever && deadline <= weft::detail::now_ns()) {
      error = errc::timed_out;
    } else if (side.is_ready) {
      side.is_ready = false;
    } else {
      IoWait wait(*poll_, side, mutex(which));
      const weft::detail::WaitEnd end = wait.run({std::min(deadline, limit.deadline_ns), limit.done});
      if (end == weft::detail::WaitEnd::kCancelled) return weft::errc::canceled;
      if (end == weft::detail::WaitEnd::kWoken && wait.waiter.is_ok) return {};
      if (limit.deadline_ns <= weft::detail::now_ns()) return weft::errc::deadline_exceeded;
      continue;  // a deadline was changed, or has passed; or it was closed
    }
    poll_->lock.unlock();
    return error;
  }
}

/// True if the last read has left nothing and nothing has come since.
bool File::has_nothing() noexcept {
  PollDescriptor::Side& side = poll_->side(PollSide::kRead);
  if (left_ == Left::kSomething) return false;
  // The end and urgent data may have been told together with what was read.
  if (left_ == Left::kPerhapsNothing && side.is_over.load(std::memory_order_relaxed)) return false;
  const weft::detail::SpinGuard guard(poll_->lock);
  return !std::exchange(side.is_ready, false);
}

/// One attempt; errc::would_block.
std::size_t File::try_read(void* data, std::size_t size, std::error_code& error) noexcept {
  size = std::min(size, kChunk);
  if (has_nothing()) {
    error = errc::would_block;
    return 0;
  }
  for (;;) {
    const ::ssize_t got = is_tcp_ ? receive(fd_, data, size) : ::read(fd_, data, size);
    if (got > 0) {
      left_ = is_tcp_ && static_cast<std::size_t>(got) < size ? Left::kPerhapsNothing : Left::kSomething;
      return static_cast<std::size_t>(got);
    }
    if (got < 0 && errno == EINTR) continue;
    error = got == 0 ? make_error_code(errc::eof) : would_block() ? make_error_code(errc::would_block) : last_error();
    left_ = error == errc::would_block ? Left::kNothing : Left::kSomething;
    return 0;
  }
}

std::size_t File::read_now(void* data, std::size_t size, std::error_code& error) {
  const std::scoped_lock guard(mutex(PollSide::kRead));
  error = begin(PollSide::kRead);
  return error ? 0 : try_read(data, size, error);
}

bool File::peek_now(std::error_code& error) {
  const std::scoped_lock guard(mutex(PollSide::kRead));
  error = begin(PollSide::kRead);
  if (error) return false;
  char first = 0;
  const ::ssize_t got = ::recv(fd_, &first, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0) return true;
  error = got == 0 ? make_error_code(errc::eof) : would_block() ? make_error_code(errc::would_block) : last_error();
  if (error == errc::would_block) left_ = Left::kNothing;
  return false;
}

std::size_t File::read_some(void* data, std::size_t size, std::error_code& error, const Limit& limit) {
  const std::scoped_lock guard(mutex(PollSide::kRead));
  if (size == 0 && !is_closed_) {  // NET-12
    error.clear();
    return 0;
  }
  error = begin(PollSide::kRead);
  while (!error) {
    if (const std::size_t got = try_read(data, size, error)) return got;
    if (error != errc::would_block) break;
    left_ = Left::kSomething;
    error = wait(PollSide::kRead, limit);
  }
  return 0;
}

void File::start_when_readable(weft::detail::Task* task, void (*body)(void*)) noexcept {
  const bool is_over = poll_->side(PollSide::kRead).is_over.load(std::memory_order_relaxed);
  const bool is_empty = left_ == Left::kNothing || (left_ == Left::kPerhapsNothing && !is_over);
  left_ = Left::kSomething;
  weft::detail::start_when_ready(*poll_, generation_, PollSide::kRead, task, body, is_empty);
}

void File::start_what_waits() noexcept {
  weft::detail::Task* starter = nullptr;
  {
    const weft::detail::SpinGuard guard(poll_->lock);
    if (poll_->generation == generation_) starter = weft::detail::take_starter(poll_->side(PollSide::kRead));
  }
  weft::detail::start_goroutine(starter);
}

/// One attempt; errc::would_block.
std::size_t File::try_write(const void* data, std::size_t size, std::error_code& error) noexcept {
  size = std::min(size, kChunk);
  for (;;) {
    ::ssize_t put = transmit(fd_, data, size);
    if (put < 0 && errno == ENOTSOCK) put = ::write(fd_, data, size);
    if (put >= 0) return static_cast<std::size_t>(put);
    if (errno == EINTR) continue;
    error = would_block() ? make_error_code(errc::would_block) : last_error();
    return 0;
  }
}

std::size_t File::write_now(const void* data, std::size_t size, std::error_code& error) {
  const std::scoped_lock guard(mutex(PollSide::kWrite));
  error = begin(PollSide::kWrite);
  return error ? 0 : try_write(data, size, error);
}

std::size_t File::write(const void* data, std::size_t size, std::error_code& error, const Limit& limit) {
  const std::scoped_lock guard(mutex(PollSide::kWrite));
  const auto* bytes = static_cast<const std::byte*>(data);
  std::size_t written = 0;
  error = begin(PollSide::kWrite);
  while (!error && written < size) {
    written += try_write(bytes + written, size - written, error);
    if (error == errc::would_block) {
      error = wait(PollSide::kWrite, limit);
    } else if (!error && written < size) {
      error = begin(PollSide::kWrite);
    }
  }
  return written;
}

int File::run_raw(PollSide which, const Limit& limit, std::error_code& error, int (*attempt)(int, void*),
                  void* argument) {
  const std::scoped_lock guard(mutex(which));
  error = begin(which);
  while (!error) {
    const int result = attempt(fd_, argument);
    if (result >= 0) return result;
    if (would_block()) {
      error = wait(which, limit);
    } else if (errno != EINTR) {
      error = last_error();
    }
  }
  return -1;
}

std::error_code File::with_descriptor_raw(int (*f)(int, void*), void* argument) {
  // While the lock is held close() cannot get past close_poll(), and so the descriptor stays open.
  const weft::detail::SpinGuard guard(poll_->lock);
  if (poll_->generation != generation_ || poll_->is_closing) return errc::closed;
  return f(fd_, argument) < 0 ? last_error() : std::error_code();
}

std::error_code File::set_deadline(PollSide which, std::int64_t deadline_ns) noexcept {
  weft::detail::WakeList changed;
  weft::detail::Task* starter = nullptr;
  poll_->lock.lock();
  const bool is_closing = poll_->generation != generation_ || poll_->is_closing;
  if (!is_closing) {
    poll_->side(which).deadline_ns.store(deadline_ns, std::memory_order_relaxed);
    changed.add_all(poll_->side(which).waiters);
    starter = weft::detail::take_starter(poll_->side(which));
  }
  poll_->lock.unlock();
  changed.ready_all();
  weft::detail::start_goroutine(starter);
  return is_closing ? make_error_code(errc::closed) : std::error_code();
}

std::error_code File::close() noexcept {
  if (is_closing_.exchange(true, std::memory_order_acq_rel)) return errc::closed;
  weft::detail::WakeList ended;
  poll_->lock.lock();
  poll_->is_closing = true;
  for (PollDescriptor::Side& side : poll_->sides) ended.add_all(side.waiters);
  weft::detail::Task* starter = weft::detail::take_starter(poll_->side(PollSide::kRead));
  poll_->lock.unlock();
  ended.ready_all();
  weft::detail::start_goroutine(starter);
  const std::scoped_lock guard(mutexes_[0], mutexes_[1]);  // F2
  is_closed_ = true;
  weft::detail::close_poll(*poll_);
  ::close(fd_);
  return {};
}

}  // namespace weft::net::detail

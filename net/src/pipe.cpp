#include "weft/net/pipe.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <mutex>

#include "weft/chan.hpp"
#include "weft/mutex.hpp"
#include "weft/once.hpp"
#include "weft/select.hpp"
#include "weft/timer.hpp"

namespace weft::net {
namespace {

/// A channel that is closed when the deadline has passed, and is another one once a later deadline is set.
class Deadline {
 public:
  void set(std::optional<TimePoint> deadline) {
    const std::scoped_lock guard(mutex_);
    if (timer_ && !timer_->stop())
      static_cast<void>(expired_.recv());  // it is just closing the channel, or has done so
    timer_.reset();
    const bool has_expired = is_closed(expired_);
    const std::int64_t left_ns = deadline ? (*deadline - Clock::now()).count() : 0;
    if (!deadline || left_ns > 0) {
      if (has_expired) expired_ = make_chan<Unit>();
      if (deadline) {
        timer_ = after_func(std::chrono::nanoseconds(left_ns), [expired = expired_] { expired.close(); });
      }
    } else if (!has_expired) {
      expired_.close();
    }
  }
  Chan<Unit> expired() {
    const std::scoped_lock guard(mutex_);
    return expired_;
  }
  static bool is_closed(const Chan<Unit>& chan) { return chan.try_recv().status() == ChanStatus::closed; }

 private:
  Mutex mutex_;
  Chan<Unit> expired_ = make_chan<Unit>();
  std::optional<AfterFunc> timer_;
};

}  // namespace

/// One end, and what flows towards it.
struct PipeEnd::State {
  Mutex writing;  // of who writes towards this end
  Chan<std::span<const std::byte>> offers = make_chan<std::span<const std::byte>>();
  Chan<std::size_t> taken = make_chan<std::size_t>();  // the answer to each offer that was received
  Chan<Unit> closed = make_chan<Unit>();
  Once close_once;
  Deadline read_deadline;
  Deadline write_deadline;
};

std::pair<PipeEnd, PipeEnd> pipe() {
  auto one = std::make_shared<PipeEnd::State>();
  auto other = std::make_shared<PipeEnd::State>();
  return {PipeEnd(one, other), PipeEnd(other, one)};
}

std::size_t PipeEnd::read_some(std::span<std::byte> buffer, std::error_code& error) {
  const Chan<Unit> expired = own_->read_deadline.expired();
  std::size_t n = 0;
  error.clear();
  if (Deadline::is_closed(own_->closed)) {
    error = errc::closed_pipe;
  } else if (Deadline::is_closed(other_->closed)) {
    error = errc::eof;
  } else if (Deadline::is_closed(expired)) {
    error = errc::timed_out;
  } else {
    select(own_->offers.on_recv([&](Received<std::span<const std::byte>> offer) {
      n = std::min(offer->size(), buffer.size());
      std::copy_n(offer->begin(), n, buffer.begin());
      own_->taken.send(n);  // the writer waits for it
    }),
           own_->closed.on_recv([&](const auto&) { error = errc::closed_pipe; }),
           other_->closed.on_recv([&](const auto&) { error = errc::eof; }),
           expired.on_recv([&](const auto&) { error = errc::timed_out; }));
  }
  return n;
}

std::size_t PipeEnd::write(std::span<const std::byte> data, std::error_code& error) {
  error.clear();
  const std::scoped_lock turn(other_->writing);
  const Chan<Unit> expired = own_->write_deadline.expired();
  std::size_t written = 0;
  if (Deadline::is_closed(own_->closed) || Deadline::is_closed(other_->closed)) {
    error = errc::closed_pipe;
  } else if (Deadline::is_closed(expired)) {
    error = errc::timed_out;
  }
  bool is_first = true;  // nothing is offered too, once
  while (!error && (std::exchange(is_first, false) || written < data.size())) {
    const std::span<const std::byte> rest = data.subspan(written);
    select(other_->offers.on_send(rest, [&] { written += *other_->taken.recv(); }),
           own_->closed.on_recv([&](const auto&) { error = errc::closed_pipe; }),
           other_->closed.on_recv([&](const auto&) { error = errc::closed_pipe; }),
           expired.on_recv([&](const auto&) { error = errc::timed_out; }));
  }
  return written;
}

std::error_code PipeEnd::set_deadline(std::optional<TimePoint> deadline) {
  const std::error_code error = set_read_deadline(deadline);
  return error ? error : set_write_deadline(deadline);
}

std::error_code PipeEnd::set_read_deadline(std::optional<TimePoint> deadline) {
  if (Deadline::is_closed(own_->closed) || Deadline::is_closed(other_->closed)) return errc::closed_pipe;
  own_->read_deadline.set(deadline);
  return {};
}

std::error_code PipeEnd::set_write_deadline(std::optional<TimePoint> deadline) {
  if (Deadline::is_closed(own_->closed) || Deadline::is_closed(other_->closed)) return errc::closed_pipe;
  own_->write_deadline.set(deadline);
  return {};
}

void PipeEnd::close() {
  own_->close_once.call([&] { own_->closed.close(); });
}

}  // namespace weft::net

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "fail.hpp"
#include "last_error.hpp"
#include "socket.hpp"
#include "weft/chan.hpp"
#include "weft/err_group.hpp"
#include "weft/errc.hpp"
#include "weft/net/error.hpp"
#include "weft/net/tcp.hpp"
#include "weft/time.hpp"

namespace weft::net {
namespace {

constexpr auto kHeadStart = std::chrono::milliseconds(300);
constexpr auto kLeastShare = std::chrono::seconds(2);

/// Nobody listened at the port that was dialed, so that the system gave it to the dialer, who has reached himself.
bool has_met_itself(const Stream& stream) { return stream.local() == stream.peer(); }

/// Connects in steps, each of which returns at once: 0; or -1 with errno, which is EAGAIN while it goes on.
class Connecting {
 public:
  explicit Connecting(const Endpoint& endpoint) : endpoint_(endpoint) {}

  int operator()(int socket) {
    if (!std::exchange(has_begun_, true)) return begin(socket);
    int status = 0;
    socklen_t size = sizeof status;
    if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &status, &size) != 0) return -1;
    if (status != 0) {
      errno = status;
      return -1;
    }
    // Not yet, if the poller has told of something else.
    sockaddr_storage peer{};
    size = sizeof peer;
    if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) == 0) return 0;
    if (errno == ENOTCONN) errno = EAGAIN;
    return -1;
  }
  /// Set instead of EAGAIN where the poller would tell of nothing: a Unix socket's queue is full, or there is no port.
  [[nodiscard]] std::error_code refused() const { return refused_; }

 private:
  int begin(int socket) {
    if (::connect(socket, endpoint_.data(), endpoint_.size()) == 0) return 0;
    if (errno == EAGAIN) {
      refused_ = last_error();
      return 0;
    }
    if (errno == EINPROGRESS || errno == EINTR) errno = EAGAIN;  // goes on by itself
    return -1;
  }

  const Endpoint& endpoint_;
  bool has_begun_ = false;
  std::error_code refused_;
};

/// When to turn from one of `count` endpoints to the next: after its share of the time, if that is not too little to connect.
TimePoint end_of_share(TimePoint deadline, std::size_t count) {
  const TimePoint now = Clock::now();
  const auto share = std::max((deadline - now) / static_cast<std::int64_t>(count), Clock::duration(kLeastShare));
  return std::min(deadline, now + share);
}

/// One after the other. If all fail, the error of the first, which was the best choice.
Stream dial_in_turn(std::span<const Endpoint> endpoints, const Context& ctx, std::error_code& error) {
  std::error_code first;
  for (std::size_t i = 0; i < endpoints.size() && !ctx.is_done(); ++i) {
    Context own = ctx;
    CancelFunc cancel;
    if (ctx.deadline() && i + 1 < endpoints.size()) {
      std::tie(own, cancel) = with_deadline(ctx, end_of_share(*ctx.deadline(), endpoints.size() - i));
    }
    Stream stream = dial(endpoints[i], own, error);
    if (!error) return stream;
    if (error == weft::errc::deadline_exceeded) error = errc::timed_out;
    if (!first) first = error;
  }
  error = ctx.is_done() ? ctx.err() : first;
  return {};
}

struct Dialed {
  bool is_first = false;
  Stream stream;
  std::error_code error;
};

/// Two families: the second sets out when the first has had some time, or has failed. (RFC 8305, as Go has it.)
Stream dial_race(std::span<const Endpoint> first, std::span<const Endpoint> second, const Context& ctx,
                 std::error_code& error) {
  auto [racing, cancel] = with_cancel(ctx == nullptr ? background() : ctx);
  const auto results = make_chan<Dialed>(2);  // room for both: the loser's goes with the channel
  ErrGroup racers(racing);                    // waits for both, whatever happens here
  const auto start = [&racers, &results](std::span<const Endpoint> endpoints, bool is_first) {
    racers.go([&results, endpoints, is_first, ended = racers.context()] {
      Dialed mine{is_first, {}, {}};
      try {
        mine.stream = dial_in_turn(endpoints, ended, mine.error);
      } catch (const std::bad_alloc&) {
        mine.error = std::make_error_code(std::errc::not_enough_memory);
      }
      results.send(std::move(mine));
    });
  };
  start(first, true);
  Received<Dialed> got = results.recv_for(kHeadStart);
  if (!got || got->error) start(second, false);
  if (!got) got = results.recv();
  if (got->error) {
    Received<Dialed> other = results.recv();
    if (!other->error || other->is_first) got = std::move(other);
  }
  cancel();
  racers.wait();
  error = got->error;
  return std::move(got->stream);
}

}  // namespace

Stream dial(const Endpoint& endpoint, const Context& ctx, std::error_code& error) {
  error = ctx.err();
  if (error) return {};
  const int fd = open_socket(endpoint.family(), SOCK_STREAM, error);
  if (error) return {};
  const auto kind = endpoint.family() == AF_UNIX ? detail::File::Flags::kNonBlocking : detail::File::Flags::kTcp;
  auto file = or_error(error, [&] { return std::make_unique<detail::File>(fd, kind); });
  if (error) return {};
  Connecting connecting(endpoint);
  file->run(weft::detail::PollSide::kWrite, ctx, error, [&](int socket) { return connecting(socket); });
  if (!error) error = connecting.refused();
  if (error) return {};
  Stream stream(std::move(file));
  if (endpoint.family() == AF_UNIX) return stream;
  if (has_met_itself(stream)) {
    error = std::make_error_code(std::errc::connection_refused);
    return {};
  }
  static_cast<void>(stream.set_no_delay(true));
  return stream;
}

Stream dial_any(std::span<const Endpoint> endpoints, const Context& ctx, std::error_code& error) {
  error = errc::bad_address;
  if (endpoints.empty()) return {};
  std::vector<Endpoint> first;
  std::vector<Endpoint> second;
  for (const Endpoint& endpoint : endpoints) {
    (endpoint.family() == endpoints.front().family() ? first : second).push_back(endpoint);
  }
  return second.empty() ? dial_in_turn(first, ctx, error) : dial_race(first, second, ctx, error);
}

Stream dial_tcp(std::string_view host_and_port, const Context& ctx, std::error_code& error) {
  const std::vector<Endpoint> endpoints = resolve(host_and_port, ctx, error);
  return error ? Stream() : dial_any(endpoints, ctx, error);
}

Stream dial_tcp(std::string_view host_and_port, std::error_code& error) {
  return dial_tcp(host_and_port, Context(), error);
}

Stream dial_tcp(std::string_view host_and_port) {
  std::error_code error;
  Stream stream = dial_tcp(host_and_port, error);
  if (error) fail(error, "dial_tcp", host_and_port);
  return stream;
}

}  // namespace weft::net

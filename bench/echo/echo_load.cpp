// A load for echo servers: many connections, each of which sends a message, waits until it is back, and sends the next.
//
// One thread, one edge-triggered epoll. The clock starts when all connections are there. What comes back is compared, byte for
// byte, with what was sent, and a connection's next message is another one. Prints one line of JSON, as http/wrk_report.lua
// does. Built by compare/servers.py:
//
//     g++ -std=c++20 -O2 -DNDEBUG -pthread -o echo_load echo/echo_load.cpp
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <limits>
#include <vector>

#include "../support/descriptor.hpp"

namespace {

using bare::checked;
using bare::Descriptor;
using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::nanoseconds;
using std::chrono::seconds;

struct Options {
  std::uint16_t port = 0;
  std::size_t connections = 100;
  std::size_t bytes = 64;
  int seconds = 5;
};

struct Client {
  Descriptor socket;
  std::size_t number;         // of the message; says which piece of the pattern it is
  std::size_t sent = 0;       // bytes of it
  std::size_t received = 0;   // bytes of it
  Clock::time_point since{};  // when it was begun
};

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), pattern_(kPieces + options.bytes), buffer_(std::min(options.bytes, kMostAtOnce)) {
    // An odd factor: the first bytes of all pieces differ.
    for (std::size_t i = 0; i < pattern_.size(); ++i) pattern_[i] = static_cast<char>(i * 167 + (i >> 8));
    clients_.reserve(options.connections);
  }

  void run() {
    while (clients_.size() < options_.connections && connect()) {
    }
    connect_errors_ = options_.connections - clients_.size();
    start_ = Clock::now();
    const auto end = start_ + seconds(options_.seconds);
    open_ = clients_.size();
    for (Client& client : clients_) begin_message(client, start_);
    std::array<epoll_event, 256> events{};
    for (now_ = start_; now_ < end && open_ > 0; now_ = Clock::now()) {
      const auto left = duration_cast<std::chrono::milliseconds>(end - now_).count();
      const int count = ::epoll_wait(epoll_.get(), events.data(), events.size(), static_cast<int>(left) + 1);
      if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
      for (int i = 0; i < count; ++i) advance(*static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr));
    }
    for (const Client& client : clients_) {
      if (client.socket.is_open() && now_ - client.since > kTimeout) ++timeouts_;
    }
  }

  void report() {
    std::printf(R"({"requests":%zu,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"errors":)"
                R"({"connect":%zu,"read":%zu,"write":%zu,"wrong":%zu,"timeout":%zu}})"
                "\n",
                latencies_.size(), std::chrono::duration<double>(now_ - start_).count(), percentile_us(50),
                percentile_us(99), connect_errors_, read_errors_, write_errors_, wrong_, timeouts_);
  }

 private:
  static constexpr std::size_t kPieces = 251;
  static constexpr std::size_t kMostAtOnce = 64 * 1024;
  static constexpr seconds kTimeout{2};
  static constexpr seconds kConnectTimeout{10};

  // False if the server takes no more.
  bool connect() {
    Descriptor socket(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
    const timeval timeout{.tv_sec = kConnectTimeout.count(), .tv_usec = 0};
    checked(::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout), "setsockopt");
    const int on = 1;
    checked(::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(options_.port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return false;

    checked(::fcntl(socket.get(), F_SETFL, O_NONBLOCK), "fcntl");
    Client& client = clients_.emplace_back(Client{std::move(socket), clients_.size()});
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &client;  // they were reserved: none moves
    checked(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, client.socket.get(), &event), "epoll_ctl");
    return true;
  }

  const char* message_of(const Client& client) const { return &pattern_[client.number % kPieces]; }

  void begin_message(Client& client, Clock::time_point now) {
    ++client.number;
    client.sent = client.received = 0;
    client.since = now;
    send_rest(client);
  }

  void advance(Client& client) {
    if (!client.socket.is_open()) return;
    send_rest(client);
    if (client.socket.is_open()) receive(client);
  }

  void send_rest(Client& client) {
    while (client.sent < options_.bytes) {
      const ssize_t count =
          ::send(client.socket.get(), message_of(client) + client.sent, options_.bytes - client.sent, MSG_NOSIGNAL);
      if (count < 0) {
        if (errno != EAGAIN) give_up(client, write_errors_);
        return;
      }
      client.sent += static_cast<std::size_t>(count);
    }
  }

  // Until the socket is empty, or the message complete: what comes after that is an event of its own.
  void receive(Client& client) {
    for (;;) {
      const std::size_t wanted = std::min(buffer_.size(), options_.bytes - client.received);
      const ssize_t count = ::recv(client.socket.get(), buffer_.data(), wanted, 0);
      if (count < 0 && errno == EAGAIN) return;
      if (count <= 0) return give_up(client, read_errors_);
      const auto size = static_cast<std::size_t>(count);
      if (std::memcmp(buffer_.data(), message_of(client) + client.received, size) != 0) return give_up(client, wrong_);
      client.received += size;
      if (client.received == options_.bytes) return end_message(client);
    }
  }

  void end_message(Client& client) {
    const auto now = Clock::now();
    const auto latency = now - client.since;
    if (latency > kTimeout) ++timeouts_;
    constexpr std::int64_t kMost = std::numeric_limits<std::uint32_t>::max();
    latencies_.push_back(static_cast<std::uint32_t>(std::min(duration_cast<nanoseconds>(latency).count(), kMost)));
    begin_message(client, now);
  }

  void give_up(Client& client, std::size_t& count) {
    ++count;
    --open_;
    client.socket.close();
  }

  double percentile_us(std::size_t percent) {
    if (latencies_.empty()) return 0;
    const auto at = latencies_.begin() + static_cast<std::ptrdiff_t>((latencies_.size() - 1) * percent / 100);
    std::nth_element(latencies_.begin(), at, latencies_.end());
    return *at / 1e3;
  }

  const Options options_;
  std::vector<char> pattern_;  // every message is a piece of it
  std::vector<char> buffer_;
  Descriptor epoll_{checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::vector<Client> clients_;
  std::size_t open_ = 0;
  Clock::time_point start_{}, now_{};
  std::vector<std::uint32_t> latencies_;  // ns, of every message: exact, and small next to a second's work
  std::size_t connect_errors_ = 0, read_errors_ = 0, write_errors_ = 0, wrong_ = 0, timeouts_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Sends messages to an echo server over many connections, and tells how fast they come back.");
  app.add_option("port", options.port, "where on 127.0.0.1 the server listens")->required();
  app.add_option("--connections", options.connections, "each has one message under way")->check(CLI::PositiveNumber);
  app.add_option("--bytes", options.bytes, "of a message")->check(CLI::PositiveNumber);
  app.add_option("--seconds", options.seconds, "after all have connected")->check(CLI::PositiveNumber);
  app.option_defaults()->always_capture_default();
  CLI11_PARSE(app, argc, argv);
  try {
    Load load(options);
    load.run();
    load.report();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "echo_load: %s\n", e.what());
    return 1;
  }
  return 0;
}

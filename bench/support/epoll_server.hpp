// The least that a server can do: threads, each with an edge-triggered epoll of its own, that read, answer and write. What the
// other servers are measured by, since whatever they do beyond this is what their convenience costs.
//
// The first thread also accepts, and deals the connections out in turn, so that all threads have as many: with one listening
// socket for each (SO_REUSEPORT) a hundred connections may well fall 60 to 40.
//
// A connection belongs to the thread whose epoll it is in, from the moment it is there. A system call is made only when it has
// something to do: one read and one write for a request that comes alone.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "descriptor.hpp"

namespace bare {

/// Appends the replies to all requests that are whole in `received`; returns how many bytes those had.
using Answer = std::size_t (*)(std::string_view received, std::string& replies);

struct Connection {
  Descriptor socket;
  std::string partial{};  // a request that has not come in full
  std::string unsent{};   // replies that the socket has no room for; nothing is read meanwhile
};

class Loop {
 public:
  explicit Loop(Answer answer) : epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")), answer_(answer) {}

  /// May be called by another thread.
  void add(Descriptor socket) {
    auto connection = std::make_unique<Connection>(Connection{std::move(socket)});
    watch(connection->socket.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, connection.get());
    connection.release();  // its epoll has it now
  }

  /// For ever; calls on_new_connections whenever there are some at the listener.
  template <class F>
  [[noreturn]] void run(int listener, F on_new_connections) {
    watch(listener, EPOLLIN, nullptr);
    run(on_new_connections);
  }
  [[noreturn]] void run() {
    run([] {});
  }

 private:
  static constexpr std::size_t kMaxRequest = 64 * 1024;

  void watch(int fd, std::uint32_t events, Connection* connection) {
    epoll_event event{};
    event.events = events | EPOLLET;
    event.data.ptr = connection;
    checked(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
  }

  template <class F>
  [[noreturn]] void run(F on_new_connections) {
    std::array<epoll_event, 256> events{};
    for (;;) {
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
      if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
      for (int i = 0; i < count; ++i) {
        const epoll_event& event = events[static_cast<std::size_t>(i)];
        auto* const connection = static_cast<Connection*>(event.data.ptr);
        if (connection == nullptr) {
          on_new_connections();
        } else if (!advance(*connection, (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)) {
          delete connection;
        }
      }
    }
  }

  /// Does all that can be done now; false at the connection's end.
  bool advance(Connection& connection, bool is_ending) {
    if (!connection.unsent.empty() && !send(connection, std::exchange(connection.unsent, {}))) return false;
    while (connection.unsent.empty()) {
      const ssize_t count = ::recv(connection.socket.get(), buffer_.data(), buffer_.size(), 0);
      if (count == 0) return false;
      if (count < 0) return errno == EAGAIN;
      const auto size = static_cast<std::size_t>(count);
      if (!reply(connection, {buffer_.data(), size})) return false;
      // The socket is empty then, and what comes next is an event of its own; unless the end is what has come.
      if (size < buffer_.size() && !is_ending) return true;
    }
    return true;
  }

  bool reply(Connection& connection, std::string_view received) {
    replies_.clear();
    if (connection.partial.empty()) {
      connection.partial = received.substr(answer_(received, replies_));
    } else {
      connection.partial += received;
      connection.partial.erase(0, answer_(connection.partial, replies_));
    }
    return connection.partial.size() <= kMaxRequest && (replies_.empty() || send(connection, replies_));
  }

  /// Keeps what the socket does not take.
  static bool send(Connection& connection, std::string_view data) {
    const ssize_t count = ::send(connection.socket.get(), data.data(), data.size(), MSG_NOSIGNAL);
    if (count < 0 && errno != EAGAIN) return false;
    connection.unsent = data.substr(count < 0 ? 0 : static_cast<std::size_t>(count));
    return true;
  }

  Descriptor epoll_;
  const Answer answer_;
  std::array<char, 16 * 1024> buffer_{};
  std::string replies_;
};

inline Descriptor listen(std::uint16_t port) {
  Descriptor listener(checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"));
  const int on = 1;
  checked(::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  checked(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  checked(::listen(listener.get(), 4096), "listen");
  return listener;
}

/// Deals out what has connected; `next` counts on.
inline void accept_all(int listener, const std::vector<std::unique_ptr<Loop>>& loops, std::size_t& next) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) return;
    if (fd < 0 && (errno == ECONNABORTED || errno == EINTR)) continue;
    Descriptor socket(checked(fd, "accept4"));
    const int on = 1;
    checked(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
    loops[next++ % loops.size()]->add(std::move(socket));
  }
}

/// Serves for ever, on as many threads as $BARE_PROCS says (2).
[[noreturn]] inline void serve(std::uint16_t port, Answer answer) {
  const char* const wanted = std::getenv("BARE_PROCS");
  const int count = wanted != nullptr ? std::atoi(wanted) : 2;
  std::vector<std::unique_ptr<Loop>> loops;
  do loops.push_back(std::make_unique<Loop>(answer));
  while (static_cast<int>(loops.size()) < count);

  const Descriptor listener = listen(port);
  for (std::size_t i = 1; i < loops.size(); ++i) std::thread([&loop = *loops[i]] { loop.run(); }).detach();
  loops[0]->run(listener.get(), [&, next = std::size_t{0}]() mutable { accept_all(listener.get(), loops, next); });
}

}  // namespace bare

#pragma once

// A TCP server that says what a script tells it to, byte by byte, so that a client meets every oddity.

#include <sys/socket.h>

#include <atomic>
#include <charconv>
#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <weft/mutex.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/wait_group.hpp>

namespace weft::test {

/// One connection, as the server has it.
class ScriptedPeer {
 public:
  ScriptedPeer(net::Stream stream, int number) : stream_(std::move(stream)), number_(number) {}

  /// 1 for the first connection, and so on.
  [[nodiscard]] int number() const { return number_; }

  /// The next request: its head, with the empty line. "" if the client has closed, or sends no whole request. Its body is in
  /// body().
  std::string read_request() {
    const std::string head = take_until("\r\n\r\n");
    body_.clear();
    if (head.find("Transfer-Encoding: chunked\r\n") != std::string::npos) return read_chunks() ? head : "";
    const std::string_view name = "Content-Length: ";
    const std::size_t at = head.find(name);
    if (at == std::string::npos) return head;
    return take(std::stoul(head.substr(at + name.size())), body_) ? head : "";
  }
  [[nodiscard]] const std::string& body() const { return body_; }

  /// False: the client has gone.
  bool write(std::string_view text) {
    std::error_code error;
    return stream_.write(text, error) == text.size();
  }
  /// "200 OK" with that body.
  bool reply(std::string_view body, std::string_view fields = "") {
    return write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(fields) +
                 "\r\n" + std::string(body));
  }
  /// Until the client has closed.
  void wait_for_end() {
    while (read_more()) input_.clear();
  }
  void close() { static_cast<void>(stream_.close()); }
  /// What the client does next fails, once it has read what was written.
  void reset() {
    const linger now{1, 0};
    static_cast<void>(stream_.file().with_descriptor(
        [&](int fd) { return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); }));
    close();
  }

 private:
  bool read_more() {
    std::string piece(16'384, '\0');
    std::error_code error;
    piece.resize(stream_.read_some(std::as_writable_bytes(std::span(piece)), error));
    input_ += piece;
    return !error;
  }

  bool take(std::size_t size, std::string& to) {
    while (input_.size() < size) {
      if (!read_more()) return false;
    }
    to += input_.substr(0, size);
    input_.erase(0, size);
    return true;
  }

  std::string take_until(std::string_view mark) {
    std::size_t at = std::string::npos;
    while ((at = input_.find(mark)) == std::string::npos) {
      if (!read_more()) return "";
    }
    std::string taken;
    take(at + mark.size(), taken);
    return taken;
  }

  bool read_chunks() {
    for (;;) {
      const std::string line = take_until("\r\n");
      std::size_t size = 0;
      std::string end;
      if (std::from_chars(line.data(), line.data() + line.size(), size, 16).ptr != line.data() + line.size() - 2)
        return false;
      if (line.empty() || !take(size, body_) || !take(2, end) || end != "\r\n") return false;
      if (size == 0) return true;
    }
  }

  net::Stream stream_;
  const int number_;
  std::string input_;
  std::string body_;
};

/// Runs the script once for each connection, in a goroutine of its own; the connection is closed at its end. The destructor
/// closes what is open, and waits for all of them.
class ScriptedServer {
 public:
  using Script = std::function<void(ScriptedPeer& peer)>;

  explicit ScriptedServer(Script script, std::string_view address = "127.0.0.1:0")
      : script_(std::move(script)), listener_(net::listen_tcp(address)) {
    running_.go([this] { accept(); });
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;
  ~ScriptedServer() { stop(); }

  void stop() {
    static_cast<void>(listener_.close());
    {
      const std::scoped_lock guard(lock_);
      is_stopping_ = true;
      for (ScriptedPeer* peer : open_) peer->close();
    }
    running_.wait();
  }

  [[nodiscard]] std::string address() const { return listener_.local().to_string(); }
  [[nodiscard]] std::string url(std::string_view path = "/") const { return "http://" + address() + std::string(path); }
  /// How many connections there have been.
  [[nodiscard]] int accepted() const { return accepted_.load(); }
  /// How many are open, as far as it has noticed.
  [[nodiscard]] std::size_t open() {
    const std::scoped_lock guard(lock_);
    return open_.size();
  }

 private:
  void accept() {
    for (;;) {
      std::error_code error;
      net::Stream stream = listener_.accept(error);
      if (error) return;
      running_.go([this, number = accepted_.fetch_add(1) + 1, stream = std::move(stream)]() mutable {
        ScriptedPeer peer(std::move(stream), number);
        enter(peer);
        script_(peer);
        peer.close();
        leave(peer);
      });
    }
  }

  void enter(ScriptedPeer& peer) {
    const std::scoped_lock guard(lock_);
    open_.push_back(&peer);
    if (is_stopping_) peer.close();
  }

  void leave(ScriptedPeer& peer) {
    const std::scoped_lock guard(lock_);
    std::erase(open_, &peer);
  }

  const Script script_;
  net::Listener listener_;
  WaitGroup running_;
  std::atomic<int> accepted_{0};
  Mutex lock_;
  std::vector<ScriptedPeer*> open_;  // guarded by lock_, as what follows
  bool is_stopping_ = false;
};

}  // namespace weft::test

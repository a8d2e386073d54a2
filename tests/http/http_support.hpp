#pragma once

// What the tests of HTTP share: replies taken apart without the library's own parser, a server on loopback, a peer that
// sends what no well-behaved client would, and a connection in memory for what needs no socket.

#include <chrono>
#include <cstddef>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <weft/http/server.hpp>
#include <weft/net/stream.hpp>
#include <weft/wait_group.hpp>

namespace weft::test {

struct Reply {
  int status = 0;
  std::string reason;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  bool is_whole = true;  ///< false: the connection has ended before its body did

  /// The value of the only field of that name; "" if there is none. Throws if there are several.
  [[nodiscard]] std::string field(std::string_view name) const;
};

/// Takes the first reply off `input`; more(input) appends to it while the reply is not whole, or returns false: there is no
/// more. nullopt: nothing is left. Throws std::runtime_error for what is no reply.
std::optional<Reply> take_reply(std::string& input, const std::function<bool(std::string&)>& more,
                                bool is_head = false);
/// All of them.
std::vector<Reply> take_replies(std::string output);

/// "GET <target>" with a Host, and more lines of a header if there are any: "Name: value\r\n".
std::string get(std::string_view target, std::string_view more = {});
std::string post(std::string_view target, std::string_view body, std::string_view more = {});

/// Lines that are written from many goroutines.
class Lines {
 public:
  void add(std::string_view line) {
    const std::scoped_lock guard(mutex_);
    lines_.emplace_back(line);
  }
  [[nodiscard]] std::vector<std::string> all() const {
    const std::scoped_lock guard(mutex_);
    return lines_;
  }
  [[nodiscard]] std::function<void(std::string_view)> sink() {
    return [this](std::string_view line) { add(line); };
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> lines_;
};

/// A connection without a socket. What comes of it depends on the input alone.
struct Served {
  std::string output;
  std::size_t writes = 0;  ///< in which the output was sent
  std::size_t largest_write = 0;
  bool is_kept = false;  ///< for another request
  std::vector<std::string> log;

  /// The only one.
  [[nodiscard]] Reply reply() const;
  [[nodiscard]] int status() const { return reply().status; }
};
struct Serving {
  http::ServerOptions options = {};
  std::size_t piece = 0;  ///< the input comes in pieces of that size
  bool is_open = false;   ///< the peer says nothing more after it, instead of ending the connection
};
Served serve(const http::Handler& handler, std::string_view input, Serving serving = {});

/// A server on loopback, with the goroutine that serves. Its destructor closes it.
class TestServer {
 public:
  explicit TestServer(http::Handler handler, http::ServerOptions options = {});
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  ~TestServer();

  /// One more listener; its address.
  std::string listen();
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] http::Server& server() { return *server_; }
  [[nodiscard]] std::vector<std::string> log() const { return log_.all(); }
  /// Closes the server; then how serve() has ended, of the last listener.
  std::error_code end();

 private:
  Lines log_;
  std::optional<http::Server> server_;
  std::string address_;
  WaitGroup serving_;
  std::error_code end_;
};

/// A client by hand.
class Peer {
 public:
  explicit Peer(const std::string& address);
  explicit Peer(const TestServer& server) : Peer(server.address()) {}

  /// Whether it could be sent, as a server may hang up meanwhile.
  bool send(std::string_view text);
  /// The next one; nullopt: the server has ended the connection before it.
  std::optional<Reply> read_reply(bool is_head = false);
  /// The status of the next one; 0: there is none.
  int status();
  Reply ask(std::string_view request);
  /// Everything that comes until the server ends the connection.
  std::string read_rest();
  [[nodiscard]] bool is_ended() { return read_rest().empty(); }
  /// How the connection has ended, once everything was read.
  [[nodiscard]] std::error_code error() const { return error_; }
  [[nodiscard]] net::Stream& stream() { return stream_; }
  /// The server reads an error instead of an end.
  void reset();

 private:
  bool read_more(std::string& input);

  net::Stream stream_;
  std::string input_;
  std::error_code error_;
};

}  // namespace weft::test

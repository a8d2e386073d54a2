#include "http_support.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <span>
#include <stdexcept>

#include <weft/go.hpp>
#include <weft/net/error.hpp>
#include <weft/net/tcp.hpp>

#include "exchange.hpp"
#include "service.hpp"
#include "transport.hpp"

namespace weft::test {
namespace {

bool is_same(std::string_view one, std::string_view other) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [&](char a, char b) { return lower(a) == lower(b); });
}

[[noreturn]] void refuse(const char* what, std::string_view text) {
  throw std::runtime_error("no reply, " + std::string(what) + ": " + std::string(text.substr(0, 200)));
}

/// Up to the line's end, which must be CR LF; nullopt if it does not come.
std::optional<std::string> take_line(std::string& input, const std::function<bool(std::string&)>& more) {
  std::size_t end = 0;
  while ((end = input.find("\r\n")) == std::string::npos) {
    if (!more(input)) return std::nullopt;
  }
  std::string line = input.substr(0, end);
  if (line.find_first_of("\r\n") != std::string::npos) refuse("a line ends otherwise", line);
  input.erase(0, end + 2);
  return line;
}

/// False: less has come.
bool take_bytes(std::string& input, const std::function<bool(std::string&)>& more, std::size_t n, std::string& bytes) {
  while (input.size() < n && more(input)) {
  }
  const std::size_t there = std::min(n, input.size());
  bytes.append(input, 0, there);
  input.erase(0, there);
  return there == n;
}

bool take_chunks(std::string& input, const std::function<bool(std::string&)>& more, std::string& body) {
  for (;;) {
    const std::optional<std::string> line = take_line(input, more);
    if (!line) return false;
    if (line->empty() || line->find_first_not_of("0123456789abcdef") != std::string::npos) refuse("a chunk", *line);
    const std::size_t size = std::stoul(*line, nullptr, 16);
    if (!take_bytes(input, more, size, body)) return false;
    const std::optional<std::string> end = take_line(input, more);
    if (!end) return false;
    if (!end->empty()) refuse("a chunk's end", *end);
    if (size == 0) return true;
  }
}

/// Its input is there from the beginning.
class MemoryTransport final : public http::detail::Transport {
 public:
  MemoryTransport(std::string_view input, const Serving& serving) : input_(input), serving_(serving) {}

  std::size_t read_now(std::span<std::byte> buffer, std::chrono::nanoseconds, std::error_code& error) override {
    error.clear();
    if (input_.empty()) {
      error = serving_.is_open ? net::errc::would_block : net::errc::eof;
      return 0;
    }
    const std::size_t most = serving_.piece == 0 ? buffer.size() : std::min(serving_.piece, buffer.size());
    const std::size_t n = input_.copy(reinterpret_cast<char*>(buffer.data()), most);
    input_.remove_prefix(n);
    return n;
  }
  std::size_t read_some(std::span<std::byte> buffer, std::chrono::nanoseconds limit, std::error_code& error) override {
    const std::size_t n = read_now(buffer, limit, error);
    if (error == net::errc::would_block) error = net::errc::timed_out;
    return n;
  }
  std::error_code write(std::string_view text, std::chrono::nanoseconds) override {
    if (is_shut_down_) throw std::logic_error("the server writes after it has said that it does not");
    output += text;
    ++writes;
    largest_write = std::max(largest_write, text.size());
    return {};
  }
  void shutdown_write() override { is_shut_down_ = true; }
  void expire() noexcept override {}
  /// Of a peer that stays: who asks for a request's context has it watched.
  net::detail::File& file() noexcept override {
    int fds[2];
    if (!stays_ && ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0) {
      stays_.emplace(fds[0]);
      peer_.emplace(fds[1]);
    }
    return *stays_;
  }
  [[nodiscard]] net::Endpoint peer() const override { return {}; }
  [[nodiscard]] bool is_tls() const noexcept override { return false; }

  std::string output;
  std::size_t writes = 0;
  std::size_t largest_write = 0;

 private:
  std::string_view input_;
  const Serving& serving_;
  bool is_shut_down_ = false;
  std::optional<net::detail::File> stays_;
  std::optional<net::detail::File> peer_;
};

}  // namespace

std::string Reply::field(std::string_view name) const {
  std::optional<std::string> found;
  for (const auto& [key, value] : fields) {
    if (!is_same(key, name)) continue;
    if (found) throw std::runtime_error("the reply has several " + std::string(name));
    found = value;
  }
  return found.value_or("");
}

std::optional<Reply> take_reply(std::string& input, const std::function<bool(std::string&)>& more, bool is_head) {
  while (input.empty()) {
    if (!more(input)) return std::nullopt;
  }
  const auto line = [&] {
    std::optional<std::string> found = take_line(input, more);
    if (!found) refuse("its head is cut off", input);
    return *std::move(found);
  };
  const std::string first = line();
  if (!first.starts_with("HTTP/1.1 ") || first.size() < 13 || first[12] != ' ') refuse("its first line", first);
  Reply reply{.status = std::stoi(first.substr(9, 3)), .reason = first.substr(13), .fields = {}, .body = {}};
  for (std::string text = line(); !text.empty(); text = line()) {
    const std::size_t colon = text.find(": ");
    if (colon == std::string::npos || colon == 0) refuse("a field", text);
    reply.fields.emplace_back(text.substr(0, colon), text.substr(colon + 2));
  }
  const std::string length = reply.field("Content-Length");
  const bool is_chunked = !reply.field("Transfer-Encoding").empty();
  if (is_chunked && !length.empty()) refuse("two lengths", first);
  if (is_head || reply.status < 200 || reply.status == 204 || reply.status == 304) return reply;
  if (is_chunked) {
    reply.is_whole = take_chunks(input, more, reply.body);
  } else if (!length.empty()) {
    reply.is_whole = take_bytes(input, more, std::stoul(length), reply.body);
  } else {
    while (more(input)) {
    }
    reply.body = std::exchange(input, {});
  }
  return reply;
}

std::vector<Reply> take_replies(std::string output) {
  std::vector<Reply> replies;
  while (std::optional<Reply> reply = take_reply(output, [](std::string&) { return false; })) {
    replies.push_back(*std::move(reply));
  }
  return replies;
}

std::string get(std::string_view target, std::string_view more) {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n" + std::string(more) + "\r\n";
}

std::string post(std::string_view target, std::string_view body, std::string_view more) {
  return "POST " + std::string(target) + " HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(more) + "\r\n" + std::string(body);
}

// --- in memory ---

Reply Served::reply() const {
  std::vector<Reply> replies = take_replies(output);
  if (replies.size() != 1) throw std::runtime_error("not one reply: " + output.substr(0, 1'000));
  return std::move(replies.front());
}

Served serve(const http::Handler& handler, std::string_view input, Serving serving) {
  Lines log;
  if (!serving.options.log) serving.options.log = log.sink();
  http::detail::Service service{.handler = handler, .options = serving.options};
  MemoryTransport transport(input, serving);
  http::detail::Exchange exchange;
  const bool is_kept = exchange.serve(service, transport) != http::detail::Exchange::End::kClosed;
  return {std::move(transport.output), transport.writes, transport.largest_write, is_kept, log.all()};
}

// --- on loopback ---

TestServer::TestServer(http::Handler handler, http::ServerOptions options) {
  if (!options.log) options.log = log_.sink();
  server_.emplace(std::move(handler), std::move(options));
  address_ = listen();
}

TestServer::~TestServer() { static_cast<void>(end()); }

std::string TestServer::listen() {
  net::Listener listener = net::listen_tcp("127.0.0.1:0");
  std::string address = listener.local().to_string();
  serving_.go([this, listener = std::move(listener)]() mutable { end_ = server_->serve(std::move(listener)); });
  return address;
}

std::error_code TestServer::end() {
  server_->close();
  serving_.wait();
  return end_;
}

Peer::Peer(const std::string& address) : stream_(net::dial_tcp(address)) {}

bool Peer::send(std::string_view text) {
  std::error_code error;
  return stream_.write(text, error) == text.size();
}

bool Peer::read_more(std::string& input) {
  std::byte buffer[16'384];
  std::error_code error;
  const std::size_t n = stream_.read_some(buffer, error);
  input.append(reinterpret_cast<const char*>(buffer), n);
  if (error) error_ = error;
  return !error;
}

std::optional<Reply> Peer::read_reply(bool is_head) {
  return take_reply(
      input_, [this](std::string& input) { return read_more(input); }, is_head);
}

int Peer::status() {
  const std::optional<Reply> reply = read_reply();
  return reply ? reply->status : 0;
}

Reply Peer::ask(std::string_view request) {
  send(request);
  std::optional<Reply> reply = read_reply();
  if (!reply) throw std::runtime_error("the server has hung up");
  return *std::move(reply);
}

std::string Peer::read_rest() {
  while (read_more(input_)) {
  }
  return std::exchange(input_, {});
}

void Peer::reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  static_cast<void>(stream_.file().with_descriptor(
      [&](int fd) { return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); }));
  static_cast<void>(stream_.close());
}

}  // namespace weft::test

// echo_server: a TCP server with a goroutine for each connection, its clients, and how both come to an end

// Go original: the server of package net's overview (Listen, Accept, go handleConnection), with a graceful end. Told
// nothing, it serves itself: many clients on loopback send messages and wait for each echo. With --listen it serves
// others until Ctrl-C: try `nc localhost 7000`.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <system_error>
#include <unordered_set>
#include <utility>
#include <vector>

#include <weft/context.hpp>
#include <weft/err_group.hpp>
#include <weft/mutex.hpp>
#include <weft/net/error.hpp>
#include <weft/net/signal.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/numbers.hpp"

namespace {

using std::chrono::milliseconds;
using weft::net::Listener;
using weft::net::Stream;

class EchoServer {
 public:
  explicit EchoServer(Listener listener) : listener_(std::move(listener)) {}

  [[nodiscard]] std::string address() const { return listener_.local().to_string(); }

  /// Serves until the context is done; then no more connections are accepted, those that there are send back what they
  /// have read, and it returns when all are closed.
  void run(const weft::Context& ctx) {
    accept_all(ctx);
    listener_.close();
    {
      // Not close(): that would end a write, too.
      const std::lock_guard lock(mutex_);
      for (const auto& stream : connections_) {
        stream->set_read_deadline(weft::Clock::now());
      }
    }
    handlers_.wait();
  }

  /// After run().
  [[nodiscard]] std::size_t accepted() const { return accepted_; }

 private:
  void accept_all(const weft::Context& ctx) {
    for (;;) {
      std::error_code error;
      auto stream = std::make_shared<Stream>(listener_.accept(ctx, error));
      if (ctx.is_done()) {
        return;
      }
      if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system) {
        weft::sleep_for(ctx, milliseconds(10));  // until somebody has hung up
        continue;
      }
      if (error) {
        throw std::system_error(error, "accept");
      }
      ++accepted_;
      {
        const std::lock_guard lock(mutex_);
        connections_.insert(stream);
      }
      handlers_.go([this, stream] { handle(stream); });
    }
  }

  void handle(const std::shared_ptr<Stream>& stream) {
    echo(*stream);
    const std::lock_guard lock(mutex_);
    connections_.erase(stream);
  }

  static void echo(Stream& stream) {
    std::array<std::byte, 16 * 1024> buffer;
    std::error_code error;
    while (const std::size_t size = stream.read_some(buffer, error)) {
      stream.write(std::span(buffer).first(size), error);
      if (error) {
        return;
      }
    }
  }

  Listener listener_;
  std::size_t accepted_ = 0;  // only run() writes it
  weft::Mutex mutex_;
  std::unordered_set<std::shared_ptr<Stream>> connections_;  // guarded by mutex_
  weft::WaitGroup handlers_;
};

struct Load {
  std::size_t clients = 100;
  std::size_t messages = 500;
  std::size_t size = 64;
};

struct ClientResult {
  std::size_t echoed = 0;
  std::chrono::nanoseconds slowest{0};
};

ClientResult run_client(const std::string& address, const Load& load, std::size_t id) {
  ClientResult result;
  Stream stream = weft::net::dial_tcp(address);
  std::string message(load.size, '\0');
  std::string reply(load.size, '\0');
  for (std::size_t i = 0; i < load.messages; ++i) {
    std::generate(message.begin(), message.end(), [n = id * 31 + i]() mutable { return static_cast<char>(n++); });
    const auto start = weft::Clock::now();
    stream.write(message);
    stream.read_full(std::as_writable_bytes(std::span(reply)));
    result.slowest = std::max(result.slowest, std::chrono::nanoseconds(weft::Clock::now() - start));
    result.echoed += reply == message ? 1 : 0;
  }
  return result;
}

void serve_itself(const Load& load, examples::Check& check) {
  EchoServer server(weft::net::listen_tcp("127.0.0.1:0"));
  const auto [ctx, shut_down] = weft::with_cancel(weft::background());
  weft::WaitGroup serving;
  serving.go([&, ctx = ctx] { server.run(ctx); });
  const auto end = [&, shut_down = shut_down] {
    shut_down();
    serving.wait();
  };
  const examples::Defer end_always(end);  // also if a client cannot connect
  std::printf("%s clients of %s, each sends %s messages of %s bytes\n", examples::grouped(load.clients).c_str(),
              server.address().c_str(), examples::grouped(load.messages).c_str(), examples::grouped(load.size).c_str());

  Stream silent = weft::net::dial_tcp(server.address());  // it is there, but never says anything
  std::vector<ClientResult> results(load.clients);
  const auto start = std::chrono::steady_clock::now();
  weft::ErrGroup clients;
  for (std::size_t i = 0; i < load.clients; ++i) {
    clients.go([&, i] { results[i] = run_client(server.address(), load, i); });
  }
  clients.wait();
  const double seconds = examples::seconds_since(start);

  end();
  std::array<std::byte, 1> byte;
  std::error_code error;
  silent.read_some(byte, error);
  check.expect(error == weft::net::errc::eof, "the server has hung up on who said nothing");

  std::size_t echoed = 0;
  std::chrono::nanoseconds slowest{0};
  for (const ClientResult& result : results) {
    echoed += result.echoed;
    slowest = std::max(slowest, result.slowest);
  }
  const auto rate = static_cast<double>(echoed) / seconds;
  std::printf("%s echoes in %.2f s: %s a second, %.1f MB/s each way; the slowest took %.2f ms\n",
              examples::grouped(echoed).c_str(), seconds, examples::grouped(static_cast<std::uint64_t>(rate)).c_str(),
              rate * static_cast<double>(load.size) / 1e6, static_cast<double>(slowest.count()) / 1e6);
  check.expect(echoed == load.clients * load.messages, "every message came back as it was sent");
  check.expect(server.accepted() == load.clients + 1, "every client had a connection of its own");
}

/// Each client costs two descriptors here, and few systems allow more than 1,024 unless asked. (Go's runtime asks by itself.)
void allow_many_files() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

void serve_others(const std::string& address) {
  const auto [ctx, stop_signals] = weft::net::notify_context(weft::background(), SIGINT, SIGTERM);
  EchoServer server(weft::net::listen_tcp(address));
  std::printf("echoing on %s; Ctrl-C ends it\n", server.address().c_str());
  std::fflush(stdout);
  weft::WaitGroup serving;
  serving.go([&, ctx = ctx] { server.run(ctx); });
  ctx.done().recv();
  stop_signals();  // a second Ctrl-C ends it at once
  serving.wait();
  std::printf("%s connections were served\n", examples::grouped(server.accepted()).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "echo_server",
      "A TCP server that sends back whatever it gets. Told nothing, it serves clients of its own on loopback, and "
      "says\n"
      "how fast that went; with --listen it serves others until Ctrl-C.");
  Load load;
  std::string address;
  command_line.number("--clients", load.clients, "How many clients of its own there are", 1, 5'000);
  command_line.number("--messages", load.messages, "How many messages each of them sends", 0, 10'000'000);
  command_line.number("--size", load.size, "Bytes of a message", 1, 1'000'000);
  command_line.text("--listen", address, "Serve others at this address instead, like :7000 or 127.0.0.1:7000");

  return command_line.run(argc, argv, [&] {
    allow_many_files();
    return weft::run([&] {
      examples::Check check("echo_server");
      if (address.empty()) {
        serve_itself(load, check);
      } else {
        serve_others(address);
      }
      std::printf("%s goroutines left over\n", examples::grouped(check.left_over()).c_str());
      return check.exit_status();
    });
  });
}

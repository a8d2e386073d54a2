// http_server: the article's JSON server: /json, /health, and a handler with pooled buffers; under load, and its graceful end

// Go original: the server of the article's HTTP benchmark ("simple JSON response"), and the sync.Pool and handleRequest of its
// "High-Performance APIs".
//
//   ./dev run http_server --listen 127.0.0.1:8080        and in another terminal:
//
//   curl -i localhost:8080/json
//   curl -i localhost:8080/health
//   curl -i localhost:8080/count --data-binary @README.md
//
// Told nothing, it asks itself: some goroutines send requests and take the times; then the server is shut down while a request is
// still on its way, which it lets end.

#include <csignal>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/http/client.hpp>
#include <weft/http/json.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/net/signal.hpp>
#include <weft/net/tcp.hpp>
#include <weft/pool.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/numbers.hpp"

namespace {

namespace http = weft::http;
using examples::grouped;
using std::chrono::microseconds;

// --- the server ---

using Buffer = std::vector<std::byte>;

/// The article's pool: buffers of 1024 bytes, made when none is free.
struct BufferPool {
  std::atomic<std::uint64_t> made{0};  // relaxed: a counter
  weft::Pool<Buffer> pool{[this] {
    made.fetch_add(1, std::memory_order_relaxed);
    return Buffer(1024);
  }};
};

/// Process request with minimal allocations: the body goes through the buffer, piece by piece, however long it is.
boost::json::object process_request(http::Request& request, std::span<std::byte> buf) {
  std::uint64_t bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t words = 0;
  bool is_in_word = false;
  while (const std::size_t n = request.read_some(buf)) {
    bytes += n;
    for (const std::byte byte : buf.first(n)) {
      const auto c = std::to_integer<unsigned char>(byte);
      lines += c == '\n' ? 1 : 0;
      words += !is_in_word && std::isspace(c) == 0 ? 1 : 0;
      is_in_word = std::isspace(c) == 0;
    }
  }
  return {{"bytes", bytes}, {"lines", lines}, {"words", words}};
}

void handle_request(BufferPool& buffers, http::Request& request, http::ResponseWriter& response) {
  const auto buf = buffers.pool.get();  // goes back when it is destroyed: no `defer pool.Put(buf)`
  http::write_json(response, http::Status::ok, process_request(request, *buf));
}

http::Router make_router(BufferPool& buffers) {
  http::Router router;
  router.get("/json", [](http::Request&, http::ResponseWriter& response) {
    http::write_json(response, http::Status::ok, boost::json::object{{"message", "Hello, World!"}});
  });
  router.get("/health", [](http::Request&, http::ResponseWriter& response) {
    http::write_json(response, http::Status::ok, boost::json::object{{"status", "healthy"}});
  });
  router.post("/count", [&buffers](http::Request& request, http::ResponseWriter& response) {
    handle_request(buffers, request, response);
  });
  return router;
}

/// Until SIGINT or SIGTERM; then requests may take ten more seconds. A second signal ends the program at once.
void serve_others(const std::string& address) {
  const auto signals = weft::net::notify_context(weft::background(), SIGINT, SIGTERM);
  BufferPool buffers;
  http::Server server(make_router(buffers));
  weft::net::Listener listener = weft::net::listen_tcp(address);
  std::printf("serving on %s; Ctrl-C ends it\n", listener.local().to_string().c_str());
  std::fflush(stdout);

  std::error_code took_too_long;
  weft::WaitGroup ending;
  ending.go([&] {
    signals.first.done().recv();
    signals.second();
    took_too_long = server.shutdown(weft::with_timeout(weft::background(), std::chrono::seconds(10)).first);
  });
  const std::error_code error = server.serve(std::move(listener));
  signals.second();  // there may have been no signal
  ending.wait();
  if (error != http::errc::server_closed) throw std::system_error(error, "serving on " + address);
  std::printf("%s; %s requests were served\n", took_too_long ? "some took too long and are ended" : "all have ended",
              grouped(server.stats().requests).c_str());
}

// --- the load ---

struct Route {
  const char* method;
  const char* path;
  std::string body;
  std::string expected;  // of the reply
};

std::vector<Route> routes() {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "a line of five words\n";
  return {{"GET", "/json", "", R"({"message":"Hello, World!"})"},
          {"GET", "/health", "", R"({"status":"healthy"})"},
          {"POST", "/count", text, R"({"bytes":2100,"lines":100,"words":500})"}};
}

/// What one client has seen of one route.
struct Seen {
  std::vector<microseconds> times;
  std::size_t failed = 0;
};
using SeenOfAll = std::vector<Seen>;  // a Seen for each route

void ask(http::Client& client, const std::string& url, const Route& route, Seen& seen) {
  const auto start = weft::Clock::now();
  std::error_code error;
  http::Response response =
      client.send({.url = url + route.path, .method = route.method, .body = route.body}, weft::background(), error);
  std::string body;
  if (!error) body = response.text(error);
  if (error || response.status() != http::Status::ok || body != route.expected) ++seen.failed;
  seen.times.push_back(std::chrono::duration_cast<microseconds>(weft::Clock::now() - start));
}

void print_row(const Route& route, Seen& seen) {
  std::sort(seen.times.begin(), seen.times.end());
  const auto at = [&](double part) {
    return static_cast<long long>(
        seen.times[static_cast<std::size_t>(part * static_cast<double>(seen.times.size() - 1))].count());
  };
  std::printf("%-5s %-8s %9s %7zu %8lld us %8lld us\n", route.method, route.path, grouped(seen.times.size()).c_str(),
              seen.failed, at(0.5), at(0.99));
}

void load(const std::string& url, std::size_t clients, std::size_t requests, examples::Check& check) {
  const std::vector<Route> all = routes();
  http::Client client({.max_idle_per_host = clients});
  std::vector<SeenOfAll> seen(clients, SeenOfAll(all.size()));
  const auto start = std::chrono::steady_clock::now();
  weft::WaitGroup asking;
  for (std::size_t i = 0; i < clients; ++i) {
    asking.go([&, i] {
      for (std::size_t n = i; n < requests; n += clients) {
        const std::size_t route = n % all.size();
        ask(client, url, all[route], seen[i][route]);
      }
    });
  }
  asking.wait();
  const double seconds = examples::seconds_since(start);

  std::printf("%-14s %9s %7s %11s %11s\n", "route", "requests", "failed", "p50", "p99");
  for (std::size_t route = 0; route < all.size(); ++route) {
    Seen together;
    for (const SeenOfAll& of_client : seen) {
      const Seen& part = of_client[route];
      together.times.insert(together.times.end(), part.times.begin(), part.times.end());
      together.failed += part.failed;
    }
    print_row(all[route], together);
    check.expect(together.failed == 0, std::string("every reply to ") + all[route].path + " is what it should be");
  }
  std::printf(
      "%s requests of %zu clients in %.0f ms: %s a second, server and clients in one process of %u processors\n",
      grouped(requests).c_str(), clients, seconds * 1e3,
      grouped(static_cast<std::uint64_t>(static_cast<double>(requests) / seconds)).c_str(), weft::stats().processors);
}

// --- the end ---

/// Shuts the server down in the middle of a request, which ends as if nothing had happened; nobody else is let in.
void end_gracefully(http::Server& server, weft::WaitGroup& serving, const std::string& address,
                    examples::Check& check) {
  const auto pieces = weft::make_chan<std::string>();
  http::ClientRequest upload{.url = "http://" + address + "/count", .method = "POST"};
  upload.source = [pieces](std::span<std::byte> buffer, std::error_code&) -> std::size_t {
    const auto piece = pieces.recv();
    if (!piece) return 0;  // the channel is closed: the body is at its end
    std::copy(piece->begin(), piece->end(), reinterpret_cast<char*>(buffer.data()));
    return piece->size();
  };
  const std::uint64_t requests_before = server.stats().requests;
  std::string reply;
  weft::WaitGroup uploading;
  uploading.go([&] { reply = http::Client().send(upload).text(); });
  pieces.send("the first half\n");
  while (server.stats().requests == requests_before) weft::sleep_for(std::chrono::milliseconds(1));

  weft::WaitGroup ending;
  ending.go([&] { check.expect(!server.shutdown(), "the server ends in order"); });
  serving.wait();  // it accepts no more
  std::error_code refused;
  static_cast<void>(weft::net::dial_tcp(address, refused));
  pieces.send("and the second\n");
  pieces.close();
  uploading.wait();
  ending.wait();
  std::printf("shut down in the middle of an upload: the reply was %s; a new connection: %s\n", reply.c_str(),
              refused.message().c_str());
  check.expect(reply == R"({"bytes":30,"lines":2,"words":6})", "a request that has begun is served to its end");
  check.expect(refused == std::errc::connection_refused, "a server that ends lets nobody in");
}

void ask_itself(std::size_t clients, std::size_t requests, examples::Check& check) {
  BufferPool buffers;
  http::Server server(make_router(buffers));
  weft::net::Listener listener = weft::net::listen_tcp("127.0.0.1:0");
  const std::string address = listener.local().to_string();
  std::error_code end;
  weft::WaitGroup serving;
  serving.go([&] { end = server.serve(std::move(listener)); });
  load("http://" + address, clients, requests, check);
  std::printf("%s buffers were made for the uploads\n", grouped(buffers.made.load(std::memory_order_relaxed)).c_str());
  end_gracefully(server, serving, address, check);
  check.expect(end == http::errc::server_closed, "the server serves until it is ended");
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "http_server",
      "The article's JSON server. Told nothing, it starts itself, sends itself requests, prints how long they took,\n"
      "and ends gracefully. With --listen it serves until Ctrl-C.");
  std::string address;
  std::size_t clients = 20;
  std::size_t requests = 6'000;
  command_line.text("--listen", address, "Serve there: 127.0.0.1:8080, or :8080 for every address of this machine");
  command_line.number("--clients", clients, "How many clients it asks itself with", 1, 1'000);
  command_line.number("--requests", requests, "How many requests they send together", 3, 10'000'000);
  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("http_server");
      if (address.empty()) {
        ask_itself(clients, requests, check);
      } else {
        serve_others(address);
      }
      std::printf("%llu goroutines left over\n", static_cast<unsigned long long>(check.left_over()));
      return check.exit_status();
    });
  });
}

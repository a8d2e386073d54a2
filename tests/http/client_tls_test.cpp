// https: the client over TLS, against weft's own server and against peers that break it.

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/http/client.hpp>
#include <weft/http/server.hpp>
#include <weft/net/error.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/tls.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/certificates.hpp"
#include "../support/support.hpp"
#include "scripted_server.hpp"

namespace {

using namespace std::chrono_literals;
namespace http = weft::http;
namespace net = weft::net;
namespace test = weft::test;
using http::Client;
using http::ClientRequest;
using http::Response;
using test::ScriptedPeer;
using test::ScriptedServer;
using weft::Context;
using weft::WaitGroup;

test::Authority& authority() {
  static test::Authority one;
  return one;
}

net::TlsConfig server_config(const std::string& name = "127.0.0.1") {
  const test::Authority::Issued issued = authority().issue({name});
  return net::TlsConfig::server(issued.certificate, issued.key);
}

http::ClientOptions trusting() {
  http::ClientOptions options;
  options.tls = std::make_shared<net::TlsConfig>(net::TlsConfig::client().add_authority(authority().file()));
  return options;
}

/// weft's server, by TLS.
class TlsServer {
 public:
  explicit TlsServer(http::Handler handler, const std::string& name = "127.0.0.1") : server_(std::move(handler)) {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    url_ = "https://" + listener.local().to_string();
    running_.go([this, name, listener = std::move(listener)]() mutable {
      EXPECT_EQ(server_.serve_tls(std::move(listener), server_config(name)), http::errc::server_closed);
    });
  }
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;
  ~TlsServer() {
    server_.close();
    running_.wait();
  }

  [[nodiscard]] std::string url(const std::string& path = "/") const { return url_ + path; }
  [[nodiscard]] http::ServerStats stats() const { return server_.stats(); }

 private:
  http::Server server_;
  std::string url_;
  WaitGroup running_;
};

void echo(http::Request& request, http::ResponseWriter& response) {
  response.send(http::Status::ok, "text/plain", std::string(request.header("X-Ask")) + request.body());
}

TEST(ClientTlsTest, HttpsIsAskedOverOneConnection) {
  test::everywhere([] {
    TlsServer server(&echo);
    Client client(trusting());
    for (int i = 0; i < 5; ++i) {
      const std::string body(static_cast<std::size_t>(i) * 50'000, 'x');
      Response response = client.post(server.url(), "text/plain", body);
      EXPECT_EQ(response.url(), server.url());
      EXPECT_TRUE(response.text() == body) << i;
    }
    EXPECT_EQ(server.stats().accepted, 1U);
  });
}

TEST(ClientTlsTest, WhomNobodyVouchesForIsNotTold) {
  weft::run([] {
    TlsServer server(&echo);
    TlsServer other(&echo, "elsewhere.example");
    ClientRequest request{.url = server.url()};
    request.headers.set("Authorization", "Bearer secret");
    std::error_code error;
    http::default_client().send(request, Context(), error);
    EXPECT_EQ(error, net::tls_errc::bad_certificate) << error.message();
    Client client(trusting());
    request.url = other.url();
    client.send(request, Context(), error);
    EXPECT_EQ(error, net::tls_errc::bad_certificate) << error.message();
    EXPECT_EQ(server.stats().requests + other.stats().requests, 0U);
    ScriptedServer plain([](ScriptedPeer& peer) {
      peer.write("220 I speak something else\r\n");
      peer.wait_for_end();
    });
    client.get("https://" + plain.address(), Context(), error);
    EXPECT_EQ(error, net::tls_errc::not_tls) << error.message();
  });
}

TEST(ClientTlsTest, RedirectsLeadInButCredentialsStayIn) {
  weft::run([] {
    TlsServer inside([](http::Request& request, http::ResponseWriter& response) {
      if (request.path() == "/out") {
        response.redirect(request.header("X-Out"));
      } else {
        response.send(request.header("Authorization"));
      }
    });
    ScriptedServer outside([&](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        if (head.starts_with("GET /in")) {
          peer.write("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + inside.url("/there") + "\r\n\r\n");
        } else {
          peer.reply(test::contains(head, "Authorization") ? "told" : "not told");
        }
      }
    });
    Client client(trusting());
    ClientRequest request{.url = outside.url("/in")};
    request.headers.set("Authorization", "Bearer secret").set("X-Out", outside.url());
    Response response = client.send(request);
    EXPECT_EQ(response.url(), inside.url("/there"));
    EXPECT_EQ(response.text(), "Bearer secret");
    request.url = inside.url("/out");
    EXPECT_EQ(client.send(request).text(), "not told");
    EXPECT_EQ(inside.stats().accepted, 1U);
  });
}

TEST(ClientTlsTest, ContextsAndTimeoutsEndIt) {
  weft::run([] {
    const auto asked = weft::make_chan<weft::Unit>(1);
    const auto over = weft::make_chan<weft::Unit>();
    TlsServer server([&](http::Request& request, http::ResponseWriter& response) {
      if (request.path() == "/quick") return static_cast<void>(response.send("quick"));
      asked.send({});
      over.recv();
    });
    http::ClientOptions options = trusting();
    Client client(options);
    for (int i = 0; i < 3; ++i) {
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      WaitGroup wg;
      wg.go([&, &context = ctx] {
        std::error_code error;
        client.get(server.url(), context, error);
        EXPECT_EQ(error, weft::errc::canceled);
      });
      asked.recv();
      cancel();
      wg.wait();
      EXPECT_EQ(client.get(server.url("/quick"), weft::with_timeout(weft::background(), 1h).first).text(), "quick");
    }
    options.timeout = 50ms;
    Client hasty(options);
    std::error_code error;
    hasty.get(server.url(), Context(), error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    over.close();
    // Who accepts, and says nothing.
    ScriptedServer silent([](ScriptedPeer& peer) { peer.wait_for_end(); });
    hasty.get("https://" + silent.address(), Context(), error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    options.timeout = 0s;
    options.dial_timeout = 20ms;
    Client hastier(options);
    hastier.get("https://" + silent.address(), Context(), error);
    EXPECT_EQ(error, net::errc::timed_out);
  });
}

/// A peer that speaks TLS by hand: says `bytes`, and ends TLS properly or not.
std::error_code error_of(const std::string& bytes, bool is_proper) {
  net::Listener listener = net::listen_tcp("127.0.0.1:0");
  WaitGroup wg;
  wg.go([&] {
    net::TlsStream stream = net::TlsStream::server(listener.accept(), server_config());
    std::string request(1'000, '\0');
    std::error_code error;
    stream.read_some(std::as_writable_bytes(std::span(request)), error);
    stream.write(bytes, error);
    if (!is_proper) static_cast<void>(stream.stream().close());
  });
  Client client(trusting());
  std::error_code error;
  Response response = client.get("https://" + listener.local().to_string(), Context(), error);
  const std::string text = error ? "" : response.text(error);
  EXPECT_EQ(text, error ? "" : "all of it");
  wg.wait();
  return error;
}

TEST(ClientTlsTest, ABodyThatWasCutShortIsNoticed) {
  weft::run([] {
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\n\r\nall of it", true), std::error_code());
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\n\r\nall of it", false), http::errc::truncated);
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall of it", false), std::error_code());
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nall of it", true), http::errc::truncated);
    EXPECT_EQ(error_of("", true), http::errc::truncated);
    EXPECT_EQ(error_of("", false), http::errc::truncated);
  });
}

TEST(ClientTlsTest, AnIdleConnectionThatHasEndedIsReplaced) {
  weft::run([] {
    std::optional<TlsServer> server(std::in_place, &echo);
    Client client(trusting());
    const std::string address = server->url().substr(8, server->url().size() - 9);
    EXPECT_EQ(client.get(server->url()).status(), http::Status::ok);
    server.reset();
    // Another one at the same place.
    http::Server next(&echo);
    WaitGroup wg;
    wg.go([&] { static_cast<void>(next.serve_tls(net::listen_tcp(address), server_config())); });
    test::eventually([&] {
      std::error_code error;
      return net::dial_tcp(address, error).is_open();
    });
    EXPECT_EQ(client.post("https://" + address, "text/plain", "x").text(), "x");
    next.close();
    wg.wait();
  });
}

}  // namespace

// weft's client and weft's server with each other.

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/http/client.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

namespace http = weft::http;
namespace net = weft::net;
namespace test = weft::test;
using http::Client;
using http::ClientRequest;
using http::Request;
using http::Response;
using http::ResponseWriter;
using http::Status;
using weft::Context;
using weft::WaitGroup;

/// Serves while it exists.
class Serving {
 public:
  explicit Serving(http::Handler handler) : server_(std::move(handler), {.log = [](std::string_view) {}}) {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    url_ = "http://" + listener.local().to_string();
    running_.go([this, listener = std::move(listener)]() mutable {
      EXPECT_EQ(server_.serve(std::move(listener)), http::errc::server_closed);
    });
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  ~Serving() {
    server_.close();
    running_.wait();
  }

  [[nodiscard]] std::string url(std::string_view path = "/") const { return url_ + std::string(path); }
  http::Server& server() { return server_; }

 private:
  http::Server server_;
  std::string url_;
  WaitGroup running_;
};

http::BodySource source_of(std::string_view text) {
  return [text](std::span<std::byte> buffer, std::error_code&) mutable {
    const std::size_t n = std::min({buffer.size(), text.size(), std::size_t{3'000}});
    std::copy_n(std::as_bytes(std::span(text)).begin(), n, buffer.begin());
    text.remove_prefix(n);
    return n;
  };
}

TEST(ClientServerTest, BodiesOfAnySizeAndKindArrive) {
  test::everywhere([] {
    http::Router router;
    router.post("/whole", [](Request& request, ResponseWriter& response) { response.send(request.body()); });
    router.post("/in-pieces", [](Request& request, ResponseWriter& response) {
      const std::string body = request.body();
      for (std::size_t at = 0; at < body.size(); at += 1'777) response.write(body.substr(at, 1'777));
    });
    Serving serving(router);
    Client client;
    for (const std::size_t size : {0UL, 1UL, 4'096UL, 70'000UL, 1'000'000UL}) {
      std::string body(size, '\0');
      for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>(i * 7 % 251);
      for (const char* path : {"/whole", "/in-pieces"}) {
        EXPECT_TRUE(client.post(serving.url(path), "text/plain", body).text() == body) << path << " " << size;
        ClientRequest request{.url = serving.url(path), .method = "POST", .source = source_of(body)};
        EXPECT_TRUE(client.send(request).text() == body) << path << " " << size;
        request.source = source_of(body);
        request.source_length = size;
        request.headers.set("Expect", "100-continue");
        EXPECT_TRUE(client.send(request).text() == body) << path << " " << size;
      }
    }
    EXPECT_EQ(serving.server().stats().accepted, 1U);
  });
}

TEST(ClientServerTest, AHeadAndMistakesKeepTheConnection) {
  weft::run([] {
    http::Router router;
    router.get("/page", [](Request&, ResponseWriter& response) { response.send("twelve bytes"); });
    router.get("/moved", [](Request&, ResponseWriter& response) { response.redirect("/page"); });
    Serving serving(router);
    Client client;
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(client.head(serving.url("/page")).content_length(), 12U);
      EXPECT_EQ(client.get(serving.url("/nowhere")).status(), Status::not_found);
      EXPECT_EQ(client.post(serving.url("/page"), "text/plain", "x").status(), Status::method_not_allowed);
      EXPECT_EQ(client.get(serving.url("/moved")).text(), "twelve bytes");
    }
    EXPECT_EQ(serving.server().stats().accepted, 1U);
  });
}

TEST(ClientServerTest, AServerThatDoesNotWantABodySaysSo) {
  weft::run([] {
    Serving serving(
        [](Request&, ResponseWriter& response) { response.send(Status::unauthorized, "text/plain", "no"); });
    Client client;
    const std::string large(5'000'000, 'x');
    for (int i = 0; i < 10; ++i) {
      Response response = client.post(serving.url(), "text/plain", large);
      EXPECT_EQ(response.status(), Status::unauthorized);
      EXPECT_EQ(response.text(), "no");
    }
  });
}

TEST(ClientServerTest, AHandlerThatFailsHalfWayIsNoticed) {
  weft::run([] {
    Serving serving([](Request& request, ResponseWriter& response) {
      if (request.path() == "/length") response.header("Content-Length", "100");
      response.write("half");
      response.flush();
      throw std::runtime_error("out of order");
    });
    for (const char* path : {"/chunks", "/length"}) {
      std::error_code error;
      Response response = http::get(serving.url(path));
      response.body(error);
      EXPECT_EQ(error, http::errc::truncated) << path;
    }
  });
}

TEST(ClientServerTest, AServerThatShutsDownIsWaitedForByNobody) {
  weft::run([] {
    Client client;
    for (int round = 0; round < test::rounds(50); ++round) {
      Serving serving([](Request&, ResponseWriter& response) { response.send("ok"); });
      WaitGroup wg;
      for (int i = 0; i < 4; ++i) {
        wg.go([&] {
          std::error_code error;
          while (!error) {
            Response response = client.get(serving.url(), Context(), error);
            if (error) break;
            const std::string text = response.text(error);
            EXPECT_EQ(text, error ? "" : "ok");
          }
          EXPECT_TRUE(error == std::errc::connection_refused || error == std::errc::connection_reset ||
                      error == std::errc::broken_pipe || error == http::errc::truncated)
              << error.message();
        });
      }
      test::eventually([&] { return serving.server().stats().requests >= 8; });
      EXPECT_FALSE(serving.server().shutdown());
      wg.wait();
    }
  });
}

TEST(ClientServerTest, ACrowdIsServed) {
  weft::run([] {
    std::atomic<std::uint64_t> sum{0};
    Serving serving([&](Request& request, ResponseWriter& response) {
      sum.fetch_add(std::stoul(request.body()));
      response.send(request.body());
    });
    Client client({.max_idle_per_host = 20, .max_connections_per_host = 20});
    const int rounds = test::rounds(100);
    WaitGroup wg;
    for (int i = 0; i < 100; ++i) {
      wg.go([&, i] {
        for (int k = 0; k < rounds; ++k) {
          const std::string number = std::to_string(i * rounds + k);
          EXPECT_EQ(client.post(serving.url(), "text/plain", number).text(), number);
        }
      });
    }
    wg.wait();
    const std::uint64_t count = 100 * static_cast<std::uint64_t>(rounds);
    EXPECT_EQ(sum.load(), count * (count - 1) / 2);
    EXPECT_LE(serving.server().stats().accepted, 20U);
  });
}

}  // namespace

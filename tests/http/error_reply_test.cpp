// How errors become replies: what a handler throws, what is wrong with a body, what no route is for; plain or as JSON.

#include <cstddef>
#include <functional>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/http/client.hpp>
#include <weft/http/json.hpp>
#include <weft/http/middleware.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/mutex.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

namespace {

namespace http = weft::http;
namespace net = weft::net;
using http::Request;
using http::ResponseWriter;
using http::Status;

/// Log lines of many goroutines.
class Lines {
 public:
  std::function<void(std::string_view)> sink() {
    return [this](std::string_view line) {
      const std::scoped_lock guard(mutex_);
      lines_.emplace_back(line);
    };
  }
  std::vector<std::string> all() {
    const std::scoped_lock guard(mutex_);
    return lines_;
  }

 private:
  weft::Mutex mutex_;
  std::vector<std::string> lines_;  // guarded by mutex_
};

/// A router that is served while this lives.
class Serving {
 public:
  explicit Serving(const http::Router& router) : server_(router, {.max_body_bytes = 10}) {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    address_ = listener.local().to_string();
    serving_.go([this, listener = std::move(listener)]() mutable { server_.serve(std::move(listener)); });
  }
  ~Serving() {
    server_.close();
    serving_.wait();
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;

  http::Response ask(std::string method, std::string_view path, std::string body = {}) {
    return client_.send(
        {.url = "http://" + address_ + std::string(path), .method = std::move(method), .body = std::move(body)});
  }
  /// All that comes back for these bytes, after which nothing more is sent.
  std::string raw(std::string_view bytes) {
    net::Stream stream = net::dial_tcp(address_);
    stream.write(bytes);
    stream.shutdown_write();
    std::string reply;
    std::byte piece[4096];
    std::error_code error;
    while (const std::size_t n = stream.read_some(piece, error)) reply.append(reinterpret_cast<const char*>(piece), n);
    return reply;
  }

 private:
  std::string address_;
  http::Server server_;
  weft::WaitGroup serving_;
  http::Client client_;
};

void take_body(Request& request, ResponseWriter& response) { response.send(request.body()); }

/// By pieces.
void count_body(Request& request, ResponseWriter& response) {
  std::size_t bytes = 0;
  std::byte piece[3];
  while (const std::size_t n = request.read_some(piece)) bytes += n;
  response.send(std::to_string(bytes));
}

TEST(ErrorReplyTest, RecoveryRepliesAsItIsTold) {
  weft::run([] {
    Lines access;
    Lines errors;
    http::Router router;
    router.use(http::logging(access.sink())).use(http::recovery(errors.sink(), http::write_json_error));
    router.get("/status", [](Request&, ResponseWriter& response) {
      response.header("Content-Encoding", "none").write("half a reply");
      throw http::StatusError(Status::conflict, "it is \"taken\"");
    });
    router.get("/broken", [](Request&, ResponseWriter&) { throw std::runtime_error("of no concern to you"); });
    router.get("/secret",
               [](Request&, ResponseWriter&) { throw http::StatusError(Status::bad_gateway, "db1 is down"); });
    Serving serving(router);

    http::Response reply = serving.ask("GET", "/status");
    EXPECT_EQ(reply.status(), Status::conflict);
    EXPECT_EQ(reply.header("Content-Type"), "application/json");
    EXPECT_FALSE(reply.headers().contains("Content-Encoding"));
    EXPECT_EQ(reply.text(), R"({"error":"it is \"taken\""})");
    reply = serving.ask("GET", "/broken");
    EXPECT_EQ(reply.status(), Status::internal_server_error);
    EXPECT_EQ(reply.text(), R"({"error":"Internal Server Error"})");
    EXPECT_EQ(serving.ask("GET", "/secret").text(), R"({"error":"Bad Gateway"})");
    EXPECT_THAT(errors.all(), testing::ElementsAre("GET /broken: of no concern to you", "GET /secret: db1 is down"));
    EXPECT_THAT(access.all(), testing::ElementsAre(testing::HasSubstr(" 409 "), testing::HasSubstr(" 500 "),
                                                   testing::HasSubstr(" 502 ")));
  });
}

TEST(ErrorReplyTest, WhatIsWrongWithABodyIsAReplyAsAnyOther) {
  weft::run([] {
    for (const http::Handler& handler : {http::Handler(take_body), http::Handler(count_body)}) {
      for (const bool is_recovered : {true, false}) {
        Lines access;
        Lines errors;
        http::Router router;
        router.use(http::logging(access.sink()));
        if (is_recovered) router.use(http::recovery(errors.sink(), http::write_json_error));
        router.post("/", handler);
        Serving serving(router);
        const auto shown = [&](std::string_view text) {
          return is_recovered ? "{\"error\":\"" + std::string(text) + "\"}" : std::string(text) + "\n";
        };

        EXPECT_EQ(serving.ask("POST", "/", "0123456789").status(), Status::ok);
        http::Response reply = serving.ask("POST", "/", "0123456789a");
        EXPECT_EQ(reply.status(), Status::content_too_large);
        EXPECT_EQ(reply.header("Connection"), "close");
        EXPECT_EQ(reply.text(), shown("the body of the message is too large"));
        const std::string post = "POST / HTTP/1.1\r\nHost: test\r\n";
        EXPECT_THAT(serving.raw(post + "Content-Length: 9\r\n\r\nfour"),
                    testing::AllOf(testing::StartsWith("HTTP/1.1 400 "), testing::HasSubstr("Connection: close\r\n"),
                                   testing::EndsWith(shown("unexpected EOF"))));
        // Whatever else stands behind it is not taken for a request.
        EXPECT_THAT(
            serving.raw(post + "Transfer-Encoding: chunked\r\n\r\nx\r\n" + post + "\r\n"),
            testing::AllOf(testing::StartsWith("HTTP/1.1 400 "), testing::Not(testing::HasSubstr("HTTP/1.1 200"))));
        EXPECT_THAT(access.all(), testing::ElementsAre(testing::HasSubstr(" 200 "), testing::HasSubstr(" 413 "),
                                                       testing::HasSubstr(" 400 "), testing::HasSubstr(" 400 ")));
        EXPECT_TRUE(errors.all().empty());
      }
    }
  });
}

TEST(ErrorReplyTest, ARouterHasItsOwnWordsForWhatItDoesNotServe) {
  weft::run([] {
    http::Router router;
    router.use(http::recovery([](std::string_view) {}, http::write_json_error));
    router.not_found([](Request& request, ResponseWriter&) {
      throw http::StatusError(Status::not_found, "no " + std::string(request.path()));
    });
    router.method_not_allowed([](Request& request, ResponseWriter& response) {
      EXPECT_EQ(response.headers().get("Allow"), "POST");
      throw http::StatusError(Status::method_not_allowed, "no " + std::string(request.method()));
    });
    router.post("/here", take_body);
    EXPECT_THROW(router.group("/group").method_not_allowed(take_body), std::invalid_argument);
    Serving serving(router);
    EXPECT_EQ(serving.ask("GET", "/there").text(), R"({"error":"no /there"})");
    http::Response reply = serving.ask("PUT", "/here", "x");
    EXPECT_EQ(reply.status(), Status::method_not_allowed);
    EXPECT_EQ(reply.header("Allow"), "POST");
    EXPECT_EQ(reply.text(), R"({"error":"no PUT"})");
    EXPECT_EQ(serving.ask("POST", "/here", "x").text(), "x");
  });
}

}  // namespace

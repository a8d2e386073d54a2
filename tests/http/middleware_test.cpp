// Logging, recovery, CORS, bearer tokens and time limits, each on a connection in memory.

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/http/json.hpp>
#include <weft/http/middleware.hpp>
#include <weft/http/router.hpp>
#include <weft/net/error.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>

#include "http_support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::http::bearer_auth;
using weft::http::cors;
using weft::http::CorsOptions;
using weft::http::Handler;
using weft::http::logging;
using weft::http::recovery;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Router;
using weft::http::Status;
using weft::http::StatusError;
using weft::test::get;
using weft::test::Lines;
using weft::test::Reply;
using weft::test::serve;
using weft::test::Served;

void hello(Request&, ResponseWriter& response) { response.send("hello"); }

/// What many handlers of one request each do wrong.
void fail(Request& request, ResponseWriter& response) {
  if (request.path() == "/begun") {
    response.write("begun");
    response.flush();
  }
  if (request.path() == "/status") throw StatusError(Status::conflict, "there is one already");
  if (request.path() == "/secret") throw StatusError(Status::bad_gateway, "db1 is down");
  if (request.path() == "/number") throw 42;
  throw std::runtime_error("broken");
}

TEST(HttpMiddlewareTest, ALineForEachRequest) {
  Lines lines;
  Router router;
  router.use(logging(lines.sink()));
  router.get("/hello", hello);
  router.get("/nothing", [](Request&, ResponseWriter& response) { response.status(Status::no_content); });
  for (const char* path : {"/begun", "/status", "/number", "/other"}) router.get(path, fail);
  for (const char* target : {"/hello?a=b", "/nothing", "/missing", "/status", "/number", "/other", "/begun"}) {
    serve(router, get(target));
  }
  serve(router, "POST /hello HTTP/1.1\r\nHost: test\r\n\r\n");
  const std::vector<std::string> all = lines.all();
  const std::vector<std::string> expected = {
      "GET /hello\\?a=b 200 5 bytes [0-9]+ us", "GET /nothing 204 0 bytes [0-9]+ us",
      "GET /missing 404 19 bytes [0-9]+ us",    "GET /status 409 0 bytes [0-9]+ us",
      "GET /number 500 0 bytes [0-9]+ us",      "GET /other 500 0 bytes [0-9]+ us",
      "GET /begun 500 5 bytes [0-9]+ us",       "POST /hello 405 23 bytes [0-9]+ us"};
  ASSERT_EQ(all.size(), expected.size());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_THAT(all[i], testing::MatchesRegex(expected[i]));
}

TEST(HttpMiddlewareTest, RecoveryRepliesWithinWhatStandsAroundIt) {
  Lines access;
  Lines errors;
  Router router;
  router.use(logging(access.sink())).use(recovery(errors.sink()));
  for (const char* path : {"/status", "/secret", "/other"}) router.get(path, fail);
  EXPECT_EQ(serve(router, get("/status")).reply().body, "there is one already\n");
  Reply reply = serve(router, get("/secret")).reply();
  EXPECT_EQ(reply.status, 502);
  EXPECT_EQ(reply.body, "Bad Gateway\n");  // what is for the log only
  reply = serve(router, get("/other")).reply();
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.body, "Internal Server Error\n");
  EXPECT_EQ(errors.all(), (std::vector<std::string>{"GET /secret: db1 is down", "GET /other: broken"}));
  EXPECT_THAT(access.all(), testing::ElementsAre(testing::StartsWith("GET /status 409 21 bytes"),
                                                 testing::StartsWith("GET /secret 502 12 bytes"),
                                                 testing::StartsWith("GET /other 500 22 bytes")));
}

TEST(HttpMiddlewareTest, RecoveryEndsAReplyThatHasBegun) {
  Lines errors;
  Router router;
  router.use(recovery(errors.sink()));
  router.get("/begun", fail);
  const Served served = serve(router, get("/begun"));
  EXPECT_FALSE(served.is_kept);
  const Reply reply = served.reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "begun");
  EXPECT_FALSE(reply.is_whole);
  EXPECT_THAT(errors.all(), testing::ElementsAre("GET /begun: broken"));
}

TEST(HttpMiddlewareTest, RecoveryRepliesAsItIsTold) {
  Router router;
  router.use(recovery([](std::string_view) {}, weft::http::write_json_error));
  router.get("/status", [](Request&, ResponseWriter& response) {
    response.header("Content-Encoding", "none").write("half a reply");
    throw StatusError(Status::conflict, "it is \"taken\"");
  });
  router.get("/secret", fail);
  Reply reply = serve(router, get("/status")).reply();
  EXPECT_EQ(reply.status, 409);
  EXPECT_EQ(reply.field("Content-Type"), "application/json");
  EXPECT_EQ(reply.field("Content-Encoding"), "");
  EXPECT_EQ(reply.body, R"({"error":"it is \"taken\""})");
  reply = serve(router, get("/secret")).reply();
  EXPECT_EQ(reply.status, 502);
  EXPECT_EQ(reply.body, R"({"error":"Bad Gateway"})");
}

TEST(HttpMiddlewareTest, WhatIsWrongWithABodyIsSeenAsItIsReplied) {
  const auto take_whole = [](Request& request, ResponseWriter& response) { response.send(request.body()); };
  const auto take_pieces = [](Request& request, ResponseWriter& response) {
    std::byte piece[2];
    std::size_t bytes = 0;
    while (const std::size_t n = request.read_some(piece)) bytes += n;
    response.send(std::to_string(bytes));
  };
  for (const Handler& handler : {Handler(take_whole), Handler(take_pieces)}) {
    for (const bool is_recovered : {true, false}) {
      Lines access;
      Lines errors;
      Router router;
      router.use(logging(access.sink()));
      if (is_recovered) router.use(recovery(errors.sink(), weft::http::write_json_error));
      router.post("/", handler);
      const auto expect = [&](const Served& served, int status, const std::string& text) {
        EXPECT_FALSE(served.is_kept);
        const Reply reply = served.reply();
        EXPECT_EQ(reply.status, status);
        EXPECT_EQ(reply.field("Connection"), "close");
        EXPECT_EQ(reply.body, is_recovered ? "{\"error\":\"" + text + "\"}" : text + "\n");
        EXPECT_THAT(access.all().back(), testing::StartsWith("POST / " + std::to_string(status)));
        EXPECT_TRUE(served.log.empty());
      };
      weft::test::Serving small;
      small.options.max_body_bytes = 3;
      EXPECT_EQ(serve(router, weft::test::post("/", "six"), small).status(), 200);
      expect(serve(router, weft::test::post("/", "four"), small), 413, "the body of the message is too large");
      const std::string nine = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nfour";
      expect(serve(router, nine), 400, "unexpected EOF");
      expect(serve(router, nine, {.is_open = true}), 408, "i/o timeout");  // the peer keeps it waiting
      EXPECT_TRUE(errors.all().empty());
    }
  }
}

std::string preflight(std::string_view origin) {
  return "OPTIONS /x HTTP/1.1\r\nHost: test\r\nOrigin: " + std::string(origin) +
         "\r\nAccess-Control-Request-Method: PUT\r\n\r\n";
}

TEST(HttpMiddlewareTest, CorsAnswersPreflightsWithoutTheHandler) {
  Router router;
  router.use(cors());
  router.put("/x", hello);
  Reply reply = serve(router, preflight("http://a.example")).reply();
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "*");
  EXPECT_EQ(reply.field("Access-Control-Allow-Methods"), "GET, POST, PUT, PATCH, DELETE, OPTIONS");
  EXPECT_EQ(reply.field("Access-Control-Allow-Headers"), "Origin, Content-Type, Authorization");
  EXPECT_EQ(reply.field("Access-Control-Max-Age"), "600");
  EXPECT_EQ(reply.field("Content-Length"), "");
  reply = serve(router, "PUT /x HTTP/1.1\r\nHost: test\r\nOrigin: http://a.example\r\n\r\n").reply();
  EXPECT_EQ(reply.body, "hello");
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "*");
  // Plain OPTIONS is the router's.
  EXPECT_EQ(serve(router, "OPTIONS /x HTTP/1.1\r\nHost: test\r\nOrigin: http://a.example\r\n\r\n").status(), 405);
}

TEST(HttpMiddlewareTest, CorsWithAListNamesTheOneThatAsksAndRepliesVary) {
  CorsOptions options;
  options.origins = {"https://a.example", "https://b.example"};
  options.allow_credentials = true;
  Router router;
  router.use(cors(options)).use(recovery([](std::string_view) {}));
  router.get("/x", hello).get("/other", fail);
  Reply reply = serve(router, get("/x", "Origin: https://b.example\r\n")).reply();
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "https://b.example");
  EXPECT_EQ(reply.field("Access-Control-Allow-Credentials"), "true");
  EXPECT_EQ(reply.field("Vary"), "Origin");
  for (const char* more : {"", "Origin: https://evil.example\r\n", "Origin: https://a.example.evil.example\r\n"}) {
    reply = serve(router, get("/x", more)).reply();
    EXPECT_EQ(reply.status, 200);
    EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "") << more;
    EXPECT_EQ(reply.field("Vary"), "Origin");
  }
  reply = serve(router, preflight("https://evil.example")).reply();
  EXPECT_EQ(reply.status, 204);
  EXPECT_EQ(reply.field("Access-Control-Allow-Methods"), "");
  // A page may read what went wrong, too.
  reply = serve(router, get("/other", "Origin: https://a.example\r\n")).reply();
  EXPECT_EQ(reply.status, 500);
  EXPECT_EQ(reply.field("Access-Control-Allow-Origin"), "https://a.example");
}

TEST(HttpMiddlewareTest, CorsRefusesCredentialsForEverybody) {
  CorsOptions options;
  options.allow_credentials = true;
  EXPECT_THROW(cors(options), std::invalid_argument);
}

TEST(HttpMiddlewareTest, BearerTokens) {
  std::vector<std::string> asked;
  Router router;
  Router api = router.group("/api");
  api.use(bearer_auth([&](Request&, std::string_view token) {
    asked.emplace_back(token);
    return token == "secret";
  }));
  api.get("/x", hello);
  router.get("/open", hello);
  const auto with = [&](std::string_view value) {
    return serve(router, get("/api/x", "Authorization: " + std::string(value) + "\r\n")).reply();
  };
  EXPECT_EQ(with("Bearer secret").body, "hello");
  EXPECT_EQ(with("bearer secret").body, "hello");
  EXPECT_EQ(asked, (std::vector<std::string>{"secret", "secret"}));
  Reply reply = with("Bearer wrong");
  EXPECT_EQ(reply.status, 401);
  EXPECT_EQ(reply.field("WWW-Authenticate"), "Bearer error=\"invalid_token\"");
  asked.clear();
  for (const char* value : {"", "Bearer", "Bearer ", "Basic c2VjcmV0", "secret", "Bearersecret"}) {
    reply = with(value);
    EXPECT_EQ(reply.status, 401) << value;
    EXPECT_EQ(reply.field("WWW-Authenticate"), "Bearer") << value;
  }
  EXPECT_EQ(serve(router, get("/api/x")).status(), 401);
  EXPECT_TRUE(asked.empty());
  EXPECT_EQ(serve(router, get("/open")).status(), 200);
}

TEST(HttpMiddlewareTest, AHandlerThatIsTooLateGivesA503) {
  weft::run([] {
    Router router;
    Router slow = router.group("/slow");
    slow.use(weft::http::timeout(1ms));
    slow.get("/waits", [](Request& request, ResponseWriter&) { weft::sleep_for(request.context(), 1h); });
    slow.get("/replies", [](Request& request, ResponseWriter& response) {
      weft::sleep_for(request.context(), 1h);
      response.send("all the same");
    });
    Router quick = router.group("/quick");
    quick.use(weft::http::timeout(1h));
    quick.get("/x", [](Request& request, ResponseWriter& response) {
      EXPECT_TRUE(request.context().deadline().has_value());
      response.status(Status::no_content);
    });
    const Served served = serve(router, get("/slow/waits"));
    EXPECT_EQ(served.status(), 503);
    EXPECT_EQ(serve(router, get("/slow/replies")).reply().body, "all the same");
    EXPECT_EQ(serve(router, get("/quick/x")).status(), 204);
  });
}

}  // namespace

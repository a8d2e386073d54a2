// What a well-behaved client sees: connections that are kept, pipelines, lengths and chunks, streams, errors.

#include <atomic>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/http/server.hpp>
#include <weft/runtime.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using weft::http::Handler;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Status;
using weft::http::StatusError;
using weft::test::get;
using weft::test::Peer;
using weft::test::post;
using weft::test::Reply;
using weft::test::serve;
using weft::test::Served;
using weft::test::take_replies;
using weft::test::TestServer;
namespace http = weft::http;
namespace test = weft::test;

void hello(Request&, ResponseWriter& response) { response.send("hello"); }
/// The target, as text.
void repeat(Request& request, ResponseWriter& response) { response.send(request.target()); }

// --- connections ---

TEST(HttpServerTest, AConnectionIsKeptForMoreRequests) {
  weft::run([] {
    TestServer server(repeat);
    Peer peer(server);
    for (int i = 0; i < test::rounds(1'000); ++i) {
      const Reply reply = peer.ask(get("/" + std::to_string(i)));
      EXPECT_EQ(reply.status, 200);
      EXPECT_EQ(reply.reason, "OK");
      EXPECT_EQ(reply.body, "/" + std::to_string(i));
      EXPECT_EQ(reply.field("Connection"), "");
    }
    EXPECT_EQ(server.server().stats().accepted, 1U);
    EXPECT_EQ(server.server().stats().requests, static_cast<std::uint64_t>(test::rounds(1'000)));
    EXPECT_EQ(server.end(), http::errc::server_closed);
    EXPECT_TRUE(peer.is_ended());
    EXPECT_TRUE(server.log().empty());
  });
}

TEST(HttpServerTest, WhoAsksForItIsHungUpOn) {
  weft::run([] {
    TestServer server(hello);
    Peer peer(server);
    const Reply reply = peer.ask(get("/", "Connection: close\r\n"));
    EXPECT_EQ(reply.field("Connection"), "close");
    EXPECT_TRUE(peer.is_ended());
    EXPECT_EQ(peer.error(), weft::net::errc::eof);
  });
}

TEST(HttpServerTest, AClientOf10IsHungUpOnUnlessItAsks) {
  Served served = serve(hello, "GET / HTTP/1.0\r\n\r\n", {.is_open = true});
  EXPECT_EQ(served.reply().body, "hello");
  EXPECT_EQ(served.reply().field("Connection"), "close");
  EXPECT_FALSE(served.is_kept);
  served = serve(hello, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {.is_open = true});
  EXPECT_EQ(served.reply().field("Connection"), "keep-alive");
  EXPECT_TRUE(served.is_kept);
  // Of unknown length: the end of the connection tells it.
  served = serve(
      [](Request& request, ResponseWriter& response) {
        EXPECT_EQ(request.version(), 10);
        response.write("hel");
        response.flush();
        response.write("lo");
      },
      "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", {.is_open = true});
  EXPECT_EQ(served.reply().body, "hello");
  EXPECT_EQ(served.reply().field("Transfer-Encoding"), "");
  EXPECT_EQ(served.reply().field("Connection"), "close");
  EXPECT_FALSE(served.is_kept);
}

TEST(HttpServerTest, TheHandlerMayHangUp) {
  const Served served =
      serve([](Request&, ResponseWriter& response) { response.header("Connection", "close").send("bye"); },
            get("/") + get("/"));
  EXPECT_EQ(served.reply().field("Connection"), "close");
}

TEST(HttpServerTest, APipelineIsAnsweredInOrder) {
  std::string input;
  for (int i = 0; i < 500; ++i) input += get("/" + std::to_string(i), i % 3 == 0 ? "X-Filler: something\r\n" : "");
  input += "\r\n" + post("/body", "with a body") + "\r\n\r\n" + get("/end");
  for (const std::size_t piece : {std::size_t{0}, std::size_t{1}, std::size_t{7}, std::size_t{1'000}}) {
    const Served served = serve(repeat, input, {.piece = piece, .is_open = true});
    EXPECT_TRUE(served.is_kept);
    const std::vector<Reply> replies = take_replies(served.output);
    ASSERT_EQ(replies.size(), 502U);
    for (std::size_t i = 0; i < 500; ++i) EXPECT_EQ(replies[i].body, "/" + std::to_string(i));
    EXPECT_EQ(replies[501].body, "/end");
  }
}

TEST(HttpServerTest, APipelineThroughASocket) {
  weft::run([] {
    TestServer server(repeat);
    Peer peer(server);
    weft::WaitGroup writing;
    const int count = test::rounds(5'000);
    writing.go([&] {
      for (int i = 0; i < count; ++i) peer.send(get("/" + std::to_string(i)));
    });
    for (int i = 0; i < count; ++i) {
      const std::optional<Reply> reply = peer.read_reply();
      ASSERT_TRUE(reply.has_value());
      ASSERT_EQ(reply->body, "/" + std::to_string(i));
    }
    writing.wait();
  });
}

// All that is there is served before anything is written: the replies go out together.
TEST(HttpServerTest, RepliesOfAPipelineGoOutTogetherButNotWithoutEnd) {
  const std::string large(4'000, 'x');
  std::string input;
  for (int i = 0; i < 1'000; ++i) input += get("/");
  const Served served =
      serve([&](Request&, ResponseWriter& response) { response.write(large); }, input, {.is_open = true});
  EXPECT_EQ(take_replies(served.output).size(), 1'000U);
  EXPECT_LT(served.largest_write, 100'000U);
  EXPECT_LT(served.writes, 500U);
}

TEST(HttpServerTest, AHalfClosedPeerGetsItsReplies) {
  weft::run([] {
    TestServer server(repeat);
    Peer peer(server);
    peer.send(get("/1") + get("/2"));
    EXPECT_FALSE(peer.stream().shutdown_write());
    EXPECT_EQ(peer.read_reply()->body, "/1");
    EXPECT_EQ(peer.read_reply()->body, "/2");
    EXPECT_TRUE(peer.is_ended());
  });
}

TEST(HttpServerTest, SeveralListenersShareAServer) {
  weft::run([] {
    TestServer server(hello);
    const std::string second = server.listen();
    EXPECT_EQ(Peer(second).ask(get("/")).body, "hello");
    EXPECT_EQ(Peer(server).ask(get("/")).body, "hello");
    EXPECT_EQ(server.server().stats().accepted, 2U);
  });
}

// --- what a handler sees ---

TEST(HttpServerTest, ARequestIsTakenApart) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    EXPECT_EQ(request.method(), "PATCH");
    EXPECT_EQ(request.target(), "/a%20b//c?x=1&y=%26+z&x=2&flag&=nameless&u[]=7&bad=%zz&last=");
    EXPECT_EQ(request.path(), "/a%20b//c");
    EXPECT_EQ(request.version(), 11);
    EXPECT_EQ(request.host(), "test.example:8080");
    EXPECT_EQ(request.header("x-one"), "1");
    EXPECT_EQ(request.headers().values("X-Two").size(), 2U);
    EXPECT_EQ(request.query("x"), "1");
    EXPECT_EQ(request.query("y"), "& z");
    EXPECT_EQ(request.query("flag"), "");
    EXPECT_EQ(request.query("u[]"), "7");
    EXPECT_EQ(request.query("last"), "");
    EXPECT_EQ(request.query("missing"), std::nullopt);
    EXPECT_EQ(request.query("bad"), std::nullopt);
    EXPECT_EQ(request.queries().size(), 7U);
    EXPECT_EQ(request.param("id"), "");
    EXPECT_EQ(request.route(), "");
    EXPECT_FALSE(request.is_tls());
    EXPECT_EQ(request.content_length(), 0U);
    EXPECT_EQ(request.body(), "");
    response.status(Status::no_content);
  };
  EXPECT_EQ(serve(handler,
                  "PATCH /a%20b//c?x=1&y=%26+z&x=2&flag&=nameless&u[]=7&bad=%zz&last= HTTP/1.1\r\n"
                  "Host: test.example:8080\r\nX-One:1\r\nX-Two: \t a \t\r\nx-two:b\r\n\r\n")
                .status(),
            204);
}

TEST(HttpServerTest, ThePeersAddressIsTold) {
  weft::run([] {
    TestServer server([](Request& request, ResponseWriter& response) { response.send(request.peer().to_string()); });
    Peer peer(server);
    EXPECT_EQ(peer.ask(get("/")).body, peer.stream().local().to_string());
  });
}

TEST(HttpServerTest, TargetsInEveryForm) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    response.send(std::string(request.host()) + " " + std::string(request.path()) + " " +
                  request.query("q").value_or("-"));
  };
  const auto ask = [&](std::string_view first) {
    return serve(handler, std::string(first) + " HTTP/1.1\r\nHost: header\r\n\r\n").reply();
  };
  EXPECT_EQ(ask("GET /x?q=1").body, "header /x 1");
  EXPECT_EQ(ask("GET /x?q=1?2").body, "header /x 1?2");
  EXPECT_EQ(ask("GET //x").body, "header //x -");
  EXPECT_EQ(ask("GET http://url:81/x?q=1").body, "url:81 /x 1");
  EXPECT_EQ(ask("GET https://url").body, "url / -");
  EXPECT_EQ(ask("GET http://url?q=1").body, "url / 1");
  EXPECT_EQ(ask("OPTIONS *").body, "header * -");
  for (const char* first : {"GET *", "GET x", "GET ?q", "CONNECT host:80", "GET ftp://url/x", "GET http:", "GET #"}) {
    EXPECT_EQ(ask(first).status, 400) << first;
  }
}

// --- replies ---

TEST(HttpServerTest, AShortReplyHasALengthAndALongOneComesInChunks) {
  const auto writes = [](std::size_t size, std::size_t piece) {
    return serve(
               [=](Request&, ResponseWriter& response) {
                 for (std::size_t left = size; left > 0;) {
                   const std::size_t n = std::min(left, piece);
                   EXPECT_FALSE(response.write(std::string(n, 'x')));
                   left -= n;
                 }
                 EXPECT_EQ(response.body_bytes(), size);
               },
               get("/"))
        .reply();
  };
  for (const std::size_t size : {0U, 1U, 4'096U, 4'097U, 100'000U}) {
    for (const std::size_t piece : {std::size_t{13}, std::size_t{4'096}, std::size_t{70'000}}) {
      const Reply reply = writes(size, piece);
      EXPECT_EQ(reply.body, std::string(size, 'x'));
      EXPECT_TRUE(reply.is_whole);
      EXPECT_EQ(reply.field("Content-Length"), size <= 4'096 ? std::to_string(size) : "");
      EXPECT_EQ(reply.field("Content-Type"), size == 0 ? "" : "text/plain; charset=utf-8");
    }
  }
}

TEST(HttpServerTest, EveryReplyHasADate) {
  const std::string date = serve(hello, get("/")).reply().field("Date");
  EXPECT_THAT(date, testing::MatchesRegex("[A-Z][a-z][a-z], [0-9][0-9] [A-Z][a-z][a-z] 20[0-9][0-9] "
                                          "[0-9][0-9]:[0-9][0-9]:[0-9][0-9] GMT"));
}

TEST(HttpServerTest, HeadGetsTheHeadOnly) {
  const auto head = [](const Handler& handler) {
    const Served served = serve(handler, "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n" + get("/"));
    std::string output = served.output;
    const auto none = [](std::string&) { return false; };
    Reply reply = *test::take_reply(output, none, true);
    const Reply whole = *test::take_reply(output, none);
    EXPECT_EQ(reply.status, whole.status);
    EXPECT_EQ(reply.fields, whole.fields);
    EXPECT_TRUE(output.empty());
    return reply;
  };
  EXPECT_EQ(head(hello).field("Content-Length"), "5");
  EXPECT_EQ(head([](Request&, ResponseWriter& response) { response.write("abc"); }).field("Content-Length"), "3");
  EXPECT_EQ(head([](Request&, ResponseWriter& response) {
              for (int i = 0; i < 100; ++i) response.write(std::string(1'000, 'x'));
            }).field("Transfer-Encoding"),
            "chunked");
  EXPECT_EQ(head([](Request&, ResponseWriter& response) { response.error(Status::gone, "gone"); }).status, 410);
  // It need not be written.
  const Served served = serve([](Request&, ResponseWriter& response) { response.header("Content-Length", "1000000"); },
                              "HEAD / HTTP/1.1\r\nHost: test\r\n\r\n", {.is_open = true});
  EXPECT_THAT(served.output, testing::HasSubstr("\r\nContent-Length: 1000000\r\n"));
  EXPECT_TRUE(served.is_kept);
  EXPECT_TRUE(served.log.empty());
}

TEST(HttpServerTest, StatusesWithoutABodyHaveNone) {
  for (const Status status : {Status::no_content, Status::not_modified}) {
    const Served served = serve(
        [&](Request& request, ResponseWriter& response) {
          response.status(status).header("Content-Length", "5");
          if (request.path() == "/flush") {
            EXPECT_FALSE(response.flush());
          }
          EXPECT_EQ(response.write("hello"), http::errc::no_body_allowed);
          EXPECT_EQ(response.body_bytes(), 0U);
        },
        get("/") + get("/flush"), {.is_open = true});
    EXPECT_TRUE(served.is_kept);
    const std::vector<Reply> replies = take_replies(served.output);
    ASSERT_EQ(replies.size(), 2U);
    for (const Reply& reply : replies) {
      EXPECT_EQ(reply.status, code(status));
      EXPECT_EQ(reply.field("Content-Length"), "");
      EXPECT_EQ(reply.field("Transfer-Encoding"), "");
    }
  }
}

TEST(HttpServerTest, APromisedLengthIsKept) {
  const auto promise = [](std::string_view length, std::vector<std::string> pieces) {
    return serve(
        [=](Request&, ResponseWriter& response) {
          response.header("Content-Length", length);
          for (const std::string& piece : pieces) response.write(piece);
        },
        get("/"), {.is_open = true});
  };
  Served served = promise("10", {"hello", "world"});
  EXPECT_EQ(served.reply().body, "helloworld");
  EXPECT_TRUE(served.is_kept);
  // What is too much is not sent.
  served = promise("5", {"hello", "world"});
  EXPECT_EQ(served.reply().body, "hello");
  EXPECT_TRUE(served.is_kept);
  // What is too little cannot be mended.
  served = promise("10", {"hello"});
  EXPECT_FALSE(served.reply().is_whole);
  EXPECT_FALSE(served.is_kept);
  EXPECT_THAT(served.log, testing::ElementsAre("GET /: the handler has written less than its Content-Length"));
  served = promise("10", {});
  EXPECT_FALSE(served.is_kept);
  // What is no length is none.
  for (const char* length : {"", "x", "-1", "+5", "5x", "0x5", "99999999999999999999999", "5, 5"}) {
    served = promise(length, {"hello"});
    EXPECT_EQ(served.reply().body, "hello") << length;
    EXPECT_EQ(served.reply().field("Content-Length"), "5") << length;
  }
}

TEST(HttpServerTest, AWriteBeyondTheLengthSaysSo) {
  serve(
      [](Request&, ResponseWriter& response) {
        response.header("Content-Length", "5");
        EXPECT_FALSE(response.write("hello"));
        EXPECT_EQ(response.write("!"), http::errc::wrong_length);
      },
      get("/"));
  serve(
      [](Request&, ResponseWriter& response) {
        response.send("hello");
        EXPECT_EQ(response.write("!"), http::errc::wrong_length);
      },
      get("/"));
}

TEST(HttpServerTest, ALengthThatIsPromisedAfterTheFirstWriteCountsIt) {
  const auto late = [](std::string_view length, bool flushes) {
    return serve(
        [=](Request&, ResponseWriter& response) {
          response.write("hello");
          response.header("Content-Length", length);
          if (flushes) response.flush();
          response.write("world");
        },
        get("/"), {.is_open = true});
  };
  for (const bool flushes : {false, true}) {
    Served served = late("10", flushes);
    EXPECT_EQ(served.reply().body, "helloworld");
    EXPECT_TRUE(served.is_kept);
    served = late("7", flushes);  // a write is whole or not at all
    EXPECT_EQ(served.reply().body, "hello");
    EXPECT_FALSE(served.is_kept);
    served = late("3", flushes);  // more is written already: it is no promise
    EXPECT_EQ(served.reply().body, "helloworld");
    EXPECT_TRUE(served.is_kept);
  }
}

TEST(HttpServerTest, RedirectsAndErrors) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    if (request.path() == "/old") return void(response.redirect("/new?a=b"));
    if (request.path() == "/moved") return void(response.redirect("/new", Status::moved_permanently));
    response.write("half a rep");
    response.header("Content-Length", "100").header("Content-Encoding", "br").header("X-Stays", "yes");
    response.error(Status::conflict, "no");
  };
  Reply reply = serve(handler, get("/old")).reply();
  EXPECT_EQ(reply.status, 302);
  EXPECT_EQ(reply.field("Location"), "/new?a=b");
  reply = serve(handler, get("/moved")).reply();
  EXPECT_EQ(reply.status, 301);
  EXPECT_EQ(reply.reason, "Moved Permanently");
  reply = serve(handler, get("/x")).reply();
  EXPECT_EQ(reply.status, 409);
  EXPECT_EQ(reply.body, "no\n");
  EXPECT_EQ(reply.field("Content-Encoding"), "");
  EXPECT_EQ(reply.field("X-Stays"), "yes");
}

TEST(HttpServerTest, WhatTheServerSaysItselfCannotBeSaidTwice) {
  const Reply reply = serve(
                          [](Request&, ResponseWriter& response) {
                            response.headers()
                                .add("Transfer-Encoding", "chunked")
                                .add("Date", "today")
                                .add("content-length", "5")
                                .add("Content-Length", "6")
                                .add("Connection", "upgrade")
                                .add("Set-Cookie", "a=1")
                                .add("Set-Cookie", "b=2");
                            response.send("hello");
                          },
                          get("/"))
                          .reply();
  EXPECT_EQ(reply.body, "hello");
  EXPECT_EQ(reply.field("Transfer-Encoding"), "");
  EXPECT_EQ(reply.field("Content-Length"), "5");
  EXPECT_NE(reply.field("Date"), "today");
  EXPECT_EQ(std::count_if(reply.fields.begin(), reply.fields.end(),
                          [](const auto& field) { return field.first == "Set-Cookie"; }),
            2);
}

TEST(HttpServerTest, AHeadThatIsSentCannotBeChanged) {
  serve(
      [](Request&, ResponseWriter& response) {
        EXPECT_FALSE(response.has_begun());
        EXPECT_THROW(response.status(static_cast<Status>(0)), weft::Panic);
        EXPECT_THROW(response.status(static_cast<Status>(100)), weft::Panic);
        EXPECT_THROW(response.status(static_cast<Status>(1000)), weft::Panic);
        response.status(static_cast<Status>(299));
        response.flush();
        EXPECT_TRUE(response.has_begun());
        EXPECT_THROW(response.status(Status::ok), weft::Panic);
        EXPECT_THROW(response.send(Status::ok, "text/plain", "x"), weft::Panic);
        EXPECT_EQ(response.error(Status::gone, "x"), http::errc::wrong_length);
        EXPECT_EQ(response.status(), static_cast<Status>(299));
      },
      get("/"));
}

}  // namespace

// Bodies of requests: lengths and chunks, limits, "Expect: 100-continue", what a handler leaves unread; and streams in both
// directions.

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/http/server.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Status;
using weft::test::get;
using weft::test::Peer;
using weft::test::post;
using weft::test::Reply;
using weft::test::serve;
using weft::test::Served;
using weft::test::Serving;
using weft::test::take_replies;
using weft::test::TestServer;
namespace http = weft::http;
namespace test = weft::test;

void echo(Request& request, ResponseWriter& response) { response.send(Status::ok, "text/plain", request.body()); }
void ignore(Request&, ResponseWriter& response) { response.send("ignored"); }

/// Body and error of a request that is read by pieces of that size.
struct Read {
  std::string body;
  std::error_code error;
};
Read read_all(Request& request, std::size_t piece) {
  Read read;
  std::string buffer(piece, '\0');
  while (!read.error) {
    const std::size_t n = request.read_some(std::as_writable_bytes(std::span(buffer)), read.error);
    EXPECT_EQ(n == 0, static_cast<bool>(read.error));
    read.body.append(buffer, 0, n);
  }
  return read;
}

std::string pattern(std::size_t size) {
  std::string text(size, '\0');
  test::Lcg random;
  for (char& c : text) c = static_cast<char>(random.below(256));
  return text;
}

std::string chunked(std::string_view chunks, std::string_view more = {}) {
  return "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n" + std::string(more) + "\r\n" +
         std::string(chunks);
}

std::string in_chunks(std::string_view body, std::size_t size) {
  std::string text;
  for (; !body.empty(); body.remove_prefix(std::min(size, body.size()))) {
    char head[32];
    std::snprintf(head, sizeof head, "%zX\r\n", std::min(size, body.size()));
    text.append(head).append(body.substr(0, size)).append("\r\n");
  }
  return text + "0\r\n\r\n";
}

TEST(HttpBodyTest, LengthsAndChunksInPiecesOfEverySize) {
  const std::string body = pattern(3'000);
  const std::string input = post("/", body) + chunked(in_chunks(body, 1)) + chunked(in_chunks(body, 700)) +
                            chunked(in_chunks(body, 5'000)) + post("/", "") + chunked("0\r\n\r\n") + get("/");
  for (const std::size_t comes : {0U, 1U, 2U, 3U, 5U, 4'096U}) {
    for (const std::size_t read : {1U, 64U, 5'000U}) {
      const auto handler = [&](Request& request, ResponseWriter& response) {
        const Read got = read_all(request, read);
        EXPECT_EQ(got.error, http::errc::eof);
        response.send(Status::ok, "application/octet-stream", got.body);
      };
      const Served served = serve(handler, input, {.piece = comes, .is_open = true});
      EXPECT_TRUE(served.is_kept);
      const std::vector<Reply> replies = take_replies(served.output);
      ASSERT_EQ(replies.size(), 7U);
      for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(replies[i].body, i < 4 ? body : "") << i;
    }
  }
}

TEST(HttpBodyTest, TheLengthIsToldIfItIsKnown) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    const std::optional<std::uint64_t> length = request.content_length();
    response.send(length ? std::to_string(*length) : "chunks");
  };
  const Served served = serve(handler, post("/", "12345") + chunked("0\r\n\r\n") + get("/"));
  const std::vector<Reply> replies = take_replies(served.output);
  ASSERT_EQ(replies.size(), 3U);
  EXPECT_EQ(replies[0].body, "5");
  EXPECT_EQ(replies[1].body, "chunks");
  EXPECT_EQ(replies[2].body, "0");
}

TEST(HttpBodyTest, TheWholeBodyMayBeAskedForAgain) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    std::byte first{};
    std::error_code error;
    EXPECT_EQ(request.read_some({&first, 1}, error), 1U);
    EXPECT_EQ(request.read_some({}, error), 0U);
    EXPECT_FALSE(error);
    const std::string& body = request.body();
    EXPECT_EQ(&body, &request.body());
    response.send(body);
  };
  EXPECT_EQ(serve(handler, post("/", "hello")).reply().body, "ello");
}

TEST(HttpBodyTest, ExtensionsAndTrailersOfChunksAreSkipped) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    const std::string body = request.body();
    EXPECT_FALSE(request.headers().contains("X-Late"));
    EXPECT_EQ(request.headers().values("X-Early").size(), 1U);
    response.send(body);
  };
  const std::string input =
      chunked("00005;name=value;flag;quoted=\"a;\\\"b\"\r\nhello\r\n0;end\r\nX-Late: 1\r\nX-Early: again\r\n\r\n",
              "X-Early: 1\r\n");
  for (const std::size_t piece : {0U, 1U}) {
    const Served served = serve(handler, input, {.piece = piece, .is_open = true});
    EXPECT_EQ(served.reply().body, "hello");
    EXPECT_TRUE(served.is_kept);
  }
}

TEST(HttpBodyTest, ABodyThatIsCutOffIsTruncated) {
  const std::string whole = chunked("5\r\nhello\r\n0\r\n\r\n");
  for (std::size_t size = whole.find("\r\n\r\n") + 4; size < whole.size(); ++size) {
    const Served served = serve(
        [](Request& request, ResponseWriter& response) {
          const Read got = read_all(request, 100);
          EXPECT_EQ(got.error, http::errc::truncated);
          EXPECT_TRUE(std::string("hello").starts_with(got.body));
          response.send("noted");
        },
        std::string_view(whole).substr(0, size));
    EXPECT_EQ(served.reply().body, "noted");
    EXPECT_FALSE(served.is_kept);
  }
  EXPECT_EQ(serve(echo, "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 6\r\n\r\nhello").status(), 400);
}

TEST(HttpBodyTest, TooMuchIsRefused) {
  Serving small;
  small.options.max_body_bytes = 5;
  small.is_open = true;
  EXPECT_EQ(serve(echo, post("/", "12345"), small).reply().body, "12345");
  EXPECT_EQ(serve(echo, chunked("3\r\n123\r\n2\r\n45\r\n0\r\n\r\n"), small).reply().body, "12345");
  for (const std::string& input :
       {post("/", "123456"), chunked("6\r\n123456\r\n0\r\n\r\n"), chunked("3\r\n123\r\n3\r\n456\r\n0\r\n\r\n"),
        chunked("FFFFFFFFFFFFFFFF\r\n123456")}) {
    const Served served = serve(echo, input, small);
    const Reply reply = served.reply();
    EXPECT_EQ(reply.status, 413);
    EXPECT_EQ(reply.reason, "Content Too Large");
    EXPECT_FALSE(served.is_kept);
    EXPECT_TRUE(served.log.empty());
  }
  // Nothing is read of what says that it is too much.
  const auto careful = [](Request& request, ResponseWriter& response) {
    const Read got = read_all(request, 1);
    EXPECT_EQ(got.body, "");
    EXPECT_EQ(got.error, http::errc::body_too_large);
    response.error(Status::content_too_large, "no");
  };
  EXPECT_EQ(serve(careful, post("/", "123456"), small).status(), 413);
}

TEST(HttpBodyTest, ARequestMayHaveALimitOfItsOwn) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    request.set_max_body_bytes(request.path() == "/upload" ? 1'000 : 3);
    response.send(request.body());
  };
  Serving small;
  small.options.max_body_bytes = 5;
  EXPECT_EQ(serve(handler, post("/upload", std::string(1'000, 'x')), small).status(), 200);
  EXPECT_EQ(serve(handler, post("/upload", std::string(1'001, 'x')), small).status(), 413);
  EXPECT_EQ(serve(handler, post("/", "1234"), small).status(), 413);
  // The next request has the server's again.
  const Served served = serve(handler, post("/upload", std::string(10, 'x')) + post("/", "1234"), small);
  EXPECT_EQ(take_replies(served.output).back().status, 413);
}

TEST(HttpBodyTest, WhatAHandlerLeavesIsSkipped) {
  for (const std::string& input :
       {post("/", std::string(200'000, 'x')), chunked(in_chunks(std::string(9'000, 'x'), 4'000))}) {
    const Served served = serve(ignore, input + get("/"), {.is_open = true});
    EXPECT_TRUE(served.is_kept);
    EXPECT_EQ(take_replies(served.output).size(), 2U);
  }
  // Unless that takes too long: what would be taken for the next request is not served.
  for (const std::string& input :
       {post("/", std::string(300'000, 'x')), chunked(in_chunks(std::string(300'000, 'x'), 4'000))}) {
    const Served served = serve(ignore, input + get("/"), {.is_open = true});
    EXPECT_FALSE(served.is_kept);
    EXPECT_EQ(served.reply().body, "ignored");
  }
  EXPECT_EQ(serve(ignore, post("/", std::string(300'000, 'x'))).reply().field("Connection"), "close");
  // And unless it is broken.
  const Served served = serve(ignore, chunked("nonsense\r\n") + get("/"), {.is_open = true});
  EXPECT_FALSE(served.is_kept);
  EXPECT_EQ(served.reply().body, "ignored");
}

// --- Expect: 100-continue ---

std::string expecting(std::string_view body, std::string_view version = "1.1") {
  return "POST / HTTP/" + std::string(version) +
         "\r\nHost: test\r\nExpect: 100-Continue\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n";
}

TEST(HttpBodyTest, AClientThatWaitsIsToldToGoOnWhenTheBodyIsAskedFor) {
  weft::run([] {
    const auto asked = weft::make_chan<weft::Unit>();
    TestServer server([&](Request& request, ResponseWriter& response) {
      asked.recv();
      echo(request, response);
    });
    Peer peer(server);
    for (int i = 0; i < 3; ++i) {
      peer.send(expecting("hello"));
      asked.send({});
      const std::optional<Reply> first = peer.read_reply();
      ASSERT_TRUE(first.has_value());
      EXPECT_EQ(first->status, 100);
      EXPECT_TRUE(first->fields.empty());
      EXPECT_EQ(peer.ask("hello").body, "hello");
    }
  });
}

TEST(HttpBodyTest, AClientThatDoesNotWaitIsNotToldToGoOn) {
  EXPECT_EQ(serve(echo, expecting("hello") + "hello").reply().body, "hello");
  // One of HTTP/1.0 does not know what that is.
  EXPECT_EQ(serve(echo, expecting("hello", "1.0") + "hello", {.piece = 1}).reply().body, "hello");
}

TEST(HttpBodyTest, AClientWhoseBodyNobodyWantsIsNotToldToGoOn) {
  weft::run([] {
    http::ServerOptions options;
    options.max_body_bytes = 3;
    TestServer server(
        [](Request& request, ResponseWriter& response) {
          request.path() == "/" ? echo(request, response) : ignore(request, response);
        },
        options);
    Peer peer(server);
    Reply reply = peer.ask(expecting("hello"));
    EXPECT_EQ(reply.status, 413);
    EXPECT_EQ(reply.field("Connection"), "close");
    EXPECT_TRUE(peer.is_ended());

    Peer other(server);
    reply = other.ask("POST /x HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    EXPECT_EQ(reply.body, "ignored");
    EXPECT_EQ(reply.field("Connection"), "close");  // or the body would be taken for a request, or the other way round
    EXPECT_TRUE(other.is_ended());
  });
}

TEST(HttpBodyTest, NothingIsAskedForAfterTheReplyHasBegun) {
  const Served served = serve(
      [](Request& request, ResponseWriter& response) {
        response.write("begun");
        response.flush();
        response.write(request.body());
      },
      expecting("hello") + "hello", {.piece = 1});
  EXPECT_EQ(served.reply().body, "begunhello");
}

// --- streams ---

TEST(HttpBodyTest, WhatIsFlushedGoesOutBeforeTheHandlerReturns) {
  weft::run([] {
    const auto next = weft::make_chan<std::string>();
    TestServer server([&](Request&, ResponseWriter& response) {
      response.header("Content-Type", "text/event-stream");
      EXPECT_FALSE(response.flush());
      for (const std::string& text : next) {
        EXPECT_FALSE(response.write(text));
        EXPECT_FALSE(response.flush());
      }
    });
    Peer peer(server);
    peer.send(get("/"));
    std::string input;
    const auto read_until = [&](std::string_view end) {
      std::byte buffer[100];
      while (!input.ends_with(end)) {
        input.append(reinterpret_cast<const char*>(buffer), peer.stream().read_some(buffer));
      }
    };
    read_until("\r\n\r\n");
    EXPECT_THAT(input, testing::HasSubstr("Transfer-Encoding: chunked"));
    for (const char* text : {"one", "two"}) {
      next.send(text);
      read_until("3\r\n" + std::string(text) + "\r\n");
    }
    next.close();
    read_until("\r\n0\r\n\r\n");
  });
}

TEST(HttpBodyTest, BodiesOfTenMegabytesGoBothWays) {
  weft::run([] {
    const std::string body = pattern(10'000'000);
    TestServer server([&](Request& request, ResponseWriter& response) {
      if (request.path() == "/stream") {
        std::byte buffer[10'000];
        std::error_code error;
        while (const std::size_t n = request.read_some(buffer, error)) {
          response.write({reinterpret_cast<const char*>(buffer), n});
        }
        EXPECT_EQ(error, http::errc::eof);
      } else {
        echo(request, response);
      }
    });
    const std::string head = " HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const std::string& request :
         {post("/whole", body), post("/stream", body), "PUT /whole" + head + in_chunks(body, 100'000),
          "PUT /stream" + head + in_chunks(body, 777)}) {
      Peer peer(server);
      weft::WaitGroup sending;
      sending.go([&] { EXPECT_TRUE(peer.send(request)); });
      const std::optional<Reply> reply = peer.read_reply();
      ASSERT_TRUE(reply.has_value());
      EXPECT_EQ(reply->status, 200);
      EXPECT_TRUE(reply->body == body);
      sending.wait();
    }
  });
}

}  // namespace

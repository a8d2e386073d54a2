// Requests that no client sends by mistake: each of these has been the way around some proxy or into some server. What is
// unclear is refused, and the connection ends, so that nothing after it is taken for a request.

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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
using weft::test::Reply;
using weft::test::serve;
using weft::test::Served;
using weft::test::Serving;
using weft::test::take_replies;
using weft::test::TestServer;
namespace http = weft::http;
namespace test = weft::test;
using namespace std::string_literals;

void echo(Request& request, ResponseWriter& response) { response.send(Status::ok, "text/plain", request.body()); }

/// What comes of a request that is followed by another one, whatever the pieces it comes in: one status, and the connection ends.
int refusal(const std::string& input) {
  std::vector<int> statuses;
  for (const std::size_t piece : {0U, 1U}) {
    const Served served = serve(echo, input + get("/smuggled"), {.piece = piece});
    EXPECT_FALSE(served.is_kept) << input;
    const std::vector<Reply> replies = take_replies(served.output);
    EXPECT_EQ(replies.size(), 1U) << input;
    if (replies.empty()) return 0;
    EXPECT_EQ(replies.front().field("Connection"), "close") << input;
    statuses.push_back(replies.front().status);
  }
  EXPECT_EQ(statuses.front(), statuses.back()) << input;
  return statuses.front();
}

std::string with(std::string_view more, std::string_view body = {}) {
  return "POST / HTTP/1.1\r\nHost: test\r\n" + std::string(more) + "\r\n" + std::string(body);
}

TEST(HttpHostileTest, TwoWaysToTellTheLengthAreRefused) {
  const std::string chunks = "5\r\nhello\r\n0\r\n\r\n";
  for (const char* more :
       {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(refusal(with(more, chunks)), 400) << more;
  }
  // Twice the same is once.
  const Served served =
      serve(echo, with("Content-Length: 5\r\nContent-Length: 5\r\n", "hello") + get("/"), {.is_open = true});
  EXPECT_EQ(take_replies(served.output).front().body, "hello");
  EXPECT_EQ(take_replies(served.output).size(), 2U);
}

TEST(HttpHostileTest, EncodingsThatOnlySomeoneElseUnderstandsAreRefused) {
  const std::string chunks = "5\r\nhello\r\n0\r\n\r\n";
  for (const char* encoding :
       {"xchunked", "chunkedx", "chunked, identity", "identity", "gzip, chunked", "chunked, chunked", "\"chunked\"",
        "'chunked'", "chunked;q=1", "", ",", "chun ked", "gzip"}) {
    const int status = refusal(with("Transfer-Encoding: " + std::string(encoding) + "\r\n", chunks));
    EXPECT_EQ(status, 501) << encoding;
    const int both = refusal(with("Transfer-Encoding: " + std::string(encoding) + "\r\nContent-Length: 5\r\n", chunks));
    EXPECT_TRUE(both == 501 || both == 400) << encoding;
  }
  EXPECT_EQ(refusal(with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", chunks)), 501);
  for (const char* line : {"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked",
                           "Transfer-Encoding: \x0b"
                           "chunked",
                           "Transfer-Encoding: chunked\x01"}) {
    EXPECT_EQ(refusal(with(std::string(line) + "\r\n", chunks)), 400) << line;
  }
  // In HTTP/1.0 there are no chunks; who sends them does not mean what it says.
  EXPECT_EQ(refusal("POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks), 400);
  for (const char* encoding : {"Chunked", "CHUNKED", "chunked\t ", "\tchunked"}) {
    EXPECT_EQ(serve(echo, with("Transfer-Encoding:" + std::string(encoding) + "\r\n", chunks)).reply().body, "hello");
  }
}

TEST(HttpHostileTest, LengthsThatAreNoneAreRefused) {
  for (const char* length : {"", "-1", "+5", "0x5", "5 5", "5.0", "five", "5,", ",5", "18446744073709551616", "\xb2",
                             "99999999999999999999999999"}) {
    EXPECT_EQ(refusal(with("Content-Length: " + std::string(length) + "\r\n", "hello")), 400) << length;
  }
  // A huge one is only too much.
  EXPECT_EQ(refusal(with("Content-Length: 18446744073709551615\r\n", "hello")), 413);
}

TEST(HttpHostileTest, ChunksThatAreNoneAreRefused) {
  for (const std::string& chunk : {"-5\r\nhello\r\n0\r\n\r\n"s,       "+5\r\nhello\r\n0\r\n\r\n"s,
                                   "0x5\r\nhello\r\n0\r\n\r\n"s,      " 5\r\nhello\r\n0\r\n\r\n"s,
                                   "5 \r\nhello\r\n0\r\n\r\n"s,       "g\r\nhello\r\n0\r\n\r\n"s,
                                   "\r\nhello\r\n0\r\n\r\n"s,         "5\nhello\r\n0\r\n\r\n"s,
                                   "5\rhello\r\n0\r\n\r\n"s,          "5\r\nhello0\r\n\r\n"s,
                                   "5\r\nhello\n0\r\n\r\n"s,          "5\r\nhelloworld\r\n0\r\n\r\n"s,
                                   "5\r\nhel\r\n0\r\n\r\n"s,          "10000000000000005\r\nhello\r\n0\r\n\r\n"s,
                                   "5;\r\nhello\r\n0\r\n\r\n"s,       "5;a=\"b\r\nhello\r\n0\r\n\r\n"s,
                                   "5;a\0b\r\nhello\r\n0\r\n\r\n"s,   "0\r\nno field\r\n\r\n"s,
                                   "0\r\nContent-Length: 5\r\n\r\n"s, "0\r\nTransfer-Encoding: chunked\r\n\r\n"s}) {
    EXPECT_EQ(refusal(with("Transfer-Encoding: chunked\r\n", chunk)), 400) << chunk;
  }
}

TEST(HttpHostileTest, HeadersThatAreNoneAreRefused) {
  for (const std::string& more :
       {"No colon\r\n"s, ": nameless\r\n"s, "Sp ace: 1\r\n"s, "X : 1\r\n"s, "X\t: 1\r\n"s, "X: a\0b\r\n"s,
        "X: a\x7f"
        "b\r\n"s,
        "X: a\nY: b\r\n"s, "X: a\rY: b\r\n"s, "X\0: 1\r\n"s, "X: a\x0b\r\n"s, "(X): 1\r\n"s, "\xc3\xa4: 1\r\n"s,
        " X: folded into nothing\r\n"s}) {
    EXPECT_EQ(refusal(with(more)), 400) << more;
  }
  for (const std::string& input : {"GET / HTTP/1.1\nHost: test\n\n"s, "GET / HTTP/1.1\r\nHost: test\n\r\n"s,
                                   "GET / HTTP/1.1\r\nHost: test\n\n\r\n\r\n"s, "GET / HTTP/1.1\rHost: test\r\r"s}) {
    EXPECT_EQ(refusal(input), 400) << input;
  }
}

// RFC 9112 lets a server take it for a space.
TEST(HttpHostileTest, AFoldedFieldIsOneField) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    EXPECT_EQ(request.headers().size(), 2U);
    response.send(request.header("X"));
  };
  EXPECT_EQ(serve(handler, get("/", "X: a\r\n  b\r\n\tc\r\n")).reply().body, "a b c");
}

TEST(HttpHostileTest, FirstLinesThatAreNoneAreRefused) {
  for (const std::string& line : {""s,
                                  "GET"s,
                                  "GET /"s,
                                  "GET / "s,
                                  "GET  / HTTP/1.1"s,
                                  "GET /  HTTP/1.1"s,
                                  " GET / HTTP/1.1"s,
                                  "GET / HTTP/1.1 "s,
                                  "GET / a HTTP/1.1"s,
                                  "GET / HTTP/1.x"s,
                                  "GET / http/1.1"s,
                                  "GET / HTTP/11"s,
                                  "GET / HTTP/1.1.1"s,
                                  "GET / FTP/1.1"s,
                                  "G@T / HTTP/1.1"s,
                                  "GET /\x01 HTTP/1.1"s,
                                  "GET /\0 HTTP/1.1"s,
                                  "GET\t/ HTTP/1.1"s,
                                  "GET / HTTP/-1.1"s,
                                  "\x16\x03\x01\x02"s,
                                  "\x80\x2e\x01"s}) {
    if (line.empty()) continue;
    EXPECT_EQ(refusal(line + "\r\nHost: test\r\n\r\n"), 400) << line;
  }
  for (const char* version : {"0.9", "1.2", "1.9", "2.0", "3.0", "9.9", "0.0"}) {
    EXPECT_EQ(refusal("GET / HTTP/" + std::string(version) + "\r\nHost: test\r\n\r\n"), 505) << version;
  }
  EXPECT_EQ(refusal("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
}

TEST(HttpHostileTest, ARequestHasOneHost) {
  for (const char* hosts :
       {"", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: a, b@c\r\n",
        "Host: \"a\"\r\n", "Host: a?\r\n", "Host: a#b\r\n", "Host: \xc3\xa4\r\n"}) {
    EXPECT_EQ(refusal("GET / HTTP/1.1\r\n" + std::string(hosts) + "\r\n"), 400) << hosts;
  }
  for (const char* hosts : {"Host:\r\n", "Host: [::1]:80\r\n", "Host: a.b-c_d:80\r\n", "Host: %41\r\n"}) {
    EXPECT_EQ(serve(echo, "GET / HTTP/1.1\r\n" + std::string(hosts) + "\r\n").status(), 200) << hosts;
  }
  EXPECT_EQ(serve(echo, "GET / HTTP/1.0\r\n\r\n").status(), 200);
  EXPECT_EQ(refusal("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
}

// --- too much ---

TEST(HttpHostileTest, HeadersHaveALimitHoweverTheyCome) {
  Serving serving;
  serving.options.max_header_bytes = 1'000;
  const auto status = [&](const std::string& input, std::size_t piece) {
    serving.piece = piece;
    return serve(echo, input, serving).status();
  };
  const std::string field = "X: " + std::string(45, 'x') + "\r\n";  // of fifty bytes
  std::string fields;
  for (int i = 0; i < 19; ++i) fields += field;
  const std::string end = "\r\n";
  const std::string begin = "GET / HTTP/1.1\r\nHost: a\r\n";
  for (const std::size_t piece : {0U, 1U, 10U, 50U}) {
    EXPECT_EQ(status(begin + fields + end, piece), 200);
    EXPECT_EQ(status(begin + fields + field + end, piece), 431);
    EXPECT_EQ(status(begin + fields + fields + end, piece), 431);
    EXPECT_EQ(status(begin + "X: " + std::string(2'000, 'x') + "\r\n" + end, piece), 431);
    EXPECT_EQ(status(begin + std::string(2'000, 'X') + ": x\r\n" + end, piece), 431);
    EXPECT_EQ(status(begin + "X: " + std::string(2'000, 'x'), piece), 431);  // before it ends
    EXPECT_EQ(status("GET /" + std::string(2'000, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", piece), 414);
    EXPECT_EQ(status("GET /" + std::string(2'000, 'x'), piece), 414);
    EXPECT_EQ(status(std::string(2'000, 'G'), piece), 414);
    EXPECT_EQ(status("GET /" + std::string(900, 'x') + " HTTP/1.1\r\nHost: a\r\n\r\n", piece), 200);
  }
  // As many as one likes, each of them whole when it comes: Beast's own limit is on what is not parsed yet.
  std::string many = begin;
  for (int i = 0; i < 10'000; ++i) many += "A:b\r\n";
  for (std::size_t piece = 1; piece <= 12; ++piece) EXPECT_EQ(status(many, piece), 431);
}

TEST(HttpHostileTest, WhatStandsAroundChunksHasALimit) {
  Serving serving;
  serving.options.max_header_bytes = 1'000;
  std::string tiny;
  for (int i = 0; i < 10'000; ++i) tiny += "1\r\nx\r\n";
  EXPECT_EQ(serve(echo, with("Transfer-Encoding: chunked\r\n", tiny + "0\r\n\r\n"), serving).reply().body,
            std::string(10'000, 'x'));
  const std::string extension = "1;" + std::string(500, 'a') + "\r\nx\r\n";
  std::string extended;
  for (int i = 0; i < 100; ++i) extended += extension;
  for (const std::string& chunks :
       {extended + "0\r\n\r\n", "5;" + std::string(20'000'000, 'a'), "5;a=\"" + std::string(20'000'000, 'a'),
        std::string(20'000'000, '0'), "0\r\n" + std::string(20'000'000, 'A'),
        "0\r\nA: " + std::string(20'000'000, 'a') + "\r\n\r\n"}) {
    const int status = serve(echo, with("Transfer-Encoding: chunked\r\n", chunks), serving).status();
    EXPECT_TRUE(status == 400 || status == 431) << status;
  }
  EXPECT_EQ(serve(echo, with("Transfer-Encoding: chunked\r\n", extension + "0\r\n\r\n"), serving).reply().body, "x");
}

// --- peers that go ---

TEST(HttpHostileTest, ResetsAnywhere) {
  weft::run([] {
    TestServer server([](Request& request, ResponseWriter& response) {
      const std::string body = request.body();
      while (!response.write(std::string(50'000, 'x')) && request.path() != "/short") {
      }
    });
    for (int round = 0; round < test::rounds(200); ++round) {
      const std::string request = round % 2 == 0 ? get("/") : test::post("/short", "hello");
      Peer peer(server);
      peer.send(std::string_view(request).substr(0, static_cast<std::size_t>(round) * 7 % (request.size() + 1)));
      if (round % 3 == 0) {
        peer.reset();
      } else if (round % 3 == 1) {
        EXPECT_FALSE(peer.stream().close());
      } else {
        static_cast<void>(peer.stream().shutdown_write());
        peer.reset();
      }
    }
    test::eventually([&] { return server.server().stats().open == 0; });
  });
}

TEST(HttpHostileTest, ARefusalIsReadEvenIfMuchMoreIsSent) {
  weft::run([] {
    http::ServerOptions options;
    options.max_body_bytes = 10;
    TestServer server(echo, options);
    for (int round = 0; round < test::rounds(50); ++round) {
      Peer peer(server);
      weft::WaitGroup sending;
      sending.go([&] { peer.send(test::post("/", std::string(100'000, 'x'))); });
      EXPECT_EQ(peer.status(), 413);
      EXPECT_TRUE(peer.is_ended());
      EXPECT_EQ(peer.error(), weft::net::errc::eof);
      sending.wait();
    }
  });
}

TEST(HttpHostileTest, EmptyLinesAreSkippedBetweenRequestsOnly) {
  const Served served = serve(echo, "\r\n\n\r\n" + get("/") + "\r\n\r\n" + get("/"), {.is_open = true});
  EXPECT_EQ(take_replies(served.output).size(), 2U);
  EXPECT_TRUE(served.is_kept);
}

}  // namespace

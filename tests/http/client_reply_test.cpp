// Replies as the client reads them, good and bad.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/http/client.hpp>
#include <weft/http/json.hpp>
#include <weft/net/error.hpp>
#include <weft/runtime.hpp>

#include "../support/support.hpp"
#include "scripted_server.hpp"

namespace {

namespace http = weft::http;
namespace test = weft::test;
using http::Client;
using http::Response;
using http::Status;
using test::ScriptedPeer;
using test::ScriptedServer;
using weft::Context;

/// Sends the same bytes to whoever asks, once, and closes.
ScriptedServer::Script raw(std::string bytes) {
  return [bytes = std::move(bytes)](ScriptedPeer& peer) {
    if (!peer.read_request().empty()) peer.write(bytes);
  };
}

/// Where the client fails with such a reply, and how.
std::error_code error_of(const std::string& bytes, http::ClientOptions options = {}) {
  ScriptedServer server(raw(bytes));
  Client client(std::move(options));
  std::error_code error;
  Response response = client.get(server.url(), Context(), error);
  if (!error) static_cast<void>(response.body(error));
  return error;
}

std::string body_of(const std::string& bytes) {
  ScriptedServer server(raw(bytes));
  return http::get(server.url()).text();
}

TEST(ClientReplyTest, ABodyMayComeInChunks) {
  weft::run([] {
    EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "");
    EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
              "abcde");
    EXPECT_EQ(
        body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0003;a=b;c=\"d\"\r\nabc\r\n0;x\r\nX: 1\r\n\r\n"),
        "abc");
    const std::string big(100'000, 'y');
    EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186A0\r\n" + big + "\r\n0\r\n\r\n"), big);
  });
}

TEST(ClientReplyTest, ABodyMayLastUntilTheEnd) {
  weft::run([] {
    EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\n\r\nhello"), "hello");
    EXPECT_EQ(body_of("HTTP/1.0 200 OK\r\n\r\n"), "");
    const std::string big(200'000, 'z');
    EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + big), big);
  });
}

TEST(ClientReplyTest, SomeRepliesHaveNoBodyWhateverTheySay) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        peer.write(head.starts_with("HEAD /chunked") ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   : head.starts_with("HEAD")        ? "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
                   : head.starts_with("GET /204")    ? "HTTP/1.1 204 No Content\r\n\r\n"
                   : head.starts_with("GET /304")    ? "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
                                                     : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
      }
    });
    Client client;
    Response response = client.head(server.url());
    EXPECT_EQ(response.content_length(), 1234U);
    EXPECT_EQ(response.text(), "");
    EXPECT_EQ(client.head(server.url("/chunked")).text(), "");
    EXPECT_EQ(client.get(server.url("/204")).text(), "");
    EXPECT_EQ(client.get(server.url("/304")).text(), "");
    EXPECT_EQ(client.get(server.url("/empty")).text(), "");
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientReplyTest, InformationalRepliesAreSkipped) {
  weft::run([] {
    const std::string hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    const std::string ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    ScriptedServer server(raw("HTTP/1.1 100 Continue\r\n\r\n" + hint + hint + ok));
    Response response = http::get(server.url());
    EXPECT_EQ(response.status(), Status::ok);
    EXPECT_FALSE(response.headers().contains("Link"));
    EXPECT_EQ(response.body(), "ok");
    EXPECT_EQ(error_of(hint + hint + hint + hint + hint + hint + ok), http::errc::bad_message);
    EXPECT_EQ(error_of("HTTP/1.1 100 Continue\r\n\r\n"), http::errc::truncated);
  });
}

TEST(ClientReplyTest, WhatBreaksOffIsNoReply) {
  weft::run([] {
    for (const char* bytes :
         {"", "H", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
          "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\n"}) {
      EXPECT_EQ(error_of(bytes), http::errc::truncated) << bytes;
    }
  });
}

TEST(ClientReplyTest, WhatIsNoHttpIsRefused) {
  weft::run([] {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    for (const std::string& bytes :
         std::vector<std::string>{"HTTP/1.1 20 OK\r\n\r\n",
                                  "HTTP/1.1 2000 OK\r\n\r\n",
                                  "HTTP/1.1 abc OK\r\n\r\n",
                                  "HTTP/1.1  200 OK\r\n\r\n",
                                  ok + "no colon\r\n\r\n",
                                  ok + ": empty\r\n\r\n",
                                  ok + "a b: c\r\n\r\n",
                                  ok + "A: b\x01\r\n\r\n",
                                  ok + "A: b\rc\r\n\r\n",
                                  ok + "Content-Length: x\r\n\r\n",
                                  ok + "Content-Length: -1\r\n\r\n",
                                  ok + "Content-Length: 99999999999999999999\r\n\r\n",
                                  ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                                  ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: gzip\r\n\r\nabc",
                                  ok + "Transfer-Encoding: chunked, gzip\r\n\r\nabc",
                                  ok + "Transfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n\r\nabc\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\nabc\r\n0\r\n\r\n",
                                  ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n"}) {
      EXPECT_EQ(error_of(bytes), http::errc::bad_message) << bytes;
    }
    for (const char* bytes :
         {"\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "SSH-2.0-x\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/0.9 200 OK\r\n\r\n"}) {
      EXPECT_EQ(error_of(bytes), http::errc::bad_version) << bytes;
    }
  });
}

TEST(ClientReplyTest, HeadersHaveALimit) {
  weft::run([] {
    http::ClientOptions options{.max_header_bytes = 2'000};
    const std::string long_field = "X: " + std::string(1'900, 'x') + "\r\n";
    const std::string length = "Content-Length: 0\r\n\r\n";
    EXPECT_FALSE(error_of("HTTP/1.1 200 OK\r\n" + long_field + length, options));
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\n" + long_field + long_field + length, options),
              http::errc::header_too_large);
    EXPECT_EQ(error_of("HTTP/1.1 200 " + std::string(9'999, 'x'), options), http::errc::header_too_large);
    const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(error_of(chunked + "1;" + std::string(99'999, 'x'), options), http::errc::header_too_large);
    EXPECT_EQ(error_of(chunked + "0\r\nX: " + std::string(99'999, 'x'), options), http::errc::header_too_large);
    std::string wordy = chunked;
    for (int i = 0; i < 100; ++i) wordy += "1;" + std::string(500, 'x') + "\r\ny\r\n";
    EXPECT_EQ(error_of(wordy + "0\r\n\r\n", options), http::errc::bad_message);
    // Without an end, too.
    ScriptedServer server([](ScriptedPeer& peer) {
      peer.read_request();
      peer.write("HTTP/1.1 200 OK\r\n");
      while (peer.write("X: x\r\n")) continue;
    });
    std::error_code error;
    http::get(server.url(), Context(), error);
    EXPECT_EQ(error, http::errc::header_too_large);
  });
}

TEST(ClientReplyTest, ABodyThatIsTooLargeIsNotKept) {
  weft::run([] {
    http::ClientOptions options{.max_body_bytes = 10};
    EXPECT_FALSE(error_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789", options));
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n0123456789x", options),
              http::errc::body_too_large);
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\n\r\n0123456789x", options), http::errc::body_too_large);
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789x\r\n0\r\n\r\n", options),
              http::errc::body_too_large);
    // Announced only: not even memory is asked for.
    EXPECT_EQ(error_of("HTTP/1.1 200 OK\r\nContent-Length: 9999999999999\r\n\r\n"), http::errc::body_too_large);
    ScriptedServer server(raw("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789abcdefghij"));
    Client client(options);
    Response response = client.get(server.url());
    std::array<std::byte, 64> buffer{};
    std::size_t n = 0;
    while (const std::size_t got = response.read_some(std::span(buffer).subspan(n))) n += got;
    EXPECT_EQ(n, 20U) << "who reads it piece by piece has no such limit";
  });
}

TEST(ClientReplyTest, ABodyIsReadAsJson) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        peer.reply(head.starts_with("GET /json") ? " {\"a\": [1, 2]}\n" : "{\"a\": 1} 2");
      }
    });
    Response response = http::get(server.url("/json"));
    EXPECT_EQ(http::read_json(response).at("a").at(1), 2);
    std::error_code error;
    EXPECT_EQ(http::read_json(response, error).at("a").at(0), 1) << "it may be read again";
    response = http::get(server.url("/other"));
    EXPECT_TRUE(http::read_json(response, error).is_null());
    EXPECT_EQ(error, make_error_code(boost::json::error::extra_data));
    try {
      http::read_json(response);
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "weft: http: \"" + server.url("/other") + "\": the body is no JSON"));
    }
    response.close();
    response = http::get(server.url("/other"));
    response.close();
    http::read_json(response, error);
    EXPECT_EQ(error, weft::net::errc::closed);
  });
}

/// However a reply is cut into segments and however small the reader's buffer is, the same comes out.
TEST(ClientReplyTest, PiecesOfAnySizeMakeTheSameReply) {
  weft::run([] {
    const std::vector<std::pair<std::string, std::string>> replies = {
        {"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 11\r\n\r\nhello world", "hello world"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n5\r\nello \r\n5\r\nworld\r\n0\r\n\r\n",
         "hello world"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: 1\r\n\r\n", ""},
        {"HTTP/1.1 103 Hint\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n00\r\nA: "
         "b\r\n\r\n",
         "abc"},
        {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end", "to the end"},
    };
    ScriptedServer server([&](ScriptedPeer& peer) {
      test::Lcg random(static_cast<std::uint64_t>(peer.number()));
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        const std::string& bytes = replies[static_cast<std::size_t>(head.at(5) - '0')].first;
        for (std::size_t at = 0; at < bytes.size();) {
          const std::size_t n = 1 + random.below(5);
          peer.write(std::string_view(bytes).substr(at, n));
          at += n;
          weft::yield();
        }
        if (bytes.find("close") != std::string::npos) return;
      }
    });
    Client client;
    test::Lcg random;
    for (int round = 0; round < test::rounds(200); ++round) {
      for (std::size_t i = 0; i < replies.size(); ++i) {
        Response response = client.get(server.url("/" + std::to_string(i)));
        std::array<std::byte, 4> buffer{};
        std::string body;
        while (const std::size_t n = response.read_some(std::span(buffer).first(1 + random.below(4)))) {
          body.append(reinterpret_cast<const char*>(buffer.data()), n);
        }
        ASSERT_EQ(body, replies[i].second) << i;
      }
    }
    EXPECT_LE(server.accepted(), test::rounds(200) + 1) << "one for each that says close";
  });
}

}  // namespace

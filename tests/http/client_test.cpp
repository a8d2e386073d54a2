// Requests as the client sends them, and what one does with a Response.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include <weft/error.hpp>
#include <weft/http/client.hpp>
#include <weft/net/error.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>

#include "../support/nobody.hpp"
#include "../support/support.hpp"
#include "scripted_server.hpp"

namespace {

namespace http = weft::http;
namespace net = weft::net;
namespace test = weft::test;
using http::Client;
using http::ClientRequest;
using http::Response;
using http::Status;
using test::ScriptedPeer;
using test::ScriptedServer;
using weft::Context;

/// Answers every request with what it was.
void echo_requests(ScriptedPeer& peer) {
  for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
    if (!peer.reply(head.starts_with("HEAD") ? "" : head + peer.body())) return;
  }
}

/// Sends the same bytes to whoever asks, once, and closes.
ScriptedServer::Script raw(std::string bytes) {
  return [bytes = std::move(bytes)](ScriptedPeer& peer) {
    if (!peer.read_request().empty()) peer.write(bytes);
  };
}

// --- requests ---

TEST(ClientTest, AGetReadsStatusHeadersAndBody) {
  test::everywhere([] {
    ScriptedServer server(
        raw("HTTP/1.1 404 Not  Here\r\nContent-Type: text/plain\r\nX-A: 1\r\nx-a: 2\r\n"
            "Content-Length: 5\r\n\r\nhello"));
    Response response = http::get(server.url("/x#there"));
    ASSERT_TRUE(response);
    EXPECT_EQ(response.status(), Status::not_found);
    EXPECT_EQ(response.reason(), "Not  Here");
    EXPECT_EQ(response.version(), 11);
    EXPECT_EQ(response.header("content-type"), "text/plain");
    EXPECT_EQ(response.headers().values("X-A").size(), 2U);
    EXPECT_EQ(response.content_length(), 5U);
    EXPECT_EQ(response.url(), server.url("/x"));
    EXPECT_EQ(response.body(), "hello");
    EXPECT_EQ(response.body(), "hello") << "it is kept";
    EXPECT_EQ(response.text(), "hello");
  });
}

TEST(ClientTest, WhatIsSentIsWhatWasAsked) {
  weft::run([] {
    ScriptedServer server(&echo_requests);
    Client client;
    EXPECT_EQ(client.get(server.url("/a?b=c#d")).text(),
              "GET /a?b=c HTTP/1.1\r\nHost: " + server.address() + "\r\nUser-Agent: weft\r\n\r\n");
    EXPECT_EQ(client.post(server.url("/p"), "text/csv", "1,2").text(),
              "POST /p HTTP/1.1\r\nHost: " + server.address() +
                  "\r\nUser-Agent: weft\r\nContent-Type: text/csv\r\nContent-Length: 3\r\n\r\n1,2");
    for (const char* method : {"POST", "PUT", "PATCH"}) {
      const std::string text = client.send({.url = server.url(), .method = method}).text();
      EXPECT_TRUE(test::contains(text, "\r\nContent-Length: 0\r\n")) << text;
    }
    for (const char* method : {"GET", "DELETE", "OPTIONS", "x-Own!"}) {
      const std::string text = client.send({.url = server.url(), .method = method}).text();
      EXPECT_TRUE(text.starts_with(method)) << text;
      EXPECT_FALSE(test::contains(text, "Content-Length")) << text;
    }
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientTest, FieldsOfTheRequestGoBeforeThoseOfTheClient) {
  weft::run([] {
    ScriptedServer server(&echo_requests);
    http::ClientOptions options;
    options.headers.add("X-All", "1").add("X-All", "2").add("X-Own", "client").add("User-Agent", "tester");
    Client client(std::move(options));
    ClientRequest request{.url = server.url()};
    request.headers.set("x-own", "request").set("Host", "elsewhere").set("Content-Length", "77");
    request.headers.set("Transfer-Encoding", "gzip");
    EXPECT_EQ(
        client.send(request).text(),
        "GET / HTTP/1.1\r\nHost: elsewhere\r\nUser-Agent: tester\r\nx-own: request\r\nX-All: 1\r\nX-All: 2\r\n\r\n");
    request.headers.set("User-Agent", "");
    EXPECT_FALSE(test::contains(client.send(request).text(), "User-Agent"));
  });
}

TEST(ClientTest, AUserInTheUrlIsSentButNotShown) {
  weft::run([] {
    ScriptedServer server(&echo_requests);
    const std::string url = "http://me:secret@" + server.address() + "/";
    Response response = http::get(url);
    EXPECT_TRUE(test::contains(response.body(), "\r\nAuthorization: Basic bWU6c2VjcmV0\r\n")) << response.body();
    EXPECT_EQ(response.url(), server.url());
    ClientRequest request{.url = url};
    request.headers.set("Authorization", "Bearer x");
    EXPECT_TRUE(test::contains(http::default_client().send(request).text(), "\r\nAuthorization: Bearer x\r\n"));
    const test::Nobody nobody;
    const std::string address = nobody.address().to_string();
    try {
      http::get("http://me:secret@" + address + "/");
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "weft: http: GET \"http://me:***@" + address + "/\""))
          << refused.what();
      EXPECT_EQ(refused.code(), std::errc::connection_refused);
    }
  });
}

TEST(ClientTest, BodiesOfAnySizeArrive) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) peer.reply(peer.body());
    });
    Client client;
    for (const std::size_t size : {0UL, 1UL, 4'095UL, 16'000UL, 16'384UL, 65'536UL, 3'000'000UL}) {
      std::string body(size, 'x');
      for (std::size_t i = 0; i < size; i += 7) body[i] = static_cast<char>('a' + i % 26);
      Response response = client.post(server.url(), "application/octet-stream", body);
      EXPECT_EQ(response.content_length(), size);
      EXPECT_TRUE(response.body() == body) << size;
    }
    EXPECT_EQ(server.accepted(), 1);
  });
}

// --- a body from a source ---

/// So many bytes in pieces of so many.
http::BodySource source_of(std::size_t size, std::size_t piece) {
  return [size, piece, done = std::size_t{0}](std::span<std::byte> buffer, std::error_code&) mutable {
    const std::size_t n = std::min({piece, size - done, buffer.size()});
    for (std::size_t i = 0; i < n; ++i) buffer[i] = static_cast<std::byte>('a' + (done + i) % 26);
    done += n;
    return n;
  };
}

TEST(ClientTest, ASourceIsSentInChunksOrAsLongAsItIs) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        peer.reply(peer.body(), test::contains(head, "Transfer-Encoding: chunked\r\n") ? "X-Chunked: yes\r\n" : "");
      }
    });
    Client client;
    for (const auto& [size, piece] :
         {std::pair(0UL, 1UL), {1UL, 1UL}, {100UL, 7UL}, {100'000UL, 5'000UL}, {200'000UL, 99'999UL}}) {
      for (const bool is_announced : {false, true}) {
        ClientRequest request{.url = server.url(), .method = "PUT", .source = source_of(size, piece)};
        if (is_announced) request.source_length = size;
        Response response = client.send(request);
        ASSERT_EQ(response.body().size(), size);
        EXPECT_EQ(response.body().substr(0, 30).find("xyzab"), size > 30 ? 23 : std::string::npos);
        EXPECT_EQ(response.headers().contains("X-Chunked"), !is_announced);
      }
    }
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientTest, ASourceThatBreaksItsWordEndsTheRequest) {
  weft::run([] {
    ScriptedServer server(&echo_requests);
    Client client;
    const auto send = [&](http::BodySource source, std::optional<std::uint64_t> length) {
      std::error_code error;
      client.send({.url = server.url(), .method = "POST", .source = std::move(source), .source_length = length},
                  Context(), error);
      return error;
    };
    EXPECT_EQ(send(source_of(10, 3), 9), http::errc::wrong_length);
    EXPECT_EQ(send(source_of(10, 3), 11), http::errc::wrong_length);
    EXPECT_EQ(send(source_of(1, 1), 0), http::errc::wrong_length);
    const auto failing = [](std::span<std::byte>, std::error_code& error) {
      error = std::make_error_code(std::errc::io_error);
      return std::size_t{0};
    };
    EXPECT_EQ(send(failing, std::nullopt), std::errc::io_error);
    EXPECT_EQ(send(failing, 5), std::errc::io_error);
    EXPECT_THROW(
        send([](std::span<std::byte>, std::error_code&) -> std::size_t { throw std::runtime_error("no"); }, {}),
        std::runtime_error);
    EXPECT_THROW(send([](std::span<std::byte> buffer, std::error_code&) { return buffer.size() + 1; }, {}),
                 weft::Panic);
    EXPECT_EQ(send(source_of(10, 3), 10), std::error_code());
  });
}

TEST(ClientTest, AResponseCanBeTheSourceOfARequest) {
  weft::run([] {
    ScriptedServer from(raw("HTTP/1.1 200 OK\r\n\r\n" + std::string(100'000, 'x')));
    ScriptedServer to([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) peer.reply(std::to_string(peer.body().size()));
    });
    Response page = http::get(from.url());
    ClientRequest request{.url = to.url(), .method = "POST"};
    request.source = [&](std::span<std::byte> buffer, std::error_code& error) { return page.read_some(buffer, error); };
    EXPECT_EQ(http::default_client().send(request).text(), "100000");
  });
}

TEST(ClientTest, AServerThatWantsNoMoreOfABodyIsHeard) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      peer.write("HTTP/1.1 413 Too Much\r\nContent-Length: 2\r\n\r\nno");
      peer.close();  // without reading: the client's writes will fail
    });
    Client client;
    std::error_code error;
    // Large enough to be still on its way then.
    Response response = client.post(server.url(), "text/plain", std::string(20'000'000, 'x'), Context(), error);
    // The reply is lost if the client's system hears of the reset first.
    if (error) {
      EXPECT_TRUE(error == std::errc::connection_reset || error == std::errc::broken_pipe) << error.message();
    } else {
      EXPECT_EQ(response.status(), Status::content_too_large);
    }
    EXPECT_EQ(server.accepted(), 1);
  });
}

// --- a response ---

TEST(ClientTest, ABodyIsReadPieceByPiece) {
  weft::run([] {
    ScriptedServer server(raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"));
    Response response = http::get(server.url());
    std::array<std::byte, 4> buffer{};
    EXPECT_EQ(response.read_some({}), 0U);
    EXPECT_EQ(response.read_some(buffer), 4U);
    EXPECT_EQ(response.text(), "456789") << "the rest";
    std::error_code error;
    EXPECT_EQ(response.read_some(buffer, error), 0U);
    EXPECT_EQ(error, http::errc::eof);
    EXPECT_EQ(response.read_some(buffer), 0U);
  });
}

TEST(ClientTest, AResponseThatIsClosedSaysSo) {
  weft::run([] {
    ScriptedServer server(raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"));
    Response response = http::get(server.url());
    response.close();
    response.close();
    EXPECT_EQ(response.status(), Status::ok);
    std::error_code error;
    EXPECT_EQ(response.text(error), "");
    EXPECT_EQ(error, net::errc::closed);
    try {
      response.body();
      FAIL();
    } catch (const std::system_error& failed) {
      EXPECT_EQ(failed.code(), net::errc::closed);
      EXPECT_TRUE(test::contains(failed.what(), "weft: http: GET \"" + server.url() + "\": reading the body"));
    }
  });
}

TEST(ClientTest, AnEmptyResponsePanics) {
  Response response;
  EXPECT_FALSE(response);
  response.close();
  EXPECT_THROW(static_cast<void>(response.status()), weft::Panic);
  EXPECT_THROW(response.text(), weft::Panic);
  std::error_code error;
  EXPECT_FALSE(http::get("nonsense", Context(), error));
}

TEST(ClientTest, AResponseOutlivesItsClient) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      peer.read_request();
      peer.write("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + std::string(200'000, 'x'));
      peer.wait_for_end();
    });
    std::optional<Client> client(std::in_place);
    Response response = client->get(server.url());
    client.reset();
    EXPECT_EQ(response.text().size(), 200'000U);
    response = Response();
    test::eventually([&] { return server.open() == 0; });
  });
}

// --- what cannot be asked ---

TEST(ClientTest, WhatCannotBeAskedIsAnError) {
  weft::run([] {
    Client client;
    const auto error_of_request = [&](const ClientRequest& request) {
      std::error_code error;
      client.send(request, Context(), error);
      return error;
    };
    EXPECT_EQ(error_of_request({.url = "no url"}), http::errc::bad_url);
    EXPECT_EQ(error_of_request({.url = "ftp://h/"}), std::errc::protocol_not_supported);
    EXPECT_EQ(error_of_request({.url = "http://h/", .method = ""}), std::errc::invalid_argument);
    EXPECT_EQ(error_of_request({.url = "http://h/", .method = "GET / HTTP/1.1\r\nX:"}), std::errc::invalid_argument);
    EXPECT_THROW(client.post("http://h/", "text/plain\r\nX: y", ""), std::invalid_argument);
    try {
      client.get("http//oops");
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_STREQ(refused.what(), "weft: http: GET \"http//oops\": malformed URL");
    }
  });
}

TEST(ClientTest, AnAddressOfIPv6CanBeAsked) {
  weft::run([] {
    std::error_code error;
    if (!net::listen_tcp("[::1]:0", error).is_open()) GTEST_SKIP() << "no IPv6 here";
    ScriptedServer server(&echo_requests, "[::1]:0");
    const std::string text = http::get(server.url()).text();
    EXPECT_TRUE(test::contains(text, "\r\nHost: " + server.address() + "\r\n")) << text;
  });
}

}  // namespace

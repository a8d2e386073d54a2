// Peers that keep a server waiting: in a header, in a body, between requests, and by not reading what they asked for.

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/http/server.hpp>
#include <weft/net/error.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::ServerOptions;
using weft::http::Status;
using weft::test::get;
using weft::test::Peer;
using weft::test::Reply;
using weft::test::TestServer;
namespace net = weft::net;
namespace test = weft::test;

void hello(Request&, ResponseWriter& response) { response.send("hello"); }
void echo(Request& request, ResponseWriter& response) { response.send(request.body()); }

/// Ends when the server does, which `sending` must not be waited for long after.
template <class F>
void until_refused(weft::WaitGroup& sending, Peer& peer, F next) {
  sending.go([&peer, next] {
    while (peer.send(next())) weft::sleep_for(5ms);
  });
}

TEST(HttpTimeTest, AHeaderThatComesByteByByteHasItsTime) {
  weft::run([] {
    ServerOptions options;
    options.header_timeout = 100ms;
    TestServer server(hello, options);
    Peer peer(server);
    const auto begin = Clock::now();
    peer.send("GET / HTTP/1.1\r\nHost: test\r\nX: ");
    weft::WaitGroup sending;
    until_refused(sending, peer, [] { return "x"; });
    const std::optional<Reply> reply = peer.read_reply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->status, 408);
    EXPECT_EQ(reply->field("Connection"), "close");
    EXPECT_GE(Clock::now() - begin, 100ms);
    peer.read_rest();
    sending.wait();
    EXPECT_EQ(server.server().stats().bad_requests, 1U);
  });
}

TEST(HttpTimeTest, APeerThatNeverSaysAnythingIsHungUpOn) {
  weft::run([] {
    ServerOptions options;
    options.header_timeout = 100ms;
    options.idle_timeout = 1h;
    TestServer server(hello, options);
    const auto begin = Clock::now();
    Peer silent(server);
    Peer spoken(server);
    EXPECT_EQ(spoken.ask(get("/")).status, 200);
    EXPECT_TRUE(silent.is_ended());
    EXPECT_GE(Clock::now() - begin, 100ms);
    EXPECT_EQ(spoken.ask(get("/")).status, 200);  // that is for the first request
  });
}

TEST(HttpTimeTest, AnIdleConnectionHasItsTime) {
  weft::run([] {
    ServerOptions options;
    options.idle_timeout = 100ms;
    TestServer server(hello, options);
    Peer peer(server);
    EXPECT_EQ(peer.ask(get("/")).status, 200);
    const auto begin = Clock::now();
    EXPECT_TRUE(peer.is_ended());
    EXPECT_EQ(peer.error(), net::errc::eof);
    EXPECT_GE(Clock::now() - begin, 100ms);
    test::eventually([&] { return server.server().stats().open == 0; });
  });
}

TEST(HttpTimeTest, ARequestIsNoIdleness) {
  weft::run([] {
    ServerOptions options;
    options.idle_timeout = 20ms;
    options.header_timeout = 20ms;
    TestServer server(
        [](Request&, ResponseWriter& response) {
          weft::sleep_for(200ms);
          response.send("hello");
        },
        options);
    Peer peer(server);
    EXPECT_EQ(peer.ask(get("/")).status, 200);
  });
}

TEST(HttpTimeTest, ABodyThatDoesNotComeGetsA408) {
  weft::run([] {
    ServerOptions options;
    options.read_timeout = 50ms;
    TestServer server(echo, options);
    for (const char* begin : {"", "12345"}) {
      Peer peer(server);
      const Reply reply = peer.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n" + std::string(begin));
      EXPECT_EQ(reply.status, 408);
      EXPECT_TRUE(peer.is_ended());
    }
    EXPECT_TRUE(server.log().empty());
  });
}

TEST(HttpTimeTest, ABodyThatGoesOnHasNewTimeWithEachByte) {
  weft::run([] {
    ServerOptions options;
    options.read_timeout = 2s;
    options.header_timeout = 1ms;  // it is over when the header is there
    TestServer server(echo, options);
    Peer peer(server);
    peer.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n");
    for (int i = 0; i < 10; ++i) {
      weft::sleep_for(5ms);
      peer.send("x");
    }
    EXPECT_EQ(peer.read_reply()->body, "xxxxxxxxxx");
  });
}

// What the handler has left of the body is waited for, but not for ever.
TEST(HttpTimeTest, ARestThatDoesNotComeEndsTheConnection) {
  weft::run([] {
    ServerOptions options;
    options.read_timeout = 50ms;
    TestServer server(hello, options);
    Peer peer(server);
    EXPECT_EQ(peer.ask("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n12345").status, 200);
    EXPECT_TRUE(peer.is_ended());
  });
}

TEST(HttpTimeTest, APeerThatDoesNotReadIsHungUpOn) {
  weft::run([] {
    ServerOptions options;
    options.write_timeout = 50ms;
    std::error_code ended;
    weft::WaitGroup served;
    served.add(1);
    TestServer server(
        [&](Request&, ResponseWriter& response) {
          const std::string piece(100'000, 'x');
          while (!(ended = response.write(piece))) {
          }
          EXPECT_EQ(response.write("more"), ended);  // at once
          EXPECT_EQ(response.flush(), ended);
          served.done();
        },
        options);
    Peer peer(server);
    peer.send(get("/"));
    served.wait();
    EXPECT_EQ(ended, net::errc::timed_out);
    test::eventually([&] { return server.server().stats().open == 0; });
    const std::optional<Reply> reply = peer.read_reply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_FALSE(reply->is_whole);
  });
}

TEST(HttpTimeTest, APeerThatReadsSlowlyIsWaitedFor) {
  weft::run([] {
    ServerOptions options;
    options.write_timeout = 2s;
    const std::string body(3'000'000, 'x');
    TestServer server([&](Request&, ResponseWriter& response) { response.send(body); }, options);
    Peer peer(server);
    peer.send(get("/"));
    std::size_t got = 0;
    std::byte buffer[100'000];
    while (got < body.size()) {
      weft::sleep_for(1ms);
      got += peer.stream().read_some(buffer);
    }
  });
}

TEST(HttpTimeTest, TimesWithoutEndAreNoTimes) {
  weft::run([] {
    ServerOptions options;
    options.header_timeout = options.read_timeout = options.write_timeout = options.idle_timeout =
        std::chrono::nanoseconds::max();
    TestServer server(echo, options);
    Peer peer(server);
    EXPECT_EQ(peer.ask(test::post("/", "hello")).body, "hello");
    peer.send("POST / HTTP/1.1\r\nHost: te");
    weft::sleep_for(20ms);
    peer.send("st\r\nContent-Length: 3\r\n\r\n1");
    weft::sleep_for(20ms);
    EXPECT_EQ(peer.ask("23").body, "123");
  });
}

}  // namespace

// Contexts and timeouts end requests wherever they are, and nothing is left over.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/http/client.hpp>
#include <weft/net/error.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/black_hole.hpp"
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

/// Runs `ask` with a context that is cancelled once the server says so on the channel; what ask returns is its error.
void expect_cancelled(weft::Chan<weft::Unit> when, const std::function<std::error_code(const Context&)>& ask) {
  auto [ctx, cancel] = weft::with_cancel(weft::background());
  WaitGroup wg;
  wg.go([&, &context = ctx] { EXPECT_EQ(ask(context), weft::errc::canceled); });
  when.recv();
  cancel();
  wg.wait();
}

TEST(ClientEndTest, AContextEndsTheWaitForAReply) {
  test::everywhere([] {
    const auto asked = weft::make_chan<weft::Unit>(1);
    ScriptedServer server([&](ScriptedPeer& peer) {
      if (peer.read_request().empty()) return;
      asked.send({});
      peer.wait_for_end();
    });
    Client client;
    for (int i = 0; i < 3; ++i) {
      expect_cancelled(asked, [&](const Context& ctx) {
        std::error_code error;
        EXPECT_FALSE(client.get(server.url(), ctx, error));
        return error;
      });
      test::eventually([&] { return server.open() == 0; });
    }
    EXPECT_EQ(server.accepted(), 3);
  });
}

TEST(ClientEndTest, AContextEndsTheReadingOfABody) {
  weft::run([] {
    const auto asked = weft::make_chan<weft::Unit>(1);
    for (const char* fields :
         {"Content-Length: 10\r\n\r\nhello", "\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}) {
      ScriptedServer server([&](ScriptedPeer& peer) {
        if (peer.read_request().empty()) return;
        peer.write("HTTP/1.1 200 OK\r\n" + std::string(fields));
        asked.send({});
        peer.wait_for_end();
      });
      Client client;
      expect_cancelled(asked, [&](const Context& ctx) {
        std::error_code error;
        Response response = client.get(server.url(), ctx, error);
        if (response) response.body(error);
        return error;
      });
      test::eventually([&] { return server.open() == 0; });
    }
  });
}

TEST(ClientEndTest, AContextEndsTheSendingOfABody) {
  weft::run([] {
    const auto asked = weft::make_chan<weft::Unit>(1);
    const auto over = weft::make_chan<weft::Unit>();
    ScriptedServer server([&](ScriptedPeer&) {
      asked.send({});
      over.recv();  // reads nothing
    });
    Client client;
    expect_cancelled(asked, [&](const Context& ctx) {
      std::error_code error;
      client.post(server.url(), "text/plain", std::string(50'000'000, 'x'), ctx, error);
      return error;
    });
    expect_cancelled(asked, [&](const Context& ctx) {
      ClientRequest request{.url = server.url(), .method = "POST"};
      request.source = [](std::span<std::byte> buffer, std::error_code&) { return buffer.size(); };  // without end
      std::error_code error;
      client.send(request, ctx, error);
      return error;
    });
    over.close();
  });
}

TEST(ClientEndTest, AContextThatIsDoneSendsNothing) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) { peer.wait_for_end(); });
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    cancel();
    Client client;
    std::error_code error;
    client.get(server.url(), ctx, error);
    EXPECT_EQ(error, weft::errc::canceled);
    EXPECT_EQ(server.accepted(), 0);
    EXPECT_THROW(client.get(server.url(), ctx), std::system_error);
  });
}

TEST(ClientEndTest, AContextThatEndsBetweenReadsEndsTheBody) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) peer.reply("0123456789");
    });
    Client client;
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    Response response = client.get(server.url(), ctx);
    std::array<std::byte, 4> buffer{};
    EXPECT_EQ(response.read_some(buffer), 4U);
    cancel();
    std::error_code error;
    EXPECT_EQ(response.read_some(buffer, error), 0U);
    EXPECT_EQ(error, weft::errc::canceled);
    test::eventually([&] { return server.open() == 0; });
  });
}

TEST(ClientEndTest, ContextAndTimeoutsEndDialing) {
  weft::run([] {
    const test::BlackHole nowhere;
    const std::string url = "http://" + nowhere.address().to_string() + "/";
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    std::error_code error;
    test::go_parked(wg, [&, &context = ctx] { http::get(url, context, error); });
    cancel();
    wg.wait();
    EXPECT_EQ(error, weft::errc::canceled);
    Client client({.timeout = 20ms});
    client.get(url, Context(), error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    Client hasty({.timeout = 1h, .dial_timeout = 20ms});
    hasty.get(url, Context(), error);
    EXPECT_EQ(error, net::errc::timed_out);
    weft::testing::verify_no_leaks();
  });
}

TEST(ClientEndTest, ATimeoutEndsTheWholeExchange) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        if (head.starts_with("GET /slow-head")) {
          peer.wait_for_end();
        } else if (head.starts_with("GET /slow-body")) {
          peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello");
          peer.wait_for_end();
        } else {
          peer.reply("quick");
        }
      }
    });
    Client client({.timeout = 50ms});
    std::error_code error;
    const auto start = weft::Clock::now();
    client.get(server.url("/slow-head"), Context(), error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    EXPECT_EQ(error, std::errc::timed_out);
    EXPECT_GE(weft::Clock::now() - start, 50ms);
    Response response = client.get(server.url("/slow-body"), Context(), error);
    if (response) response.text(error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    test::eventually([&] { return server.open() == 0; });
    // It is each exchange's own, and ends with its body.
    Client patient({.timeout = 1h});
    for (int i = 0; i < 3; ++i) EXPECT_EQ(patient.get(server.url()).text(), "quick");
  });
}

TEST(ClientEndTest, AnEarlierDeadlineOfTheContextHolds) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) { peer.wait_for_end(); });
    Client client({.timeout = 1h});
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 10ms);
    std::error_code error;
    client.get(server.url(), ctx, error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    try {
      client.get(server.url(), ctx);
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_EQ(std::string(refused.what()), "weft: http: GET \"" + server.url() + "\": context deadline exceeded");
    }
  });
}

TEST(ClientEndTest, CancelledRequestsLeaveNothing) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) {
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for (int i = 0; i < 20 && peer.write("3\r\nabc\r\n"); ++i) weft::yield();
        peer.write("0\r\n\r\n");
      }
    });
    Client client;
    const std::string expected = [] {
      std::string text;
      for (int i = 0; i < 20; ++i) text += "abc";
      return text;
    }();
    test::Lcg random;
    for (int round = 0; round < test::rounds(2'000); ++round) {
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      WaitGroup wg;
      wg.go([&, &context = ctx] {
        std::error_code error;
        Response response = client.get(server.url(), context, error);
        const std::string text = response ? response.text(error) : "";
        if (error) {
          EXPECT_EQ(error, weft::errc::canceled);
        } else {
          EXPECT_EQ(text, expected) << "a connection that was given up is not used again";
        }
      });
      for (std::uint64_t i = random.below(40); i > 0; --i) weft::yield();
      cancel();
      wg.wait();
    }
    client.close_idle();
    test::eventually([&] { return server.open() == 0; });
  });
}

}  // namespace

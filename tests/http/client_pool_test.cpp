// Connections of the client: kept, shared, limited, found stale, given up.

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/http/client.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "scripted_server.hpp"

namespace {

using namespace std::chrono_literals;
namespace http = weft::http;
namespace test = weft::test;
using http::Client;
using http::ClientRequest;
using http::Response;
using test::ScriptedPeer;
using test::ScriptedServer;
using weft::Context;
using weft::WaitGroup;

void serve_ok(ScriptedPeer& peer) {
  while (!peer.read_request().empty()) peer.reply("ok");
}

TEST(ClientPoolTest, AConnectionServesOneRequestAfterTheOther) {
  weft::run([] {
    ScriptedServer server(&serve_ok);
    Client client;
    for (int i = 0; i < 100; ++i) EXPECT_EQ(client.get(server.url()).text(), "ok");
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientPoolTest, AConnectionThatMayNotServeAnotherIsClosed) {
  weft::run([] {
    const std::string replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    };
    for (const std::string& reply : replies) {
      ScriptedServer server([&](ScriptedPeer& peer) {
        peer.read_request();
        peer.write(reply);
        peer.wait_for_end();
      });
      Client client;
      EXPECT_FALSE(client.get(server.url()).text().starts_with("no"));
      client.get(server.url());
      EXPECT_EQ(server.accepted(), 2) << reply;
      test::eventually([&] { return server.open() == 0; });
    }
    ScriptedServer server(&serve_ok);
    Client client;
    ClientRequest request{.url = server.url()};
    request.headers.set("Connection", "close");
    client.send(request);
    client.send(request);
    EXPECT_EQ(server.accepted(), 2);
  });
}

TEST(ClientPoolTest, AnOldServerMayKeepAConnectionToo) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) {
        peer.write("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
      }
    });
    Client client;
    for (int i = 0; i < 3; ++i) EXPECT_EQ(client.get(server.url()).text(), "ok");
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientPoolTest, ABodyThatNobodyReadsIsNotWaitedFor) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        if (head.starts_with("GET /short")) {
          peer.reply("all of it is here with the head");
        } else {
          peer.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nthe rest never comes");
        }
      }
    });
    Client client;
    for (int i = 0; i < 3; ++i) client.get(server.url("/short"));
    EXPECT_EQ(server.accepted(), 1);
    for (int i = 0; i < 3; ++i) client.get(server.url("/long"));
    EXPECT_EQ(server.accepted(), 3) << "the first one had a connection";
    Response response = client.get(server.url("/long"));
    std::array<std::byte, 8> buffer{};
    EXPECT_GT(response.read_some(buffer), 0U);
    response.close();
    test::eventually([&] { return server.open() == 0; });
  });
}

TEST(ClientPoolTest, AConnectionThatTheServerHasClosedIsNotUsed) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      if (!peer.read_request().empty()) peer.reply("ok");
    });
    Client client;
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(client.post(server.url(), "text/plain", "x").text(), "ok");
      test::eventually([&] { return server.open() == 0; });
    }
    EXPECT_EQ(server.accepted(), 20);
  });
}

/// The server takes a second request, and closes: it could have done that while the request was under way.
void close_at_second_request(ScriptedPeer& peer) {
  if (peer.read_request().empty()) return;
  peer.reply("ok");
  peer.read_request();
}

TEST(ClientPoolTest, AStaleConnectionIsMadeGoodOnce) {
  weft::run([] {
    ScriptedServer server(&close_at_second_request);
    Client client;
    client.get(server.url());
    EXPECT_EQ(client.get(server.url()).text(), "ok");
    EXPECT_EQ(server.accepted(), 2);
    EXPECT_EQ(client.head(server.url()).status(), http::Status::ok);
    EXPECT_EQ(server.accepted(), 3);
  });
}

TEST(ClientPoolTest, WhatAServerMayHaveActedUponIsNotSentTwice) {
  weft::run([] {
    for (const char* method : {"POST", "PUT", "DELETE", "PATCH"}) {
      ScriptedServer server(&close_at_second_request);
      Client client;
      client.get(server.url());
      std::error_code error;
      client.send({.url = server.url(), .method = method, .body = "x"}, Context(), error);
      EXPECT_EQ(error, http::errc::truncated);
      EXPECT_EQ(server.accepted(), 1) << method;
    }
  });
}

TEST(ClientPoolTest, AServerThatNeverRepliesIsAskedOnceOrTwice) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      const std::string head = peer.read_request();
      if (!head.starts_with("GET /first")) return;
      peer.reply("ok");
      peer.read_request();
    });
    Client client;
    std::error_code error;
    client.get(server.url(), Context(), error);
    EXPECT_EQ(error, http::errc::truncated);
    EXPECT_EQ(server.accepted(), 1) << "a new connection is no stale one";
    EXPECT_EQ(client.get(server.url("/first")).text(), "ok");
    client.get(server.url(), Context(), error);
    EXPECT_EQ(error, http::errc::truncated);
    EXPECT_EQ(server.accepted(), 3) << "once on the old, once on a new one";
  });
}

TEST(ClientPoolTest, AReplyThatHasBegunIsNotAskedForAgain) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      if (peer.read_request().empty()) return;
      peer.reply("ok");
      if (!peer.read_request().empty()) peer.write("HTTP/1.1 2");
    });
    Client client;
    client.get(server.url());
    std::error_code error;
    client.get(server.url(), Context(), error);
    EXPECT_EQ(error, http::errc::truncated);
    EXPECT_EQ(server.accepted(), 1);
  });
}

TEST(ClientPoolTest, ResetsAreErrorsOrMadeGood) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); head.starts_with("GET /ok"); head = peer.read_request())
        peer.reply("ok");
      peer.reset();
    });
    Client client;
    for (int i = 0; i < test::rounds(100); ++i) {
      std::error_code error;
      client.get(server.url("/reset"), Context(), error);
      EXPECT_EQ(error, std::errc::connection_reset) << error.message();
      EXPECT_EQ(client.get(server.url("/ok")).text(), "ok");
    }
  });
}

TEST(ClientPoolTest, NoMoreThanAllowedAreKept) {
  weft::run([] {
    ScriptedServer one(&serve_ok);
    ScriptedServer other(&serve_ok);
    const auto ask_both_at_once = [&](Client& client) {
      Response held[] = {client.get(one.url()),   client.get(one.url()),   client.get(one.url()),
                         client.get(other.url()), client.get(other.url()), client.get(other.url())};
    };
    const auto expect_open = [&](std::size_t of_one, std::size_t of_other) {
      test::eventually([&] { return one.open() == of_one && other.open() == of_other; });
    };
    {
      Client client({.max_idle = 3, .max_idle_per_host = 2});
      ask_both_at_once(client);
      expect_open(2, 1);
      client.close_idle();
      expect_open(0, 0);
      ask_both_at_once(client);
      expect_open(2, 1);
    }
    expect_open(0, 0);
    Client keeps_none({.max_idle = 0});
    ask_both_at_once(keeps_none);
    expect_open(0, 0);
    Client keeps_none_either({.max_idle_per_host = 0});
    ask_both_at_once(keeps_none_either);
    expect_open(0, 0);
  });
}

TEST(ClientPoolTest, IdleConnectionsAreClosedInTime) {
  weft::run([] {
    ScriptedServer server(&serve_ok);
    Client client({.idle_timeout = 20ms});
    for (int i = 0; i < 3; ++i) {
      client.get(server.url());
      test::eventually([&] { return server.open() == 0; });
    }
    EXPECT_EQ(server.accepted(), 3);
  });
}

TEST(ClientPoolTest, IdleConnectionsOfADeadRuntimeAreClosedToo) {
  ScriptedServer server(&serve_ok);
  Client client({.idle_timeout = 50ms});
  weft::run(weft::RuntimeOptions{.processors = 1}, [&] { client.get(server.url()); });
  // Its timer went with it.
  const auto end = weft::Clock::now() + 60ms;
  test::eventually([&] { return weft::Clock::now() > end; });
  weft::run([&] {
    client.get(server.url());
    test::eventually([&] { return server.open() == 0; });
  });
  EXPECT_EQ(server.accepted(), 2);
}

TEST(ClientPoolTest, NoMoreThanAllowedAreOpen) {
  weft::run([] {
    std::atomic<int> within{0};
    std::atomic<int> most{0};
    ScriptedServer server([&](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) {
        const int now = within.fetch_add(1) + 1;
        for (int seen = most.load(); seen < now && !most.compare_exchange_weak(seen, now);) continue;
        weft::yield();
        within.fetch_sub(1);
        peer.reply("ok");
      }
    });
    Client client({.max_idle_per_host = 3, .max_connections_per_host = 3});
    WaitGroup wg;
    for (int i = 0; i < 20; ++i) {
      wg.go([&] {
        for (int k = 0; k < test::rounds(50); ++k) EXPECT_EQ(client.get(server.url()).text(), "ok");
      });
    }
    wg.wait();
    EXPECT_LE(most.load(), 3);
    EXPECT_LE(server.accepted(), 3);
  });
}

TEST(ClientPoolTest, WhoWaitsForAConnectionMayGiveUp) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      while (!peer.read_request().empty()) peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok");
    });
    Client client({.max_connections_per_host = 1});
    Response held = client.get(server.url());
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    const auto id = test::go_parked(wg, [&, &context = ctx] {
      std::error_code error;
      client.get(server.url(), context, error);
      EXPECT_EQ(error, weft::errc::canceled);
    });
    EXPECT_NE(id, 0U);
    cancel();
    wg.wait();
    std::error_code error;
    client.get(server.url(), weft::with_timeout(weft::background(), 5ms).first, error);
    EXPECT_TRUE(error);
    held.close();
    EXPECT_EQ(client.get(server.url()).status(), http::Status::ok) << "the place is free again";
  });
}

TEST(ClientPoolTest, ManyGoroutinesShareAClient) {
  weft::run([] {
    ScriptedServer server([](ScriptedPeer& peer) {
      for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
        if (peer.number() % 7 == 0) return peer.reset();
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
        weft::yield();
        peer.write("3\r\ndef\r\n0\r\n\r\n");
      }
    });
    Client client({.max_idle_per_host = 4});
    WaitGroup wg;
    std::atomic<int> good{0};
    for (int i = 0; i < 32; ++i) {
      wg.go([&, i] {
        for (int k = 0; k < test::rounds(100); ++k) {
          std::error_code error;
          Response response = client.get(server.url(), Context(), error);
          if (error) continue;
          if ((i + k) % 5 == 0) continue;  // leaves it unread
          EXPECT_EQ(response.text(), "abcdef");
          ++good;
        }
      });
    }
    wg.wait();
    EXPECT_GT(good.load(), 0);
    client.close_idle();
    test::eventually([&] { return server.open() == 0; });
  });
}

}  // namespace

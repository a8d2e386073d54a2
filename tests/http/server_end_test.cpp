// How a server ends: shutdown() lets requests end, close() does not wait for the network. And what it does when there is no
// room: max_connections, no descriptors.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/http/server.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::Unit;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Server;
using weft::http::ServerOptions;
using weft::test::get;
using weft::test::Peer;
using weft::test::post;
using weft::test::Reply;
using weft::test::TestServer;
namespace http = weft::http;
namespace net = weft::net;
namespace test = weft::test;

void hello(Request&, ResponseWriter& response) { response.send("hello"); }

/// Says that it is at work, and waits until it may go on.
struct Gate {
  Chan<Unit> entered = weft::make_chan<Unit>();
  Chan<Unit> leave = weft::make_chan<Unit>();
  void operator()(Request&, ResponseWriter& response) const {
    entered.send({});
    leave.recv();
    response.send("done");
  }
};

TEST(HttpEndTest, AServerNeedNotServe) {
  test::everywhere([] {
    Server server(hello);
    EXPECT_FALSE(server.shutdown());
    EXPECT_EQ(server.serve(net::listen_tcp("127.0.0.1:0")), http::errc::server_closed);
    server.close();
    server.close();
    EXPECT_EQ(server.stats().accepted, 0U);
  });
  const Server unused(hello);
}

TEST(HttpEndTest, AServerNeedsAHandlerAndAnAddress) {
  EXPECT_THROW(Server{http::Handler()}, weft::Panic);
  Server server(hello);
  EXPECT_THROW(static_cast<void>(server.listen_and_serve("nonsense")), std::system_error);
}

TEST(HttpEndTest, ShutdownEndsIdleConnectionsAndLetsRequestsEnd) {
  weft::run([] {
    const Gate gate;
    TestServer server(gate);
    Peer silent(server);
    Peer idle(server);
    Peer active(server);
    idle.send(get("/"));
    gate.entered.recv();
    gate.leave.send({});
    EXPECT_EQ(idle.read_reply()->body, "done");
    active.send(get("/") + get("/not-served"));
    gate.entered.recv();
    test::eventually([&] { return server.server().stats().open == 3; });

    std::atomic<bool> is_down{false};
    weft::WaitGroup ending;
    ending.go([&] {
      EXPECT_FALSE(server.server().shutdown());
      is_down = true;
    });
    EXPECT_TRUE(silent.is_ended());
    EXPECT_TRUE(idle.is_ended());
    EXPECT_FALSE(is_down);
    std::error_code refused;
    EXPECT_FALSE(net::dial_tcp(server.address(), refused).is_open());
    gate.leave.send({});
    const std::optional<Reply> reply = active.read_reply();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->body, "done");
    EXPECT_TRUE(active.is_ended());
    ending.wait();
    EXPECT_EQ(server.server().stats().open, 0U);
    EXPECT_EQ(server.end(), http::errc::server_closed);
  });
}

TEST(HttpEndTest, ARepliesHeadSaysThatTheConnectionEnds) {
  weft::run([] {
    const Gate gate;
    TestServer server(gate);
    Peer peer(server);
    const auto [ctx, cancel] = weft::with_cancel(weft::background());
    cancel();
    for (const bool is_down : {false, true}) {
      peer.send(get("/"));
      gate.entered.recv();
      if (is_down) {
        EXPECT_EQ(server.server().shutdown(ctx), weft::errc::canceled);
      }
      gate.leave.send({});
      EXPECT_EQ(peer.read_reply()->field("Connection"), is_down ? "close" : "");
    }
  });
}

TEST(HttpEndTest, ShutdownHasAnEndAndCloseDoesTheRest) {
  weft::run([] {
    const auto entered = weft::make_chan<Unit>();
    TestServer server([&](Request& request, ResponseWriter&) {
      entered.send({});
      request.context().done().recv();
    });
    Peer waiting(server);
    waiting.send(get("/"));
    entered.recv();
    Peer sending(server);  // keeps it in a header
    sending.send("GET / HT");
    Peer posting(server);
    posting.send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n12");
    entered.recv();
    test::eventually([&] { return server.server().stats().active == 3; });
    const auto [ctx, cancel] = weft::with_timeout(weft::background(), 20ms);
    EXPECT_EQ(server.server().shutdown(ctx), weft::errc::deadline_exceeded);
    EXPECT_EQ(server.server().stats().active, 3U);
    server.server().close();
    EXPECT_EQ(server.server().stats().open, 0U);
    EXPECT_TRUE(waiting.is_ended());
    EXPECT_TRUE(posting.is_ended());
  });
}

TEST(HttpEndTest, CloseEndsReadsAndWritesOfHandlers) {
  for (int round = 0; round < test::rounds(50); ++round)
    weft::run([] {
      const auto entered = weft::make_chan<Unit>();
      TestServer server([&](Request& request, ResponseWriter& response) {
        entered.send({});
        std::error_code error;
        if (request.path() == "/read") {
          std::byte byte{};
          request.read_some({&byte, 1}, error);
        } else {
          while (!(error = response.write(std::string(100'000, 'x')))) {
          }
        }
        EXPECT_EQ(error, net::errc::timed_out);
        EXPECT_TRUE(request.context().is_done());
      });
      Peer reads(server);
      reads.send("POST /read HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n");
      Peer writes(server);
      writes.send(get("/write"));
      entered.recv();
      entered.recv();
      server.server().close();
    });
}

// Whatever a connection is at, or about to be.
TEST(HttpEndTest, CloseMeetsConnectionsAnywhere) {
  for (int round = 0; round < test::rounds(400); ++round) {
    weft::run([&] {
      TestServer server([](Request& request, ResponseWriter& response) { response.send(request.body()); });
      weft::WaitGroup clients;
      for (int i = 0; i < 8; ++i) {
        clients.go([&, i] {
          std::error_code error;
          net::Stream stream = net::dial_tcp(server.address(), error);
          for (int n = 0; n < i && !error; ++n) {
            stream.write(post("/", std::string(static_cast<std::size_t>(100 * n), 'x')), error);
            std::byte buffer[1'000];
            if (!error) stream.read_some(buffer, error);
          }
        });
      }
      for (int i = 0; i < round % 50; ++i) weft::yield();
      if (round % 2 == 0) {
        server.server().close();
      } else {
        EXPECT_FALSE(server.server().shutdown());
      }
      EXPECT_EQ(server.server().stats().open, 0U);
      clients.wait();
    });
  }
}

TEST(HttpEndTest, ALimitOnConnectionsKeepsTheOthersWaiting) {
  weft::run([] {
    ServerOptions options;
    options.max_connections = 2;
    TestServer server(hello, options);
    std::optional<Peer> first(server);
    Peer second(server);
    EXPECT_EQ(first->ask(get("/")).status, 200);
    EXPECT_EQ(second.ask(get("/")).status, 200);
    Peer third(server);
    third.send(get("/"));
    const std::uint64_t before = server.server().stats().accepted;
    EXPECT_EQ(second.ask(get("/")).status, 200);
    EXPECT_EQ(server.server().stats().accepted, before);
    EXPECT_EQ(before, 2U);
    first.reset();
    EXPECT_EQ(third.read_reply()->status, 200);
    EXPECT_LE(server.server().stats().open, 2U);
  });
}

TEST(HttpEndTest, ALimitOnConnectionsKeepsNobodyFromShuttingDown) {
  weft::run([] {
    ServerOptions options;
    options.max_connections = 1;
    TestServer server(hello, options);
    Peer peer(server);
    EXPECT_EQ(peer.ask(get("/")).status, 200);
    EXPECT_FALSE(server.server().shutdown());
    EXPECT_EQ(server.end(), http::errc::server_closed);
  });
}

TEST(HttpEndTest, WithoutDescriptorsConnectionsWait) {
  const test::ChildResult child = test::in_child([] {
    const rlimit few{.rlim_cur = 64, .rlim_max = 64};
    if (::setrlimit(RLIMIT_NOFILE, &few) != 0) std::_Exit(1);
    weft::run([] {
      TestServer server(hello);
      Peer early(server);
      if (early.ask(get("/")).status != 200) std::_Exit(2);
      std::vector<int> taken;
      for (int fd = 0; (fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0;) taken.push_back(fd);
      if (errno != EMFILE || taken.empty()) std::_Exit(3);
      ::close(taken.back());
      taken.pop_back();
      std::optional<Peer> unlucky(server);  // takes the last descriptor
      unlucky->send(get("/"));
      test::eventually([&] { return !server.log().empty(); });
      if (early.ask(get("/")).status != 200) std::_Exit(4);  // goes on meanwhile
      for (const int fd : taken) ::close(fd);
      if (unlucky->read_reply()->status != 200) std::_Exit(5);
      if (server.log().size() != 1) std::_Exit(6);  // said once, not at each attempt
      std::puts(server.log().front().c_str());
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "weft: http: accept: Too many open files; trying again\n");
}

TEST(HttpEndTest, AListenerThatFailsEndsItsServe) {
  weft::run([] {
    Server server(hello);
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);  // does not listen
    EXPECT_EQ(server.serve(net::Listener(fd)), std::errc::invalid_argument);
    EXPECT_FALSE(server.shutdown());
  });
}

}  // namespace

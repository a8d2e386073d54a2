// Handlers that throw, leave or are told to end: what the client gets, what the log says, and what becomes of the connection.

#include <atomic>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/go.hpp>
#include <weft/http/server.hpp>
#include <weft/runtime.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using testing::ElementsAre;
using weft::Context;
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

Served serve_throwing(const std::function<void()>& thrower) {
  return serve(
      [&](Request&, ResponseWriter& response) {
        response.header("X-Stays", "yes").write("half");
        thrower();
      },
      get("/x?y"), {.is_open = true});
}

TEST(HttpErrorTest, AnExceptionIsA500AndALineInTheLog) {
  struct Case {
    std::function<void()> thrower;
    std::string line;
  };
  for (const Case& one :
       {Case{[] { throw std::runtime_error("secret"); }, "GET /x?y: secret"},
        Case{[] { throw std::system_error(http::errc::truncated, "elsewhere"); },
             "GET /x?y: elsewhere: unexpected EOF"},
        Case{[] { throw 7; }, "GET /x?y: an exception that is no std::exception"},
        Case{[] { throw StatusError(Status::internal_server_error, "secret"); }, "GET /x?y: secret"}}) {
    const Served served = serve_throwing(one.thrower);
    const Reply reply = served.reply();
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.body, "Internal Server Error\n");
    EXPECT_EQ(reply.field("X-Stays"), "yes");
    EXPECT_TRUE(served.is_kept);
    EXPECT_THAT(served.log, ElementsAre(one.line));
  }
}

TEST(HttpErrorTest, AStatusErrorIsTheReply) {
  const Served served = serve_throwing([] { throw StatusError(Status::unprocessable_content, "age: -1"); });
  EXPECT_EQ(served.status(), 422);
  EXPECT_EQ(served.reply().body, "age: -1\n");
  EXPECT_TRUE(served.is_kept);
  EXPECT_TRUE(served.log.empty());
  EXPECT_EQ(serve_throwing([] { throw StatusError(Status::not_modified, "x"); }).reply().body, "");
}

TEST(HttpErrorTest, AReplyThatHasBegunIsCutOffSoThatNobodyTakesItForWhole) {
  for (const std::string_view length : {"", "100"}) {
    const auto handler = [&](Request& request, ResponseWriter& response) {
      if (request.path() == "/before") return void(response.send("before"));
      if (!length.empty()) response.header("Content-Length", length);
      response.write("begun");
      response.flush();
      response.write("more");
      throw StatusError(Status::conflict, "too late");
    };
    const Served served = serve(handler, get("/before") + get("/") + get("/before"));
    const std::vector<Reply> replies = take_replies(served.output);
    ASSERT_EQ(replies.size(), 2U);
    EXPECT_EQ(replies[0].body, "before");
    EXPECT_EQ(replies[1].body, "begunmore");
    EXPECT_FALSE(replies[1].is_whole);
    EXPECT_FALSE(served.is_kept);
  }
}

// Its head was not sent yet, nor was the reply before it.
TEST(HttpErrorTest, RepliesThatWereStillToBeSentGoOutBeforeTheEnd) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    if (request.path() == "/before") return void(response.send("before"));
    response.write(std::string(10'000, 'x'));
    throw std::runtime_error("broken");
  };
  const std::vector<Reply> replies = take_replies(serve(handler, get("/before") + get("/")).output);
  ASSERT_EQ(replies.size(), 2U);
  EXPECT_EQ(replies[0].body, "before");
  EXPECT_FALSE(replies[1].is_whole);
}

TEST(HttpErrorTest, HeadersCannotBeInjected) {
  const auto handler = [](Request& request, ResponseWriter& response) {
    const std::string text = *request.query("text");
    if (request.path() == "/header") response.header("X-Text", text);
    if (request.path() == "/redirect") response.redirect(text);
    if (request.path() == "/type") response.send(Status::ok, text, "x");
    response.send("x");
  };
  for (const char* path : {"/header", "/redirect", "/type"}) {
    for (const char* text : {"a%0d%0aSet-Cookie:%20x=1", "%0a", "%00", "a%0d"}) {
      const Served served = serve(handler, get(std::string(path) + "?text=" + text), {.is_open = true});
      EXPECT_EQ(served.status(), 500);
      EXPECT_EQ(served.log.size(), 1U);
      EXPECT_THAT(served.output, testing::Not(testing::HasSubstr("Set-Cookie")));
    }
  }
}

TEST(HttpErrorTest, AHandlerThatLeavesItsGoroutineEndsTheConnection) {
  weft::run([] {
    TestServer server([](Request& request, ResponseWriter& response) {
      if (request.path() == "/leave") {
        response.write("never sent");
        weft::exit_goroutine();
      }
      response.send("hello");
    });
    Peer peer(server);
    peer.send(get("/") + get("/leave") + get("/"));
    EXPECT_EQ(peer.read_reply()->body, "hello");
    EXPECT_TRUE(peer.is_ended());
    EXPECT_EQ(Peer(server).ask(get("/")).body, "hello");
    test::eventually([&] { return server.server().stats().open <= 1; });
  });
}

// --- contexts ---

TEST(HttpErrorTest, TheContextIsDoneWhenTheHandlerHasReturned) {
  Context kept;
  const auto handler = [&](Request& request, ResponseWriter&) {
    EXPECT_FALSE(request.context().is_done());
    EXPECT_EQ(request.context(), request.context());
    EXPECT_TRUE(kept == Context() || kept.is_done());
    kept = request.context();
    if (request.path() == "/throws") throw std::runtime_error("broken");
  };
  serve(handler, get("/") + get("/throws") + get("/"));
  EXPECT_EQ(kept.err(), weft::errc::canceled);
}

TEST(HttpErrorTest, HandlersMayHandOnAContextOfTheirOwn) {
  struct User {
    using type = std::string;
  };
  const auto handler = [](Request& request, ResponseWriter& response) {
    request.set_context(weft::with_value<User>(request.context(), "gopher"));
    response.send(*request.context().value<User>());
  };
  EXPECT_EQ(serve(handler, get("/")).reply().body, "gopher");
  // It is the request's only.
  const auto after = [](Request& request, ResponseWriter& response) {
    EXPECT_EQ(request.context().value<User>(), nullptr);
    request.set_context(weft::with_value<User>(request.context(), "gopher"));
    response.send("x");
  };
  EXPECT_EQ(take_replies(serve(after, get("/") + get("/")).output).size(), 2U);
}

TEST(HttpErrorTest, TheContextIsDoneWhenTheServerIsClosed) {
  weft::run([] {
    const auto waits = weft::make_chan<weft::Unit>();
    TestServer server([&](Request& request, ResponseWriter& response) {
      const Context& ctx = request.context();
      waits.send({});
      ctx.done().recv();
      EXPECT_EQ(ctx.err(), weft::errc::canceled);
      response.send("too late");
    });
    Peer peer(server);
    peer.send(get("/"));
    waits.recv();
    server.server().close();
    peer.read_rest();  // whether the reply was sent before all connections were ended is open
  });
}

TEST(HttpErrorTest, TheContextIsDoneWhenThePeerGoes) {
  weft::run([] {
    const auto waits = weft::make_chan<weft::Unit>();
    std::atomic<int> ended{0};
    TestServer server([&](Request& request, ResponseWriter&) {
      if (request.path() == "/body") request.body();
      const Context ctx = request.context();
      waits.send({});
      ctx.done().recv();
      ++ended;
    });
    for (int round = 0; round < test::rounds(200); ++round) {
      Peer peer(server);
      peer.send(round % 2 == 0 ? get("/") : post("/body", "hello"));
      waits.recv();
      if (round % 3 == 0) {
        peer.reset();
      } else {
        EXPECT_FALSE(peer.stream().close());
      }
      test::eventually([&] { return ended == round + 1; });
    }
  });
}

// Who watches reads nothing away, and nobody watches any more when the next request comes.
TEST(HttpErrorTest, WatchingThePeerDisturbsNoRequest) {
  weft::run([] {
    TestServer server([](Request& request, ResponseWriter& response) {
      const Context ctx = request.context();
      for (int i = 0; i < 3; ++i) weft::yield();
      EXPECT_FALSE(ctx.is_done());
      response.send(request.target());
    });
    weft::WaitGroup clients;
    for (int client = 0; client < 4; ++client) {
      clients.go([&, client] {
        Peer peer(server);
        for (int i = 0; i < test::rounds(2'000); ++i) {
          const std::string target = "/" + std::to_string(i);
          peer.send(get(target));
          for (int n = 0; n < (i + client) % 4; ++n) weft::yield();
          if (i % 2 == 0) peer.send(get(target));  // while the first is at work, or is not
          EXPECT_EQ(peer.read_reply()->body, target);
          if (i % 2 == 0) {
            EXPECT_EQ(peer.read_reply()->body, target);
          }
        }
      });
    }
    clients.wait();
  });
}

}  // namespace

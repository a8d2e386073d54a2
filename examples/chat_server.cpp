// chat_server: rooms of people who talk over TCP; who is too slow to listen is told so and put out

// Go original: the chat of The Go Programming Language (section 8.10), with rooms, names and bounded queues. Two
// goroutines serve each connection: one reads lines and hands them to the hub, one writes what the hub has queued. The
// hub is a single goroutine that owns everything else, so nothing is locked; and it must never wait for anybody, so
// a queue that is full is the end of its owner.
//
// The chat is in chat_server/server.hpp. Told nothing, this program plays a scene on loopback with five guests, one of
// whom does not listen. With --listen it serves others until Ctrl-C: try `nc localhost 7000`.

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <weft/context.hpp>
#include <weft/net/signal.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "chat_server/server.hpp"
#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/lines.hpp"
#include "support/numbers.hpp"

namespace {

using namespace std::chrono_literals;
using chat::ChatServer;
using examples::Actor;

// --- the scene ---

void enter(Actor& actor, const std::string& number, const std::string& name, const std::string& others,
           const std::vector<Actor*>& hearers) {
  const std::string guest = "guest" + number;
  actor.hear("* welcome, " + guest + "; there are /nick NAME, /join ROOM, /who and /quit");
  actor.hear("* you are in lobby, with " + others + guest);
  for (Actor* hearer : hearers) {
    hearer->hear("* " + guest + " has come");
  }
  actor.say("/nick " + name);
  actor.hear("* you are now " + name);
  for (Actor* hearer : hearers) {
    hearer->hear("* " + guest + " is now " + name);
  }
}

/// Alice talks until the one who does not listen is out; Bob listens to every line, so he is never far behind.
void talk_until_out(Actor& alice, Actor& bob, const std::string& news, examples::Check& check) {
  const std::string filler(4'000, '.');
  for (std::size_t n = 1; n < 100'000; ++n) {
    const std::string line = std::to_string(n) + filler;
    alice.say_quietly(line);
    std::string heard = bob.next();
    const bool is_out = heard == news;
    if (is_out) {
      heard = bob.next();
    }
    check.expect(heard == "alice: " + line, "bob hears line " + std::to_string(n));
    if (heard == Actor::kEnd || is_out) {
      break;
    }
  }
  std::printf("%-6s < %s\n", "bob", news.c_str());
  alice.hear(news);
}

/// Everything that is still for them; the last of it.
std::string last_words(Actor& actor) {
  std::string last;
  for (std::string line = actor.next(); line != Actor::kEnd; line = actor.next()) {
    last = std::move(line);
  }
  return last;
}

void play(const std::string& address, const std::function<void()>& shut_down, examples::Check& check) {
  Actor alice("alice", address, check);
  enter(alice, "1", "alice", "", {});
  Actor bob("bob", address, check);
  enter(bob, "2", "bob", "alice, ", {&alice});
  alice.say("hello, bob");
  bob.hear("alice: hello, bob");
  bob.say("/nick alice");
  bob.hear("* alice is taken");

  Actor carol("carol", address, check);
  enter(carol, "3", "carol", "alice, bob, ", {&alice, &bob});
  carol.say("/join tea");
  carol.hear("* you are in tea, with carol");
  alice.hear("* carol has gone to tea");
  bob.hear("* carol has gone to tea");
  bob.say("/join tea");
  bob.hear("* you are in tea, with bob, carol");
  carol.hear("* bob has come");
  carol.say("milk or lemon?");
  bob.hear("carol: milk or lemon?");
  alice.hear("* bob has gone to tea");
  alice.say("/who");
  alice.hear("* in lobby: alice");  // and nothing of tea before that
  bob.say("/join lobby");
  bob.hear("* you are in lobby, with alice, bob");
  alice.hear("* bob has come");
  carol.hear("* bob has gone to lobby");

  Actor dozy("dozy", address, check);
  dozy.say("/nick dozy");  // and listens to nobody
  for (Actor* hearer : {&alice, &bob}) {
    hearer->hear("* guest4 has come");
    hearer->hear("* guest4 is now dozy");
  }
  talk_until_out(alice, bob, "* dozy was too slow and is out", check);
  const std::string heard = last_words(dozy);
  std::printf("%-6s < ... %s\n", "dozy", heard.c_str());
  check.expect(heard.starts_with("* you are too slow"), "who was put out is told why");

  bob.say("/quit");
  bob.hear("* bye");
  bob.hear(Actor::kEnd);
  alice.hear("* bob has left");
  shut_down();
  for (Actor* stayed : {&alice, &carol}) {
    stayed->hear("* the server is going down");
    stayed->hear(Actor::kEnd);
  }
}

void serve_itself(std::size_t queue, examples::Check& check) {
  ChatServer server(weft::net::listen_tcp("127.0.0.1:0"), queue);
  const auto [ctx, shut_down] = weft::with_cancel(weft::background());
  weft::WaitGroup serving;
  serving.go([&, ctx = ctx] { server.run(ctx); });
  {
    const examples::Defer end([&, shut_down = shut_down] {
      shut_down();
      serving.wait();
    });
    play(server.address(), shut_down, check);
  }
  check.expect(server.put_out() == 1, "nobody else was put out");
}

void serve_others(const std::string& address, std::size_t queue) {
  const auto [ctx, stop_signals] = weft::net::notify_context(weft::background(), SIGINT, SIGTERM);
  ChatServer server(weft::net::listen_tcp(address), queue);
  std::printf("chatting on %s; Ctrl-C ends it\n", server.address().c_str());
  std::fflush(stdout);
  weft::WaitGroup serving;
  serving.go([&, ctx = ctx] { server.run(ctx); });
  ctx.done().recv();
  stop_signals();  // a second Ctrl-C ends it at once
  serving.wait();
  std::printf("%s guests were too slow\n", examples::grouped(server.put_out()).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "chat_server",
      "A chat server with rooms. Told nothing, it plays a scene on loopback: guests come, talk, and change rooms; one "
      "does\n"
      "not listen, and is put out. With --listen it serves others until Ctrl-C.");
  std::size_t queue = 32;
  std::string address;
  command_line.number("--queue", queue, "How many lines a guest may be behind", 8, 100'000);
  command_line.text("--listen", address, "Serve others at this address instead, like :7000 or 127.0.0.1:7000");

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("chat_server");
      if (address.empty()) {
        serve_itself(queue, check);
      } else {
        serve_others(address, queue);
      }
      std::printf("%s goroutines left over\n", examples::grouped(check.left_over()).c_str());
      return check.exit_status();
    });
  });
}

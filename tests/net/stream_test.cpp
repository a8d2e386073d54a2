// Streams and listeners over loopback: NET-1 to NET-13 of the contract.

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/go.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/nobody.hpp"
#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::WaitGroup;
using weft::net::Listener;
using weft::net::Stream;
namespace net = weft::net;
namespace test = weft::test;

struct Pair {
  Stream client;
  Stream server;
};

Pair connected() {
  Listener listener = net::listen_tcp("127.0.0.1:0");
  Pair pair;
  WaitGroup wg;
  wg.go([&] { pair.server = listener.accept(); });
  pair.client = net::dial_tcp(listener.local().to_string());
  wg.wait();
  return pair;
}

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

std::string read_text(Stream& stream, std::size_t size) {
  std::string text(size, '\0');
  std::error_code error;
  text.resize(stream.read_full(bytes(text), error));
  EXPECT_FALSE(error) << error.message();
  return text;
}

/// What a read ends with.
std::error_code read_error(Stream& stream) {
  std::string text(1, '\0');
  std::error_code error;
  const std::size_t n = stream.read_some(bytes(text), error);
  EXPECT_EQ(n, error ? 0U : 1U);
  return error;
}

// Rules: NET-11
TEST(StreamTest, EchoesAndEndsWithEof) {
  test::everywhere([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    WaitGroup wg;
    wg.go([&] {
      Stream server = listener.accept();
      std::string buffer(4'096, '\0');
      std::error_code error;
      while (const std::size_t n = server.read_some(bytes(buffer), error)) server.write(buffer.substr(0, n));
      EXPECT_EQ(error, net::errc::eof);
    });
    Stream client = net::dial_tcp(listener.local().to_string());
    EXPECT_EQ(client.peer().to_string(), listener.local().to_string());
    for (int i = 0; i < test::rounds(2'000); ++i) {
      const std::string text = "round " + std::to_string(i);
      EXPECT_EQ(client.write(text), text.size());
      EXPECT_EQ(read_text(client, text.size()), text);
    }
    EXPECT_FALSE(client.shutdown_write());
    wg.wait();
    EXPECT_EQ(read_error(client), net::errc::eof);
  });
}

TEST(StreamTest, ManyConnectionsAtOnce) {
  weft::run([] {
    constexpr int kConnections = 200;
    Listener listener = net::listen_tcp("127.0.0.1:0");
    WaitGroup wg;
    wg.go([&] {
      for (int i = 0; i < kConnections; ++i) {
        wg.go([stream = listener.accept()]() mutable {
          std::string buffer(64, '\0');
          std::error_code error;
          while (const std::size_t n = stream.read_some(bytes(buffer), error)) stream.write(buffer.substr(0, n));
        });
      }
    });
    const std::string address = listener.local().to_string();
    for (int i = 0; i < kConnections; ++i) {
      wg.go([&, i] {
        Stream client = net::dial_tcp(address);
        for (int n = 0; n < test::rounds(50); ++n) {
          const std::string text = std::to_string(i) + "/" + std::to_string(n);
          client.write(text);
          EXPECT_EQ(read_text(client, text.size()), text);
        }
      });
    }
    wg.wait();
  });
}

// Rules: NET-1, NET-2, NET-4
TEST(StreamTest, AReadDeadlineIsStickyAndComesBeforeTheData) {
  test::everywhere([] {
    Pair pair = connected();
    pair.server.write("x");
    EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() - 5s));
    for (int i = 0; i < 3; ++i) {
      const std::error_code error = read_error(pair.client);
      EXPECT_EQ(error, net::errc::timed_out);
      EXPECT_EQ(error, std::errc::timed_out);
      EXPECT_NE(error, weft::errc::deadline_exceeded);
      EXPECT_EQ(error.message(), "i/o timeout");
    }
    EXPECT_EQ(pair.client.write("y"), 1U);  // the other direction has its own
    EXPECT_EQ(read_text(pair.server, 1), "y");
    EXPECT_FALSE(pair.client.set_read_deadline(std::nullopt));
    EXPECT_EQ(read_text(pair.client, 1), "x");
  });
}

// Rules: NET-3
TEST(StreamTest, ADeadlineSetMeanwhileEndsAWaitOrMovesItsEnd) {
  weft::run([] {
    Pair pair = connected();
    std::atomic<bool> is_over{false};
    WaitGroup wg;
    std::uint64_t reader = 0;
    wg.add(1);
    reader = test::go_parked([&] {
      EXPECT_EQ(read_error(pair.client), net::errc::timed_out);
      is_over = true;
      wg.done();
    });
    // Later ones and none do not disturb it.
    for (const auto d : {1h, 2h}) {
      EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() + d));
      weft::testing::wait_parked(reader);
      EXPECT_FALSE(is_over);
    }
    EXPECT_FALSE(pair.client.set_read_deadline(std::nullopt));
    weft::testing::wait_parked(reader);
    EXPECT_FALSE(is_over);
    EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() - 1s));
    wg.wait();
    EXPECT_TRUE(is_over);
    // Cleared, it waits again.
    EXPECT_FALSE(pair.client.set_read_deadline(std::nullopt));
    wg.go([&] { EXPECT_EQ(read_text(pair.client, 1), "z"); });
    pair.server.write("z");
    wg.wait();
  });
}

// Rules: NET-5
TEST(StreamTest, ADeadlineIsNeverEarly) {
  test::everywhere([] {
    Pair pair = connected();
    for (const auto d : {1ns, 1'000ns, 100'000ns, 1'000'000ns, 20'000'000ns}) {
      const auto deadline = Clock::now() + d;
      EXPECT_FALSE(pair.client.set_read_deadline(deadline));
      EXPECT_EQ(read_error(pair.client), net::errc::timed_out);
      EXPECT_GE(Clock::now(), deadline);
    }
  });
}

// Rules: NET-6
TEST(StreamTest, AWriteThatTimesOutSaysHowMuchItHasWritten) {
  weft::run([] {
    Pair pair = connected();
    const std::string much(32'000'000, 'm');
    EXPECT_FALSE(pair.client.set_write_deadline(Clock::now() + 50ms));
    std::error_code error;
    const std::size_t written = pair.client.write(much, error);
    EXPECT_EQ(error, net::errc::timed_out);
    EXPECT_GT(written, 0U);
    EXPECT_LT(written, much.size());
  });
}

// Rules: NET-7
TEST(StreamTest, CloseEndsEveryWait) {
  test::everywhere([] {
    Pair pair = connected();
    Listener listener = net::listen_tcp("127.0.0.1:0");
    WaitGroup wg;
    std::atomic<int> ended{0};
    const auto expect_closed = [&](const std::error_code& error) {
      EXPECT_EQ(error, net::errc::closed) << error.message();
      EXPECT_EQ(error.message(), "use of closed network connection");
      ++ended;
    };
    wg.go([&] { expect_closed(read_error(pair.client)); });
    wg.go([&] { expect_closed(read_error(pair.client)); });  // queued behind it
    wg.go([&] {
      std::error_code error;
      pair.client.write(std::string(32'000'000, 'm'), error);
      expect_closed(error);
    });
    wg.go([&] {
      std::error_code error;
      listener.accept(error);
      expect_closed(error);
    });
    test::eventually([&] { return weft::stats().waiting >= 4; });
    EXPECT_FALSE(pair.client.close());
    EXPECT_FALSE(listener.close());
    wg.wait();
    EXPECT_EQ(ended, 4);
    EXPECT_EQ(pair.client.close(), net::errc::closed);
    EXPECT_EQ(pair.client.set_deadline(Clock::now()), net::errc::closed);
    EXPECT_EQ(read_error(pair.client), net::errc::closed);
  });
}

// Rules: NET-8
TEST(StreamTest, AClosedDescriptorsNumberIsNotReadByWhoWasInside) {
  weft::run([] {
    for (int round = 0; round < test::rounds(200); ++round) {
      Pair pair = connected();
      WaitGroup wg;
      wg.go([&] { EXPECT_EQ(read_error(pair.client), net::errc::closed); });
      weft::yield();
      EXPECT_FALSE(pair.client.close());
      // These get its number; whoever still read from it would get their data.
      std::array<std::array<int, 2>, 4> pipes{};
      for (auto& ends : pipes) {
        ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
        ASSERT_EQ(::write(ends[1], "foreign", 7), 7);
      }
      wg.wait();
      for (auto& ends : pipes) {
        char text[8];
        EXPECT_EQ(::read(ends[0], text, 7), 7);
        for (const int fd : ends) ::close(fd);
      }
    }
  });
}

// Rules: NET-9
TEST(StreamTest, WritesOfSeveralAreNotMixed) {
  weft::run([] {
    Pair pair = connected();
    constexpr std::size_t kSize = 64 * 1'024;
    WaitGroup wg;
    for (char letter = 'a'; letter < 'i'; ++letter) {
      wg.go([&, letter] { pair.client.write(std::string(kSize, letter)); });
    }
    for (int i = 0; i < 8; ++i) {
      const std::string run = read_text(pair.server, kSize);
      ASSERT_EQ(run.size(), kSize);
      EXPECT_EQ(run.find_first_not_of(run.front()), std::string::npos);
    }
    wg.wait();
  });
}

// Rules: NET-10
TEST(StreamTest, ADeadlineThatWasMovedDoesNotEndAReadThatFollowsIt) {
  test::everywhere([] {
    Pair pair = connected();
    std::atomic<bool> is_over{false};
    WaitGroup wg;
    wg.go([&] {
      while (!is_over) {
        static_cast<void>(pair.client.set_read_deadline(Clock::now() + 2us));
        weft::yield();
        static_cast<void>(pair.client.set_read_deadline(Clock::now() + 1h));
        weft::yield();
      }
    });
    for (int i = 0; i < test::rounds(2'000); ++i) {
      pair.server.write("x");
      std::error_code error;
      do {
        error = read_error(pair.client);
      } while (error == net::errc::timed_out);
      EXPECT_FALSE(error) << error.message();
    }
    is_over = true;
    wg.wait();
    // What is left is the deadline that was set last.
    EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() + 1h));
    wg.go([&] { EXPECT_FALSE(read_error(pair.client)); });
    pair.server.write("y");
    wg.wait();
  });
}

// Rules: NET-11
TEST(StreamTest, AResetIsTheSystemsError) {
  weft::run([] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    Listener listener = net::listen_tcp("127.0.0.1:0");
    const net::Endpoint address = listener.local();
    ASSERT_EQ(::connect(fd, address.data(), address.size()), 0);
    Stream server = listener.accept();
    const linger reset{1, 0};
    ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    WaitGroup wg;
    wg.go([&] { EXPECT_EQ(read_error(server), std::errc::connection_reset); });
    test::eventually([] { return weft::stats().waiting >= 1; });
    ::close(fd);
    wg.wait();
  });
}

// Rules: NET-12
TEST(StreamTest, AReadOfNothingReturnsAtOnce) {
  test::everywhere([] {
    Pair pair = connected();
    EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() - 1s));
    std::error_code error = net::errc::eof;
    EXPECT_EQ(pair.client.read_some({}, error), 0U);
    EXPECT_FALSE(error);
  });
}

// Rules: NET-13
TEST(StreamTest, SignalsDoNotShow) {
  struct sigaction action {};
  struct sigaction before {};
  action.sa_handler = [](int) {};  // no SA_RESTART
  ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
  const itimerval storm{{0, 1'000}, {0, 1'000}};
  ASSERT_EQ(::setitimer(ITIMER_REAL, &storm, nullptr), 0);
  weft::run([] {
    Pair pair = connected();
    WaitGroup wg;
    const int rounds = test::rounds(10'000);
    wg.go([&] {
      for (int i = 0; i < rounds; ++i) pair.server.write(read_text(pair.server, 1));
    });
    for (int i = 0; i < rounds; ++i) {
      pair.client.write("x");
      EXPECT_EQ(read_text(pair.client, 1), "x");
    }
    wg.wait();
  });
  const itimerval calm{};
  ::setitimer(ITIMER_REAL, &calm, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
}

TEST(StreamTest, ARefusedConnectionNamesTheAddress) {
  weft::run([] {
    const test::Nobody nobody;
    const std::string address = nobody.address().to_string();
    std::error_code error;
    EXPECT_FALSE(net::dial_tcp(address, error).is_open());
    EXPECT_EQ(error, std::errc::connection_refused);
    try {
      net::dial_tcp(address);
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_NE(std::string(refused.what()).find("dial_tcp \"" + address + "\""), std::string::npos) << refused.what();
    }
  });
}

TEST(StreamTest, AContextEndsAccept) {
  test::everywhere([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    wg.go([&, &context = ctx] {
      std::error_code error;
      EXPECT_FALSE(listener.accept(context, error).is_open());
      EXPECT_EQ(error, weft::errc::canceled);
    });
    weft::yield();
    cancel();
    wg.wait();
  });
}

TEST(StreamTest, EveryAddressMeansBothFamilies) {
  weft::run([] {
    Listener listener = net::listen_tcp(":0");
    const std::string port = ":" + std::to_string(listener.local().port());
    std::error_code error;
    const bool has_ipv6 = net::listen_tcp("[::1]:0", error).is_open();
    for (const std::string host : {"127.0.0.1", "[::1]", ""}) {
      if (host == "[::1]" && !has_ipv6) continue;
      const Stream client = net::dial_tcp(host + port);
      const Stream server = listener.accept();
      EXPECT_EQ(server.peer(), client.local());
      EXPECT_EQ(server.local(), client.peer());
    }
  });
}

TEST(StreamTest, NamesAreLookedUp) {
  weft::run([] {
    std::error_code error;
    const auto endpoints = net::resolve("localhost:80", error);
    ASSERT_FALSE(error) << error.message();
    ASSERT_FALSE(endpoints.empty());
    EXPECT_EQ(endpoints.front().port(), 80);
    for (const char* bad : {"", "localhost", "localhost:", "[::1", "1.2.3.4:99999"}) {
      net::resolve(bad, error);
      EXPECT_TRUE(error) << bad;
    }
  });
}

}  // namespace

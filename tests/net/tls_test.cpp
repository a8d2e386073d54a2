// TLS over loopback: what a TlsStream does as a Stream does, and where it is different.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/net/tls.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "tls_pair.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::WaitGroup;
using weft::net::Stream;
using weft::net::tls_errc;
using weft::net::TlsStream;
using weft::test::bytes;
using weft::test::read_error;
using weft::test::read_text;
using weft::test::TlsTest;
using weft::test::Wire;
namespace net = weft::net;
namespace test = weft::test;

// Rules: NET-11, NET-12
TEST_F(TlsTest, EchoesAndEndsWithEof) {
  test::everywhere([] {
    Pair pair = wire_up();
    WaitGroup wg;
    wg.go([&] {
      std::string buffer(4'096, '\0');
      std::error_code error;
      while (const std::size_t n = pair.server.read_some(bytes(buffer), error)) pair.server.write(buffer.substr(0, n));
      EXPECT_EQ(error, net::errc::eof);
      EXPECT_EQ(read_error(pair.server), net::errc::eof);
      EXPECT_FALSE(pair.server.close());
    });
    for (int i = 0; i < test::rounds(1'000); ++i) {
      const std::string text = "round " + std::to_string(i);
      EXPECT_EQ(pair.client.write(text), text.size());
      EXPECT_EQ(read_text(pair.client, text.size()), text);
    }
    EXPECT_EQ(pair.client.version(), "TLSv1.3");
    EXPECT_EQ(pair.client.protocol(), "");
    EXPECT_EQ(pair.client.peer(), pair.server.local());
    std::error_code error = net::errc::eof;
    EXPECT_EQ(pair.client.read_some({}, error), 0U);
    EXPECT_FALSE(error);
    EXPECT_EQ(pair.client.write("", error), 0U);
    EXPECT_FALSE(error);

    EXPECT_FALSE(pair.client.shutdown_write());
    EXPECT_FALSE(pair.client.shutdown_write());
    pair.client.write("more", error);
    EXPECT_EQ(error, std::errc::broken_pipe);
    EXPECT_EQ(read_error(pair.client), net::errc::eof);
    wg.wait();
  });
}

TEST_F(TlsTest, TheFirstReadOrWriteDoesTheHandshake) {
  for (const bool does_server_begin : {false, true}) {
    weft::run([&] {
      Pair pair = wire_up();
      TlsStream& first = does_server_begin ? pair.server : pair.client;
      TlsStream& other = does_server_begin ? pair.client : pair.server;
      WaitGroup wg;
      wg.go([&] { first.write("hello"); });
      EXPECT_EQ(read_text(other, 5), "hello");
      wg.wait();
      EXPECT_FALSE(first.handshake()) << "it is done";
    });
  }
}

TEST_F(TlsTest, MuchDataBothWaysAtOnce) {
  test::everywhere([] {
    Pair pair = wire_up();
    static constexpr std::size_t kSize = test::kSanitized ? 500'000 : 5'000'000;
    WaitGroup wg;
    for (TlsStream* end : {&pair.client, &pair.server}) {
      wg.go([end] {
        std::string much(kSize, 'm');
        for (std::size_t i = 0; i < kSize; i += 997) much[i] = static_cast<char>('a' + i % 26);
        EXPECT_EQ(end->write(much), kSize);
      });
      wg.go([end] {
        const std::string got = read_text(*end, kSize);
        bool is_right = got.size() == kSize;
        for (std::size_t i = 0; i < kSize && is_right; ++i) {
          is_right = got[i] == (i % 997 == 0 ? static_cast<char>('a' + i % 26) : 'm');
        }
        EXPECT_TRUE(is_right);
      });
    }
    wg.wait();
  });
}

// Rules: NET-9
TEST_F(TlsTest, WritesOfSeveralAreNotMixed) {
  weft::run([] {
    Pair pair = connected();
    constexpr std::size_t kSize = 40'000;  // several records
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

TEST_F(TlsTest, AConnectionThatIsCutOffIsNoEnd) {
  weft::run([] {
    Pair pair = connected();
    pair.server.write("all that there is?");
    pair.server.stream().close();
    read_text(pair.client, 18);
    for (int i = 0; i < 2; ++i) {
      const std::error_code error = read_error(pair.client);
      EXPECT_EQ(error, tls_errc::truncated);
      EXPECT_NE(error, net::errc::eof);
      EXPECT_TRUE(test::contains(error.message(), "close_notify")) << error.message();
    }
  });
}

TEST_F(TlsTest, ADestroyedStreamHasSaidGoodBye) {
  weft::run([] {
    Pair pair = connected();
    pair.server.write("last words");
    pair.server = TlsStream();
    EXPECT_EQ(read_text(pair.client, 10), "last words");
    EXPECT_EQ(read_error(pair.client), net::errc::eof);
  });
}

TEST_F(TlsTest, WhoSpeaksPlainTextIsFoundOut) {
  weft::run([] {
    {
      Wire wire;
      TlsStream server = TlsStream::server(std::move(wire.server), server_config());
      wire.client.write("GET / HTTP/1.1\r\n\r\n");
      EXPECT_EQ(read_error(server), tls_errc::not_tls);
      EXPECT_EQ(server.handshake().message(), "tls: the peer does not speak TLS");
      server.stream().write("speak TLS here");  // the peer can be told
      EXPECT_EQ(read_text(wire.client, 14), "speak TLS here");
    }
    {
      Wire wire;
      TlsStream client = TlsStream::client(std::move(wire.client), client_config(), "localhost");
      wire.server.write("220 mail.example.org ESMTP\r\n");
      std::error_code error;
      client.write("hello", error);
      EXPECT_EQ(error, tls_errc::not_tls);
    }
    {
      // The first byte looks right.
      Wire wire;
      TlsStream server = TlsStream::server(std::move(wire.server), server_config());
      wire.client.write(std::string(64, '\x16'));
      const std::error_code error = server.handshake();
      EXPECT_EQ(error.category(), net::tls_category());
      EXPECT_TRUE(test::contains(error.message(), "version")) << error.message();
    }
  });
}

TEST_F(TlsTest, APeerThatGoesDuringTheHandshake) {
  weft::run([] {
    Wire wire;
    TlsStream client = TlsStream::client(std::move(wire.client), client_config(), "localhost");
    EXPECT_FALSE(wire.server.shutdown_write());
    EXPECT_EQ(client.handshake(), tls_errc::truncated);
    EXPECT_EQ(read_error(client), tls_errc::truncated) << "it stays so";
  });
}

// A close_notify that nobody has signed: anybody on the way could have written it.
TEST_F(TlsTest, AnEndDuringTheHandshakeIsNoEof) {
  weft::run([] {
    Wire wire;
    TlsStream client = TlsStream::client(std::move(wire.client), client_config(), "localhost");
    wire.server.write(std::string("\x15\x03\x03\x00\x02\x01\x00", 7));
    const std::error_code error = read_error(client);
    EXPECT_TRUE(error);
    EXPECT_NE(error, net::errc::eof);
  });
}

// Rules: NET-5
TEST_F(TlsTest, ADeadlineEndsAHandshakeForGood) {
  test::everywhere([] {
    Wire wire;
    TlsStream client = TlsStream::client(std::move(wire.client), client_config(), "localhost");
    const auto deadline = Clock::now() + 5ms;
    EXPECT_FALSE(client.set_deadline(deadline));
    EXPECT_EQ(client.handshake(), net::errc::timed_out);
    EXPECT_GE(Clock::now(), deadline);
    EXPECT_FALSE(client.set_deadline(std::nullopt));
    EXPECT_EQ(read_error(client), net::errc::timed_out);
  });
}

TEST_F(TlsTest, AContextEndsAHandshakeAndTheConnection) {
  test::everywhere([] {
    Wire wire;
    TlsStream client = TlsStream::client(std::move(wire.client), client_config(), "localhost");
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    test::go_parked(wg, [&, &context = ctx] { EXPECT_EQ(client.handshake(context), weft::errc::canceled); });
    cancel();
    wg.wait();
    std::string hello(10'000, '\0');
    std::error_code error;
    wire.server.read_full(bytes(hello), error);
    EXPECT_EQ(error, net::errc::eof);
    EXPECT_EQ(client.handshake(), weft::errc::canceled);
  });
}

TEST_F(TlsTest, AContextThatEndsAfterTheHandshakeEndsNothing) {
  weft::run([] {
    for (int i = 0; i < test::rounds(50); ++i) {
      Pair pair = wire_up();
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      WaitGroup wg;
      wg.go([&] { pair.server.handshake(); });
      const std::error_code error = pair.client.handshake(ctx);
      wg.wait();
      EXPECT_FALSE(error) << error.message();
      cancel();
      wg.go([&] { pair.server.write("x"); });
      EXPECT_EQ(read_text(pair.client, 1), "x");
      wg.wait();
    }
  });
}

// Rules: NET-7
TEST_F(TlsTest, CloseEndsEveryWait) {
  test::everywhere([] {
    Pair pair = connected();
    Wire wire;
    TlsStream shaking = TlsStream::client(std::move(wire.client), client_config(), "localhost");
    WaitGroup wg;
    std::atomic<int> ended{0};
    const auto expect_closed = [&](const std::error_code& error) {
      EXPECT_EQ(error, net::errc::closed) << error.message();
      ++ended;
    };
    wg.go([&] { expect_closed(read_error(pair.client)); });
    wg.go([&] { expect_closed(read_error(pair.client)); });
    wg.go([&] {
      std::error_code error;
      pair.client.write(std::string(32'000'000, 'm'), error);
      expect_closed(error);
    });
    wg.go([&] { expect_closed(shaking.handshake()); });
    test::eventually([&] { return weft::stats().waiting >= 4; });
    EXPECT_FALSE(pair.client.close());
    EXPECT_FALSE(shaking.close());
    wg.wait();
    EXPECT_EQ(ended, 4);
    EXPECT_EQ(pair.client.close(), net::errc::closed);
    EXPECT_EQ(read_error(pair.client), net::errc::closed);
    EXPECT_EQ(pair.client.shutdown_write(), net::errc::closed);
    std::error_code error;
    pair.client.write("x", error);
    EXPECT_EQ(error, net::errc::closed);
    std::string room(65'536, '\0');
    do {
      pair.server.read_some(bytes(room), error);
    } while (!error);
    EXPECT_EQ(error, tls_errc::truncated) << "its write was cut short";
  });
}

// During the handshake, a read, a write, or between them: everybody comes out with an error that says so.
TEST_F(TlsTest, CloseMayComeAtAnyTime) {
  weft::run([] {
    const net::TlsConfig server = server_config();
    const net::TlsConfig client = client_config();
    test::Lcg random;
    for (int i = 0; i < test::rounds(200); ++i) {
      Pair pair = wire_up(client, server);
      WaitGroup wg;
      for (TlsStream* end : {&pair.client, &pair.server}) {
        wg.go([end] {
          std::error_code error;
          while (!error) {
            end->write(std::string(1'000, 'x'), error);
            weft::yield();
          }
          EXPECT_NE(error, net::errc::eof);
        });
        wg.go([end] {
          std::string room(10'000, '\0');
          std::error_code error;
          while (!error) end->read_some(bytes(room), error);
        });
      }
      for (std::uint64_t n = random.below(100); n > 0; --n) weft::yield();
      EXPECT_FALSE(pair.client.close());
      if (random.below(2) == 0) static_cast<void>(pair.server.close());
      wg.wait();
    }
  });
}

// Rules: NET-1, NET-4
TEST_F(TlsTest, AReadThatTimedOutMayBeTriedAgain) {
  test::everywhere([] {
    Pair pair = connected();
    for (int i = 0; i < 3; ++i) {
      EXPECT_FALSE(pair.client.set_read_deadline(Clock::now() + 100us));
      EXPECT_EQ(read_error(pair.client), net::errc::timed_out);
      EXPECT_EQ(pair.client.write("y"), 1U);
      EXPECT_FALSE(pair.client.set_read_deadline(std::nullopt));
      pair.server.write("x");
      EXPECT_EQ(read_text(pair.client, 1), "x");
    }
    EXPECT_EQ(read_text(pair.server, 3), "yyy");
  });
}

// Rules: NET-6
TEST_F(TlsTest, AWriteThatTimedOutFailsForGoodAndReadsGoOn) {
  weft::run([] {
    Pair pair = connected();
    const std::string much(32'000'000, 'm');
    EXPECT_FALSE(pair.client.set_write_deadline(Clock::now() + 50ms));
    std::error_code error;
    const std::size_t written = pair.client.write(much, error);
    EXPECT_EQ(error, net::errc::timed_out);
    EXPECT_GT(written, 0U);
    EXPECT_LT(written, much.size());
    EXPECT_FALSE(pair.client.set_write_deadline(std::nullopt));
    EXPECT_EQ(pair.client.write("x", error), 0U);
    EXPECT_EQ(error, net::errc::timed_out);
    EXPECT_EQ(pair.client.shutdown_write(), net::errc::timed_out);
    pair.server.write("still there");
    EXPECT_EQ(read_text(pair.client, 11), "still there");
  });
}

/// Takes bytes of one connection and gives them to another, one by one, until there are no more.
void trickle(Stream& from, Stream& to) {
  std::error_code error;
  for (std::byte byte{}; from.read_some(std::span(&byte, 1), error) == 1;) {
    std::error_code ignored;
    to.write(std::span<const std::byte>(&byte, 1), ignored);
  }
  if (error == net::errc::eof) to.shutdown_write();
}

TEST_F(TlsTest, RecordsMayArriveByteByByte) {
  weft::run([] {
    Wire left;
    Wire right;
    TlsStream client = TlsStream::client(std::move(left.client), client_config(), "localhost");
    TlsStream server = TlsStream::server(std::move(right.client), server_config());
    WaitGroup wg;
    wg.go([&] { trickle(left.server, right.server); });
    wg.go([&] { trickle(right.server, left.server); });
    wg.go([&] {
      EXPECT_EQ(read_text(server, 5), "hello");
      server.write(std::string(2'000, 'x'));
      server.close();
    });
    client.write("hello");
    EXPECT_EQ(read_text(client, 2'000), std::string(2'000, 'x'));
    EXPECT_EQ(read_error(client), net::errc::eof);
    client.close();
    wg.wait();
  });
}

TEST_F(TlsTest, PendingIsWhatNeedsNoSocket) {
  weft::run([] {
    Wire left;
    Wire right;
    TlsStream client = TlsStream::client(std::move(left.client), client_config(), "localhost");
    TlsStream server = TlsStream::server(std::move(right.client), server_config());
    EXPECT_FALSE(client.has_pending());
    WaitGroup requests;
    WaitGroup answers;
    requests.go([&] { trickle(left.server, right.server); });
    answers.go([&] { trickle(right.server, left.server); });
    requests.go([&] { server.write("1"); });
    EXPECT_EQ(read_text(client, 1), "1");
    EXPECT_FALSE(client.has_pending());

    // From here on, what the server writes arrives when it is passed on by hand.
    static_cast<void>(right.server.set_read_deadline(Clock::now() - 1s));
    answers.wait();
    static_cast<void>(right.server.set_read_deadline(std::nullopt));
    server.write("2");
    server.write("3");
    server.close();
    std::string all(1'000, '\0');
    std::error_code error;
    all.resize(right.server.read_full(bytes(all), error));
    EXPECT_EQ(error, net::errc::eof);

    const std::size_t part = all.size() / 2 - 3;  // three records of nearly one size: "2", and a part of "3"
    left.server.write(all.substr(0, part));
    EXPECT_EQ(read_text(client, 1), "2");
    EXPECT_FALSE(client.has_pending()) << "a part of a record is nothing yet";
    left.server.write(all.substr(part));
    EXPECT_EQ(read_text(client, 1), "3");
    EXPECT_TRUE(client.has_pending()) << "the end is there to be read";
    EXPECT_EQ(read_error(client), net::errc::eof);
    client.close();
    requests.wait();

    Pair pair = connected();
    pair.server.write("xy");
    EXPECT_EQ(read_text(pair.client, 1), "x");
    EXPECT_TRUE(pair.client.has_pending());
    EXPECT_EQ(read_text(pair.client, 1), "y");
    EXPECT_FALSE(pair.client.has_pending());
  });
}

TEST_F(TlsTest, ManyConnectionsAtOnce) {
  weft::run([] {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    const net::TlsConfig server = server_config();
    const net::TlsConfig client = client_config();
    constexpr int kConnections = 50;
    WaitGroup wg;
    wg.go([&] {
      for (int i = 0; i < kConnections; ++i) {
        wg.go([&server, stream = listener.accept()]() mutable {
          TlsStream tls = TlsStream::server(std::move(stream), server);
          std::string buffer(64, '\0');
          std::error_code error;
          while (const std::size_t n = tls.read_some(bytes(buffer), error)) tls.write(buffer.substr(0, n));
          EXPECT_EQ(error, net::errc::eof) << error.message();
        });
      }
    });
    const std::string address = "localhost:" + std::to_string(listener.local().port());
    for (int i = 0; i < kConnections; ++i) {
      wg.go([&, i] {
        TlsStream stream = net::dial_tls(address, client);
        for (int n = 0; n < test::rounds(20); ++n) {
          const std::string text = std::to_string(i) + "/" + std::to_string(n);
          stream.write(text);
          EXPECT_EQ(read_text(stream, text.size()), text);
        }
      });
    }
    wg.wait();
  });
}

TEST_F(TlsTest, AHandshakeFitsOnAGoroutinesStack) {
  if (test::kSanitized) GTEST_SKIP() << "frames are larger under a sanitizer";
  weft::Runtime runtime(weft::RuntimeOptions{.measure_stacks = true});
  std::vector<weft::StackUse> uses;
  runtime.run([&] {
    Pair pair = connected();
    WaitGroup wg;
    wg.go([&] { pair.server.write("hello"); });
    EXPECT_EQ(read_text(pair.client, 5), "hello");
    wg.wait();
    uses = weft::stack_use();
  });
  std::size_t deepest = 0;
  for (const weft::StackUse& use : uses) deepest = std::max(deepest, use.most_bytes);
  EXPECT_GT(deepest, 4'096U);
  EXPECT_LT(deepest, weft::RuntimeOptions().stack_size / 4);
}

TEST_F(TlsTest, AProcessMayEndInTheMiddle) {
  const test::ChildResult child = test::in_child([] {
    weft::run([] {
      const net::TlsConfig server = server_config();
      const net::TlsConfig client = client_config();
      for (int i = 0; i < 4; ++i) {
        weft::go([=] {
          for (;;) {
            Pair pair = wire_up(client, server);
            shake_hands(pair);
          }
        });
      }
      for (int i = 0; i < 10; ++i) {
        Pair pair = wire_up(client, server);
        shake_hands(pair);
      }
    });
    std::exit(0);  // the others are still at it
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.err, "");
}

TEST_F(TlsTest, AStreamThatIsNotConnectedPanics) {
  TlsStream none;
  EXPECT_FALSE(none.is_open());
  std::error_code error;
  EXPECT_THROW(none.write("x", error), weft::Panic);
  EXPECT_THROW(none.handshake(), weft::Panic);
  EXPECT_EQ(none.close(), net::errc::closed);
  EXPECT_EQ(none.set_deadline(Clock::now()), net::errc::closed);
}

}  // namespace

// Datagrams over loopback: whole messages, addresses, and the rules of every file that goroutines wait for.

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/go.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/udp.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::WaitGroup;
using weft::net::Datagram;
using weft::net::UdpSocket;
namespace net = weft::net;
namespace test = weft::test;

struct Message {
  std::string text;
  Datagram datagram;
};

Message receive(UdpSocket& socket, std::size_t room = 2'048) {
  Message message;
  message.text.resize(room);
  std::error_code error;
  message.datagram = socket.receive(std::as_writable_bytes(std::span(message.text)), error);
  EXPECT_FALSE(error) << error.message();
  message.text.resize(message.datagram.size);
  return message;
}

std::error_code receive_error(UdpSocket& socket, const weft::Context& ctx = {}) {
  std::byte byte{};
  std::error_code error;
  EXPECT_EQ(socket.receive(std::span(&byte, 1), ctx, error).size, 0U);
  return error;
}

bool has_ipv6() {
  std::error_code error;
  net::listen_udp("[::1]:0", error);
  return !error;
}

TEST(UdpTest, AMessageIsOneReceiveAndSaysWhoHasSentIt) {
  test::everywhere([] {
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    UdpSocket client = net::listen_udp("127.0.0.1:0");
    for (const std::string text : {"one", "", "three"}) client.send_to(text, server.local());
    for (const std::string text : {"one", "", "three"}) {
      const Message got = receive(server);
      EXPECT_EQ(got.text, text);
      EXPECT_EQ(got.datagram.sender, client.local());
      EXPECT_FALSE(got.datagram.is_truncated);
    }
    EXPECT_EQ(server.peer(), net::Endpoint());
  });
}

TEST(UdpTest, AMessageThatDoesNotFitIsCutAndSaysSo) {
  weft::run([] {
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    UdpSocket client = net::dial_udp(server.local().to_string());
    client.send("0123456789");
    client.send("next");
    const Message cut = receive(server, 4);
    EXPECT_EQ(cut.text, "0123");
    EXPECT_TRUE(cut.datagram.is_truncated);
    const Message exact = receive(server, 4);
    EXPECT_EQ(exact.text, "next");
    EXPECT_FALSE(exact.datagram.is_truncated);
  });
}

TEST(UdpTest, AMessageThatIsTooLongIsRefused) {
  weft::run([] {
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    UdpSocket client = net::dial_udp(server.local().to_string());
    std::error_code error;
    client.send(std::string(70'000, 'x'), error);
    EXPECT_EQ(error, std::errc::message_size);
    const std::string longest(65'507, 'x');
    client.send(longest);
    EXPECT_EQ(receive(server, 65'536).text, longest);
  });
}

TEST(UdpTest, AConnectedSocketHearsItsPeerOnly) {
  weft::run([] {
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    UdpSocket stranger = net::listen_udp("127.0.0.1:0");
    UdpSocket client = net::dial_udp(server.local().to_string());
    EXPECT_EQ(client.peer(), server.local());
    stranger.send_to("not for you", client.local());
    server.send_to("for you", client.local());
    EXPECT_EQ(receive(client).text, "for you");
    std::error_code error;
    server.send("to whom?", error);
    EXPECT_EQ(error, std::errc::destination_address_required);
    try {
      server.send("to whom?");
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "UdpSocket::send")) << refused.what();
    }
  });
}

TEST(UdpTest, AnEveryAddressSocketServesBothFamilies) {
  weft::run([] {
    UdpSocket server = net::listen_udp(":0");
    const std::string port = ":" + std::to_string(server.local().port());
    for (const std::string host : {"127.0.0.1", "[::1]"}) {
      if (host == "[::1]" && !has_ipv6()) continue;
      UdpSocket client = net::dial_udp(host + port);
      client.send("ping");
      const Message got = receive(server);
      EXPECT_EQ(got.text, "ping");
      // An address of IPv4 looks like one, and can be answered.
      EXPECT_EQ(got.datagram.sender, client.local());
      server.send_to("pong", got.datagram.sender);
      EXPECT_EQ(receive(client).text, "pong");
    }
  });
}

// Rules: NET-1, NET-2, NET-4
TEST(UdpTest, ADeadlineThatHasPassedComesBeforeTheData) {
  test::everywhere([] {
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    server.send_to("x", server.local());
    EXPECT_FALSE(server.set_read_deadline(Clock::now() - 1s));
    for (int i = 0; i < 2; ++i) EXPECT_EQ(receive_error(server), net::errc::timed_out);
    server.send_to("y", server.local());  // the other direction has its own
    EXPECT_FALSE(server.set_deadline(std::nullopt));
    EXPECT_EQ(receive(server).text, "x");
    EXPECT_FALSE(server.set_deadline(Clock::now() + 1ms));
    EXPECT_EQ(receive(server, 1).text, "y");
    EXPECT_EQ(receive_error(server), net::errc::timed_out);
  });
}

// Rules: NET-7
TEST(UdpTest, CloseAndContextsEndAReceive) {
  test::everywhere([] {
    UdpSocket socket = net::listen_udp("127.0.0.1:0");
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    test::go_parked(wg, [&, &context = ctx] { EXPECT_EQ(receive_error(socket, context), weft::errc::canceled); });
    cancel();
    wg.wait();
    test::go_parked(wg, [&] { EXPECT_EQ(receive_error(socket), net::errc::closed); });
    EXPECT_FALSE(socket.close());
    wg.wait();
    EXPECT_EQ(socket.close(), net::errc::closed);
    std::error_code error;
    socket.send_to("x", net::Endpoint::parse("127.0.0.1:9"), error);
    EXPECT_EQ(error, net::errc::closed);
  });
}

// Rules: NET-9
TEST(UdpTest, SeveralServeOneSocket) {
  weft::run([] {
    const int rounds = test::rounds(2'000);
    UdpSocket server = net::listen_udp("127.0.0.1:0");
    WaitGroup servers;
    for (int i = 0; i < 4; ++i) {
      servers.go([&] {
        std::error_code error;
        for (;;) {
          std::string text(64, '\0');
          const Datagram got = server.receive(std::as_writable_bytes(std::span(text)), error);
          if (error) break;
          text.resize(got.size);
          server.send_to(text, got.sender);
        }
        EXPECT_EQ(error, net::errc::closed);
      });
    }
    WaitGroup clients;
    for (int i = 0; i < 8; ++i) {
      clients.go([&, i] {
        UdpSocket client = net::dial_udp(server.local().to_string());
        for (int n = 0; n < rounds / 8; ++n) {
          const std::string text = std::to_string(i) + "/" + std::to_string(n);
          client.send(text);
          EXPECT_EQ(receive(client).text, text);
        }
      });
    }
    clients.wait();
    server.close();
    servers.wait();
  });
}

TEST(UdpTest, APortWhereNobodyIsShowsInTheNextCall) {
  weft::run([] {
    std::string address;
    { address = net::listen_udp("127.0.0.1:0").local().to_string(); }
    UdpSocket client = net::dial_udp(address);
    client.send("anybody?");
    EXPECT_EQ(receive_error(client), std::errc::connection_refused);
  });
}

TEST(UdpTest, AddressesThatAreNone) {
  weft::run([] {
    std::error_code error;
    for (const char* bad : {"", "127.0.0.1", "127.0.0.1:", "1.2.3.4:99999"}) {
      EXPECT_FALSE(net::listen_udp(bad, error).is_open()) << bad;
      EXPECT_TRUE(error) << bad;
      EXPECT_FALSE(net::dial_udp(bad, error).is_open()) << bad;
      EXPECT_TRUE(error) << bad;
    }
    UdpSocket first = net::listen_udp("127.0.0.1:0");
    const std::string taken = first.local().to_string();
    try {
      net::listen_udp(taken);
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_EQ(refused.code(), std::errc::address_in_use);
      EXPECT_TRUE(test::contains(refused.what(), "listen_udp \"" + taken + "\"")) << refused.what();
    }
  });
}

}  // namespace

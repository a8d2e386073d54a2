#pragma once
// Two ends of a connection that speak TLS with each other, and what the tests of TLS read and compare with.

#include <cstddef>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include <gtest/gtest.h>

#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/tls.hpp>
#include <weft/wait_group.hpp>

#include "../support/certificates.hpp"

namespace weft::test {

/// Two ends of a connection without TLS.
struct Wire {
  Wire() {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    WaitGroup wg;
    wg.go([&] { server = listener.accept(); });
    client = net::dial_tcp(listener.local().to_string());
    wg.wait();
  }
  net::Stream client;
  net::Stream server;
};

/// One authority, and one certificate of "localhost" and 127.0.0.1, for all tests of a program.
class TlsTest : public ::testing::Test {
 protected:
  static Authority& authority() {
    static Authority one;
    return one;
  }
  static const Authority::Issued& issued() {
    static const Authority::Issued one = authority().issue({"localhost", "127.0.0.1"});
    return one;
  }
  static net::TlsConfig server_config() { return net::TlsConfig::server(issued().certificate, issued().key); }
  static net::TlsConfig client_config() { return net::TlsConfig::client().add_authority(authority().file()); }

  struct Pair {
    net::TlsStream client;
    net::TlsStream server;
  };
  /// The handshake is still to be done.
  static Pair wire_up() { return wire_up(client_config(), server_config()); }
  static Pair wire_up(const net::TlsConfig& client, const net::TlsConfig& server) {
    Wire wire;
    return {net::TlsStream::client(std::move(wire.client), client, "localhost"),
            net::TlsStream::server(std::move(wire.server), server)};
  }
  struct Handshakes {
    std::error_code client;
    std::error_code server;
  };
  static Handshakes shake_hands(Pair& pair) {
    Handshakes errors;
    WaitGroup wg;
    wg.go([&] { errors.server = pair.server.handshake(); });
    errors.client = pair.client.handshake();
    wg.wait();
    return errors;
  }
  static Pair connected() {
    Pair pair = wire_up();
    const Handshakes errors = shake_hands(pair);
    EXPECT_FALSE(errors.client) << errors.client.message();
    EXPECT_FALSE(errors.server) << errors.server.message();
    return pair;
  }
};

inline std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

template <class S>
std::string read_text(S& stream, std::size_t size) {
  std::string text(size, '\0');
  std::error_code error;
  text.resize(stream.read_full(bytes(text), error));
  EXPECT_FALSE(error) << error.message();
  return text;
}

/// What a read ends with.
template <class S>
std::error_code read_error(S& stream) {
  std::string text(1, '\0');
  std::error_code error;
  const std::size_t n = stream.read_some(bytes(text), error);
  EXPECT_EQ(n, error ? 0U : 1U);
  return error;
}

}  // namespace weft::test

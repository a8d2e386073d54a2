// Whom TLS trusts: certificates, names, authorities; and what else a TlsConfig says.

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/error.hpp>
#include <weft/net/tls.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/certificates.hpp"
#include "../support/nobody.hpp"
#include "../support/support.hpp"
#include "tls_pair.hpp"

namespace {

using weft::WaitGroup;
using weft::net::tls_errc;
using weft::net::TlsConfig;
using weft::net::TlsStream;
using weft::test::Authority;
using weft::test::read_error;
using weft::test::read_text;
using weft::test::Wire;
namespace net = weft::net;
namespace test = weft::test;

class TlsTrustTest : public test::TlsTest {
 protected:
  /// What a client that expects this name says of a server with that certificate; and what the server then says.
  static Handshakes meet(const TlsConfig& client, const Authority::Issued& shown, const std::string& name) {
    Wire wire;
    Pair pair{TlsStream::client(std::move(wire.client), client, name),
              TlsStream::server(std::move(wire.server), TlsConfig::server(shown.certificate, shown.key))};
    return shake_hands(pair);
  }
  static void expect_refused(const Handshakes& errors, const std::string& why) {
    EXPECT_EQ(errors.client, tls_errc::bad_certificate);
    EXPECT_EQ(errors.client.category(), net::tls_category());
    EXPECT_TRUE(test::contains(errors.client.message(), why)) << errors.client.message();
  }
};

TEST_F(TlsTrustTest, NamesAndAddressesOfTheCertificateAreTrusted) {
  weft::run([] {
    const auto shown = authority().issue({"localhost", "*.weft.test", "127.0.0.1", "::1"});
    for (const char* name : {"localhost", "LocalHost", "localhost.", "a.weft.test", "127.0.0.1", "::1", "[::1]"}) {
      const Handshakes errors = meet(client_config(), shown, name);
      EXPECT_FALSE(errors.client) << name << ": " << errors.client.message();
      EXPECT_FALSE(errors.server) << name << ": " << errors.server.message();
    }
    for (const char* name : {"example.org", "weft.test", "a.b.weft.test", "localhost.example.org"}) {
      expect_refused(meet(client_config(), shown, name), "hostname mismatch");
    }
    for (const char* name : {"127.0.0.2", "::2"})
      expect_refused(meet(client_config(), shown, name), "IP address mismatch");
  });
}

TEST_F(TlsTrustTest, ANameInTheSubjectIsNone) {
  weft::run([] {
    // Its common name is "weft test", which browsers and Go have not looked at for years.
    expect_refused(meet(client_config(), authority().issue({"localhost"}), "weft test"), "hostname mismatch");
  });
}

TEST_F(TlsTrustTest, StrangersAndTheDeadAreRefused) {
  weft::run([] {
    expect_refused(meet(TlsConfig::client(), issued(), "localhost"), "issuer certificate");
    Authority stranger;  // of the same name
    expect_refused(meet(client_config(), stranger.issue({"localhost"}), "localhost"), "signature failure");
    const auto expired = authority().issue({"localhost"}, Authority::Kind::kExpired);
    const Handshakes errors = meet(client_config(), expired, "localhost");
    expect_refused(errors, "certificate has expired");

    // In TLS 1.3 the server has finished by then: it hears of it when it reads.
    Wire wire;
    Pair pair{TlsStream::client(std::move(wire.client), client_config(), "localhost"),
              TlsStream::server(std::move(wire.server), TlsConfig::server(expired.certificate, expired.key))};
    WaitGroup wg;
    std::error_code heard;
    wg.go([&] { heard = read_error(pair.server); });
    std::error_code error;
    pair.client.write("secret", error);
    EXPECT_EQ(error, tls_errc::bad_certificate);
    wg.wait();
    EXPECT_EQ(heard.category(), net::tls_category());
    EXPECT_TRUE(test::contains(heard.message(), "alert certificate expired")) << heard.message();
  });
}

TEST_F(TlsTrustTest, AChainMayGoOverAnIntermediate) {
  weft::run([] {
    const auto shown = authority().issue({"localhost"}, Authority::Kind::kByIntermediate);
    const Handshakes errors = meet(client_config(), shown, "localhost");
    EXPECT_FALSE(errors.client) << errors.client.message();
  });
}

TEST_F(TlsTrustTest, WithoutVerificationEverybodyIsTrusted) {
  weft::run([] {
    Authority stranger;
    const auto shown = stranger.issue({"example.org"}, Authority::Kind::kExpired);
    for (const char* name : {"localhost", ""})
      EXPECT_FALSE(meet(TlsConfig::client().skip_verification(), shown, name).client);
  });
}

TEST_F(TlsTrustTest, TheMostWantedCommonProtocolIsChosen) {
  weft::run([] {
    Pair pair =
        wire_up(client_config().protocols({"http/1.1", "h2"}), server_config().protocols({"h3", "h2", "http/1.1"}));
    shake_hands(pair);
    EXPECT_EQ(pair.client.protocol(), "h2");
    EXPECT_EQ(pair.server.protocol(), "h2");
    Pair silent = wire_up(client_config(), server_config().protocols({"h2"}));
    EXPECT_FALSE(shake_hands(silent).client);
    EXPECT_EQ(silent.client.protocol(), "");
    Pair strangers = wire_up(client_config().protocols({"smtp"}), server_config().protocols({"h2"}));
    const Handshakes errors = shake_hands(strangers);
    EXPECT_TRUE(errors.server);
    EXPECT_TRUE(test::contains(errors.client.message(), "no application protocol")) << errors.client.message();
  });
}

TEST_F(TlsTrustTest, AServerMayAskForCertificates) {
  weft::run([] {
    const auto config = [] { return server_config().add_authority(authority().file()).require_client_certificate(); };
    const auto mine = authority().issue({"client"});
    Pair known = wire_up(client_config().certificate(mine.certificate, mine.key), config());
    EXPECT_FALSE(shake_hands(known).server);

    Authority other;
    const auto foreign = other.issue({"client"});
    for (const bool has_one : {false, true}) {
      TlsConfig client = client_config();
      if (has_one) client.certificate(foreign.certificate, foreign.key);
      Pair unknown = wire_up(client, config());
      WaitGroup wg;
      std::error_code heard;
      wg.go([&] { heard = read_error(unknown.client); });
      const std::error_code error = unknown.server.handshake();
      wg.wait();
      EXPECT_EQ(error.category(), net::tls_category());
      EXPECT_EQ(error == tls_errc::bad_certificate, has_one) << error.message();
      EXPECT_TRUE(test::contains(heard.message(), "alert")) << heard.message();
    }
  });
}

TEST_F(TlsTrustTest, DialTlsExpectsTheHostThatItDials) {
  weft::run([] {
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    const TlsConfig server = server_config();
    WaitGroup wg;
    wg.go([&] {
      std::error_code error;
      for (;;) {
        net::Stream stream = listener.accept(error);
        if (error) return;
        TlsStream::server(std::move(stream), server).write("hello", error);
      }
    });
    const std::string port = ":" + std::to_string(listener.local().port());
    for (const std::string host : {"localhost", "127.0.0.1"}) {
      TlsStream client = net::dial_tls(host + port, client_config());
      EXPECT_EQ(read_text(client, 5), "hello");
    }
    std::error_code error;
    EXPECT_FALSE(net::dial_tls("127.0.0.1" + port, TlsConfig::client(), error).is_open());
    EXPECT_EQ(error, tls_errc::bad_certificate);
    try {
      net::dial_tls("127.0.0.1" + port, TlsConfig::client());
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "dial_tls \"127.0.0.1" + port + "\": tls: the peer's certificate: "))
          << refused.what();
    }
    listener.close();
    wg.wait();
    const test::Nobody nobody;
    EXPECT_FALSE(net::dial_tls(nobody.address().to_string(), client_config(), error).is_open());
    EXPECT_EQ(error, std::errc::connection_refused);
  });
}

/// What reading files for a configuration ends with.
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const std::system_error& refused) {
    return refused.what();
  }
  return "";
}

TEST_F(TlsTrustTest, FilesThatAreNotFitAreNamed) {
  const std::string missing = authority().folder() / "missing.pem";
  const std::string nonsense = authority().folder() / "nonsense.pem";
  std::ofstream(nonsense) << "nonsense";
  const auto other = authority().issue({"other"});
  const auto expect_refusal = [](const std::string& said, const std::string& file, const std::string& why) {
    EXPECT_TRUE(test::contains(said, "\"" + file + "\"") && test::contains(said, why)) << said;
  };
  expect_refusal(refusal([&] { TlsConfig::server(missing, issued().key); }), missing, "No such file");
  expect_refusal(refusal([&] { TlsConfig::server(issued().certificate, missing); }), missing, "No such file");
  expect_refusal(refusal([&] { TlsConfig::server(nonsense, issued().key); }), nonsense, "no start line");
  expect_refusal(refusal([&] { TlsConfig::server(issued().certificate, nonsense); }), nonsense, "");
  expect_refusal(refusal([&] { TlsConfig::server(issued().certificate, other.key); }), other.key, "mismatch");
  expect_refusal(refusal([&] { TlsConfig::client().add_authority(missing); }), missing, "No such file");
  const std::string locked = authority().locked_key(issued());
  expect_refusal(refusal([&] { TlsConfig::server(issued().certificate, locked); }), locked, "");  // and nobody is asked
}

TEST_F(TlsTrustTest, WhatIsTheCallersFaultPanics) {
  weft::run([] {
    EXPECT_THROW(TlsStream::client(Wire().client, client_config(), ""), weft::Panic);
    EXPECT_THROW(TlsStream::client(Wire().client, server_config(), "localhost"), weft::Panic);
    EXPECT_THROW(TlsStream::server(Wire().server, client_config()), weft::Panic);
    EXPECT_THROW(client_config().protocols({""}), weft::Panic);
    EXPECT_THROW(client_config().protocols({std::string(256, 'x')}), weft::Panic);
  });
}

}  // namespace

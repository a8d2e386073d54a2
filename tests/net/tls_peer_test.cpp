// TLS with peers that are not weft: OpenSSL used by hand, which can ask for new keys, and its command line tool.

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/net/process.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tls.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "tls_pair.hpp"

namespace {

using weft::WaitGroup;
using weft::net::Listener;
using weft::net::TlsStream;
using weft::test::read_error;
using weft::test::read_text;
namespace net = weft::net;
namespace test = weft::test;

class TlsPeerTest : public test::TlsTest {};

/// A client on a thread of its own, with OpenSSL on a blocking socket.
class Peer {
 public:
  explicit Peer(const net::Endpoint& server) : ctx_(::SSL_CTX_new(::TLS_client_method())), ssl_(::SSL_new(ctx_)) {
    fd_ = ::socket(server.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd_, server.data(), server.size()) != 0) std::abort();
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ::SSL_set_fd(ssl_, fd_);
    ::SSL_clear_mode(ssl_, SSL_MODE_AUTO_RETRY);
    ::SSL_set_msg_callback(ssl_,
                           [](int is_write, int, int type, const void* message, std::size_t size, SSL*, void* own) {
                             constexpr unsigned char kKeyUpdate = 24;
                             const auto* bytes = static_cast<const unsigned char*>(message);
                             if (is_write != 0 || size < 2) return;
                             if (type == SSL3_RT_HANDSHAKE && bytes[0] == kKeyUpdate)
                               ++static_cast<Peer*>(own)->updates_;
                             if (type == SSL3_RT_ALERT) static_cast<Peer*>(own)->alert_ = bytes[1];
                           });
    ::SSL_set_msg_callback_arg(ssl_, this);
  }
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() {
    ::SSL_free(ssl_);
    ::SSL_CTX_free(ctx_);
    ::close(fd_);
  }

  void connect() {
    if (::SSL_connect(ssl_) != 1) std::abort();
  }
  void write(const std::string& text) { ::SSL_write(ssl_, text.data(), static_cast<int>(text.size())); }
  /// "" at the end, and after a record that has no data.
  std::string read() {
    std::string text(16'384, '\0');
    const int n = ::SSL_read(ssl_, text.data(), static_cast<int>(text.size()));
    is_over_ = n <= 0 && ::SSL_get_error(ssl_, n) != SSL_ERROR_WANT_READ;
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  bool is_over() const { return is_over_; }
  /// New keys for what it sends, and the same asked of the other side.
  void ask_for_new_keys() {
    ::SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED);
    ::SSL_do_handshake(ssl_);
  }
  void end() { ::SSL_shutdown(ssl_); }
  void write_raw(const std::string& bytes) { static_cast<void>(::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL)); }
  /// How often the other side has made new keys; the last alert that it has sent.
  int updates() const { return updates_; }
  int alert() const { return alert_; }

 private:
  SSL_CTX* ctx_;
  SSL* ssl_;
  int fd_ = -1;
  int updates_ = 0;
  int alert_ = -1;
  bool is_over_ = false;
};

/// Runs `client` on a thread while `server` runs on goroutines with the other end.
template <class Client, class Server>
void meet(const net::TlsConfig& config, Client client, Server server) {
  weft::run([&] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    std::thread thread([&client, address = listener.local()] {
      Peer peer(address);
      peer.connect();
      client(peer);
    });
    TlsStream stream = TlsStream::server(listener.accept(), config);
    server(stream);
    weft::blocking([&] { thread.join(); });
  });
}

TEST_F(TlsPeerTest, NewKeysAreMadeWhenAskedFor) {
  const int rounds = test::rounds(500);
  meet(
      server_config(),
      [&](Peer& peer) {
        int answers = 0;
        for (int i = 1; i <= rounds; ++i) {
          peer.ask_for_new_keys();
          peer.write("?");
          while (answers < i && !peer.is_over()) answers += static_cast<int>(peer.read().size());
          EXPECT_EQ(peer.updates(), i);
        }
        peer.end();
      },
      [&](TlsStream& stream) {
        while (!read_error(stream)) stream.write("!");
        EXPECT_EQ(read_error(stream), net::errc::eof);
      });
}

// The writers' peer reads nothing for a long time; still what it sends is read.
TEST_F(TlsPeerTest, AReaderGoesOnThoughWritersAreStuck) {
  const int rounds = test::rounds(500);
  meet(
      server_config(),
      [&](Peer& peer) {
        for (int i = 0; i < rounds; ++i) {
          peer.ask_for_new_keys();
          peer.write(std::string(1'000, 'x'));
        }
        peer.end();
        while (!peer.is_over()) peer.read();
        EXPECT_GE(peer.updates(), 1);
      },
      [&](TlsStream& stream) {
        std::atomic<bool> is_over{false};
        WaitGroup wg;
        for (int writer = 0; writer < 2; ++writer) {
          wg.go([&] {
            std::error_code error;
            while (!is_over && !error) stream.write(std::string(100'000, 'y'), error);
            EXPECT_FALSE(error) << error.message();
          });
        }
        const auto size = 1'000 * static_cast<std::size_t>(rounds);
        EXPECT_EQ(read_text(stream, size).size(), size);
        EXPECT_EQ(read_error(stream), net::errc::eof);
        is_over = true;
        wg.wait();
        EXPECT_FALSE(stream.close());
      });
}

// A reader that has something to say while a writer is stuck leaves it to that one (T2).
TEST_F(TlsPeerTest, WhoSendsNonsenseIsTold) {
  for (const bool is_writer_stuck : {false, true}) {
    meet(
        server_config(),
        [&](Peer& peer) {
          if (is_writer_stuck) peer.read();
          peer.write_raw(std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, '?'));
          while (!peer.is_over()) peer.read();
          EXPECT_EQ(peer.alert(), SSL3_AD_BAD_RECORD_MAC);
        },
        [&](TlsStream& stream) {
          WaitGroup wg;
          if (is_writer_stuck) {
            test::go_parked(wg, [&] {
              std::error_code error;
              stream.write(std::string(8'000'000, 'y'), error);
              // It may have been done when the nonsense was read.
              EXPECT_TRUE(!error || error.category() == net::tls_category()) << error.message();
            });
          }
          const std::error_code error = read_error(stream);
          EXPECT_EQ(error.category(), net::tls_category());
          EXPECT_TRUE(test::contains(error.message(), "bad record mac")) << error.message();
          wg.wait();
          EXPECT_EQ(read_error(stream), error) << "it stays so";
        });
  }
}

/// OpenSSL's tool as a child, which ends with this.
class Tool {
 public:
  explicit Tool(std::vector<std::string> arguments)
      : child_(net::Command{.program = "openssl",
                            .arguments = std::move(arguments),
                            .in = net::Stdio::pipe(),
                            .out = net::Stdio::pipe(),
                            .err = net::Stdio::to_stdout()}
                   .start()) {}
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;
  ~Tool() {
    child_.kill();
    child_.wait();
  }

  void write(const std::string& text) { child_.stdin_stream().write(text); }
  /// Reads its output until it has said this, and returns all that; "" if it ended before.
  std::string read_until(const std::string& wanted) {
    std::string said;
    std::error_code error;
    for (char c = 0; !test::contains(said, wanted); said += c) {
      if (child_.stdout_stream().read_some(std::as_writable_bytes(std::span(&c, 1)), error) == 0) return "";
    }
    return said;
  }

 private:
  net::Child child_;
};

bool has_tool() {
  std::error_code error;
  return net::Command{.program = "openssl", .arguments = {"version"}}.output(error).status.success();
}

TEST_F(TlsPeerTest, SClientIsServed) {
  if (!has_tool()) GTEST_SKIP() << "openssl is not installed";
  for (const std::string version : {"-tls1_3", "-tls1_2"}) {
    weft::run([&] {
      Listener listener = net::listen_tcp("127.0.0.1:0");
      const net::TlsConfig config = server_config();
      Tool tool({"s_client", "-connect", listener.local().to_string(), "-CAfile", authority().file(),
                 "-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost", "-quiet",
                 "-no_ign_eof", version});
      TlsStream stream = TlsStream::server(listener.accept(), config);
      tool.write("hello\n");
      EXPECT_EQ(read_text(stream, 6), "hello\n");
      EXPECT_EQ(stream.version(), version == "-tls1_3" ? "TLSv1.3" : "TLSv1.2");
      stream.write("good bye\n");
      EXPECT_NE(tool.read_until("good bye\n"), "");
      EXPECT_FALSE(stream.close());
    });
  }
}

TEST_F(TlsPeerTest, SServerIsSpokenTo) {
  if (!has_tool()) GTEST_SKIP() << "openssl is not installed";
  weft::run([&] {
    Tool tool({"s_server", "-accept", "127.0.0.1:0", "-cert", issued().certificate, "-key", issued().key, "-rev",
               "-naccept", "1", "-alpn", "weft"});
    tool.read_until("ACCEPT ");
    const std::string where = tool.read_until("\n");
    const std::string address = "localhost" + where.substr(where.rfind(':'), where.size() - 1 - where.rfind(':'));
    TlsStream stream = net::dial_tls(address, client_config().protocols({"weft"}));
    EXPECT_EQ(stream.protocol(), "weft");
    stream.write("drawer\n");
    EXPECT_EQ(read_text(stream, 7), "reward\n");
    EXPECT_FALSE(stream.shutdown_write());
    EXPECT_EQ(read_error(stream), net::errc::eof);
    stream.close();
  });
}

TEST_F(TlsPeerTest, APeerThatDoesNotTrustSaysWhy) {
  if (!has_tool()) GTEST_SKIP() << "openssl is not installed";
  weft::run([&] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    Tool tool({"s_client", "-connect", listener.local().to_string(), "-verify_return_error", "-quiet"});
    TlsStream stream = TlsStream::server(listener.accept(), server_config());
    const std::error_code error = read_error(stream);
    EXPECT_EQ(error.category(), net::tls_category());
    EXPECT_TRUE(test::contains(error.message(), "alert unknown ca")) << error.message();
  });
}

}  // namespace

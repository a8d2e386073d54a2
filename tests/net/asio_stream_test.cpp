// Boost.Beast on weft's streams: what is written on Asio's concepts runs on goroutines as it is.

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/http.hpp>

#include <weft/net/asio_stream.hpp>
#include <weft/net/pipe.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/tls.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "tls_pair.hpp"

namespace {

using weft::Clock;
using weft::WaitGroup;
using weft::net::AsioStream;
using weft::net::Listener;
using weft::net::PipeEnd;
using weft::net::Stream;
using weft::net::TlsStream;
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
namespace net = weft::net;
namespace test = weft::test;

static_assert(beast::is_sync_stream<AsioStream<Stream>>::value);
static_assert(beast::is_sync_stream<AsioStream<Stream&>>::value);
static_assert(beast::is_sync_stream<AsioStream<PipeEnd>>::value);
static_assert(beast::is_sync_stream<AsioStream<TlsStream>>::value);

using Request = http::request<http::string_body>;
using Response = http::response<http::string_body>;

/// Answers requests until the peer goes, or wants no more.
template <class S>
void serve(S& stream) {
  beast::flat_buffer buffer;
  for (;;) {
    Request request;
    boost::system::error_code ec;
    http::read(stream, buffer, request, ec);
    if (ec == http::error::end_of_stream) return;
    ASSERT_FALSE(ec) << ec.message();
    Response response(http::status::ok, request.version());
    response.keep_alive(request.keep_alive());
    response.body() = std::string(request.target()) + ":" + request.body();
    response.prepare_payload();
    http::write(stream, response);
    if (!response.keep_alive()) return;
  }
}

template <class S>
std::string fetch(S& stream, beast::flat_buffer& buffer, const std::string& target, const std::string& body) {
  Request request(http::verb::post, target, 11);
  request.set(http::field::host, "test");
  request.body() = body;
  request.prepare_payload();
  http::write(stream, request);
  Response response;
  http::read(stream, buffer, response);
  EXPECT_EQ(response.result(), http::status::ok);
  return response.body();
}

template <class S>
void expect_conversation(S& client, int rounds) {
  beast::flat_buffer buffer;
  for (int i = 0; i < rounds; ++i) {
    const std::string target = "/" + std::to_string(i);
    const std::string body(static_cast<std::size_t>(i) * 997 % 30'000, static_cast<char>('a' + i % 26));
    EXPECT_EQ(fetch(client, buffer, target, body), target + ":" + body);
  }
}

TEST(AsioStreamTest, BeastTalksToItselfOverTcp) {
  test::everywhere([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    WaitGroup wg;
    wg.go([&] {
      AsioStream stream(listener.accept());
      serve(stream);
    });
    {
      Stream below = net::dial_tcp(listener.local().to_string());
      AsioStream stream(below);
      static_assert(std::is_same_v<decltype(stream), AsioStream<Stream&>>);
      EXPECT_EQ(&stream.next_layer(), &below);
      expect_conversation(stream, test::rounds(200));
    }
    wg.wait();
  });
}

TEST(AsioStreamTest, BeastTalksToItselfWithinTheProcess) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    WaitGroup wg;
    wg.go([end = one]() mutable {
      AsioStream stream(end);
      serve(stream);
      end.close();
    });
    AsioStream stream(other);
    expect_conversation(stream, 20);
    stream.next_layer().close();
    wg.wait();
  });
}

class AsioTlsTest : public test::TlsTest {};

TEST_F(AsioTlsTest, BeastTalksToItselfOverTls) {
  test::everywhere([] {
    Pair pair = wire_up();
    WaitGroup wg;
    wg.go([&] {
      AsioStream stream(pair.server);
      serve(stream);
    });
    {
      AsioStream stream(std::move(pair.client));
      expect_conversation(stream, test::rounds(200));
    }
    wg.wait();
  });
}

// HTTP/1.0's way to end a body would hide that somebody has cut the connection.
TEST_F(AsioTlsTest, ABodyThatIsCutOffIsNoBody) {
  weft::run([] {
    Pair pair = connected();
    pair.server.write("HTTP/1.0 200 OK\r\n\r\nuntil the e");
    pair.server.stream().close();
    AsioStream client(pair.client);
    beast::flat_buffer buffer;
    Response response;
    boost::system::error_code ec;
    http::read(client, buffer, response, ec);
    EXPECT_EQ(std::error_code(ec), net::tls_errc::truncated) << ec.message();
  });
}

/// A pipe's write is one read, if that has room: so what is written together is seen.
TEST(AsioStreamTest, SmallBuffersAreWrittenTogetherAndBigOnesAsTheyAre) {
  weft::testing::run([] {
    const std::pair<PipeEnd, PipeEnd> ends = net::pipe();
    const std::string small(100, 's');
    const std::string big(20'000, 'b');
    const auto sizes_read = [&](const std::vector<asio::const_buffer>& buffers) {
      WaitGroup wg;
      wg.go([&, end = ends.first]() mutable {
        AsioStream stream(end);
        EXPECT_EQ(asio::write(stream, buffers), asio::buffer_size(buffers));
      });
      std::vector<std::size_t> sizes;
      std::string room(65'536, '\0');
      AsioStream stream(PipeEnd(ends.second));
      for (std::size_t left = asio::buffer_size(buffers); left > 0; left -= sizes.back()) {
        sizes.push_back(stream.read_some(asio::buffer(room)));
      }
      wg.wait();
      return sizes;
    };
    using Sizes = std::vector<std::size_t>;
    EXPECT_EQ(sizes_read({asio::buffer(small), asio::const_buffer(), asio::buffer(small)}), (Sizes{200}));
    EXPECT_EQ(sizes_read({asio::const_buffer(), asio::buffer(big)}), (Sizes{20'000}));
    EXPECT_EQ(sizes_read({asio::buffer(small), asio::buffer(big)}), (Sizes{8'192, 20'100 - 8'192}));
    EXPECT_EQ(sizes_read({asio::buffer(big), asio::buffer(small)}), (Sizes{20'000, 100}));
  });
}

TEST(AsioStreamTest, NothingIsReadAndWrittenAtOnce) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    AsioStream stream(one);
    boost::system::error_code ec = asio::error::eof;
    EXPECT_EQ(stream.write_some(std::array<asio::const_buffer, 2>(), ec), 0U);
    EXPECT_FALSE(ec);
    ec = asio::error::eof;
    EXPECT_EQ(stream.read_some(std::array<asio::mutable_buffer, 2>(), ec), 0U);
    EXPECT_FALSE(ec);
  });
}

TEST(AsioStreamTest, ErrorsAreAsios) {
  weft::run([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    AsioStream client(net::dial_tcp(listener.local().to_string()));
    Stream server = listener.accept();
    std::array<char, 16> room{};
    const auto read = [&](auto&&... more) { return client.read_some(asio::buffer(room), more...); };
    boost::system::error_code ec;

    client.next_layer().set_deadline(Clock::now());
    EXPECT_EQ(read(ec), 0U);
    EXPECT_EQ(ec, asio::error::timed_out);
    client.next_layer().set_deadline(std::nullopt);

    server.write("line\nrest");
    std::string line;
    EXPECT_EQ(asio::read_until(client, asio::dynamic_buffer(line), '\n'), 5U);
    server.close();
    EXPECT_EQ(read(ec), 0U);
    EXPECT_EQ(ec, asio::error::eof);
    try {
      read();
      FAIL();
    } catch (const boost::system::system_error& ended) {
      EXPECT_EQ(ended.code(), asio::error::eof);
    }

    client.next_layer().close();
    EXPECT_EQ(read(ec), 0U);
    EXPECT_EQ(ec, asio::error::operation_aborted);
    EXPECT_EQ(client.write_some(asio::buffer(room), ec), 0U);
    EXPECT_EQ(ec, asio::error::operation_aborted);

    EXPECT_EQ(net::to_asio_error(std::error_code(ECONNRESET, std::system_category())), asio::error::connection_reset);
    EXPECT_FALSE(net::to_asio_error({}));
    const boost::system::error_code foreign = net::to_asio_error(net::errc::bad_address);
    EXPECT_EQ(std::error_code(foreign), net::errc::bad_address);
  });
}

TEST(AsioStreamTest, ABodyWithoutLengthEndsWithTheConnection) {
  weft::run([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    AsioStream client(net::dial_tcp(listener.local().to_string()));
    {
      Stream server = listener.accept();
      server.write("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    }
    beast::flat_buffer buffer;
    Response response;
    http::read(client, buffer, response);
    EXPECT_EQ(response.body(), "until the end");
  });
}

}  // namespace

// What a connection costs between its requests: neither goroutine nor stack nor buffer.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <weft/http/server.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

namespace http = weft::http;
namespace net = weft::net;
namespace test = weft::test;

constexpr std::size_t kBody = 100'000;
constexpr int kAtOnce = 20;

std::size_t resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// As many as the system lets one process have both ends of, 10,000 at most.
std::size_t connection_count() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  const std::size_t most = test::soaking() ? 10'000 : 1'000;
  return std::min<std::size_t>(most, (limit.rlim_cur - 200) / 2);
}

/// One request with a body, and its reply to the end.
void ask(net::Stream& stream, const std::string& body) {
  stream.write("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n");
  stream.write(body);
  std::string reply;
  while (!reply.ends_with("100000")) {
    std::byte piece[1024];
    const std::size_t n = stream.read_some(piece);
    reply.append(reinterpret_cast<const char*>(piece), n);
  }
}

TEST(IdleCostTest, AConnectionAfterARequestOf100KBCostsLittleAndHasNoGoroutine) {
  if (test::kSanitized) GTEST_SKIP() << "a sanitizer's memory is no measure";
  const std::size_t count = connection_count();
  weft::run([&] {
    http::Server server([](http::Request& request, http::ResponseWriter& response) {
      static_cast<void>(response.send(std::to_string(request.body().size())));
    });
    net::Listener listener = net::listen_tcp("127.0.0.1:0");
    const std::string address = listener.local().to_string();
    weft::WaitGroup serving;
    serving.go([&] { server.serve(std::move(listener)); });
    const std::string body(kBody, 'x');
    const auto connect = [&](std::size_t n, std::vector<net::Stream>& streams) {
      const std::size_t first = streams.size();
      streams.resize(first + n);
      weft::WaitGroup group;
      for (int g = 0; g < kAtOnce; ++g) {
        group.go([&, g] {
          for (std::size_t i = first + static_cast<std::size_t>(g); i < streams.size(); i += kAtOnce) {
            streams[i] = net::dial_tcp(address);
            ask(streams[i], body);
          }
        });
      }
      group.wait();
    };
    const auto await_idle = [&] {
      while (server.stats().active != 0) weft::yield();
    };

    std::vector<net::Stream> streams;
    streams.reserve(count);
    connect(count / 10, streams);  // what is made once
    await_idle();
    const std::size_t before = resident_bytes();
    const std::size_t more = count - streams.size();
    connect(more, streams);
    await_idle();
    EXPECT_EQ(server.stats().open, count);
    const std::size_t each = (resident_bytes() - std::min(before, resident_bytes())) / more;
    RecordProperty("bytes_per_connection", std::to_string(each));
    EXPECT_LE(each, 12'288U) << "both ends of a connection";
    EXPECT_LE(weft::stats().live, 10U);  // the server's, and this one

    for (net::Stream& stream : streams) ask(stream, body);  // they still serve
    streams.clear();
    EXPECT_FALSE(server.shutdown());
    serving.wait();
  });
}

}  // namespace

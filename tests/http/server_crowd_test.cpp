// Many connections: at the same time, and one after the other; and that nothing is left of them.

#include <dirent.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/http/server.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "http_support.hpp"

namespace {

using weft::http::Request;
using weft::http::ResponseWriter;
using weft::test::get;
using weft::test::Peer;
using weft::test::post;
using weft::test::Reply;
using weft::test::TestServer;
namespace test = weft::test;

void echo(Request& request, ResponseWriter& response) {
  const std::string& body = request.body();
  if (request.path() == "/yield") weft::yield();
  response.send(body.empty() ? request.target() : std::string_view(body));
}

std::size_t open_files() {
  std::size_t count = 0;
  DIR* const folder = ::opendir("/proc/self/fd");
  while (::readdir(folder) != nullptr) ++count;
  ::closedir(folder);
  return count;
}

std::size_t resident_bytes() {
  std::size_t pages = 0;
  std::FILE* const file = std::fopen("/proc/self/statm", "r");
  if (std::fscanf(file, "%*u %zu", &pages) != 1) pages = 0;
  std::fclose(file);
  return pages * 4096;
}

TEST(HttpCrowdTest, ManyConnectionsAtOnce) {
  weft::run([] {
    TestServer server(echo);
    weft::WaitGroup clients;
    const int count = test::crowd(300);
    for (int i = 0; i < count; ++i) {
      clients.go([&, i] {
        Peer peer(server);
        for (int n = 0; n < test::rounds(40); ++n) {
          const std::string text = std::to_string(i) + "/" + std::to_string(n);
          switch (n % 4) {
            case 0:
              EXPECT_EQ(peer.ask(get("/" + text)).body, "/" + text);
              break;
            case 1:
              EXPECT_EQ(peer.ask(post("/yield", text)).body, text);
              break;
            case 2: {  // two at once, in odd pieces
              const std::string both = get("/1" + text) + post("/", text);
              const std::size_t cut = static_cast<std::size_t>(n * 13 + i) % both.size();
              peer.send(both.substr(0, cut));
              weft::yield();
              peer.send(both.substr(cut));
              EXPECT_EQ(peer.read_reply()->body, "/1" + text);
              EXPECT_EQ(peer.read_reply()->body, text);
              break;
            }
            default:
              EXPECT_EQ(peer.ask(post("/", std::string(20'000, 'x'))).body.size(), 20'000U);
          }
        }
      });
    }
    clients.wait();
    EXPECT_TRUE(server.log().empty());
    EXPECT_EQ(server.server().stats().bad_requests, 0U);
    EXPECT_EQ(server.server().stats().accepted, static_cast<std::uint64_t>(count));
  });
}

// What has no goroutine is not forgotten.
TEST(HttpCrowdTest, IdleConnectionsAreServedAgainAndAgain) {
  weft::run([] {
    TestServer server(echo);
    std::vector<std::unique_ptr<Peer>> peers;
    for (int i = 0; i < test::crowd(400); ++i) peers.push_back(std::make_unique<Peer>(server));
    for (int round = 0; round < test::rounds(20); ++round) {
      for (const auto& peer : peers) EXPECT_TRUE(peer->send(get("/x")));
      for (const auto& peer : peers) EXPECT_EQ(peer->status(), 200);
    }
    test::eventually([&] { return server.server().stats().active == 0; });
    EXPECT_EQ(server.server().stats().open, peers.size());
  });
}

TEST(HttpCrowdTest, NothingIsLeftOfConnectionsThatCameAndWent) {
  weft::run([] {
    // A hundred thousand in soak. Ports of those that the client has ended stay taken for a second.
    const int connections = test::soaking() ? test::rounds(100'000) : test::rounds(4'000);
    const std::size_t files = open_files();
    std::size_t resident = 0;
    {
      TestServer server(echo);
      const std::string others[] = {server.address(), server.listen(), server.listen(), server.listen()};
      for (int part = 0; part < 10; ++part) {
        weft::WaitGroup clients;
        for (int client = 0; client < 8; ++client) {
          clients.go([&, client] {
            for (int i = 0; i < connections / 80; ++i) {
              Peer peer(others[(client + i) % 4]);
              switch ((i + client) % 5) {
                case 0:
                  EXPECT_EQ(peer.ask(get("/x")).status, 200);
                  break;
                case 1:
                  EXPECT_EQ(peer.ask(get("/x", "Connection: close\r\n")).status, 200);
                  EXPECT_TRUE(peer.is_ended());
                  break;
                case 2:
                  peer.send(post("/yield", "hello").substr(0, static_cast<std::size_t>(i) % 60));
                  break;
                case 3:
                  EXPECT_EQ(peer.ask("nonsense\r\n\r\n").status, 400);
                  break;
                default:
                  break;
              }
              if (i % 2 == 0) peer.reset();
            }
          });
        }
        clients.wait();
        const auto so_far = static_cast<std::uint64_t>(connections / 80 * 8 * (part + 1));
        test::eventually([&] { return server.server().stats().accepted == so_far; });
        test::eventually([&] { return server.server().stats().open == 0; });
        if (part == 1) resident = resident_bytes();
      }
      if (!test::kSanitized) {
        EXPECT_LT(resident_bytes(), resident + 20'000'000);
      }
    }
    EXPECT_EQ(open_files(), files);
    weft::testing::verify_no_leaks();
  });
}

}  // namespace

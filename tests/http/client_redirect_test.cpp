// Redirects, as Go's client follows them.

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/http/client.hpp>
#include <weft/runtime.hpp>

#include "../support/support.hpp"
#include "scripted_server.hpp"

namespace {

namespace http = weft::http;
namespace test = weft::test;
using http::Client;
using http::ClientRequest;
using http::Response;
using http::Status;
using test::ScriptedPeer;
using test::ScriptedServer;
using weft::Context;

/// Paths that lead elsewhere: "307 http://there/". All others answer with what was asked, and from which connection.
class Maze {
 public:
  void add(const std::string& path, const std::string& status_and_location) { ways_[path] = status_and_location; }

  void operator()(ScriptedPeer& peer) const {
    for (std::string head = peer.read_request(); !head.empty(); head = peer.read_request()) {
      const std::size_t begin = head.find(' ') + 1;
      const auto way = ways_.find(head.substr(begin, head.find(' ', begin) - begin));
      if (way == ways_.end()) {
        if (!peer.reply(head.starts_with("HEAD") ? "" : head + peer.body())) return;
      } else {
        const std::string location = way->second.substr(4);
        peer.write("HTTP/1.1 " + way->second.substr(0, 3) + " Over There\r\nContent-Length: 3\r\n" +
                   (location.empty() ? "" : "Location: " + location + "\r\n") + "\r\n" +
                   (head.starts_with("HEAD") ? "" : "say"));
      }
    }
  }

 private:
  std::map<std::string, std::string> ways_;
};

TEST(ClientRedirectTest, EachStatusHasItsWay) {
  weft::run([] {
    Maze maze;
    for (const char* status : {"301", "302", "303", "307", "308"})
      maze.add(std::string("/") + status, std::string(status) + " /end");
    ScriptedServer server(maze);
    Client client;
    for (const char* status : {"301", "302", "303", "307", "308"}) {
      const bool keeps_method = std::string_view(status) >= "307";
      for (const char* method : {"GET", "POST", "PUT", "DELETE"}) {
        ClientRequest request{.url = server.url(std::string("/") + status), .method = method};
        if (method[0] == 'P') request.body = "the body";
        if (method[0] == 'P') request.headers.set("Content-Type", "text/plain");
        request.headers.set("X-Kept", "yes");
        Response response = client.send(request);
        EXPECT_EQ(response.status(), Status::ok);
        EXPECT_EQ(response.url(), server.url("/end"));
        const std::string text = response.text();
        EXPECT_TRUE(text.starts_with((keeps_method ? method : std::string("GET")) + " /end ")) << status << text;
        EXPECT_TRUE(test::contains(text, "\r\nX-Kept: yes\r\n"));
        EXPECT_EQ(text.ends_with("\r\n\r\nthe body"), keeps_method && method[0] == 'P') << text;
        EXPECT_EQ(test::contains(text, "Content-Type"), keeps_method && method[0] == 'P') << text;
      }
      EXPECT_EQ(client.head(server.url(std::string("/") + status)).url(), server.url("/end"));
    }
    EXPECT_EQ(server.accepted(), 1) << "what a redirect says is read, so that its connection serves on";
  });
}

TEST(ClientRedirectTest, WhatLeadsNowhereIsAReply) {
  weft::run([] {
    Maze maze;
    maze.add("/300", "300 /end");
    maze.add("/304", "304 /end");
    maze.add("/302", "302 ");
    maze.add("/308", "308 /end");
    ScriptedServer server(maze);
    Client client;
    EXPECT_EQ(http::code(client.get(server.url("/300")).status()), 300);
    EXPECT_EQ(http::code(client.get(server.url("/302")).status()), 302);
    Client stays({.max_redirects = 0});
    Response response = stays.get(server.url("/308"));
    EXPECT_EQ(http::code(response.status()), 308);
    EXPECT_EQ(response.header("Location"), "/end");
    EXPECT_EQ(response.text(), "say");
    // A body that cannot be sent again.
    ClientRequest request{.url = server.url("/308"), .method = "POST"};
    request.source = [is_sent = false](std::span<std::byte> buffer, std::error_code&) mutable {
      if (is_sent) return std::size_t{0};
      is_sent = true;
      buffer[0] = std::byte{'x'};
      return std::size_t{1};
    };
    EXPECT_EQ(http::code(client.send(request).status()), 308);
  });
}

TEST(ClientRedirectTest, ALoopEnds) {
  weft::run([] {
    Maze maze;
    maze.add("/a", "302 /b");
    maze.add("/b", "302 /a");
    for (int i = 0; i < 12; ++i) maze.add("/" + std::to_string(i), "302 " + std::to_string(i + 1));
    ScriptedServer server(maze);
    Client client;
    std::error_code error;
    EXPECT_FALSE(client.get(server.url("/a"), Context(), error));
    EXPECT_EQ(error, http::errc::too_many_redirects);
    EXPECT_EQ(client.get(server.url("/2")).url(), server.url("/12")) << "ten are allowed";
    try {
      client.get(server.url("/1"));
      FAIL();
    } catch (const std::system_error& refused) {
      EXPECT_TRUE(test::contains(refused.what(), "GET \"" + server.url("/11") + "\": Location \"12\""))
          << refused.what();
    }
    Client impatient({.max_redirects = 1});
    EXPECT_EQ(impatient.get(server.url("/11")).url(), server.url("/12"));
    impatient.get(server.url("/10"), Context(), error);
    EXPECT_EQ(error, http::errc::too_many_redirects);
  });
}

TEST(ClientRedirectTest, ALocationThatIsNoneIsAnError) {
  weft::run([] {
    Maze maze;
    maze.add("/bad", "302 http://");
    maze.add("/ftp", "302 ftp://h/");
    maze.add("/script", "302 javascript:alert(1)");
    ScriptedServer server(maze);
    Client client;
    std::error_code error;
    client.get(server.url("/bad"), Context(), error);
    EXPECT_EQ(error, http::errc::bad_url);
    client.get(server.url("/ftp"), Context(), error);
    EXPECT_EQ(error, std::errc::protocol_not_supported);
    client.get(server.url("/script"), Context(), error);
    EXPECT_EQ(error, std::errc::protocol_not_supported);
  });
}

TEST(ClientRedirectTest, CredentialsStayWithTheirHost) {
  weft::run([] {
    ScriptedServer other(Maze{});
    const std::string port = other.address().substr(other.address().find(':'));
    Maze maze;
    maze.add("/same", "302 /end");
    maze.add("/port", "302 http://127.0.0.1" + port + "/end");  // another port of the same host
    maze.add("/other", "302 http://localhost" + port + "/end");
    ScriptedServer server(maze);
    maze.add("/there", "302 " + server.url("/end"));
    Maze back;
    back.add("/back", "302 " + server.url("/end"));
    ScriptedServer third(back);
    maze.add("/round", "302 http://localhost" + third.address().substr(third.address().find(':')) + "/back");
    ScriptedServer start(maze);

    http::ClientOptions options;
    options.headers.set("Cookie", "a=b");
    Client client(options);
    const auto ask = [&](const std::string& url) {
      ClientRequest request{.url = url};
      request.headers.set("Authorization", "Bearer token").set("X-Kept", "yes");
      const std::string text = client.send(request).text();
      EXPECT_TRUE(test::contains(text, "X-Kept: yes")) << text;
      EXPECT_EQ(test::contains(text, "Authorization"), test::contains(text, "Cookie")) << text;
      return test::contains(text, "Authorization");
    };
    EXPECT_TRUE(ask(start.url("/same")));
    EXPECT_TRUE(ask(start.url("/port")));
    EXPECT_FALSE(ask(start.url("/other")));
    EXPECT_FALSE(ask(start.url("/round"))) << "what is gone stays away";
  });
}

TEST(ClientRedirectTest, UserAndHostOfTheRequestGoAlongWithinIt) {
  weft::run([] {
    Maze maze;
    maze.add("/relative", "302 /end");
    ScriptedServer server(maze);
    maze.add("/absolute", "302 " + server.url("/end"));
    ScriptedServer start(maze);
    Client client;
    ClientRequest request{.url = "http://me:secret@" + start.address() + "/relative"};
    request.headers.set("Host", "virtual");
    std::string text = client.send(request).text();
    EXPECT_TRUE(test::contains(text, "Host: virtual\r\n")) << text;
    EXPECT_TRUE(test::contains(text, "Authorization: Basic ")) << text;
    request.url = "http://me:secret@" + start.address() + "/absolute";
    text = client.send(request).text();
    EXPECT_TRUE(test::contains(text, "Host: " + server.address() + "\r\n")) << text;
    EXPECT_FALSE(test::contains(text, "Authorization")) << text;
  });
}

}  // namespace

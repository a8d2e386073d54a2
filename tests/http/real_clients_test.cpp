// Clients that others have written: curl, ab and wrk, where they are installed.

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/runtime.hpp>

#include "http_support.hpp"

namespace {

using testing::HasSubstr;
using testing::Not;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Router;
using weft::http::ServerOptions;
using weft::http::Status;
using weft::test::TestServer;

bool is_installed(const std::string& program) {
  return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

/// What a command of the shell says, errors included.
std::string output_of(const std::string& command) {
  return weft::blocking([&] {
    std::string output;
    std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
    char buffer[4'096];
    while (const std::size_t n = std::fread(buffer, 1, sizeof buffer, pipe)) output.append(buffer, n);
    EXPECT_EQ(::pclose(pipe), 0) << command << "\n" << output;
    return output;
  });
}

/// The two sums of what was sent and what came back.
bool are_first_lines_equal(std::string_view text) {
  const std::size_t end = text.find('\n') + 1;
  return end > 1 && text.substr(end).starts_with(text.substr(0, end));
}

Router router() {
  Router router;
  router.get("/hello", [](Request&, ResponseWriter& response) { response.send("hello\n"); });
  router.get("/chunks", [](Request&, ResponseWriter& response) {
    for (int i = 0; i < 1'000; ++i) response.write("a line of a long reply\n");
  });
  router.get("/old", [](Request&, ResponseWriter& response) { response.redirect("/hello"); });
  const auto echo = [](Request& request, ResponseWriter& response) {
    response.header("X-Length", request.content_length() ? "known" : "unknown");
    response.send(Status::ok, "application/octet-stream", request.body());
  };
  router.put("/echo", echo).post("/echo", echo);
  return router;
}

/// A server, and an address for the shell.
struct Site {
  explicit Site(ServerOptions options = {}) : server(router(), std::move(options)) {}
  std::string curl(const std::string& arguments) const {
    return output_of("curl -sS --noproxy '*' --max-time 300 " + arguments);
  }
  TestServer server;
  std::string url = "http://" + server.address();
};

TEST(HttpClientsTest, CurlReadsRepliesOfEveryKind) {
  if (!is_installed("curl")) GTEST_SKIP() << "curl is not installed";
  weft::run([] {
    const Site site;
    const std::string reply = site.curl("-i " + site.url + "/hello");
    EXPECT_THAT(reply, testing::StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(reply, testing::EndsWith("\r\n\r\nhello\n"));
    EXPECT_EQ(site.curl(site.url + "/chunks | wc -lc | tr -s ' '"), " 1000 23000\n");
    EXPECT_THAT(site.curl("-I " + site.url + "/hello"), HasSubstr("Content-Length: 6\r\n"));
    EXPECT_EQ(site.curl("-L " + site.url + "/old"), "hello\n");
    EXPECT_EQ(site.curl("--http1.0 " + site.url + "/chunks | wc -l"), "1000\n");
    EXPECT_THAT(site.curl("-w '%{http_code}' " + site.url + "/nothing"), HasSubstr("404"));
    EXPECT_THAT(site.curl("-X PATCH -i " + site.url + "/echo"), HasSubstr("Allow: PUT, POST\r\n"));
    // A range need not be served: then it is all of it.
    EXPECT_THAT(site.curl("-i -r 1-3 " + site.url + "/hello"), testing::StartsWith("HTTP/1.1 200 OK\r\n"));
  });
}

TEST(HttpClientsTest, CurlKeepsItsConnection) {
  if (!is_installed("curl")) GTEST_SKIP() << "curl is not installed";
  weft::run([] {
    Site site;
    EXPECT_EQ(site.curl(site.url + "/hello " + site.url + "/hello " + site.url + "/hello"), "hello\nhello\nhello\n");
    EXPECT_EQ(site.server.server().stats().accepted, 1U);
    EXPECT_EQ(site.server.server().stats().requests, 3U);
  });
}

TEST(HttpClientsTest, CurlUploads) {
  if (!is_installed("curl")) GTEST_SKIP() << "curl is not installed";
  weft::run([] {
    const Site site;
    const auto upload = [&](const std::string& from) {
      return output_of(
          "f=$(mktemp) h=$(mktemp); seq 1 200000 >$f; cksum <$f; curl -sS --noproxy '*' --max-time 300 -D $h -T " +
          from + " " + site.url + "/echo | cksum; cat $h; rm $f $h");
    };
    const std::string chunked = upload("- <$f");  // of unknown length
    EXPECT_TRUE(are_first_lines_equal(chunked)) << chunked;
    EXPECT_THAT(chunked, HasSubstr("X-Length: unknown"));
    const std::string known = upload("$f");
    EXPECT_TRUE(are_first_lines_equal(known)) << known;
    EXPECT_THAT(known, HasSubstr("X-Length: known"));
    EXPECT_THAT(site.curl("-d a=b " + site.url + "/echo"), "a=b");
  });
}

TEST(HttpClientsTest, CurlWaitsToBeToldToGoOn) {
  if (!is_installed("curl")) GTEST_SKIP() << "curl is not installed";
  weft::run([] {
    ServerOptions options;
    options.max_body_bytes = 10'000;
    const Site site(options);
    const auto post = [&](int size) {
      return output_of("head -c " + std::to_string(size) +
                       " /dev/zero | tr '\\0' x | curl -sS -v --noproxy '*' --expect100-timeout 300 --max-time 300 "
                       "-H 'Expect: 100-continue' -H 'Content-Type: text/plain' --data-binary @- -o /dev/null "
                       "-w 'uploaded %{size_upload}\\n' " +
                       site.url + "/echo");
    };
    const std::string fine = post(10'000);
    EXPECT_THAT(fine, HasSubstr("HTTP/1.1 100 Continue"));
    EXPECT_THAT(fine, HasSubstr("HTTP/1.1 200 OK"));
    EXPECT_THAT(fine, HasSubstr("uploaded 10000\n"));
    const std::string refused = post(10'001);
    EXPECT_THAT(refused, Not(HasSubstr("HTTP/1.1 100 Continue")));
    EXPECT_THAT(refused, HasSubstr("HTTP/1.1 413 Content Too Large"));
    EXPECT_THAT(refused, HasSubstr("uploaded 0\n"));
  });
}

TEST(HttpClientsTest, AbFindsNoFailure) {
  if (!is_installed("ab")) GTEST_SKIP() << "ab is not installed";
  weft::run([] {
    Site site;
    for (const char* kept : {"", "-k "}) {
      const std::string report = output_of("ab -q -n 1000 -c 20 " + std::string(kept) + site.url + "/hello");
      EXPECT_THAT(report, HasSubstr("Complete requests:      1000\n"));
      EXPECT_THAT(report, HasSubstr("Failed requests:        0\n"));
      EXPECT_THAT(report, Not(HasSubstr("Non-2xx")));
    }
    EXPECT_TRUE(site.server.log().empty());
  });
}

TEST(HttpClientsTest, WrkFindsNoFailure) {
  if (!is_installed("wrk")) GTEST_SKIP() << "wrk is not installed";
  weft::run([] {
    Site site;
    const std::string report = output_of("wrk -t 1 -c 50 -d 1s --timeout 100s " + site.url + "/hello");
    EXPECT_THAT(report, HasSubstr("requests in"));
    EXPECT_THAT(report, Not(HasSubstr("Socket errors")));
    EXPECT_THAT(report, Not(HasSubstr("Non-2xx")));
    EXPECT_TRUE(site.server.log().empty());
    EXPECT_EQ(site.server.server().stats().bad_requests, 0U);
  });
}

}  // namespace

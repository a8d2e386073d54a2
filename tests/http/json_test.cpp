// JSON in and out, and what is said of a body that is none.

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <weft/http/json.hpp>

#include "http_support.hpp"

namespace {

using weft::http::read_json;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Status;
using weft::http::write_json;
using weft::test::post;
using weft::test::Reply;

Reply echo(std::string_view body, std::string_view more = "Content-Type: application/json\r\n") {
  return weft::test::serve([](Request& request,
                              ResponseWriter& response) { write_json(response, Status::created, read_json(request)); },
                           post("/", body, more))
      .reply();
}

TEST(HttpJsonTest, AValueGoesBothWays) {
  const Reply reply = echo(R"( {"b": [1, -2.5, "x\u00e4", null, true], "a": {}} )"
                           "\r\n");
  EXPECT_EQ(reply.status, 201);
  EXPECT_EQ(reply.field("Content-Type"), "application/json");
  EXPECT_EQ(reply.body, "{\"b\":[1,-2.5E0,\"x\xc3\xa4\",null,true],\"a\":{}}");
  EXPECT_EQ(echo("0").body, "0");
}

TEST(HttpJsonTest, WhatIsNoJsonGetsA400WithThePlace) {
  struct Case {
    const char* body;
    const char* place;
  };
  for (const Case& one : {Case{"", "0"},
                          {"{", "1"},
                          {R"({"a": tru})", "6"},
                          {R"({"a":1} x)", "8"},
                          {"[1,]", "3"},
                          {"[1] [2]", "4"},
                          {"\xff", "0"},
                          {"\"a\nb\"", "2"},
                          {"01", "1"}}) {
    const Reply reply = echo(one.body);
    EXPECT_EQ(reply.status, 400) << one.body;
    EXPECT_TRUE(reply.body.starts_with("the body is no JSON: ")) << reply.body;
    EXPECT_TRUE(reply.body.ends_with(std::string(" at byte ") + one.place + "\n")) << one.body << ": " << reply.body;
  }
}

TEST(HttpJsonTest, WhatIsNestedTooDeeplyIsRefused) {
  EXPECT_EQ(echo(std::string(20, '[') + std::string(20, ']')).status, 201);
  EXPECT_EQ(echo(std::string(100'000, '[')).status, 400);
}

/// Random, of all kinds.
boost::json::value some_value(std::mt19937& random, int depth) {
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const auto some_string = [&] {
    boost::json::string text;
    for (unsigned left = below(40); left > 0; --left) text.push_back(static_cast<char>(below(256)));
    return text;
  };
  switch (below(depth > 0 ? 8 : 6)) {
    case 0:
      return nullptr;
    case 1:
      return below(2) == 0;
    case 2:
      return static_cast<std::int64_t>((std::uint64_t{random()} << 32U) | random());
    case 3:
      return (std::uint64_t{random()} << 32U) | random();
    case 4:
      return static_cast<double>(random()) / 1000 - 1e6;
    case 5:
      return some_string();
    case 6: {
      boost::json::array array;
      for (unsigned left = below(5); left > 0; --left) array.push_back(some_value(random, depth - 1));
      return array;
    }
    default: {
      boost::json::object object;
      for (unsigned left = below(5); left > 0; --left) object[some_string()] = some_value(random, depth - 1);
      return object;
    }
  }
}

TEST(HttpJsonTest, TheTextIsThatOfBoost) {
  std::mt19937 random(1);
  boost::json::value nested = "at the bottom";
  for (int i = 0; i < 200; ++i) nested = i % 2 == 0 ? boost::json::value{nested} : boost::json::value{{"in", nested}};
  std::vector<boost::json::value> values;
  values.emplace_back(nested);
  values.emplace_back("");
  values.emplace_back(boost::json::string(100'000, '\x01'));
  values.emplace_back(boost::json::object());
  values.emplace_back(boost::json::array());
  for (int i = 0; i < 2'000; ++i) values.push_back(some_value(random, 4));
  std::string requests;
  for (std::size_t i = 0; i < values.size(); ++i) requests += weft::test::get("/");
  const auto served = weft::test::serve(
      [&, next = std::size_t{0}](Request&, ResponseWriter& response) mutable {
        write_json(response, Status::ok, values[next++]);
      },
      requests);
  const std::vector<Reply> replies = weft::test::take_replies(served.output);
  ASSERT_EQ(replies.size(), values.size());
  for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(replies[i].body, boost::json::serialize(values[i]));
}

TEST(HttpJsonTest, AnotherTypeGetsA415) {
  for (const char* type :
       {"text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", "application/"}) {
    const Reply reply = echo("{}", std::string("Content-Type: ") + type + "\r\n");
    EXPECT_EQ(reply.status, 415) << type;
    EXPECT_EQ(reply.body, std::string("the body must be application/json, not ") + type + "\n");
  }
  for (const char* type : {"application/json", "Application/JSON; charset=utf-8", "application/json ; charset=utf-8",
                           "application/problem+json", "application/merge-patch+JSON;x=y"}) {
    EXPECT_EQ(echo("{}", std::string("Content-Type: ") + type + "\r\n").status, 201) << type;
  }
  EXPECT_EQ(echo("{}", "").status, 201);  // it may be left out
}

TEST(HttpJsonTest, ABodyThatIsTooLargeGetsA413) {
  weft::test::Serving small;
  small.options.max_body_bytes = 10;
  const auto handler = [](Request& request, ResponseWriter& response) {
    write_json(response, Status::ok, read_json(request));
  };
  EXPECT_EQ(weft::test::serve(handler, post("/", "\"12345678\""), small).status(), 200);
  EXPECT_EQ(weft::test::serve(handler, post("/", "\"123456789\""), small).status(), 413);
}

}  // namespace

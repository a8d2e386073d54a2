// Header fields: order, case, what may not stand in one, and text that comes from the fields themselves.

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <weft/http/headers.hpp>

namespace {

using weft::http::Headers;

std::string text(const Headers& headers) {
  std::string all;
  for (const Headers::Field& field : headers) all.append(field.name).append("=").append(field.value).append(";");
  return all;
}

TEST(HttpHeadersTest, FieldsKeepTheirOrderAndAreFoundByAnyCase) {
  Headers headers;
  headers.add("Accept", "a").add("X-One", "1").add("ACCEPT", "b").add("Empty", "");
  EXPECT_EQ(text(headers), "Accept=a;X-One=1;ACCEPT=b;Empty=;");
  EXPECT_EQ(headers.get("accept"), "a");
  EXPECT_EQ(headers.values("aCCept"), (std::vector<std::string_view>{"a", "b"}));
  EXPECT_TRUE(headers.contains("empty"));
  EXPECT_FALSE(headers.contains("Accept-"));
  EXPECT_EQ(headers.get("missing"), "");
  EXPECT_TRUE(headers.values("missing").empty());
  EXPECT_EQ(headers.size(), 4U);
}

TEST(HttpHeadersTest, SetTakesThePlaceOfAllOfThatName) {
  Headers headers;
  headers.add("A", "1").add("B", "2").add("a", "3");
  headers.set("A", "4");
  EXPECT_EQ(text(headers), "B=2;A=4;");
  headers.remove("b").remove("nothing");
  EXPECT_EQ(text(headers), "A=4;");
  headers.clear();
  EXPECT_TRUE(headers.empty());
}

TEST(HttpHeadersTest, WhatCannotStandInAHeaderIsRefusedAndChangesNothing) {
  Headers headers;
  headers.set("A", "1");
  for (const std::string_view name : {"", "A ", " A", "A:", "A\r", "A\nB", "Ä", "a(b", "\"a\""}) {
    EXPECT_THROW(headers.set(name, "x"), std::invalid_argument) << name;
    EXPECT_THROW(headers.add(name, "x"), std::invalid_argument) << name;
  }
  using namespace std::string_view_literals;
  for (const std::string_view value : {"x\r\nB: 2"sv, "\n"sv, "\r"sv, "a\0b"sv, "\x7f"sv, "\x1b[0m"sv}) {
    EXPECT_THROW(headers.set("A", value), std::invalid_argument);
    EXPECT_THROW(headers.add("B", value), std::invalid_argument);
  }
  EXPECT_EQ(text(headers), "A=1;");
  headers.set("!#$%&'*+-.^_`|~aZ09", "\t tab and \xc3\xa4 are fine");
  EXPECT_EQ(headers.size(), 2U);
}

TEST(HttpHeadersTest, TextOfTheFieldsMayBeGivenBackToThem) {
  for (int round = 0; round < 40; ++round) {  // at some size the text moves
    Headers headers;
    headers.add("Name", "value").add("Fill", std::string(static_cast<std::size_t>(round), 'f'));
    headers.add("Copy", headers.get("Name"));
    headers.set("Name", headers.get("Copy"));
    headers.set(headers[1].name, headers[1].value);
    EXPECT_EQ(headers.get("Copy"), "value");
    EXPECT_EQ(headers.get("Name"), "value");
    EXPECT_EQ(headers.size(), 3U);
  }
  Headers one;
  one.add("Only", "this");
  one.set(one[0].name, one[0].value);
  EXPECT_EQ(text(one), "Only=this;");
}

TEST(HttpHeadersTest, AFieldThatIsSetAgainAndAgainTakesNoMoreRoom) {
  Headers headers;
  headers.set("Stays", "1");
  for (int i = 0; i < 1'000; ++i) headers.set("Changes", std::string(4'000, 'x')).set("Too", "y");
  EXPECT_EQ(headers.size(), 3U);
  const char* const before = headers.get("Changes").data();
  const char* const begin = headers.get("Stays").data();
  EXPECT_LT(before - begin, 100'000);  // they share one text
}

}  // namespace

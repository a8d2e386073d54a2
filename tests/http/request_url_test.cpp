// URLs as people write them, and what is made of them.

#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/http/error.hpp>

#include "request_url.hpp"

namespace {

namespace http = weft::http;
using http::detail::parse_url;
using http::detail::RequestUrl;
using http::detail::resolve_url;

RequestUrl good(const std::string& text) {
  std::error_code error;
  RequestUrl url = parse_url(text, error);
  EXPECT_FALSE(error) << text << ": " << error.message();
  return url;
}

TEST(RequestUrlTest, ItsPartsAreFound) {
  const RequestUrl url = good("http://Example.ORG:8080/a/b?x=1&y=2#there");
  EXPECT_FALSE(url.is_tls);
  EXPECT_EQ(url.host, "example.org");
  EXPECT_EQ(url.port, "8080");
  EXPECT_EQ(url.target, "/a/b?x=1&y=2");
  EXPECT_EQ(url.host_and_port(), "example.org:8080");
  EXPECT_EQ(url.address(), "example.org:8080");
  EXPECT_EQ(url.origin(), "http://example.org:8080");
  EXPECT_EQ(url.text(), "http://example.org:8080/a/b?x=1&y=2");
}

TEST(RequestUrlTest, WhatIsLeftOutHasItsUsualValue) {
  EXPECT_EQ(good("http://h").target, "/");
  EXPECT_EQ(good("http://h?a").target, "/?a");
  EXPECT_EQ(good("http://h/?").target, "/?");
  EXPECT_EQ(good("http://h#f").target, "/");
  EXPECT_EQ(good("http://h").address(), "h:80");
  EXPECT_EQ(good("http://h:/").host_and_port(), "h");
  EXPECT_EQ(good("https://h").address(), "h:443");
  EXPECT_TRUE(good("HTTPS://h").is_tls);
  EXPECT_NE(good("https://h:80").origin(), good("http://h:80").origin());
  EXPECT_EQ(good("http://h:80/").origin(), good("http://H").origin());
}

TEST(RequestUrlTest, AnAddressOfIPv6StandsInBrackets) {
  const RequestUrl url = good("http://[::1]:81/x");
  EXPECT_EQ(url.address(), "[::1]:81");
  EXPECT_EQ(url.host_and_port(), "[::1]:81");
  EXPECT_EQ(good("http://[fe80::2]").address(), "[fe80::2]:80");
}

TEST(RequestUrlTest, WhatMayNotStandThereIsEscaped) {
  EXPECT_EQ(good("http://h/a b").target, "/a%20b");
  EXPECT_EQ(good("http://h/caf\xc3\xa9?q=\xc3\xa4").target, "/caf%C3%A9?q=%C3%A4");
  EXPECT_EQ(good("http://h/?a[]=1&b={x}|\\^`\"<>").target, "/?a%5B%5D=1&b=%7Bx%7D%7C%5C%5E%60%22%3C%3E");
  EXPECT_EQ(good("http://h/100%").target, "/100%25");
  EXPECT_EQ(good("http://h/a%2fb%zz").target, "/a%2fb%25zz") << "what is escaped stays so";
  EXPECT_EQ(good("http://h/a?u=http://x//y").target, "/a?u=http://x//y");
  EXPECT_EQ(good("http://h//a//b").target, "//a//b");
}

TEST(RequestUrlTest, UserAndPasswordBecomeAuthorization) {
  const RequestUrl url = good("http://Aladdin:open%20sesame@h/");
  EXPECT_EQ(url.authorization, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");  // of RFC 7617
  EXPECT_EQ(url.text(), "http://h/");
  EXPECT_EQ(url.host_and_port(), "h");
  EXPECT_EQ(good("http://u@h/").authorization, "Basic dTo=");
  EXPECT_EQ(good("http://ab:c@h/").authorization, "Basic YWI6Yw==");
  EXPECT_EQ(good("http://ab:cd@h/").authorization, "Basic YWI6Y2Q=");
  EXPECT_EQ(good("http://h/").authorization, "");
}

TEST(RequestUrlTest, WhatIsNoUrlIsRefused) {
  for (const char* text : {"",
                           "/",
                           "h",
                           "h/x",
                           "//h/x",
                           "http:",
                           "http:/h",
                           "http://",
                           "http:///x",
                           "http://:80/",
                           "http://h:99999/",
                           "http://h:0/",
                           "http://h:-1/",
                           "http://h:8x/",
                           "http://a b/",
                           "http://h\r\nX: y/",
                           "http://h/\r\nX: y",
                           "http://h/\x01",
                           "http://h/\x7f",
                           "http://[::1",
                           "http://[::1/",
                           "http://[zz]/",
                           "http://[v1.x]/",
                           "http://m\xc3\xbcnchen/",
                           "http://a%20b/",
                           "http://h@/",
                           "http://a@b@c/",
                           "://h/",
                           "1http://h/"}) {
    std::error_code error;
    parse_url(text, error);
    EXPECT_EQ(error, http::errc::bad_url) << text;
  }
  for (const char* text : {"ftp://h/", "file:///etc/passwd", "mailto:a@b", "httpx://h/", "h:80/x", "ws://h"}) {
    std::error_code error;
    parse_url(text, error);
    EXPECT_EQ(error, std::errc::protocol_not_supported) << text;
  }
}

TEST(RequestUrlTest, ALocationIsResolvedAgainstWhereItCameFrom) {
  const RequestUrl base = good("http://u:p@h:81/a/b/c?q=1");
  const auto resolved = [&](const char* location) {
    std::error_code error;
    const RequestUrl url = resolve_url(base, location, error);
    EXPECT_FALSE(error) << location << ": " << error.message();
    return (url.user_info.empty() ? "" : url.user_info + " ") + url.text();
  };
  EXPECT_EQ(resolved("/x"), "u:p http://h:81/x");
  EXPECT_EQ(resolved("x?y"), "u:p http://h:81/a/b/x?y");
  EXPECT_EQ(resolved("../x"), "u:p http://h:81/a/x");
  EXPECT_EQ(resolved("./"), "u:p http://h:81/a/b/");
  EXPECT_EQ(resolved("?z"), "u:p http://h:81/a/b/c?z");
  EXPECT_EQ(resolved("#f"), "u:p http://h:81/a/b/c?q=1");
  EXPECT_EQ(resolved("//g/x"), "http://g/x");
  EXPECT_EQ(resolved("https://g:1/x y#f"), "https://g:1/x%20y");
  EXPECT_EQ(resolved("http://v@g"), "v http://g/");
}

TEST(RequestUrlTest, ALocationThatIsNoneIsRefused) {
  const RequestUrl base = good("http://h/");
  for (const char* location : {"http://", "http://a b/", "/x\r\ny", "http://[", "//", "http:///x"}) {
    std::error_code error;
    resolve_url(base, location, error);
    EXPECT_EQ(error, http::errc::bad_url) << location;
  }
  std::error_code error;
  resolve_url(base, "javascript:alert(1)", error);
  EXPECT_EQ(error, std::errc::protocol_not_supported);
}

}  // namespace

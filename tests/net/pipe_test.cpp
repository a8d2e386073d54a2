// The pipe within the process: NET-16, mostly in bubbles, where every time is exact.

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/net/pipe.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::WaitGroup;
using weft::net::PipeEnd;
namespace net = weft::net;
namespace test = weft::test;

std::string read_text(PipeEnd& end, std::size_t room, std::error_code& error) {
  std::string text(room, '\0');
  text.resize(end.read_some(std::as_writable_bytes(std::span(text)), error));
  return text;
}

std::string read_text(PipeEnd& end, std::size_t room) {
  std::error_code error;
  std::string text = read_text(end, room, error);
  EXPECT_FALSE(error) << error.message();
  return text;
}

std::error_code read_error(PipeEnd& end) {
  std::error_code error;
  EXPECT_EQ(read_text(end, 1, error), "");
  return error;
}

// Rules: NET-16
TEST(PipeTest, AWriteIsTakenBySeveralReadsAndReturnsWithTheLast) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    bool has_returned = false;
    weft::go([&has_returned, end = one]() mutable {
      std::error_code error;
      EXPECT_EQ(end.write("0123456789", error), 10U);
      EXPECT_FALSE(error);
      has_returned = true;
    });
    for (const char* part : {"0123", "4567"}) {
      EXPECT_EQ(read_text(other, 4), part);
      weft::testing::wait();
      EXPECT_FALSE(has_returned);
    }
    EXPECT_EQ(read_text(other, 4), "89");
    weft::testing::wait();
    EXPECT_TRUE(has_returned);
  });
}

// Rules: NET-16
TEST(PipeTest, AWriteOfNothingWaitsForARead) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    bool has_returned = false;
    weft::go([&has_returned, end = one]() mutable {
      std::error_code error;
      EXPECT_EQ(end.write("", error), 0U);
      has_returned = true;
    });
    weft::testing::wait();
    EXPECT_FALSE(has_returned);
    EXPECT_EQ(read_text(other, 4), "");
    weft::testing::wait();
    EXPECT_TRUE(has_returned);
  });
}

// Rules: NET-16
TEST(PipeTest, WritesOfSeveralAreNotMixed) {
  test::everywhere([] {
    auto [one, other] = net::pipe();
    WaitGroup wg;
    for (const char letter : {'a', 'b', 'c'}) {
      wg.go([letter, end = one]() mutable {
        std::error_code error;
        end.write(std::string(100, letter), error);
      });
    }
    for (int i = 0; i < 3; ++i) {
      std::string text;
      while (text.size() < 100) text += read_text(other, 7 < 100 - text.size() ? 7 : 100 - text.size());
      EXPECT_EQ(text, std::string(100, text.front()));
    }
    wg.wait();
  });
}

// Rules: NET-16
TEST(PipeTest, CloseEndsBothEnds) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    WaitGroup wg;
    wg.go([end = one]() mutable { EXPECT_EQ(read_error(end), net::errc::closed_pipe); });
    wg.go([end = other]() mutable { EXPECT_EQ(read_error(end), net::errc::eof); });
    weft::testing::wait();
    one.close();
    wg.wait();
    std::error_code error;
    EXPECT_EQ(other.write("x", error), 0U);
    EXPECT_EQ(error, net::errc::closed_pipe);
    EXPECT_EQ(error.message(), "io: read/write on closed pipe");
    EXPECT_EQ(one.write("x", error), 0U);
    EXPECT_EQ(error, net::errc::closed_pipe);
    EXPECT_EQ(one.set_deadline(Clock::now()), net::errc::closed_pipe);
    one.close();
  });
}

// Rules: NET-1, NET-2, NET-3, NET-16
TEST(PipeTest, DeadlinesAreExactAndMayBeMoved) {
  weft::testing::run([] {
    auto [one, other] = net::pipe();
    const auto begin = Clock::now();
    EXPECT_FALSE(one.set_read_deadline(begin + 10s));
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(read_error(one), net::errc::timed_out);
      EXPECT_EQ(Clock::now() - begin, 10s);
    }
    // The other direction goes on.
    weft::go([end = other]() mutable { EXPECT_EQ(read_text(end, 1), "x"); });
    std::error_code error;
    EXPECT_EQ(one.write("x", error), 1U);
    // Moved before it has passed, and cleared after.
    EXPECT_FALSE(one.set_read_deadline(begin + 20s));
    EXPECT_FALSE(one.set_read_deadline(begin + 30s));
    EXPECT_EQ(read_error(one), net::errc::timed_out);
    EXPECT_EQ(Clock::now() - begin, 30s);
    EXPECT_FALSE(one.set_read_deadline(std::nullopt));
    weft::go([end = other]() mutable {
      weft::sleep_for(1h);
      std::error_code unused;
      end.write("y", unused);
    });
    EXPECT_EQ(read_text(one, 1), "y");
    // Set in the past while somebody waits.
    WaitGroup wg;
    wg.go([end = one]() mutable { EXPECT_EQ(read_error(end), net::errc::timed_out); });
    weft::testing::wait();
    EXPECT_FALSE(one.set_read_deadline(Clock::now() - 1s));
    wg.wait();
    // A write says how much was taken.
    EXPECT_FALSE(one.set_write_deadline(Clock::now() + 1s));
    wg.go([end = other]() mutable { EXPECT_EQ(read_text(end, 3), "012"); });
    EXPECT_EQ(one.write("0123456789", error), 3U);
    EXPECT_EQ(error, net::errc::timed_out);
    wg.wait();
  });
}

}  // namespace

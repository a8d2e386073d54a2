// Dialing a host that has several addresses, of which some do not answer.

#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/net/unix.hpp>
#include <weft/runtime.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/black_hole.hpp"
#include "../support/nobody.hpp"
#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::WaitGroup;
using weft::net::Endpoint;
using weft::net::Listener;
using weft::net::Stream;
namespace net = weft::net;
namespace test = weft::test;
using test::BlackHole;
using test::Nobody;

/// A family that every machine has beside IPv4.
Listener other_family() { return net::listen_unix("@weft-dial-" + std::to_string(::getpid())); }

bool has_connection(Listener& listener) {
  weft::testing::verify_no_leaks();  // nobody dials any more
  std::error_code error;
  static_cast<void>(listener.set_deadline(Clock::now() + 1ms));
  listener.accept(error);
  return !error;
}

TEST(DialTest, TheOtherFamilySetsOutWhenTheFirstDoesNotAnswer) {
  test::everywhere([] {
    const BlackHole hole;
    Listener other = other_family();
    const auto start = Clock::now();
    std::error_code error;
    const Stream stream = net::dial_any(std::vector{hole.address(), other.local()}, {}, error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(stream.peer(), other.local());
    EXPECT_GE(Clock::now() - start, 300ms);
  });
}

TEST(DialTest, TheOtherFamilySetsOutWhenTheFirstHasFailed) {
  test::everywhere([] {
    Listener other = other_family();
    const Nobody nobody;
    const Endpoint& refused = nobody.address();
    for (int i = 0; i < test::rounds(200); ++i) {
      std::error_code error;
      const Stream stream = net::dial_any(std::vector{refused, other.local(), refused}, {}, error);
      EXPECT_FALSE(error) << error.message();
      EXPECT_EQ(stream.peer(), other.local());
      other.accept();
    }
  });
}

TEST(DialTest, TheOtherFamilyIsLeftAloneWhenTheFirstAnswers) {
  weft::run([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    Listener other = other_family();
    std::error_code error;
    const Stream stream = net::dial_any(std::vector{listener.local(), other.local()}, {}, error);
    EXPECT_EQ(stream.peer(), listener.local());
    EXPECT_TRUE(has_connection(listener));
    EXPECT_FALSE(has_connection(other));
  });
}

TEST(DialTest, AddressesOfOneFamilyAreTriedInTurn) {
  weft::run([] {
    Listener listener = net::listen_tcp("127.0.0.1:0");
    std::error_code error;
    const Nobody one;
    const Nobody two;
    const Stream stream = net::dial_any(std::vector{one.address(), two.address(), listener.local()}, {}, error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(stream.peer(), listener.local());
  });
}

TEST(DialTest, WhenAllFailTheFirstErrorIsTold) {
  weft::run([] {
    std::error_code error;
    const Endpoint gone = other_family().local();
    const Nobody nobody;
    for (int i = 0; i < test::rounds(200); ++i) {
      EXPECT_FALSE(net::dial_any(std::vector{nobody.address(), gone}, {}, error).is_open());
      EXPECT_EQ(error, std::errc::connection_refused);
    }
    net::dial_any({}, {}, error);
    EXPECT_EQ(error, net::errc::bad_address);
  });
}

TEST(DialTest, AContextEndsAllAndLeavesNobody) {
  test::everywhere([] {
    const BlackHole hole;
    const BlackHole another;
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    WaitGroup wg;
    for (const std::vector<Endpoint>& endpoints : {std::vector{hole.address()}, {hole.address(), another.address()}}) {
      test::go_parked(wg, [&, &context = ctx, endpoints] {
        std::error_code error;
        EXPECT_FALSE(net::dial_any(endpoints, context, error).is_open());
        EXPECT_EQ(error, weft::errc::canceled);
      });
    }
    cancel();
    wg.wait();
    std::error_code error;
    net::dial_tcp("localhost:80", ctx, error);  // before the look-up
    EXPECT_EQ(error, weft::errc::canceled);
    weft::testing::verify_no_leaks();
  });
}

TEST(DialTest, ARaceEndsWithItsContext) {
  weft::run([] {
    const BlackHole hole;
    std::error_code error;
    const auto missing = Endpoint::unix_path("@weft-dial-nobody-" + std::to_string(::getpid()), error);
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 20ms);
    net::dial_any(std::vector{hole.address(), missing}, ctx, error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    weft::testing::verify_no_leaks();
  });
}

TEST(DialTest, AnAddressThatDoesNotAnswerLeavesTimeForTheOthers) {
  weft::run([] {
    const BlackHole hole;
    Listener listener = net::listen_tcp("127.0.0.1:0");
    std::vector<Endpoint> endpoints(30, listener.local());
    endpoints.front() = hole.address();
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 60s);  // a thirtieth of which is too little
    const auto start = Clock::now();
    std::error_code error;
    EXPECT_TRUE(net::dial_any(endpoints, ctx, error).is_open()) << error.message();
    EXPECT_GE(Clock::now() - start, 2s);
  });
}

TEST(DialTest, NamesAreLookedUpUnderAContext) {
  weft::run([] {
    auto [ctx, cancel] = weft::with_timeout(weft::background(), 60s);
    Listener listener = net::listen_tcp("127.0.0.1:0");
    std::error_code error;
    const Stream stream = net::dial_tcp("localhost:" + std::to_string(listener.local().port()), ctx, error);
    EXPECT_FALSE(error) << error.message();
    EXPECT_EQ(stream.peer(), listener.local());
  });
}

/// The system gives a dialer an even port, a little further on each time: one in some ten thousand would meet itself.
TEST(DialTest, ADialerDoesNotMeetItself) {
  weft::run([] {
    const Endpoint address =
        Endpoint::parse("127.0.0.1:" + std::to_string(net::listen_tcp("127.0.0.1:0").local().port() & ~1U));
    for (int i = 0; i < test::rounds(30'000); ++i) {
      std::error_code error;
      const Stream stream = net::dial(address, {}, error);
      if (!stream.is_open()) continue;
      ASSERT_NE(stream.local(), stream.peer());
      break;  // somebody is there
    }
  });
}

}  // namespace

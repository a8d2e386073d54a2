// recv_for, send_for, on_timeout and wait_for take exactly as long as they say: on virtual time. (That they are never early
// in real time is shown where each is tested.)

#include <algorithm>
#include <chrono>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

namespace {

using namespace std::chrono_literals;
using weft::ChanStatus;
using weft::Clock;
using weft::make_chan;
using weft::on_timeout;
using weft::sleep_for;
using weft::TimePoint;
using weft::WaitGroup;
using Ns = std::chrono::nanoseconds;

/// How long f takes, by the bubble's clock.
template <class F>
Ns duration_of(F f) {
  const TimePoint start = Clock::now();
  f();
  return Clock::now() - start;
}

// Rules: TM-1, SYN-3
TEST(TimedFormsTest, TimeOutsAreExact) {
  weft::testing::run([] {
    const auto quiet = make_chan<int>();
    for (const Ns d : {Ns(1), Ns(1ms), Ns(1h), Ns(24h * 365)}) {
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(quiet.recv_for(d).status(), ChanStatus::timed_out); }), d);
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(quiet.send_for(1, d), ChanStatus::timed_out); }), d);
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(weft::select(quiet.on_recv(), on_timeout(d)), 1U); }), d);
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(weft::select(on_timeout(d)), 0U); }), d);
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(weft::select(on_timeout(d * 2), quiet.on_recv(), on_timeout(d)), 2U); }),
                d);
      EXPECT_EQ(duration_of([&] { EXPECT_EQ(weft::Chan<int>().recv_for(d).status(), ChanStatus::timed_out); }), d);
      EXPECT_EQ(duration_of([&] { sleep_for(d); }), d);
      EXPECT_EQ(duration_of([&] { weft::sleep_until(Clock::now() + d); }), d);
      WaitGroup group;
      group.add(1);
      EXPECT_EQ(duration_of([&] { EXPECT_FALSE(group.wait_for(d)); }), d);
      group.done();
    }
  });
}

// Rules: TM-1
TEST(TimedFormsTest, ZeroAndNegativeTakeNoTime) {
  weft::testing::run([] {
    const auto quiet = make_chan<int>();
    for (const Ns d : {Ns(0), Ns(-1), Ns::min()}) {
      EXPECT_EQ(duration_of([&] {
                  EXPECT_EQ(quiet.recv_for(d).status(), ChanStatus::timed_out);
                  EXPECT_EQ(quiet.send_for(1, d), ChanStatus::timed_out);
                  EXPECT_EQ(weft::select(quiet.on_recv(), on_timeout(d)), 1U);
                  sleep_for(d);
                  weft::sleep_until(Clock::now() + std::max(d, Ns(-1h)));
                }),
                0s);
    }
  });
}

// Rules: TM-1, SYN-3
TEST(TimedFormsTest, WhatComesBeforeTheTimeOutEndsTheWaitAtItsOwnTime) {
  weft::testing::run([] {
    const auto chan = make_chan<int>();
    weft::go([=] {
      sleep_for(3s);
      chan.send(1);
      sleep_for(3s);
      EXPECT_EQ(*chan.recv(), 2);
      sleep_for(3s);
      chan.send(3);
    });
    EXPECT_EQ(duration_of([&] { EXPECT_EQ(chan.recv_for(4s).value_or(0), 1); }), 3s);
    EXPECT_EQ(duration_of([&] { EXPECT_EQ(chan.send_for(2, 4s), ChanStatus::ok); }), 3s);
    EXPECT_EQ(duration_of([&] { EXPECT_EQ(weft::select(on_timeout(4s), chan.on_recv()), 1U); }), 3s);
    WaitGroup group;
    group.go([] { sleep_for(5s); });
    EXPECT_EQ(duration_of([&] { EXPECT_FALSE(group.wait_for(4s)); }), 4s);
    EXPECT_EQ(duration_of([&] { EXPECT_TRUE(group.wait_for(4s)); }), 1s);
  });
}

// Rules: TM-1, HZ-12
TEST(TimedFormsTest, WhatWouldOverflowOutlastsEverything) {
  weft::testing::run([] {
    const auto chan = make_chan<int>();
    weft::go([=] {
      sleep_for(24h * 365 * 200);
      chan.send(1);
      EXPECT_TRUE(chan.recv_for(Ns::max()));
    });
    EXPECT_TRUE(chan.recv_for(Ns::max()));
    EXPECT_EQ(chan.send_for(2, std::chrono::hours::max()), ChanStatus::ok);
  });
}

}  // namespace

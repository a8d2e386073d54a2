// A bubble whose goroutines can never go on: what run() says, and that those left behind disturb nobody.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::sleep_for;
using weft::WaitGroup;
namespace test = weft::test;

constexpr const char* kAllBlocked = "deadlock: all goroutines in bubble are blocked";
constexpr const char* kSomeRemain = "deadlock: main bubble goroutine has exited but blocked goroutines remain";

/// What run(body) throws; what it prints meanwhile goes to nobody.
std::string deadlock_of(const std::function<void()>& body) {
  ::testing::internal::CaptureStderr();
  std::string text = "no panic";
  try {
    weft::testing::run(body);
  } catch (const weft::Panic& panic) {
    text = panic.what();
  }
  ::testing::internal::GetCapturedStderr();
  return text;
}

// Rules: SYN-7, DL-8
TEST(BubbleDeadlockTest, InTheBody) {
  EXPECT_EQ(deadlock_of([] { weft::select(); }), kAllBlocked);
  EXPECT_EQ(deadlock_of([] { make_chan<int>().recv(); }), kAllBlocked);
  EXPECT_EQ(deadlock_of([] { Chan<int>().send(1); }), kAllBlocked);
  EXPECT_EQ(deadlock_of([] {
              WaitGroup group;
              group.add(1);
              group.wait();
            }),
            kAllBlocked);
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, InTheBodyAndOthersAfterALongTime) {
  EXPECT_EQ(deadlock_of([] {
              const auto chan = make_chan<int>();
              for (int i = 0; i < 10; ++i) {
                weft::go([=] {
                  sleep_for(i * 1h);
                  static_cast<void>(chan.recv());
                });
              }
              static_cast<void>(chan.recv());
            }),
            kAllBlocked);
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, InAChildOfABodyThatHasEnded) {
  EXPECT_EQ(deadlock_of([] { weft::go([] { weft::select(); }); }), kSomeRemain);
  EXPECT_EQ(deadlock_of([] {
              const auto chan = make_chan<int>();
              weft::go([=] { chan.send(1); });
              weft::testing::wait();
            }),
            kSomeRemain);
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, TimeDoesNotMoveOnceTheBodyHasEnded) {
  EXPECT_EQ(deadlock_of([] {
              weft::go([] {
                const weft::Ticker ticker(1s);
                for (const weft::TimePoint tick : ticker.chan()) static_cast<void>(tick);
              });
            }),
            kSomeRemain);
  EXPECT_EQ(deadlock_of([] {
              weft::go([] {
                sleep_for(1ns);
                ADD_FAILURE() << "time has moved";
              });
            }),
            kSomeRemain);
  EXPECT_EQ(deadlock_of([] {
              weft::go([] { static_cast<void>(make_chan<int>().recv_for(1ns)); });
              weft::after_func(1ns, [] { ADD_FAILURE() << "time has moved"; });
            }),
            kSomeRemain);
}

// Rules: SYN-7, GEN-4
TEST(BubbleDeadlockTest, TheReportNamesWhoIsLeft) {
  ::testing::internal::CaptureStderr();
  EXPECT_THROW(weft::testing::run([] {
                 const auto chan = make_chan<int>();
                 weft::go({.name = "reader"}, [=] { static_cast<void>(chan.recv()); });
                 weft::go([] { weft::select(); });
                 Chan<int>().recv();
               }),
               weft::Panic);
  const std::string report = ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(report.starts_with(std::string(kAllBlocked) + "\n\tgoroutine ")) << report;
  EXPECT_NE(report.find(" \"reader\" [chan receive (durable)]: created by "), std::string::npos) << report;
  EXPECT_NE(report.find(" [select (no cases) (durable)]: created by "), std::string::npos) << report;
  EXPECT_NE(report.find(" \"bubble\" [chan receive (nil chan) (durable)]: created by "), std::string::npos) << report;
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, WhatTheBodyThrowsGoesBeforeTheDeadlockOfOthers) {
  ::testing::internal::CaptureStderr();
  EXPECT_THROW(weft::testing::run([] {
                 weft::go([] { weft::select(); });
                 throw 42;
               }),
               int);
  EXPECT_TRUE(::testing::internal::GetCapturedStderr().starts_with(kSomeRemain));
}

// Rules: SYN-7, LEAK-4
TEST(BubbleDeadlockTest, ThoseLeftBehindCountNoMore) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  EXPECT_EQ(deadlock_of([] {}), "no panic");
  ::testing::internal::CaptureStderr();
  runtime.run([] {
    const std::uint64_t before = weft::stats().live;
    for (int i = 0; i < 10; ++i) {
      EXPECT_THROW(weft::testing::run([] {
                     for (int g = 0; g < 5; ++g) weft::go([] { weft::select(); });
                     sleep_for(1s);
                     weft::select();
                   }),
                   weft::Panic);
    }
    EXPECT_EQ(weft::stats().live, before);
    EXPECT_EQ(weft::stats().waiting, 0U);
    weft::testing::verify_no_leaks();
  });
  ::testing::internal::GetCapturedStderr();
  EXPECT_TRUE(runtime.shutdown(1s).clean());
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, ThoseLeftBehindAreOffEveryQueue) {
  // Channels and WaitGroups that outlive the bubble do not point at the parked stacks, whoever dies first.
  Chan<int> chan;
  weft::Timer timer;
  weft::RecvChan<weft::TimePoint> due;  // outside as well: what they hold themselves is never given back
  auto group = std::make_unique<WaitGroup>();
  {
    Runtime runtime(RuntimeOptions{.processors = 2});
    ::testing::internal::CaptureStderr();
    EXPECT_THROW(runtime.run([&] {
      weft::testing::run([&] {
        chan = make_chan<int>();
        timer = weft::Timer(1h);
        due = timer.chan();
        group->add(1);
        weft::go([&] { chan.send(1); });
        weft::go([&] { weft::select(chan.on_send(2), due.on_recv()); });
        weft::go([&] { static_cast<void>(due.recv()); });
        weft::go([&] { static_cast<void>(chan.send_for(3, 1h)); });
        weft::go([&] { group->wait(); });
        weft::go([&] { static_cast<void>(group->wait_for(1h)); });
        weft::go([] { sleep_for(1h); });
      });
    }),
                 weft::Panic);
    ::testing::internal::GetCapturedStderr();
    group.reset();
  }
  chan = nullptr;
  due = nullptr;
  timer = weft::Timer();
}

// Rules: SYN-7
TEST(BubbleDeadlockTest, ManyInARowOnOneRuntimeAndOnManyThatDie) {
  std::vector<std::shared_ptr<Chan<int>>> kept;
  for (int i = 0; i < test::rounds(100); ++i) {
    const auto chan = kept.emplace_back(std::make_shared<Chan<int>>());
    const auto body = [&chan] {
      *chan = make_chan<int>(1);
      weft::go([&chan = *chan] {  // which outlives the goroutine: what that holds is never given back
        sleep_for(1s);
        chan.send(1);
        chan.send(2);
      });
      sleep_for(2s);
    };
    if (i % 2 == 0) {
      EXPECT_EQ(deadlock_of(body), kSomeRemain);
    } else {
      ::testing::internal::CaptureStderr();
      EXPECT_THROW(weft::run(RuntimeOptions{.processors = 2}, [&] { weft::testing::run(body); }), weft::Panic);
      ::testing::internal::GetCapturedStderr();
    }
  }
  for (const auto& chan : kept) EXPECT_EQ(chan->size(), 1U);
}

}  // namespace

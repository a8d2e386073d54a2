// Goroutines that are suspended while they hold a std::mutex. This program is built with -DWEFT_HELD_LOCKS.

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "held_locks.hpp"

namespace weft_test = weft::test;

static_assert(weft::detail::kHeldLocks);

// With names that a report can show.
namespace careless {

std::mutex first;
std::mutex second;
std::timed_mutex timed;

[[gnu::noinline]] void lock_it(std::mutex& mutex) {
  mutex.lock();
  asm volatile("" ::: "memory");  // no tail call
}
[[gnu::noinline]] void give_way() {
  weft::yield();
  asm volatile("" ::: "memory");
}
[[gnu::noinline]] void receive(const weft::Chan<int>& chan) {
  chan.recv();
  asm volatile("" ::: "memory");
}

}  // namespace careless

namespace {

using namespace std::chrono_literals;

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Somebody to switch to, so that a yield suspends.
template <class F>
void among_others(F f) {
  weft::run([&] {
    std::atomic<bool> is_over{false};
    weft::WaitGroup group;
    for (int i = 0; i < 8; ++i) {
      group.go([&] {
        while (!is_over.load()) weft::yield();
      });
    }
    weft::WaitGroup main;
    main.go(weft::GoOptions{.name = "holder"}, f);
    main.wait();
    is_over.store(true);
    group.wait();
  });
}

/// In chaos mode a call may also be suspended where it begins: a site of its own.
void expect_reports(const std::string& err, const char* part, std::size_t expected) {
  if (weft_test::chaos()) {
    EXPECT_GE(count_of(err, part), expected) << err;
  } else {
    EXPECT_EQ(count_of(err, part), expected) << err;
  }
}

constexpr const char* kSuspended = "is suspended while it holds a std::mutex";

// Rules: HZ-3
TEST(HeldLocksTest, AMutexHeldOverAWaitIsReportedOnceWithBothSites) {
  const auto child = weft_test::in_child([] {
    among_others([] {
      for (int i = 0; i < 100; ++i) {
        const auto chan = weft::make_chan<int>();
        weft::go([chan] { chan.send(1); });
        careless::lock_it(careless::first);
        careless::receive(chan);
        careless::first.unlock();
      }
    });
    std::puts("done");
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "done\n");
  expect_reports(child.err, kSuspended, 1);
  expect_reports(child.err, " \"holder\" is suspended", 1);
  const std::size_t locked = child.err.find("\nlocked in:\n\tcareless::lock_it(");
  const std::size_t suspended = child.err.find("\nsuspended in:\n\tcareless::receive(");
  EXPECT_NE(locked, std::string::npos) << child.err;
  EXPECT_NE(suspended, std::string::npos) << child.err;
  EXPECT_LT(locked, suspended);
}

// Rules: HZ-3
TEST(HeldLocksTest, EachPairOfSitesIsReported) {
  const auto child = weft_test::in_child([] {
    among_others([] {
      for (int i = 0; i < 300; ++i) {
        careless::lock_it(careless::first);
        careless::give_way();
        careless::second.lock();
        weft::sleep_for(1us);
        careless::second.unlock();
        careless::first.unlock();
        if (careless::timed.try_lock_for(1s)) {
          weft::sleep_for(1us);
          careless::timed.unlock();
        }
      }
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  // first over the yield; first and second over the first sleep; timed over the other one.
  expect_reports(child.err, kSuspended, 4);
}

// Rules: HZ-3
TEST(HeldLocksTest, WhatIsUnlockedInTimeOrIsNotAMutexOfTheThreadIsNotReported) {
  const auto child = weft_test::in_child([] {
    weft::Mutex fair;
    among_others([&fair] {
      for (int i = 0; i < 300; ++i) {
        {
          const std::scoped_lock both(careless::first, careless::second);
          const std::unique_lock<std::timed_mutex> one(careless::timed, std::try_to_lock);
        }
        careless::give_way();
        const std::lock_guard guard(fair);
        careless::give_way();
      }
    });
    std::thread plain([] {
      const std::lock_guard guard(careless::first);
      weft::sleep_for(1us);
      weft::yield();
    });
    plain.join();
    weft::run([] {
      const weft::PinGuard pin;
      const std::lock_guard guard(careless::first);
      weft::sleep_for(1us);  // it comes back to this thread
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.err, "");
}

// The list goes with the goroutine: whoever runs on the thread meanwhile holds nothing, and it may unlock elsewhere.
// Rules: HZ-3, SCH-5
TEST(HeldLocksTest, OthersOnTheThreadAreNotBlamed) {
  const auto child = weft_test::in_child([] {
    among_others([] {
      careless::lock_it(careless::first);
      for (int i = 0; i < 300; ++i) careless::give_way();
      careless::first.unlock();
      for (int i = 0; i < 300; ++i) weft::sleep_for(1us);  // holds nothing any more
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  expect_reports(child.err, kSuspended, 1);
}

// Rules: HZ-3
TEST(HeldLocksTest, AGoroutineThatEndsWithAMutexIsReported) {
  const auto child = weft_test::in_child([] {
    weft::run([] {
      weft::WaitGroup group;
      for (int i = 0; i < 50; ++i) {
        group.go([i] {
          if (i == 0) careless::lock_it(careless::first);
        });
      }
      group.wait();
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(count_of(child.err, "has ended while it holds a std::mutex"), 1U) << child.err;
  EXPECT_EQ(count_of(child.err, kSuspended), 0U) << child.err;
}

// Rules: HZ-3, GEN-3
TEST(HeldLocksTest, TheEnvironmentMakesItFatalOrSwitchesItOff) {
  const auto misdeed = [](const char* answer) {
    return weft_test::in_child([answer] {
      ::setenv("WEFT_HELD_LOCKS", answer, 1);
      among_others([] {
        careless::lock_it(careless::first);
        weft::sleep_for(1us);
        careless::first.unlock();
      });
    });
  };
  const auto dies = misdeed("fatal");
  EXPECT_EQ(dies.exit_code, 2) << dies.signal << dies.err;
  EXPECT_EQ(dies.err.find("fatal error: weft: goroutine "), 0U) << dies.err;
  const auto off = misdeed("off");
  EXPECT_EQ(off.exit_code, 0) << off.signal << off.err;
  EXPECT_EQ(off.err, "");
}

}  // namespace

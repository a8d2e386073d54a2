// What happens to programs that are wrong: which misuse panics and which is fatal, in whose words, with which exit
// status, and what a crash report says. Deadlocks are here too, and what must not be mistaken for one.

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::Mutex;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

static_assert(std::is_base_of_v<std::logic_error, weft::Panic>);
static_assert(std::is_base_of_v<weft::Panic, weft::RuntimePanic>);
static_assert(!std::is_same_v<weft::Panic, weft::RuntimePanic>);

enum class Kind { kPanic, kRuntimePanic };

/// f must panic with exactly this kind and text, on a goroutine and on a plain thread.
void expect_panic(Kind kind, const std::string& text, const std::function<void()>& f) {
  test::everywhere([&] {
    try {
      f();
      ADD_FAILURE() << "no panic: " << text;
    } catch (const weft::RuntimePanic& panic) {
      EXPECT_EQ(kind, Kind::kRuntimePanic) << text;
      EXPECT_EQ(panic.what(), text);
    } catch (const weft::Panic& panic) {
      EXPECT_EQ(kind, Kind::kPanic) << text;
      EXPECT_EQ(panic.what(), text);
    }
  });
}

/// A value a child prints for its parent.
void say(const char* text) {
  std::fputs(text, stdout);
  std::fflush(stdout);
}

constexpr const char* kDeadlock = "fatal error: all goroutines are asleep - deadlock!\n";

/// The child ran into a deadlock report, and nothing after it was executed.
void expect_deadlock(const test::ChildResult& child) {
  EXPECT_FALSE(child.timed_out);
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find(kDeadlock), 0U) << child.err;
  EXPECT_EQ(child.out, "");
}

/// The child was not mistaken for a deadlock.
void expect_no_deadlock(const test::ChildResult& child) {
  EXPECT_FALSE(child.timed_out);
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "done\n");
  EXPECT_EQ(child.err, "");
}

// ---- panics ----

// Rules: GEN-1, GEN-2, CH-20
TEST(MisuseTest, SendOnAClosedChannelPanics) {
  for (const std::size_t capacity : {std::size_t{0}, std::size_t{3}}) {
    const auto closed = [capacity] {
      auto chan = make_chan<int>(capacity);
      chan.close();
      return chan;
    };
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] { closed().send(1); });
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] { static_cast<void>(closed().try_send(1)); });
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] { static_cast<void>(closed().send_for(1, 1h)); });
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] { static_cast<void>(closed().send_for(1, 0ns)); });
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] {
      const auto chan = closed();
      weft::select(chan.on_send(1), weft::on_default());
    });
    expect_panic(Kind::kRuntimePanic, "send on closed channel", [&] {
      const auto chan = closed();
      weft::select(chan.on_send(1), weft::on_timeout(1h));
    });
  }
}

// Rules: GEN-1, GEN-2, CH-21
TEST(MisuseTest, ASenderParkedWhenTheChannelClosesPanics) {
  expect_panic(Kind::kRuntimePanic, "send on closed channel", [] {
    const auto chan = make_chan<int>();
    weft::go([chan] { chan.close(); });
    chan.send(1);
  });
  expect_panic(Kind::kRuntimePanic, "send on closed channel", [] {
    const auto chan = make_chan<int>();
    const auto quiet = make_chan<int>();
    weft::go([chan] { chan.close(); });
    weft::select(chan.on_send(1), quiet.on_recv());
  });
}

// Rules: GEN-1, GEN-2, CH-19
TEST(MisuseTest, CloseOfAClosedOrNilChannelPanicsAndChangesNothing) {
  expect_panic(Kind::kRuntimePanic, "close of nil channel", [] { Chan<int>().close(); });
  expect_panic(Kind::kRuntimePanic, "close of closed channel", [] {
    const auto chan = make_chan<int>(2);
    chan.send(7);
    chan.close();
    try {
      chan.close();
    } catch (const weft::Panic&) {
      EXPECT_EQ(*chan.recv(), 7);
      EXPECT_EQ(chan.recv().status(), weft::ChanStatus::closed);
      throw;
    }
  });
}

// Rules: GEN-1, GEN-2, CH-2
TEST(MisuseTest, AChannelOfAbsurdCapacityPanicsBeforeItAllocates) {
  struct Big {
    long values[64];
  };
  constexpr auto kMax = std::numeric_limits<std::size_t>::max();
  for (const std::size_t capacity : {kMax, kMax / 2, std::size_t{1} << 61U, std::size_t{1} << 59U}) {
    expect_panic(Kind::kRuntimePanic, "makechan: size out of range",
                 [&] { static_cast<void>(make_chan<long>(capacity)); });
    expect_panic(Kind::kRuntimePanic, "makechan: size out of range",
                 [&] { static_cast<void>(make_chan<Big>(capacity)); });
  }
  expect_panic(Kind::kRuntimePanic, "makechan: size out of range",
               [] { static_cast<void>(make_chan<char>(static_cast<std::size_t>(-1))); });
}

// Rules: GEN-1, GEN-2, WG-3
TEST(MisuseTest, ANegativeWaitGroupPanicsWithoutTheRuntimeMarker) {
  expect_panic(Kind::kPanic, "sync: negative WaitGroup counter", [] {
    const auto wg = std::make_unique<WaitGroup>();
    wg->add(1);
    wg->done();
    wg->done();
  });
}

// Rules: GEN-1, PAN-4
TEST(MisuseTest, APanicThatIsCaughtLeavesTheProcessAlone) {
  const auto child = test::in_child([] {
    weft::run([] {
      WaitGroup wg;
      for (int i = 0; i < 20; ++i) {
        wg.go([] {
          const auto chan = make_chan<int>();
          chan.close();
          try {
            chan.send(1);
          } catch (...) {
            say("c");
          }
        });
      }
      wg.wait();
    });
    say("\n");
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, std::string(20, 'c') + "\n");
  EXPECT_EQ(child.err, "");
}

// ---- exit status ----

// Rules: GEN-3
TEST(MisuseTest, ExitStatusSaysHowItEnded) {
  EXPECT_EQ(test::in_child([] { weft::run([] {}); }).exit_code, 0);
  EXPECT_EQ(test::in_child([] { std::exit(weft::run([] { return 5; })); }).exit_code, 5);
  EXPECT_EQ(test::in_child([] { weft::run([] { std::exit(7); }); }).exit_code, 7);
  EXPECT_EQ(test::in_child([] { weft::run([] { std::_Exit(9); }); }).exit_code, 9);
  EXPECT_EQ(test::in_child([] {
              weft::run([] {
                weft::go([] { throw std::runtime_error("boom"); });
                make_chan<int>().recv();
              });
            }).exit_code,
            2);
  EXPECT_EQ(test::in_child([] { Mutex().unlock(); }).exit_code, 2);
}

// Rules: GEN-1, GEN-3
TEST(MisuseTest, FatalRunsNeitherHandlersNorDestructorsNorAtexit) {
  const auto child = test::in_child([] {
    struct Guard {
      ~Guard() { say("destructor"); }
    };
    static const Guard static_guard;
    std::atexit([] { say("atexit"); });
    std::set_terminate([] { say("terminate"); });
    weft::run([] {
      const Guard guard;
      try {
        Mutex().unlock();
      } catch (...) {
        say("caught");
      }
    });
  });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.out, "");
}

// Rules: GEN-3
TEST(MisuseTest, TracebackCrashAbortsInsteadOfExiting) {
  const auto uncaught = test::in_child([] {
    ::setenv("WEFT_TRACEBACK", "crash", 1);
    weft::run([] {
      weft::go([] { throw std::runtime_error("boom"); });
      make_chan<int>().recv();
    });
  });
  EXPECT_EQ(uncaught.signal, SIGABRT) << uncaught.exit_code << uncaught.err;
  EXPECT_TRUE(contains(uncaught.err, "panic: boom")) << uncaught.err;
  const auto fatal = test::in_child([] {
    ::setenv("WEFT_TRACEBACK", "crash", 1);
    weft::run([] { Mutex().unlock(); });
  });
  EXPECT_EQ(fatal.signal, SIGABRT) << fatal.exit_code << fatal.err;
  EXPECT_TRUE(contains(fatal.err, "fatal error: sync: unlock of unlocked mutex\n")) << fatal.err;
  const auto deadlock = test::in_child([] {
    ::setenv("WEFT_TRACEBACK", "crash", 1);
    weft::run([] { make_chan<int>().recv(); });
  });
  EXPECT_EQ(deadlock.signal, SIGABRT) << deadlock.exit_code << deadlock.err;
  EXPECT_TRUE(contains(deadlock.err, kDeadlock)) << deadlock.err;
}

// ---- crash reports ----

}  // namespace

namespace shop {

struct OutOfStock : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct NotAnException {
  int value;
};

}  // namespace shop

namespace {

template <class Throw>
test::ChildResult crash_with(Throw throw_it) {
  return test::in_child([throw_it] {
    weft::run([throw_it] {
      weft::go(weft::GoOptions{.name = "shelf-filler"}, [throw_it] {
        std::printf("%llu", static_cast<unsigned long long>(weft::this_goroutine::id()));
        std::fflush(stdout);
        throw_it();
      });
      make_chan<int>().recv();
    });
  });
}

// Rules: GEN-4, PAN-1
TEST(MisuseTest, TheReportOfAnUncaughtExceptionNamesGoroutineTypeAndText) {
  const auto child = crash_with([] { throw shop::OutOfStock("no more tea"); });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("panic: no more tea"), 0U) << child.err;
  EXPECT_TRUE(contains(child.err, "shop::OutOfStock")) << child.err;
  EXPECT_FALSE(contains(child.err, "N4shop")) << "a mangled name: " << child.err;
  EXPECT_TRUE(contains(child.err, "\n\ngoroutine " + child.out + " ")) << child.out << "\n" << child.err;
  EXPECT_TRUE(contains(child.err, "[running]")) << child.err;
  EXPECT_TRUE(contains(child.err, "shelf-filler")) << child.err;
}

// Rules: GEN-4
TEST(MisuseTest, ContinuationLinesOfAReportAreIndentedByOneTab) {
  const auto child = crash_with([] { throw std::runtime_error("a\nb\nc"); });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("panic: a\n\tb\n\tc"), 0U) << child.err;
}

// Rules: GEN-4, PAN-6
TEST(MisuseTest, AnyThrownValueIsReported) {
  const auto number = crash_with([] { throw 42; });
  EXPECT_EQ(number.exit_code, 2) << number.err;
  EXPECT_EQ(number.err.find("panic: "), 0U) << number.err;
  EXPECT_TRUE(contains(number.err, "int")) << number.err;
  const auto object = crash_with([] { throw shop::NotAnException{1}; });
  EXPECT_EQ(object.exit_code, 2) << object.err;
  EXPECT_EQ(object.err.find("panic: "), 0U) << object.err;
  EXPECT_TRUE(contains(object.err, "shop::NotAnException")) << object.err;
  const auto empty = crash_with([] { throw std::runtime_error(""); });
  EXPECT_EQ(empty.exit_code, 2) << empty.err;
  EXPECT_EQ(empty.err.find("panic: "), 0U) << empty.err;
  EXPECT_TRUE(contains(empty.err, "std::runtime_error")) << empty.err;
  const std::string long_text(20'000, 'x');
  const auto large = crash_with([&] { throw std::runtime_error(long_text); });
  EXPECT_EQ(large.exit_code, 2) << large.err.size();
  EXPECT_EQ(large.err.find("panic: xxx"), 0U);
  EXPECT_TRUE(contains(large.err, "shelf-filler"));
}

// Rules: GEN-4, GEN-1
TEST(MisuseTest, AnUncaughtPanicIsReportedInGosWords) {
  const auto child = crash_with([] { Chan<int>().close(); });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("panic: close of nil channel"), 0U) << child.err;
  EXPECT_TRUE(contains(child.err, "weft::RuntimePanic")) << child.err;
}

struct WhatThrows : std::exception {
  [[nodiscard]] const char* what() const noexcept override { return nullptr; }
};

// Rules: PAN-6
TEST(MisuseTest, AWhatThatIsNullIsStillReported) {
  const auto child = crash_with([] { throw WhatThrows(); });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.signal, 0);
  EXPECT_EQ(child.err.find("panic: "), 0U) << child.err;
}

// Rules: PAN-6
TEST(MisuseTest, AWhatThatYieldsIsReportedWhole) {
  struct Yielding : std::exception {
    [[nodiscard]] const char* what() const noexcept override {
      for (int i = 0; i < 20; ++i) weft::yield();
      return "patience";
    }
  };
  const auto child = crash_with([] { throw Yielding(); });
  EXPECT_EQ(child.exit_code, 2) << child.err;
  EXPECT_EQ(child.err.find("panic: patience"), 0U) << child.err;
}

std::atomic<int> handled{0};
std::string handled_name;
std::string handled_text;

// Rules: PAN-1
TEST(MisuseTest, AnUncaughtHandlerThatReturnsEndsOnlyThatGoroutine) {
  handled = 0;
  weft::RuntimeOptions options;
  options.on_uncaught = [](const weft::GoroutineInfo& goroutine, std::exception_ptr error) {
    handled_name = goroutine.name;
    try {
      std::rethrow_exception(error);
    } catch (const shop::OutOfStock& caught) {
      handled_text = caught.what();
    }
    handled.fetch_add(1, std::memory_order_release);
  };
  weft::Runtime runtime(options);
  runtime.run([] {
    bool unwound = false;
    struct Guard {
      bool& flag;
      ~Guard() { flag = true; }
    };
    weft::go(weft::GoOptions{.name = "seller"}, [&unwound] {
      const Guard guard{unwound};
      weft::yield();
      throw shop::OutOfStock("sold out");
    });
    test::eventually([] { return handled.load(std::memory_order_acquire) == 1; });
    EXPECT_TRUE(unwound);
    test::eventually([] { return weft::stats().live == 1; });
  });
  EXPECT_EQ(handled_name, "seller");
  EXPECT_EQ(handled_text, "sold out");
  EXPECT_TRUE(runtime.shutdown(0s).clean());
}

// ---- deadlocks ----

// Rules: GEN-1, DL-1, CH-4, SEL-6, SEL-13
TEST(MisuseTest, MainThatWaitsForNobodyOnAChannelIsADeadlock) {
  expect_deadlock(test::in_child([] { weft::run([] { make_chan<int>().recv(); }); }));
  expect_deadlock(test::in_child([] { weft::run([] { make_chan<int>().send(1); }); }));
  expect_deadlock(test::in_child([] { weft::run([] { Chan<int>().recv(); }); }));
  expect_deadlock(test::in_child([] { weft::run([] { Chan<int>().send(1); }); }));
  expect_deadlock(test::in_child([] { weft::run([] { weft::select(); }); }));
  expect_deadlock(test::in_child([] {
    weft::run([] {
      const auto chan = make_chan<int>();
      weft::select(chan.on_send(1), chan.on_recv());
    });
  }));
}

// Rules: GEN-1, DL-1, MU-1, WG-1
TEST(MisuseTest, MainThatWaitsForNobodyOnALockOrGroupIsADeadlock) {
  expect_deadlock(test::in_child([] {
    weft::run([] {
      Mutex mutex;
      mutex.lock();
      mutex.lock();
    });
  }));
  expect_deadlock(test::in_child([] {
    weft::run([] {
      WaitGroup wg;
      wg.add(1);
      wg.wait();
    });
  }));
}

// Rules: GEN-1, DL-1
TEST(MisuseTest, ACircleOfGoroutinesIsADeadlock) {
  expect_deadlock(test::in_child([] {
    weft::run([] {
      const auto a = make_chan<int>();
      const auto b = make_chan<int>();
      const auto c = make_chan<int>();
      weft::go([=] { b.send(*a.recv()); });
      weft::go([=] { c.send(*b.recv()); });
      a.send(*c.recv());
    });
  }));
}

// Rules: GEN-1, DL-1
TEST(MisuseTest, ADeadlockAfterALotOfWorkIsFoundOnEveryNumberOfProcessors) {
  for (const unsigned processors : {1U, 2U, 4U, 8U}) {
    expect_deadlock(test::in_child([processors] {
      weft::run(weft::RuntimeOptions{.processors = processors}, [] {
        const auto values = make_chan<int>();
        WaitGroup wg;
        for (int i = 0; i < 100; ++i) {
          wg.go([values] {
            for (int n = 0; n < 10; ++n) values.send(n);
          });
        }
        for (int i = 0; i < 1001; ++i) values.recv();  // one too many
        say("received what was never sent");
      });
    }));
  }
}

// Rules: DL-1
TEST(MisuseTest, ADeadlockThatBeginsWhenASleeperEndsIsFound) {
  expect_deadlock(test::in_child([] {
    weft::run([] {
      weft::go([] { weft::sleep_for(20ms); });
      make_chan<int>().recv();
    });
  }));
  expect_deadlock(test::in_child([] {
    weft::run([] {
      const auto chan = make_chan<int>();
      weft::go([chan] { static_cast<void>(chan.recv_for(20ms)); });
      weft::make_chan<int>().recv();
    });
  }));
}

// Rules: DL-1, DL-7
TEST(MisuseTest, APlainThreadThatIsBlockedForEverDoesNotHideADeadlock) {
  expect_deadlock(test::in_child([] {
    std::thread blocked([] { make_chan<int>().recv(); });
    weft::run([] { make_chan<int>().recv(); });
    blocked.join();
  }));
}

// Rules: DL-1
TEST(MisuseTest, TwoRuntimesThatWaitForEachOtherAreADeadlock) {
  expect_deadlock(test::in_child([] {
    const auto a = make_chan<int>();
    const auto b = make_chan<int>();
    weft::Runtime other;
    other.go([=] { b.send(*a.recv()); });
    weft::run([=] { a.send(*b.recv()); });
  }));
}

// Rules: DL-2, DL-3
TEST(MisuseTest, ASleeperIsNoDeadlock) {
  expect_no_deadlock(test::in_child([] {
    weft::run([] {
      const auto chan = make_chan<int>();
      weft::go([chan] {
        weft::sleep_for(30ms);
        chan.send(1);
      });
      chan.recv();
      static_cast<void>(chan.recv_for(10ms));
      weft::select(chan.on_recv(), weft::on_timeout(10ms));
      Mutex mutex;
      mutex.lock();
      EXPECT_FALSE(mutex.try_lock_for(10ms));
      WaitGroup wg;
      wg.add(1);
      EXPECT_FALSE(wg.wait_for(10ms));
      wg.done();
    });
    say("done\n");
  }));
}

// Rules: DL-7
TEST(MisuseTest, APlainThreadThatMayStillCallInIsNoDeadlock) {
  expect_no_deadlock(test::in_child([] {
    const auto chan = make_chan<int>();
    std::atomic<std::uint64_t> main_id{0};
    std::thread caller([&] {
      while (main_id.load(std::memory_order_acquire) == 0) std::this_thread::yield();
      weft::testing::wait_parked(main_id.load(std::memory_order_acquire));
      std::this_thread::sleep_for(30ms);  // leaves the runtime time to be wrong
      chan.send(1);
    });
    weft::run([&] {
      main_id.store(weft::this_goroutine::id(), std::memory_order_release);
      chan.recv();
    });
    caller.join();
    say("done\n");
  }));
}

// Rules: DL-2, DL-7
TEST(MisuseTest, APlainThreadInATimedWaitIsNoDeadlock) {
  using Wait = void (*)();
  constexpr Wait kWaits[] = {
      [] { weft::sleep_for(50ms); },
      [] { static_cast<void>(make_chan<int>().recv_for(50ms)); },
      [] {
        Mutex mutex;
        mutex.lock();
        EXPECT_FALSE(mutex.try_lock_for(50ms));
      },
      [] {
        WaitGroup wg;
        wg.add(1);
        EXPECT_FALSE(wg.wait_for(50ms));
      },
      [] {
        const auto quiet = make_chan<int>();
        weft::select(quiet.on_recv(), weft::on_timeout(50ms));
      },
  };
  for (const Wait wait : kWaits) {
    expect_no_deadlock(test::in_child([wait] {
      const auto chan = make_chan<int>();
      std::thread waiter([&] {
        wait();
        chan.send(1);
      });
      weft::run([&] { chan.recv(); });
      waiter.join();
      say("done\n");
    }));
  }
}

// Rules: DL-2
TEST(MisuseTest, AnotherRuntimeThatSleepsOrWorksIsNoDeadlock) {
  expect_no_deadlock(test::in_child([] {
    const auto chan = make_chan<int>();
    weft::Runtime other;
    other.go([&chan] {  // with a handle of its own, it would leak that if it is abandoned on its last steps
      weft::sleep_for(30ms);
      chan.send(1);
      for (int i = 0; i < 2000; ++i) weft::yield();
      chan.send(2);
    });
    weft::run([chan] {
      chan.recv();
      chan.recv();
    });
    say("done\n");
  }));
}

// Rules: DL-1, DL-2
TEST(MisuseTest, AnIdleRuntimeWithoutGoroutinesIsNoDeadlock) {
  expect_no_deadlock(test::in_child([] {
    weft::Runtime runtime;
    runtime.run([] {});
    weft::run([] {});
    std::this_thread::sleep_for(30ms);
    runtime.go([] {});
    std::this_thread::sleep_for(10ms);
    say("done\n");
  }));
}

// Rules: DL-7, I9
TEST(MisuseTest, ADeadlockThatBeginsWhenAPlainThreadBlocksIsFound) {
  expect_deadlock(test::in_child([] {
    std::atomic<std::uint64_t> main_id{0};
    std::thread late([&] {
      while (main_id.load(std::memory_order_acquire) == 0) std::this_thread::yield();
      weft::testing::wait_parked(main_id.load(std::memory_order_acquire));
      make_chan<int>().recv();
    });
    weft::run([&] {
      main_id.store(weft::this_goroutine::id(), std::memory_order_release);
      make_chan<int>().recv();
    });
    late.join();
  }));
}

// Rules: DL-7, I9
TEST(MisuseTest, ADeadlockThatBeginsWhenAPlainThreadEndsIsFound) {
  expect_deadlock(test::in_child([] {
    std::atomic<std::uint64_t> main_id{0};
    std::thread late([&] {
      while (main_id.load(std::memory_order_acquire) == 0) std::this_thread::yield();
      weft::testing::wait_parked(main_id.load(std::memory_order_acquire));
    });
    late.detach();
    weft::run([&] {
      main_id.store(weft::this_goroutine::id(), std::memory_order_release);
      make_chan<int>().recv();
    });
  }));
}

Chan<int>* rescue = nullptr;

// Rules: DL-1
TEST(MisuseTest, ADeadlockHandlerMaySayIgnore) {
  expect_no_deadlock(test::in_child([] {
    const auto chan = make_chan<int>();
    auto copy = chan;
    rescue = &copy;
    weft::RuntimeOptions options;
    options.on_deadlock = [](const std::vector<weft::GoroutineInfo>& /*goroutines*/) {
      if (Chan<int>* target = std::exchange(rescue, nullptr)) {
        std::thread([target = *target] { target.send(1); }).detach();
      }
      return weft::DeadlockAction::ignore;
    };
    weft::run(options, [chan] { chan.recv(); });
    say("done\n");
  }));
}

}  // namespace

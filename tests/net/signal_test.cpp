// Signals as values of a channel, and as the end of a context. What would end the process is tried in a child.

#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/error.hpp>
#include <weft/net/signal.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/testing.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::WaitGroup;
namespace net = weft::net;
namespace test = weft::test;
using test::contains;

void send_self(int signal) { ::kill(::getpid(), signal); }

/// What a handler of the host's has seen.
std::atomic<int> host_signals{0};
void on_host_signal(int) { host_signals.fetch_add(1); }

class HostHandler {
 public:
  explicit HostHandler(int signal) : signal_(signal) { std::signal(signal, &on_host_signal); }
  HostHandler(const HostHandler&) = delete;
  HostHandler& operator=(const HostHandler&) = delete;
  ~HostHandler() { std::signal(signal_, SIG_DFL); }
  [[nodiscard]] bool is_set() const {
    struct sigaction now = {};
    return ::sigaction(signal_, nullptr, &now) == 0 && now.sa_handler == &on_host_signal;
  }

 private:
  int signal_;
};

std::string cause_of(const weft::Context& ctx) {
  try {
    if (ctx.cause() != nullptr) std::rethrow_exception(ctx.cause());
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

template <class F>
std::string panic_of(F f) {
  try {
    f();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "none";
}

TEST(SignalTest, ASignalIsAValueOfTheChannel) {
  test::everywhere([] {
    const auto signals = net::notify(SIGUSR1, SIGUSR2);
    for (int i = 0; i < test::rounds(200); ++i) {
      for (const int signal : {SIGUSR1, SIGUSR2}) {
        send_self(signal);
        EXPECT_EQ(signals.recv().value_or(0), signal);
      }
    }
    send_self(SIGUSR1);
    int got = 0;
    weft::select(signals.on_recv([&](weft::Received<int> signal) { got = *signal; }), weft::on_timeout(1h));
    EXPECT_EQ(got, SIGUSR1);
    EXPECT_FALSE(signals.try_recv());
    net::stop(signals);
  });
}

TEST(SignalTest, EachOfSeveralReceiversGetsIt) {
  test::everywhere([] {
    const auto one = net::notify(SIGUSR1);
    const auto other = net::notify(SIGUSR2);
    const auto both = make_chan<int>(2);
    net::notify(both, {SIGUSR1});
    net::notify(both, {SIGUSR2});  // more for the same channel
    send_self(SIGUSR1);
    EXPECT_EQ(one.recv().value_or(0), SIGUSR1);
    EXPECT_EQ(both.recv().value_or(0), SIGUSR1);
    net::stop(one);
    send_self(SIGUSR1);
    send_self(SIGUSR2);
    EXPECT_EQ(other.recv().value_or(0), SIGUSR2);
    EXPECT_EQ(both.recv().value_or(0) + both.recv().value_or(0), SIGUSR1 + SIGUSR2);
    net::stop(both);
    net::stop(other);
    EXPECT_EQ(one.size(), 0U);
    net::stop(one);  // may be repeated
  });
}

TEST(SignalTest, DeliveryDoesNotWaitForRoom) {
  weft::run([] {
    const auto full = make_chan<int>(1);
    const auto unbuffered = make_chan<int>();
    net::notify(full, {SIGUSR1});
    net::notify(unbuffered, {SIGUSR1});
    const auto counted = net::notify(SIGUSR1);
    for (int i = 0; i < 5; ++i) {
      send_self(SIGUSR1);
      EXPECT_EQ(counted.recv().value_or(0), SIGUSR1);
    }
    EXPECT_EQ(full.size(), 1U);
    for (const auto& channel : {full, unbuffered}) net::stop(channel);
    net::stop(counted);
  });
}

/// One signal at a time, while receivers come and go: each is seen once, by the channel or by who had the signal before.
TEST(SignalTest, NoSignalIsLostOrDoubledWhenReceiversComeAndGo) {
  const HostHandler host(SIGUSR1);
  host_signals = 0;
  std::atomic<int> sent{0};
  std::atomic<int> received{0};
  std::atomic<bool> is_over{false};
  std::thread toggler([&] {
    while (!is_over) {
      const auto signals = net::notify(SIGUSR1);
      for (int i = sent.load() % 7; i > 0; --i) std::this_thread::yield();
      net::stop(signals);
      const std::size_t had = signals.size();
      while (signals.try_recv()) received.fetch_add(1);
      EXPECT_LE(had, 1U);
    }
  });
  for (int i = 1; i <= test::rounds(20'000); ++i) {
    sent = i;
    send_self(SIGUSR1);
    test::spin_until([&] { return host_signals + received >= i; });
    EXPECT_EQ(host_signals + received, i);
  }
  is_over = true;
  toggler.join();
  EXPECT_EQ(host_signals + received, sent);
  EXPECT_TRUE(host.is_set());
}

using Handler = void (*)(int);
Handler handler_of(int signal) {
  struct sigaction now = {};
  EXPECT_EQ(::sigaction(signal, nullptr, &now), 0);
  return now.sa_handler;
}

bool is_thread_there() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream(task.path() / "comm") >> name;
    if (name == "weft-signals") return true;
  }
  return false;
}

/// It may have been on its way when the last receiver went: its signal is for who had it before.
TEST(SignalTest, AHandlerThatComesLateLosesNothing) {
  const HostHandler host(SIGUSR1);
  const auto signals = net::notify(SIGUSR1);
  const Handler handler = handler_of(SIGUSR1);
  const auto other = net::notify(SIGUSR2);
  net::stop(signals);
  host_signals = 0;
  handler(SIGUSR1);
  test::eventually([] { return host_signals == 1; });  // the thread is there, and finds nobody who wants it
  net::stop(other);
  test::eventually([] { return !is_thread_there(); });
  handler(SIGUSR1);
  test::eventually([] { return host_signals == 2; });
  EXPECT_EQ(signals.size(), 0U);
}

TEST(SignalTest, OurHandlerPutBackBySomebodyElseDoesNotGoInCircles) {
  const auto child = test::in_child([] {
    const auto signals = net::notify(SIGTERM);
    const Handler found = handler_of(SIGTERM);
    std::signal(SIGTERM, SIG_IGN);
    net::stop(signals);
    std::signal(SIGTERM, found);
    send_self(SIGTERM);
    make_chan<int>().recv_for(1h);
  });
  EXPECT_EQ(child.signal, SIGTERM) << child.err;
}

TEST(SignalTest, AfterStopNothingComesAndNothingThatCameIsMissing) {
  test::everywhere([] {
    for (int i = 0; i < test::rounds(1'000); ++i) {
      const auto signals = net::notify(SIGWINCH);  // whose default is to be ignored
      ::raise(SIGWINCH);                           // its handler has run when this returns
      net::stop(signals);
      EXPECT_EQ(signals.size(), 1U);
      ::raise(SIGWINCH);
      EXPECT_EQ(signals.size(), 1U);
    }
  });
}

TEST(SignalTest, WhatSomebodyElseHasSetStays) {
  const auto signals = net::notify(SIGUSR1);
  const HostHandler host(SIGUSR1);
  net::stop(signals);
  EXPECT_TRUE(host.is_set());
  const auto again = net::notify(SIGUSR1);
  EXPECT_FALSE(host.is_set());
  net::stop(again);
  EXPECT_TRUE(host.is_set());
}

TEST(SignalTest, TheDefaultActionReturns) {
  const auto child = test::in_child([] {
    weft::run([] {
      const auto one = net::notify(SIGTERM);
      const auto other = net::notify(SIGTERM);
      net::stop(one);
      send_self(SIGTERM);
      std::printf("%d", other.recv().value_or(0) == SIGTERM);
      std::fflush(stdout);
      net::stop(other);
      send_self(SIGTERM);
      make_chan<int>().recv_for(1h);
    });
  });
  EXPECT_EQ(child.out, "1");
  EXPECT_EQ(child.signal, SIGTERM) << child.err;
}

TEST(SignalTest, IgnoreAndReset) {
  EXPECT_FALSE(net::ignored(SIGUSR1));
  const auto signals = net::notify(SIGUSR1, SIGUSR2);
  net::ignore(SIGUSR1);
  EXPECT_TRUE(net::ignored(SIGUSR1));
  EXPECT_FALSE(net::ignored(SIGUSR2));
  send_self(SIGUSR1);
  send_self(SIGUSR2);
  EXPECT_EQ(signals.recv().value_or(0), SIGUSR2);
  net::notify(make_chan<int>(1), {SIGUSR1});
  EXPECT_FALSE(net::ignored(SIGUSR1));
  net::ignore(SIGUSR1);
  net::ignore(SIGUSR1);
  net::reset(SIGUSR1, SIGUSR2);
  EXPECT_FALSE(net::ignored(SIGUSR1));
  for (const int signal : {SIGUSR1, SIGUSR2}) EXPECT_EQ(handler_of(signal), SIG_DFL);
  // What was ignored from the start is so again.
  std::signal(SIGUSR1, SIG_IGN);
  const auto again = net::notify(SIGUSR1);
  EXPECT_FALSE(net::ignored(SIGUSR1));
  net::stop(again);
  EXPECT_TRUE(net::ignored(SIGUSR1));
  std::signal(SIGUSR1, SIG_DFL);
}

TEST(SignalTest, SignalsThatCannotBeHadAreRefused) {
  std::signal(SIGINT, SIG_DFL);  // what a shell starts in the background ignores it
  EXPECT_EQ(panic_of([] { static_cast<void>(net::notify(SIGKILL)); }),
            "weft: net: notify: SIGKILL can be neither caught nor ignored");
  EXPECT_EQ(panic_of([] { net::ignore(SIGINT, SIGSTOP); }),
            "weft: net: ignore: SIGSTOP can be neither caught nor ignored");
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    EXPECT_TRUE(contains(panic_of([&] { static_cast<void>(net::notify(signal)); }), "the program is broken")) << signal;
  for (const int signal : {-1, 0, 32, 65}) {
    EXPECT_EQ(panic_of([&] { net::reset(signal); }),
              "weft: net: reset: " + std::to_string(signal) + " is none of the signals 1 to 31");
  }
  EXPECT_EQ(panic_of([] { static_cast<void>(net::notify({})); }), "weft: net: notify: no signals");
  EXPECT_EQ(panic_of([] { net::notify(nullptr, {SIGINT}); }), "weft: net: notify: a nil channel");
  EXPECT_FALSE(net::ignored(SIGINT));
  weft::testing::run([] {
    EXPECT_EQ(panic_of([] { static_cast<void>(net::notify(SIGINT)); }), "weft: net: notify: not in a bubble");
  });
}

TEST(SignalTest, TheHandlerKeepsErrno) {
  const auto signals = net::notify(SIGUSR1);
  errno = EDOM;
  ::raise(SIGUSR1);
  EXPECT_EQ(errno, EDOM);
  net::stop(signals);
}

// Rules: DL-7
TEST(SignalTest, WaitingForASignalIsNoDeadlockAndAfterStopItIs) {
  const auto child = test::in_child([] {
    weft::run([] {
      const auto signals = net::notify(SIGALRM);
      const itimerval soon{{}, {0, 200'000}};
      ::setitimer(ITIMER_REAL, &soon, nullptr);
      std::printf("%d", signals.recv().value_or(0) == SIGALRM);
      std::fflush(stdout);
      net::stop(signals);
      signals.recv();
    });
  });
  EXPECT_EQ(child.out, "1");
  EXPECT_EQ(child.exit_code, 2);
  EXPECT_TRUE(contains(child.err, "all goroutines are asleep - deadlock!")) << child.err;
}

// Rules: CTX-22
TEST(SignalTest, ASignalEndsAContextAndIsItsCause) {
  test::everywhere([] {
    for (const auto& [signal, text] : {std::pair(SIGINT, "interrupt signal received (SIGINT)"),
                                       std::pair(SIGTERM, "terminated signal received (SIGTERM)")}) {
      const auto [ctx, stop] = net::notify_context(weft::background(), SIGINT, SIGTERM);
      const auto [below, cancel] = weft::with_cancel(ctx);
      EXPECT_FALSE(below.is_done());
      send_self(signal);
      below.done().recv();
      EXPECT_EQ(ctx.err(), weft::errc::canceled);
      EXPECT_EQ(cause_of(below), text);
      ::raise(signal);  // harmless until stop()
      try {
        std::rethrow_exception(ctx.cause());
      } catch (const net::SignalReceived& cause) {
        EXPECT_EQ(cause.signal(), signal);
      }
    }
  });
}

// Rules: CTX-22
TEST(SignalTest, AContextsStopEndsItAndGivesTheDefaultBack) {
  const auto child = test::in_child([] {
    weft::run([] {
      const auto [ctx, stop] = net::notify_context(weft::background(), SIGTERM);
      const auto copy = stop;
      copy();
      stop();
      std::printf("%d %s", ctx.is_done(), cause_of(ctx).c_str());
      std::fflush(stdout);
      send_self(SIGTERM);
      make_chan<int>().recv_for(1h);
    });
  });
  EXPECT_TRUE(contains(child.out, "1 context canceled")) << child.out;
  EXPECT_EQ(child.signal, SIGTERM) << child.err;
}

// Rules: CTX-22
TEST(SignalTest, TheLastStopThatGoesEndsTheContextUnlessReleased) {
  const HostHandler host(SIGUSR1);
  weft::Context ctx;
  {
    auto pair = net::notify_context(weft::background(), SIGUSR1);
    ctx = pair.first;
    const net::SignalStop copy = pair.second;
    pair.second = {};
    EXPECT_FALSE(ctx.is_done());
    EXPECT_FALSE(host.is_set());
  }
  EXPECT_TRUE(ctx.is_done());
  EXPECT_TRUE(host.is_set());

  const auto [parent, cancel] = weft::with_cancel(weft::background());
  {
    auto [kept, stop] = net::notify_context(parent, {SIGUSR1});
    stop.release();
    ctx = kept;
  }
  EXPECT_FALSE(ctx.is_done());
  send_self(SIGUSR1);
  ctx.done().recv();
  EXPECT_TRUE(contains(cause_of(ctx), "SIGUSR1"));
  net::reset(SIGUSR1);

  const auto [child, stop] = net::notify_context(parent, SIGUSR1);
  cancel();
  EXPECT_TRUE(child.is_done());
  EXPECT_FALSE(host.is_set());
}

TEST(SignalTest, AForkedChildHasTheDefaultsAndMayAskForItself) {
  if (test::kTsan) GTEST_SKIP() << "the thread sanitizer starts no thread in a child of a process that had several";
  const auto result = test::in_child([] {
    const auto signals = net::notify(SIGTERM);
    const auto report = [](::pid_t child) {
      int status = 0;
      ::waitpid(child, &status, 0);
      std::printf("%d ", WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status));
    };
    ::pid_t child = test::fork_quietly();
    if (child == 0) {
      send_self(SIGTERM);
      std::_Exit(1);
    }
    report(child);
    child = test::fork_quietly();
    if (child == 0) {
      const auto own = net::notify(SIGTERM);
      send_self(SIGTERM);
      const bool is_well = own.recv().value_or(0) == SIGTERM && signals.size() == 0;
      std::_Exit(is_well ? 0 : 1);
    }
    report(child);
    send_self(SIGTERM);
    std::printf("%d", signals.recv().value_or(0) == SIGTERM);
    net::stop(signals);
  });
  EXPECT_EQ(result.out, std::to_string(-SIGTERM) + " 0 1") << result.err;
}

}  // namespace

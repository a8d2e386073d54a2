// The netpoller under the scheduler: who polls when everybody is busy, asleep, or of another runtime (NET-14, NET-15, I7).

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/go.hpp>
#include <weft/net/readiness.hpp>
#include <weft/net/stream.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Clock;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
using weft::net::Stream;
namespace net = weft::net;
namespace test = weft::test;

struct Pair {
  Stream one;
  Stream other;
};

Pair unix_pair() {
  int fds[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
  return {Stream(fds[0]), Stream(fds[1])};
}

char read_one(Stream& stream) {
  std::byte byte{};
  stream.read_some({&byte, 1});
  return static_cast<char>(byte);
}

struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0); }
  ~Pipe() {
    for (const int fd : ends) ::close(fd);
  }
  std::array<int, 2> ends{};
};

// Somebody looks just when a sleeper in the poller is woken, and epoll tells one of the two of it. In a process without workers, which
// would be in the poller themselves.
// Broken to check it: Netpoll::poll() did not pass it on (N4): the sleeper slept on.
// Rules: I3, NET-15
TEST(NetpollTest, AnInterruptThatALookFindsIsPassedOn) {
  const auto result = test::in_child([] {
    using weft::detail::Netpoll;
    auto& poller = Netpoll::get_or_make();
    weft::detail::ThreadParker sleeper;
    if (!poller.enter() || !sleeper.enter_poll()) throw std::logic_error("somebody else is in the poller");
    sleeper.unpark();
    {
      Netpoll::Ready found;
      poller.poll(0, found);
    }
    Netpoll::Ready found;
    poller.poll(weft::detail::kForever, found);
    sleeper.leave_poll();
    poller.leave();
    std::printf("awake");
  });
  EXPECT_FALSE(result.timed_out);
  EXPECT_EQ(result.out, "awake") << result.err;
}

// Rules: NET-15, TM-4
TEST(NetpollTest, TimersAreKeptWhileAWorkerSleepsInThePoller) {
  for (const unsigned processors : {1U, 2U}) {
    weft::run(RuntimeOptions{.processors = processors}, [] {
      Pair pair = unix_pair();
      WaitGroup wg;
      wg.go([&] { EXPECT_EQ(read_one(pair.one), 'x'); });
      wg.go([] { weft::sleep_for(20ms); });
      const auto begin = Clock::now();
      for (int i = 0; i < 20; ++i) weft::sleep_for(1ms);
      EXPECT_GE(Clock::now() - begin, 20ms);
      pair.other.write("x");
      wg.wait();
    });
  }
}

// A sleep in the poller that nobody could end would last for an hour.
// Rules: NET-15
TEST(NetpollTest, WorkFromOutsideEndsASleepInThePoller) {
  Runtime runtime(RuntimeOptions{.processors = 1});
  Pair pair = unix_pair();
  std::atomic<bool> has_read{false};
  runtime.go([&] {
    EXPECT_EQ(read_one(pair.one), 'x');
    has_read = true;
  });
  runtime.go([] { weft::sleep_for(1h); });
  for (int i = 0; i < test::rounds(2'000); ++i) {
    std::atomic<bool> has_run{false};
    runtime.run([&] { has_run = true; });
    EXPECT_TRUE(has_run);
  }
  pair.other.write("x");
  test::eventually([&] { return has_read.load(); });
}

// Rules: I7
TEST(NetpollTest, FilesAreServedWhileEveryProcessorComputes) {
  weft::run(RuntimeOptions{.processors = 2}, [] {
    Pair pair = unix_pair();
    std::atomic<bool> is_over{false};
    WaitGroup wg;
    for (int i = 0; i < 2; ++i) {
      wg.go([&] {
        while (!is_over.load(std::memory_order_relaxed)) {
        }
      });
    }
    wg.go([&] {
      for (int i = 0; i < 5; ++i) pair.other.write(std::string(1, read_one(pair.other)));
    });
    for (int i = 0; i < 5; ++i) {
      pair.one.write("x");
      EXPECT_EQ(read_one(pair.one), 'x');
    }
    is_over = true;
    wg.wait();
  });
}

// Whoever sleeps in the poller is of one runtime, and the goroutine of another.
TEST(NetpollTest, RuntimesServeEachOthersFiles) {
  Pair pair = unix_pair();
  Runtime first(RuntimeOptions{.processors = 1});
  std::atomic<int> echoed{0};
  first.go([&] {
    for (;;) {
      std::byte byte{};
      std::error_code error;
      if (pair.other.read_some({&byte, 1}, error) == 0) return;
      pair.other.write({&byte, 1});
      ++echoed;
    }
  });
  for (int round = 0; round < test::rounds(200); ++round) {
    Runtime second(RuntimeOptions{.processors = 1});
    second.run([&] {
      pair.one.write("x");
      EXPECT_EQ(read_one(pair.one), 'x');
    });
  }
  pair.one.close();
  test::eventually([&] { return first.stats().live == 0; });
  EXPECT_EQ(echoed, test::rounds(200));
}

TEST(NetpollTest, AStreamMayBeClosedAfterItsReaderWasAbandoned) {
  for (int round = 0; round < test::rounds(100); ++round) {
    auto pair = std::make_unique<Pair>(unix_pair());
    {
      Runtime runtime(RuntimeOptions{.processors = 2});
      runtime.go([&] { read_one(pair->one); });
      runtime.go([&] { read_one(pair->one); });
      if (round % 2 == 0) test::eventually([&] { return runtime.stats().waiting == 2; });
    }
    pair.reset();
  }
}

TEST(NetpollTest, PlainThreadsWaitForFiles) {
  Pair pair = unix_pair();
  std::thread thread([&] {
    EXPECT_EQ(read_one(pair.one), 'x');
    pair.one.write("y");
  });
  pair.other.write("x");
  EXPECT_EQ(read_one(pair.other), 'y');
  thread.join();
}

// The default runtime's worker went to sleep beside the poller, as another runtime's was in it; when that one ended, nobody waited.
TEST(NetpollTest, APlainThreadIsServedAfterTheRuntimeThatPolledHasEnded) {
  for (int round = 0; round < test::rounds(20); ++round) {
    Pair pair = unix_pair();
    {
      Runtime polling(RuntimeOptions{.processors = 1});
      polling.run([&] {
        WaitGroup wg;
        wg.go([&] { EXPECT_EQ(read_one(pair.one), 'x'); });
        weft::sleep_for(1ms);
        pair.other.write("x");
        wg.wait();
      });
      weft::run([] {});
      const auto is_asleep = [](const weft::detail::Scheduler& scheduler) {
        return scheduler.idle.searching() == 0 && scheduler.idle.free_processors() == scheduler.processor_count();
      };
      test::eventually([&] { return is_asleep(polling.scheduler()); });
      if (round % 2 == 0)
        std::this_thread::sleep_for(1ms);  // the worker of weft::run's comes to rest, most of the time
    }
    std::thread thread([&] {
      std::this_thread::sleep_for(1ms);
      pair.other.write("y");
    });
    EXPECT_EQ(read_one(pair.one), 'y');
    thread.join();
  }
}

// Rules: NET-14
TEST(NetpollTest, ARegularFileCannotBePolled) {
  const int fd = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_FALSE(net::wait_readable(fd));  // it never blocks
  try {
    const Stream stream(fd);
    FAIL();
  } catch (const std::system_error& refused) {
    EXPECT_EQ(refused.code(), net::errc::not_pollable);
  }
}

TEST(NetpollTest, ForeignDescriptorsMayBeWaitedForBySeveral) {
  weft::run([] {
    Pipe pipe;
    const int flags = ::fcntl(pipe.ends[0], F_GETFL);
    WaitGroup wg;
    for (int i = 0; i < 3; ++i) {
      wg.go([&] { EXPECT_FALSE(net::wait_readable(pipe.ends[0])); });
    }
    test::eventually([] { return weft::stats().waiting >= 3; });
    EXPECT_FALSE(net::wait_writable(pipe.ends[1]));
    ASSERT_EQ(::write(pipe.ends[1], "x", 1), 1);
    wg.wait();
    EXPECT_EQ(::fcntl(pipe.ends[0], F_GETFL), flags);
  });
}

TEST(NetpollTest, AContextEndsAWaitForAForeignDescriptor) {
  test::everywhere([] {
    const Pipe pipe;
    const auto [ctx, cancel] = weft::with_timeout(weft::background(), 5ms);
    EXPECT_EQ(net::wait_readable(pipe.ends[0], ctx), weft::errc::deadline_exceeded);
  });
}

// Rules: SCH-15, NET-15
TEST(NetpollTest, WaitingForFilesCostsNothing) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  Pair pair = unix_pair();
  runtime.go([&] { read_one(pair.one); });
  const weft::detail::Idle& idle = runtime.scheduler().idle;
  test::eventually([&] {
    return runtime.stats().waiting == 1 && idle.searching() == 0 &&
           idle.free_processors() == runtime.scheduler().processor_count();
  });
  const std::uint64_t wakes = runtime.stats().wakes;
  std::this_thread::sleep_for(1200ms);  // what is measured; longer than the deadlock check's second look
  EXPECT_EQ(runtime.stats().wakes, wakes);
  pair.other.write("x");
  test::eventually([&] { return runtime.stats().live == 0; });
}

// Nobody but another process can end this wait: no thread of ours, no timer.
// Rules: DL-2, DL-5
TEST(NetpollTest, WhoWaitsForAFileIsNotDeadlocked) {
  weft::run([] {
    std::FILE* command = ::popen("sleep 0.2; echo x", "r");
    ASSERT_NE(command, nullptr);
    EXPECT_FALSE(net::wait_readable(::fileno(command)));
    EXPECT_EQ(std::fgetc(command), 'x');
    ::pclose(command);
  });
}

}  // namespace

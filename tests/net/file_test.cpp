// What the server of HTTP stands on: a goroutine that is started when its file has something to say, and reads that know from a
// short one that there was no more. Whatever comes, comes before, while or after somebody looks away.

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>

#include <weft/go.hpp>
#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

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

/// One after another. One listener for all: the system looks through all that has lately been closed to find a free port.
Pair tcp_pair() {
  static net::Listener listener = net::listen_tcp("127.0.0.1:0");
  Pair pair;
  pair.other = net::dial_tcp(listener.local().to_string());  // the system takes it before it is accepted
  pair.one = listener.accept();
  return pair;
}

/// In many rounds: with TCP, whose short reads count, and without.
Pair some_pair(int round) { return round % 3 == 0 ? unix_pair() : tcp_pair(); }

/// Waits a little, and another time not at all.
void dawdle(int round) {
  for (int i = 0; i < round % 7; ++i) weft::yield();
}

/// Reads all that comes, by a goroutine that is there only when there is something.
class Reader {
 public:
  explicit Reader(Stream& stream) : stream_(stream) { done_.add(1); }
  void arm() {
    stream_.file().go_when_readable([this] { run(); });
  }
  /// How it ended.
  std::error_code wait() {
    done_.wait();
    return end_;
  }
  std::string text;  // once it has ended
  std::atomic<int> size{0};
  std::atomic<int> runs{0};

 private:
  void run() {
    ++runs;
    std::array<std::byte, 64> buffer;
    for (;;) {
      const std::size_t n = stream_.file().read_now(buffer.data(), buffer.size(), end_);
      text.append(reinterpret_cast<const char*>(buffer.data()), n);
      size += static_cast<int>(n);
      if (end_ == net::errc::would_block) return arm();  // the next one may run already
      if (end_) return done_.done();
    }
  }

  Stream& stream_;
  WaitGroup done_;
  std::error_code end_;
};

TEST(FileTest, AGoroutineStartsForDataThatComesBeforeWhileOrAfterItIsArmed) {
  weft::run([] {
    for (int round = 0; round < test::rounds(3'000); ++round) {
      Pair pair = some_pair(round);
      Reader reader(pair.one);
      WaitGroup writing;
      std::string sent;
      writing.go([&] {
        for (int i = 0; i < 5; ++i) {
          dawdle(round + i);
          const std::string piece(static_cast<std::size_t>(1 + (round * 5 + i) % 100), static_cast<char>('a' + i));
          EXPECT_EQ(pair.other.write(piece), piece.size());
          sent += piece;
        }
        EXPECT_FALSE(pair.other.shutdown_write());
      });
      dawdle(round / 7);
      reader.arm();
      EXPECT_EQ(reader.wait(), net::errc::eof);
      writing.wait();
      EXPECT_EQ(reader.text, sent);
    }
  });
}

// Nothing wakes it but the answer to what it has said itself.
TEST(FileTest, AQuestionIsAlwaysHeard) {
  weft::run([] {
    for (const bool is_tcp : {true, false}) {
      Pair pair = is_tcp ? tcp_pair() : unix_pair();
      Reader reader(pair.one);
      reader.arm();
      const int rounds = test::rounds(10'000);
      for (int i = 0; i < rounds; ++i) {
        pair.other.write("x");
        test::eventually([&] { return reader.size == i + 1; });
      }
      EXPECT_FALSE(pair.other.close());
      EXPECT_EQ(reader.wait(), net::errc::eof);
      EXPECT_EQ(reader.text, std::string(static_cast<std::size_t>(rounds), 'x'));
    }
  });
}

TEST(FileTest, CloseStartsTheGoroutine) {
  test::everywhere([] {
    for (int round = 0; round < test::rounds(2'000); ++round) {
      Pair pair = some_pair(round);
      Reader reader(pair.one);
      test::Task closing(round % 2 == 0 ? test::On::kGoroutine : test::On::kThread, [&] {
        dawdle(round);
        EXPECT_FALSE(pair.one.close());
      });
      dawdle(round / 7);
      reader.arm();
      EXPECT_EQ(reader.wait(), net::errc::closed);
      closing.join();
    }
  });
}

TEST(FileTest, AFileThatIsClosedAlreadyDoesNotTouchTheOneThatHasItsDescriptor) {
  weft::run([] {
    for (int round = 0; round < test::rounds(200); ++round) {
      Pair old = tcp_pair();
      EXPECT_FALSE(old.one.close());
      Pair pair = tcp_pair();
      Reader late(old.one);
      Reader reader(pair.one);
      reader.arm();
      late.arm();
      EXPECT_EQ(late.wait(), net::errc::closed);
      EXPECT_EQ(old.one.set_deadline(Clock::now() - 1s), net::errc::closed);
      pair.other.write("x");
      EXPECT_FALSE(pair.other.close());
      EXPECT_EQ(reader.wait(), net::errc::eof);
      EXPECT_EQ(reader.text, "x");
    }
  });
}

TEST(FileTest, ADeadlineThatIsSetStartsTheGoroutine) {
  weft::run([] {
    for (int round = 0; round < test::rounds(2'000); ++round) {
      Pair pair = some_pair(round);
      Reader reader(pair.one);
      WaitGroup setting;
      setting.go([&] {
        dawdle(round);
        EXPECT_FALSE(pair.one.set_deadline(Clock::now() + 1h));  // to look, and to wait on
        dawdle(round + 3);
        EXPECT_FALSE(pair.one.set_deadline(weft::TimePoint()));
      });
      dawdle(round / 7);
      reader.arm();
      EXPECT_EQ(reader.wait(), net::errc::timed_out);
      setting.wait();
    }
  });
}

TEST(FileTest, ADeadlineThatHasPassedStartsTheGoroutineAtOnce) {
  weft::run([] {
    Pair pair = tcp_pair();
    EXPECT_FALSE(pair.one.set_read_deadline(Clock::now() - 1s));
    Reader reader(pair.one);
    reader.arm();
    EXPECT_EQ(reader.wait(), net::errc::timed_out);
  });
}

TEST(FileTest, AResetStartsTheGoroutine) {
  weft::run([] {
    for (int round = 0; round < test::rounds(500); ++round) {
      Pair pair = tcp_pair();
      Reader reader(pair.one);
      WaitGroup ending;
      ending.go([&] {
        dawdle(round);
        const linger now{.l_onoff = 1, .l_linger = 0};
        EXPECT_FALSE(pair.other.file().with_descriptor(
            [&](int fd) { return ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now); }));
        EXPECT_FALSE(pair.other.close());
      });
      dawdle(round / 7);
      reader.arm();
      EXPECT_EQ(reader.wait(), std::errc::connection_reset);
      ending.wait();
    }
  });
}

// The end comes with the last bytes or after them; the system tells of it once.
TEST(FileTest, TheEndIsSeenAfterAShortRead) {
  weft::run([] {
    for (int round = 0; round < test::rounds(3'000); ++round) {
      Pair pair = tcp_pair();
      WaitGroup writing;
      writing.go([&] {
        dawdle(round);
        pair.other.write("x");
        dawdle(round / 7);
        EXPECT_FALSE(round % 2 == 0 ? pair.other.shutdown_write() : pair.other.close());
      });
      dawdle(round / 49);
      std::array<std::byte, 64> buffer;
      std::error_code error;
      EXPECT_EQ(pair.one.read_some(buffer, error), 1U);
      EXPECT_EQ(pair.one.read_some(buffer, error), 0U);
      EXPECT_EQ(error, net::errc::eof);
      EXPECT_EQ(pair.one.read_some(buffer, error), 0U);  // and again
      EXPECT_EQ(error, net::errc::eof);
      writing.wait();
    }
  });
}

// A read stops before urgent data, and is short though there is more.
TEST(FileTest, UrgentDataHidesNothing) {
  weft::run([] {
    for (int round = 0; round < test::rounds(2'000); ++round) {
      Pair pair = tcp_pair();
      Reader reader(pair.one);
      WaitGroup writing;
      writing.go([&] {
        for (int i = 0; i < 3; ++i) {
          dawdle(round + i);
          pair.other.write("ab");
          EXPECT_FALSE(pair.other.file().with_descriptor(
              [](int fd) { return static_cast<int>(::send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL)); }));
          dawdle(round / 7);
          pair.other.write("cd");
        }
        EXPECT_FALSE(pair.other.shutdown_write());
      });
      if (round % 2 == 0) {
        reader.arm();
        EXPECT_EQ(reader.wait(), net::errc::eof);
      } else {
        std::array<std::byte, 64> buffer;
        std::error_code error;
        while (const std::size_t n = pair.one.read_some(buffer, error)) {
          reader.text.append(reinterpret_cast<const char*>(buffer.data()), n);
        }
        EXPECT_EQ(error, net::errc::eof);
      }
      writing.wait();
      // The byte that was urgent when the next one came is in line then.
      std::erase(reader.text, '!');
      EXPECT_EQ(reader.text, "abcdabcdabcd");
    }
  });
}

TEST(FileTest, ReadersThatWaitAndReadersThatAreArmedTakeTurns) {
  weft::run([] {
    Pair pair = tcp_pair();
    const int rounds = test::rounds(3'000);
    WaitGroup writing;
    writing.go([&] {
      for (int i = 0; i < rounds; ++i) {
        pair.other.write("x");
        dawdle(i);
      }
      EXPECT_FALSE(pair.other.close());
    });
    std::size_t got = 0;
    std::error_code error;
    for (int i = 0; !error; ++i) {
      std::array<std::byte, 3> buffer;
      if (i % 2 == 0) {
        got += pair.one.read_some(buffer, error);
        continue;
      }
      WaitGroup once;
      once.add(1);
      pair.one.file().go_when_readable([&] {
        got += pair.one.file().read_now(buffer.data(), buffer.size(), error);
        if (error == net::errc::would_block) error.clear();
        once.done();
      });
      once.wait();
    }
    EXPECT_EQ(error, net::errc::eof);
    EXPECT_EQ(got, static_cast<std::size_t>(rounds));
    writing.wait();
  });
}

// --- runtimes ---

TEST(FileTest, ARuntimeMayEndWhileItsFilesAreArmed) {
  for (int round = 0; round < test::rounds(400); ++round) {
    Pair pair = round % 2 == 0 ? tcp_pair() : unix_pair();
    std::atomic<int> runs{0};
    std::thread writing;
    {
      Runtime runtime(RuntimeOptions{.processors = 2});
      runtime.run([&] { pair.one.file().go_when_readable([&] { ++runs; }); });
      // The data comes before, while or after the runtime ends.
      writing = std::thread([&] {
        for (int i = 0; i < round % 100 * 20; ++i) std::atomic_signal_fence(std::memory_order_seq_cst);
        pair.other.write("x");
      });
      if (round % 4 < 2) std::this_thread::yield();
    }
    writing.join();
    const int ran = runs;
    EXPECT_LE(ran, 1);
    if (round % 8 < 4) {
      std::byte byte{};
      EXPECT_EQ(pair.one.read_some({&byte, 1}), 1U);  // the file lives on
    }
    pair = {};
    EXPECT_EQ(runs, ran);
  }
}

TEST(FileTest, AnotherRuntimesPollerStartsIt) {
  Runtime first(RuntimeOptions{.processors = 1});
  Runtime second(RuntimeOptions{.processors = 1});
  Pair pair = tcp_pair();
  Reader reader(pair.one);
  first.run([&] { reader.arm(); });
  const std::uint64_t started = first.stats().spawned;
  for (int i = 0; i < test::rounds(500); ++i) {
    second.run([&] { pair.other.write("x"); });
    test::eventually([&] { return reader.size == i + 1; });
  }
  EXPECT_FALSE(pair.other.close());
  EXPECT_EQ(reader.wait(), net::errc::eof);
  EXPECT_EQ(reader.text.size(), static_cast<std::size_t>(test::rounds(500)));
  EXPECT_GT(first.stats().spawned, started);  // where it was armed
}

// Rules: DL-2, DL-5
TEST(FileTest, WhoIsArmedIsNotDeadlocked) {
  weft::run([] {
    std::FILE* command = ::popen("sleep 0.2; echo x", "r");
    ASSERT_NE(command, nullptr);
    Stream stream(::dup(::fileno(command)));
    Reader reader(stream);
    reader.arm();
    EXPECT_EQ(reader.wait(), net::errc::eof);
    EXPECT_EQ(reader.text, "x\n");
    ::pclose(command);
  });
}

}  // namespace

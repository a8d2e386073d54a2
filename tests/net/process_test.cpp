// Child processes: how they end, what goes in and out, and that nothing of them is left: no descriptor, no zombie, no thread.

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/error.hpp>
#include <weft/net/error.hpp>
#include <weft/net/process.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::WaitGroup;
using weft::net::Child;
using weft::net::Command;
using weft::net::CommandOutput;
using weft::net::ExitStatus;
using weft::net::Stdio;
using weft::net::Stream;
namespace net = weft::net;
namespace test = weft::test;
using test::contains;

Command shell(std::string script) { return {.program = "sh", .arguments = {"-c", std::move(script)}}; }

ExitStatus exited(int code) { return {.code = code}; }
ExitStatus killed(int signal) { return {.signal = signal}; }

std::span<std::byte> bytes(std::string& text) { return std::as_writable_bytes(std::span(text)); }

/// To the end, or as many bytes as told.
std::string read_text(Stream& stream, std::size_t size = 1U << 30U) {
  std::string text;
  std::error_code error;
  while (!error && text.size() < size) {
    std::string part(std::min<std::size_t>(size - text.size(), 10'000), '\0');
    part.resize(stream.read_some(bytes(part), error));
    text += part;
  }
  EXPECT_TRUE(!error || error == net::errc::eof) << error.message();
  return text;
}

std::string message_of(const Command& command) {
  try {
    static_cast<void>(command.start().wait());
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

std::error_code error_of(const Command& command) {
  std::error_code error;
  const Child child = command.start(error);
  return error;
}

std::size_t open_descriptors() {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<std::size_t>(std::distance(Entries("/proc/self/fd"), Entries()));
}

/// Running, or ended and not reaped.
bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

bool is_alive(int pid) { return ::kill(pid, 0) == 0; }

/// A folder that goes with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weft-process-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::system_category(), "mkdtemp");
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string text_of(const std::string& path) {
  const std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(ProcessTest, TheStatusSaysHowItEnded) {
  test::everywhere([] {
    EXPECT_EQ(Command{.program = "true"}.start().wait(), exited(0));
    EXPECT_EQ(Command{.program = "false"}.start().wait(), exited(1));
    Child child = shell("exit 37").start();
    EXPECT_GT(child.id(), 0);
    for (int i = 0; i < 3; ++i) {
      const ExitStatus status = child.wait();
      EXPECT_EQ(status, exited(37));
      EXPECT_FALSE(status.success());
      EXPECT_EQ(status.to_string(), "exit status 37");
    }
    EXPECT_EQ(child.kill(), std::errc::no_such_process);
    const ExitStatus by_signal = shell("kill -TERM $$").start().wait();
    EXPECT_EQ(by_signal, killed(SIGTERM));
    EXPECT_EQ(by_signal.to_string(), "signal: terminated");
    EXPECT_FALSE(by_signal.success());
  });
}

TEST(ProcessTest, KillSendsAnySignal) {
  test::everywhere([] {
    for (const int signal : {SIGKILL, SIGINT, SIGUSR1}) {
      Child child = Command{.program = "sleep", .arguments = {"1000"}}.start();
      EXPECT_FALSE(child.kill(signal));
      EXPECT_EQ(child.wait(), killed(signal));
    }
  });
}

TEST(ProcessTest, SeveralMayWaitForOne) {
  weft::run([] {
    Child child = Command{.program = "cat", .in = Stdio::pipe()}.start();
    WaitGroup wg;
    for (int i = 0; i < 8; ++i) wg.go([&] { EXPECT_EQ(child.wait(), exited(0)); });
    child.stdin_stream().close();
    wg.wait();
  });
}

TEST(ProcessTest, OutputGathersBoth) {
  test::everywhere([] {
    const CommandOutput output = shell("echo out; echo err >&2; exit 3").output();
    EXPECT_EQ(output.status, exited(3));
    EXPECT_EQ(output.out, "out\n");
    EXPECT_EQ(output.err, "err\n");
    const CommandOutput combined = shell("echo a; echo b >&2; echo c").combined_output();
    EXPECT_EQ(combined.out, "a\nb\nc\n");
    EXPECT_EQ(combined.err, "");
    Command half = shell("echo out; echo err >&2");
    half.err = Stdio::null();
    EXPECT_EQ(half.output().err, "");
    EXPECT_EQ(half.output().out, "out\n");
  });
}

TEST(ProcessTest, MuchOutputOnBothIsNoDeadlock) {
  test::everywhere([] {
    // Much more than pipes hold, first on the one, then on the other, and back.
    const CommandOutput output =
        shell("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2; head -c 1000000 /dev/zero").output();
    EXPECT_EQ(output.status, exited(0));
    EXPECT_EQ(output.out.size(), 4'000'000U);
    EXPECT_EQ(output.err.size(), 2'000'000U);
  });
}

TEST(ProcessTest, StreamsThroughCat) {
  test::everywhere([] {
    Child child = Command{.program = "cat", .in = Stdio::pipe(), .out = Stdio::pipe()}.start();
    for (int i = 0; i < test::rounds(500); ++i) {
      const std::string line = "line " + std::to_string(i) + "\n";
      child.stdin_stream().write(line);
      EXPECT_EQ(read_text(child.stdout_stream(), line.size()), line);
    }
    // More than fits, while somebody reads.
    const std::string much(5'000'000, 'x');
    WaitGroup wg;
    wg.go([&] {
      child.stdin_stream().write(much);
      child.stdin_stream().shutdown_write();
    });
    EXPECT_EQ(read_text(child.stdout_stream()), much);
    wg.wait();
    EXPECT_EQ(child.wait(), exited(0));
  });
}

TEST(ProcessTest, AWriteToADeadChildIsAnErrorAndNoSignal) {
  test::everywhere([] {
    Child child = Command{.program = "true", .in = Stdio::pipe()}.start();
    EXPECT_EQ(child.wait(), exited(0));
    std::error_code error;
    EXPECT_EQ(child.stdin_stream().write("nobody reads this", error), 0U);
    EXPECT_EQ(error, std::errc::broken_pipe);
  });
}

TEST(ProcessTest, TextAndFilesAsStandardFiles) {
  test::everywhere([] {
    const Folder folder;
    const std::string numbers = "3\n1\n2\n";
    Command sort{.program = "sort", .in = Stdio::text(numbers), .out = Stdio::file(folder / "sorted")};
    EXPECT_EQ(sort.start().wait(), exited(0));
    EXPECT_EQ(text_of(folder / "sorted"), "1\n2\n3\n");

    Command cat{.program = "cat", .in = Stdio::file(folder / "sorted"), .out = Stdio::append(folder / "log")};
    EXPECT_EQ(cat.start().wait(), exited(0));
    EXPECT_EQ(cat.start().wait(), exited(0));
    EXPECT_EQ(text_of(folder / "log"), "1\n2\n3\n1\n2\n3\n");

    const int log = ::open((folder / "log").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    Command both = shell("echo out; echo err >&2");
    both.out = Stdio::descriptor(log);
    both.err = Stdio::to_stdout();
    EXPECT_EQ(both.start().wait(), exited(0));
    ::close(log);
    EXPECT_EQ(text_of(folder / "log"), "out\nerr\n");

    // As a file that may be opened again, and as much as there is.
    const std::string much(3'000'000, 'y');
    EXPECT_EQ((Command{.program = "cat", .arguments = {"/dev/stdin"}, .in = Stdio::text(much)}.output().out), much);
    EXPECT_EQ(Command{.program = "cat"}.output().out, "");  // null, if not told
  });
}

TEST(ProcessTest, AStandardFileOfTheCallersGoesWhereItIsWanted) {
  // stderr to what the caller has as stdout, and stdout elsewhere: none is overwritten before its turn.
  const auto child = test::in_child([] {
    Command command = shell("echo out; echo err >&2");
    const Folder folder;
    command.out = Stdio::file(folder / "out");
    command.err = Stdio::descriptor(STDOUT_FILENO);
    command.start().wait();
    command.out = Stdio::descriptor(STDERR_FILENO);
    command.err = Stdio::inherit();
    command.start().wait();
    std::printf("%s", text_of(folder / "out").c_str());
  });
  EXPECT_EQ(child.out, "err\nout\n");
  EXPECT_EQ(child.err, "out\nerr\n");
}

TEST(ProcessTest, AContextKills) {
  test::everywhere([] {
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    Child child = shell("echo ready; exec sleep 1000").start(ctx);
    cancel();
    EXPECT_EQ(child.wait(), killed(SIGKILL));

    const auto [late, unused] = weft::with_timeout(weft::background(), 20ms);
    std::error_code error;
    const CommandOutput output = Command{.program = "sleep", .arguments = {"1000"}}.output(late, error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    EXPECT_EQ(output.status, killed(SIGKILL));

    const Child none = Command{.program = "true"}.start(late, error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    EXPECT_THROW(static_cast<void>(none.id()), weft::Panic);
  });
}

TEST(ProcessTest, AContextThatIsDoneLaterDisturbsNobody) {
  weft::run([] {
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    EXPECT_EQ(Command{.program = "true"}.output(ctx).status, exited(0));
    Child child = Command{.program = "true"}.start(ctx);
    EXPECT_EQ(child.wait(), exited(0));
    cancel();
    EXPECT_EQ(child.wait(), exited(0));
  });
}

TEST(ProcessTest, WithGraceItMayEndByItself) {
  test::everywhere([] {
    for (const bool is_polite : {true, false}) {
      auto [ctx, cancel] = weft::with_cancel(weft::background());
      Command command = shell(is_polite ? "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"
                                        : "trap '' TERM; echo ready; exec sleep 1000");
      command.out = Stdio::pipe();
      command.grace = is_polite ? 1h : std::chrono::nanoseconds(20ms);
      Child child = command.start(ctx);
      EXPECT_EQ(read_text(child.stdout_stream(), 6), "ready\n");
      cancel();
      EXPECT_EQ(child.wait(), is_polite ? exited(5) : killed(SIGKILL));
      EXPECT_EQ(read_text(child.stdout_stream()), is_polite ? "bye\n" : "");
    }
  });
}

TEST(ProcessTest, OutputEndsWithItsContextThoughAGrandchildHasThePipe) {
  weft::run([] {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    Stream pids(ends[0]);
    auto [ctx, cancel] = weft::with_cancel(weft::background());
    std::string grandchild;
    WaitGroup wg;
    wg.go([&, cancel = cancel] {
      while (!grandchild.ends_with('\n')) grandchild += read_text(pids, 1);
      cancel();
    });
    Command command = shell("echo before; sleep 1000 & echo $! >&2; wait");
    command.err = Stdio::descriptor(ends[1]);
    std::error_code error;
    const CommandOutput output = command.output(ctx, error);
    EXPECT_EQ(error, weft::errc::canceled);
    EXPECT_EQ(output.out, "before\n");
    wg.wait();
    ::close(ends[1]);
    EXPECT_EQ(::kill(std::stoi(grandchild), SIGKILL), 0);
  });
}

TEST(ProcessTest, AWaitMayBeGivenUp) {
  test::everywhere([] {
    Child child = Command{.program = "sleep", .arguments = {"1000"}}.start();
    const auto [ctx, cancel] = weft::with_timeout(weft::background(), 1ms);
    std::error_code error;
    child.wait(ctx, error);
    EXPECT_EQ(error, weft::errc::deadline_exceeded);
    EXPECT_TRUE(is_alive(child.id()));
    EXPECT_FALSE(child.kill());
    EXPECT_EQ(child.wait(), killed(SIGKILL));
  });
}

// No thread for each child. There may be no more, for in chaos mode the monitor takes processors at random, above all while a child
// is started, and threads are started for those: 57 once. If each wait took one, two hundred would never wait.
TEST(ProcessTest, TwoHundredChildrenAtOnce) {
  weft::run({.processors = 2, .max_threads = 49}, [] {
    constexpr std::size_t kChildren = 200;
    std::vector<Child> children;
    Command command = shell("read code; exit $code");
    command.in = Stdio::pipe();
    for (std::size_t i = 0; i < kChildren; ++i) children.push_back(command.start());
    WaitGroup wg;
    for (std::size_t i = 0; i < kChildren; ++i)
      wg.go([&, i] { EXPECT_EQ(children[i].wait(), exited(static_cast<int>(i))); });
    test::eventually([] { return weft::stats().waiting >= kChildren; });
    EXPECT_LT(weft::stats().threads, 50U);
    for (std::size_t i = kChildren; i-- > 0;) children[i].stdin_stream().write(std::to_string(i) + "\n");
    wg.wait();
  });
}

TEST(ProcessTest, WhatCannotBeStartedIsNamed) {
  test::everywhere([] {
    const Folder folder;
    std::ofstream(folder / "plain") << "#!/bin/sh\nexit 0\n";
    std::ofstream(folder / "text") << "neither ELF nor script";
    ::chmod((folder / "text").c_str(), 0700);
    std::ofstream(folder / "orphan") << "#!/no/such/interpreter\n";
    ::chmod((folder / "orphan").c_str(), 0700);

    const Command missing{.program = "no-such-program"};
    EXPECT_EQ(message_of(missing), "weft: net: Command::start \"no-such-program\" in PATH: No such file or directory");
    EXPECT_EQ(error_of(missing), std::errc::no_such_file_or_directory);
    EXPECT_EQ(error_of({.program = folder / "nothing"}), std::errc::no_such_file_or_directory);
    const Command plain{.program = folder / "plain"};
    EXPECT_EQ(message_of(plain), "weft: net: Command::start \"" + plain.program + "\": Permission denied");
    EXPECT_EQ(error_of({.program = folder.path()}), std::errc::permission_denied);
    EXPECT_EQ(error_of({.program = folder / "text"}), std::errc::executable_format_error);
    EXPECT_EQ(error_of({.program = folder / "orphan"}), std::errc::no_such_file_or_directory);

    const Command nowhere{.program = "true", .directory = folder / "nowhere"};
    EXPECT_EQ(message_of(nowhere),
              "weft: net: Command::start \"true\" directory \"" + nowhere.directory + "\": No such file or directory");
    EXPECT_EQ(error_of({.program = "true", .directory = folder / "plain"}), std::errc::not_a_directory);
    const Command no_input{.program = "cat", .in = Stdio::file(folder / "nothing")};
    EXPECT_EQ(message_of(no_input),
              "weft: net: Command::start \"cat\" stdin \"" + (folder / "nothing") + "\": No such file or directory");
    EXPECT_EQ(error_of({.program = "cat", .out = Stdio::descriptor(-1)}), std::errc::bad_file_descriptor);
    const std::string cut("a\0b", 3);
    EXPECT_EQ(error_of({.program = "echo", .arguments = {cut}}), std::errc::invalid_argument);
    EXPECT_EQ(error_of({.program = "echo", .out = Stdio::file(cut)}), std::errc::invalid_argument);
    EXPECT_EQ((Command{.program = "cat", .in = Stdio::text(cut)}.output().out), cut);
  });
}

TEST(ProcessTest, MisuseIsAPanic) {
  EXPECT_THROW(static_cast<void>(Command{}.start()), weft::Panic);
  EXPECT_THROW(static_cast<void>(Command{.program = "true", .in = Stdio::to_stdout()}.start()), weft::Panic);
  EXPECT_THROW(static_cast<void>(Command{.program = "true", .out = Stdio::text("")}.start()), weft::Panic);
  EXPECT_THROW(static_cast<void>(Command{.program = "cat", .in = Stdio::pipe()}.output()), weft::Panic);
  EXPECT_THROW(Child().wait(), weft::Panic);
  Child child = Command{.program = "true"}.start();
  EXPECT_THROW(static_cast<void>(child.stdout_stream()), weft::Panic);
  EXPECT_EQ(child.wait(), exited(0));
}

TEST(ProcessTest, ProgramsAreLookedForInPath) {
  const Folder folder;
  const std::string before = ::getenv("PATH");
  std::filesystem::create_directory(folder / "tool");  // a folder is no program
  std::filesystem::create_directory(folder / "first");
  std::filesystem::create_directory(folder / "second");
  std::ofstream(folder / "first/tool") << "not executable";
  std::ofstream(folder / "second/tool") << "#!/bin/sh\necho \"$0\" \"$1\"\n";
  ::chmod((folder / "second/tool").c_str(), 0700);
  const auto search = [&](const std::string& path) {
    ::setenv("PATH", path.c_str(), 1);
    std::error_code error;
    const std::string found = net::find_program("tool", error);
    ::setenv("PATH", before.c_str(), 1);
    EXPECT_EQ(found.empty(), static_cast<bool>(error));
    return error ? error.message() : found;
  };
  EXPECT_EQ(search(folder.path() + ":" + (folder / "first") + ":" + (folder / "second")), folder / "second/tool");
  EXPECT_EQ(search(folder / "first"), "Permission denied");
  EXPECT_EQ(search(""), "No such file or directory");
  // Not in a relative directory, and so not in the current one either.
  const auto current = std::filesystem::current_path();
  std::filesystem::current_path(folder / "second");
  EXPECT_EQ(search(":.:../second:"), "No such file or directory");
  std::filesystem::current_path(current);
  // With a slash: from where the child starts.
  const Command relative{.program = "./tool", .arguments = {"x"}, .directory = folder / "second"};
  EXPECT_EQ(relative.output().out, "./tool x\n");
}

TEST(ProcessTest, DirectoryAndEnvironment) {
  test::everywhere([] {
    const Folder folder;
    EXPECT_EQ((Command{.program = "pwd", .directory = folder.path()}.output().out), folder.path() + "\n");
    Command env{.program = "env", .environment = {{"B=1", "A=2", "B=3"}}};
    EXPECT_EQ(env.output().out, "A=2\nB=3\n");
    env.environment = std::vector<std::string>();
    EXPECT_EQ(env.output().out, "");
    env.environment = net::current_environment();
    env.environment->push_back("WEFT_PROCESS_TEST=yes");
    const std::string all = env.output().out;
    EXPECT_TRUE(contains(all, "WEFT_PROCESS_TEST=yes\n"));
    EXPECT_TRUE(contains(all, "PATH="));
  });
}

TEST(ProcessTest, NoDescriptorGetsIntoAChild) {
  const int leaky = ::open("/dev/null", O_RDONLY);  // not close-on-exec
  weft::run([] {
    WaitGroup wg;
    for (int i = 0; i < 16; ++i) {
      wg.go([] {
        Command command = shell("ls /proc/$$/fd; :");
        command.in = Stdio::text("");
        EXPECT_EQ(command.output().out, "0\n1\n2\n");
      });
    }
    wg.wait();
  });
  ::close(leaky);
}

/// In a process where nobody else opens descriptors or has children.
TEST(ProcessTest, NothingIsLeftOfAChild) {
  const auto result = test::in_child([] {
    weft::run([] {
      const auto round = [] {
        Command command = shell("cat; echo err >&2");
        command.in = Stdio::text("x");
        static_cast<void>(command.output());
        command.in = Stdio::pipe();
        Child child = command.start();
        child.stdin_stream().close();
        child.wait();
        std::error_code error;
        static_cast<void>(Command{.program = "/no/such/program", .in = Stdio::pipe()}.start(error));
        child = Command{.program = "true", .out = Stdio::pipe()}.start();  // goes, with nobody to wait for it
      };
      const auto settle = [] {
        test::eventually([] {
          static_cast<void>(Command{.program = "true"}.start().wait());
          return !has_children();
        });
      };
      round();
      settle();
      const std::size_t before = open_descriptors();
      for (int i = 0; i < test::rounds(50); ++i) round();
      settle();
      std::printf("%d", static_cast<int>(open_descriptors()) - static_cast<int>(before));
    });
  });
  EXPECT_EQ(result.out, "0") << result.err;
}

TEST(ProcessTest, OneThatIsAbandonedGoesOn) {
  test::everywhere([] {
    const Folder folder;
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    {
      Command command = shell("read line; echo $line");
      command.in = Stdio::descriptor(ends[0]);
      command.out = Stdio::file(folder / "out");
      static_cast<void>(command.start());
    }
    ::close(ends[0]);
    EXPECT_EQ(::write(ends[1], "go on\n", 6), 6);
    test::eventually([&] { return text_of(folder / "out") == "go on\n"; });
    ::close(ends[1]);
  });
}

TEST(ProcessTest, NoSignalIsBlockedOrIgnoredInAChild) {
  const auto child = test::in_child([] {
    std::signal(SIGUSR2, SIG_IGN);
    sigset_t some;
    ::sigemptyset(&some);
    ::sigaddset(&some, SIGUSR1);
    ::pthread_sigmask(SIG_BLOCK, &some, nullptr);
    for (const char* const field : {"SigBlk", "SigIgn"}) {
      const Command grep{.program = "grep", .arguments = {field, "/proc/self/status"}};
      const std::string line = grep.output().out;
      // The C library ignores two signals of its own, 32 and 33.
      std::printf("%llx ", std::stoull(line.substr(line.find('\t') + 1), nullptr, 16) & ~0x1'8000'0000ULL);
    }
  });
  EXPECT_EQ(child.out, "0 0 ") << child.err;
}

TEST(ProcessTest, AStatusThatSomebodyElseHasTakenIsAnError) {
  const auto result = test::in_child([] {
    Child child = Command{.program = "true"}.start();
    ::waitpid(child.id(), nullptr, 0);
    for (int i = 0; i < 2; ++i) {
      std::error_code error;
      child.wait(error);
      std::printf("%d ", error == std::errc::no_child_process);
    }
    std::signal(SIGCHLD, SIG_IGN);
    std::printf("%s", message_of({.program = "true"}).c_str());
  });
  EXPECT_EQ(result.out, "1 1 weft: net: Command::start \"true\" while SIGCHLD is ignored: No child processes")
      << result.err;
}

TEST(ProcessTest, WithoutDescriptorsLeftItIsAnErrorAndNothingStays) {
  const auto result = test::in_child([] {
    weft::run([] {
      Command command{.program = "cat", .in = Stdio::pipe(), .out = Stdio::pipe(), .err = Stdio::pipe()};
      Child first = command.start();
      first.stdin_stream().close();
      first.wait();
      for (rlim_t limit = 3; limit < 24; ++limit) {
        const std::size_t before = open_descriptors();
        rlimit now{};
        ::getrlimit(RLIMIT_NOFILE, &now);
        const rlimit little{before + limit - 3, now.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &little);
        std::error_code error;
        Child child = command.start(error);
        ::setrlimit(RLIMIT_NOFILE, &now);
        if (!error) {
          child.stdin_stream().close();
          std::printf(child.wait() == exited(0) ? "" : "no exit ");
        } else if (error != std::errc::too_many_files_open) {
          std::printf("%s ", error.message().c_str());
        }
        const bool is_started = !error;
        child = Child();
        if (open_descriptors() != before) std::printf("leak at %zu ", static_cast<std::size_t>(limit));
        if (is_started) {
          std::printf("started");
          return;
        }
      }
    });
  });
  EXPECT_EQ(result.out, "started") << result.err;
}

}  // namespace

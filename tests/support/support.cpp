#include "support.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace weft::test {

bool chaos() {
  static const bool on = std::getenv("WEFT_CHAOS") != nullptr;
  return on;
}

bool soaking() {
  static const bool on = std::getenv("WEFT_SOAK") != nullptr;
  return on;
}

bool all_destroyed_once(const Tally& tally, std::size_t count) {
  if (tally.live() != 0 || tally.holding() != 0 || tally.errors() != 0) {
    ADD_FAILURE() << "live " << tally.live() << ", holding a value " << tally.holding() << ", errors "
                  << tally.errors();
    return false;
  }
  for (std::size_t id = 0; id < count; ++id) {
    if (tally.destroyed(id) != 1) {
      ADD_FAILURE() << "value " << id << " was destroyed " << tally.destroyed(id) << " times";
      return false;
    }
  }
  return true;
}

namespace {

constexpr const char* kChildVariable = "WEFT_TEST_CHILD";
constexpr int kChildStdout = 250;  // the number under which the child finds the pipe for its standard output

class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

 private:
  int fd_;
};

struct Pipe {
  Fd read;
  Fd write;
};

void check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

Pipe make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) check(errno, "pipe2");
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}

std::string current_test() {
  const ::testing::TestInfo* info = ::testing::UnitTest::GetInstance()->current_test_info();
  return std::string(info->test_suite_name()) + "." + info->name();
}

[[noreturn]] void be_the_child(const std::function<void()>& body) {
  std::fflush(nullptr);
  ::dup2(kChildStdout, STDOUT_FILENO);
  ::close(kChildStdout);
  try {
    body();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "child body threw: %s\n", error.what());
    std::exit(99);
  } catch (...) {
    std::fprintf(stderr, "child body threw something\n");
    std::exit(99);
  }
  std::exit(0);
}

::pid_t start_child(const std::string& label, const std::string& test, const Pipe& out, const Pipe& err) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("GTEST_") && !text.starts_with(kChildVariable)) environment.emplace_back(text);
  }
  environment.push_back(std::string(kChildVariable) + "=" + label);
  std::vector<std::string> arguments{"/proc/self/exe", "--gtest_filter=" + test, "--gtest_color=no"};

  const auto pointers = [](std::vector<std::string>& strings) {
    std::vector<char*> result;
    for (std::string& text : strings) result.push_back(text.data());
    result.push_back(nullptr);
    return result;
  };
  const std::vector<char*> argv = pointers(arguments);
  const std::vector<char*> envp = pointers(environment);

  ::posix_spawn_file_actions_t actions;
  check(::posix_spawn_file_actions_init(&actions), "posix_spawn_file_actions_init");
  check(::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0), "addopen");
  check(::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0), "addopen");
  check(::posix_spawn_file_actions_adddup2(&actions, err.write.get(), STDERR_FILENO), "adddup2");
  check(::posix_spawn_file_actions_adddup2(&actions, out.write.get(), kChildStdout), "adddup2");
  ::pid_t pid = -1;
  const int error = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr, argv.data(), envp.data());
  ::posix_spawn_file_actions_destroy(&actions);
  check(error, "posix_spawn");
  return pid;
}

/// Reads both pipes to their ends. False when `deadline` came first.
bool drain(Pipe& out, Pipe& err, ChildResult& result, std::chrono::steady_clock::time_point deadline) {
  std::array<std::pair<Fd*, std::string*>, 2> sources{{{&out.read, &result.out}, {&err.read, &result.err}}};
  for (;;) {
    std::array<::pollfd, 2> fds{};
    bool any = false;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      fds[i].fd = sources[i].first->get();  // -1 once at its end: ignored by poll
      fds[i].events = POLLIN;
      any = any || fds[i].fd >= 0;
    }
    if (!any) return true;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (::poll(fds.data(), fds.size(), static_cast<int>(left.count())) < 0 && errno != EINTR) check(errno, "poll");
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      std::array<char, 4096> chunk{};
      const ::ssize_t count = ::read(fds[i].fd, chunk.data(), chunk.size());
      if (count > 0) {
        sources[i].second->append(chunk.data(), static_cast<std::size_t>(count));
      } else if (count == 0 || errno != EINTR) {
        sources[i].first->reset();
      }
    }
  }
}

}  // namespace

ChildResult in_child(const std::function<void()>& body) {
  // A test that is repeated counts its calls anew.
  static std::pair<std::string, ::testing::TimeInMillis> last_run;
  static int calls = 0;
  const std::string test = current_test();
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  const std::pair run{test, info->result()->start_timestamp()};
  calls = run == last_run ? calls + 1 : 1;
  last_run = run;
  const std::string label = test + "#" + std::to_string(calls);

  if (const char* wanted = std::getenv(kChildVariable); wanted != nullptr) {
    if (label == wanted) be_the_child(body);
    return {};  // an earlier call of the same test: the child only passes by
  }

  Pipe out = make_pipe();
  Pipe err = make_pipe();
  const ::pid_t pid = start_child(label, test, out, err);
  out.write.reset();
  err.write.reset();

  ChildResult result;
  result.timed_out = !drain(out, err, result, std::chrono::steady_clock::now() + std::chrono::minutes(1));
  if (result.timed_out) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

void expect_pass_without_membarrier(const std::string& filter) {
  const ChildResult child = in_child([&] {
    ::setenv("WEFT_NO_MEMBARRIER", "1", 1);
    ::execl("/proc/self/exe", "tests", ("--gtest_filter=" + filter).c_str(), nullptr);
    std::_Exit(127);
  });
  EXPECT_EQ(child.exit_code, 0) << child.out << child.err;
  EXPECT_TRUE(contains(child.out, "Running ") && !contains(child.out, "Running 0 tests")) << child.out;
}

namespace {

bool do_others_sleep() {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::gettid())) continue;
    std::ifstream file(task.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const std::size_t name_end = stat.rfind(')');
    if (name_end != std::string::npos && stat.compare(name_end, 3, ") S") != 0) return false;
  }
  return true;
}

}  // namespace

::pid_t fork_quietly() {
  for (int tries = 0; kSanitized && tries < 200 && !do_others_sleep(); ++tries) std::this_thread::yield();
  return ::fork();
}

}  // namespace weft::test

#if defined(__SANITIZE_ADDRESS__)
namespace {
const ::pid_t the_program = ::getpid();
}

// Not in forked children: the look at their end waits for locks that threads of the parent had at the fork (GCC 12).
// NOLINTNEXTLINE(readability-identifier-naming): the leak sanitizer's name
extern "C" int __lsan_is_turned_off() { return ::getpid() != the_program ? 1 : 0; }
#endif

// The counting allocator. Sanitizers bring their own, with checks that are worth more than the count.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEFT_TEST_COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define WEFT_TEST_COUNTS_ALLOCATIONS 0
#else
#define WEFT_TEST_COUNTS_ALLOCATIONS 1
#endif
#else
#define WEFT_TEST_COUNTS_ALLOCATIONS 1
#endif

#if WEFT_TEST_COUNTS_ALLOCATIONS

namespace {

std::atomic<std::uint64_t> allocation_count{0};

void* counted_allocation(std::size_t size, std::size_t alignment) {
  allocation_count.fetch_add(1, std::memory_order_relaxed);  // counter
  const std::size_t rounded = (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
  void* const memory = alignment <= alignof(std::max_align_t) ? std::malloc(std::max<std::size_t>(size, 1))
                                                              : std::aligned_alloc(alignment, rounded);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(std::size_t size) { return counted_allocation(size, alignof(std::max_align_t)); }
void* operator new[](std::size_t size) { return counted_allocation(size, alignof(std::max_align_t)); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted_allocation(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted_allocation(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

#endif

namespace weft::test {

std::optional<std::uint64_t> allocations() {
#if WEFT_TEST_COUNTS_ALLOCATIONS
  return allocation_count.load(std::memory_order_relaxed);
#else
  return std::nullopt;
#endif
}

}  // namespace weft::test

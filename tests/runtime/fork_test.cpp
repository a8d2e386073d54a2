// fork: exec is safe at any time, what is left of a runtime in a forked child says so, and a runtime of the child's own works.
// The parents are child processes of the test themselves, so that nothing is left of either.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "weft/detail/spinlock.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Runtime;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

constexpr unsigned kPatience = test::kSanitized ? 40 : 8;  // seconds, of a child that hangs

std::string advice_for(std::string_view call) {
  return "weft: " + std::string(call) + ": the runtime does not survive fork(): ";
}

void write_out(const std::string& text) { static_cast<void>(::write(STDOUT_FILENO, text.data(), text.size()) < 0); }

/// How a child ended: its exit code, or minus the signal.
int await(::pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/// Runs `body` in a forked child, which exits as a program does that returns from main.
template <class F>
int forked(F body) {
  const ::pid_t pid = test::fork_quietly();
  if (pid != 0) return await(pid);
  ::alarm(kPatience);
  body();
  std::exit(0);
}

/// As forked(), from a goroutine of the default runtime or from here.
template <class F>
int forked_on(test::On where, F body) {
  if (where == test::On::kThread) return forked(body);
  return weft::run([&] { return forked(body); });
}

/// Workers that are anywhere in the runtime when somebody forks. Not with a sanitizer: its allocator's locks may be held at
/// that moment, and stay so in the child (GCC 12).
class Bustle {
 public:
  Bustle() {
    for (int i = 0; i < (test::kSanitized ? 0 : 4); ++i) {
      group_.go([this] {
        const auto chan = make_chan<int>(1);
        while (!stops_.load(std::memory_order_relaxed)) {
          WaitGroup group;
          for (int n = 0; n < 8; ++n) group.go([chan] { chan.send(1); });
          for (int n = 0; n < 8; ++n) chan.recv();
          group.wait();
          weft::sleep_for(1us);
        }
      });
    }
  }
  Bustle(const Bustle&) = delete;
  Bustle& operator=(const Bustle&) = delete;
  ~Bustle() {
    stops_.store(true, std::memory_order_relaxed);
    group_.wait();
  }

 private:
  std::atomic<bool> stops_{false};
  WaitGroup group_;
};

/// A parent whose children may exit: the leak sanitizer takes the threads of the parent for the child's own, and what they
/// hold for leaks.
template <class F>
test::ChildResult in_parent(F body) {
  const char* options = std::getenv("ASAN_OPTIONS");
  const std::string before = options != nullptr ? options : "";
  ::setenv("ASAN_OPTIONS", (before + ":detect_leaks=0").c_str(), 1);
  test::ChildResult result = test::in_child(body);
  ::setenv("ASAN_OPTIONS", before.c_str(), 1);
  return result;
}

std::string caught(void (*call)()) {
  try {
    call();
  } catch (const weft::Panic& panic) {
    return panic.what();
  }
  return "no panic";
}

std::unique_ptr<Runtime> other;  // in a child process only

// ---- what does not survive ----

// Rules: HZ-16, GEN-1
TEST(ForkTest, CallsOfADeadRuntimeSayWhatIsWrong) {
  const struct {
    const char* name;
    void (*call)();
  } calls[] = {
      {"go", [] { weft::go([] {}); }},
      {"run", [] { weft::run([] {}); }},
      {"Runtime::go", [] { other->go([] {}); }},
      {"Runtime::run", [] { other->run([] {}); }},
      {"Runtime::shutdown", [] { static_cast<void>(other->shutdown(0s)); }},
      {"Runtime::process_default", [] { static_cast<void>(Runtime::process_default()); }},
      {"stats", [] { static_cast<void>(weft::stats()); }},
  };
  for (const test::On where : test::kEverywhere) {
    for (const auto& [name, call] : calls) {
      const auto child = in_parent([where, call = call] {
        other = std::make_unique<Runtime>();
        weft::run([] {});
        const int status = forked_on(where, [call] { write_out(caught(call)); });
        write_out("\n" + std::to_string(status));
      });
      EXPECT_EQ(child.out.find(advice_for(name)), 0U) << name << ": " << child.out << child.err;
      EXPECT_TRUE(contains(child.out, "call exec or _exit in the child")) << child.out;
      EXPECT_TRUE(child.out.ends_with("\n0")) << child.out << child.err;
      EXPECT_EQ(child.exit_code, 0) << child.err;
    }
  }
}

// Rules: HZ-16, GEN-1
TEST(ForkTest, AWaitThatNobodyCanEndSaysWhatIsWrong) {
  const struct {
    const char* name;
    void (*wait)();
  } waits[] = {
      {"chan receive", [] { make_chan<int>().recv(); }},
      {"chan send", [] { make_chan<int>().send(1); }},
      {"select", [] { weft::select(make_chan<int>().on_recv([](auto&&...) {}), make_chan<int>().on_send(1)); }},
      {"sync.WaitGroup.Wait",
       [] {
         WaitGroup group;
         group.add(1);
         group.wait();
       }},
      {"sync.Mutex.Lock",
       [] {
         weft::Mutex mutex;
         mutex.lock();
         mutex.lock();
       }},
      {"a timer", [] { weft::after(1s).recv(); }},
  };
  for (const test::On where : test::kEverywhere) {
    for (const auto& [name, wait] : waits) {
      const auto child = in_parent([where, wait = wait] {
        weft::run([] {});
        write_out(std::to_string(forked_on(where, wait)));
      });
      EXPECT_EQ(child.out, "2") << name << child.err;
      EXPECT_EQ(child.err.find("fatal error: " + advice_for(name)), 0U) << name << ": " << child.err;
    }
  }
}

// Rules: HZ-16
TEST(ForkTest, AGoroutineThatEndsInTheChildSaysWhatIsWrong) {
  for (const bool is_pinned : {false, true}) {
    const auto child = in_parent([is_pinned] {
      std::atomic<::pid_t> pid{0};
      weft::run([&] {
        WaitGroup group;
        group.go([&] {
          std::unique_ptr<weft::PinGuard> pin;
          if (is_pinned) pin = std::make_unique<weft::PinGuard>();
          const ::pid_t forked = test::fork_quietly();
          if (forked != 0) pid.store(forked);
          if (forked == 0) ::alarm(kPatience);
        });
        group.wait();
      });
      write_out(std::to_string(await(pid.load())));
    });
    EXPECT_EQ(child.out, "2") << child.err;
    EXPECT_TRUE(contains(child.err, advice_for("a goroutine has ended in a forked child"))) << child.err;
  }
}

// Rules: HZ-16, PAN-1
TEST(ForkTest, AnExceptionThatLeavesAGoroutineInTheChildIsReported) {
  const auto child = in_parent([] {
    std::atomic<int> status{-1};
    weft::go([&] {
      const ::pid_t pid = test::fork_quietly();
      if (pid == 0) throw std::runtime_error("lost in the child");
      status.store(await(pid));
    });
    while (status.load() == -1) std::this_thread::yield();
    write_out(std::to_string(status.load()));
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "2") << child.err;
  EXPECT_EQ(child.err.find("panic: lost in the child"), 0U) << child.err;
}

// Rules: HZ-16
TEST(ForkTest, ALockThatIsHeldForEverSaysWhatIsWrong) {
  const auto child = in_parent([] {
    weft::run([] {});
    weft::detail::Spinlock lock;
    std::atomic<bool> is_held{false};
    std::atomic<bool> may_go{false};
    std::thread holder([&] {
      const weft::detail::SpinGuard guard(lock);
      is_held.store(true);
      while (!may_go.load()) std::this_thread::yield();
    });
    while (!is_held.load()) std::this_thread::yield();
    const int status = forked([&] { lock.lock(); });
    may_go.store(true);
    holder.join();
    write_out(std::to_string(status));
  });
  EXPECT_EQ(child.out, "2") << child.err;
  EXPECT_TRUE(contains(child.err, advice_for("an internal lock was held when the process was forked"))) << child.err;
}

// ---- what does ----

// Rules: HZ-16
TEST(ForkTest, ExecIsSafeWhateverTheWorkersAreDoing) {
  const auto child = in_parent([] {
    int bad = 0;
    {
      const Bustle bustle;
      for (int i = 0; i < test::rounds(100); ++i) {
        const auto fork_and_exec = [&bad] {
          const ::pid_t pid = ::fork();
          if (pid == 0) {
            ::alarm(kPatience);
            ::execl("/bin/true", "true", static_cast<char*>(nullptr));
            ::_exit(127);
          }
          bad += await(pid) == 0 ? 0 : 1;
        };
        fork_and_exec();
        weft::run(fork_and_exec);
      }
    }
    write_out(std::to_string(bad));
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "0");
}

// Destructors of runtimes (static ones, and those that the child destroys itself) and the exit handler find that nothing is
// theirs.
// Rules: HZ-16, HZ-17
TEST(ForkTest, ExitInTheChildNeitherHangsNorTouchesTheParentsThreads) {
  const auto child = in_parent([] {
    static Runtime of_the_process;
    static const auto chan = make_chan<int>();
    of_the_process.go([] { chan.recv(); });
    other = std::make_unique<Runtime>();
    other->go([] {
      for (;;) weft::yield();
    });
    int bad = 0;
    {
      const Bustle bustle;
      for (int i = 0; i < test::rounds(100); ++i) {
        for (const test::On where : test::kEverywhere) {
          bad += forked_on(where, [] {}) == 0 ? 0 : 1;
          bad += forked_on(where, [] { other.reset(); }) == 0 ? 0 : 1;
        }
      }
    }
    write_out(std::to_string(bad));
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "0") << child.err;
}

// Rules: HZ-16
TEST(ForkTest, WhatNeedsNoRuntimeWorksInTheChild) {
  const auto child = in_parent([] {
    const auto parked = make_chan<int>();
    const auto of_threads = make_chan<int>();
    test::go_parked([parked] { parked.recv(); });
    for (const test::On where : test::kEverywhere) {
      const int status = forked_on(where, [&] {
        weft::sleep_for(1us);
        weft::yield();
        weft::Mutex mutex;
        mutex.lock();
        mutex.unlock();
        const auto buffered = make_chan<int>(1);
        buffered.send(7);
        if (*buffered.recv() != 7) std::exit(3);
        if (weft::this_goroutine::is_goroutine()) std::exit(4);
        static_cast<void>(parked.try_send(1));  // whoever waits there waits in the parent
        parked.close();
        if (test::kTsan) return;                       // starts no thread in such a child
        for (int i = 0; i < test::rounds(200); ++i) {  // whoever ends the wait may be gone before it is looked at
          std::thread sender([&] { of_threads.send(8); });
          if (*of_threads.recv() != 8) std::exit(5);
          sender.join();
        }
      });
      write_out(std::to_string(status));
    }
    parked.send(1);  // it still does
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "00") << child.err;
}

// Rules: HZ-16
TEST(ForkTest, ARuntimeOfTheChildsOwnWorks) {
  if (test::kTsan) GTEST_SKIP() << "the thread sanitizer starts no thread in a child of a process that had several";
  const auto child = in_parent([] {
    int bad = 0;
    {
      const Bustle bustle;
      for (int i = 0; i < test::rounds(20); ++i) {
        for (const test::On where : test::kEverywhere) {
          const int status = forked_on(where, [] {
            Runtime mine;
            const int sum = mine.run([] {
              const auto chan = make_chan<int>();
              WaitGroup group;
              for (int n = 1; n <= 100; ++n) group.go([=] { chan.send(n); });
              int total = 0;
              for (int n = 1; n <= 100; ++n) total += *chan.recv();
              group.wait();
              weft::sleep_for(1ms);
              return total;
            });
            if (sum != 5050) std::exit(3);
            // And its own child again has none.
            if (forked([&] { write_out(caught([] { weft::go([] {}); }).substr(0, 1)); }) != 0) std::exit(4);
          });
          bad += status == 0 ? 0 : 1;
        }
      }
    }
    write_out(std::to_string(bad));
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, std::string(static_cast<std::size_t>(2 * test::rounds(20)), 'w') + "0") << child.err;
}

// A deadlock in the child is the child's: the parent's goroutines do not count, nor its threads.
// Rules: HZ-16, DL-1
TEST(ForkTest, ADeadlockOfTheChildsOwnRuntimeIsFound) {
  if (test::kTsan) GTEST_SKIP() << "the thread sanitizer starts no thread in a child of a process that had several";
  const auto child = in_parent([] {
    const Bustle bustle;
    const int status = forked([] {
      Runtime mine;
      mine.run([] { make_chan<int>().recv(); });
    });
    write_out(std::to_string(status));
  });
  EXPECT_EQ(child.out, "2") << child.err;
  EXPECT_EQ(child.err.find("fatal error: all goroutines are asleep - deadlock!"), 0U) << child.err;
}

// Rules: HZ-16
TEST(ForkTest, AProcessThatForksBeforeItsFirstGoroutineIsLikeAnyOther) {
  const auto child = in_parent([] {
    write_out(std::to_string(forked([] { std::exit(weft::run([] { return 17; })); })));
    write_out(std::to_string(weft::run([] { return 18; })));
  });
  EXPECT_EQ(child.exit_code, 0) << child.signal << child.err;
  EXPECT_EQ(child.out, "1718") << child.err;
}

}  // namespace

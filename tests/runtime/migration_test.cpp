// Goroutines that change threads, processors that change hands. Nothing of ours keeps an address in thread-local
// storage over a switch: a goroutine that comes back on another thread in the middle of any call goes on as the one
// it was.
//
// This file is built twice: against the library, and together with its sources at -O2 with link-time optimisation,
// where the compiler sees through every call and could share what one thread's storage gave with another thread.

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"
#include "watchdog.hpp"
#include "worker.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace detail = weft::detail;
namespace test = weft::test;

/// By system call: the C library may remember it for each thread.
long thread_id() { return ::syscall(SYS_gettid); }

// ---- the separation of goroutine, thread and processor ----

// Rules: SCH-5
TEST(MigrationTest, EveryGoroutineMeetsSeveralThreads) {
  const test::Watchdog watchdog("SCH-5: goroutines stay on their threads");
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<int> still_at_home{8};
  runtime.run([&] {
    WaitGroup wg;
    const auto chan = make_chan<int>();
    for (int g = 0; g < 8; ++g) {
      wg.go([&, g] {
        std::set<long> threads;
        for (int lap = 0; still_at_home.load() != 0; ++lap) {
          if (threads.insert(thread_id()).second && threads.size() == 2) still_at_home.fetch_sub(1);
          if (g % 2 == 0) {
            static_cast<void>(chan.send_for(lap, 100us));
          } else {
            static_cast<void>(chan.recv_for(100us));
          }
          weft::yield();
          if (lap % 16 == 0) weft::sleep_for(200us);
        }
      });
    }
    wg.wait();
  });
}

// Each lap keeps every processor busy at once, so that each has a worker, and then leaves all of them idle: the worker
// that went to sleep first keeps the time, and gets up with the processor that was put down last, which is another one's.
TEST(MigrationTest, ProcessorsChangeHands) {
  constexpr unsigned kProcessors = 4;
  const test::Watchdog watchdog("I5: processors stay with their threads");
  Runtime runtime(RuntimeOptions{.processors = kProcessors});
  std::array<std::atomic<long>, kProcessors> holder{};
  std::atomic<int> changes{0};
  const auto note_holder = [&] {
    const long self = thread_id();
    const std::uint32_t index = detail::current_processor_index();
    if (index >= kProcessors) return;  // the monitor has taken it
    const long before = holder[index].exchange(self);
    if (before != 0 && before != self) changes.fetch_add(1);
  };
  runtime.run([&] {
    while (changes.load() == 0 || weft::stats().handoffs < 10) {
      std::atomic<unsigned> inside{0};
      WaitGroup wg;
      for (unsigned g = 0; g < kProcessors; ++g) {
        wg.go([&] {
          note_holder();
          inside.fetch_add(1);
          while (inside.load() != kProcessors) std::this_thread::yield();  // holds on to its processor
        });
      }
      wg.wait();
      weft::sleep_for(2ms);
      note_holder();
    }
  });
}

// ---- a goroutine that migrates in the middle of each call ----

/// What a goroutine must find unchanged after a call, and how often it came back on another thread.
class Traveller {
 public:
  Traveller() : runtime_(Runtime::current()), id_(weft::this_goroutine::id()), name_(weft::this_goroutine::name()) {}

  /// True if `call` returned on another thread.
  template <class Call>
  bool through(Call& call) const {
    const long before = thread_id();
    call();
    // Right after it, before anything else could put things right.
    const bool is_itself = Runtime::current() == runtime_ && weft::this_goroutine::id() == id_ &&
                           weft::this_goroutine::name() == name_ && weft::this_goroutine::is_goroutine();
    const long after = thread_id();
    if (!is_itself) wrong_.fetch_add(1);
    // The library's own idea of the thread.
    const detail::Worker* worker = detail::current_worker();
    if (worker == nullptr || worker->current->task->id.load() != id_) wrong_.fetch_add(1);
    if (worker != nullptr && worker->exceptions != detail::thread_exception_globals()) wrong_.fetch_add(1);
    return before != after;
  }
  static int wrong() { return wrong_.load(); }

 private:
  Runtime* runtime_;
  std::uint64_t id_;
  std::string name_;
  static inline std::atomic<int> wrong_{0};
};

/// All that goroutines can block in, or be made to yield in.
class Calls {
 public:
  Calls() {
    // Partners for the calls that need one.
    for (int i = 0; i < 2; ++i) {
      partners_.go([this] {
        while (!is_over_.load(std::memory_order_relaxed)) static_cast<void>(source_.send_for(1, 1ms));
      });
      partners_.go([chan = sink_] {
        while (chan.recv()) continue;
      });
    }
  }
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  ~Calls() {
    is_over_.store(true, std::memory_order_relaxed);
    sink_.close();
    partners_.wait();
  }

  std::map<std::string, std::function<void()>> all() {
    const Chan<int> source = source_;
    const Chan<int> sink = sink_;
    const auto never = make_chan<int>();
    const auto buffer = make_chan<int>(4);
    return {
        {"yield", [] { weft::yield(); }},
        {"send", [=] { sink.send(1); }},
        {"recv", [=] { source.recv(); }},
        {"range-for",
         [=] {
           for ([[maybe_unused]] const int value : source) break;
         }},
        {"send_for", [=] { static_cast<void>(sink.send_for(1, 1h)); }},
        {"recv_for", [=] { static_cast<void>(source.recv_for(1h)); }},
        {"recv_for, timed out", [=] { static_cast<void>(never.recv_for(1us)); }},
        {"try_send and try_recv",
         [=] {
           static_cast<void>(buffer.try_send(1));
           static_cast<void>(buffer.try_recv());
         }},
        {"select, receive", [=] { weft::select(source.on_recv(), never.on_recv()); }},
        {"select, send", [=] { weft::select(sink.on_send(1), never.on_recv()); }},
        {"select, timed out", [=] { weft::select(never.on_recv(), never.on_send(1), weft::on_timeout(1us)); }},
        {"select, default", [=] { weft::select(never.on_recv(), never.on_send(1), weft::on_default()); }},
        {"make and close",
         [] {
           const auto chan = make_chan<int>(1);
           chan.send(1);
           chan.close();
           chan.recv();
         }},
        {"lock and unlock",
         [this] {
           mutex_.lock();
           weft::yield();
           mutex_.unlock();
         }},
        {"try_lock_for",
         [this] {
           if (!mutex_.try_lock_for(1h)) return;
           weft::yield();
           mutex_.unlock();
         }},
        {"wg.wait",
         [] {
           WaitGroup wg;
           wg.go([] { weft::yield(); });
           wg.wait();
         }},
        {"wg.wait_for",
         [] {
           WaitGroup wg;
           wg.add(1);
           static_cast<void>(wg.wait_for(1us));
           wg.done();
         }},
        {"sleep_for", [] { weft::sleep_for(1us); }},
        {"sleep_until", [] { weft::sleep_until(weft::Clock::now() + 1us); }},
        {"go", [] { weft::go([] {}); }},
        {"go with options", [] { weft::go({.name = "child", .stack_size = 65'536}, [] {}); }},
        {"run", [] { Runtime::current()->run([] { weft::yield(); }); }},
        {"throw and catch over a park",
         [] {
           try {
             throw std::runtime_error("mine");
           } catch (const std::runtime_error& error) {
             weft::yield();
             if (std::string(error.what()) != "mine" || std::current_exception() == nullptr) std::abort();
           }
         }},
    };
  }

 private:
  Chan<int> source_ = make_chan<int>();
  Chan<int> sink_ = make_chan<int>();
  weft::Mutex mutex_;
  std::atomic<bool> is_over_{false};
  WaitGroup partners_;
};

/// Every call until it has been seen to return on another thread often enough. Prints what it found.
void travel() {
  constexpr int kEnough = 20;
  RuntimeOptions options{.processors = 4};
  options.on_deadlock = [](const std::vector<weft::GoroutineInfo>&) { return weft::DeadlockAction::ignore; };
  Runtime runtime(options);
  runtime.run([] {
    Calls calls;
    for (auto& [name, call] : calls.all()) {
      std::atomic<int> migrations{0};
      WaitGroup wg;
      for (int g = 0; g < 12; ++g) {  // more than processors, so that a yield finds somebody
        wg.go({.name = "traveller " + std::to_string(g)}, [&migrations, &f = call] {
          const Traveller self;
          while (migrations.load(std::memory_order_relaxed) < kEnough) {
            if (self.through(f)) migrations.fetch_add(1, std::memory_order_relaxed);
          }
        });
      }
      wg.wait();
      if (Traveller::wrong() != 0) std::printf("%s: %d mistakes so far\n", name.c_str(), Traveller::wrong());
    }
  });
  static_cast<void>(runtime.shutdown(1min));  // who is abandoned, leaks
  std::puts("all calls done");
}

// Broken to check it: fiber_main fetched the worker before the goroutine's function and used it after:
// SIGSEGV in the child. With link-time optimisation and current_worker() declared [[gnu::const]], which allows the
// compiler to keep its result over a switch: the same.
// Rules: HZ-2, SCH-5
TEST(MigrationTest, AGoroutineThatMigratesInTheMiddleOfAnyCallGoesOnAsItself) {
  for (const char* seed : {"5", "20260101"}) {
    const auto child = test::in_child([seed] {
      ::setenv("WEFT_CHAOS", seed, 1);
      const test::Watchdog watchdog("SCH-5: a call after which nobody ever comes back on another thread", 50);
      travel();
    });
    EXPECT_EQ(child.exit_code, 0) << "signal " << child.signal << ", stderr: " << child.err;
    EXPECT_FALSE(child.timed_out);
    EXPECT_EQ(child.out, "all calls done\n");
  }
}

// User code may use thread-local variables between two calls, if it does not keep addresses.
thread_local long tls_of_the_test = 0;

[[gnu::noinline]] long& tls_here() {
  asm volatile("" ::: "memory");
  return tls_of_the_test;
}

/// A thief leaves the only goroutine of a ring to a processor that switches quickly, but not for ever.
TEST(MigrationTest, TheOnlyOneOfTwoThatYieldIsStolenInTheEnd) {
  const test::Watchdog watchdog("two goroutines stay on one processor");
  Runtime runtime(RuntimeOptions{.processors = 1});
  std::atomic<int> running{0};
  std::atomic<long> yields{0};
  std::atomic<bool> is_over{false};
  weft::WaitGroup both;
  both.add(2);
  for (int i = 0; i < 2; ++i) {
    runtime.go([&] {
      for (++running; !is_over.load(); ++yields) weft::yield();
      both.done();
    });
  }
  test::spin_until([&] { return running.load() == 2; });
  const auto is_stolen = [&] { return runtime.stats().steals != 0; };
  ASSERT_FALSE(is_stolen());
  // What else may part them (the monitor, chaos mode) leaves nothing to steal: then once more.
  while (!is_stolen()) {
    static_cast<void>(runtime.set_processors(2));
    test::spin_until([&, enough = yields.load() + 100'000] { return is_stolen() || yields.load() > enough; });
    static_cast<void>(runtime.set_processors(1));
  }
  is_over.store(true);
  both.wait();
}

// Rules: HZ-2
TEST(MigrationTest, ThreadLocalsBelongToTheThreadThatAGoroutineIsOn) {
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 8; ++g) {
      wg.go([] {
        for (int lap = 0; lap < test::rounds(5'000); ++lap) {
          if (tls_here() == 0) tls_here() = thread_id();
          if (tls_here() != thread_id()) ADD_FAILURE() << "another thread's variable";
          weft::yield();
        }
      });
    }
    wg.wait();
  });
}

// No call of ours leaves a trace in errno, on whatever thread it returns. (errno is itself thread-local: here nothing
// moves.)
TEST(MigrationTest, CallsThatParkKeepErrno) {
  weft::run(RuntimeOptions{.processors = 1}, [] {
    const auto chan = make_chan<int>();
    WaitGroup wg;
    wg.go([chan] {
      for (int i = 0; i < 100; ++i) chan.send(i);
    });
    for (int i = 0; i < 100; ++i) {
      errno = 4711;
      chan.recv();
      EXPECT_EQ(errno, 4711);
      weft::sleep_for(1us);
      EXPECT_EQ(errno, 4711);
      weft::go([] {});
      EXPECT_EQ(errno, 4711);
    }
    wg.wait();
  });
}

// ---- exceptions ----

/// Parks in its destructor, which runs while an exception passes.
class ParksWhenUnwound {
 public:
  ParksWhenUnwound() = default;
  ParksWhenUnwound(const ParksWhenUnwound&) = delete;
  ParksWhenUnwound& operator=(const ParksWhenUnwound&) = delete;
  ~ParksWhenUnwound() {
    const int mine = std::uncaught_exceptions();
    weft::yield();
    if (mine != 1 || std::uncaught_exceptions() != mine) ADD_FAILURE() << "lost count of its exceptions";
  }
};

// A switch skips the exception state when neither side has any. Here each combination occurs: none to some, some to
// none, some to some.
// Rules: HZ-4
TEST(MigrationTest, ExceptionStateNeverLeaksToTheNextGoroutineOnTheThread) {
  for (const unsigned processors : {1U, 4U}) {
    weft::run(RuntimeOptions{.processors = processors}, [] {
      WaitGroup wg;
      for (int g = 0; g < 12; ++g) {
        wg.go([g] {
          for (int lap = 0; lap < test::rounds(500); ++lap) {
            if (std::current_exception() != nullptr || std::uncaught_exceptions() != 0) {
              ADD_FAILURE() << "another goroutine's exception";
            }
            switch ((g + lap) % 3) {
              case 0:
                weft::yield();
                break;
              case 1:
                try {
                  throw g;
                } catch (int caught) {
                  weft::yield();
                  EXPECT_EQ(caught, g);
                  EXPECT_NE(std::current_exception(), nullptr);
                }
                break;
              default:
                try {
                  const ParksWhenUnwound parks;
                  throw g;
                } catch (int caught) {
                  EXPECT_EQ(caught, g);
                }
                break;
            }
          }
        });
      }
      wg.wait();
    });
  }
}

// ---- the end of the process ----

/// A static object that goroutines must not meet after its destruction.
struct Landmark {
  ~Landmark() { is_gone.store(true); }
  std::atomic<bool> is_gone{false};
};

/// Goroutines of every kind, none of which ends.
void populate() {
  static Landmark landmark;
  const auto look = [] {
    if (!landmark.is_gone.load()) return;
    std::fputs("a goroutine ran after the destruction of static objects\n", stderr);
    std::_Exit(3);
  };
  const auto chan = make_chan<int>();
  for (int i = 0; i < 4; ++i) {
    weft::go([=] {
      for (;; weft::yield()) look();
    });
    weft::go([=] {
      for (;; chan.send(1)) look();
    });
    weft::go([=] {
      for (;; chan.recv()) look();
    });
    weft::go([=] {
      for (;; weft::sleep_for(10us)) look();
    });
    weft::go([never = make_chan<int>()] { never.recv(); });
  }
}

// Rules: GO-3, HZ-17
TEST(MigrationTest, TheProcessExitsWithGoroutinesRunning) {
  const auto child = test::in_child([] {
    populate();
    weft::run([] { weft::sleep_for(2ms); });
    std::puts("main returns");
  });
  EXPECT_EQ(child.exit_code, 0) << "signal " << child.signal << ", stderr: " << child.err;
  EXPECT_EQ(child.out, "main returns\n");
  EXPECT_EQ(child.err, "");
}

// Rules: GO-3, HZ-17
TEST(MigrationTest, TheProcessExitsWithAGoroutineThatMakesNoCalls) {
  // The other workers have ended by then, but nobody joins them before this one: TSan calls that a leak.
  const char* const tsan = std::getenv("TSAN_OPTIONS");
  const std::string before = tsan != nullptr ? tsan : "";
  ::setenv("TSAN_OPTIONS", (before + " report_thread_leaks=0").c_str(), 1);
  const auto child = test::in_child([] {
    populate();
    std::atomic<bool> spins{false};
    weft::go([&spins] {
      spins.store(true);
      for (;;) asm volatile("");
    });
    while (!spins.load()) std::this_thread::yield();
    std::puts("main returns");
  });
  ::setenv("TSAN_OPTIONS", before.c_str(), 1);
  EXPECT_EQ(child.exit_code, 0) << "signal " << child.signal << ", stderr: " << child.err;
  EXPECT_EQ(child.out, "main returns\n");
  EXPECT_EQ(child.err, "");
}

// Rules: GO-3, HZ-17
TEST(MigrationTest, AGoroutineMayEndTheProcess) {
  const auto child = test::in_child([] {
    populate();
    weft::run([] {
      weft::sleep_for(1ms);
      std::puts("a goroutine exits");
      std::exit(7);
    });
  });
  EXPECT_EQ(child.exit_code, 7) << "signal " << child.signal << ", stderr: " << child.err;
  EXPECT_EQ(child.out, "a goroutine exits\n");
  EXPECT_EQ(child.err, "");
}

}  // namespace

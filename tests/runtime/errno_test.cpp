// errno: a call of ours leaves the caller's alone, however long it blocked, whoever ran meanwhile on the same thread, and on
// whatever thread it returns.

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <string>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/cond.hpp>
#include <weft/context.hpp>
#include <weft/future.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/pin_guard.hpp>
#include <weft/runtime.hpp>
#include <weft/rwmutex.hpp>
#include <weft/select.hpp>
#include <weft/semaphore.hpp>
#include <weft/time.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::WaitGroup;
namespace test = weft::test;

/// The compiler may keep errno's address over a call, and a goroutine goes on on another thread: so each look is a call.
[[gnu::noinline]] int read_errno() {
  asm volatile("" ::: "memory");
  return errno;
}
[[gnu::noinline]] void write_errno(int value) {
  asm volatile("" ::: "memory");
  errno = value;
}

[[gnu::noinline]] ::pid_t this_thread() {
  asm volatile("" ::: "memory");
  return ::gettid();
}

/// Goroutines that leave something else in errno wherever they run.
class Spoilers {
 public:
  explicit Spoilers(int count) {
    for (int i = 0; i < count; ++i) {
      group_.go([this, i] {
        while (!stops_.load(std::memory_order_relaxed)) {
          write_errno(1'000 + i);
          weft::yield();
        }
      });
    }
  }
  Spoilers(const Spoilers&) = delete;
  Spoilers& operator=(const Spoilers&) = delete;
  ~Spoilers() {
    stops_.store(true, std::memory_order_relaxed);
    group_.wait();
  }

 private:
  std::atomic<bool> stops_{false};
  WaitGroup group_;
};

constexpr int kMine = 4711;

/// What the calls need on their other side: it spoils its own errno.
struct World {
  weft::Chan<int> to_caller = make_chan<int>();
  weft::Chan<int> from_caller = make_chan<int>();
  weft::Chan<int> never = make_chan<int>();
  weft::Mutex mutex;
  weft::RWMutex rwmutex;
  weft::Semaphore semaphore{1};
};

struct Call {
  const char* name;
  void (*call)(World&);
};

constexpr Call kCalls[] = {
    {"go", [](World&) { weft::go([] { write_errno(1); }); }},
    {"go with a stack of its own",
     [](World&) { weft::go(weft::GoOptions{.name = "x", .stack_size = 96 * 1024}, [] { write_errno(1); }); }},
    {"yield", [](World&) { weft::yield(); }},
    {"sleep_for", [](World&) { weft::sleep_for(1us); }},
    {"recv", [](World& world) { world.to_caller.recv(); }},
    {"send", [](World& world) { world.from_caller.send(1); }},
    {"try_recv", [](World& world) { static_cast<void>(world.never.try_recv()); }},
    {"recv with a deadline", [](World& world) { static_cast<void>(world.never.recv_for(1us)); }},
    {"select", [](World& world) { weft::select(world.to_caller.on_recv([](auto&&...) {}), world.never.on_send(1)); }},
    {"select with a timeout",
     [](World& world) { weft::select(world.never.on_recv([](auto&&...) {}), weft::on_timeout(1us)); }},
    {"after", [](World&) { weft::after(1us).recv(); }},
    {"Timer",
     [](World&) {
       weft::Timer timer(1us);
       timer.chan().recv();
     }},
    {"after_func", [](World&) { static_cast<void>(weft::after_func(1us, [] { write_errno(2); })); }},
    {"Mutex",
     [](World& world) {
       world.mutex.lock();
       weft::yield();
       world.mutex.unlock();
     }},
    {"RWMutex",
     [](World& world) {
       world.rwmutex.lock_shared();
       weft::yield();
       world.rwmutex.unlock_shared();
     }},
    {"Semaphore",
     [](World& world) {
       world.semaphore.acquire();
       weft::yield();
       world.semaphore.release();
     }},
    {"WaitGroup",
     [](World&) {
       WaitGroup group;
       for (int i = 0; i < 3; ++i) group.go([] { write_errno(3); });
       group.wait();
     }},
    {"Future", [](World&) { weft::async([] { write_errno(4); }).get(); }},
    {"run", [](World&) { weft::run([] { write_errno(5); }); }},
    {"Runtime", [](World&) { weft::run(weft::RuntimeOptions{.processors = 1}, [] { write_errno(6); }); }},
    {"stats", [](World&) { static_cast<void>(weft::stats()); }},
    {"Context",
     [](World&) {
       auto [context, cancel] = weft::with_timeout(weft::background(), 1us);
       context.done().recv();
       cancel();
     }},
};

void expect_kept(test::On where, int laps) {
  World world;
  std::atomic<bool> is_over{false};
  WaitGroup peers;
  peers.go([&] {
    while (!is_over.load()) {
      write_errno(7);
      weft::select(world.to_caller.on_send(1), weft::on_timeout(100us));
    }
  });
  peers.go([&] {
    while (!is_over.load()) {
      write_errno(8);
      weft::select(world.from_caller.on_recv([](auto&&...) {}), weft::on_timeout(100us));
    }
  });
  peers.go([&] {
    while (!is_over.load()) {
      {
        const std::lock_guard guard(world.mutex);
        const std::lock_guard other(world.rwmutex);
        write_errno(9);
        weft::yield();
      }
      weft::yield();
    }
  });
  test::Task(where, [&] {
    for (int lap = 0; lap < laps; ++lap) {
      for (const Call& call : kCalls) {
        write_errno(kMine + lap);
        call.call(world);
        EXPECT_EQ(read_errno(), kMine + lap) << call.name << (where == test::On::kThread ? " on a thread" : "");
      }
    }
  }).join();
  is_over.store(true);
  peers.wait();
}

// Rules: HZ-2
TEST(ErrnoTest, NoCallChangesAGoroutinesErrno) {
  weft::run([] {
    const Spoilers spoilers(8);
    expect_kept(test::On::kGoroutine, test::rounds(30));
  });
}

// Rules: HZ-2
TEST(ErrnoTest, NoCallChangesAThreadsErrno) {
  weft::run([] {
    const Spoilers spoilers(2);
    expect_kept(test::On::kThread, test::rounds(50));
  });
}

// Rules: HZ-2, SCH-5
TEST(ErrnoTest, AGoroutineTakesItsErrnoToAnotherThread) {
  weft::run(weft::RuntimeOptions{.processors = 4}, [] {
    WaitGroup group;
    std::atomic<int> moves{0};
    for (int g = 0; g < 16; ++g) {
      group.go([&, g] {
        ::pid_t last = this_thread();
        for (int lap = 0; lap < test::rounds(5'000); ++lap) {
          write_errno(10'000 + g);
          if (lap % 8 == 0) {
            weft::sleep_for(1us);
          } else {
            weft::yield();
          }
          if (read_errno() != 10'000 + g) ADD_FAILURE() << read_errno() << " is another goroutine's";
          const ::pid_t now = this_thread();
          moves.fetch_add(now != last ? 1 : 0);
          last = now;
        }
      });
    }
    group.wait();
    EXPECT_GT(moves.load(), 0);
  });
}

// Rules: HZ-2, LT-1
TEST(ErrnoTest, APinnedGoroutineKeepsItsErrno) {
  weft::run([] {
    const Spoilers spoilers(4);
    const weft::PinGuard pin;
    for (int lap = 0; lap < test::rounds(200); ++lap) {
      write_errno(kMine);
      weft::yield();
      EXPECT_EQ(read_errno(), kMine);
      weft::sleep_for(1us);
      EXPECT_EQ(read_errno(), kMine);
    }
  });
}

}  // namespace

// Runtime and run: results and exceptions of the main function, several runtimes at once, starting and stopping again
// and again, shutdown reports, and what becomes of goroutines that a runtime leaves behind.

#include <weft/runtime.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/error.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/select.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

// NOLINTNEXTLINE(readability-identifier-naming): the sanitizer's name
extern "C" void* __asan_region_is_poisoned(void* begin, std::size_t size);

namespace {

using namespace std::chrono_literals;
using weft::make_chan;
using weft::Mutex;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

static_assert(!std::is_copy_constructible_v<Runtime>);
static_assert(!std::is_copy_assignable_v<Runtime>);
static_assert(std::is_same_v<decltype(weft::run([] { return 1; })), int>);
static_assert(std::is_same_v<decltype(weft::run([]() -> int& {
                               static int n = 0;
                               return n;
                             })),
                             int&>);
static_assert(std::is_void_v<decltype(weft::run([] {}))>);

std::size_t entries_of(const char* directory) {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) count += entry.exists() ? 1U : 1U;
  return count;
}
std::size_t threads_of_process() { return entries_of("/proc/self/task"); }
std::size_t fds_of_process() { return entries_of("/proc/self/fd"); }

/// Starts f on `runtime` and waits until it is parked.
template <class F>
std::uint64_t go_parked_on(Runtime& runtime, const weft::GoOptions& options, F f) {
  std::atomic<std::uint64_t> id{0};
  runtime.go(options, [&id, f = std::move(f)]() mutable {
    id.store(weft::this_goroutine::id(), std::memory_order_release);
    f();
  });
  std::uint64_t started = 0;
  while ((started = id.load(std::memory_order_acquire)) == 0) weft::yield();
  weft::testing::wait_parked(started);
  return started;
}
template <class F>
std::uint64_t go_parked_on(Runtime& runtime, F f) {
  return go_parked_on(runtime, weft::GoOptions{}, std::move(f));
}

// ---- run ----

// Rules: GEN-3
TEST(RuntimeTest, RunReturnsWhatMainReturns) {
  EXPECT_EQ(weft::run([] { return 42; }), 42);
  EXPECT_EQ(weft::run([] { return std::string(1000, 'x'); }).size(), 1000U);
  EXPECT_EQ(*weft::run([] { return std::make_unique<int>(7); }), 7);
  int variable = 1;
  int& reference = weft::run([&]() -> int& { return variable; });
  EXPECT_EQ(&reference, &variable);
  const int& constant = weft::run([&]() -> const int& { return variable; });
  EXPECT_EQ(&constant, &variable);
  weft::run([&] { variable = 2; });
  EXPECT_EQ(variable, 2);
  EXPECT_EQ(weft::run(RuntimeOptions{}, [] { return 43; }), 43);
  EXPECT_EQ(*weft::run(RuntimeOptions{}, [] { return std::make_unique<int>(8); }), 8);
  Runtime runtime;
  EXPECT_EQ(runtime.run([] { return 44; }), 44);
  EXPECT_EQ(&runtime.run([&]() -> int& { return variable; }), &variable);
}

struct NoDefault {
  explicit NoDefault(int n) : value(n) {}
  NoDefault(NoDefault&&) = default;
  NoDefault& operator=(NoDefault&&) = delete;
  NoDefault(const NoDefault&) = delete;
  NoDefault& operator=(const NoDefault&) = delete;
  ~NoDefault() = default;
  int value;
};

// Rules: GEN-3
TEST(RuntimeTest, RunReturnsValuesThatCanOnlyBeMoved) {
  EXPECT_EQ(weft::run([] { return NoDefault(3); }).value, 3);
  test::Tally tally;
  {
    const auto value = weft::run([&] { return test::Counted(tally, 0); });
    EXPECT_TRUE(value.holds_value());
    EXPECT_EQ(tally.copies(), 0);
  }
  EXPECT_TRUE(test::all_destroyed_once(tally, 1));
}

// Rules: PAN-4
TEST(RuntimeTest, RunRethrowsWhatMainThrows) {
  const auto thrower = [] {
    weft::yield();
    throw std::out_of_range("from main");
  };
  for (int i = 0; i < 3; ++i) {
    try {
      weft::run(thrower);
      ADD_FAILURE();
    } catch (const std::out_of_range& error) {
      EXPECT_STREQ(error.what(), "from main");
    }
    EXPECT_THROW(weft::run(RuntimeOptions{}, thrower), std::out_of_range);
    EXPECT_THROW(weft::run([]() -> int { throw 5; }), int);
    EXPECT_THROW(weft::run([]() -> int& { throw weft::Panic("p"); }), weft::Panic);
  }
}

// Rules: MM-16
TEST(RuntimeTest, RunTakesMoveOnlyAndReferencedCallables) {
  EXPECT_EQ(weft::run([p = std::make_unique<int>(5)] { return *p; }), 5);
  int calls = 0;
  auto counting = [&calls]() mutable { return ++calls; };
  weft::run(counting);
  weft::run(counting);
  EXPECT_EQ(calls, 2);
  int plain = 1;
  weft::run([&] { plain += 1; });
  plain += 1;
  EXPECT_EQ(plain, 3);
}

// Rules: GO-3
TEST(RuntimeTest, RunDoesNotWaitForOthers) {
  const auto gate = make_chan<weft::Unit>();
  WaitGroup wg;
  wg.add(1);
  weft::run([&] {
    weft::go([&] {
      gate.recv();
      wg.done();
    });
  });
  gate.close();  // the default runtime goes on: the goroutine can still end
  wg.wait();
}

// Rules: GO-3
TEST(RuntimeTest, RunMayBeCalledFromManyThreadsAtOnceAndNested) {
  std::atomic<int> sum{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < test::rounds(200); ++i) sum += weft::run([t] { return t; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum.load(), 28 * test::rounds(200));
  EXPECT_EQ(weft::run([] { return weft::run([] { return weft::run([] { return 3; }) + 1; }) + 1; }), 5);
}

// ---- which runtime ----

// Rules: MP-1
TEST(RuntimeTest, CurrentIsTheRuntimeOfTheGoroutine) {
  EXPECT_EQ(Runtime::current(), nullptr);
  weft::run([] { EXPECT_EQ(Runtime::current(), &Runtime::process_default()); });
  Runtime one;
  Runtime two;
  const auto check = [](Runtime& runtime) {
    runtime.run([&runtime] {
      EXPECT_EQ(Runtime::current(), &runtime);
      weft::yield();
      EXPECT_EQ(Runtime::current(), &runtime);
    });
  };
  check(one);
  check(two);
  one.run([&] {
    check(two);  // a goroutine of one waits for a goroutine of the other
    EXPECT_EQ(Runtime::current(), &one);
  });
  EXPECT_EQ(Runtime::current(), nullptr);
}

// Rules: MP-1
TEST(RuntimeTest, OptionsAreHonoured) {
  for (const unsigned processors : {1U, 2U, 3U, 8U}) {
    weft::run(RuntimeOptions{.processors = processors}, [&] { EXPECT_EQ(weft::stats().processors, processors); });
  }
  Runtime runtime(RuntimeOptions{.processors = 3});
  EXPECT_EQ(runtime.stats().processors, 3U);
}

// Rules: MP-1
TEST(RuntimeTest, ProcessorsComeFromTheEnvironment) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_PROCS", "5", 1);
    std::printf("%u ", weft::run([] { return weft::stats().processors; }));
    std::printf("%u ", weft::run(RuntimeOptions{.processors = 2}, [] { return weft::stats().processors; }));
    std::printf("%u\n", Runtime().stats().processors);
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "5 2 5\n");
}

// Rules: MP-1
TEST(RuntimeTest, ManyMoreProcessorsThanCpusWork) {
  weft::run(RuntimeOptions{.processors = 64}, [] {
    WaitGroup wg;
    std::atomic<int> count{0};
    for (int i = 0; i < 1000; ++i) {
      wg.go([&] {
        weft::yield();
        count.fetch_add(1, std::memory_order_relaxed);
      });
    }
    wg.wait();
    EXPECT_EQ(count.load(), 1000);
  });
}

// Rules: GEN-1
TEST(RuntimeTest, DefaultOptionsCanBeSetOnlyBeforeTheDefaultRuntimeStarts) {
  const auto child = test::in_child([] {
    Runtime::set_default_options(RuntimeOptions{.processors = 2});
    Runtime::set_default_options(RuntimeOptions{.processors = 3});
    std::printf("%u ", weft::run([] { return weft::stats().processors; }));
    try {
      Runtime::set_default_options(RuntimeOptions{.processors = 1});
      std::puts("no panic");
    } catch (const weft::Panic&) {
      std::puts("panic");
    }
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "3 panic\n");
}

// ---- several, and again and again ----

// Rules: I1
TEST(RuntimeTest, SeveralLiveSideBySideAndShareChannels) {
  std::array<Runtime, 3> runtimes;
  constexpr int kLaps = 300;
  const auto a = make_chan<int>();
  const auto b = make_chan<int>();
  const auto c = make_chan<int>();
  const auto relay = [](const weft::Chan<int>& from, const weft::Chan<int>& to) {
    return [from, to] {
      for (int& value : from) to.send(value + 1);
      to.close();
    };
  };
  runtimes[0].go(relay(a, b));
  runtimes[1].go(relay(b, c));
  runtimes[2].run([&] {
    for (int i = 0; i < kLaps; ++i) {
      a.send(i);
      ASSERT_EQ(*c.recv(), i + 2);
    }
    a.close();
    EXPECT_EQ(c.recv().status(), weft::ChanStatus::closed);
  });
  for (Runtime& runtime : runtimes) EXPECT_TRUE(runtime.shutdown(10s).clean());
}

// Rules: I1
TEST(RuntimeTest, SeveralShareAMutexAndAWaitGroup) {
  std::array<Runtime, 3> runtimes;
  Mutex mutex;
  long counter = 0;
  WaitGroup wg;
  const int rounds = test::rounds(2000);
  for (Runtime& runtime : runtimes) {
    for (int g = 0; g < 4; ++g) {
      wg.add(1);
      runtime.go([&] {
        for (int i = 0; i < rounds; ++i) {
          mutex.lock();
          ++counter;
          mutex.unlock();
        }
        wg.done();
      });
    }
  }
  wg.wait();
  EXPECT_EQ(counter, 12L * rounds);
}

// Rules: I1
TEST(RuntimeTest, StartingAndStoppingLeaksNeitherThreadsNorDescriptors) {
  const auto one_life = [](int i) {
    Runtime runtime(RuntimeOptions{.processors = static_cast<unsigned>(i % 4 + 1)});
    runtime.run([] {
      WaitGroup wg;
      for (int n = 0; n < 10; ++n) wg.go([] { weft::yield(); });
      wg.wait();
      weft::sleep_for(1us);
    });
  };
  one_life(0);
  weft::run([] {});
  const std::size_t threads = threads_of_process();
  const std::size_t fds = fds_of_process();
  for (int i = 0; i < 200; ++i) one_life(i);
  test::eventually([&] { return threads_of_process() <= threads; });  // a joined thread leaves /proc a little later
  test::eventually([&] { return fds_of_process() <= fds; });  // whoever looks for a deadlock has one open for a moment
}

// Rules: I1
TEST(RuntimeTest, StoppingWithGoroutinesAliveLeaksNeitherThreadsNorDescriptorsNorAddressSpace) {
  const auto quiet = make_chan<int>();
  const auto one_life = [&quiet](int i) {
    Runtime runtime(RuntimeOptions{.processors = static_cast<unsigned>(i % 4 + 1)});
    for (int n = 0; n < 50; ++n) runtime.go([&quiet] { quiet.recv(); });
    for (int n = 0; n < 5; ++n) {
      runtime.go([] {
        for (;;) weft::yield();
      });
      runtime.go([] { weft::sleep_for(1h); });
    }
  };
  one_life(0);
  weft::run([] {});
  const std::size_t threads = threads_of_process();
  const std::size_t fds = fds_of_process();
  for (int i = 0; i < test::rounds(200); ++i) one_life(i);
  test::eventually([&] { return threads_of_process() <= threads; });
  test::eventually([&] { return fds_of_process() <= fds; });  // whoever looks for a deadlock has one open for a moment
  EXPECT_EQ(quiet.try_send(1), weft::ChanStatus::would_block);
}

// Rules: I1
TEST(RuntimeTest, AnUnusedRuntimeStops) {
  for (int i = 0; i < test::rounds(200); ++i) Runtime runtime;
}

// Rules: I1
TEST(RuntimeTest, GoroutinesNeverRunAfterTheRuntimeIsDestroyed) {
  for (int round = 0; round < test::rounds(200); ++round) {
    auto touched = std::make_unique<std::atomic<int>>(0);  // ASan and TSan see a late touch
    {
      Runtime runtime(RuntimeOptions{.processors = 2});
      for (int i = 0; i < 10; ++i) {
        runtime.go([&touched = *touched] {
          for (;;) {
            touched.fetch_add(1, std::memory_order_relaxed);
            weft::yield();
          }
        });
      }
      if (round % 2 == 0) test::eventually([&] { return touched->load(std::memory_order_relaxed) > 0; });
    }
    const int before = touched->load(std::memory_order_relaxed);
    std::this_thread::yield();
    EXPECT_EQ(touched->load(std::memory_order_relaxed), before);
    touched.reset();
  }
}

// ---- shutdown ----

// Rules: LEAK-1, GEN-4
TEST(RuntimeTest, ShutdownNamesWhoIsStillAliveAndWhereItWaits) {
  const auto chan = make_chan<int>();
  const auto full = make_chan<int>();
  Mutex mutex;
  mutex.lock();
  WaitGroup wg;
  wg.add(1);
  Runtime runtime;
  const auto reader = go_parked_on(runtime, {.name = "reader"}, [&] { chan.recv(); });
  const auto writer = go_parked_on(runtime, {.name = "writer"}, [&] { full.send(1); });
  const auto chooser =
      go_parked_on(runtime, {.name = "chooser"}, [&] { weft::select(chan.on_recv(), full.on_send(2)); });
  const auto locker = go_parked_on(runtime, {.name = "locker"}, [&] { mutex.lock(); });
  const auto waiter = go_parked_on(runtime, {.name = "waiter"}, [&] { wg.wait(); });
  const auto sleeper = go_parked_on(runtime, {.name = "sleeper"}, [] { weft::sleep_for(1h); });
  const auto nil = go_parked_on(runtime, {.name = "nil"}, [] { weft::Chan<int>().recv(); });
  runtime.go([] {});  // this one ends
  const auto start = std::chrono::steady_clock::now();
  const weft::ShutdownReport report = runtime.shutdown(20ms);
  EXPECT_GE(std::chrono::steady_clock::now() - start, 20ms);
  EXPECT_FALSE(report.clean());
  ASSERT_EQ(report.stragglers.size(), 7U);
  const auto expect_straggler = [&](std::uint64_t id, const char* name, const char* reason) {
    const auto found = std::find_if(report.stragglers.begin(), report.stragglers.end(),
                                    [&](const weft::GoroutineInfo& info) { return info.id == id; });
    ASSERT_NE(found, report.stragglers.end()) << name;
    EXPECT_EQ(found->name, name);
    EXPECT_EQ(found->state, "waiting") << name;
    EXPECT_EQ(found->wait_reason, reason) << name;
  };
  expect_straggler(reader, "reader", "chan receive");
  expect_straggler(writer, "writer", "chan send");
  expect_straggler(chooser, "chooser", "select");
  expect_straggler(locker, "locker", "sync.Mutex.Lock");
  expect_straggler(waiter, "waiter", "sync.WaitGroup.Wait");
  expect_straggler(sleeper, "sleeper", "sleep");
  expect_straggler(nil, "nil", "chan receive (nil chan)");
  mutex.unlock();
  wg.done();
}

// Rules: LEAK-1
TEST(RuntimeTest, ShutdownIsCleanWhenAllHaveEndedAndDoesNotWaitLongerThanThat) {
  Runtime runtime;
  runtime.run([] {
    WaitGroup wg;
    for (int i = 0; i < 10; ++i) wg.go([] { weft::yield(); });
    wg.wait();
  });
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

// Rules: LEAK-1
TEST(RuntimeTest, ShutdownGivesGoroutinesTheGraceToEnd) {
  std::atomic<int> ended{0};
  Runtime runtime;
  for (int i = 0; i < 20; ++i) {
    runtime.go([&] {
      weft::sleep_for(10ms);
      ended.fetch_add(1, std::memory_order_relaxed);
      WaitGroup wg;
      wg.go([&] { ended.fetch_add(1, std::memory_order_relaxed); });  // those may still start others
      wg.wait();
    });
  }
  EXPECT_TRUE(runtime.shutdown(1h).clean());
  EXPECT_EQ(ended.load(), 40);
}

// Rules: LEAK-1
TEST(RuntimeTest, ShutdownMayBeCalledTwiceAndBeforeDestruction) {
  Runtime runtime;
  const auto chan = make_chan<int>();
  go_parked_on(runtime, {.name = "stuck"}, [&] { chan.recv(); });
  const auto report = runtime.shutdown(0s);
  EXPECT_EQ(report.stragglers.size(), 1U);
  static_cast<void>(runtime.shutdown(0s));
  static_cast<void>(runtime.shutdown(1h));
}

// Rules: LEAK-1
TEST(RuntimeTest, GoAfterShutdownPanics) {
  Runtime runtime;
  static_cast<void>(runtime.shutdown(0s));
  EXPECT_THROW(runtime.go([] {}), weft::Panic);
}

// Rules: LEAK-1
TEST(RuntimeTest, ShutdownFromOneOfItsOwnGoroutinesPanics) {
  Runtime runtime;
  runtime.run([&] { EXPECT_THROW(static_cast<void>(runtime.shutdown(0s)), weft::Panic); });
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

// Rules: LEAK-1
TEST(RuntimeTest, AGoroutineOfOneRuntimeMayStopAnother) {
  weft::run([] {
    for (int round = 0; round < test::rounds(50); ++round) {
      Runtime other;
      EXPECT_EQ(other.run([] { return 1; }), 1);
      EXPECT_TRUE(other.shutdown(1h).clean());
    }
  });
}

// ---- abandoned goroutines ----

constexpr std::size_t kFrame = 64;

/// The address of an array in a frame that is then abandoned; its stack is of that size (0: the usual one).
char* abandon_a_frame(std::size_t stack_size) {
  auto never = make_chan<int>();
  auto frames = make_chan<char*>(1);
  Runtime runtime;
  weft::GoOptions options;
  options.stack_size = stack_size;
  runtime.go(options, [&] {
    std::array<char, kFrame> frame{};
    frames.send(frame.data());
    never.recv();
  });
  return *frames.recv();
}

TEST(RuntimeTest, StacksOfAbandonedGoroutinesAreUnmapped) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  for (const std::size_t stack_size : {std::size_t{0}, std::size_t{1} << 20U}) {
    const auto at = reinterpret_cast<std::uintptr_t>(abandon_a_frame(stack_size));
    // NOLINTNEXTLINE(performance-no-int-to-ptr)
    EXPECT_EQ(msync(reinterpret_cast<void*>(at / page * page), page, MS_ASYNC), -1) << "stack size " << stack_size;
    EXPECT_EQ(errno, ENOMEM);
  }
}

// What remains is held against whoever is given the same addresses next: against a thread, for one.
TEST(RuntimeTest, AbandonedFramesLeaveNoRedzones) {
  if constexpr (!test::kAsan) {
    GTEST_SKIP() << "redzones are the address sanitizer's";
  } else {
    for (const std::size_t stack_size : {std::size_t{0}, std::size_t{1} << 20U}) {
      char* frame = abandon_a_frame(stack_size);
      EXPECT_EQ(__asan_region_is_poisoned(frame - kFrame, 3 * kFrame), nullptr) << "stack size " << stack_size;
    }
  }
}

// Rules: GO-3, I4
TEST(RuntimeTest, AbandonedReceiversAndSendersLeaveTheChannel) {
  const auto unbuffered = make_chan<int>();
  const auto buffered = make_chan<int>(1);
  buffered.send(1);
  {
    Runtime runtime;
    for (int i = 0; i < 5; ++i) {
      go_parked_on(runtime, [&] { unbuffered.recv(); });
      go_parked_on(runtime, [&] { buffered.send(99); });
      go_parked_on(runtime, [&] { static_cast<void>(unbuffered.recv_for(1h)); });
      go_parked_on(runtime, [&] { weft::select(unbuffered.on_recv(), buffered.on_send(99)); });
      go_parked_on(runtime, [&] { weft::select(unbuffered.on_recv(), buffered.on_send(99), weft::on_timeout(1h)); });
    }
  }
  EXPECT_EQ(unbuffered.try_send(2), weft::ChanStatus::would_block);
  EXPECT_EQ(*buffered.recv(), 1);
  EXPECT_EQ(buffered.try_recv().status(), weft::ChanStatus::would_block);
  EXPECT_EQ(buffered.try_send(3), weft::ChanStatus::ok);
  std::thread other([&] { unbuffered.send(4); });
  EXPECT_EQ(*unbuffered.recv(), 4);
  other.join();
  weft::run([&] {
    weft::go([&] { unbuffered.send(5); });
    EXPECT_EQ(*unbuffered.recv(), 5);
    EXPECT_EQ(*buffered.recv(), 3);
    unbuffered.close();
    buffered.close();
  });
}

// Rules: GO-3, I4
TEST(RuntimeTest, AbandonedWaitersLeaveOthersInTheQueueAndInOrder) {
  const auto chan = make_chan<int>();
  weft::run([&] {
    std::array<int, 2> got{};
    WaitGroup wg;
    auto doomed = std::make_unique<Runtime>();
    go_parked_on(*doomed, [&] { chan.recv(); });
    test::go_parked(wg, [&] { got[0] = *chan.recv(); });
    go_parked_on(*doomed, [&] { chan.recv(); });
    test::go_parked(wg, [&] { got[1] = *chan.recv(); });
    go_parked_on(*doomed, [&] { chan.recv(); });
    doomed.reset();
    chan.send(1);
    chan.send(2);
    wg.wait();
    EXPECT_EQ(got, (std::array<int, 2>{1, 2}));
    EXPECT_EQ(chan.try_send(3), weft::ChanStatus::would_block);
  });
}

// Rules: GO-3, I4
TEST(RuntimeTest, AbandonedLockersLeaveTheMutex) {
  Mutex mutex;
  mutex.lock();
  {
    Runtime runtime;
    for (int i = 0; i < 5; ++i) {
      go_parked_on(runtime, [&] { mutex.lock(); });
      go_parked_on(runtime, [&] { static_cast<void>(mutex.try_lock_for(1h)); });
    }
  }
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  WaitGroup wg;
  test::go_parked(wg, [&] {
    mutex.lock();
    mutex.unlock();
  });
  mutex.unlock();
  wg.wait();
  mutex.lock();
  mutex.unlock();
}

// Rules: GO-3, I4
TEST(RuntimeTest, AMutexHeldByAnAbandonedGoroutineCanBeUnlockedByAnybody) {
  Mutex mutex;
  {
    Runtime runtime;
    go_parked_on(runtime, [&] {
      mutex.lock();
      weft::sleep_for(1h);
    });
  }
  EXPECT_FALSE(mutex.try_lock());
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

// Rules: GO-3, I4
TEST(RuntimeTest, AbandonedWaitersLeaveTheWaitGroup) {
  WaitGroup group;
  group.add(1);
  {
    Runtime runtime;
    for (int i = 0; i < 5; ++i) {
      go_parked_on(runtime, [&] { group.wait(); });
      go_parked_on(runtime, [&] { group.wait_for(1h); });
    }
  }
  EXPECT_FALSE(group.wait_for(0s));
  WaitGroup wg;
  test::go_parked(wg, [&] { group.wait(); });
  group.done();
  wg.wait();
  group.wait();
}

// Rules: GO-3, I4
TEST(RuntimeTest, AbandoningRacesTheWakersWithoutLosingWhatTheOthersAreDue) {
  // A plain thread sends and counts down while the runtime that waits for it goes away.
  for (int round = 0; round < test::rounds(300); ++round) {
    const auto chan = make_chan<int>();
    WaitGroup group;
    group.add(1);
    std::atomic<bool> start{false};
    auto runtime = std::make_unique<Runtime>(RuntimeOptions{.processors = 2});
    for (int i = 0; i < 3; ++i) {
      runtime->go([&] { chan.recv(); });
      runtime->go([&] { weft::select(chan.on_recv(), weft::on_timeout(50us)); });
      runtime->go([&] { group.wait(); });
    }
    std::thread waker([&] {
      while (!start.load(std::memory_order_acquire)) std::this_thread::yield();
      for (int i = 0; i < 4; ++i) static_cast<void>(chan.try_send(i));
      group.done();
      for (int i = 0; i < 4; ++i) static_cast<void>(chan.send_for(i, 10us));
    });
    start.store(true, std::memory_order_release);
    if (round % 3 != 0) std::this_thread::yield();
    runtime.reset();
    waker.join();
    EXPECT_EQ(chan.try_send(1), weft::ChanStatus::would_block) << "a dead receiver is still queued";
    group.wait();
  }
}

/// The mutex must be free, and must still wake whoever queues on it.
void expect_usable(Mutex& mutex) {
  ASSERT_TRUE(mutex.try_lock_for(10s)) << "the lock was handed to a goroutine that will never run";
  std::atomic<bool> served{false};
  std::thread locker([&] {
    if (mutex.try_lock_for(10s)) {
      served.store(true, std::memory_order_relaxed);
      mutex.unlock();
    }
  });
  std::this_thread::yield();
  mutex.unlock();
  locker.join();
  EXPECT_TRUE(served.load(std::memory_order_relaxed)) << "the wake-up went to a goroutine that will never run";
}

// Rules: GO-3, I4, MU-5
TEST(RuntimeTest, AMutexSurvivesALockerThatIsAbandonedAfterItWasWoken) {
  for (int round = 0; round < test::rounds(100); ++round) {
    Mutex mutex;
    mutex.lock();
    auto runtime = std::make_unique<Runtime>(RuntimeOptions{.processors = 1});
    for (int i = 0; i < 2; ++i) {
      go_parked_on(*runtime, [&] {
        mutex.lock();
        mutex.unlock();
      });
    }
    std::atomic<bool> is_busy{false};
    std::atomic<bool> let_go{false};
    runtime->go([&] {  // keeps the only processor, so that the woken goroutine cannot run
      is_busy.store(true, std::memory_order_release);
      while (!let_go.load(std::memory_order_acquire)) {
      }
    });
    while (!is_busy.load(std::memory_order_acquire)) std::this_thread::yield();
    mutex.unlock();
    std::thread destroyer([&] { runtime.reset(); });
    std::this_thread::sleep_for(std::chrono::microseconds(round % 10 * 100));  // when the destructor gets there varies
    let_go.store(true, std::memory_order_release);
    destroyer.join();
    expect_usable(mutex);
  }
}

// Rules: GO-3, I4, MU-5, MU-6
TEST(RuntimeTest, AMutexSurvivesTheAbandonmentOfARuntimeThatContendsForIt) {
  for (int round = 0; round < test::rounds(100); ++round) {
    Mutex mutex;
    long counter = 0;
    std::atomic<bool> stop{false};
    auto doomed = std::make_unique<Runtime>(RuntimeOptions{.processors = 2});
    for (int i = 0; i < 8; ++i) {
      doomed->go([&] {
        for (;;) {
          mutex.lock();
          ++counter;
          mutex.unlock();
          weft::yield();
        }
      });
    }
    std::thread other([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        mutex.lock();
        ++counter;
        mutex.unlock();
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(round % 10 * 300));  // any moment will do
    doomed.reset();
    stop.store(true, std::memory_order_relaxed);
    other.join();
    expect_usable(mutex);
  }
}

// ---- waking an idle runtime ----

// Rules: I3, SCH-13
TEST(RuntimeTest, GoFromAForeignThreadWakesAnIdleRuntime) {
  for (const unsigned processors : {1U, 2U, 4U}) {
    std::atomic<int> seen{0};  // outlives the runtime: the last goroutine may still be on its way to notify_one()
    Runtime runtime(RuntimeOptions{.processors = processors});
    for (int round = 1; round <= test::rounds(5000); ++round) {
      runtime.go([&seen, round] {
        seen.store(round, std::memory_order_release);
        seen.notify_one();
      });
      for (int now = seen.load(std::memory_order_acquire); now != round; now = seen.load(std::memory_order_acquire)) {
        seen.wait(now, std::memory_order_acquire);
      }
    }
  }
}

// Rules: I3, SCH-13
TEST(RuntimeTest, SeveralForeignThreadsWakeAnIdleRuntime) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int round = 0; round < test::rounds(2000); ++round) {
        WaitGroup wg;
        wg.add(1);
        runtime.go([&] { wg.done(); });
        wg.wait();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// Rules: I3, SCH-13
TEST(RuntimeTest, AForeignSendWakesAnIdleRuntime) {
  for (const unsigned processors : {1U, 4U}) {
    Runtime runtime(RuntimeOptions{.processors = processors});
    const auto there = make_chan<int>();
    const auto back = make_chan<int>();
    runtime.go([=] {
      for (const int value : there) back.send(value);
      back.close();
    });
    for (int round = 0; round < test::rounds(5000); ++round) {
      there.send(round);
      ASSERT_EQ(*back.recv(), round);
    }
    there.close();
    EXPECT_TRUE(runtime.shutdown(1h).clean());
  }
}

// Rules: I3, SCH-2
TEST(RuntimeTest, ForeignBatchesReachAllProcessors) {
  // As many goroutines as processors must be able to run at one time: they meet by spinning.
  const unsigned processors = std::min(2U, std::max(1U, std::thread::hardware_concurrency()));
  Runtime runtime(RuntimeOptions{.processors = processors});
  for (int round = 0; round < test::rounds(500); ++round) {
    std::atomic<unsigned> arrived{0};
    WaitGroup wg;
    wg.add(static_cast<int>(processors));
    for (unsigned i = 0; i < processors; ++i) {
      runtime.go([&] {
        arrived.fetch_add(1, std::memory_order_acq_rel);
        while (arrived.load(std::memory_order_acquire) < processors) {
        }
        wg.done();
      });
    }
    wg.wait();
  }
}

// Rules: I3, SCH-2
TEST(RuntimeTest, GoroutinesSpawnedInsideReachIdleProcessors) {
  // t:TestGoroutineParallelism: the goroutines pass a baton by spinning, after a phase that makes workers park.
  if (std::thread::hardware_concurrency() < 2) GTEST_SKIP() << "needs two CPUs";
  weft::run(RuntimeOptions{.processors = 2}, [] {
    for (int round = 0; round < test::rounds(300); ++round) {
      if (round % 10 == 0) weft::sleep_for(100us);
      std::atomic<int> baton{0};
      WaitGroup wg;
      for (int me = 0; me < 2; ++me) {
        wg.go([&, me] {
          for (int lap = 0; lap < 3; ++lap) {
            while (baton.load(std::memory_order_acquire) != lap * 2 + me) {
            }
            baton.store(lap * 2 + me + 1, std::memory_order_release);
          }
        });
      }
      wg.wait();
    }
  });
}

// Rules: I6
TEST(RuntimeTest, AnIdleRuntimeUsesNoCpu) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  const auto gate = make_chan<weft::Unit>();
  for (int i = 0; i < 100; ++i) runtime.go([&] { gate.recv(); });
  test::eventually([&] { return runtime.stats().waiting == 100; });
  const auto cpu_time = [] {
    struct rusage usage {};
    ::getrusage(RUSAGE_SELF, &usage);
    return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  };
  std::this_thread::sleep_for(20ms);
  const auto before = cpu_time();
  std::this_thread::sleep_for(500ms);
  // 0.1% of a core would be 0.5 ms; the bound leaves room for the clock's tick and the sanitizers' own threads.
  EXPECT_LE(cpu_time() - before, test::kSanitized ? 50ms : 10ms);
  gate.close();
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

}  // namespace

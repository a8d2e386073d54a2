// C++ keeps the exceptions being handled, and the number of those in flight, for each thread. A goroutine that blocks
// inside a handler, or in a destructor during unwinding, must find its own there when it goes on, on whatever thread.

#include <atomic>
#include <cfenv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/syscall.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;

/// Whose exception it is, and which of his.
struct Tagged {
  std::uint64_t owner;
  int number;
};

constexpr int kNone = -1;

[[gnu::noinline]] long os_thread() { return ::syscall(SYS_gettid); }

/// The number of the exception being handled here; kNone without one; -2 for somebody else's.
[[gnu::noinline]] int handled_here(std::uint64_t owner) {
  const std::exception_ptr current = std::current_exception();
  if (!current) return kNone;
  try {
    std::rethrow_exception(current);
  } catch (const Tagged& tagged) {
    return tagged.owner == owner ? tagged.number : -2;
  } catch (...) {
    return -2;
  }
}

[[gnu::noinline]] int in_flight_here() { return std::uncaught_exceptions(); }

/// Blocks in one way or another, so that the goroutine may go on elsewhere.
[[gnu::noinline]] void block(std::uint64_t how) {
  switch (how % 4) {
    case 0:
      weft::yield();
      break;
    case 1: {
      const auto answer = weft::make_chan<int>();
      WaitGroup wg;
      wg.go([&answer] { answer.send(1); });
      answer.recv();
      wg.wait();  // whoever is abandoned in its last steps leaks what it holds
      break;
    }
    case 2: {
      WaitGroup wg;
      wg.go([] {});
      wg.wait();
      break;
    }
    default:
      weft::sleep_for(1us);
      break;
  }
}

/// One goroutine's walk through nested handlers and unwinding destructors; it knows at each step what it must see.
class Walk {
 public:
  explicit Walk(std::uint64_t seed, std::atomic<int>& mistakes, std::atomic<int>& migrations)
      : owner_(weft::this_goroutine::id()), random_(seed), mistakes_(mistakes), migrations_(migrations) {}

  void go(int depth) { step(depth, kNone, 0); }

 private:
  void expect(int handled, int in_flight) {
    if (handled_here(owner_) != handled) mistakes_.fetch_add(1, std::memory_order_relaxed);
    if (in_flight_here() != in_flight) mistakes_.fetch_add(1, std::memory_order_relaxed);
  }

  void block_and_expect(int handled, int in_flight) {
    const long before = os_thread();
    block(random_.below(4));
    if (os_thread() != before && (handled != kNone || in_flight != 0)) {
      migrations_.fetch_add(1, std::memory_order_relaxed);
    }
    expect(handled, in_flight);
  }

  void step(int depth, int handled, int in_flight) {
    expect(handled, in_flight);
    block_and_expect(handled, in_flight);
    if (depth == 0) return;
    const int number = next_number_++;
    switch (random_.below(3)) {
      case 0:  // go on inside a handler
        try {
          throw Tagged{owner_, number};
        } catch (const Tagged& caught) {
          step(depth - 1, number, in_flight);
          if (caught.owner != owner_ || caught.number != number) mistakes_.fetch_add(1, std::memory_order_relaxed);
        }
        break;
      case 1: {  // go on inside a destructor that runs because of an exception
        struct Unwinding {
          Walk& walk;
          int depth;
          int handled;
          int in_flight;
          ~Unwinding() { walk.step(depth, handled, in_flight); }
        };
        try {
          const Unwinding unwinding{*this, depth - 1, handled, in_flight + 1};
          throw Tagged{owner_, number};
        } catch (const Tagged& caught) {
          if (caught.owner != owner_ || caught.number != number) mistakes_.fetch_add(1, std::memory_order_relaxed);
          block_and_expect(number, in_flight);
        }
        break;
      }
      default:  // go on inside a handler, then rethrow what it handles
        try {
          try {
            throw Tagged{owner_, number};
          } catch (...) {
            step(depth - 1, number, in_flight);
            throw;
          }
        } catch (const Tagged& caught) {
          if (caught.owner != owner_ || caught.number != number) mistakes_.fetch_add(1, std::memory_order_relaxed);
          block_and_expect(number, in_flight);
        }
        break;
    }
    block_and_expect(handled, in_flight);
  }

  std::uint64_t owner_;
  test::Lcg random_;
  int next_number_ = 0;
  std::atomic<int>& mistakes_;
  std::atomic<int>& migrations_;
};

struct Outcome {
  int mistakes;
  int migrations;
};

Outcome many_walks(int goroutines, int depth) {
  std::atomic<int> mistakes{0};
  std::atomic<int> migrations{0};
  weft::run(RuntimeOptions{.processors = 4}, [&] {
    WaitGroup wg;
    for (int g = 0; g < goroutines; ++g) {
      wg.go([&, g] { Walk(static_cast<std::uint64_t>(g) + 1, mistakes, migrations).go(depth); });
    }
    for (int g = 0; g < goroutines; ++g) {  // and some that handle nothing, and must see nothing
      wg.go([&] {
        for (int i = 0; i < 10; ++i) {
          if (std::current_exception() || std::uncaught_exceptions() != 0) ++mistakes;
          block(static_cast<std::uint64_t>(i));
        }
      });
    }
    wg.wait();
  });
  return {mistakes.load(), migrations.load()};
}

// Rules: HZ-4
TEST(ExceptionStateTest, RethrowAfterBlockingInAHandlerThrowsTheGoroutinesOwnException) {
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 100; ++g) {
      wg.go([g] {
        for (int i = 0; i < 10; ++i) {
          std::string seen;
          try {
            try {
              throw std::runtime_error("mine " + std::to_string(g));
            } catch (const std::exception& first) {
              block(static_cast<std::uint64_t>(g + i));
              EXPECT_EQ(std::string(first.what()), "mine " + std::to_string(g));
              throw;
            }
          } catch (const std::runtime_error& again) {
            seen = again.what();
          }
          ASSERT_EQ(seen, "mine " + std::to_string(g));
        }
      });
    }
    wg.wait();
  });
}

// Rules: HZ-4
TEST(ExceptionStateTest, CurrentExceptionIsTheSameObjectAfterBlocking) {
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 50; ++g) {
      wg.go([g] {
        try {
          throw g;
        } catch (const int& value) {
          const std::exception_ptr before = std::current_exception();
          for (std::uint64_t i = 0; i < 8; ++i) {
            block(i);
            ASSERT_EQ(std::current_exception(), before);
            ASSERT_EQ(value, g);
          }
        }
        ASSERT_EQ(std::current_exception(), nullptr);
      });
    }
    wg.wait();
  });
}

void nest(std::uint64_t owner, int depth) {
  try {
    throw Tagged{owner, depth};
  } catch (const Tagged& mine) {
    block(static_cast<std::uint64_t>(depth));
    EXPECT_EQ(handled_here(owner), depth);
    if (depth < 6) nest(owner, depth + 1);
    block(static_cast<std::uint64_t>(depth) + 1);
    EXPECT_EQ(handled_here(owner), depth) << "the inner handlers are gone, this one's exception is back";
    EXPECT_EQ(mine.number, depth);
  }
}

// Rules: HZ-4
TEST(ExceptionStateTest, NestedHandlersUnwindInOrderWithBlockingAtEachLevel) {
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 50; ++g) {
      wg.go([] {
        nest(weft::this_goroutine::id(), 0);
        EXPECT_EQ(std::current_exception(), nullptr);
      });
    }
    wg.wait();
  });
}

// Rules: HZ-4
TEST(ExceptionStateTest, ADestructorThatBlocksDuringUnwindingSeesItsOwnCount) {
  struct Blocking {
    int expected;
    ~Blocking() {
      for (std::uint64_t i = 0; i < 4; ++i) {
        EXPECT_EQ(in_flight_here(), expected);
        block(i);
      }
      EXPECT_EQ(in_flight_here(), expected);
      if (expected < 3) {
        try {
          const Blocking inner{expected + 1};
          throw expected;
        } catch (const int value) {
          EXPECT_EQ(value, expected);
          block(static_cast<std::uint64_t>(value));
        }
        EXPECT_EQ(in_flight_here(), expected);
      }
    }
  };
  weft::run(RuntimeOptions{.processors = 4}, [] {
    WaitGroup wg;
    for (int g = 0; g < 50; ++g) {
      wg.go([] {
        EXPECT_EQ(in_flight_here(), 0);
        try {
          const Blocking blocking{1};
          throw std::runtime_error("unwinds");
        } catch (const std::runtime_error& error) {
          EXPECT_STREQ(error.what(), "unwinds");
        }
        EXPECT_EQ(in_flight_here(), 0);
      });
    }
    wg.wait();
  });
}

// Rules: HZ-4, GO-1
TEST(ExceptionStateTest, AGoroutineStartedInsideAHandlerBeginsWithNothing) {
  weft::run([] {
    for (int round = 0; round < test::rounds(500); ++round) {
      try {
        throw 1;
      } catch (const int) {
        WaitGroup wg;
        wg.go([] {
          EXPECT_EQ(std::current_exception(), nullptr);
          EXPECT_EQ(std::uncaught_exceptions(), 0);
          try {
            throw 2;
          } catch (const int value) {
            weft::yield();
            EXPECT_EQ(value, 2);
          }
        });
        wg.wait();
        EXPECT_NE(std::current_exception(), nullptr);
      }
    }
  });
}

// Rules: HZ-4
TEST(ExceptionStateTest, APlainThreadThatRunsAGoroutineFromAHandlerKeepsItsOwn) {
  try {
    throw std::runtime_error("of the thread");
  } catch (const std::runtime_error& error) {
    const std::exception_ptr before = std::current_exception();
    weft::run([] {
      EXPECT_EQ(std::current_exception(), nullptr);
      try {
        throw 1;
      } catch (const int) {
        block(1);
      }
    });
    const auto chan = weft::make_chan<int>();
    weft::go([chan] { chan.send(1); });
    chan.recv();
    EXPECT_EQ(std::current_exception(), before);
    EXPECT_STREQ(error.what(), "of the thread");
  }
}

// Rules: HZ-4
TEST(ExceptionStateTest, OneExceptionHandledByManyGoroutinesAtOnce) {
  test::Tally tally;
  weft::run(RuntimeOptions{.processors = 4}, [&] {
    std::exception_ptr shared;
    try {
      throw test::Counted(tally, 0);
    } catch (...) {
      shared = std::current_exception();
    }
    WaitGroup wg;
    for (int g = 0; g < 50; ++g) {
      wg.go([shared, g] {
        for (int i = 0; i < 10; ++i) {
          try {
            std::rethrow_exception(shared);
          } catch (const test::Counted& counted) {
            block(static_cast<std::uint64_t>(g + i));
            EXPECT_EQ(counted.id(), 0U);
          }
        }
      });
    }
    wg.wait();
    shared = nullptr;
    test::eventually([&] { return tally.live() == 0; });
  });
  EXPECT_EQ(tally.errors(), 0);
}

// Rules: HZ-4
TEST(ExceptionStateTest, EveryExceptionObjectIsDestroyedWhateverThreadItsHandlerEndsOn) {
  test::Tally tally;
  const std::size_t count = 200;
  weft::run(RuntimeOptions{.processors = 4}, [&] {
    WaitGroup wg;
    for (std::size_t g = 0; g < count; ++g) {
      wg.go([&tally, g] {
        try {
          throw test::Counted(tally, g);
        } catch (const test::Counted& counted) {
          for (std::uint64_t i = 0; i < 3; ++i) block(g + i);
          EXPECT_EQ(counted.id(), g);
        }
      });
    }
    wg.wait();
  });
  EXPECT_TRUE(test::all_destroyed_once(tally, count));
}

// Rules: HZ-4
TEST(ExceptionStateTest, RandomNestsOfHandlersAndDestructors) {
  const Outcome outcome = many_walks(test::crowd(test::kSanitized ? 60 : 300), 12);
  EXPECT_EQ(outcome.mistakes, 0);
  RecordProperty("migrations", outcome.migrations);
}

// Rules: HZ-4
TEST(ExceptionStateTest, RandomNestsOfHandlersAndDestructorsUnderForcedMigration) {
  const auto child = test::in_child([] {
    ::setenv("WEFT_CHAOS", "20240607", 1);
    const Outcome outcome = many_walks(test::kSanitized ? 20 : 60, 8);
    std::printf("mistakes %d, migrated %s\n", outcome.mistakes, outcome.migrations > 0 ? "yes" : "no");
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_EQ(child.out, "mistakes 0, migrated yes\n");
}

// Broken to check it: on a stack that was used before, and in the place of a goroutine that has just ended, the next one rounded upwards.
TEST(ExceptionStateTest, AGoroutineDoesNotInheritHowTheOneBeforeItRounded) {
  run(RuntimeOptions{.processors = 1}, [] {
    const int usual = std::fegetround();
    ASSERT_NE(usual, FE_UPWARD);
    std::vector<int> seen;
    WaitGroup all;
    const auto look = [&] { seen.push_back(std::fegetround()); };
    const auto change = [] { std::fesetround(FE_UPWARD); };
    for (int i = 0; i < 5; ++i) {
      if (i % 2 == 0) {
        all.go(change);
        all.wait();
      }
      all.go(look);
      all.go(look);
      if (i % 2 == 1) all.go(change);  // the newest begins first, and the others in its place
      all.wait();
    }
    EXPECT_EQ(seen, std::vector<int>(10, usual));
    EXPECT_EQ(std::fegetround(), usual);
  });
}

}  // namespace

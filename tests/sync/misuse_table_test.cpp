// GEN-1, row by row: which misuse panics and which is fatal, in Go's words. Each row runs in a process of its own. A panic is
// caught first (the process goes on, and ends with 0), then not caught (it is reported, and the status is 2). A fatal row
// wraps the misuse in a catch-all that must not run.
//
// Not here: two rows about a WaitGroup used anew while somebody still waits. Go finds those by luck, and so does weft the first
// of them (WG-4); the second cannot harm a weft::WaitGroup, whose waiters do not touch it once they are released (WG-5). A
// copied Cond does not compile.

#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <weft/weft.hpp>

#include "../support/support.hpp"

namespace {

using namespace std::chrono_literals;

constexpr const char* kSurvived = "survived\n";

void say(const char* text) {
  std::fputs(text, stdout);
  std::fflush(stdout);
}

enum class Kind { kRuntimePanic, kPanic, kFatal };

struct Row {
  Kind kind;
  std::string text;
  std::function<void()> misuse;
  std::string before = {};  // what the report starts with
};

struct Key {
  using type = int;
};

[[gnu::noinline]] std::size_t dive_without_end(std::size_t depth) {
  volatile char frame[512];
  frame[depth % sizeof frame] = 1;
  const std::size_t below = depth == SIZE_MAX ? 0 : dive_without_end(depth + 1);
  return below + static_cast<std::size_t>(frame[depth % sizeof frame]);
}

std::vector<Row> rows() {
  using enum Kind;
  return {
      {kRuntimePanic, "send on closed channel",
       [] {
         const auto chan = weft::make_chan<int>(1);
         chan.close();
         chan.send(1);
       }},
      {kRuntimePanic, "send on closed channel",
       [] {
         const auto chan = weft::make_chan<int>(1);
         chan.close();
         weft::select(chan.on_send(1), weft::on_default());
       }},
      {kRuntimePanic, "send on closed channel",
       [] {
         const auto chan = weft::make_chan<int>();
         weft::go([chan] { chan.close(); });
         chan.send(1);
       }},
      {kRuntimePanic, "close of closed channel",
       [] {
         const auto chan = weft::make_chan<int>();
         chan.close();
         chan.close();
       }},
      {kRuntimePanic, "close of nil channel", [] { weft::Chan<int>().close(); }},
      {kRuntimePanic, "makechan: size out of range",
       [] { static_cast<void>(weft::make_chan<int>(static_cast<std::size_t>(-1))); }},
      {kRuntimePanic, "makechan: size out of range",
       [] { static_cast<void>(weft::make_chan<int>(std::size_t{1} << 59U)); }},
      {kPanic, "sync: negative WaitGroup counter",
       [] {
         weft::WaitGroup group;
         group.add(1);
         group.done();
         group.done();
       }},
      {kFatal, "sync: unlock of unlocked mutex", [] { weft::Mutex().unlock(); }},
      {kFatal, "sync: unlock of unlocked mutex",
       [] {
         weft::Mutex mutex;
         mutex.lock();
         mutex.unlock();
         mutex.unlock();
       }},
      {kFatal, "sync: Unlock of unlocked RWMutex", [] { weft::RWMutex().unlock(); }},
      {kFatal, "sync: Unlock of unlocked RWMutex",
       [] {
         weft::RWMutex mutex;
         mutex.lock_shared();
         mutex.unlock();
       }},
      {kFatal, "sync: RUnlock of unlocked RWMutex", [] { weft::RWMutex().unlock_shared(); }},
      {kFatal, "sync: RUnlock of unlocked RWMutex",
       [] {
         weft::RWMutex mutex;
         mutex.lock();
         mutex.unlock_shared();
       }},
      {kFatal, "sync: unlock of unlocked mutex",
       [] {
         weft::Mutex mutex;
         weft::Cond().wait(mutex);
       }},
      {kPanic, "semaphore: released more than held", [] { weft::Semaphore(2).release(); }},
      {kPanic, "errgroup: modify limit while 1 goroutines in the group are still active",
       [] {
         const auto go_on = weft::make_chan<weft::Unit>();
         weft::ErrGroup group;
         group.go([go_on] { static_cast<void>(go_on.recv()); });
         try {
           group.set_limit(2);
         } catch (...) {
           go_on.close();
           throw;
         }
       }},
      {kPanic, "cannot create context from nil parent", [] { static_cast<void>(weft::with_cancel(weft::Context())); }},
      {kPanic, "cannot create context from nil parent",
       [] { static_cast<void>(weft::with_timeout(weft::Context(), 1s)); }},
      {kPanic, "cannot create context from nil parent",
       [] { static_cast<void>(weft::with_value<Key>(weft::Context(), 1)); }},
      {kPanic, "non-positive interval for NewTicker", [] { weft::Ticker ticker(0s); }},
      {kPanic, "non-positive interval for Ticker.Reset",
       [] {
         weft::Ticker ticker(1s);
         ticker.reset(-1s);
       }},
      {kPanic, "time: Stop called on uninitialized Timer", [] { static_cast<void>(weft::Timer().stop()); }},
      {kPanic, "time: Reset called on uninitialized Timer", [] { static_cast<void>(weft::Timer().reset(1s)); }},
      {kPanic, "time: Reset called on uninitialized Ticker", [] { weft::Ticker().reset(1s); }},
      {kFatal, "go of nil func value", [] { weft::go(static_cast<void (*)()>(nullptr)); }},
      {kFatal, "go of nil func value", [] { weft::WaitGroup().go(std::function<void()>()); }},
      {kFatal, "all goroutines are asleep - deadlock!", [] { weft::select(); }},
      {kFatal, "no goroutines (main called runtime.Goexit) - deadlock!", [] { weft::exit_goroutine(); }},
      {kFatal, "stack overflow", [] { say(std::to_string(dive_without_end(0)).c_str()); },
       "runtime: goroutine stack exceeds 262144-byte limit\n"},
  };
}

/// Does the misuse of this row; says which kind of panic was caught.
void provoke_and_catch(const Row& row) {
  try {
    row.misuse();
    say("no panic");
  } catch (const weft::RuntimePanic& panic) {
    say(("runtime panic: " + std::string(panic.what()) + "\n").c_str());
  } catch (const weft::Panic& panic) {
    say(("panic: " + std::string(panic.what()) + "\n").c_str());
  }
}

void expect_caught(const Row& row) {
  const auto child = weft::test::in_child([&] {
    weft::run([&] { provoke_and_catch(row); });
    say(kSurvived);
  });
  EXPECT_EQ(child.exit_code, 0) << row.text << ": " << child.err;
  const std::string kind = row.kind == Kind::kRuntimePanic ? "runtime panic: " : "panic: ";
  EXPECT_EQ(child.out, kind + row.text + "\n" + kSurvived);
  EXPECT_EQ(child.err, "");
}

void expect_report(const Row& row) {
  const auto child = weft::test::in_child([&] {
    weft::WaitGroup group;
    group.go([&] { row.misuse(); });
    group.wait();
    say(kSurvived);
  });
  EXPECT_EQ(child.exit_code, 2) << row.text << ": " << child.err;
  EXPECT_EQ(child.out, "");
  EXPECT_EQ(child.err.find("panic: " + row.text), 0U) << child.err;
}

void expect_fatal(const Row& row) {
  const auto child = weft::test::in_child([&] {
    weft::run([&] {
      try {
        row.misuse();
      } catch (const weft::Panic&) {
        say("caught\n");
      }
    });
    say(kSurvived);
  });
  EXPECT_EQ(child.exit_code, 2) << row.text << ": " << child.err;
  EXPECT_EQ(child.out, "");
  EXPECT_EQ(child.err.find(row.before), 0U) << child.err;
  const std::string text = "fatal error: " + row.text;
  EXPECT_TRUE(row.before.empty() ? child.err.starts_with(text) : child.err.find("\n" + text) != std::string::npos)
      << child.err;
}

// Rules: GEN-1, GEN-2, GEN-3
TEST(MisuseTableTest, PanicsCanBeCaught) {
  for (const Row& row : rows()) {
    if (row.kind != Kind::kFatal) expect_caught(row);
  }
}

// Rules: GEN-1, GEN-3, PAN-1
TEST(MisuseTableTest, PanicsThatNobodyCatchesAreReported) {
  for (const Row& row : rows()) {
    if (row.kind != Kind::kFatal) expect_report(row);
  }
}

// Rules: GEN-1, GEN-3
TEST(MisuseTableTest, FatalErrorsCannotBeCaught) {
  for (const Row& row : rows()) {
    const bool is_sanitizers = weft::test::kSanitized && row.text == "stack overflow";  // it reports this one itself
    if (row.kind == Kind::kFatal && !is_sanitizers) expect_fatal(row);
  }
}

}  // namespace

// leak_hints: who waits for a channel that nobody else can reach is named, and nobody else ever is.

#include <weft/testing.hpp>

#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/goroutine_local.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/selector.hpp>
#include <weft/timer.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "sched.hpp"

namespace {

using namespace std::chrono_literals;
using weft::Chan;
using weft::GoroutineInfo;
using weft::make_chan;
using weft::Runtime;
using weft::RuntimeOptions;
using weft::WaitGroup;
namespace test = weft::test;
using test::contains;

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != std::string_view::npos; at += part.size()) ++n;
  return n;
}

/// The names of those that leak_hints names, sorted, one after the other.
std::string leaked() {
  std::vector<std::string> names;
  for (const GoroutineInfo& info : weft::testing::leak_hints()) names.push_back(info.name);
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

/// Until a goroutine of this name is parked. By name, since whoever knows more of it might know its channel.
void await_parked(const Runtime& runtime, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    test::eventually([&] {
      const auto all = runtime.scheduler().goroutines(false);
      return std::any_of(all.begin(), all.end(),
                         [&](const GoroutineInfo& info) { return info.name == name && info.state == "waiting"; });
    });
  }
}

void come_back() { asm volatile("" ::: "memory"); }  // after a call: so it is not a jump

[[gnu::noinline]] void await_an_answer(const Chan<int>& chan) {
  chan.recv();
  come_back();
}

// Each of these returns without a handle: nothing of it is left but what the goroutine has.

[[gnu::noinline]] void drop_receiver() {
  const auto chan = make_chan<int>();
  weft::go({.name = "receiver"}, [chan] { await_an_answer(chan); });
}

[[gnu::noinline]] void drop_sender() {
  const auto chan = make_chan<std::string>();
  weft::go({.name = "sender"}, [chan] { chan.send("nobody"); });
}

[[gnu::noinline]] void drop_selecting() {
  const auto one = make_chan<int>();
  const auto two = make_chan<int>(3);
  weft::go({.name = "selecting"}, [one, two] { weft::select(one.on_send(1), two.on_recv(), Chan<int>().on_recv()); });
}

/// In a queue of its own for a group of processors (chan_shards.hpp), not in the channel's block.
[[gnu::noinline]] void drop_sharded() {
  const auto quit = make_chan<int>();
  quit.core_of()->shard();
  const auto other = make_chan<int>();
  weft::go({.name = "sharded"}, [quit, other] { weft::select(quit.on_recv(), other.on_recv()); });
}

/// A closure that is too big for the record.
[[gnu::noinline]] void drop_big() {
  const auto chan = make_chan<int>();
  weft::go({.name = "big"}, [chan, ballast = std::array<char, 200>{}] {
    static_cast<void>(ballast);
    chan.recv();
  });
}

/// Each of the two could wake the other one, but nobody them.
[[gnu::noinline]] void drop_pair() {
  const auto there = make_chan<int>();
  const auto back = make_chan<int>();
  weft::go({.name = "there"}, [there, back] {
    there.recv();
    back.send(1);
  });
  weft::go({.name = "back"}, [there, back] {
    back.recv();
    there.send(1);
  });
}

/// The handle is in the buffer of a channel that nobody can reach.
[[gnu::noinline]] void drop_channel_in_channel() {
  const auto inner = make_chan<int>();
  const auto outer = make_chan<Chan<int>>(1);
  outer.send(inner);
  weft::go({.name = "inner"}, [inner] { inner.recv(); });
  weft::go({.name = "outer"}, [outer] { outer.send(Chan<int>()); });
}

[[gnu::noinline]] void drop_nil() {
  weft::go({.name = "nil"}, [] { Chan<int>().recv(); });
  weft::go({.name = "no cases"}, [] { weft::select(); });
}

/// Its frame holds a timer's channel, but the timer has been stopped.
[[gnu::noinline]] void drop_stopped_timer() {
  weft::go({.name = "stopped timer"}, [] {
    weft::Timer timer(1h);
    timer.stop();
    timer.chan().recv();
  });
}

// A word somewhere may look like the address of one of them: so there are several of each.
constexpr int kSeveral = 16;

// Rules: LEAK-2, LEAK-4
TEST(LeakHintTest, WhoWaitsForWhatNobodyElseHasIsNamedWhileOthersLive) {
  // In a process of its own: see LeakHintKindTest.
  const auto child = test::in_child([] {
    Runtime runtime(RuntimeOptions{.processors = 2});
    runtime.run([&] {
      for (int i = 0; i < kSeveral; ++i) drop_receiver();
      test::eventually([&] { return runtime.stats().waiting == kSeveral; });
      for (const GoroutineInfo& info : weft::testing::leak_hints()) {
        const bool is_complete = contains(info.stack, "await_an_answer") &&
                                 contains(info.spawn_site, "drop_receiver") && info.waiting_for >= 0ns;
        std::printf("%s [%s] %s\n", info.name.c_str(), info.wait_reason.c_str(), is_complete ? "complete" : "not");
      }
    });
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  const std::size_t named = count_of(child.out, "receiver [chan receive] complete\n");
  EXPECT_GE(named, std::size_t{kSeveral} / 2) << child.out;
  EXPECT_EQ(named, count_of(child.out, "\n")) << child.out;
}

struct Kind {
  std::vector<std::string> names;  // of the goroutines that one call starts
  void (*drop)();
};

class LeakHintKindTest : public ::testing::TestWithParam<Kind> {};

// In a process of its own: in one that has run for a while many a freed block holds an old address of a channel.
TEST_P(LeakHintKindTest, IsFound) {
  const Kind& kind = GetParam();
  const auto child = test::in_child([&] {
    Runtime runtime(RuntimeOptions{.processors = 2});
    runtime.run([&] {
      for (int i = 0; i < kSeveral; ++i) kind.drop();
    });
    while (runtime.stats().waiting != kSeveral * kind.names.size()) std::this_thread::yield();
    // The first look leaves nothing that spoils the second one.
    for (const char* look : {"first", "second"}) {
      for (const GoroutineInfo& info : weft::testing::leak_hints()) std::printf("%s: %s\n", look, info.name.c_str());
    }
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  std::size_t lines = 0;
  for (const std::string look : {"first", "second"}) {
    for (const std::string& name : kind.names) {
      const std::size_t found = count_of(child.out, look + ": " + name + "\n");
      EXPECT_GE(found, std::size_t{kSeveral} / 2) << look << " " << name;
      lines += found;
    }
  }
  EXPECT_EQ(lines, count_of(child.out, "\n")) << "somebody else is named:\n" << child.out;
}

INSTANTIATE_TEST_SUITE_P(Of, LeakHintKindTest,
                         ::testing::Values(Kind{{"sender"}, drop_sender}, Kind{{"selecting"}, drop_selecting},
                                           Kind{{"sharded"}, drop_sharded}, Kind{{"big"}, drop_big},
                                           Kind{{"there", "back"}, drop_pair},
                                           Kind{{"inner", "outer"}, drop_channel_in_channel},
                                           Kind{{"nil", "no cases"}, drop_nil},
                                           Kind{{"stopped timer"}, drop_stopped_timer}),
                         [](const auto& kind) {
                           std::string name = kind.param.names.front();
                           std::replace(name.begin(), name.end(), ' ', '_');
                           return name;
                         });

TEST(LeakHintTest, ManyAreFoundAtOnce) {
  const int many = 20'000;
  Runtime runtime(RuntimeOptions{.processors = 2});
  const auto known = make_chan<int>();
  runtime.run([&] {
    for (int i = 0; i < many; ++i) drop_receiver();
    for (int i = 0; i < many; ++i) weft::go({.name = "known"}, [known] { known.recv(); });
  });
  while (runtime.stats().waiting != 2 * static_cast<std::uint64_t>(many)) std::this_thread::yield();
  const std::vector<GoroutineInfo> hints = weft::testing::leak_hints();
  // A word somewhere may look like an address of one of them.
  EXPECT_GE(hints.size(), static_cast<std::size_t>(many) * 9 / 10);
  for (const GoroutineInfo& info : hints) ASSERT_EQ(info.name, "receiver");
  known.close();
}

// ---- attacks: nobody may be named whom somebody can still wake ----

/// Runs `attack` on a goroutine; what it starts is ended by the returned function. No one is named meanwhile.
template <class Attack>
void expect_no_hint(const char* what, Attack attack) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.run([&] { attack(runtime); });
  EXPECT_TRUE(runtime.shutdown(1h).clean()) << what;
}

Chan<int> global_chan;
thread_local Chan<int> thread_chan;

TEST(LeakHintTest, AHandleInAnObjectOnTheHeapCounts) {
  expect_no_hint("heap", [](Runtime& runtime) {
    const auto box = std::make_unique<std::vector<Chan<int>>>();
    box->push_back(make_chan<int>());
    weft::go({.name = "receiver"}, [chan = box->front()] { chan.recv(); });
    await_parked(runtime, {"receiver"});
    EXPECT_EQ(leaked(), "");
    box->front().send(1);
  });
}

TEST(LeakHintTest, AHandleInAGlobalOrAThreadsVariableCounts) {
  global_chan = make_chan<int>();
  Runtime runtime(RuntimeOptions{.processors = 2});
  runtime.go({.name = "receiver"}, [] { Chan<int>(global_chan).recv(); });
  std::atomic<int> step{0};
  std::thread thread([&] {
    thread_chan = make_chan<int>();
    runtime.go({.name = "thread's"}, [chan = thread_chan] { chan.recv(); });
    step = 1;
    while (step != 2) std::this_thread::yield();
    thread_chan.send(1);
  });
  while (step != 1 || runtime.stats().waiting != 2) std::this_thread::yield();
  EXPECT_EQ(leaked(), "");
  step = 2;
  thread.join();
  global_chan.send(1);
  global_chan = nullptr;
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

// The only handle is in the frame of who waits. The references do not count, though they lead there.
TEST(LeakHintTest, ACaptureByReferenceCounts) {
  for (const bool is_asleep : {false, true}) {
    std::atomic<bool> may_send{false};
    expect_no_hint("reference", [&](Runtime& runtime) {
      weft::go({.name = "parent"}, [&may_send, is_asleep] {
        const auto chan = make_chan<int>();
        weft::go({.name = "child"}, [&chan, &may_send, is_asleep] {
          while (!may_send) is_asleep ? weft::sleep_for(1ms) : weft::yield();
          chan.send(1);
        });
        chan.recv();
      });
      await_parked(runtime, {"parent"});
      EXPECT_EQ(leaked(), "");
      may_send = true;
    });
  }
}

// As before, but the child has not started, so there is nothing but its closure, in the record or on the heap.
TEST(LeakHintTest, AClosureThatHasNotRunCounts) {
  Runtime runtime(RuntimeOptions{.processors = 1});
  runtime.run([&] {
    weft::go({.name = "parent"}, [] {
      const auto chan = make_chan<int>();
      weft::go([&chan] { chan.send(1); });
      chan.recv();
    });
    weft::go({.name = "big parent"}, [] {
      const auto chan = make_chan<int>();
      weft::go([&chan, ballast = std::array<char, 200>{}] {
        static_cast<void>(ballast);
        chan.send(1);
      });
      chan.recv();
    });
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(leaked(), "");
      weft::yield();
    }
  });
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

TEST(LeakHintTest, TimersCount) {
  expect_no_hint("timers", [](Runtime& runtime) {
    const auto end = make_chan<int>();
    weft::go({.name = "after"}, [end] { weft::select(weft::after(1h).on_recv(), end.on_recv()); });
    weft::go({.name = "bare after"}, [] { weft::after(300ms).recv(); });
    weft::go({.name = "timeout"}, [] { weft::select(make_chan<int>().on_recv(), weft::on_timeout(300ms)); });
    weft::go({.name = "timed form"}, [] { static_cast<void>(make_chan<int>().recv_for(300ms)); });
    weft::go({.name = "ticker"}, [] {
      weft::Ticker ticker(100ms);
      ticker.chan().recv();
      ticker.chan().recv();
    });
    await_parked(runtime, {"after"});
    EXPECT_EQ(leaked(), "");
    end.close();
  });
}

TEST(LeakHintTest, ContextsCount) {
  expect_no_hint("contexts", [](Runtime& runtime) {
    const auto [parent, cancel] = weft::with_cancel(weft::background());
    weft::go({.name = "select"}, [ctx = parent] {
      const auto nobodys = make_chan<int>();
      weft::select(nobodys.on_recv(), ctx.on_done());
    });
    weft::go({.name = "child"}, [ctx = parent] {
      const auto [child, cancel_child] = weft::with_cancel(ctx);
      weft::select(child.on_done(), make_chan<int>().on_recv());
    });
    weft::go({.name = "form"}, [ctx = parent] { static_cast<void>(make_chan<int>().recv(ctx)); });
    weft::go({.name = "deadline"}, [] {
      const auto [ctx, cancel_own] = weft::with_timeout(weft::background(), 300ms);
      weft::select(ctx.on_done(), make_chan<int>().on_recv());
    });
    await_parked(runtime, {"select", "child", "form", "deadline"});
    EXPECT_EQ(leaked(), "");
    cancel();
  });
}

TEST(LeakHintTest, SelectorsCount) {
  expect_no_hint("selectors", [](Runtime& runtime) {
    const auto known = make_chan<int>();
    weft::go({.name = "waits"}, [known] {
      weft::Selector selector;
      selector.add(make_chan<int>().on_recv());
      selector.add(known.on_recv());
      selector.select();
    });
    // Its handle is in the cases of somebody else's Selector only.
    weft::Selector mine;
    auto chan = make_chan<int>();
    weft::go({.name = "receiver"}, [chan] { chan.recv(); });
    mine.add_send(chan, 1);
    chan = nullptr;
    await_parked(runtime, {"waits", "receiver"});
    EXPECT_EQ(leaked(), "");
    mine.select();
    known.close();
  });
}

// Who waits for a known channel and has the handle of an unknown one will do something with it.
TEST(LeakHintTest, WhoIsReachableMakesWhatItKnowsReachable) {
  expect_no_hint("chain", [](Runtime& runtime) {
    Chan<int> next = make_chan<int>();
    const Chan<int> first = next;
    for (int i = 0; i < 50; ++i) {
      const auto fresh = make_chan<int>();
      weft::go({.name = "link " + std::to_string(i)}, [in = next, out = fresh] {
        in.recv();
        out.close();
      });
      next = fresh;
    }
    await_parked(runtime, {"link 0", "link 20", "link 49"});
    next = nullptr;
    EXPECT_EQ(leaked(), "");
    first.close();
  });
}

TEST(LeakHintTest, AChannelInTheBufferOfAKnownOneCounts) {
  expect_no_hint("buffer", [](Runtime& runtime) {
    const auto post = make_chan<Chan<int>>(1);
    auto inner = make_chan<int>();
    weft::go({.name = "inner"}, [inner] { inner.recv(); });
    post.send(std::move(inner));
    await_parked(runtime, {"inner"});
    EXPECT_EQ(leaked(), "");
    post.recv()->send(1);
  });
}

TEST(LeakHintTest, LocalsOfAGoroutineCount) {
  expect_no_hint("locals", [](Runtime& runtime) {
    static weft::GoroutineLocal<Chan<int>> local;
    const auto end = make_chan<int>();
    weft::go({.name = "holder"}, [end] {
      local.get() = make_chan<int>();
      weft::go({.name = "receiver"}, [chan = local.get()] { chan.recv(); });
      end.recv();
      local.get().send(1);
    });
    await_parked(runtime, {"receiver", "holder"});
    EXPECT_EQ(leaked(), "");
    end.close();
  });
}

/// Keeps a handle's owner in a register, as far as that can be asked for.
[[gnu::noinline]] void hold_in_a_register(const Chan<int>* chan, const std::atomic<bool>& is_over,
                                          std::atomic<std::uint64_t>& turns) {
  const Chan<int>* kept = chan;
  std::uint64_t n = 0;
  while (!is_over.load(std::memory_order_relaxed)) {
    asm volatile("" : "+r"(kept));
    turns.store(++n, std::memory_order_relaxed);
  }
  kept->send(1);
}

TEST(LeakHintTest, ARegisterOfARunningGoroutineOrThreadCounts) {
  Runtime runtime(RuntimeOptions{.processors = 2});
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> turns{0};
  runtime.go({.name = "parent"}, [&] {
    const auto chan = make_chan<int>();
    weft::go(
        [at = &chan, &is_over, &turns]() mutable { hold_in_a_register(std::exchange(at, nullptr), is_over, turns); });
    chan.recv();
  });
  while (turns == 0 || runtime.stats().waiting != 1) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(leaked(), "");
  is_over = true;
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

// The handle is always somewhere, but never for long: in hands that move it from the heap to a frame, into a channel, to
// another goroutine.
TEST(LeakHintTest, AHandleOnTheMoveCounts) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<bool> is_over{false};
  runtime.run([&] {
    WaitGroup group;
    for (int g = 0; g < 4; ++g) {
      group.go([&, g] {
        auto chan = make_chan<int>();
        weft::go({.name = "receiver"}, [chan] { chan.recv(); });
        const auto post = make_chan<Chan<int>>(static_cast<std::size_t>(g % 2));
        std::vector<std::unique_ptr<Chan<int>>> boxes(64);
        test::Lcg random(static_cast<std::uint64_t>(g) + 1);
        std::size_t at = random.below(boxes.size());
        boxes[at] = std::make_unique<Chan<int>>(std::move(chan));
        while (!is_over) {
          const std::size_t to = random.below(boxes.size());
          if (random.below(50) == 0) {
            weft::go([&post, box = std::move(boxes[at])] { post.send(std::move(*box)); });
            boxes[to] = std::make_unique<Chan<int>>(*post.recv());
          } else {
            auto box = std::make_unique<Chan<int>>(std::move(*boxes[at]));
            boxes[at].reset();
            boxes[to] = std::move(box);
          }
          at = to;
        }
        boxes[at]->send(1);
      });
    }
    while (runtime.stats().waiting < 4) weft::yield();
    for (int i = 0; i < test::rounds(50); ++i) {
      const std::string names = leaked();
      if (!names.empty()) {
        ADD_FAILURE() << "named in look " << i << ": " << names;
        break;
      }
    }
    is_over = true;
    group.wait();
  });
  EXPECT_TRUE(runtime.shutdown(1h).clean());
}

TEST(LeakHintTest, OfAllRuntimesAndFromAThread) {
  // In a process of its own: see LeakHintKindTest.
  const auto child = test::in_child([] {
    Runtime one(RuntimeOptions{.processors = 1});
    Runtime two(RuntimeOptions{.processors = 1});
    const auto known = make_chan<int>();
    one.run([&] {
      for (int i = 0; i < kSeveral; ++i) drop_receiver();
      weft::go({.name = "known"}, [known] { known.recv(); });
    });
    two.run([] {
      for (int i = 0; i < kSeveral; ++i) drop_sender();
    });
    while (one.stats().waiting != kSeveral + 1 || two.stats().waiting != kSeveral) std::this_thread::yield();
    std::puts(leaked().c_str());
    known.close();
  });
  EXPECT_EQ(child.exit_code, 0) << child.err;
  EXPECT_TRUE(contains(child.out, "receiver") && contains(child.out, "sender")) << child.out;
  EXPECT_FALSE(contains(child.out, "known")) << child.out;
}

TEST(LeakHintTest, AThreadThatCannotBeStoppedMakesItSaySo) {
  std::atomic<int> step{0};
  std::thread thread([&] {
    sigset_t all;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
    step = 1;
    while (step != 2) std::this_thread::yield();
  });
  while (step != 1) std::this_thread::yield();
  Runtime runtime(RuntimeOptions{.processors = 2});
  EXPECT_THROW(weft::testing::leak_hints(), std::system_error);
  step = 2;
  thread.join();
  EXPECT_EQ(leaked(), "");  // and everybody goes on
  runtime.run([] {});
}

// Threads come and go, are in the allocator, in a switch, asleep: each look ends, and everybody goes on.
TEST(LeakHintTest, MayLookWhileEverythingMoves) {
  Runtime runtime(RuntimeOptions{.processors = 4});
  std::atomic<bool> is_over{false};
  std::thread starter([&] {
    while (!is_over) std::thread([] { std::make_unique<int>(1); }).join();
  });
  runtime.run([&] {
    drop_receiver();
    await_parked(runtime, {"receiver"});
    WaitGroup group;
    for (int g = 0; g < 4; ++g) {
      group.go([&] {
        const auto chan = make_chan<int>();
        while (!is_over) {
          for (int i = 0; i < 100; ++i)
            weft::go({.name = "a name that does not fit into the string"}, [=] { chan.send(1); });
          for (int i = 0; i < 100; ++i) weft::select(chan.on_recv(), weft::on_timeout(1h));
        }
      });
    }
    int looks = 0;
    for (int i = 0; i < test::rounds(40); ++i) {
      try {
        for (const GoroutineInfo& info : weft::testing::leak_hints()) EXPECT_EQ(info.name, "receiver");
        ++looks;
      } catch (const std::system_error& error) {
        // On a machine that is busy enough.
        EXPECT_EQ(error.code(), std::errc::timed_out);
      }
    }
    EXPECT_GT(looks, 0);
    is_over = true;
    group.wait();
  });
  starter.join();
}

}  // namespace

#pragma once

// For tests of concurrent code, whatever the test framework: virtual time, order without sleeping, a check for leaks.

#include <cstdint>
#include <exception>
#include <utility>
#include <vector>

#include "weft/detail/spawn.hpp"
#include "weft/runtime.hpp"
#include "weft/time.hpp"

namespace weft {
namespace detail {

class Bubble;

/// testing::run, compiled half.
class BubbleRun {
 public:
  BubbleRun();
  ~BubbleRun();
  BubbleRun(const BubbleRun&) = delete;
  BubbleRun& operator=(const BubbleRun&) = delete;

  template <class Main>
  void start(Main& main) {
    auto call = [&main] { main(); };
    Task* task = prepare_closure(nullptr, call, GoOptions{.name = "bubble"});
    join(task);
    commit_spawn(task, &run_and_destroy<decltype(call)>);
  }
  /// By the goroutine that start() started, at its end.
  void main_ended() noexcept;
  void await_end();
  /// Throws Panic if the bubble ended in a deadlock.
  void check() const;

 private:
  void join(Task* task) noexcept;
  Bubble* bubble_;
  const char* deadlock_ = nullptr;
};

}  // namespace detail

namespace testing {

/// Runs body in a bubble: on a goroutine of its own, whose clock, and that of every goroutine started from it, is the
/// bubble's. That clock begins at 2000-01-01T00:00:00Z and stands still while any goroutine of the bubble can run; when
/// all are durably blocked it jumps to the next deadline. So a test that sleeps for an hour takes no time, and what is
/// due at a certain time happens at exactly that time.
///
/// Durably blocked is who waits for a channel made in the bubble, for the nil channel, in a select of only such cases,
/// for a WaitGroup whose add() was called in the bubble, in sleep_for or for a timer of the bubble. A wait for a Mutex, or
/// for a channel from outside, is not durable: the world outside may end it.
///
/// Blocks: until every goroutine of the bubble has ended. Safe from: goroutines and threads, outside bubbles.
/// Throws: what body throws; Panic "deadlock: ..." when no goroutine of the bubble can ever go on (they are printed to
/// stderr and abandoned: their destructors do not run); Panic from inside another bubble.
/// Using a channel or timer of the bubble from outside throws Panic. Go: testing/synctest.Test.
template <class F>
void run(F&& body) {
  detail::BubbleRun bubble;
  detail::Outcome<void> outcome;
  auto main = [&] {
    try {
      outcome.run(std::forward<F>(body));
    } catch (const detail::GoroutineExit&) {
      bubble.main_ended();
      throw;
    } catch (...) {
      outcome.fail(std::current_exception());
    }
    bubble.main_ended();
  };
  bubble.start(main);
  bubble.await_end();
  outcome.get();
  bubble.check();
}

/// In a bubble: blocks until every other goroutine of the bubble is durably blocked, or has ended. What they did before
/// happens before the return. Goes before the clock: no time passes.
/// Throws: Panic outside a bubble, or while another goroutine of the bubble is in wait(). Go: testing/synctest.Wait.
void wait();

/// Clock::now(): in a bubble, the bubble's time.
inline TimePoint now() noexcept { return Clock::now(); }

/// Blocks until the goroutine is parked or has ended. The goroutine must have been started: its number comes from
/// this_goroutine::id(). Works from goroutines (which yield meanwhile) and from threads.
void wait_parked(std::uint64_t goroutine_id);

/// Throws Panic, with each one's name, state and spawn site, if goroutines are left: of the caller's bubble if it is in
/// one, else of the calling goroutine's runtime, of the default runtime elsewhere. The caller itself does not count, nor
/// who waits in run(). Those about to end get half a second for it.
void verify_no_leaks();

/// Goroutines that wait for a channel (or in a select of channels) that nobody can reach any more but goroutines in the same
/// position: so nobody will ever wake them, though the program goes on. Also those that wait for a nil channel, or in a select
/// without cases. Of all runtimes of the process; with name, reason, spawn site, stack, and since when.
///
/// All threads of the process are stopped, and its memory is searched for handles of such channels, and for addresses in the
/// frames and closures of such goroutines. So it names nobody that is still known to somebody else, in whatever way (a handle in
/// an object, a capture by reference, a timer, a Context), unless that hides the address: a packed structure, an encoded pointer,
/// a foreign process. It is a hint for all that, and only what it says counts, not its silence: any word that looks like the address
/// saves a goroutine, as one left in freed memory or in a frame's unused part may; and so does a handle in any block of the
/// heap, even one that only the goroutine itself knows (a Selector, a vector of channels).
///
/// Blocks: the calling thread and, at its end, all others; system calls of theirs may end early with EINTR, as in a dump.
/// Safe from: goroutines and threads; one call at a time. Throws: std::system_error if a thread cannot be stopped since it blocks
/// signals (always under the thread sanitizer), or /proc cannot be read; std::bad_alloc.
/// Cost: everybody stands still for about a second per GB of memory in use, and for 10 microseconds per goroutine. For tests
/// and for a program that is ill. Go: the goroutineleak profile.
std::vector<GoroutineInfo> leak_hints();

}  // namespace testing
}  // namespace weft

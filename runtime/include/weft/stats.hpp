#pragma once

// Counters of a runtime, and what is known about one goroutine.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weft {

/// A snapshot: each figure is exact at some instant during the call, not all at the same one.
struct Stats {
  std::uint64_t live = 0;      ///< goroutines started with go() that have not ended (Go: runtime.NumGoroutine)
  std::uint64_t runnable = 0;  ///< ready to run, not running
  std::uint64_t running = 0;   ///< on a thread now
  std::uint64_t waiting = 0;   ///< parked
  std::uint64_t spawned = 0;   ///< ever started
  std::uint64_t parks = 0;
  std::uint64_t steals = 0;    ///< goroutines taken from another processor's queue
  std::uint64_t wakes = 0;     ///< threads woken because work had come
  std::uint64_t handoffs = 0;  ///< processors handed from one thread to another
  unsigned processors = 0;
  unsigned threads = 0;
  std::size_t stack_bytes = 0;  ///< address space of stacks in use; committed by touch only
};

struct GoroutineInfo {
  std::uint64_t id = 0;
  std::string name;
  std::string state;        ///< "running", "runnable" or "waiting"
  std::string wait_reason;  ///< Go's words: "chan receive", "select", "sync.Mutex.Lock" ...
  std::string spawn_site;   ///< function (or address) that called go()
  /// Its functions, innermost first, a line for each: "function+0x12 (file+0x345)", the second part for addr2line. Empty if
  /// it has not started, or if it ran on a thread that did not answer.
  std::string stack;
  /// Since it parked, if it waits. May be too long by the time that the goroutines before it ran on its thread without
  /// a look at the clock: some 20 microseconds, but for goroutines that compute for long.
  std::chrono::nanoseconds waiting_for{0};
};

/// How deep the goroutines of one spawn site went, of those that have ended.
struct StackUse {
  std::string spawn_site;
  std::uint64_t goroutines = 0;
  std::size_t most_bytes = 0;  ///< of the deepest one, its first 2 KiB or so are not told apart
  std::size_t stack_size = 0;  ///< of the largest stack that one of them had
};

/// Of the calling goroutine's runtime, of the default one elsewhere.
Stats stats();
/// Likewise; the deepest first. Empty without RuntimeOptions::measure_stacks.
std::vector<StackUse> stack_use();

/// Writes down all goroutines of all runtimes: number, name, what each waits for and since when, its stack and who started
/// it. Goroutines that wait alike share an entry. docs/diagnosing.md tells how to read it.
/// Blocks: the calling thread, never parks. Goroutines go on meanwhile; one that is to run while its stack is looked at
/// waits for some microseconds. Threads that run goroutines are interrupted by a signal (a free real-time one) whose handler
/// restarts system calls; those that cannot be restarted (sleep, poll) may end early with EINTR.
/// Safe from: goroutines and threads, not from signal handlers (dump_on_signal is for those). Throws: std::bad_alloc.
/// Cost: some microseconds a goroutine; of very many that wait alike, only some ten thousand stacks are looked at.
/// Go: pprof.Lookup("goroutine").WriteTo(fd, 2).
void dump_goroutines(int fd);

/// From now on `signal` (SIGQUIT, which Ctrl-\ sends) makes the process write dump_goroutines() to standard error, and go on.
/// The signal's handler only wakes a thread that is kept for this, so it may come at any time, and is served while every
/// goroutine computes. The thread does not keep a deadlock from being reported.
/// Replaces the handler that the signal had. May be called again, for other signals too.
/// Safe from: goroutines and threads. Throws: std::system_error (no such signal, no thread to be had).
/// Go: what every program does on SIGQUIT, but that it ends then.
void dump_on_signal();
void dump_on_signal(int signal);

}  // namespace weft

#pragma once

// Counters of a runtime, and what is known about one goroutine.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// So many goroutines wait for the same kind of thing.
struct WaitCount {
  std::string_view reason;  ///< Go's words: "chan receive", "select", "sync.Mutex.Lock" ...
  std::uint64_t count = 0;
};

/// A snapshot: each figure is exact at some instant during the call, not all at the same one.
struct Stats {
  std::uint64_t live = 0;      ///< goroutines started with go() that have not ended (Go: runtime.NumGoroutine)
  std::uint64_t runnable = 0;  ///< ready to run, not running
  std::uint64_t running = 0;   ///< on a thread now
  std::uint64_t waiting = 0;   ///< parked
  /// The same by what they wait for, the most frequent first; their sum is `waiting`.
  std::vector<WaitCount> waiting_by_reason;
  std::uint64_t spawned = 0;  ///< ever started
  std::uint64_t parks = 0;
  std::uint64_t steals = 0;    ///< goroutines taken from another processor's queue
  std::uint64_t wakes = 0;     ///< threads woken because work had come
  std::uint64_t handoffs = 0;  ///< processors handed from one thread to another
  unsigned processors = 0;
  unsigned threads = 0;
  /// Of the threads, those whose processor was taken since their goroutine computes for long or blocks: it runs on without.
  unsigned detached = 0;
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

/// A goroutine that waits for a lock.
struct LockWait {
  GoroutineInfo goroutine;
  const void* lock = nullptr;  ///< the Mutex or RWMutex
};

/// Of the calling goroutine's runtime, of the default one elsewhere.
/// Cost: a look at each goroutine's record, 10 to 200 ns each, since of very many no cache holds
/// them. Throws: std::bad_alloc.
Stats stats();
/// Likewise: bytes of memory that stacks have now, of goroutines that live and of those kept for later ones, their control
/// blocks included. What has been swapped out does not count.
/// Cost: system calls, half a microsecond for each stack ever used: not for every second. Throws: std::bad_alloc. Go:
/// MemStats.StackInuse.
std::size_t resident_stack_bytes();
/// Likewise; the deepest first. Empty without RuntimeOptions::measure_stacks.
std::vector<StackUse> stack_use();

/// Goroutines that wait for each other's locks, whatever else still runs: in each list, every goroutine waits (without a time-out
/// or Context) for a Mutex, or an RWMutex's writer, that the next one holds, and the last for one that the first holds. A
/// goroutine that locks the same one twice is a list by itself. All of a list are stuck at one instant of the call, so for ever,
/// unless another goroutine unlocks in their place.
/// Finds nothing without RuntimeOptions::track_lock_owners, nor what leads through an RWMutex's readers or through threads:
/// those leave no names. Dumps and deadlock reports say the same, once that is on.
/// Blocks: as dump_goroutines; goroutines that wait for locks, and those that begin or end just then, wait until the call has seen
/// them. Safe from: goroutines and threads. Throws: std::bad_alloc. Cost: some 100 ns a goroutine.
std::vector<std::vector<LockWait>> find_lock_cycles();

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

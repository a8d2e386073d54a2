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
  std::string stack;
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

}  // namespace weft

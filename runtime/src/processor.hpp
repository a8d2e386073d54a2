#pragma once

// "P": the right to run goroutines, and what whoever has it owns: queues, timers, caches, random state, counters.
//
// Exactly one worker holds a processor, or the idle list does; handing it over is a pointer move (under idle's lock, which
// orders the owner-only fields). Others may read the atomics and call the thief's side of the queues.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fiber_pool.hpp"
#include "fresh_deque.hpp"
#include "latency_counts.hpp"
#include "processor_count.hpp"
#include "random.hpp"
#include "run_queue.hpp"
#include "task.hpp"
#include "timer_heap.hpp"
#include "trace_ring.hpp"
#include "weft/detail/platform.hpp"

namespace weft::detail {

struct Worker;

/// Written by one thread at a time, read by any.
class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    // release [counter]: who sees a goroutine counted as ended sees it counted as started (Scheduler::live).
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_release);  // owner only
  }
  [[nodiscard]] std::uint64_t get() const noexcept { return value_.load(std::memory_order_acquire); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Why picking, making ready and starting take the long way on a processor: bits of Processor::attention, so that all of them
/// together cost the short way one load. relaxed: each is looked at again.
struct Attention {
  static constexpr std::uint8_t kCalled = 1;  // somebody wants the worker back on its own stack
  static constexpr std::uint8_t kTraced = 2;  // weft/trace.hpp
  static constexpr std::uint8_t kTimed = 4;   // RuntimeOptions::measure_latency
  static constexpr std::uint8_t kChaos = 8;
  static constexpr std::uint8_t kNotesTimes = kTraced | kTimed;
};

/// Where goroutines wait long: each has its turn (Worker::take_in_turn).
enum class Turn : std::uint8_t { kGlobal, kRing, kOldest, kOverflown };
inline constexpr unsigned kTurns = 4;

/// What the monitor has last seen of a processor.
struct Seen {
  static constexpr std::int64_t kNotRead = -1;
  Worker* worker = nullptr;
  std::uint32_t picks = 0;
  std::uint32_t blockings = 0;
  std::int64_t since_ns = 0;
  std::int64_t cpu_ns = kNotRead;
};

struct alignas(kCacheLine) Processor {
  /// Throws std::bad_alloc.
  Processor(unsigned number, std::uint64_t seed, bool measures_latency)
      : index(number), random(seed), latency(measures_latency ? std::make_unique<LatencyCounts>() : nullptr) {}

  const unsigned index;
  std::atomic<bool> is_away{false};  // more than are wanted; written under idle's lock, a hint for timers
  std::atomic<Worker*> holder{
      nullptr};  // written with the hand-over; the monitor reads it as a hint, and then makes sure

  // Owner only, on every pick.
  std::uint32_t countdown = 1;  // picks until the next look at clock, inject queue and old goroutines
  std::uint32_t interval = 61;  // what countdown is reset to: fewer picks when each takes long
  std::int64_t last_look_ns = 0;
  // The time, for reports: as old as the last look or search. relaxed: whoever knows the time may write it.
  std::atomic<std::int64_t> clock_ns{0};
  std::int64_t slice_start_ns = 0;         // since when `next` has been taken without a break
  bool fresh_had_turn = false;             // an unstarted goroutine was taken since the last fair look
  std::atomic<std::uint8_t> attention{0};  // of Attention's bits; anybody may set one
  std::atomic<std::uint32_t> picks{0};     // written by the owner; a thief compares two readings
  NextSlot next;
  // How often in a row thieves have seen that what is alone in `ready` is soon taken from there. A hint.
  std::atomic<std::uint32_t> brisk_looks{0};
  static constexpr std::uint32_t kFirstBriskLimit = 8;
  std::atomic<std::uint32_t> brisk_limit{kFirstBriskLimit};  // how many of those until it is taken all the same. A hint

  // Owner only, on every look.
  std::int64_t last_fair_ns = 0;     // when what waits longest had its turn last
  Turn turn = Turn::kGlobal;         // whose it was last
  std::uint32_t ring_taken = 0;      // how many `ready` had given by then
  std::int64_t last_oldest_ns = 0;   // when an unstarted goroutine was taken because it was old
  std::int64_t oldest_since_ns = 0;  // when the first of them in a row was
  std::uint64_t spawned_before_oldest = 0;
  std::uint32_t oldest_taken = 0;      // how many of those the last look took
  std::uint32_t picks_since_fair = 0;  // at least

  // Owner only.
  int stack_credits = 0;      // goroutines that may be started before stacks must be reserved again
  std::uint64_t next_id = 0;  // goroutine numbers [next_id, last_id) are this processor's
  std::uint64_t last_id = 0;
  TaskCache tasks;
  FiberCache fibers;
  Random random;
  std::uint32_t seen_picks = 0;    // by the thief in turn (guarded by being the only napping searcher): see age rule
  Processor* idle_next = nullptr;  // guarded by idle's lock

  Seen seen;  // the monitor's

  Counter spawned, finished, parks, steals;

  TraceTrack trace;                              // the ring: owner only; the track: the tracer's
  bool runs_alarm = false;                       // owner only: what is made ready now is so by a timer, for the trace
  const std::unique_ptr<LatencyCounts> latency;  // if they are measured; owner only, but for readers

  RunQueue ready;
  FreshDeque fresh;
  TimerHeap timers;

  void call() noexcept { attention.fetch_or(Attention::kCalled, std::memory_order_seq_cst); }
  [[nodiscard]] bool is(std::uint8_t any_of) const noexcept {
    return (attention.load(std::memory_order_relaxed) & any_of) != 0;
  }
  [[nodiscard]] bool has_local_work() const noexcept { return !next.empty() || ready.size() != 0 || fresh.size() != 0; }
};

/// All that a runtime has had. They become more, never fewer: one that is not wanted any more is put away (idle.hpp).
class ProcessorTable {
 public:
  /// One caller at a time. Throws std::bad_alloc.
  Processor& add(std::uint64_t seed, bool measures_latency) {
    const std::size_t index = size();
    slots_.at(index) = std::make_unique<Processor>(static_cast<unsigned>(index), seed, measures_latency);
    // release [processors.size]: publishes the processor.
    size_.store(index + 1, std::memory_order_release);
    return *slots_[index];
  }
  [[nodiscard]] std::size_t size() const noexcept { return size_.load(std::memory_order_acquire); }
  [[nodiscard]] const std::unique_ptr<Processor>* begin() const noexcept { return slots_.data(); }
  [[nodiscard]] const std::unique_ptr<Processor>* end() const noexcept { return slots_.data() + size(); }
  [[nodiscard]] const std::unique_ptr<Processor>& front() const noexcept { return slots_.front(); }
  [[nodiscard]] const std::unique_ptr<Processor>& operator[](std::size_t index) const noexcept { return slots_[index]; }

 private:
  std::array<std::unique_ptr<Processor>, kMostProcessors> slots_;
  std::atomic<std::size_t> size_{0};
};

}  // namespace weft::detail

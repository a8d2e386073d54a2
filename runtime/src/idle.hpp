#pragma once

// Who sleeps, who searches, whom to wake, who keeps the time.
//
// Words. A processor is *free* when no worker holds it. A worker *searches* when it holds a processor and looks for work
// on others' queues (it may nap for some microseconds between looks); it *sleeps* when it holds none.
//
// I3: if a runnable fiber exists and a processor is free, some worker is searching or has been woken.
//
// Submit side:  S1 make the work visible (queue push)    S2 light_barrier    S3 load free_, searching_
//               S4 if free_ > 0 and searching_ == 0: wake one worker, which starts as a searcher.
// Sleep side:   Z1 put processor on the free list (free_ + 1) and itself on the sleepers' list, under lock_
//               Z2 if it was searching: searching_ - 1   Z3 heavy_barrier   Z4 look at every queue again   Z5 sleep
// Argument. Take a submission and the last worker that went through Z2 or Z1 around it. By the barrier pair either S3
// sees Z1 and Z2, so S4 wakes somebody; or Z4 sees S1, so the worker takes a processor back and goes on searching. If S3
// sees searching_ > 0, that searcher will pass either through `found` or through Z1-Z4. In the second case Z4 sees S1. In
// the first it may run something else than the submitted work: so the last searcher that finds work wakes the next one
// (leave_search returns true), which then stands where it stood.
//
// Time keeper. One sleeper sleeps only until the earliest deadline of all processors. K1 it publishes keeper_target_,
// K2 heavy_barrier, K3 reads the deadlines. Arming: A1 publish the deadline, A2 light_barrier, A3 read keeper_target_ and
// poke the keeper if it sleeps longer. So either A3 sees K1 or K3 sees A1. A free processor's timers are thus always
// covered: by the keeper, or by a searcher, which looks at all timers, or by busy workers of which the first to find
// nothing becomes one of the two.
//
// How many. A processor that is not wanted any more (set_processors) is put away, on a list of its own, when it is free or becomes
// so: it is then as if it had never been, but for its timers, which everybody's look includes. Until then it is *surplus*; busy
// workers look whether there is one when they come to their own stack, and sleep if so.
//
// Pinned goroutines. A worker whose goroutine is pinned hands its processor to a sleeper when that goroutine parks, and is
// *set aside*: on no list, until somebody picks the goroutine and hands it a processor in turn. Each hand-over is one
// critical section of lock_ in which one worker stops holding a processor and another one starts: it is never free, and
// neither free_ nor searching_ changes, so to I3 the two workers are one. (If the sleeper keeps the time it starts as a
// searcher: who searches looks at all timers, and who stops searching sees to it that somebody keeps them.)
//   P1 There usually is a sleeper to hand a processor to. The runtime has at least as many threads as processors and pinned
//      goroutines (Scheduler::pin). So those whose threads are not pinned are at least as many as processors; each of them
//      holds one, is on the sleepers' list (a hand-over changes the two together, and a thread that starts without a
//      processor is on the list before it counts), or is detached (monitor.hpp). Only if there are detached ones a pinned worker
//      may find nobody: then the processor is freed like that of a worker that goes to sleep.
//   P2 A goroutine may be picked before its worker is set aside (its wait ends as soon as it is committed). Then
//      is_recalled tells the worker, which is on its way to hand over, to keep its processor and to go on.

#include <atomic>
#include <cstdint>

#include "barrier.hpp"
#include "processor.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/spinlock.hpp"

namespace weft::detail {

struct Worker;
struct Runnable;

class Idle {
 public:
  /// A worker that is to be woken, with the processor it gets. No processor: nothing to do. No worker: start a thread.
  struct Wake {
    Processor* processor = nullptr;
    Worker* worker = nullptr;
  };

  // --- submit side ---

  /// S2, S3. Any thread.
  [[nodiscard]] bool should_wake() const noexcept {
    light_barrier();
    // relaxed: ordered by the barriers (see above).
    return free_.load(std::memory_order_relaxed) != 0 && searching_.load(std::memory_order_relaxed) == 0;
  }
  /// S4. The woken worker counts as searching from now on.
  Wake claim_wake() noexcept;

  // --- search ---

  /// False: enough others search.
  bool try_start_search(unsigned processors) noexcept;
  void start_search() noexcept { searching_.fetch_add(1, std::memory_order_seq_cst); }
  /// True: it was the last one, and somebody else could search: wake a worker (claim_wake) if it found work.
  [[nodiscard]] bool leave_search() noexcept {
    // seq_cst: Z2; in the total order with S3's reads by way of heavy_barrier.
    return searching_.fetch_sub(1, std::memory_order_seq_cst) == 1 && free_.load(std::memory_order_relaxed) != 0;
  }

  // --- sleep side ---

  /// Z1. The processor is free, the worker asleep (in the sense that it may be woken).
  void go_to_sleep(Worker& worker, Processor& processor) noexcept;
  /// A worker on the sleepers' list that has found work or whose time has come takes a processor, if one is free and
  /// nobody has woken it meanwhile. It then counts as searching.
  Processor* get_up(Worker& worker) noexcept;
  [[nodiscard]] bool has_sleepers() noexcept;
  [[nodiscard]] bool is_asleep(Worker& worker) noexcept;
  /// Takes the worker off the lists for good. False: somebody is just waking it.
  bool remove(Worker& worker) noexcept;
  /// Puts a processor on the free list that no worker took, or that was taken from one.
  void give_back(Processor& processor) noexcept;
  /// A worker whose processor was taken, and that has a goroutine to go on with: takes a free one. False: there is none.
  bool take_free_for(Worker& worker) noexcept;
  /// To be unparked, so that it looks at everything again; nullptr: nobody sleeps.
  Worker* any_sleeper() noexcept;

  // --- hand-over for pinned goroutines ---

  enum class HandOver { kDone, kRecalled, kNobody };
  struct HandOverResult {
    HandOver outcome;
    Worker* to;  // unpark it
  };
  /// The worker is set aside; a sleeper gets its processor, and `first` to run first (nullptr: whatever it finds).
  HandOverResult set_aside(Worker& worker, Runnable* first) noexcept;
  /// The same without a sleeper: kDone, the processor is free; or kRecalled.
  HandOver set_aside_freeing(Worker& worker) noexcept;
  /// The same for a worker without a processor. True: its goroutine was picked already, by somebody who counted on this
  /// worker's having one.
  [[nodiscard]] bool set_aside_detached(Worker& worker) noexcept;
  /// The goroutine of `own` was picked by `picker`. True: the picker's processor is own's, who is to be unparked; the
  /// picker is on the sleepers' list. False: it goes on (P2).
  bool recall(Worker& own, Worker& picker) noexcept;
  [[nodiscard]] bool is_set_aside(Worker& worker) noexcept;
  /// A thread that was started to be spare.
  void add_sleeper(Worker& worker) noexcept;

  // --- time keeper ---

  /// Before heavy_barrier: announces `worker` as keeper unless there is one.
  void offer_keeper(Worker& worker) noexcept;
  /// After it: the worker will wake at `deadline`; it takes the role over if that is earlier than the keeper's.
  void keep_time(Worker& worker, std::int64_t deadline) noexcept;
  /// A keeper that will not wake at any deadline.
  void resign(Worker& worker) noexcept;
  /// A deadline was set. Returns the worker to unpark, if the keeper would sleep past it.
  Worker* keeper_to_poke(std::int64_t deadline) noexcept {
    light_barrier();
    if (deadline >= keeper_target_.load(std::memory_order_relaxed)) [[likely]]
      return nullptr;
    return keeper_to_poke_slow(deadline);
  }

  // --- how many ---

  /// Processors that are not put away.
  [[nodiscard]] unsigned in_use() const noexcept { return in_use_.load(std::memory_order_seq_cst); }
  [[nodiscard]] bool has_away() const noexcept { return away_.load(std::memory_order_relaxed) != nullptr; }
  /// More are in use than are wanted. relaxed: looked at again by whoever is asked for attention.
  [[nodiscard]] bool has_surplus() const noexcept { return surplus_.load(std::memory_order_relaxed) != 0; }
  /// Returns how many are missing: to be made, and given to add().
  unsigned resize(unsigned wanted) noexcept;
  /// A new one. `is_free`: nobody holds it yet.
  void add(Processor& processor, bool is_free) noexcept;

  [[nodiscard]] unsigned free_processors() const noexcept { return free_.load(std::memory_order_seq_cst); }
  /// How often a processor has left the free list: two equal readings mean that none did in between.
  [[nodiscard]] std::uint64_t departures() const noexcept { return departures_.load(std::memory_order_seq_cst); }
  [[nodiscard]] unsigned searching() const noexcept { return searching_.load(std::memory_order_seq_cst); }

 private:
  Processor* take_free() noexcept;
  void put_free(Processor& processor) noexcept;
  void put_away(Processor& processor) noexcept;
  Worker* keeper_to_poke_slow(std::int64_t deadline) noexcept;
  bool unlink(Worker& worker) noexcept;
  void link(Worker& worker) noexcept;
  void resign_keeper(Worker& worker) noexcept;

  alignas(kCacheLine) std::atomic<unsigned> free_{0};  // written under lock_
  std::atomic<unsigned> searching_{0};
  std::atomic<std::int64_t> keeper_target_{INT64_MIN};  // written under lock_; INT64_MIN: nobody needs to be told

  std::atomic<unsigned> in_use_{0};        // written under lock_
  std::atomic<unsigned> surplus_{0};       // written under lock_
  std::atomic<Processor*> away_{nullptr};  // list, written under lock_

  alignas(kCacheLine) Spinlock lock_;
  std::atomic<std::uint64_t> departures_{0};  // written under lock_
  Processor* free_list_ = nullptr;            // guarded by lock_
  Worker* sleepers_ = nullptr;                // guarded by lock_; newest first: its caches are warmest
  Worker* keeper_ = nullptr;                  // guarded by lock_
};

}  // namespace weft::detail

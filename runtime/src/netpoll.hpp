#pragma once

// Who waits for files, and who looks whether they are ready. There is one poller for the process, made when the first file
// is opened; programs that open none pay one load where a worker looks around.
//
// Who polls. Workers look without waiting when they look around (a search, every so often between goroutines), and the
// monitor does if nobody has for some time. A worker that sleeps and keeps the time sleeps in the poller instead of on its
// futex, if nobody else does: N1 enter()  N2 sleep there  N3 leave().
// Argument that somebody polls whenever nobody is busy: the last worker to sleep offers itself as keeper (idle.hpp), and either
// enters, or somebody else of this or another runtime is in. Who leaves for work counts as a searcher; when it finds
// some it wakes the next one, which then sleeps as keeper in its turn. Who does not come back at once, be it for work or because
// its runtime stops, pokes a sleeper of every other runtime (DeadlockRegistry::poke_others) after it has left: that one looks at
// everything again, and so comes to N1. (If there are goroutines that wait for files. Who waits on no worker, and finds nobody
// in, pokes a sleeper of every runtime: nobody may have been left to do that when the last one went.)
// Who looks may do so while somebody sleeps there, who has come in since (needs_look), and be told of the interrupt that was meant for
// the sleeper: epoll tells one of them. So who only looks passes it on (N4).
//
// It returns a list, and never calls up.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "netpoll_epoll.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/poll_descriptor.hpp"

namespace weft::detail {

class Scheduler;

class Netpoll {
 public:
  /// That one look takes. Few, so that what epoll has just touched of a socket, and who waits for it, is still in the caches when
  /// its goroutine runs: with 9,000 busy connections 128 of them cost a tenth more time for each request.
  static constexpr std::size_t kEvents = 32;

  /// What a look has found: sleepers whose waits have been ended, to be readied, and goroutines to be started. Goes once
  /// that is done: a runtime that stops waits for it (drop_starters).
  class Ready {
   public:
    Ready() noexcept = default;
    Ready(const Ready&) = delete;
    Ready& operator=(const Ready&) = delete;
    ~Ready() {
      if (poller_ != nullptr) poller_->hands_over_.fetch_sub(1, std::memory_order_seq_cst);
    }
    [[nodiscard]] bool empty() const noexcept { return sleeper_count_ == 0 && task_count_ == 0; }
    [[nodiscard]] std::span<const SleeperHandle> sleepers() const noexcept {
      return {reinterpret_cast<const SleeperHandle*>(sleepers_), sleeper_count_};
    }
    [[nodiscard]] std::span<Task* const> tasks() const noexcept { return {tasks_, task_count_}; }

   private:
    friend class Netpoll;
    void begin(Netpoll& poller) noexcept {
      poller_ = &poller;
      poller.hands_over_.fetch_add(1, std::memory_order_seq_cst);
    }
    void take(PollDescriptor::Side& side) noexcept;

    // An event may end a wait in either direction. Not initialised: few looks find much.
    alignas(SleeperHandle) std::byte sleepers_[2 * kEvents * sizeof(SleeperHandle)];
    Task* tasks_[2 * kEvents];
    std::size_t sleeper_count_ = 0;
    std::size_t task_count_ = 0;
    Netpoll* poller_ = nullptr;
  };

  /// nullptr: no file was ever opened. acquire [netpoll.instance]: pairs with the release of who has made it.
  static Netpoll* get() noexcept { return instance.load(std::memory_order_acquire); }
  /// Throws std::system_error, std::bad_alloc.
  static Netpoll& get_or_make();
  /// In a forked child: the parent's epoll is shared, and not to be touched.
  static void forget() noexcept;

  /// How many wait for files, of all runtimes.
  [[nodiscard]] static int waiting() noexcept;
  static void add_waiting(int n) noexcept;

  // --- polling ---

  /// N1. False: somebody else is in. seq_cst, with leave(): who fails here has counted those who wait for files before, and is on
  /// a sleepers' list; who leaves looks at both after it.
  bool enter() noexcept {
    bool nobody = false;
    return is_occupied_.compare_exchange_strong(nobody, true, std::memory_order_seq_cst);
  }
  void leave() noexcept { is_occupied_.store(false, std::memory_order_seq_cst); }
  [[nodiscard]] bool is_occupied() const noexcept { return is_occupied_.load(std::memory_order_seq_cst); }
  /// Waits until the deadline (0: not at all).
  void poll(std::int64_t deadline_ns, Ready& ready) noexcept;
  void interrupt() noexcept;
  /// Nobody has looked for that long, and nobody sleeps here. relaxed: a policy.
  [[nodiscard]] bool needs_look(std::int64_t now_ns, std::int64_t interval_ns) const noexcept {
    return now_ns - looked_ns_.load(std::memory_order_relaxed) >= interval_ns &&
           !is_occupied_.load(std::memory_order_relaxed);
  }
  /// True for one of those who find at the same time that a look is needed.
  bool claim_look(std::int64_t now_ns) noexcept {
    std::int64_t last = looked_ns_.load(std::memory_order_relaxed);
    return last != now_ns && looked_ns_.compare_exchange_strong(last, now_ns, std::memory_order_relaxed);
  }

  // --- files ---
  PollDescriptor* open(int fd);
  void close(PollDescriptor& descriptor) noexcept;
  /// Goroutines of that runtime, which has stopped, are not started any more. Returns once nobody holds one.
  void drop_starters(const Scheduler& scheduler) noexcept;

 private:
  struct Slab;
  Netpoll() = default;

  static std::atomic<Netpoll*> instance;
  Epoll epoll_;
  std::atomic<bool> is_occupied_{false};
  std::atomic<std::int64_t> looked_ns_{0};
  std::atomic<int> hands_over_{0};        // looks that have found something, and are not through with it
  std::atomic<std::uint64_t> opened_{0};  // files, ever
  Spinlock free_lock_;
  Slab* slabs_ = nullptr;           // guarded by free_lock_
  PollDescriptor* free_ = nullptr;  // guarded by free_lock_
};

}  // namespace weft::detail

#pragma once

// The monitor: a thread without a processor that takes processors back from threads that do not come back to the runtime,
// because their goroutines compute for long or block the thread. So a tight loop or a system call keeps nobody else waiting.
//
// Words. A worker is *detached* when its processor has been taken: it goes on with its goroutine, and in the runtime it is
// treated as a plain thread (what it readies or starts goes to the inject queue). It *comes home* as soon as its goroutine
// parks, yields, ends, starts another one, wakes one by a channel operation or leaves blocking(): the goroutine then waits for
// its turn like any other, and the thread becomes a sleeper.
//
// Taking. Whoever touches its processor says so first; the frequent side pays two plain stores and a load.
//   Worker:   M1 zone = kRuntime    light_barrier   M2 load lease   ... uses the processor ...   M3 zone = kUser (release)
//   Monitor:  T1 lease = kWanted    heavy_barrier   T2 load zone
//             T3 kRuntime: lease = kHeld, no harm done. Else: the processor is free; lease = kLost (release)
// Argument. By the barrier pair T2 sees M1, or M2 sees T1. If T2 sees kUser the worker's last M3 came before, so all it did to
// the processor is visible here; and its next M2 sees kWanted, and waits there for T3 (some microseconds). So between T2 and T3
// nobody but the monitor touches the processor, and after T3 the worker knows that it has none. That T2 reads kRuntime
// only tells that this was not the moment; the monitor tries again at its next round. On a worker's own stack the zone
// is kRuntime always. There is one monitor, so a lease is wanted by one at a time.
//
// What becomes of the processor. It goes to the free list, as if its worker had gone to sleep (Z1, Z3 and Z4 of idle.hpp): if there
// is work, a worker is woken or started. So the monitor hands nothing to anybody, and I3 needs no new argument. What is
// new is that a processor may be free while no worker sleeps, so that nobody keeps the time: as long as there are
// detached workers, or some that have computed for long, the monitor does (keep_time).
//
// How long. 10 ms, 2 ms if a deadline has passed, or one round (20 us) in blocking(); and only if work waits that nobody else will take. Threads that compute
// while detached share the CPUs with the processors. So the more there are, the more CPU time the next one must have had: the
// least grows with the square of their number. A thousand goroutines that compute for 50 ms make five such threads at
// most, on two processors, however busy the machine is; ten that never end have all begun within a second. Blocked threads are
// bounded by max_threads only. (Which is which: the kernel's word for a thread that is to lose its processor, the CPU clock for those
// that have, of which there may be many.)
// Answers to Go's sysmon and retake.

#include <time.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "random.hpp"

namespace weft::detail {

class Scheduler;
struct Processor;
struct Seen;
struct Worker;

class Monitor {
 public:
  explicit Monitor(Scheduler& scheduler) noexcept : scheduler_(scheduler) {}

  /// Returns once the thread counts as one of weft's. Throws std::system_error.
  void start();
  void stop() noexcept;

  /// A processor has left the free list.
  void notice_busy() noexcept {
    // seq_cst: see rest().
    if (is_resting_.load(std::memory_order_seq_cst)) [[unlikely]]
      poke();
  }
  /// A goroutine is about to block its thread, while others wait.
  void expect_blocking() noexcept {
    if (is_long_.load(std::memory_order_relaxed)) poke();  // relaxed: if it is missed, the round is a longer one
  }

 private:
  struct Detached {
    Worker* worker;
    std::int64_t cpu_ns;
    std::int64_t computed_ns;  // when it was last seen to have computed
  };

  void main() noexcept;
  std::int64_t round() noexcept;
  void look_at(Processor& processor, Seen& seen, std::int64_t now) noexcept;
  bool take(Processor& processor, Worker& worker, bool is_computing, std::int64_t now) noexcept;
  void take_at_random() noexcept;
  void keep_time() noexcept;
  void look_at_files(std::int64_t now) noexcept;
  void review_detached(std::int64_t now) noexcept;
  [[nodiscard]] bool work_waits() noexcept;
  [[nodiscard]] std::int64_t least_cpu_ns() const noexcept;
  [[nodiscard]] std::int64_t next_round(std::int64_t now) noexcept;
  void rest() noexcept;
  void poke() noexcept;

  Scheduler& scheduler_;
  std::thread thread_;
  std::atomic<std::uint32_t> word_{0};  // futex: pokes
  std::atomic<bool> has_started_{false};
  std::atomic<bool> is_stopping_{false};
  std::atomic<bool> is_resting_{false};  // until a processor leaves the free list
  std::atomic<bool> is_long_{false};     // asleep for more than a blocking section should wait

  // The thread's own.
  std::vector<Detached> detached_;
  std::int64_t reviewed_ns_ = 0;
  std::int64_t followed_ns_ = 0;
  int computing_ = 0;  // of those, not long ago
  int quick_rounds_ = 0;
  int idle_rounds_ = 0;
  bool any_stuck_ = false;     // in this round: somebody had its time
  bool any_blocking_ = false;  // in this round
  bool any_late_ = false;      // in this round: a deadline has passed
  Random random_{0};
};

}  // namespace weft::detail

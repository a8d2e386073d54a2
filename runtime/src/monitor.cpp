#include "monitor.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "deadlock.hpp"
#include "keep_errno.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr std::int64_t kQuantumNs = 10'000'000;  // how long a goroutine may compute while others wait
constexpr std::int64_t kLateNs =
    2'000'000;  // likewise, while a deadline has passed: somebody has asked for this moment
constexpr std::int64_t kRoundNs = 2'000'000;    // between looks
constexpr std::int64_t kReviewNs = 10'000'000;  // between looks at files in the stead of others, and at who is detached
constexpr std::int64_t kQuickRoundNs = 20'000;  // while goroutines block their threads
constexpr int kQuickRounds = 50;                // without a find; then the rounds become longer
constexpr std::int64_t kComputedNs =
    1'000'000'000;  // how long a thread counts as computing: on a busy machine it may get nothing for long
constexpr std::int64_t kFollowNs = 1'000'000'000;  // between looks at the number of CPUs
constexpr std::int64_t kChaosRoundNs = 200'000;
constexpr int kLooks = 4;       // at files, as long as there are some
constexpr int kIdleRounds = 5;  // before a rest

std::int64_t cpu_time_ns(const Worker& worker) noexcept {
  // acquire [worker.cpu_clock]: set once, by the thread itself.
  const clockid_t clock = worker.cpu_clock.load(std::memory_order_acquire);
  timespec time{};
  if (clock == -1 || clock_gettime(clock, &time) != 0) return 0;
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

/// Whether the thread runs, or would if there were a CPU: the kernel's own word, since on a busy machine a thread that
/// computes may have got no CPU time for long.
bool wants_cpu(const Worker& worker) noexcept {
  char path[64];
  std::snprintf(path, sizeof path, "/proc/self/task/%d/stat", worker.thread_id.load(std::memory_order_acquire));
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return true;
  char text[256];
  const ssize_t length = read(file, text, sizeof text - 1);
  close(file);
  if (length <= 0) return true;
  text[length] = '\0';
  const char* name_end = std::strrchr(text, ')');  // the name may hold anything; the state follows it
  return name_end == nullptr || name_end[1] == '\0' || name_end[2] == 'R';
}

}  // namespace

void Monitor::start() {
  random_ = Random(scheduler_.chaos + 1);
  thread_ = std::thread([this] { main(); });
  // The deadlock verdict counts threads: this one must not be taken for somebody else's.
  while (!has_started_.load(std::memory_order_acquire)) std::this_thread::yield();
}

void Monitor::stop() noexcept {
  if (!thread_.joinable()) return;
  is_stopping_.store(true, std::memory_order_seq_cst);
  poke();
  thread_.join();
}

void Monitor::poke() noexcept {
  word_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(word_, 1);
}

void Monitor::main() noexcept {
  WeftThreads::add();
  pthread_setname_np(pthread_self(), "weft-monitor");
  prctl(PR_SET_TIMERSLACK, 1000UL);
  followed_ns_ = steady_time().now_ns();
  has_started_.store(true, std::memory_order_release);
  while (!is_stopping_.load(std::memory_order_seq_cst)) {
    const std::uint32_t seen = word_.load(std::memory_order_seq_cst);
    const std::int64_t next = round();
    if (next == kForever) {
      rest();
      continue;
    }
    const bool is_long = next - steady_time().now_ns() > 2 * kQuickRoundNs;
    is_long_.store(is_long, std::memory_order_relaxed);
    if (!is_stopping_.load(std::memory_order_seq_cst)) futex_wait(word_, seen, next);
    is_long_.store(false, std::memory_order_relaxed);
  }
  WeftThreads::remove();
}

/// Every processor is free. Either it is seen here that one is not any more, or whoever takes one sees is_resting_.
void Monitor::rest() noexcept {
  const std::uint32_t seen = word_.load(std::memory_order_seq_cst);
  is_resting_.store(true, std::memory_order_seq_cst);
  if (scheduler_.idle.free_processors() == scheduler_.processor_count() &&
      !is_stopping_.load(std::memory_order_seq_cst)) {
    futex_wait(word_, seen, kForever);
  }
  is_resting_.store(false, std::memory_order_seq_cst);
  idle_rounds_ = 0;
}

/// Returns when the next one is due; kForever: when there is somebody to watch.
std::int64_t Monitor::round() noexcept {
  const std::int64_t now = steady_time().now_ns();
  any_stuck_ = false;
  any_blocking_ = false;
  any_late_ = scheduler_.ns_to_deadline() <= 0;
  if (!detached_.empty()) review_detached(now);
  if (scheduler_.chaos != 0) take_at_random();
  for (const auto& processor : scheduler_.processors) look_at(*processor, processor->seen, now);
  if (now - followed_ns_ >= kFollowNs) {
    followed_ns_ = now;
    scheduler_.follow_default();
  }
  if (any_stuck_ || scheduler_.detached.load(std::memory_order_seq_cst) != 0) keep_time();
  look_at_files(now);
  return next_round(now);
}

/// In the stead of workers that compute, or have no time to look.
void Monitor::look_at_files(std::int64_t now) noexcept {
  Netpoll* poller = Netpoll::get();
  if (poller == nullptr || !poller->needs_look(now, any_stuck_ ? kRoundNs : kReviewNs)) return;
  if (!poller->claim_look(now)) return;
  for (int look = 0; look < kLooks; ++look) {
    Netpoll::Ready found;
    poller->poll(0, found);
    if (found.empty()) return;
    for (const SleeperHandle sleeper : found.sleepers()) ready(sleeper);
    for (Task* task : found.tasks()) start_goroutine(task);
  }
}

void Monitor::look_at(Processor& processor, Seen& seen, std::int64_t now) noexcept {
  Worker* worker = processor.holder.load(std::memory_order_acquire);
  if (worker == nullptr) {
    seen.worker = nullptr;
    return;
  }
  // For "since when": nobody else looks at the clock while somebody computes.
  processor.clock_ns.store(now, std::memory_order_relaxed);
  const std::uint32_t picks = processor.picks.load(std::memory_order_relaxed);  // two readings are compared
  const std::uint32_t blockings = worker->blockings.load(std::memory_order_relaxed);
  if (worker != seen.worker || picks != seen.picks || blockings != seen.blockings) {
    seen = {worker, picks, blockings, now, computing_ != 0 ? cpu_time_ns(*worker) : Seen::kNotRead};
    any_blocking_ = any_blocking_ || worker->zone.load(std::memory_order_relaxed) == Zone::kBlocking;
    return;
  }
  const Zone zone = worker->zone.load(std::memory_order_relaxed);  // a hint; take() looks again
  if (zone == Zone::kRuntime) return;
  const std::int64_t ran_ns = now - seen.since_ns;
  bool is_computing = false;
  if (zone == Zone::kBlocking) {
    any_blocking_ = true;
  } else {
    // Of no interest as long as nobody computes beside the processors; a system call.
    if (computing_ != 0 && seen.cpu_ns == Seen::kNotRead) seen.cpu_ns = cpu_time_ns(*worker);
    if (ran_ns < (any_late_ ? kLateNs : kQuantumNs)) return;
    is_computing = wants_cpu(*worker);
    if (is_computing && computing_ != 0 && cpu_time_ns(*worker) - seen.cpu_ns < least_cpu_ns()) return;
  }
  any_stuck_ = true;
  if (!(work_waits() || scheduler_.idle.has_surplus()) || !take(processor, *worker, is_computing, now)) return;
  seen.worker = nullptr;
  if (zone == Zone::kBlocking) quick_rounds_ = 0;
}

/// There is something to run, and nobody else who will look for it.
bool Monitor::work_waits() noexcept {
  return scheduler_.idle.free_processors() == 0 && scheduler_.idle.searching() == 0 && scheduler_.has_work() &&
         scheduler_.can_grow();
}

std::int64_t Monitor::least_cpu_ns() const noexcept {
  if (computing_ == 0) return 0;
  const double share = static_cast<double>(computing_) / scheduler_.processor_count();
  return static_cast<std::int64_t>(static_cast<double>(kQuantumNs) * (0.5 + share * share));
}

bool Monitor::take(Processor& processor, Worker& worker, bool is_computing, std::int64_t now) noexcept {
  worker.lease.store(Lease::kWanted, std::memory_order_seq_cst);  // T1
  heavy_barrier();
  // acquire [worker.zone]: pairs with the release of M3 (T2).
  const Zone zone = worker.zone.load(std::memory_order_acquire);
  if (zone == Zone::kRuntime || processor.holder.load(std::memory_order_acquire) != &worker) {
    worker.lease.store(Worker::held_lease(), std::memory_order_release);  // T3
    return false;
  }
  scheduler_.detached.fetch_add(1, std::memory_order_seq_cst);  // before the processor is free: it is not quiet here
  if (Runnable* next = processor.next.take()) {
    // A processor without a worker has nothing in this slot, which only its worker is sure to look into.
    if (!processor.ready.push(next)) scheduler_.inject.push(processor.index, &next, 1);
  }
  if (processor.is(Attention::kTraced)) {
    if (TraceRing* ring = processor.trace.ring())
      ring->put({trace_clock_ns(), TraceKind::kTaken, 0, worker.goroutine(), 0, worker.index});
  }
  worker.processor = nullptr;
  if (scheduler_.idle.has_surplus()) scheduler_.drain(processor);
  scheduler_.idle.give_back(processor);
  worker.lease.store(Lease::kLost, std::memory_order_release);  // T3. [worker.lease]
  scheduler_.handoffs.fetch_add(1, std::memory_order_relaxed);  // counter
  std::erase_if(detached_,
                [&](const Detached& d) { return d.worker == &worker; });  // home and out again since the review
  detached_.push_back({&worker, cpu_time_ns(worker), is_computing ? now : 0});
  computing_ += is_computing ? 1 : 0;
  heavy_barrier();
  if (scheduler_.has_work()) scheduler_.wake_one();
  return true;
}

/// In chaos mode every goroutine may find itself without a processor, whether anybody waits or not.
void Monitor::take_at_random() noexcept {
  for (const auto& processor : scheduler_.processors) {
    Worker* worker = processor->holder.load(std::memory_order_acquire);
    if (worker == nullptr || worker->zone.load(std::memory_order_relaxed) == Zone::kRuntime) continue;
    if (random_.below(4) != 0 || !scheduler_.can_grow()) continue;
    static_cast<void>(take(*processor, *worker, false, 0));
  }
}

/// In the stead of a sleeper that may not be there.
void Monitor::keep_time() noexcept {
  if (scheduler_.idle.free_processors() == 0 || scheduler_.idle.searching() != 0) return;
  if (scheduler_.has_work() && scheduler_.can_grow()) scheduler_.wake_one();
}

/// Who has come home, and who of the others computes.
void Monitor::review_detached(std::int64_t now) noexcept {
  std::erase_if(detached_,
                [](const Detached& d) { return d.worker->lease.load(std::memory_order_acquire) != Lease::kLost; });
  if (!detached_.empty() && now - reviewed_ns_ < kReviewNs) return;
  reviewed_ns_ = now;
  computing_ = 0;
  for (Detached& d : detached_) {
    const std::int64_t cpu_ns = cpu_time_ns(*d.worker);
    if (cpu_ns != d.cpu_ns) d.computed_ns = now;
    d.cpu_ns = cpu_ns;
    computing_ += now - d.computed_ns < kComputedNs ? 1 : 0;
  }
}

std::int64_t Monitor::next_round(std::int64_t now) noexcept {
  const bool has_detached = scheduler_.detached.load(std::memory_order_seq_cst) != 0;
  if (scheduler_.idle.free_processors() == scheduler_.processor_count() && !has_detached) {
    if (++idle_rounds_ >= kIdleRounds) return kForever;
  } else {
    idle_rounds_ = 0;
  }
  std::int64_t wait_ns = kRoundNs;
  if (any_blocking_) {
    const int doublings = std::clamp(++quick_rounds_ - kQuickRounds, 0, 10);
    wait_ns = std::min(kRoundNs, kQuickRoundNs << doublings);
  } else {
    quick_rounds_ = 0;
  }
  if (scheduler_.chaos != 0) wait_ns = std::min(wait_ns, kChaosRoundNs);
  if (any_stuck_ || has_detached) {
    // Somebody may have to run then, and nobody else may be there to see to it.
    const std::int64_t to_deadline = scheduler_.ns_to_deadline();
    if (to_deadline > 0) wait_ns = std::min(wait_ns, to_deadline);
  }
  return now + wait_ns;
}

}  // namespace weft::detail

// The waist's compiled half: who is calling, how it parks, how it is readied.

#include "weft/detail/park.hpp"

#include "bubble.hpp"
#include "deadlock.hpp"
#include "forked.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"
#include "weft/detail/wait_target.hpp"
#include "weft/error.hpp"
#include "worker_hot.hpp"

namespace weft::detail {
namespace {

/// A wait with a deadline: arms a timer on whatever processor runs the commit (or in the goroutine's bubble), then commits
/// the wait proper.
struct TimedPoint : WaitPoint {
  WaitPoint* inner;
  TimerNode timer;
  std::int64_t deadline_ns;
  Bubble* bubble;
};

void commit_timed(WaitPoint& point) noexcept {
  auto& timed = static_cast<TimedPoint&>(point);
  WaitPoint* inner = timed.inner;
  const std::int64_t deadline = timed.deadline_ns;
  Worker* worker = current_worker();
  Bubble* bubble = timed.bubble;
  // Armed first: once the inner commit has unlocked, the frame may be gone. A timer that expires at once wins its claim
  // and readies a fiber whose stack has been left already; it cannot leave the wait before the inner commit's unlock, for
  // it has to take the same lock to withdraw (a wait without a lock has no inner commit).
  const bool has_inner_commit = has_commit(*inner);
  (bubble != nullptr ? bubble->timers : worker->timers()).add(timed.timer, deadline);
  if (has_inner_commit) commit(*inner);
  if (bubble == nullptr && worker->goes_on()) {
    // This worker goes on with another goroutine: somebody else must keep the time.
    if (Worker* keeper = worker->scheduler.idle.keeper_to_poke(deadline)) keeper->parker.unpark();
  }
}

bool abandon_timed(WaitPoint& point) noexcept {
  auto& timed = static_cast<TimedPoint&>(point);
  const bool timer_removed = TimerHeap::remove(timed.timer);
  const bool has_inner = timed.inner->ops->abandon != nullptr;
  if (!has_inner) return timer_removed;
  return timed.inner->ops->abandon(*timed.inner);
}

void forsake_timed(WaitPoint& point) noexcept {
  auto& timed = static_cast<TimedPoint&>(point);
  TimerHeap::remove(timed.timer);
  if (timed.inner->ops->forsake != nullptr) timed.inner->ops->forsake(*timed.inner);
}

void timed_targets(const WaitPoint& point, WaitTargets& out) noexcept {
  const WaitPoint& inner = *static_cast<const TimedPoint&>(point).inner;
  out.add_way_out();
  if (inner.ops->targets != nullptr) inner.ops->targets(inner, out);
}

constexpr WaitOps kTimedOps{&commit_timed, &abandon_timed, &forsake_timed, &timed_targets};

void wait_for_token(ThreadStub& stub) noexcept {
  // acquire [stub]: pairs with the release in ready().
  while (stub.token.load(std::memory_order_acquire) == 0) futex_wait(stub.token, 0, kForever);
}

}  // namespace

Sleeper::Sleeper() noexcept : Sleeper(current_face()) {}

void park(Sleeper& self, WaitPoint& point) noexcept {
  if (self.is_goroutine()) {
    auto* fiber = reinterpret_cast<Fiber*>(self.handle_.bits());
    fiber->wait_point = &point;
    fiber->wait_reason.store(point.reason, std::memory_order_relaxed);
    static_cast<Worker*>(self.worker_)->leave(fiber->bubble == nullptr ? AfterSwitch::kPark : AfterSwitch::kBlock);
    fiber->wait_point = nullptr;
    return;
  }
  // Counted as blocked after the commit: that may set the deadline which ends the wait (a timer's channel), and between the
  // two nobody may take this thread for one that waits for ever. If the waker comes first it counts down first: for a
  // moment one thread too few is blocked, which withholds a verdict; the check below makes up for it.
  self.stub_.is_counted = true;
  commit(point);
  WeftThreads::block();
  DeadlockRegistry::check_all();
  if (is_forked_child()) [[unlikely]]
    check_wait_after_fork(point.reason, self.stub_.token);
  wait_for_token(self.stub_);
}

void park_until(Sleeper& self, WaitPoint& point, Claim& claim, std::uint32_t timeout_winner,
                std::int64_t deadline_ns) noexcept {
  if (deadline_ns == kForever) return park(self, point);
  if (self.is_goroutine()) {
    TimedPoint timed;
    timed.ops = &kTimedOps;
    timed.reason = point.reason;
    timed.is_durable = point.is_durable;
    timed.inner = &point;
    timed.bubble = self.worker_->current->bubble;
    timed.deadline_ns = deadline_ns;
    timed.timer.claim = &claim;
    timed.timer.claim_id = timeout_winner;
    timed.timer.sleeper = self.handle_;
    park(self, timed);
    if (claim.winner() != timeout_winner) TimerHeap::remove(timed.timer);
    return;
  }
  commit(point);
  // acquire [stub]: pairs with the release in ready().
  while (self.stub_.token.load(std::memory_order_acquire) == 0) {
    if (now_ns() >= deadline_ns) {
      if (claim.try_win(timeout_winner)) return;
      return wait_for_token(self.stub_);  // somebody else has won and is about to call ready()
    }
    futex_wait(self.stub_.token, 0, deadline_ns);
  }
}

namespace {

[[gnu::noinline]] void wake_thread(ThreadStub& stub) noexcept {
  if (stub.is_counted) WeftThreads::unblock();
  // release [stub]: the last access; from here on the stub may be gone, and only its address is used.
  stub.token.store(1, std::memory_order_release);
  futex_wake(stub.token, 1);
}

/// The wait of a plain thread ends here. That of a goroutine has ended; it is returned, to be made runnable.
[[gnu::always_inline]] inline Fiber* end_wait(SleeperHandle sleeper) noexcept {
  if ((sleeper.bits() & SleeperHandle::kThreadBit) != 0) [[unlikely]] {
    wake_thread(*reinterpret_cast<ThreadStub*>(sleeper.bits() & ~SleeperHandle::kThreadBit));
    return nullptr;
  }
  auto* fiber = reinterpret_cast<Fiber*>(sleeper.bits());
  if (fiber->bubble != nullptr && fiber->is_counted_out) [[unlikely]] {
    fiber->is_counted_out = false;
    fiber->bubble->unblock();
  }
  // relaxed: whoever may ready it has met the commit's release.
  if (fiber->status.load(std::memory_order_relaxed) != FiberStatus::kWaiting) [[unlikely]] {
    if (!fiber->scheduler->process.is_here()) return nullptr;
    fatal("weft: internal: ready of a goroutine that is not parked (I1, I2)");
  }
  return fiber;
}

void submit_from_outside(Fiber* fiber) noexcept {
  Scheduler& scheduler = *fiber->scheduler;
  if (!scheduler.process.is_here()) return;                         // a copy of a goroutine of the parent's
  scheduler.foreign_calls.fetch_add(1, std::memory_order_seq_cst);  // before the status: see abandon_all()
  scheduler.note_foreign(*fiber);
  fiber->status.store(FiberStatus::kRunnable, std::memory_order_release);
  scheduler.submit_foreign(fiber);
  scheduler.foreign_calls.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace

void ready_from_outside(SleeperHandle sleeper) noexcept {
  if (Fiber* fiber = end_wait(sleeper)) submit_from_outside(fiber);
}

namespace {

// What ready() jumps to, so that the usual case needs no frame.

[[gnu::noinline]] void ready_unusually(SleeperHandle sleeper, Worker* worker) noexcept {
  Fiber* fiber = end_wait(sleeper);
  if (fiber == nullptr) return;
  if (worker != nullptr && &worker->scheduler == fiber->scheduler) [[likely]] {
    const Entry entry(*worker);
    if (entry.has_processor()) [[likely]] {
      fiber->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
      worker->scheduler.submit_ready(*worker, fiber);
      return;
    }
  }
  submit_from_outside(fiber);
}

/// The caller's processor may have been taken, since it has kept others waiting for long: then it waits for its turn.
[[gnu::noinline]] void ready_and_come_home(SleeperHandle sleeper, Worker* worker) noexcept {
  ready_unusually(sleeper, worker);
  if (worker != nullptr && !worker->has_processor() && worker->current != &worker->root) worker->come_home();
}

[[gnu::noinline]] void submit_and_exit(Worker& worker, Fiber* fiber, Zone zone) noexcept {
  worker.scheduler.submit_ready(worker, fiber);
  worker.zone.store(zone, std::memory_order_release);  // M3
}

/// Returns false where the usual case is none, and has done nothing.
[[gnu::always_inline]] inline bool ready_quickly(SleeperHandle sleeper, Worker* worker) noexcept {
  if ((sleeper.bits() & SleeperHandle::kThreadBit) != 0 || worker == nullptr) [[unlikely]]
    return false;
  // The usual case: it waits, here, and has the next turn.
  auto* fiber = reinterpret_cast<Fiber*>(sleeper.bits());
  if (fiber->bubble != nullptr || fiber->status.load(std::memory_order_relaxed) != FiberStatus::kWaiting ||
      fiber->scheduler != &worker->scheduler) [[unlikely]]  // relaxed: as in end_wait()
    return false;
  const Zone zone = worker->zone.load(std::memory_order_relaxed);
  if (!worker->enter_quickly()) [[unlikely]] {
    worker->zone.store(zone, std::memory_order_release);  // M3
    return false;
  }
  fiber->status.store(FiberStatus::kRunnable, std::memory_order_release);  // release [fiber.status]
  // A fiber that displaces another one, and whoever wants attention (chaos mode, traces), take the long way.
  Processor& p = *worker->processor;
  if (!p.next.empty() || p.attention.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return submit_and_exit(*worker, fiber, zone), true;
  // The switch to it is some hundred instructions away: time enough to fetch what it pops from its stack. (ring_1000, whose
  // stacks do not fit into the caches: a sixth less time for each hop. A third line brings nothing more.)
  prefetch(fiber->state.context);
  prefetch(static_cast<const std::byte*>(fiber->state.context) + kCacheLine);
  p.next.fill(fiber);
  if (worker->scheduler.idle.should_wake()) [[unlikely]]
    return worker->wake_one_and_exit(zone), true;
  worker->zone.store(zone, std::memory_order_release);  // M3
  return true;
}

}  // namespace

void ready(SleeperHandle sleeper) noexcept {
  auto* worker = static_cast<Worker*>(current_face());
  if (!ready_quickly(sleeper, worker)) [[unlikely]]
    ready_unusually(sleeper, worker);
}

void ready(SleeperHandle sleeper, WorkerFace* caller) noexcept {
  auto* worker = static_cast<Worker*>(caller);
  if (!ready_quickly(sleeper, worker)) [[unlikely]]
    ready_and_come_home(sleeper, worker);
}

// --- small services of the waist ---

std::atomic<bool> chaos_enabled{false};
std::atomic<bool> tracks_lock_owners{false};

void chaos_yield() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current == &worker->root || worker->current->chaos_holds != 0) return;
  if (random_below(8) == 0) worker->yield();
}

void NoChaos::hold(bool more) noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr) return;
  std::uint16_t& holds = worker->current->chaos_holds;
  holds = static_cast<std::uint16_t>(more ? holds + 1 : holds - 1);
}

bool spinning_helps() noexcept {
  const Worker* worker = current_worker();
  return worker == nullptr || worker->scheduler.processor_count() > 1;
}

void yield_to_ready() noexcept {
  if (Worker* worker = current_worker()) worker->yield();
}

std::uint32_t random_below(std::uint32_t bound) noexcept {
  if (Worker* worker = current_worker()) {
    const Entry entry(*worker);
    if (entry.has_processor()) return worker->processor->random.below(bound);
  }
  static std::atomic<std::uint64_t> sequence{0x6a09e667f3bcc909ULL};
  return Random(sequence.fetch_add(0x9e3779b97f4a7c15ULL, std::memory_order_relaxed)).below(bound);
}

std::uint32_t current_processor_index() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr) return kNoProcessor;
  const Entry entry(*worker);
  return entry.has_processor() ? worker->processor->index : kNoProcessor;
}

std::uint32_t current_bubble_slow() noexcept {
  const Worker* worker = current_worker();
  const Bubble* bubble = worker == nullptr ? nullptr : worker->current->bubble;
  return bubble == nullptr ? 0 : bubble->id;
}

std::int64_t now_ns() noexcept {
  const Worker* worker = current_worker();
  if (worker == nullptr) return steady_time().now_ns();
  const Bubble* bubble = worker->current->bubble;
  return bubble == nullptr ? worker->scheduler.now_ns() : bubble->now_ns();
}

std::int64_t deadline_after(std::int64_t duration_ns) noexcept {
  if (duration_ns <= 0) return INT64_MIN;  // has passed already
  Worker* worker = current_worker();
  const bool is_quick =
      worker != nullptr && worker->current->bubble == nullptr && worker->scheduler.tells_system_time();
  return saturating_deadline(is_quick ? worker->quick_clock.now_ns() : now_ns(), duration_ns);
}

std::string_view to_string(WaitReason reason) noexcept {
  switch (reason) {
    case WaitReason::kNone:
      return "";
    case WaitReason::kChanReceive:
      return "chan receive";
    case WaitReason::kChanSend:
      return "chan send";
    case WaitReason::kChanReceiveNil:
      return "chan receive (nil chan)";
    case WaitReason::kChanSendNil:
      return "chan send (nil chan)";
    case WaitReason::kSelect:
      return "select";
    case WaitReason::kSelectNoCases:
      return "select (no cases)";
    case WaitReason::kSleep:
      return "sleep";
    case WaitReason::kMutexLock:
      return "sync.Mutex.Lock";
    case WaitReason::kWaitGroupWait:
      return "sync.WaitGroup.Wait";
    case WaitReason::kRWMutexRLock:
      return "sync.RWMutex.RLock";
    case WaitReason::kRWMutexLock:
      return "sync.RWMutex.Lock";
    case WaitReason::kCondWait:
      return "sync.Cond.Wait";
    case WaitReason::kSemacquire:
      return "semacquire";
    case WaitReason::kOnceDo:
      return "sync.Once.Do";
    case WaitReason::kFutureWait:
      return "future wait";
    case WaitReason::kIoWait:
      return "IO wait";
    case WaitReason::kRun:
      return "run";
    case WaitReason::kTesting:
      return "testing";
  }
  return "";
}

}  // namespace weft::detail

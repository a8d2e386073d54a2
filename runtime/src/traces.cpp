#include "traces.hpp"

#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "barrier.hpp"
#include "photo.hpp"
#include "sched.hpp"

namespace weft::detail {
namespace {

/// How many stacks are walked, at a few microseconds each. The first sorts of goroutines may use up half of it between
/// them; then each sort still gets a few.
class Budget {
 public:
  bool take(std::uint64_t sort) noexcept {
    std::uint32_t& used = used_[(sort * 0x9e3779b97f4a7c15ULL) >> 54U];
    const std::uint32_t most = total_ < kTotal / 2 ? kTotal / 4 : total_ < kTotal ? kFew : 0;
    if (used >= most) return false;
    ++used;
    ++total_;
    return true;
  }

 private:
  static constexpr std::uint32_t kTotal = 65'536;
  static constexpr std::uint32_t kFew = 64;
  std::uint32_t used_[1024] = {};  // sorts that fall on one counter share it
  std::uint32_t total_ = 0;
};

class Observer {
 public:
  Observer(Scheduler& scheduler, bool with_stacks, TraceVisitor& visitor)
      : scheduler_(scheduler), with_stacks_(with_stacks), visitor_(visitor) {}

  void visit_all() {
    Photo self;
    has_self_ = with_stacks_ && photograph_self(self);
    self_ = &self;
    for (std::size_t slab = 0; scheduler_.tasks.visit_slab(slab, [&](std::span<Task> tasks) { look_at(tasks); });
         ++slab) {
    }
    for (int round = 0; round < 3 && !running_.empty(); ++round) ask_running();
    for (const Running& running : running_) {
      scheduler_.tasks.visit_one(
          [&] { tell(*running.task, running.id, FiberStatus::kRunning, StackSeen::kNoAnswer, 0); });
    }
  }

 private:
  static constexpr std::size_t kBatch = TaskPool::kSlabTasks;

  struct Candidate {
    Task* task;
    std::uint64_t id;
    Fiber* fiber;  // nullptr: has not started
    bool is_held;  // O1
    FiberStatus status;
    StackSeen seen;
  };
  struct Running {
    Task* task;
    std::uint64_t id;
  };

  /// The pool's lock is held.
  void look_at(std::span<Task> tasks) {
    std::size_t count = 0;
    bool is_any_held = false;
    for (Task& task : tasks) {
      const std::uint64_t id = task.id.load(std::memory_order_acquire);  // [task.id]: pairs with commit_spawn()
      if (id == 0 || task.is_abandoned.load(std::memory_order_relaxed)) continue;
      Candidate& c = candidates_[count++];
      c = {&task, id, task.fiber.load(std::memory_order_acquire), false, FiberStatus::kFree, StackSeen::kNotStarted};
      if (c.fiber == nullptr) continue;
      if (with_stacks_ && budget_.take(sort_of(task, *c.fiber))) hold(c);
      is_any_held = is_any_held || c.is_held;
    }
    if (is_any_held) heavy_barrier();  // O2
    for (std::size_t i = 0; i < count; ++i) walk(candidates_[i], frames_[i]);
    for (std::size_t i = 0; i < count; ++i) {
      const Candidate& c = candidates_[i];
      if (c.status == FiberStatus::kRunning && with_stacks_) {
        note_running(c);
      } else {
        tell(*c.task, c.id, c.status, c.seen, i);
      }
    }
  }

  static std::uint64_t sort_of(const Task& task, const Fiber& fiber) noexcept {
    return reinterpret_cast<std::uintptr_t>(task.spawn_site.load(std::memory_order_relaxed)) * 31 +
           static_cast<std::uint64_t>(fiber.wait_reason.load(std::memory_order_relaxed));
  }

  static void hold(Candidate& c) noexcept {
    c.fiber->hold.store(Hold::kHeld, std::memory_order_relaxed);  // O1; ordered by the barriers
    c.is_held = true;
  }

  /// O3, O4.
  static void walk(Candidate& c, Frames& frames) noexcept {
    if (c.fiber == nullptr) return;
    c.status = c.fiber->status.load(std::memory_order_acquire);  // [fiber.status]: the saved context
    c.seen = StackSeen::kNotAsked;
    const bool is_at_rest = c.status == FiberStatus::kWaiting || c.status == FiberStatus::kRunnable;
    if (c.status == FiberStatus::kFree) c.seen = StackSeen::kNotStarted;
    if (!c.is_held) return;
    if (is_at_rest && c.task->fiber.load(std::memory_order_acquire) == c.fiber &&
        c.task->id.load(std::memory_order_acquire) == c.id) {
      walk_resting(c.fiber->state, frames);
      c.seen = StackSeen::kYes;
    }
    c.fiber->hold.store(no_hold(), std::memory_order_release);  // O4
  }

  void note_running(const Candidate& c) {
    if (has_self_ && c.id == self_->id) {
      tell(*c.task, c.id, FiberStatus::kRunning, StackSeen::kYes, self_->frames);
    } else {
      running_.push_back({c.task, c.id});
    }
  }

  /// One more try to see those that ran: on their threads, or parked by now.
  void ask_running() {
    const std::vector<Photo> photos = take_photos(scheduler_);
    std::erase_if(running_, [&](const Running& running) {
      const auto photo = std::find_if(photos.begin(), photos.end(), [&](const Photo& p) { return p.id == running.id; });
      bool is_done = true;
      scheduler_.tasks.visit_one([&] {
        if (photo != photos.end()) {
          tell(*running.task, running.id, FiberStatus::kRunning, StackSeen::kYes, photo->frames);
        } else {
          is_done = look_again(running);
        }
      });
      return is_done;
    });
  }

  bool look_again(const Running& running) {
    Candidate c{running.task, running.id,         running.task->fiber.load(std::memory_order_acquire),
                false,        FiberStatus::kFree, StackSeen::kNotStarted};
    if (running.task->id.load(std::memory_order_acquire) != running.id || c.fiber == nullptr) return true;  // has ended
    hold(c);
    heavy_barrier();  // O2
    walk(c, frames_[0]);
    if (c.status == FiberStatus::kRunning) return false;
    tell(*c.task, c.id, c.status, c.seen, 0);
    return true;
  }

  void tell(const Task& task, std::uint64_t id, FiberStatus status, StackSeen seen, std::size_t frames) {
    tell(task, id, status, seen, frames_[frames]);
  }
  void tell(const Task& task, std::uint64_t id, FiberStatus status, StackSeen seen, const Frames& frames) {
    // Its goroutine may have ended meanwhile. If not, what the record points at stays as long as the pool's lock is held.
    if (task.id.load(std::memory_order_acquire) != id) return;
    Trace trace;
    trace.id = id;
    if (task.extras != nullptr) trace.name = task.extras->name;
    trace.status = status;
    trace.spawn_site = task.spawn_site.load(std::memory_order_relaxed);
    trace.seen = seen;
    trace.frames = &frames;
    const Fiber* fiber = task.fiber.load(std::memory_order_acquire);
    if (trace.is_waiting() && fiber != nullptr) {
      trace.reason = fiber->wait_reason.load(std::memory_order_relaxed);
      trace.is_durable = fiber->is_durable.load(std::memory_order_relaxed);
      trace.waiting_ns =
          std::max<std::int64_t>(scheduler_.now_ns() - fiber->parked_ns.load(std::memory_order_relaxed), 0);
    }
    // A record that was given to another goroutine meanwhile tells of both.
    if (task.id.load(std::memory_order_acquire) == id) visitor_.visit(trace);
  }

  Scheduler& scheduler_;
  const bool with_stacks_;
  TraceVisitor& visitor_;
  Budget budget_;
  const Photo* self_ = nullptr;
  bool has_self_ = false;
  Candidate candidates_[kBatch];
  Frames frames_[kBatch];
  std::vector<Running> running_;
};

}  // namespace

std::string_view to_string(FiberStatus status) noexcept {
  switch (status) {
    case FiberStatus::kWaiting:
      return "waiting";
    case FiberStatus::kRunning:
      return "running";
    default:
      return "runnable";
  }
}

std::string describe_wait(std::int64_t ns) {
  const std::int64_t seconds = ns / 1'000'000'000;
  if (seconds <= 0) return "";
  const std::int64_t n = seconds < 60 ? seconds : seconds / 60;
  return std::to_string(n) + (seconds < 60 ? " second" : " minute") + (n == 1 ? "" : "s");
}

std::mutex& observers() noexcept {
  static std::mutex one_at_a_time;
  return one_at_a_time;
}

void visit_traces(Scheduler& scheduler, bool with_stacks, TraceVisitor& visitor) {
  const std::lock_guard guard(observers());
  // On the heap: a goroutine's stack may be small.
  std::make_unique<Observer>(scheduler, with_stacks, visitor)->visit_all();
}

}  // namespace weft::detail

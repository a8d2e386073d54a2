// What is known about goroutines, for people: counters and lists.

#include "weft/stats.hpp"

#include <algorithm>
#include <span>
#include <utility>

#include "sched.hpp"
#include "stack_text.hpp"
#include "symbols.hpp"
#include "traces.hpp"
#include "worker.hpp"

namespace weft::detail {

std::uint64_t Scheduler::spawned() const noexcept {
  std::uint64_t n = foreign_spawned_.load(std::memory_order_seq_cst);
  for (const auto& p : processors) n += p->spawned.get();
  return n;
}

std::uint64_t Scheduler::finished() const noexcept {
  std::uint64_t n = abandoned_.load(std::memory_order_seq_cst) + detached_finished_.load(std::memory_order_seq_cst);
  for (const auto& p : processors) n += p->finished.get();
  return n;
}

std::uint64_t Scheduler::live() const noexcept {
  // Ends are read first: each goroutine counted as ended has been counted as started by then. So the difference is never
  // too low; it is exact if none ended meanwhile, else too high by those that came and went between the two looks.
  std::uint64_t ended = finished();
  for (int tries = 0; tries < 100; ++tries) {
    const std::uint64_t started = spawned();
    const std::uint64_t ended_by_now = finished();
    if (ended_by_now == ended) return started - ended;
    ended = ended_by_now;
  }
  return spawned() - ended;
}

Stats Scheduler::stats() {
  Stats s;
  std::uint64_t by_reason[kWaitReasons] = {};
  s.live = live();
  s.spawned = spawned();
  tasks.for_each([&](Task& task) {
    if (task.is_abandoned.load(std::memory_order_relaxed)) return;
    Fiber* fiber = task.fiber.load(std::memory_order_acquire);
    const FiberStatus status =
        fiber == nullptr ? FiberStatus::kRunnable : fiber->status.load(std::memory_order_relaxed);
    s.runnable += status == FiberStatus::kRunnable ? 1 : 0;
    s.running += status == FiberStatus::kRunning ? 1 : 0;
    if (status == FiberStatus::kWaiting) {
      ++s.waiting;
      ++by_reason[static_cast<unsigned>(fiber->wait_reason.load(std::memory_order_relaxed))];
    }
    if (fiber != nullptr) s.stack_bytes += fiber->state.stack.size;
  });
  for (unsigned reason = 0; reason < kWaitReasons; ++reason) {
    if (by_reason[reason] == 0) continue;
    s.waiting_by_reason.push_back({to_string(static_cast<WaitReason>(reason)), by_reason[reason]});
  }
  std::stable_sort(s.waiting_by_reason.begin(), s.waiting_by_reason.end(),
                   [](const WaitCount& a, const WaitCount& b) { return a.count > b.count; });
  for (const auto& p : processors) {
    s.parks += p->parks.get();
    s.steals += p->steals.get();
  }
  s.parks += detached_parks_.load(std::memory_order_relaxed);
  s.wakes = wakes.load(std::memory_order_relaxed);
  s.handoffs = handoffs.load(std::memory_order_relaxed);
  s.processors = processor_count();
  s.detached = static_cast<unsigned>(std::max(detached.load(std::memory_order_relaxed), 0));
  SpinGuard guard(workers_lock_);
  s.threads = static_cast<unsigned>(workers_.size());
  return s;
}

namespace {

std::string describe_reason(const Trace& trace) {
  if (!trace.is_waiting()) return "";
  return std::string(to_string(trace.reason)) + (trace.is_durable ? " (durable)" : "");
}

/// Takes the facts down; names are looked up when nobody waits any more.
class Lister final : public TraceVisitor {
 public:
  struct Seen {
    GoroutineInfo info;
    const void* spawn_site;
    std::uint32_t first_pc;  // in pcs
    std::uint32_t pcs;
    bool is_cut;
  };
  void visit(const Trace& trace) override {
    Seen& seen = all.emplace_back();
    seen.info.id = trace.id;
    seen.info.name = trace.name;
    seen.info.state = to_string(trace.status);
    seen.info.wait_reason = describe_reason(trace);
    seen.info.waiting_for = std::chrono::nanoseconds(trace.waiting_ns);
    seen.spawn_site = trace.spawn_site;
    seen.first_pc = static_cast<std::uint32_t>(pcs.size());
    seen.pcs = trace.seen == StackSeen::kYes ? trace.frames->count : 0;
    seen.is_cut = trace.seen == StackSeen::kYes && trace.frames->is_cut;
    pcs.insert(pcs.end(), trace.frames->pcs, trace.frames->pcs + seen.pcs);
  }
  void look_up() {
    StackText text;
    for (Seen& seen : all) {
      seen.info.spawn_site = text.site(seen.spawn_site);
      seen.info.stack = text.lines(std::span(pcs).subspan(seen.first_pc, seen.pcs), seen.is_cut, "");
    }
  }
  std::vector<Seen> all;
  std::vector<const void*> pcs;
};

}  // namespace

GoroutineInfo Scheduler::describe(const Task& task) {
  GoroutineInfo info;
  info.id = task.id.load(std::memory_order_relaxed);
  if (task.extras != nullptr) info.name = task.extras->name;
  info.spawn_site = describe_address(task.spawn_site.load(std::memory_order_relaxed));
  Trace trace;
  if (const Fiber* fiber = task.fiber.load(std::memory_order_acquire)) {
    trace.status = fiber->status.load(std::memory_order_relaxed);
    trace.reason = fiber->wait_reason.load(std::memory_order_relaxed);
    trace.is_durable = fiber->is_durable.load(std::memory_order_relaxed);
    if (trace.is_waiting()) {
      const std::int64_t ns = steady_time().now_ns() - fiber->parked_ns.load(std::memory_order_relaxed);
      info.waiting_for = std::chrono::nanoseconds(std::max<std::int64_t>(ns, 0));
    }
  }
  info.state = to_string(trace.status);
  info.wait_reason = describe_reason(trace);
  return info;
}

std::vector<GoroutineInfo> Scheduler::goroutines(bool with_stacks) {
  Lister lister;
  visit_traces(*this, with_stacks, lister);
  on_roomy_stack([](void* list) { static_cast<Lister*>(list)->look_up(); }, &lister);
  std::sort(lister.all.begin(), lister.all.end(),
            [](const Lister::Seen& a, const Lister::Seen& b) { return a.info.id < b.info.id; });
  std::vector<GoroutineInfo> infos;
  infos.reserve(lister.all.size());
  for (Lister::Seen& seen : lister.all) infos.push_back(std::move(seen.info));
  return infos;
}

std::vector<Worker*> Scheduler::workers() {
  std::vector<Worker*> all;
  SpinGuard guard(workers_lock_);
  for (const auto& worker : workers_) all.push_back(worker.get());
  return all;
}

std::vector<int> Scheduler::thread_ids() {
  std::vector<int> ids;
  SpinGuard guard(workers_lock_);
  for (const auto& worker : workers_) {
    if (const int id = worker->thread_id.load(std::memory_order_relaxed)) ids.push_back(id);
  }
  return ids;
}

}  // namespace weft::detail

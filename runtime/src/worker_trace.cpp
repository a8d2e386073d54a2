// What is noted of goroutines that become runnable, run and leave: for the trace, and for the times from ready to running. Nothing of
// it is called unless one of the two is wanted (Attention, TraceState).
//
// Order. Each event is in its ring before what it tells of can be seen by others: a goroutine is noted as ready before it can be
// picked, as having left before it can be picked again, as taken before the processor is free. And its time is read before
// that too. So in the order of their times, events of one goroutine follow each other as they happened, on whatever processors.

#include <array>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include <unistd.h>

#include "sched.hpp"
#include "worker.hpp"
#include "worker_hot.hpp"

namespace weft::detail {
namespace {

void put(Processor& processor, const TraceEvent& event) noexcept {
  if (!processor.is(Attention::kTraced)) return;
  if (TraceRing* ring = processor.trace.ring()) ring->put(event);
}

Task* task_of(const Runnable& runnable) noexcept {
  return runnable.is_task ? const_cast<Task*>(static_cast<const Task*>(&runnable))
                          : static_cast<const Fiber&>(runnable).task;
}

std::uint64_t id_of(const Runnable& runnable) noexcept {
  const Task* task = task_of(runnable);
  return task == nullptr ? 0 : task->id.load(std::memory_order_relaxed);
}

std::uint64_t trace_word(const void* address) noexcept { return reinterpret_cast<std::uintptr_t>(address); }

struct Cause {
  std::uint8_t detail;
  std::uint64_t who;
};

/// Who makes something ready on this worker.
Cause cause_on(const Worker& worker) noexcept {
  if (worker.processor->runs_alarm) return {TraceDetail::kByTimer, 0};
  // A goroutine that is still inside its own wait has not come back from the switch: what runs is the commit of who left. (One
  // that begins, or was in a yield, is not told apart. Commits that ready somebody else are those of bubbles.)
  const std::uint64_t who = worker.current->wait_point == nullptr ? worker.goroutine() : 0;
  return {who == 0 ? TraceDetail::kByRuntime : TraceDetail::kByGoroutine, who};
}

}  // namespace

std::uint64_t Worker::goroutine() const noexcept { return current == &root ? 0 : id_of(*current); }

std::uint8_t Worker::detail_of(Leaving leaving) const noexcept {
  switch (leaving) {
    case Leaving::kParks:
      return static_cast<std::uint8_t>(current->wait_reason.load(std::memory_order_relaxed));
    case Leaving::kYields:
      return TraceDetail::kYielded;
    case Leaving::kEnds:
      break;
  }
  return TraceDetail::kEnded;
}

void Worker::note_spawn(Task& task) noexcept {
  if (task.ready_ns >= TraceState::since_ns.load(std::memory_order_relaxed) && task.ready_ns != 0) return;  // moved on
  const std::int64_t now = trace_clock_ns();
  task.ready_ns = now;
  const Cause cause = cause_on(*this);
  put(*processor, {now, TraceKind::kSpawn, cause.detail, task.id.load(std::memory_order_relaxed), cause.who,
                   trace_word(task.spawn_site.load(std::memory_order_relaxed))});
}

void Worker::note_ready(Fiber& fiber) noexcept {
  const std::int64_t now = trace_clock_ns();
  fiber.ready_ns = now;
  const Cause cause = cause_on(*this);
  put(*processor, {now, TraceKind::kReady, cause.detail, id_of(fiber), cause.who, 0});
}

void Worker::note_switch(Leaving leaving, Runnable* to) noexcept {
  if (current == &root) return;                              // it will say itself what it runs
  if (leaving == Leaving::kYields && to == nullptr) return;  // nobody else: it stays
  const std::int64_t now = trace_clock_ns();
  if (leaving == Leaving::kYields) current->ready_ns = now;
  const bool starts_here = leaving == Leaving::kEnds && to != nullptr && to->is_task && !current->owns_stack &&
                           !static_cast<Task*>(to)->has_own_stack();
  const bool by_root = to == nullptr || to == &root || current->is_pinned || (!starts_here && is_for_root(*to));
  put_begin(now, detail_of(leaving), goroutine(), by_root ? nullptr : to);
}

void Worker::note_begin(Runnable& runnable) noexcept {
  put_begin(trace_clock_ns(), TraceDetail::kNobody, 0, &runnable);
}

void Worker::put_begin(std::int64_t now, std::uint8_t why, std::uint64_t from, Runnable* to) noexcept {
  TraceEvent event{now, TraceKind::kSwitch, why, 0, from, 0};
  if (to != nullptr) {
    const Task& task = *task_of(*to);
    event.who = task.id.load(std::memory_order_relaxed);
    event.word = reinterpret_cast<std::uintptr_t>(task.run);
  }
  put(*processor, event);
  if (to == nullptr) return;
  const std::int64_t ready = std::exchange(to->ready_ns, 0);
  if (ready == 0) return;
  if (processor->latency != nullptr) processor->latency->add(now - ready);
  // What was made ready in an earlier trace, and has run untraced since, has the time of then.
  if (now - ready > TraceState::limit_ns.load(std::memory_order_relaxed) &&
      ready >= TraceState::since_ns.load(std::memory_order_relaxed)) {
    TraceState::note_slow(event.who, now - ready);
  }
}

void Worker::note_got_processor() noexcept {
  const Task* task = current->task;
  put(*processor, {trace_clock_ns(), TraceKind::kSwitch, TraceDetail::kNobody, goroutine(), 0,
                   reinterpret_cast<std::uintptr_t>(task->run)});
}

void Worker::note_come_home(Leaving leaving) noexcept {
  if (!scheduler.notes_times()) return;
  const std::int64_t now = trace_clock_ns();
  if (leaving == Leaving::kYields) current->ready_ns = now;
  const TraceEvent event{now, TraceKind::kComeHome, detail_of(leaving), goroutine(), 0, index};
  scheduler.put_shared({&event, 1});
}

void Worker::note_steal(const Runnable& runnable, const Processor& victim) noexcept {
  put(*processor, {trace_clock_ns(), TraceKind::kSteal, 0, id_of(runnable), 0, victim.index});
}

// --- without a processor ---

void Scheduler::set_traced(bool is_traced) noexcept {
  for (const auto& p : processors) {
    if (is_traced) {
      p->attention.fetch_or(Attention::kTraced, std::memory_order_relaxed);
    } else {
      p->attention.fetch_and(static_cast<std::uint8_t>(~Attention::kTraced), std::memory_order_relaxed);
    }
  }
}

void Scheduler::put_shared(std::span<const TraceEvent> events) noexcept {
  if (!TraceState::is_on.load(std::memory_order_relaxed)) return;
  const SpinGuard guard(shared_trace_lock_);
  TraceRing* ring = shared_trace.ring();
  if (ring == nullptr) return;
  for (const TraceEvent& event : events) ring->put(event);
}

void Scheduler::note_foreign_slow(Runnable& runnable) noexcept {
  const std::int64_t now = trace_clock_ns();
  runnable.ready_ns = now;
  const Worker* worker = current_worker();
  const std::uint64_t waker = worker != nullptr ? worker->goroutine() : 0;
  TraceEvent event{now, TraceKind::kReady, TraceDetail::kByGoroutine, id_of(runnable), waker, 0};
  if (waker == 0) {
    event.detail = worker == nullptr ? TraceDetail::kByThread : TraceDetail::kByRuntime;
    event.other = worker == nullptr ? static_cast<std::uint64_t>(gettid()) : 0;
  }
  if (runnable.is_task) {
    event.kind = TraceKind::kSpawn;
    event.word = trace_word(static_cast<Task&>(runnable).spawn_site.load(std::memory_order_relaxed));
  }
  put_shared({&event, 1});
}

void Scheduler::put_text(Worker* worker, TraceKind kind, std::uint64_t goroutine, std::string_view text) noexcept {
  text = text.substr(0, TraceText::kMostBytes);
  const std::int64_t now = trace_clock_ns();
  std::array<TraceEvent, TraceText::kMostParts> events;
  std::size_t parts = 0;
  do {
    std::uint64_t words[2] = {};
    const std::string_view piece = text.substr(parts * TraceText::kPartBytes, TraceText::kPartBytes);
    std::memcpy(words, piece.data(), piece.size());
    events[parts] = {now, kind, static_cast<std::uint8_t>(parts), goroutine, words[0], words[1]};
    ++parts;
  } while (parts * TraceText::kPartBytes < text.size());
  const std::span<const TraceEvent> all(events.data(), parts);
  if (worker == nullptr) return put_shared(all);
  for (const TraceEvent& event : all) put(*worker->processor, event);
}

}  // namespace weft::detail

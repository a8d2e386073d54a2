// go(), compiled half: records, numbers, stack credits.

#include "weft/detail/spawn.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>
#include <utility>

#include "bubble.hpp"
#include "sched.hpp"
#include "weft/detail/poll_descriptor.hpp"
#include "weft/go.hpp"
#include "weft/runtime.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr std::uint64_t kIdBatch = 64;

std::atomic<std::uint64_t> next_goroutine_id{1};

[[gnu::noinline]] Task* prepare_unusually(Scheduler* wanted, std::size_t size, std::size_t align, const void* site) {
  chaos_point();
  Worker* worker = current_worker();
  if (worker != nullptr && !worker->has_processor() && worker->current != &worker->root) [[unlikely]] {
    worker->come_home();  // it has kept others waiting for long
    worker = current_worker();
  }
  Scheduler* scheduler = wanted != nullptr ? wanted : worker != nullptr ? &worker->scheduler : &default_scheduler("go");
  if (worker != nullptr && &worker->scheduler != scheduler) worker = nullptr;
  Task* task = scheduler->new_task(worker);
  task->spawn_site.store(site, std::memory_order_relaxed);
  task->bubble.store(worker != nullptr ? worker->current->bubble : nullptr, std::memory_order_relaxed);
  if (size <= Task::kInlineBytes && align <= alignof(std::max_align_t)) {
    task->closure = task->storage;
    return task;
  }
  task->closure = ::operator new(size, std::align_val_t(align), std::nothrow);
  if (task->closure == nullptr) {
    cancel_spawn(task);
    throw std::bad_alloc();
  }
  task->closure_align = static_cast<std::uint32_t>(align);
  task->closure_bytes = static_cast<std::uint32_t>(std::min<std::size_t>(size, UINT32_MAX));
  return task;
}

/// The usual case by itself: a small closure, from a goroutine of the same runtime, whose processor has a record and a promise of a
/// stack at hand.
[[gnu::always_inline]] inline Task* prepare_task(Scheduler* wanted, std::size_t size, std::size_t align,
                                                 const void* site) {
  Worker* worker = current_worker();
  // relaxed: as in chaos_point()
  if (worker == nullptr || size > Task::kInlineBytes || align > alignof(std::max_align_t) ||
      (wanted != nullptr && wanted != &worker->scheduler) || chaos_enabled.load(std::memory_order_relaxed)) [[unlikely]]
    return prepare_unusually(wanted, size, align, site);
  const Zone zone = worker->zone.load(std::memory_order_relaxed);
  Task* task = nullptr;
  if (worker->enter_quickly() && worker->processor->stack_credits != 0) [[likely]] {
    Processor& p = *worker->processor;
    task = p.tasks.get_at_hand();
    if (task != nullptr) --p.stack_credits;
  }
  worker->zone.store(zone, std::memory_order_release);  // M3
  if (task == nullptr) [[unlikely]]
    return prepare_unusually(wanted, size, align, site);
  task->scheduler = &worker->scheduler;
  task->spawn_site.store(site, std::memory_order_relaxed);
  task->bubble.store(worker->current->bubble, std::memory_order_relaxed);
  task->closure = task->storage;
  return task;
}

}  // namespace

std::uint64_t take_goroutine_ids(std::uint64_t count) noexcept {
  return next_goroutine_id.fetch_add(count, std::memory_order_relaxed);  // counter
}

[[gnu::noinline]] SpawnSlot begin_spawn(Scheduler* wanted, std::size_t size, std::size_t align) {
  Task* task = prepare_task(wanted, size, align, __builtin_return_address(0));
  return {task, task->closure};
}

[[gnu::noinline]] SpawnSlot begin_spawn(Scheduler* wanted, std::size_t size, std::size_t align,
                                        const GoOptions& options) {
  Task* task = prepare_task(wanted, size, align, __builtin_return_address(0));
  try {
    if (!options.name.empty() || options.stack_size != 0) {
      auto extras = std::make_unique<TaskExtras>();
      extras->name = options.name;
      if (options.stack_size != 0) extras->stack = task->scheduler->fibers.get_single(options.stack_size);
      task->scheduler->tasks.await_visitors();  // who still looks at the record's last goroutine
      task->extras = std::move(extras);
    }
  } catch (...) {
    cancel_spawn(task);
    throw;
  }
  return {task, task->closure};
}

namespace {

/// To the queues, by `submit` if the calling worker has a processor of that runtime.
template <class Submit>
[[gnu::always_inline]] inline void publish(Task* task, Submit submit) noexcept {
  Scheduler& scheduler = *task->scheduler;
  Worker* worker = current_worker();
  if (worker != nullptr && &worker->scheduler == &scheduler) [[likely]] {
    const Entry entry(*worker);
    if (entry.has_processor()) [[likely]] {
      Processor& p = *worker->processor;
      if (p.next_id == p.last_id) [[unlikely]] {
        p.next_id = take_goroutine_ids(kIdBatch);
        p.last_id = p.next_id + kIdBatch;
      }
      p.spawned.add();
      // release [task.id]: publishes the record to whoever walks the pool.
      task->id.store(p.next_id++, std::memory_order_release);
      submit(scheduler, *worker);
      return;
    }
  }
  start_from_outside(task);
}

}  // namespace

namespace {

[[gnu::noinline]] void commit_unusually(Task* task) noexcept {
  if (Bubble* bubble = task->bubble.load(std::memory_order_relaxed)) [[unlikely]]
    bubble->begin();
  publish(task, [task](Scheduler& scheduler, Worker& worker) { scheduler.submit_fresh(worker, task); });
}

[[gnu::noinline]] void submit_and_exit(Worker& worker, Task* task, Zone zone) noexcept {
  worker.scheduler.submit_fresh(worker, task);
  worker.zone.store(zone, std::memory_order_release);  // M3
}

}  // namespace

void commit_spawn(Task* task, void (*run)(void*)) noexcept {
  task->run = run;
  Worker* worker = current_worker();
  if (worker == nullptr || task->scheduler != &worker->scheduler ||
      task->bubble.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
    return commit_unusually(task);
  const Zone zone = worker->zone.load(std::memory_order_relaxed);
  Processor* p = worker->enter_quickly() ? worker->processor : nullptr;
  if (p == nullptr || p->next_id == p->last_id || p->attention.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    worker->zone.store(zone, std::memory_order_release);  // M3
    return commit_unusually(task);
  }
  p->spawned.add();
  task->id.store(p->next_id++, std::memory_order_release);  // release [task.id]: as in publish()
  if (!p->fresh.push(task)) [[unlikely]]
    return submit_and_exit(*worker, task, zone);
  if (worker->scheduler.idle.should_wake()) [[unlikely]]
    return worker->wake_one_and_exit(zone);
  worker->zone.store(zone, std::memory_order_release);  // M3
}

void start_goroutine(Task* task) noexcept {
  if (task == nullptr) return;
  publish(task, [task](Scheduler& scheduler, Worker& worker) {
    if (worker.processor->is(Attention::kNotesTimes)) worker.note_spawn(*task);
    scheduler.submit_last(worker, task);
  });
}

void start_from_outside(Task* task) noexcept {
  Scheduler& scheduler = *task->scheduler;
  scheduler.foreign_calls.fetch_add(1, std::memory_order_seq_cst);
  scheduler.count_foreign_spawn();
  task->id.store(take_goroutine_ids(1), std::memory_order_release);
  scheduler.note_foreign(*task);
  scheduler.submit_foreign(task);
  scheduler.foreign_calls.fetch_sub(1, std::memory_order_seq_cst);
}

void cancel_spawn(Task* task) noexcept {
  Scheduler& scheduler = *task->scheduler;
  if (task->has_own_stack()) scheduler.fibers.put_single(task->extras->stack);
  Worker* worker = current_worker();
  if (worker == nullptr || &worker->scheduler != &scheduler) return scheduler.free_task(nullptr, task);
  const Entry entry(*worker);
  scheduler.free_task(entry.has_processor() ? worker : nullptr, task);
}

void leave_bubble(Task* task) noexcept { task->bubble.store(nullptr, std::memory_order_relaxed); }

/// A batch, so that go() rarely takes the slabs' lock. Once that could not be had, processors keep no credits any more: on
/// the processors that goroutines end on they would be missing to the one that starts the next.
int Scheduler::reserve_credits() {
  if (kept_credits_.load(std::memory_order_relaxed) != 0) {
    try {
      fibers.slabs().reserve(kCreditBatch);
      return kCreditBatch;
    } catch (const std::system_error&) {
      kept_credits_.store(0, std::memory_order_relaxed);  // a policy: whoever sees it late keeps some for a while
    }
  }
  fibers.slabs().reserve(1);
  return 1;
}

Task* Scheduler::new_task(Worker* worker) {
  if (worker != nullptr) [[likely]] {
    const Entry entry(*worker);
    if (entry.has_processor()) [[likely]] {
      Processor& p = *worker->processor;
      if (p.stack_credits == 0) [[unlikely]] {
        p.stack_credits = reserve_credits();
      }
      Task* task = tasks.get(p.tasks);
      --p.stack_credits;
      task->scheduler = this;
      return task;
    }
  }
  if (!process.is_here()) throw_after_fork("Runtime::go");
  if (is_closed()) throw_panic("weft: Runtime::go: the runtime has been shut down");
  fibers.slabs().reserve(1);
  SpinGuard guard(foreign_lock_);
  try {
    Task* task = tasks.get(foreign_tasks_);
    task->scheduler = this;
    return task;
  } catch (...) {
    fibers.slabs().unreserve(1);
    throw;
  }
}

void Scheduler::free_task(Worker* worker, Task* task) noexcept {
  const std::uint64_t id = task->id.load(std::memory_order_relaxed);
  const bool was_started = id != 0;
  if (task->closure != task->storage) [[unlikely]] {
    if (task->closure != nullptr) ::operator delete(task->closure, std::align_val_t(task->closure_align));
  }
  task->closure = nullptr;
  task->is_main = 0;
  task->is_exiting = false;
  task->fiber.store(nullptr, std::memory_order_relaxed);
  task->id.store(0, std::memory_order_release);
  if (task->extras != nullptr) {
    if (TraceState::is_on.load(std::memory_order_relaxed)) put_text(worker, TraceKind::kName, id, task->extras->name);
    tasks.await_visitors();
    task->extras.reset();
  }
  if (worker == nullptr) {
    fibers.slabs().unreserve(1);
    {
      SpinGuard guard(foreign_lock_);
      tasks.put(task, foreign_tasks_);
    }
    if (was_started) detached_finished_.fetch_add(1, std::memory_order_seq_cst);
    return;
  }
  Processor& p = *worker->processor;
  tasks.put(task, p.tasks);
  if (was_started) p.finished.add();
  const int kept = kept_credits_.load(std::memory_order_relaxed);  // a policy
  if (++p.stack_credits > kept) [[unlikely]] {
    const int surplus = kept == 0 ? p.stack_credits : kCreditBatch;
    p.stack_credits -= surplus;
    fibers.slabs().unreserve(static_cast<std::size_t>(surplus));
  }
}

void Scheduler::count_foreign_spawn() noexcept { foreign_spawned_.fetch_add(1, std::memory_order_seq_cst); }

}  // namespace weft::detail

namespace weft {

void yield() noexcept {
  detail::Worker* worker = detail::current_worker();
  if (worker == nullptr) {
    std::this_thread::yield();
  } else {
    worker->yield();
  }
}

void exit_goroutine() {
  detail::Worker* worker = detail::current_worker();
  if (worker == nullptr) detail::throw_panic("weft: exit_goroutine: not called from a goroutine");
  worker->current->task->is_exiting = true;
  throw detail::GoroutineExit();
}

namespace this_goroutine {

std::uint64_t id() noexcept {
  const detail::Worker* worker = detail::current_worker();
  return worker == nullptr ? 0 : worker->current->task->id.load(std::memory_order_relaxed);
}

std::string_view name() noexcept {
  const detail::Worker* worker = detail::current_worker();
  if (worker == nullptr || worker->current->task->extras == nullptr) return {};
  return worker->current->task->extras->name;
}

bool is_goroutine() noexcept { return detail::current_worker() != nullptr; }

}  // namespace this_goroutine
}  // namespace weft

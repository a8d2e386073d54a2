#include "weft/detail/poll_descriptor.hpp"

#include <utility>

#include "deadlock.hpp"
#include "netpoll.hpp"
#include "sched.hpp"
#include "task.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

/// Somebody has been counted as waiting, and there is no worker here that polls when it has nothing else to do.
void see_that_somebody_polls() noexcept {
  if (Netpoll* poller = Netpoll::get(); poller != nullptr && !poller->is_occupied()) DeadlockRegistry::poke_all();
}

}  // namespace

PollDescriptor* open_poll(int fd) { return Netpoll::get_or_make().open(fd); }

void close_poll(PollDescriptor& descriptor) noexcept {
  if (Netpoll* poller = Netpoll::get()) poller->close(descriptor);
}

void start_when_ready(PollDescriptor& descriptor, std::uint32_t generation, PollSide which, Task* task,
                      void (*run)(void*), bool is_empty) noexcept {
  leave_bubble(task);
  task->run = run;
  {
    const SpinGuard guard(descriptor.lock);
    PollDescriptor::Side& side = descriptor.side(which);
    const bool is_open = descriptor.generation == generation && !descriptor.is_closing;
    const std::int64_t deadline = side.deadline_ns.load(std::memory_order_relaxed);
    const bool has_passed = deadline != kForever && deadline <= now_ns();
    if (is_open && is_empty && !std::exchange(side.is_ready, false) && !has_passed) {
      side.starter = task;
      if (!std::exchange(descriptor.has_started, true)) Netpoll::add_waiting(1);
      task = nullptr;
    }
  }
  if (task == nullptr) {
    if (current_worker() == nullptr) see_that_somebody_polls();
    return;
  }
  start_goroutine(task);
}

Task* take_starter(PollDescriptor::Side& side) noexcept { return std::exchange(side.starter, nullptr); }

PollWaiting::PollWaiting() {
  // Somebody has to poll: for a plain thread the default runtime does, if there is no other.
  const bool is_thread = current_worker() == nullptr;
  if (is_thread) static_cast<void>(default_scheduler("a wait for a file"));
  Netpoll::add_waiting(1);
  if (is_thread) see_that_somebody_polls();
}
PollWaiting::~PollWaiting() { Netpoll::add_waiting(-1); }

}  // namespace weft::detail

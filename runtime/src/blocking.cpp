// blocking(): says so to the monitor, and gets a processor again at the end. Answers to Go's entersyscall and exitsyscall.

#include "sched.hpp"
#include "weft/go.hpp"
#include "worker.hpp"

namespace weft::detail {

BlockingSection::BlockingSection() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current == &worker->root) return;
  bool others_wait = false;
  if (worker->enter()) others_wait = worker->processor->has_local_work() || worker->scheduler.has_global_work();
  worker->blockings.store(worker->blockings.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  worker->zone.store(Zone::kBlocking, std::memory_order_release);  // M3 of monitor.hpp
  if (others_wait) worker->scheduler.monitor.expect_blocking();
}

BlockingSection::~BlockingSection() {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current == &worker->root) return;
  if (!worker->enter()) {
    if (!worker->scheduler.idle.take_free_for(*worker)) {
      worker->come_home();
      return;
    }
    worker->lease.store(Worker::held_lease(), std::memory_order_relaxed);
    worker->scheduler.end_detached();
    worker->scheduler.monitor.notice_busy();
    if (worker->processor->is(Attention::kTraced)) worker->note_got_processor();
  }
  worker->exit();
}

}  // namespace weft::detail

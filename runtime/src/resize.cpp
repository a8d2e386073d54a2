// More or fewer processors while goroutines run. Answers to Go's GOMAXPROCS, which stops the world for it; here a processor
// that is not wanted any more is put away when its worker next comes to the runtime.

#include <stdexcept>
#include <string>

#include "processor_count.hpp"
#include "sched.hpp"
#include "trace.hpp"
#include "worker.hpp"

namespace weft::detail {

unsigned Scheduler::set_processors(unsigned n) {
  if (n > kMostProcessors) {
    throw std::invalid_argument("weft: Runtime::set_processors: at most " + std::to_string(kMostProcessors));
  }
  SpinGuard guard(resize_lock_);
  const unsigned before = wanted_processors_;
  if (n == 0) return before;
  follows_default_.store(false, std::memory_order_relaxed);
  resize(n);
  return before;
}

void Scheduler::follow_default() noexcept {
  if (!follows_default_.load(std::memory_order_relaxed)) return;
  try {
    const unsigned n = default_processor_count();
    SpinGuard guard(resize_lock_);
    if (follows_default_.load(std::memory_order_relaxed) && n != wanted_processors_) resize(n);
  } catch (...) {
    // As many as before will do.
  }
}

/// With resize_lock_ held.
void Scheduler::resize(unsigned n) {
  for (unsigned missing = idle.resize(n); missing > 0; --missing) {
    inject.add_producer();
    overflow.add_producer();
    Processor& processor = add_processor();
    Tracer::instance().adopt(processor);
    idle.add(processor, true);
  }
  wanted_processors_ = n;
  if (idle.has_surplus()) {
    for (const auto& p : processors) p->call();
  }
  heavy_barrier();  // as after Z1: what was submitted before has seen fewer free ones
  if (has_work()) wake_one();
}

void Scheduler::drain(Processor& processor) noexcept {
  const auto move = [&](Runnable* runnable) {
    (runnable->is_task ? overflow : inject).push(processor.index, &runnable, 1);
  };
  if (Runnable* runnable = processor.next.take()) move(runnable);
  while (Runnable* runnable = processor.ready.pop()) move(runnable);
  while (Runnable* runnable = processor.fresh.take_oldest()) move(runnable);
  notify();
}

}  // namespace weft::detail

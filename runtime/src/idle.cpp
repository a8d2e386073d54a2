#include "idle.hpp"

#include <utility>

#include "worker.hpp"

namespace weft::detail {
namespace {

void hand(Processor* processor, Worker& worker) noexcept {
  worker.processor = processor;
  processor->holder.store(&worker, std::memory_order_release);  // to the monitor
}

}  // namespace

/// Under lock_.
Processor* Idle::take_free() noexcept {
  Processor* processor = free_list_;
  if (processor == nullptr) return nullptr;
  free_list_ = processor->idle_next;
  departures_.fetch_add(1, std::memory_order_seq_cst);
  free_.store(free_.load(std::memory_order_relaxed) - 1, std::memory_order_seq_cst);
  return processor;
}

Idle::Wake Idle::claim_wake() noexcept {
  SpinGuard guard(lock_);
  // searching_ becomes 1 only together with a processor: others rely on whoever they see searching.
  if (free_list_ == nullptr) return {};
  unsigned none = 0;
  // seq_cst: one searcher at a time is woken; whoever loses relies on the winner's search.
  if (!searching_.compare_exchange_strong(none, 1, std::memory_order_seq_cst, std::memory_order_relaxed)) return {};
  Processor* processor = take_free();
  Worker* worker = sleepers_;
  if (worker != nullptr) {
    unlink(*worker);
    hand(processor, *worker);
    worker->is_searching = true;
  }
  return {processor, worker};
}

bool Idle::try_start_search(unsigned processors) noexcept {
  // At most half of the busy processors search. relaxed: a policy, not an invariant.
  const unsigned busy = processors - free_.load(std::memory_order_relaxed);
  if (2 * searching_.load(std::memory_order_relaxed) >= busy) return false;
  start_search();
  return true;
}

/// Under lock_.
void Idle::put_away(Processor& processor) noexcept {
  processor.is_away.store(true, std::memory_order_relaxed);
  processor.idle_next = away_.load(std::memory_order_relaxed);
  away_.store(&processor, std::memory_order_relaxed);
  in_use_.store(in_use_.load(std::memory_order_relaxed) - 1, std::memory_order_seq_cst);
}

unsigned Idle::resize(unsigned wanted) noexcept {
  SpinGuard guard(lock_);
  unsigned surplus = surplus_.load(std::memory_order_relaxed);
  const auto in_use = [&] { return in_use_.load(std::memory_order_relaxed); };
  while (surplus != 0 && in_use() - surplus < wanted) --surplus;
  surplus_.store(surplus, std::memory_order_relaxed);  // put_free() looks at it
  while (in_use() < wanted) {
    Processor* processor = away_.load(std::memory_order_relaxed);
    if (processor == nullptr) break;
    away_.store(processor->idle_next, std::memory_order_relaxed);
    processor->is_away.store(false, std::memory_order_relaxed);
    in_use_.store(in_use() + 1, std::memory_order_seq_cst);
    put_free(*processor);
  }
  while (in_use() - surplus > wanted) {
    if (free_list_ != nullptr) {
      put_away(*take_free());
    } else {
      ++surplus;
    }
  }
  surplus_.store(surplus, std::memory_order_relaxed);
  return wanted > in_use() ? wanted - in_use() : 0;
}

void Idle::add(Processor& processor, bool is_free) noexcept {
  SpinGuard guard(lock_);
  in_use_.store(in_use_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
  if (is_free) put_free(processor);
}

/// Under lock_.
void Idle::put_free(Processor& processor) noexcept {
  processor.holder.store(nullptr, std::memory_order_release);
  const unsigned surplus = surplus_.load(std::memory_order_relaxed);
  if (surplus != 0) {
    surplus_.store(surplus - 1, std::memory_order_relaxed);
    return put_away(processor);
  }
  processor.idle_next = free_list_;
  free_list_ = &processor;
  free_.store(free_.load(std::memory_order_relaxed) + 1, std::memory_order_seq_cst);
}

void Idle::go_to_sleep(Worker& worker, Processor& processor) noexcept {
  SpinGuard guard(lock_);
  put_free(processor);
  link(worker);
}

void Idle::link(Worker& worker) noexcept {
  worker.processor = nullptr;
  worker.idle_next = sleepers_;
  worker.is_asleep = true;
  sleepers_ = &worker;
}

bool Idle::unlink(Worker& worker) noexcept {
  for (Worker** at = &sleepers_; *at != nullptr; at = &(*at)->idle_next) {
    if (*at != &worker) continue;
    *at = worker.idle_next;
    worker.is_asleep = false;
    resign_keeper(worker);
    return true;
  }
  return false;
}

void Idle::resign_keeper(Worker& worker) noexcept {
  if (keeper_ != &worker) return;
  keeper_ = nullptr;
  keeper_target_.store(INT64_MIN, std::memory_order_seq_cst);
}

Processor* Idle::get_up(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  if (!worker.is_asleep) return nullptr;
  Processor* processor = take_free();
  if (processor == nullptr) return nullptr;
  unlink(worker);
  hand(processor, worker);
  worker.is_searching = true;
  start_search();
  return processor;
}

bool Idle::has_sleepers() noexcept {
  SpinGuard guard(lock_);
  return sleepers_ != nullptr;
}

bool Idle::is_asleep(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  return worker.is_asleep;
}

bool Idle::remove(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  return unlink(worker);
}

void Idle::give_back(Processor& processor) noexcept {
  SpinGuard guard(lock_);
  put_free(processor);
}

bool Idle::take_free_for(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  Processor* processor = take_free();
  if (processor == nullptr) return false;
  hand(processor, worker);
  return true;
}

Worker* Idle::any_sleeper() noexcept {
  SpinGuard guard(lock_);
  return keeper_ != nullptr ? keeper_ : sleepers_;
}

Idle::HandOverResult Idle::set_aside(Worker& worker, Runnable* first) noexcept {
  SpinGuard guard(lock_);
  if (worker.is_recalled) {
    worker.is_recalled = false;
    return {HandOver::kRecalled, nullptr};
  }
  Worker* to = sleepers_;
  if (to == nullptr) return {HandOver::kNobody, nullptr};
  if (to == keeper_ && to->idle_next != nullptr) to = to->idle_next;
  to->is_searching = to == keeper_;
  if (to->is_searching) start_search();
  unlink(*to);
  hand(worker.processor, *to);
  to->in_hand = first;
  worker.processor = nullptr;
  worker.is_set_aside = true;
  return {HandOver::kDone, to};
}

Idle::HandOver Idle::set_aside_freeing(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  if (worker.is_recalled) {
    worker.is_recalled = false;
    return HandOver::kRecalled;
  }
  put_free(*worker.processor);
  worker.processor = nullptr;
  worker.is_set_aside = true;
  return HandOver::kDone;
}

bool Idle::set_aside_detached(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  worker.is_set_aside = true;
  return std::exchange(worker.is_recalled, false);
}

bool Idle::recall(Worker& own, Worker& picker) noexcept {
  SpinGuard guard(lock_);
  if (!own.is_set_aside) {
    own.is_recalled = true;
    return false;
  }
  own.is_set_aside = false;
  hand(picker.processor, own);
  link(picker);
  return true;
}

bool Idle::is_set_aside(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  return worker.is_set_aside;
}

void Idle::add_sleeper(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  link(worker);
}

void Idle::offer_keeper(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  if (!worker.is_asleep || keeper_ != nullptr) return;
  keeper_ = &worker;
  keeper_target_.store(INT64_MAX, std::memory_order_seq_cst);
}

void Idle::resign(Worker& worker) noexcept {
  SpinGuard guard(lock_);
  resign_keeper(worker);
}

void Idle::keep_time(Worker& worker, std::int64_t deadline) noexcept {
  SpinGuard guard(lock_);
  if (!worker.is_asleep) return;
  if (keeper_ == &worker || keeper_ == nullptr || deadline < keeper_target_.load(std::memory_order_relaxed)) {
    keeper_ = &worker;
    keeper_target_.store(deadline, std::memory_order_seq_cst);
  }
}

Worker* Idle::keeper_to_poke_slow(std::int64_t deadline) noexcept {
  SpinGuard guard(lock_);
  if (keeper_ == nullptr || deadline >= keeper_target_.load(std::memory_order_relaxed)) return nullptr;
  // Others need not poke again for a later deadline than this one.
  keeper_target_.store(deadline, std::memory_order_relaxed);
  return keeper_;
}

}  // namespace weft::detail

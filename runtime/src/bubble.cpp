#include "bubble.hpp"

#include <utility>

namespace weft::detail {
namespace {

constexpr std::int64_t kEpochNs = 946'684'800'000'000'000;  // 2000-01-01T00:00:00Z

std::atomic<std::uint32_t> next_bubble_id{1};

}  // namespace

std::atomic<unsigned> bubble_count{0};

Bubble::Bubble() noexcept : id(next_bubble_id.fetch_add(1, std::memory_order_relaxed)), now_ns_(kEpochNs) {
  bubble_count.fetch_add(1, std::memory_order_relaxed);
}

Bubble::~Bubble() {
  timers.forget_all(nullptr);
  bubble_count.fetch_sub(1, std::memory_order_relaxed);
}

bool Bubble::set_waiter(SleeperHandle waiter) noexcept {
  std::uintptr_t nobody = 0;
  return waiter_.compare_exchange_strong(nobody, waiter.bits(), std::memory_order_relaxed);
}

void Bubble::fire_due() noexcept {
  due_.clear();
  constexpr std::size_t kBatch = 64;
  TimerHeap::Expired batch[kBatch];
  while (const std::size_t n = timers.run_expired(now_ns(), batch, kBatch)) due_.insert(due_.end(), batch, batch + n);
  // Those due at the same instant come in any order (SYN-8), so that no test comes to depend on one.
  for (std::size_t i = due_.size(); i > 1; --i) {
    std::swap(due_[i - 1], due_[random_below(static_cast<std::uint32_t>(i))]);
  }
  for (const TimerHeap::Expired& expired : due_) {
    const SleeperHandle sleeper =
        expired.alarm == nullptr ? expired.sleeper : expired.alarm->ops->expire(*expired.alarm, now_ns());
    if (sleeper) ready(sleeper);
  }
}

void Bubble::settle(std::uint64_t counts) noexcept {
  for (;;) {
    if (counts == 0) return completion_.done();  // everybody has ended
    if (const std::uintptr_t waiter = waiter_.exchange(0, std::memory_order_relaxed)) {
      return ready(SleeperHandle(waiter));
    }
    const std::int64_t next = timers.next_deadline();
    if (main_has_ended_ || next == kForever) {
      deadlock_ = main_has_ended_ ? "deadlock: main bubble goroutine has exited but blocked goroutines remain"
                                  : "deadlock: all goroutines in bubble are blocked";
      return completion_.done();
    }
    unblock();  // B3
    now_ns_.store(next, std::memory_order_relaxed);
    fire_due();
    // Those who were readied may have come to rest, or to their ends, meanwhile; or an alarm had nothing to do.
    counts = counts_.fetch_sub(kOneActs, std::memory_order_acq_rel) - kOneActs;  // acq_rel [bubble]: as in leave()
    if (active(counts) != 0) return;
  }
}

const char* Bubble::await_end() noexcept {
  completion_.wait();
  return deadlock_;
}

}  // namespace weft::detail

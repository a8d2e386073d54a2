#include "timer_heap.hpp"

#include <algorithm>

namespace weft::detail {
namespace {
constexpr std::size_t kArity = 4;
}

void TimerHeap::place(std::size_t index, Entry entry) noexcept {
  heap_[index] = entry;
  entry.node->index = static_cast<std::uint32_t>(index);
}

void TimerHeap::sift_up(std::size_t index, Entry entry) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / kArity;
    if (heap_[parent].when <= entry.when) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void TimerHeap::sift_down(std::size_t index, Entry entry) noexcept {
  for (;;) {
    const std::size_t first = index * kArity + 1;
    if (first >= heap_.size()) break;
    const std::size_t last = std::min(first + kArity, heap_.size());
    std::size_t least = first;
    for (std::size_t child = first + 1; child < last; ++child) {
      if (heap_[child].when < heap_[least].when) least = child;
    }
    if (heap_[least].when >= entry.when) break;
    place(index, heap_[least]);
    index = least;
  }
  place(index, entry);
}

void TimerHeap::erase(std::size_t index) noexcept {
  const Entry moved = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  const std::size_t parent = index == 0 ? 0 : (index - 1) / kArity;
  if (index > 0 && heap_[parent].when > moved.when) {
    sift_up(index, moved);
  } else {
    sift_down(index, moved);
  }
}

void TimerHeap::publish() noexcept {
  // release [timer.next]: pairs with the acquire in next_deadline().
  next_.store(heap_.empty() ? kForever : heap_.front().when, std::memory_order_release);
}

void TimerHeap::add(TimerNode& node, std::int64_t when) {
  SpinGuard guard(lock_);
  node.home = this;
  heap_.push_back({});
  sift_up(heap_.size() - 1, {when, &node});
  publish();
}

bool TimerHeap::remove(TimerNode& node) noexcept {
  if (node.home == nullptr) return false;
  TimerHeap& heap = *node.home;
  SpinGuard guard(heap.lock_);
  if (node.index == TimerNode::kNotQueued) return false;
  heap.erase(node.index);
  node.index = TimerNode::kNotQueued;
  heap.publish();
  return true;
}

std::size_t TimerHeap::run_expired(std::int64_t now, Expired* out, std::size_t capacity, bool alarms_too) noexcept {
  if (next_deadline() > now) return 0;
  SpinGuard guard(lock_);
  std::size_t n = 0;
  while (n < capacity && !heap_.empty() && heap_.front().when <= now) {
    TimerNode& node = *heap_.front().node;
    if (node.ops != nullptr && !alarms_too) break;
    erase(0);
    node.index = TimerNode::kNotQueued;
    if (node.ops != nullptr) {
      out[n++] = {{}, &node};
      continue;
    }
    const SleeperHandle sleeper = node.sleeper;
    if (node.claim == nullptr || node.claim->try_win(node.claim_id)) out[n++] = {sleeper, nullptr};
  }
  publish();
  return n;
}

void TimerHeap::forget_all(const Scheduler* dying) noexcept {
  for (;;) {
    TimerNode* node = nullptr;
    {
      SpinGuard guard(lock_);
      if (heap_.empty()) return;
      node = heap_.front().node;
      erase(0);
      node->index = TimerNode::kNotQueued;
      publish();
    }
    if (node->ops != nullptr) node->ops->forget(*node, dying);
  }
}

std::size_t TimerHeap::size() noexcept {
  SpinGuard guard(lock_);
  return heap_.size();
}

}  // namespace weft::detail

// What the scenarios on threads share.
#pragma once

#include <sched.h>

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "../harness.hpp"

namespace compare {

using Threads = std::vector<std::jthread>;  // joins them when it goes

// A queue of bounded length, as every program without channels has one.
template <class T>
class Queue {
 public:
  explicit Queue(std::size_t capacity) : capacity_(capacity) {}

  void push(T value) {
    std::unique_lock lock(mutex_);
    has_room_.wait(lock, [this] { return values_.size() < capacity_; });
    values_.push_back(std::move(value));
    lock.unlock();
    has_values_.notify_one();
  }
  // Empty once it is closed and drained.
  std::optional<T> pop() {
    std::unique_lock lock(mutex_);
    has_values_.wait(lock, [this] { return !values_.empty() || closed_; });
    if (values_.empty()) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    lock.unlock();
    has_room_.notify_one();
    return value;
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    has_values_.notify_all();
  }

 private:
  const std::size_t capacity_;
  std::mutex mutex_;
  std::condition_variable has_room_, has_values_;
  std::deque<T> values_;  // guarded by mutex_
  bool closed_ = false;   // guarded by mutex_
};

/// What the process may use.
inline unsigned processors_bound() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "affinity", 0);
  return static_cast<unsigned>(CPU_COUNT(&allowed));
}

}  // namespace compare

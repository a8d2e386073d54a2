#pragma once

// Goroutines that compute without a call of weft's, for tests that ask what becomes of the others meanwhile.

#include <atomic>
#include <thread>

#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

namespace weft::test {

/// A loop without any call of weft's.
inline void spin_until(const std::atomic<bool>& flag) {
  while (!flag.load(std::memory_order_acquire)) {
  }
}

/// So many of them, all of them running once the constructor returns. Stopped and waited for by the destructor.
class Hogs {
 public:
  Hogs(Runtime& runtime, int count) {
    group_.add(count);
    for (int i = 0; i < count; ++i) {
      runtime.go([this] {
        running_.fetch_add(1);
        spin_until(stop_);
        group_.done();
      });
    }
    while (running_.load() != count) std::this_thread::yield();
  }
  Hogs(const Hogs&) = delete;
  Hogs& operator=(const Hogs&) = delete;
  ~Hogs() {
    stop();
    group_.wait();
  }
  void stop() { stop_.store(true, std::memory_order_release); }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> running_{0};
  WaitGroup group_;
};

}  // namespace weft::test

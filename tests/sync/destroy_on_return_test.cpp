// HZ-5: an object that is destroyed by whoever it has just let go on, while its last waker may still be inside the call
// that did so. On the heap, and freed at once, so that the address sanitizer sees any later access, and the thread
// sanitizer any access that nothing orders before the free. A soak does a million rounds of each.

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include <gtest/gtest.h>

#include <weft/cond.hpp>
#include <weft/context.hpp>
#include <weft/future.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/rwmutex.hpp>
#include <weft/semaphore.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

int destroy_rounds() { return weft::test::soaking() ? 1'000'000 : weft::test::rounds(20'000); }

/// Two goroutines that meet in an object of type T, round after round: `first` waits in it and then frees it, `last` lets
/// `first` go on. Both are the same two goroutines all the time, so that the rounds follow each other closely.
template <class T, class First, class Last>
void meet(First first, Last last) {
  weft::run([&] {
    const int rounds = destroy_rounds();
    std::atomic<T*> shared{nullptr};
    weft::WaitGroup group;
    group.go([&] {
      for (int i = 0; i < rounds; ++i) {
        auto mine = std::make_unique<T>();
        T& object = *mine;
        first(object, [&] { shared.store(&object, std::memory_order_release); });
        mine.reset();
      }
    });
    group.go([&] {
      for (int i = 0; i < rounds; ++i) {
        T* object = nullptr;
        while ((object = shared.exchange(nullptr, std::memory_order_acquire)) == nullptr) weft::yield();
        last(*object);
      }
    });
    group.wait();
  });
}

// Rules: HZ-5, WG-1
TEST(DestroyOnReturnTest, WaitGroup) {
  meet<weft::WaitGroup>(
      [](weft::WaitGroup& group, auto publish) {
        group.add(1);
        publish();
        group.wait();
      },
      [](weft::WaitGroup& group) { group.done(); });
}

// Rules: HZ-5
TEST(DestroyOnReturnTest, WaitGroupWithALimit) {
  meet<weft::WaitGroup>(
      [](weft::WaitGroup& group, auto publish) {
        auto [ctx, cancel] = weft::with_cancel(weft::background());
        group.add(1);
        publish();
        while (!group.wait_for(std::chrono::microseconds(1))) {
        }
        EXPECT_TRUE(group.wait(ctx));
      },
      [](weft::WaitGroup& group) { group.done(); });
}

// Rules: HZ-5, MU-2
TEST(DestroyOnReturnTest, Mutex) {
  meet<weft::Mutex>(
      [](weft::Mutex& mutex, auto publish) {
        mutex.lock();
        publish();
        mutex.lock();  // until the other one unlocks
        mutex.unlock();
      },
      [](weft::Mutex& mutex) { mutex.unlock(); });
}

// Rules: HZ-5
TEST(DestroyOnReturnTest, MutexWithALimit) {
  meet<weft::Mutex>(
      [](weft::Mutex& mutex, auto publish) {
        mutex.lock();
        publish();
        while (!mutex.try_lock_for(std::chrono::microseconds(1))) {
        }
        mutex.unlock();
      },
      [](weft::Mutex& mutex) { mutex.unlock(); });
}

// Rules: HZ-5
TEST(DestroyOnReturnTest, Semaphore) {
  struct Empty : weft::Semaphore {
    Empty() : Semaphore(1) { acquire(); }
  };
  meet<Empty>(
      [](Empty& semaphore, auto publish) {
        publish();
        semaphore.acquire();  // until the other one releases
      },
      [](Empty& semaphore) { semaphore.release(); });
}

// Rules: HZ-5, RW-3
TEST(DestroyOnReturnTest, RWMutex) {
  meet<weft::RWMutex>(
      [](weft::RWMutex& mutex, auto publish) {
        mutex.lock_shared();
        publish();
        mutex.lock();  // until the reader, who is the other one, leaves
        mutex.unlock();
      },
      [](weft::RWMutex& mutex) { mutex.unlock_shared(); });
}

// Rules: HZ-5, CO-2
TEST(DestroyOnReturnTest, Cond) {
  struct Gate {
    weft::Mutex mutex;
    weft::Cond cond;
    bool is_open = false;
  };
  meet<Gate>(
      [](Gate& gate, auto publish) {
        std::unique_lock lock(gate.mutex);
        publish();
        gate.cond.wait(lock, [&] { return gate.is_open; });
      },
      [](Gate& gate) {
        const std::lock_guard lock(gate.mutex);
        gate.is_open = true;
        gate.cond.notify_one();  // with the lock held: whoever wakes destroys both as soon as this scope ends
      });
}

/// The state of a Future is shared: here it is the Future itself, and what the function refers to, that goes at once.
// Rules: HZ-5
TEST(DestroyOnReturnTest, Future) {
  weft::run([] {
    const int rounds = destroy_rounds();
    for (int i = 0; i < rounds; ++i) {
      auto input = std::make_unique<int>(i);
      auto future = std::make_unique<weft::Future<int>>(weft::async([&value = *input] { return value + 1; }));
      const int result = future->get();
      future.reset();
      input.reset();
      ASSERT_EQ(result, i + 1);
    }
  });
}

}  // namespace

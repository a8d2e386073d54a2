// What the standard library needs for one operation of each scenario of the comparison: threads, and what they meet at.
//
// Same names, counts and checks as weft_locks.cpp, weft_context.cpp and weft_pools.cpp. A scenario is left out where the
// standard library has nothing like it (channels, timers) or cannot do it (a million threads). Where an operation starts,
// wakes or yields a thread, which costs what a hundred operations of a goroutine do, the counts are a tenth. $STD_PROCS
// sets the processors: the process is bound to as many. Built by compare.py:
//
//     g++ -std=c++20 -O2 -DNDEBUG -pthread -o std_bench std_bench.cpp
#include <sched.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <future>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <semaphore>
#include <shared_mutex>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "harness.hpp"

namespace {

using namespace compare;
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

// Two threads, each yields two hundred thousand times; per yield.
Result bench_yield() {
  constexpr Int kThreads = 2, kYields = 200'000;
  std::array<Int, kThreads> done{};
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : done) {
      threads.emplace_back([&mine] {
        Int n = 0;
        for (; n < kYields; ++n) std::this_thread::yield();
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == kYields && done[1] == kYields, "yields", done[0] + done[1]);
  return {kThreads * kYields, elapsed};
}

// Lock, increment, unlock by a number of threads; per increment.
Result mutex(Int count, Int each) {
  std::mutex mu;
  Int counter = 0;  // guarded by mu
  const Stopwatch watch;
  {
    Threads threads;
    for (Int t = 0; t < count; ++t) {
      threads.emplace_back([&mu, &counter, each] {
        for (Int i = 0; i < each; ++i) {
          mu.lock();
          ++counter;
          mu.unlock();
        }
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(counter == count * each, "counted", counter);
  return {count * each, elapsed};
}

Result bench_mutex_1() { return mutex(1, 20'000'000); }
Result bench_mutex_8() { return mutex(8, 2'000'000); }

// Threads lock for reading, look at a counter, unlock; every so many'th operation locks for writing and increments it.
// writes_every 0: nobody writes. Per lock and unlock of either kind.
Result rwmutex(Int count, Int each, Int writes_every) {
  std::shared_mutex mu;
  Int counter = 1;  // guarded by mu
  std::vector<Int> seen(static_cast<std::size_t>(count));
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : seen) {
      threads.emplace_back([&mu, &counter, &mine, each, writes_every] {
        Int positive = 0;
        for (Int i = 1, next_write = writes_every; i <= each; ++i) {
          if (i == next_write) {
            next_write += writes_every;
            mu.lock();
            ++counter;
            mu.unlock();
          } else {
            mu.lock_shared();
            if (counter > 0) ++positive;
            mu.unlock_shared();
          }
        }
        mine = positive;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = counter - 1;
  for (const Int s : seen) total += s;
  check(total == count * each, "reads and writes", total);
  check(counter == 1 + (writes_every == 0 ? 0 : count * (each / writes_every)), "counter", counter);
  return {count * each, elapsed};
}

Result bench_rwmutex_1() { return rwmutex(1, 20'000'000, 0); }
Result bench_rwmutex_read() { return rwmutex(8, 4'000'000, 20); }

// Eight threads take one of four units and give it back; per unit. With yields they do so in between.
Result semaphore(Int each, bool yields) {
  constexpr std::size_t kThreads = 8;
  std::counting_semaphore<4> units(4);
  std::vector<Int> taken(kThreads);
  const Stopwatch watch;
  {
    Threads threads;
    for (Int& mine : taken) {
      threads.emplace_back([&units, &mine, each, yields] {
        Int n = 0;
        for (; n < each; ++n) {
          units.acquire();
          if (yields) std::this_thread::yield();
          units.release();
        }
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int t : taken) total += t;
  check(total == static_cast<Int>(kThreads) * each, "taken", total);
  return {total, elapsed};
}

Result bench_semaphore_4() { return semaphore(500'000, false); }
Result bench_semaphore_4_wait() { return semaphore(10'000, true); }

// Ask a once_flag that is done; per call.
Result bench_once_fast() {
  constexpr Int kCalls = 50'000'000;
  std::once_flag once;
  Int runs = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kCalls; ++i) std::call_once(once, [&runs] { ++runs; });
  const nanoseconds elapsed = watch.elapsed();
  check(runs == 1, "runs", runs);
  return {kCalls, elapsed};
}

// Start a hundred threads, wait for all at a latch, four hundred times; per thread.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 400;
  constexpr std::ptrdiff_t kThreads = 100;
  std::vector<Int> ran(kThreads);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    std::latch all(kThreads);
    Threads threads;  // a thread has to be joined before its latch may go
    threads.reserve(kThreads);
    for (Int& mine : ran) {
      threads.emplace_back([&mine, &all] {
        ++mine;
        all.count_down();
      });
    }
    all.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kThreads, "threads that ran", total);
  return {total, elapsed};
}

// The nearest thing to a context: a stop source that hears of its parent's stop.
class Stop {
 public:
  Stop() = default;
  explicit Stop(const Stop& parent) : link_(std::in_place, parent.source_.get_token(), Forward{&source_}) {}
  void operator()() { source_.request_stop(); }
  bool is_done() const { return source_.stop_requested(); }

 private:
  struct Forward {
    std::stop_source* source;
    void operator()() const { source->request_stop(); }
  };
  std::stop_source source_;
  std::optional<std::stop_callback<Forward>> link_;
};

// Derive a stop source from one that was not asked to stop, and stop it; per source.
Result bench_context_cancel() {
  constexpr Int kContexts = 2'000'000;
  Stop parent;
  Int done = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kContexts; ++i) {
    Stop child(parent);
    child();
    if (child.is_done()) ++done;
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kContexts && !parent.is_done(), "done", done);
  return {kContexts, elapsed};
}

// A tree of ten thousand sources, ten below each, is made below one, stopped there and dropped; per source.
Result bench_context_tree() {
  constexpr Int kTrees = 50;
  constexpr std::size_t kContexts = 10'000, kChildren = 10;
  Int done = 0;
  const Stopwatch watch;
  for (Int t = 0; t < kTrees; ++t) {
    std::deque<Stop> tree;  // they do not move
    tree.emplace_back();
    for (std::size_t i = 0; i < kContexts; ++i) tree.emplace_back(std::as_const(tree[i / kChildren]));
    tree.front()();
    for (const Stop& stop : tree) done += stop.is_done() ? 1 : 0;
    while (!tree.empty()) tree.pop_back();  // children first
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done == kTrees * static_cast<Int>(kContexts + 1), "done", done);
  return {kTrees * static_cast<Int>(kContexts), elapsed};
}

// Start a function in a thread, wait for its result, fifty thousand times; per result.
Result bench_future() {
  constexpr Int kResults = 50'000;
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kResults; ++i) sum += std::async(std::launch::async, [i] { return i; }).get();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kResults), "sum", sum);
  return {kResults, elapsed};
}

// Jobs for eight threads behind a queue of 1,024; so many are submitted, then their results collected, and again. Per job.
Result pool(Int jobs, std::size_t at_once) {
  using Job = std::packaged_task<Int()>;
  Queue<Job> todo(1'024);
  Threads workers;
  for (int w = 0; w < 8; ++w) {
    workers.emplace_back([&todo] {
      while (std::optional<Job> job = todo.pop()) (*job)();
    });
  }
  std::vector<std::future<Int>> results(at_once);
  Int sum = 0;
  Int next = 0;
  const Stopwatch watch;
  while (next < jobs) {
    for (auto& result : results) {
      Job job([n = next] { return 2 * n + 1; });
      result = job.get_future();
      todo.push(std::move(job));
      ++next;
    }
    for (auto& result : results) sum += result.get();
  }
  const nanoseconds elapsed = watch.elapsed();
  todo.close();
  check(sum == 2 * sum_to(jobs) + jobs, "sum", sum);
  return {jobs, elapsed};
}

Result bench_pool_submit() { return pool(30'000, 1); }
Result bench_pool_batch() { return pool(100'000, 1'000); }

// Two hundred thousand jobs through eight threads over two queues of 1,024; per job.
Result bench_worker_pool() {
  constexpr Int kWorkers = 8, kJobs = 200'000;
  Queue<Int> jobs(1'024);
  Queue<Int> results(1'024);
  const Stopwatch watch;
  Threads threads;
  for (Int w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&] {
      while (const std::optional<Int> job = jobs.pop()) results.push(2 * *job + 1);
    });
  }
  threads.emplace_back([&] {
    for (Int i = 0; i < kJobs; ++i) jobs.push(i);
    jobs.close();
  });
  Int sum = 0;
  for (Int i = 0; i < kJobs; ++i) sum += *results.pop();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(kJobs) + kJobs, "sum", sum);
  return {kJobs, elapsed};
}

// $STD_PROCS; without it, what the process may use.
unsigned wanted_processors() {
  const char* text = std::getenv("STD_PROCS");
  const long n = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return n > 0 ? static_cast<unsigned>(n) : std::thread::hardware_concurrency();
}

// Binds the process, so its threads to be, to that many of the processors it has now.
unsigned bind_to(unsigned processors) {
  cpu_set_t allowed;
  cpu_set_t chosen;
  CPU_ZERO(&chosen);
  check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "affinity", 0);
  unsigned n = 0;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE && n < processors; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed)) continue;
    CPU_SET(cpu, &chosen);
    ++n;
  }
  check(sched_setaffinity(0, sizeof chosen, &chosen) == 0, "affinity", n);
  return n;
}

Result run(const Scenario& scenario, unsigned& processors) {
  processors = bind_to(wanted_processors());
  return scenario.run();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string version = "std::thread, g++ " __VERSION__ ", -O2";
  return run_program(argc, argv,
                     {"std_bench",
                      version,
                      "STD_PROCS",
                      {
                          {"yield", bench_yield},
                          {"worker_pool", bench_worker_pool},
                          {"mutex_1", bench_mutex_1},
                          {"mutex_8", bench_mutex_8},
                          {"rwmutex_1", bench_rwmutex_1},
                          {"rwmutex_read", bench_rwmutex_read},
                          {"semaphore_4", bench_semaphore_4},
                          {"semaphore_4_wait", bench_semaphore_4_wait},
                          {"once_fast", bench_once_fast},
                          {"wait_group_fanout", bench_wait_group_fanout},
                          {"context_cancel", bench_context_cancel},
                          {"context_tree", bench_context_tree},
                          {"future", bench_future},
                          {"pool_submit", bench_pool_submit},
                          {"pool_batch", bench_pool_batch},
                      },
                      run});
}

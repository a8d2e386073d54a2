// What Boost.Fiber needs for one operation of each scenario of the comparison.
//
// Same names, counts and checks as in weft_bench.cpp and beside it. A scenario is left out where Boost.Fiber has nothing
// like it (select, RWMutex, Once, contexts) or cannot do it (a million fibers: each has a stack of its own from malloc).
// $BOOST_FIBER_PROCS threads share the work by `work_stealing`; BOOST_FIBER_ALGORITHM=shared_work takes the other one, which
// is faster where fibers hand over (pingpong) and much slower where they start. A fiber has the default stack, as it comes
// from malloc: the pooled stacks are not safe where another thread may end a fiber. Built by compare.py:
//
//     g++ -std=c++20 -O2 -DNDEBUG -pthread -o boost_fiber_bench boost_fiber_bench.cpp -lboost_fiber -lboost_context
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include "harness.hpp"

namespace {

using namespace compare;
namespace fibers = boost::fibers;

// Joins them when it goes.
class Fibers {
 public:
  Fibers() = default;
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;
  ~Fibers() {
    for (auto& f : fibers_) f.join();
  }
  template <class F>
  void start(F f) {
    fibers_.emplace_back(std::move(f));
  }

 private:
  std::vector<fibers::fiber> fibers_;
};

// Two fibers, each yields two million times; per yield.
Result bench_yield() {
  constexpr Int kFibers = 2, kYields = 2'000'000;
  std::array<Int, kFibers> done{};
  const Stopwatch watch;
  {
    Fibers all;
    for (Int& mine : done) {
      all.start([&mine] {
        Int n = 0;
        for (; n < kYields; ++n) boost::this_fiber::yield();
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  check(done[0] == kYields && done[1] == kYields, "yields", done[0] + done[1]);
  return {kFibers * kYields, elapsed};
}

// Start one fiber, wait for its message, half a million times; per fiber.
Result bench_spawn_join() {
  constexpr Int kFibers = 500'000;
  const auto ch = std::make_shared<fibers::unbuffered_channel<Int>>();  // the last fiber may still be in push
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kFibers; ++i) {
    fibers::fiber([ch, i] { ch->push(i); }).detach();
    sum += ch->value_pop();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kFibers), "sum", sum);
  return {kFibers, elapsed};
}

// Two fibers, two unbuffered channels, a million round trips; per hop.
Result bench_pingpong() {
  constexpr Int kRounds = 1'000'000;
  fibers::unbuffered_channel<Int> ping;
  fibers::unbuffered_channel<Int> pong;
  Int v = 0;
  const Stopwatch watch;
  fibers::fiber other([&] {
    for (const Int got : ping) pong.push(got + 1);
    pong.close();
  });
  for (Int i = 0; i < kRounds; ++i) {
    ping.push(v);
    v = pong.value_pop();
  }
  ping.close();
  Int none = 0;
  const bool open = pong.pop(none) == fibers::channel_op_status::success;
  const nanoseconds elapsed = watch.elapsed();
  other.join();
  check(v == kRounds && !open, "counted", v);
  return {2 * kRounds, elapsed};
}

// Producers send total values through one channel to consumers; per value.
template <class Channel>
Result channel(Channel& ch, Int producers, Int consumers, Int total) {
  std::vector<Int> sums(static_cast<std::size_t>(consumers));
  const Stopwatch watch;
  {
    Fibers consuming;
    for (Int& mine : sums) {
      consuming.start([&ch, &mine] {
        Int sum = 0;
        for (const Int v : ch) sum += v;
        mine = sum;
      });
    }
    {
      Fibers producing;
      for (Int p = 0; p < producers; ++p) {
        producing.start([&ch, p, producers, total] {
          for (Int v = p; v < total; v += producers) ch.push(v);
        });
      }
    }
    ch.close();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int sum = 0;
  for (const Int s : sums) sum += s;
  check(sum == sum_to(total), "sum", sum);
  return {total, elapsed};
}

Result unbuffered(Int producers, Int consumers, Int total) {
  fibers::unbuffered_channel<Int> ch;
  return channel(ch, producers, consumers, total);
}

// It holds one less than its capacity, which is a power of two.
Result buffered_128(Int producers, Int consumers, Int total) {
  fibers::buffered_channel<Int> ch(128);
  return channel(ch, producers, consumers, total);
}

Result bench_chan_unbuf_1p1c() { return unbuffered(1, 1, 2'000'000); }
Result bench_chan_unbuf_4p4c() { return unbuffered(4, 4, 2'000'000); }
Result bench_chan_128_1p1c() { return buffered_128(1, 1, 8'000'000); }
Result bench_chan_128_4p4c() { return buffered_128(4, 4, 4'000'000); }

// Two million jobs through eight fibers over two channels of 1,024; per job.
Result bench_worker_pool() {
  constexpr Int kWorkers = 8, kJobs = 2'000'000;
  fibers::buffered_channel<Int> jobs(1'024);
  fibers::buffered_channel<Int> results(1'024);
  const Stopwatch watch;
  Fibers all;
  for (Int w = 0; w < kWorkers; ++w) {
    all.start([&] {
      for (const Int job : jobs) results.push(2 * job + 1);
    });
  }
  all.start([&] {
    for (Int i = 0; i < kJobs; ++i) jobs.push(i);
    jobs.close();
  });
  Int sum = 0;
  for (Int i = 0; i < kJobs; ++i) sum += results.value_pop();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == 2 * sum_to(kJobs) + kJobs, "sum", sum);
  return {kJobs, elapsed};
}

// A token goes round a thousand fibers, each adds one to it; per hop.
Result bench_ring_1000() {
  constexpr std::size_t kNodes = 1'000;
  constexpr Int kLaps = 2'000, kHops = kLaps * static_cast<Int>(kNodes);
  std::vector<fibers::unbuffered_channel<Int>> links(kNodes);
  Int token = 0;
  const Stopwatch watch;
  Fibers all;
  for (std::size_t i = 0; i + 1 < kNodes; ++i) {  // the last node is this fiber
    all.start([&in = links[i], &out = links[i + 1]] {
      for (Int lap = 0; lap < kLaps; ++lap) out.push(1 + in.value_pop());
    });
  }
  for (Int lap = 0; lap < kLaps; ++lap) {
    links.front().push(token);
    token = 1 + links.back().value_pop();
  }
  const nanoseconds elapsed = watch.elapsed();
  check(token == kHops, "token", token);
  return {kHops, elapsed};
}

// Lock, increment, unlock by a number of fibers; per increment.
Result mutex(Int count, Int each) {
  fibers::mutex mu;
  Int counter = 0;  // guarded by mu
  const Stopwatch watch;
  {
    Fibers all;
    for (Int g = 0; g < count; ++g) {
      all.start([&mu, &counter, each] {
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

// Boost.Fiber has no semaphore; this is what its user writes.
class Semaphore {
 public:
  explicit Semaphore(Int units) : free_(units) {}
  void acquire() {
    std::unique_lock lock(mutex_);
    has_units_.wait(lock, [this] { return free_ > 0; });
    --free_;
  }
  void release() {
    {
      const std::lock_guard lock(mutex_);
      ++free_;
    }
    has_units_.notify_one();
  }

 private:
  fibers::mutex mutex_;
  fibers::condition_variable has_units_;
  Int free_;  // guarded by mutex_
};

// Eight fibers take one of four units and give it back; per unit. With yields they do so in between.
Result semaphore(Int each, bool yields) {
  constexpr std::size_t kFibers = 8;
  Semaphore units(4);
  std::vector<Int> taken(kFibers);
  const Stopwatch watch;
  {
    Fibers all;
    for (Int& mine : taken) {
      all.start([&units, &mine, each, yields] {
        Int n = 0;
        for (; n < each; ++n) {
          units.acquire();
          if (yields) boost::this_fiber::yield();
          units.release();
        }
        mine = n;
      });
    }
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int t : taken) total += t;
  check(total == static_cast<Int>(kFibers) * each, "taken", total);
  return {total, elapsed};
}

Result bench_semaphore_4() { return semaphore(500'000, false); }
Result bench_semaphore_4_wait() { return semaphore(100'000, true); }

// Start a hundred fibers, join all, four thousand times; per fiber.
Result bench_wait_group_fanout() {
  constexpr Int kRounds = 4'000, kFibers = 100;
  std::vector<Int> ran(kFibers);
  const Stopwatch watch;
  for (Int round = 0; round < kRounds; ++round) {
    Fibers all;
    for (Int& mine : ran) all.start([&mine] { ++mine; });
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == kRounds * kFibers, "fibers that ran", total);
  return {total, elapsed};
}

// Start a function in a fiber, wait for its result, half a million times; per result.
Result bench_future() {
  constexpr Int kResults = 500'000;
  Int sum = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kResults; ++i) sum += fibers::async([i] { return i; }).get();
  const nanoseconds elapsed = watch.elapsed();
  check(sum == sum_to(kResults), "sum", sum);
  return {kResults, elapsed};
}

// Jobs for eight fibers behind a channel of 1,024; so many are submitted, then their results collected, and again. Per job.
Result pool(Int jobs, std::size_t at_once) {
  using Job = fibers::packaged_task<Int()>;
  fibers::buffered_channel<Job> todo(1'024);
  Fibers workers;
  for (int w = 0; w < 8; ++w) {
    workers.start([&todo] {
      Job job;
      while (todo.pop(job) == fibers::channel_op_status::success) job();
    });
  }
  std::vector<fibers::future<Int>> results(at_once);
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

Result bench_pool_submit() { return pool(300'000, 1); }
Result bench_pool_batch() { return pool(1'000'000, 1'000); }

// $BOOST_FIBER_PROCS; without it, what the machine has.
unsigned wanted_processors() {
  const char* text = std::getenv("BOOST_FIBER_PROCS");
  const long n = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return n > 0 ? static_cast<unsigned>(n) : std::thread::hardware_concurrency();
}

bool has_shared_work() {
  const char* text = std::getenv("BOOST_FIBER_ALGORITHM");
  return text != nullptr && std::string_view(text) == "shared_work";
}

void join_the_others(unsigned processors) {
  constexpr bool kSleepWhenIdle = true;
  if (has_shared_work()) {
    fibers::use_scheduling_algorithm<fibers::algo::shared_work>(kSleepWhenIdle);
  } else {
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(processors, kSleepWhenIdle);  // waits for all
  }
}

// The other threads look for fibers until the process ends.
void start_threads(unsigned processors) {
  for (unsigned i = 1; i < processors; ++i) {
    std::thread([processors] {
      join_the_others(processors);
      fibers::promise<void> never;
      never.get_future().wait();
    }).detach();
  }
  join_the_others(processors);
}

// Runs the scenario in a fiber that any of the threads may have: a thread's first fiber cannot leave it.
Result run(const Scenario& scenario, unsigned& processors) {
  static const unsigned started = [] {
    const unsigned n = wanted_processors();
    start_threads(n);
    return n;
  }();
  processors = started;
  Result result{};
  std::exception_ptr error;
  fibers::fiber([&] {
    try {
      result = scenario.run();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);
  return result;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string version = std::string("Boost.Fiber " BOOST_LIB_VERSION ", ") +
                              (has_shared_work() ? "shared_work" : "work_stealing") + ", g++ " __VERSION__ ", -O2";
  const int status = run_program(argc, argv,
                                 {"boost_fiber_bench",
                                  version,
                                  "BOOST_FIBER_PROCS",
                                  {
                                      {"yield", bench_yield},
                                      {"spawn_join", bench_spawn_join},
                                      {"pingpong", bench_pingpong},
                                      {"chan_unbuf_1p1c", bench_chan_unbuf_1p1c},
                                      {"chan_unbuf_4p4c", bench_chan_unbuf_4p4c},
                                      {"chan_128_1p1c", bench_chan_128_1p1c},
                                      {"chan_128_4p4c", bench_chan_128_4p4c},
                                      {"worker_pool", bench_worker_pool},
                                      {"ring_1000", bench_ring_1000},
                                      {"mutex_1", bench_mutex_1},
                                      {"mutex_8", bench_mutex_8},
                                      {"semaphore_4", bench_semaphore_4},
                                      {"semaphore_4_wait", bench_semaphore_4_wait},
                                      {"wait_group_fanout", bench_wait_group_fanout},
                                      {"future", bench_future},
                                      {"pool_submit", bench_pool_submit},
                                      {"pool_batch", bench_pool_batch},
                                  },
                                  run});
  std::fflush(nullptr);
  std::_Exit(status);  // the threads are still there
}

// What an operation costs with n goroutines, or n channels: n is the scenario's size. Read beside go/scale.go.
//
// Goroutines are made first, and have their stacks when they wait for the start; what is measured begins when all of them are
// let go.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/select.hpp>
#include <weft/selector.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

/// Each of n has that many to do, so that all together do some millions.
Int share(Int total, Int n) { return std::max<Int>(1, total / n); }

/// Goroutines that start when all of them are there.
class Race {
 public:
  template <class F>
  void add(F run) {
    ready_.add(1);
    running_.go([this, run = std::move(run)] {
      ready_.done();
      start_.recv();
      run();
    });
  }
  nanoseconds run() {
    ready_.wait();
    const Stopwatch watch;
    start_.close();
    running_.wait();
    return watch.elapsed();
  }

 private:
  weft::Chan<weft::Unit> start_ = weft::make_chan<weft::Unit>();
  weft::WaitGroup ready_;
  weft::WaitGroup running_;
};

// n goroutines yield; per yield.
Result bench_yield_n(Int n) {
  const Int each = share(4'000'000, n);
  std::vector<Int> done(static_cast<std::size_t>(n));
  Race race;
  for (Int& mine : done) {
    race.add([&mine, each] {
      for (Int i = 0; i < each; ++i) {
        weft::yield();
        ++mine;
      }
    });
  }
  const nanoseconds elapsed = race.run();
  Int total = 0;
  for (const Int d : done) total += d;
  check(total == n * each, "yields", total);
  return {total, elapsed};
}

// Start n goroutines, wait for all, again and again; per goroutine.
Result bench_spawn_n(Int n) {
  const Int rounds = share(1'000'000, n);
  std::vector<Int> ran(static_cast<std::size_t>(n));
  const Stopwatch watch;
  for (Int round = 0; round < rounds; ++round) {
    weft::WaitGroup wg;
    for (Int& mine : ran) wg.go([&mine] { ++mine; });
    wg.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  Int total = 0;
  for (const Int r : ran) total += r;
  check(total == n * rounds, "goroutines that ran", total);
  return {total, elapsed};
}

// n goroutines park on one channel and are released, again and again; time and resident bytes per goroutine.
Result bench_park_n(Int n) {
  const Int rounds = share(500'000, n);
  const Int before = resident_bytes();
  Int resident = 0;
  const Stopwatch watch;
  for (Int round = 0; round < rounds; ++round) {
    const auto release = weft::make_chan<weft::Unit>();
    weft::WaitGroup parked;
    weft::WaitGroup done;
    parked.add(static_cast<int>(n));
    for (Int i = 0; i < n; ++i) {
      done.go([&] {
        parked.done();
        release.recv();
      });
    }
    parked.wait();
    if (round == 0) resident = resident_bytes() - before;
    release.close();
    done.wait();
  }
  const nanoseconds elapsed = watch.elapsed();
  return {n * rounds, elapsed, static_cast<double>(resident) / static_cast<double>(n)};
}

// n goroutines lock, increment, unlock; per increment.
Result bench_mutex_n(Int n) {
  const Int each = share(4'000'000, n);
  weft::Mutex mu;
  Int counter = 0;  // guarded by mu
  Race race;
  for (Int g = 0; g < n; ++g) {
    race.add([&mu, &counter, each] {
      for (Int i = 0; i < each; ++i) {
        mu.lock();
        ++counter;
        mu.unlock();
      }
    });
  }
  const nanoseconds elapsed = race.run();
  check(counter == n * each, "counted", counter);
  return {counter, elapsed};
}

// Two goroutines hand a number to and fro, each wait with a timeout, while n others wait with one; per hop.
Result bench_timeout_n(Int n) {
  constexpr Int kRounds = 200'000;
  const auto quit = weft::make_chan<weft::Unit>();
  weft::WaitGroup ready;
  weft::WaitGroup waiting;
  Int timeouts = 0;
  ready.add(static_cast<int>(n));
  for (Int i = 0; i < n; ++i) {
    waiting.go([&ready, quit, i] {
      ready.done();
      weft::select(quit.on_recv([] {}), weft::on_timeout(std::chrono::hours(1 + i % 24), [] {}));
    });
  }
  const auto there = weft::make_chan<Int>();
  const auto back = weft::make_chan<Int>();
  const auto receive = [&timeouts](const weft::Chan<Int>& from) {
    Int got = 0;
    weft::select(from.on_recv([&](weft::Received<Int> v) { got = *v; }),
                 weft::on_timeout(std::chrono::minutes(1), [&] { ++timeouts; }));
    return got;
  };
  ready.wait();
  Int v = 0;
  const Stopwatch watch;
  waiting.go([&] {
    for (Int i = 0; i < kRounds; ++i) back.send(1 + receive(there));
  });
  for (Int i = 0; i < kRounds; ++i) {
    there.send(v);
    v = receive(back);
  }
  const nanoseconds elapsed = watch.elapsed();
  quit.close();
  waiting.wait();
  check(v == kRounds && timeouts == 0, "counted", v);
  return {2 * kRounds, elapsed};
}

// n channels of 16 places, a producer and a consumer at each; per value.
Result bench_pairs_n(Int n) {
  const Int each = share(4'000'000, n);
  std::vector<Int> sums(static_cast<std::size_t>(n));
  Race race;
  for (Int& mine : sums) {
    const auto ch = weft::make_chan<Int>(16);
    race.add([ch, each] {
      for (Int v = 0; v < each; ++v) ch.send(v);
      ch.close();
    });
    race.add([ch, &mine] {
      for (const Int v : ch) mine += v;
    });
  }
  const nanoseconds elapsed = race.run();
  for (const Int s : sums) check(s == sum_to(each), "sum", s);
  return {n * each, elapsed};
}

// n goroutines send into one channel of 128 places, one receives; per value.
Result bench_fan_in_n(Int n) {
  const Int each = share(4'000'000, n);
  const auto ch = weft::make_chan<Int>(128);
  Int sum = 0;
  Race race;
  for (Int g = 0; g < n; ++g) {
    race.add([ch, each] {
      for (Int v = 0; v < each; ++v) ch.send(v);
    });
  }
  race.add([ch, &sum, total = n * each] {
    for (Int i = 0; i < total; ++i) sum += *ch.recv();
  });
  const nanoseconds elapsed = race.run();
  check(sum == n * sum_to(each), "sum", sum);
  return {n * each, elapsed};
}

// A token goes round n goroutines over n unbuffered channels, each adds one to it; per hop.
Result bench_ring_n(Int n) {
  const Int laps = share(2'000'000, n);
  std::vector<weft::Chan<Int>> links(static_cast<std::size_t>(n) + 1);
  for (auto& link : links) link = weft::make_chan<Int>();
  weft::WaitGroup ready;
  weft::WaitGroup wg;
  ready.add(static_cast<int>(n));
  for (std::size_t i = 0; i + 1 < links.size(); ++i) {
    wg.go([&ready, in = links[i], out = links[i + 1], laps] {
      ready.done();
      for (Int lap = 0; lap < laps; ++lap) out.send(1 + *in.recv());
    });
  }
  ready.wait();
  Int token = 0;
  const Stopwatch watch;
  for (Int lap = 0; lap < laps; ++lap) {
    links.front().send(token);
    token = *links.back().recv();
  }
  const nanoseconds elapsed = watch.elapsed();
  wg.wait();
  check(token == n * laps, "token", token);
  return {token, elapsed};
}

// A select over n unbuffered channels, of which one after the other is sent to; per receive.
Result bench_select_n(Int n) {
  const Int receives = std::max<Int>(2'000, share(10'000'000, 10 * n));
  std::vector<weft::Chan<Int>> channels(static_cast<std::size_t>(n));
  Int sum = 0;
  weft::Selector selector;
  for (auto& ch : channels) {
    ch = weft::make_chan<Int>();
    selector.add(ch.on_recv([&sum](weft::Received<Int> v) { sum += *v; }));
  }
  weft::WaitGroup wg;
  const Stopwatch watch;
  wg.go([&] {
    for (Int i = 0; i < receives; ++i) channels[static_cast<std::size_t>(i * 7'919 % n)].send(i);
  });
  for (Int i = 0; i < receives; ++i) selector.select();
  const nanoseconds elapsed = watch.elapsed();
  wg.wait();
  check(sum == sum_to(receives), "sum", sum);
  return {receives, elapsed};
}

constexpr Scenario kScaleScenarios[] = {
    {"yield_n", bench_yield_n, 1'000},   {"spawn_n", bench_spawn_n, 1'000},     {"park_n", bench_park_n, 1'000},
    {"mutex_n", bench_mutex_n, 1'000},   {"timeout_n", bench_timeout_n, 1'000}, {"pairs_n", bench_pairs_n, 1'000},
    {"fan_in_n", bench_fan_in_n, 1'000}, {"ring_n", bench_ring_n, 1'000},       {"select_n", bench_select_n, 1'000},
};

}  // namespace

std::span<const Scenario> scale_scenarios() { return kScaleScenarios; }

// Whole programs of section 28 of the contract that need channels, select, WaitGroup and Mutex only, with their exact
// results. Each builds its output as text, as its Go original prints it.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"

namespace {

using weft::Chan;
using weft::make_chan;
using weft::Mutex;
using weft::Received;
using weft::RecvChan;
using weft::SendChan;
using weft::Unit;
using weft::WaitGroup;
using weft::test::crowd;
using weft::test::Lcg;
using weft::test::rounds;

std::string joined(const std::vector<std::uint64_t>& values) {
  std::ostringstream text;
  for (const std::uint64_t value : values) text << (text.tellp() > 0 ? " " : "") << value;
  return text.str();
}

// S-1

void generate(SendChan<std::uint64_t> out) {
  for (std::uint64_t i = 2;; ++i) out.send(i);
}

void filter(RecvChan<std::uint64_t> in, SendChan<std::uint64_t> out, std::uint64_t prime) {
  for (;;) {
    const std::uint64_t i = *in.recv();
    if (i % prime != 0) out.send(i);
  }
}

std::vector<std::uint64_t> sieve(std::size_t count) {
  std::vector<std::uint64_t> primes;
  Chan<std::uint64_t> ch = make_chan<std::uint64_t>();
  weft::go(generate, ch);
  while (primes.size() < count) {
    const std::uint64_t prime = *ch.recv();
    primes.push_back(prime);
    const Chan<std::uint64_t> next = make_chan<std::uint64_t>();
    weft::go(filter, ch, next, prime);
    ch = next;
  }
  return primes;
}

// Rules: S-1, GO-3, GEN-3
TEST(ScenariosTest, PrimeSieve) {
  // In a child: its goroutines never end, and the process must not mind.
  const weft::test::ChildResult result = weft::test::in_child([] {
    const std::vector<std::uint64_t> primes = weft::run([] { return sieve(static_cast<std::size_t>(rounds(500))); });
    const std::vector<std::uint64_t> ten(primes.begin(), primes.begin() + 10);
    std::uint64_t sum = 0;
    for (const std::uint64_t prime : primes) sum += prime;
    std::printf("%s\n%llu\n%llu\n", joined(ten).c_str(), static_cast<unsigned long long>(primes.back()),
                static_cast<unsigned long long>(sum));
  });
  EXPECT_EQ(result.exit_code, 0) << result.err;
  if (rounds(500) == 500) {
    EXPECT_EQ(result.out, "2 3 5 7 11 13 17 19 23 29\n3571\n824693\n");
  } else {
    EXPECT_EQ(result.out.substr(0, 25), "2 3 5 7 11 13 17 19 23 29");
  }
}

// Rules: S-1
TEST(ScenariosTest, PrimeSieveHundred) {
  std::vector<std::uint64_t> primes;
  weft::test::ChildResult result = weft::test::in_child([] {
    const std::vector<std::uint64_t> hundred = weft::run([] { return sieve(100); });
    std::uint64_t sum = 0;
    for (const std::uint64_t prime : hundred) sum += prime;
    std::printf("%llu %llu", static_cast<unsigned long long>(hundred.back()), static_cast<unsigned long long>(sum));
  });
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "541 24133");
}

// Rules: S-4, GO-5
TEST(ScenariosTest, Whispers) {
  const int length = crowd(100'000);
  const int answer = weft::run([length] {
    const Chan<int> leftmost = make_chan<int>();
    Chan<int> right = leftmost;
    Chan<int> left = leftmost;
    WaitGroup wg;
    for (int i = 0; i < length; ++i) {
      right = make_chan<int>();
      wg.go([left, right] { left.send(1 + *right.recv()); });
      left = right;
    }
    weft::go([right] { right.send(1); });
    const int heard = *leftmost.recv();
    wg.wait();
    return heard;
  });
  EXPECT_EQ(answer, length + 1);
}

// Rules: S-6, MM-4
TEST(ScenariosTest, PingPong) {
  const int trips = rounds(100'000);
  const int hits = weft::run([trips] {
    int ball = 0;  // plain: passed to and fro by the channels
    const Chan<Unit> ping = make_chan<Unit>();
    const Chan<Unit> pong = make_chan<Unit>();
    weft::go([&ball, ping, pong] {
      for (Unit& unit : ping) {
        ++ball;
        pong.send(unit);
      }
      pong.close();
    });
    for (int i = 0; i < trips; ++i) {
      ++ball;
      ping.send({});
      (void)pong.recv();
    }
    ping.close();
    EXPECT_FALSE(pong.recv());
    return ball;
  });
  EXPECT_EQ(hits, 2 * trips);
}

// Rules: S-7, WP-1
TEST(ScenariosTest, FanOutFanIn) {
  std::pair<std::uint64_t, int> result = weft::run([] {
    const Chan<std::uint64_t> numbers = make_chan<std::uint64_t>();
    weft::go([numbers] {
      for (std::uint64_t i = 1; i <= 1000; ++i) numbers.send(i);
      numbers.close();
    });
    std::vector<RecvChan<std::uint64_t>> squares;
    for (int worker = 0; worker < 8; ++worker) {
      const Chan<std::uint64_t> out = make_chan<std::uint64_t>();
      weft::go([numbers, out] {
        for (const std::uint64_t n : numbers) out.send(n * n);
        out.close();
      });
      squares.push_back(out);
    }
    const Chan<std::uint64_t> merged = make_chan<std::uint64_t>();
    WaitGroup wg;
    for (const RecvChan<std::uint64_t>& in : squares) {
      wg.go([in, merged] {
        for (const std::uint64_t n : in) merged.send(n);
      });
    }
    WaitGroup closer;
    closer.go([&] {
      wg.wait();
      merged.close();
    });
    std::pair<std::uint64_t, int> total{0, 0};
    for (const std::uint64_t n : merged) {
      total.first += n;
      ++total.second;
    }
    closer.wait();
    return total;
  });
  EXPECT_EQ(result.first, 333833500U);
  EXPECT_EQ(result.second, 1000);
}

/// Releases its callers in groups of `parties`.
class CyclicBarrier {
 public:
  explicit CyclicBarrier(int parties) : parties_(parties) {}

  void arrive_and_wait() {
    std::unique_lock lock(mutex_);
    const Chan<Unit> gate = gate_;
    if (++arrived_ == parties_) {
      arrived_ = 0;
      gate_ = make_chan<Unit>();
      lock.unlock();
      gate.close();
      return;
    }
    lock.unlock();
    (void)gate.recv();
  }

 private:
  const int parties_;
  Mutex mutex_;
  int arrived_ = 0;                      // guarded by mutex_
  Chan<Unit> gate_ = make_chan<Unit>();  // guarded by mutex_: of the group that is gathering
};

/// The number of callers inside, and the most there ever were.
class Gauge {
 public:
  void enter() {
    const int now = ++inside_;
    int peak = peak_.load();
    while (now > peak && !peak_.compare_exchange_weak(peak, now)) {
    }
  }
  void leave() { --inside_; }
  int peak() const { return peak_; }

 private:
  std::atomic<int> inside_{0};
  std::atomic<int> peak_{0};
};

// Rules: S-8, WP-1
TEST(ScenariosTest, BoundedWorkerPool) {
  const std::string out = weft::run([] {
    CyclicBarrier barrier(5);
    Gauge gauge;
    const Chan<int> jobs = make_chan<int>();
    const Chan<int> results = make_chan<int>(100);
    WaitGroup workers;
    for (int worker = 0; worker < 5; ++worker) {
      workers.go([&] {
        for (const int job : jobs) {
          gauge.enter();
          barrier.arrive_and_wait();
          gauge.leave();
          results.send(job);
        }
      });
    }
    for (int job = 0; job < 100; ++job) jobs.send(job);
    jobs.close();
    workers.wait();
    results.close();
    int count = 0;
    int sum = 0;
    for (const int result : results) {
      ++count;
      sum += result;
    }
    EXPECT_EQ(sum, 4950);
    return std::to_string(count) + " jobs, peak " + std::to_string(gauge.peak());
  });
  EXPECT_EQ(out, "100 jobs, peak 5");
}

// S-9

struct Tree {
  std::unique_ptr<Tree> left;
  std::unique_ptr<Tree> right;
  int value = 0;
};

std::unique_ptr<Tree> insert(std::unique_ptr<Tree> tree, int value) {
  if (tree == nullptr) {
    tree = std::make_unique<Tree>();
    tree->value = value;
  } else if (value < tree->value) {
    tree->left = insert(std::move(tree->left), value);
  } else {
    tree->right = insert(std::move(tree->right), value);
  }
  return tree;
}

/// A tree of k, 2k ... 10k, inserted in an order that `random` shuffles.
std::unique_ptr<Tree> make_tree(int k, Lcg& random) {
  std::array<int, 10> values{};
  for (int i = 0; i < 10; ++i) values.at(static_cast<std::size_t>(i)) = k * (i + 1);
  for (std::size_t i = values.size() - 1; i > 0; --i) std::swap(values.at(i), values.at(random.below(i + 1)));
  std::unique_ptr<Tree> tree;
  for (const int value : values) tree = insert(std::move(tree), value);
  return tree;
}

/// False if it was told to quit.
bool walk_into(const Tree* tree, const SendChan<int>& out, const RecvChan<Unit>& quit) {
  if (tree == nullptr) return true;
  if (!walk_into(tree->left.get(), out, quit)) return false;
  if (weft::select(out.on_send(tree->value), quit.on_recv()) == 1) return false;
  return walk_into(tree->right.get(), out, quit);
}

void walk(const Tree* tree, SendChan<int> out, RecvChan<Unit> quit) {
  walk_into(tree, out, quit);
  out.close();
}

bool same(const Tree* a, const Tree* b) {
  const Chan<Unit> quit = make_chan<Unit>();
  const Chan<int> from_a = make_chan<int>();
  const Chan<int> from_b = make_chan<int>();
  WaitGroup walkers;
  walkers.go([&] { walk(a, from_a, quit); });
  walkers.go([&] { walk(b, from_b, quit); });
  bool equal = true;
  for (;;) {
    const Received<int> x = from_a.recv();
    const Received<int> y = from_b.recv();
    equal = x.status() == y.status() && x.value_or(0) == y.value_or(0);
    if (!equal || !x) break;
  }
  quit.close();
  walkers.wait();  // the leak check: both end
  return equal;
}

// Rules: S-9, WP-3
TEST(ScenariosTest, TreeWalk) {
  weft::run([] {
    Lcg random;
    const auto one = make_tree(1, random);
    const auto other_one = make_tree(1, random);
    const auto two = make_tree(2, random);
    const Chan<int> out = make_chan<int>();
    weft::go([&one, out] { walk(one.get(), out, nullptr); });
    std::vector<std::uint64_t> values;
    for (const int value : out) values.push_back(static_cast<std::uint64_t>(value));
    EXPECT_EQ(joined(values), "1 2 3 4 5 6 7 8 9 10");
    EXPECT_TRUE(same(one.get(), other_one.get()));
    EXPECT_FALSE(same(one.get(), two.get()));
    EXPECT_FALSE(same(two.get(), one.get()));
  });
}

// S-10

using Numbers = std::vector<std::uint64_t>;

Numbers merge_sort(Numbers values) {
  if (values.size() <= 64) {
    std::sort(values.begin(), values.end());
    return values;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  const Chan<Numbers> left = make_chan<Numbers>();
  const Chan<Numbers> right = make_chan<Numbers>();
  weft::go([left](Numbers half) { left.send(merge_sort(std::move(half))); }, Numbers(values.begin(), middle));
  weft::go([right](Numbers half) { right.send(merge_sort(std::move(half))); }, Numbers(middle, values.end()));
  const Numbers a = *left.recv();
  const Numbers b = *right.recv();
  Numbers sorted(values.size());
  std::merge(a.begin(), a.end(), b.begin(), b.end(), sorted.begin());
  return sorted;
}

// Rules: S-10
TEST(ScenariosTest, ParallelMergeSort) {
  const Numbers sorted = weft::run([] {
    Lcg random;
    Numbers values(10'000);
    for (std::uint64_t& value : values) value = random.next();
    return merge_sort(std::move(values));
  });
  ASSERT_EQ(sorted.size(), 10'000U);
  EXPECT_TRUE(std::is_sorted(sorted.begin(), sorted.end()));
  EXPECT_EQ(sorted.front(), 191970U);
  EXPECT_EQ(sorted[5000], 1069282969U);
  EXPECT_EQ(sorted.back(), 2147139625U);
  constexpr std::uint64_t kModulus = (std::uint64_t{1} << 61U) - 1;
  std::uint64_t checksum = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) checksum = (checksum + (i + 1) * sorted[i]) % kModulus;
  EXPECT_EQ(checksum, 71455157941664936U);
}

// Rules: S-13, WP-3
TEST(ScenariosTest, PipelineWithCancellation) {
  const int first = weft::run([] {
    const Chan<Unit> done = make_chan<Unit>();
    const Chan<int> numbers = make_chan<int>();
    const Chan<int> squares = make_chan<int>();
    WaitGroup stages;
    stages.go([done, numbers] {
      for (int i = 1;; ++i) {
        if (weft::select(numbers.on_send(i), done.on_recv()) == 1) break;
      }
      numbers.close();
    });
    stages.go([done, numbers, squares] {
      for (const int n : numbers) {
        if (weft::select(squares.on_send(n * n), done.on_recv()) == 1) break;
      }
      squares.close();
    });
    const int value = *squares.recv();
    done.close();
    stages.wait();  // nobody is left behind
    return value;
  });
  EXPECT_EQ(first, 1);
}

// Rules: S-21
TEST(ScenariosTest, Bridge) {
  const std::string out = weft::run([] {
    const Chan<RecvChan<std::uint64_t>> channels = make_chan<RecvChan<std::uint64_t>>();
    weft::go([channels] {
      for (std::uint64_t i = 0; i < 10; ++i) {
        const Chan<std::uint64_t> ch = make_chan<std::uint64_t>(1);
        ch.send(i);
        ch.close();
        channels.send(ch);
      }
      channels.close();
    });
    const Chan<std::uint64_t> bridged = make_chan<std::uint64_t>();
    weft::go([channels, bridged] {
      for (const RecvChan<std::uint64_t>& ch : channels) {
        for (const std::uint64_t value : ch) bridged.send(value);
      }
      bridged.close();
    });
    std::vector<std::uint64_t> values;
    for (const std::uint64_t value : bridged) values.push_back(value);
    return joined(values);
  });
  EXPECT_EQ(out, "0 1 2 3 4 5 6 7 8 9");
}

// Rules: S-23, MM-5, WP-2
TEST(ScenariosTest, CountingSemaphoreByChannel) {
  weft::run([] {
    constexpr std::size_t kTasks = 20;
    const Chan<Unit> semaphore = make_chan<Unit>(3);
    CyclicBarrier barrier(3);
    Gauge gauge;
    Mutex mutex;
    std::size_t entered = 0;  // guarded by mutex
    std::array<int, kTasks> written{};
    WaitGroup wg;
    for (std::size_t task = 0; task < kTasks; ++task) {
      wg.go([&, task] {
        semaphore.send({});
        gauge.enter();
        written[task] = 1;
        std::size_t order = 0;
        {
          const std::lock_guard lock(mutex);
          order = entered++;
        }
        if (order < 18) barrier.arrive_and_wait();
        gauge.leave();
        (void)semaphore.recv();
      });
    }
    wg.wait();
    EXPECT_EQ(gauge.peak(), 3);
    EXPECT_EQ(entered, kTasks);
    for (const int value : written) EXPECT_EQ(value, 1);
    EXPECT_EQ(semaphore.size(), 0U);
  });
}

// Rules: S-26
TEST(ScenariosTest, TokenRing) {
  const std::string out = weft::run([] {
    constexpr std::size_t kNodes = 5;
    constexpr int kLaps = 3;
    std::array<Chan<int>, kNodes> links;
    for (Chan<int>& link : links) link = make_chan<int>();
    std::vector<std::uint64_t> trace;  // plain: whoever has the token writes
    WaitGroup wg;
    for (std::size_t node = 0; node < kNodes; ++node) {
      wg.go([&, node] {
        for (int lap = 0; lap < kLaps; ++lap) {
          const int token = *links[node].recv();
          trace.push_back(node);
          const bool last = node + 1 == kNodes && lap + 1 == kLaps;
          if (!last) links[(node + 1) % kNodes].send(token);
        }
      });
    }
    links[0].send(1);
    wg.wait();
    return joined(trace);
  });
  EXPECT_EQ(out, "0 1 2 3 4 0 1 2 3 4 0 1 2 3 4");
}

void unbounded_queue(RecvChan<int> in, SendChan<int> out) {
  std::deque<int> pending;
  while (in != nullptr || !pending.empty()) {
    const SendChan<int> ready = pending.empty() ? SendChan<int>() : out;
    int head = pending.empty() ? 0 : pending.front();
    weft::select(in.on_recv([&](const Received<int>& got) {
      if (got) {
        pending.push_back(*got);
      } else {
        in = nullptr;
      }
    }),
                 ready.on_send(head, [&] { pending.pop_front(); }));
  }
  out.close();
}

// Rules: S-47, SEL-7
TEST(ScenariosTest, UnboundedQueue) {
  const int count = rounds(100'000);
  weft::run([count] {
    const Chan<int> in = make_chan<int>();
    const Chan<int> out = make_chan<int>();
    WaitGroup wg;
    wg.go([in, out] { unbounded_queue(in, out); });
    for (int i = 0; i < count; ++i) in.send(i);
    in.close();
    int next = 0;
    int disorder = 0;
    for (const int value : out) {
      if (value != next) ++disorder;
      ++next;
    }
    EXPECT_EQ(next, count);
    EXPECT_EQ(disorder, 0);
    wg.wait();
  });
}

// Rules: S-50
TEST(ScenariosTest, MapReduceHistogram) {
  const std::string out = weft::run([] {
    using Histogram = std::array<int, 26>;
    std::string text;
    for (std::uint64_t i = 0; i < 10'000; ++i) text += static_cast<char>('a' + (7 * i * i + 3 * i) % 26);
    const Chan<Histogram> shards = make_chan<Histogram>();
    for (std::size_t mapper = 0; mapper < 10; ++mapper) {
      weft::go([&text, shards, mapper] {
        Histogram counts{};
        for (const char letter : text.substr(mapper * 1000, 1000)) ++counts.at(static_cast<std::size_t>(letter - 'a'));
        shards.send(counts);
      });
    }
    Histogram total{};
    for (int mapper = 0; mapper < 10; ++mapper) {
      const Histogram counts = *shards.recv();
      for (std::size_t i = 0; i < total.size(); ++i) total[i] += counts[i];
    }
    std::string histogram;
    for (std::size_t i = 0; i < total.size(); ++i) {
      if (total[i] == 0) continue;
      if (!histogram.empty()) histogram += ' ';
      histogram += static_cast<char>('a' + i);
      histogram += std::to_string(total[i]);
    }
    return histogram;
  });
  EXPECT_EQ(out, "a1539 c769 e1538 i1539 k1539 u1538 w1538");
}

}  // namespace

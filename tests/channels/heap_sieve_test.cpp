// S-2 of the contract: a prime sieve that merges the streams of composites with a heap, and passes its primes back to
// itself through a proxy that never lets its sender wait.

#include <cstddef>
#include <cstdio>
#include <deque>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>

#include "../support/support.hpp"

namespace {

using weft::Chan;
using weft::make_chan;
using weft::RecvChan;
using weft::SendChan;

RecvChan<int> odd_numbers(int first, int step, std::size_t capacity) {
  const auto out = make_chan<int>(capacity);
  weft::go([=] {
    for (int i = first;; i += step) out.send(i);
  });
  return out;
}

/// Takes whatever comes, at once, and hands it on when it is asked.
SendChan<int> proxy(SendChan<int> out) {
  const auto in = make_chan<int>(10);
  weft::go([=] {
    std::deque<int> held;
    for (;;) {
      SendChan<int> ready_out = held.empty() ? SendChan<int>() : out;  // the nil channel switches the case off
      int next = held.empty() ? 0 : held.front();
      weft::select(in.on_recv([&](weft::Received<int> value) { held.push_back(*value); }),
                   ready_out.on_send(next, [&] { held.pop_front(); }));
    }
  });
  return in;
}

/// The odd multiples of each prime from its square on, merged: increasing, none twice.
void merge(RecvChan<int> primes, SendChan<int> composites) {
  using Stream = std::pair<int, RecvChan<int>>;
  const auto later = [](const Stream& a, const Stream& b) { return a.first > b.first; };
  std::priority_queue<Stream, std::vector<Stream>, decltype(later)> streams(later);
  for (;;) {
    const int prime = *primes.recv();
    const RecvChan<int> multiples = odd_numbers(prime * prime, 2 * prime, 10);
    const int square = *multiples.recv();
    while (!streams.empty() && streams.top().first < square) {
      const int least = streams.top().first;
      composites.send(least);
      while (streams.top().first == least) {
        Stream stream = streams.top();
        streams.pop();
        stream.first = *stream.second.recv();
        streams.push(std::move(stream));
      }
    }
    // No smaller prime divides the square of a prime: it is the head of no other stream. What follows it may have to wait
    // for the next prime's square.
    composites.send(square);
    const int next = *multiples.recv();
    streams.emplace(next, multiples);
  }
}

RecvChan<int> sieve() {
  const auto out = make_chan<int>(10);
  weft::go([=] {
    out.send(2);
    out.send(3);
    const auto primes = make_chan<int>(10);
    const auto composites = make_chan<int>(50);
    weft::go(merge, primes, composites);
    const SendChan<int> found = proxy(primes);
    found.send(3);
    const RecvChan<int> candidates = odd_numbers(5, 2, 50);
    int candidate = *candidates.recv();
    for (;;) {
      // Primes below the next composite; the merger needs them to go on, whether or not anybody takes composites.
      const int composite = *composites.recv();
      for (; candidate < composite; candidate = *candidates.recv()) {
        found.send(candidate);
        out.send(candidate);
      }
      candidate = *candidates.recv();
    }
  });
  return out;
}

// Rules: S-2, SEL-7
TEST(HeapSieveTest, YieldsThePrimesInOrder) {
  // In a child: its goroutines never end.
  const weft::test::ChildResult result = weft::test::in_child([] {
    weft::run([] {
      const RecvChan<int> primes = sieve();
      for (int i = 0; i < 25; ++i) std::printf("%d ", *primes.recv());
      long sum = 0;
      for (int i = 25; i < 500; ++i) sum += *primes.recv();
      std::printf("%ld", sum);
    });
  });
  EXPECT_EQ(result.exit_code, 0) << result.err;
  // The other 475 of the first 500, whose sum is 824693, less 1060 for the first 25.
  EXPECT_EQ(result.out, "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97 823633");
}

}  // namespace

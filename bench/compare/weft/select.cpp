// weft's half of the comparison: select. Read beside go/select.go.
#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;

// Two senders select on {send, quit}, one receiver selects on both channels; per receive.
Result bench_select2(Int receives) {
  const auto a = weft::make_chan<Int>();
  const auto b = weft::make_chan<Int>();
  const auto quit = weft::make_chan<weft::Unit>();
  weft::WaitGroup wg;
  const auto sender = [quit](const weft::SendChan<Int>& ch) {
    bool running = true;
    while (running) {
      weft::select(ch.on_send(Int{1}),  //
                   quit.on_recv([&] { running = false; }));
    }
  };
  const Stopwatch watch;
  wg.go([sender, a] { sender(a); });
  wg.go([sender, b] { sender(b); });
  Int from_a = 0;
  Int from_b = 0;
  for (Int i = 0; i < receives; ++i) {
    weft::select(a.on_recv([&](weft::Received<Int> v) { from_a += *v; }),
                 b.on_recv([&](weft::Received<Int> v) { from_b += *v; }));
  }
  quit.close();
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(from_a + from_b == receives, "received", from_a + from_b);
  return {receives, elapsed};
}

// Select with one empty channel and a default; per select.
Result bench_select_default() {
  constexpr Int kSelects = 20'000'000;
  const auto ch = weft::make_chan<Int>(1);
  Int received = 0;
  Int misses = 0;
  const Stopwatch watch;
  for (Int i = 0; i < kSelects; ++i) {
    weft::select(ch.on_recv([&](weft::Received<Int> v) { received += *v; }),  //
                 weft::on_default([&] { ++misses; }));
  }
  const nanoseconds elapsed = watch.elapsed();
  check(received == 0 && misses == kSelects, "misses", misses);
  return {kSelects, elapsed};
}

// The first 2,000 primes; every wait is a select with a quit case, and all goroutines end; per prime.
void generate_until(const weft::RecvChan<weft::Unit>& quit, const weft::SendChan<Int>& out) {
  for (Int v = 2;; ++v) {
    bool quitting = false;
    weft::select(out.on_send(v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
  }
}

void filter_until(const weft::RecvChan<weft::Unit>& quit, const weft::RecvChan<Int>& in, const weft::SendChan<Int>& out,
                  Int prime) {
  for (;;) {
    bool quitting = false;
    weft::Received<Int> v;
    weft::select(in.on_recv(v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
    if (*v % prime == 0) continue;
    weft::select(out.on_send(*v),  //
                 quit.on_recv([&] { quitting = true; }));
    if (quitting) return;
  }
}

Result bench_sieve_select() {
  constexpr Int kPrimes = 2'000, kLast = 17'389;
  const auto quit = weft::make_chan<weft::Unit>();
  weft::WaitGroup wg;
  Int prime = 0;
  const Stopwatch watch;
  auto ch = weft::make_chan<Int>();
  wg.go([quit, ch] { generate_until(quit, ch); });
  for (Int i = 0; i < kPrimes; ++i) {
    prime = *ch.recv();
    const auto next = weft::make_chan<Int>();
    wg.go([quit, ch, next, prime] { filter_until(quit, ch, next, prime); });
    ch = next;
  }
  quit.close();
  wg.wait();
  const nanoseconds elapsed = watch.elapsed();
  check(prime == kLast, "prime", prime);
  return {kPrimes, elapsed};
}

constexpr Scenario kSelectScenarios[] = {
    {"select2", bench_select2, 1'000'000},
    {"select_default", bench_select_default},
    {"sieve_select", bench_sieve_select},
};

}  // namespace

std::span<const Scenario> select_scenarios() { return kSelectScenarios; }

// prime_sieve: a chain of goroutines, one for each prime, that sieves the whole numbers

// Go original: the prime sieve of Go's documentation (Generate, Filter, main). One thing is added: Go's main ends while
// the chain still runs; here the generator selects on a quit channel too, and the chain is closed link by link.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>

#include "support/command_line.hpp"

namespace {

// Send the sequence 2, 3, 4, ... to channel 'ch' until 'quit' is closed.
void generate(weft::SendChan<std::uint32_t> ch, weft::RecvChan<weft::Unit> quit) {
  bool is_running = true;
  for (std::uint32_t i = 2; is_running; ++i) {
    weft::select(ch.on_send(i), quit.on_recv([&] { is_running = false; }));
  }
  ch.close();
}

// Copy the values from channel 'in' to channel 'out', removing those divisible by 'prime'.
void filter(weft::RecvChan<std::uint32_t> in, weft::SendChan<std::uint32_t> out, std::uint32_t prime) {
  for (const std::uint32_t i : in) {  // Receive value from 'in'.
    if (i % prime != 0) {
      out.send(i);  // Send 'i' to 'out'.
    }
  }
  out.close();
}

// The prime sieve: Daisy-chain filter processes.
void sieve(std::size_t count) {
  auto quit = weft::make_chan<weft::Unit>();
  auto ch = weft::make_chan<std::uint32_t>();  // Create a new channel.
  weft::go(generate, ch, quit);                // Launch generate goroutine.
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t prime = *ch.recv();
    std::printf("%u%c", prime, i % 10 == 9 || i + 1 == count ? '\n' : ' ');
    auto ch1 = weft::make_chan<std::uint32_t>();
    weft::go(filter, ch, ch1, prime);
    ch = ch1;
  }

  quit.close();
  for ([[maybe_unused]] const std::uint32_t rest : ch) {
    // What is still on its way must leave, or the filters would wait for ever to send it on.
  }
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "prime_sieve", "Prints the first primes. Each prime found adds a goroutine that filters out its multiples.");
  std::size_t count = 100;
  command_line.number("--count", count, "How many primes to print", 1, 100'000);

  return command_line.run(argc, argv, [&] {
    std::chrono::duration<double, std::micro> elapsed{};
    weft::run([&] {
      const auto start = std::chrono::steady_clock::now();
      sieve(count);
      elapsed = std::chrono::steady_clock::now() - start;
    });
    std::printf("%zu primes through %zu goroutines in %.1f ms, %.1f us per prime\n", count, count + 1,
                elapsed.count() / 1e3, elapsed.count() / static_cast<double>(count));
    return 0;
  });
}

// ping_pong: two goroutines hand a number to and fro over two unbuffered channels

// There is no original in the article; in Go it would read the same. It measures what a hop costs: one goroutine sends
// and parks, the other one is made ready, runs and answers.

#include <chrono>
#include <cstddef>
#include <cstdio>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>

#include "support/command_line.hpp"

namespace {

void pong(weft::RecvChan<std::size_t> pings, weft::SendChan<std::size_t> pongs) {
  for (const std::size_t ball : pings) {
    pongs.send(ball + 1);
  }
  pongs.close();
}

std::size_t play(std::size_t rounds) {
  auto pings = weft::make_chan<std::size_t>();
  auto pongs = weft::make_chan<std::size_t>();
  weft::go(pong, pings, pongs);

  std::size_t ball = 0;
  for (std::size_t i = 0; i < rounds; ++i) {
    pings.send(ball + 1);
    ball = *pongs.recv();
  }
  pings.close();
  pongs.recv();  // until pong has closed its side too
  return ball;
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "ping_pong", "Two goroutines hand a number to and fro over two unbuffered channels; each adds one to it.");
  std::size_t rounds = 1'000'000;
  command_line.number("--rounds", rounds, "How many times the number goes there and back", std::size_t{1},
                      std::size_t{1'000'000'000'000});

  return command_line.run(argc, argv, [&] {
    std::chrono::duration<double, std::nano> elapsed{};
    const std::size_t hops = weft::run([&] {
      const auto start = std::chrono::steady_clock::now();
      const std::size_t ball = play(rounds);
      elapsed = std::chrono::steady_clock::now() - start;
      return ball;
    });
    if (hops != 2 * rounds) {
      std::fprintf(stderr, "ping_pong: counted %zu hops instead of %zu\n", hops, 2 * rounds);
      return examples::kFailed;
    }
    std::printf("%zu rounds, %zu hops in %.1f ms: %.1f ns per hop\n", rounds, hops, elapsed.count() / 1e6,
                elapsed.count() / static_cast<double>(hops));
    return 0;
  });
}

// pipeline: generate, square by several workers, merge and sum; run to the end, then cancelled after a few results

// Go original: gen, sq and merge of the Go blog's "Go Concurrency Patterns: Pipelines and cancellation", with a Context
// in the place of its done channel. A stage is a function that starts a goroutine and returns the channel it fills. Each
// stage sends with the context, so it ends when nobody wants its results any more; and closes its channel when it ends,
// so the stage behind it ends too.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <system_error>
#include <vector>

#include <weft/chan.hpp>
#include <weft/context.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/defer.hpp"
#include "support/numbers.hpp"

namespace {

using examples::grouped;
using Numbers = weft::RecvChan<std::uint64_t>;

Numbers generate(const weft::Context& ctx, std::uint64_t count) {
  auto out = weft::make_chan<std::uint64_t>();
  weft::go([=] {
    const examples::Defer close([&] { out.close(); });
    for (std::uint64_t i = 1; i <= count; ++i) {
      if (out.send(ctx, i) != weft::ChanStatus::ok) {
        return;  // cancelled: nobody will receive it
      }
    }
  });
  return out;
}

/// Several of these may share one `in`: each number goes to one of them.
Numbers square(const weft::Context& ctx, const Numbers& in) {
  auto out = weft::make_chan<std::uint64_t>();
  weft::go([=] {
    const examples::Defer close([&] { out.close(); });
    for (const std::uint64_t n : in) {
      if (out.send(ctx, n * n) != weft::ChanStatus::ok) {
        return;
      }
    }
  });
  return out;
}

/// Passes on what comes from any of `ins`, and closes when all of them are closed.
Numbers merge(const weft::Context& ctx, const std::vector<Numbers>& ins) {
  auto out = weft::make_chan<std::uint64_t>();
  weft::go([=] {
    const examples::Defer close([&] { out.close(); });
    weft::WaitGroup wg;
    for (const Numbers& in : ins) {
      wg.go([&] {
        for (const std::uint64_t n : in) {
          if (out.send(ctx, n) != weft::ChanStatus::ok) {
            return;
          }
        }
      });
    }
    wg.wait();
  });
  return out;
}

Numbers squares(const weft::Context& ctx, std::uint64_t count, std::size_t workers) {
  const Numbers numbers = generate(ctx, count);
  std::vector<Numbers> squared;
  for (std::size_t w = 0; w < workers; ++w) {
    squared.push_back(square(ctx, numbers));
  }
  return merge(ctx, squared);
}

void run_to_the_end(std::uint64_t count, std::size_t workers, examples::Check& check) {
  const std::uint64_t spawned_before = weft::stats().spawned;
  const auto [ctx, cancel] = weft::with_cancel(weft::background());
  std::uint64_t results = 0;
  std::uint64_t sum = 0;
  for (const std::uint64_t n : squares(ctx, count, workers)) {
    ++results;
    sum += n;
  }
  const std::uint64_t expected = count * (count + 1) * (2 * count + 1) / 6;

  const std::uint64_t left_over = check.left_over();
  std::printf("to the end: %s results, sum %s (by formula: %s)\n", grouped(results).c_str(), grouped(sum).c_str(),
              grouped(expected).c_str());
  std::printf("            %s goroutines took part, %s left over\n",
              grouped(weft::stats().spawned - spawned_before).c_str(), grouped(left_over).c_str());
  check.expect(results == count && sum == expected, "each number was squared and counted once");
}

void run_until_cancelled(std::uint64_t count, std::size_t workers, std::uint64_t take, examples::Check& check) {
  const std::uint64_t spawned_before = weft::stats().spawned;
  const auto [ctx, cancel] = weft::with_cancel(weft::background());
  const Numbers results = squares(ctx, count, workers);
  std::uint64_t taken = 0;
  while (taken < take && results.recv()) {
    ++taken;
  }

  // From here on nobody receives, so without this every stage would wait for ever to send on.
  cancel();
  const std::uint64_t left_over = check.left_over();
  const auto after_the_end = results.recv();
  std::printf("cancelled:  %s results taken, then \"%s\"\n", grouped(taken).c_str(), ctx.err().message().c_str());
  std::printf("            %s goroutines took part, %s left over; the channel is %s\n",
              grouped(weft::stats().spawned - spawned_before).c_str(), grouped(left_over).c_str(),
              after_the_end.status() == weft::ChanStatus::closed ? "closed" : "open");
  check.expect(taken == std::min(take, count), "the first results came");
  check.expect(ctx.err() == weft::errc::canceled, "the context is cancelled");
  check.expect(after_the_end.status() == weft::ChanStatus::closed, "a cancelled pipeline closes its channel");
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "pipeline",
      "A pipeline of goroutines: one generates 1, 2, 3 ..., several square them, others merge the squares into one\n"
      "channel. It runs to the end once, and is then cancelled after a few results; either way no goroutine is left.");
  std::uint64_t count = 20'000;
  std::size_t workers = 4;
  std::uint64_t take = 5;
  command_line.number("--count", count, "How many numbers are generated", 1, 1'000'000);
  command_line.number("--workers", workers, "How many goroutines square", 1, 1'000);
  command_line.number("--take", take, "How many results to take before cancelling", 0, 1'000'000);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("pipeline");
      std::printf("1 generates 1 to %s -> %zu square -> %zu merge -> 1 sums up\n", grouped(count).c_str(), workers,
                  workers);
      run_to_the_end(count, workers, check);
      run_until_cancelled(count, workers, take, check);
      return check.exit_status();
    });
  });
}

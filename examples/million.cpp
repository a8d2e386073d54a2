// million: a million goroutines parked on one channel: what each costs in time and memory

// There is no original in the article, only its claim that Go holds "1M+ goroutines". Every goroutine here has a real
// stack, of which only the pages it has touched cost memory, and a guard page at its end.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "support/command_line.hpp"
#include "support/numbers.hpp"
#include "support/process_memory.hpp"

namespace {

using examples::grouped;

/// Refuses politely what would otherwise end with the kernel killing this process, or a neighbour.
void check_memory(std::uint64_t goroutines) {
  constexpr std::uint64_t kBytesEach = 4'500;
  const std::uint64_t needed = goroutines * kBytesEach;
  const std::uint64_t available = examples::available_bytes().value_or(needed);
  if (available < needed) {
    throw std::runtime_error(grouped(goroutines) + " goroutines need about " + grouped(needed / 1'000'000) +
                             " MB of memory, and " + grouped(available / 1'000'000) + " MB are available");
  }
}

double each(double sum, std::uint64_t goroutines) { return sum / static_cast<double>(goroutines); }

void print_time(const char* what, double seconds, std::uint64_t goroutines) {
  std::printf("%-20s %10.1f ms %10.1f ns each\n", what, seconds * 1e3, each(seconds * 1e9, goroutines));
}

void print_bytes(const char* what, std::uint64_t bytes, std::uint64_t goroutines) {
  const auto sum = static_cast<double>(bytes);
  std::printf("%-20s %10.1f MB %10.0f bytes each\n", what, sum / 1e6, each(sum, goroutines));
}

/// Looks for the guard pages of some stacks, given an address in each.
void print_guards(const std::vector<const void*>& frames, std::uint64_t stack_bytes) {
  const examples::GuardFinder finder;
  std::uint64_t found = 0;
  std::uint64_t least = stack_bytes;
  for (const void* frame : frames) {
    if (const auto distance = finder.bytes_to_guard(frame, stack_bytes)) {
      ++found;
      least = std::min(least, *distance);
    }
  }
  std::printf("%-20s %10s of %s stacks looked at", "guard page found", grouped(found).c_str(),
              grouped(frames.size()).c_str());
  if (found > 0) {
    std::printf(", %s bytes below the frame or more", grouped(least).c_str());
  } else {
    std::printf(" (before Linux 6.15 the kernel does not show them)");
  }
  std::printf("\n");
}

void park_all(std::uint64_t goroutines) {
  auto gate = weft::make_chan<weft::Unit>();
  weft::WaitGroup arrived;
  weft::WaitGroup finished;
  // An address in every so many stacks, to look at from outside.
  const std::uint64_t step = std::max<std::uint64_t>(goroutines / 1'000, 1);
  std::vector<const void*> frames((goroutines + step - 1) / step);

  const std::uint64_t resident_before = examples::resident_bytes();
  const std::uint64_t mappings_before = examples::mappings();

  auto start = std::chrono::steady_clock::now();
  arrived.add(static_cast<int>(goroutines));
  for (std::uint64_t i = 0; i < goroutines; ++i) {
    finished.go([&, i] {
      const char here = 0;
      if (i % step == 0) {
        frames[i / step] = &here;
      }
      arrived.done();
      gate.recv();  // parks until the gate is closed
    });
  }
  print_time("started", examples::seconds_since(start), goroutines);
  arrived.wait();
  while (weft::stats().waiting < goroutines) {
    weft::yield();  // the last ones to arrive are still on their way into recv
  }
  print_time("started and parked", examples::seconds_since(start), goroutines);

  const std::uint64_t resident = examples::resident_bytes() - resident_before;
  const std::uint64_t stack_bytes = weft::stats().stack_bytes;
  print_bytes("resident memory", resident, goroutines);
  print_bytes("stack addresses", stack_bytes, goroutines);
  print_guards(frames, stack_bytes / goroutines);
  std::printf("%-20s %10s, %s before; the kernel allows %s\n", "memory mappings", grouped(examples::mappings()).c_str(),
              grouped(mappings_before).c_str(), grouped(examples::max_mappings()).c_str());

  start = std::chrono::steady_clock::now();
  gate.close();
  finished.wait();
  print_time("woken and finished", examples::seconds_since(start), goroutines);
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "million", "Parks goroutines on one channel, prints what each costs, then closes the channel and waits for all.");
  std::uint64_t goroutines = 1'000'000;
  command_line.number("--goroutines", goroutines, "How many goroutines to park", 1, 1'000'000'000);

  return command_line.run(argc, argv, [&] {
    check_memory(goroutines);
    weft::run([&] { park_all(goroutines); });
    return 0;
  });
}

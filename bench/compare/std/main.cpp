// What the standard library needs for one operation of each scenario of the comparison: threads, and what they meet at.
//
// Same names and checks as in ../weft. A scenario is left out where the standard library has nothing like it (unbuffered
// channels, select, timers that are stopped) or cannot do it (a million threads). Where an operation starts, wakes or yields a thread, which
// costs what a hundred operations of a goroutine do, the counts are a tenth or less. $STD_PROCS sets the processors: the process is
// bound to as many. Built by peers.py.
#include <sched.h>

#include <cstdlib>
#include <string>
#include <thread>

#include "../lists.hpp"

namespace {

using namespace compare;

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
  const auto all = join({goroutine_scenarios(), channel_scenarios(), timer_scenarios(), lock_scenarios(),
                         context_scenarios(), pool_scenarios()});
  return run_program(argc, argv, {"std_bench", version, "STD_PROCS", all, run});
}

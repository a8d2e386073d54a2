// What oneTBB needs for one operation of each scenario of the comparison: those about tasks that only start and end.
//
// Same names, counts and checks as in ../weft. A task that waits for a group runs others on its own stack meanwhile, and tasks
// do not wait for anything else: no yields, channels, timers. $TBB_PROCS sets the processors. Built by peers.py.
#include <cstddef>
#include <cstdlib>
#include <string>

#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/version.h>

#include "../lists.hpp"

namespace {

using namespace compare;

// In an arena of $TBB_PROCS threads; without it, of as many as the machine has.
Result run(const Scenario& scenario, unsigned& processors) {
  const char* text = std::getenv("TBB_PROCS");
  const long wanted = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  oneapi::tbb::task_arena arena(wanted > 0 ? static_cast<int>(wanted) : oneapi::tbb::task_arena::automatic);
  return arena.execute([&] {
    processors = static_cast<unsigned>(oneapi::tbb::this_task_arena::max_concurrency());
    return scenario.run();
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string version = "oneTBB " TBB_VERSION_STRING ", g++ " __VERSION__ ", -O2";
  return run_program(argc, argv, {"tbb_bench", version, "TBB_PROCS", join({goroutine_scenarios()}), run});
}

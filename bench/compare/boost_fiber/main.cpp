// What Boost.Fiber needs for one operation of each scenario of the comparison.
//
// Same names, counts and checks as in ../weft. A scenario is left out where Boost.Fiber has nothing like it (select,
// RWMutex, Once, contexts) or cannot do it (a million fibers: each has a stack of its own from malloc).
// $BOOST_FIBER_PROCS threads share the work by `work_stealing`; BOOST_FIBER_ALGORITHM=shared_work takes the other one, which
// is faster where fibers hand over (pingpong) and much slower where they start. A fiber has the default stack, as it comes
// from malloc: the pooled stacks are not safe where another thread may end a fiber. Where fibers would have to be more than
// fit into memory, there are fewer. Built by peers.py.
#include <malloc.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <thread>

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include "../lists.hpp"

namespace {

using namespace compare;
namespace fibers = boost::fibers;

// $BOOST_FIBER_PROCS; without it, what the machine has.
unsigned wanted_processors() {
  const char* text = std::getenv("BOOST_FIBER_PROCS");
  const long n = text != nullptr ? std::strtol(text, nullptr, 10) : 0;
  return n > 0 ? static_cast<unsigned>(n) : std::thread::hardware_concurrency();
}

bool has_shared_work() {
  const char* text = std::getenv("BOOST_FIBER_ALGORITHM");
  return text != nullptr && std::string_view(text) == "shared_work";
}

void join_the_others(unsigned processors) {
  constexpr bool kSleepWhenIdle = true;
  if (has_shared_work()) {
    fibers::use_scheduling_algorithm<fibers::algo::shared_work>(kSleepWhenIdle);
  } else {
    fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(processors, kSleepWhenIdle);  // waits for all
  }
}

// The other threads look for fibers until the process ends.
void start_threads(unsigned processors) {
  for (unsigned i = 1; i < processors; ++i) {
    std::thread([processors] {
      join_the_others(processors);
      fibers::promise<void> never;
      never.get_future().wait();
    }).detach();
  }
  join_the_others(processors);
}

// Runs the scenario in a fiber that any of the threads may have: a thread's first fiber cannot leave it.
Result run(const Scenario& scenario, unsigned& processors) {
  static const unsigned started = [] {
    const unsigned n = wanted_processors();
    start_threads(n);
    return n;
  }();
  processors = started;
  Result result{};
  std::exception_ptr error;
  fibers::fiber([&] {
    try {
      result = scenario.run();
    } catch (...) {
      error = std::current_exception();
    }
  }).join();
  if (error) std::rethrow_exception(error);
  return result;
}

// What is freed is kept: as it is by default, malloc gives stacks back to the system and fetches them anew all the time, which
// makes starting a fiber fourteen times slower.
void keep_stacks() {
  constexpr int kMiB = 1 << 20;
  mallopt(M_MMAP_THRESHOLD, 32 * kMiB);
  mallopt(M_TRIM_THRESHOLD, 1024 * kMiB);
  mallopt(M_TOP_PAD, 16 * kMiB);
}

}  // namespace

int main(int argc, char** argv) {
  keep_stacks();
  const std::string version = std::string("Boost.Fiber " BOOST_LIB_VERSION ", ") +
                              (has_shared_work() ? "shared_work" : "work_stealing") + ", g++ " __VERSION__ ", -O2";
  const auto all = join({goroutine_scenarios(), channel_scenarios(), lock_scenarios(), pool_scenarios()});
  const int status = run_program(argc, argv, {"boost_fiber_bench", version, "BOOST_FIBER_PROCS", all, run});
  std::fflush(nullptr);
  std::_Exit(status);  // the threads are still there
}

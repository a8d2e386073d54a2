// What a runtime costs that has nothing to do: CPU time in percent of one core, with 1, 2 and 64 processors.
//
// All workers have run before, a thousand goroutines are parked on a channel, one sleeps for an hour. weft_idle [seconds]
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include <weft/chan.hpp>
#include <weft/runtime.hpp>
#include <weft/select.hpp>
#include <weft/wait_group.hpp>

namespace {

double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// Everybody waits for everybody, without weft: that takes a thread each.
void start_all_workers(unsigned processors) {
  std::atomic<unsigned> here{0};
  weft::WaitGroup wg;
  for (unsigned i = 0; i < processors; ++i) {
    wg.go([&here, processors] {
      here.fetch_add(1);
      while (here.load() < processors) std::this_thread::yield();
    });
  }
  wg.wait();
}

void measure(unsigned processors, double seconds) {
  weft::Runtime runtime(weft::RuntimeOptions{.processors = processors});
  const auto gate = weft::make_chan<weft::Unit>();
  runtime.run([&] { start_all_workers(processors); });
  for (int i = 0; i < 1'000; ++i) runtime.go([gate] { gate.recv(); });
  runtime.go([gate] { weft::select(gate.on_recv(), weft::on_timeout(std::chrono::hours(1))); });
  while (runtime.stats().waiting < 1'001) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // searchers look around for a while before they sleep

  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));  // what is measured
  const double percent = 100 * (cpu_seconds() - before) / seconds;
  std::printf(R"({"processors":%u,"threads":%u,"percent_of_a_core":%.4f})"
              "\n",
              processors, static_cast<unsigned>(runtime.stats().threads), percent);
  gate.close();
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::strtod(argv[1], nullptr) : 10;
  if (seconds <= 0) {
    std::fputs("usage: weft_idle [seconds]\n", stderr);
    return 2;
  }
  for (const unsigned processors : {1U, 2U, 64U}) measure(processors, seconds);
}

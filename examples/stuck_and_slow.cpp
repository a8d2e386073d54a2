// stuck_and_slow: programs that hang, starve, overflow or throw, and what weft says of each

// There is no original in the article. Each case is a small program with something wrong in it; it runs in a process of its
// own, since most of them do not survive. docs/diagnosing.md tells how to read what they print.

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <weft/chan.hpp>
#include <weft/go.hpp>
#include <weft/latency.hpp>
#include <weft/mutex.hpp>
#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>
#include <weft/trace.hpp>
#include <weft/wait_group.hpp>

#include "support/command_line.hpp"

extern char** environ;  // NOLINT: POSIX's

namespace {

using namespace std::chrono_literals;

// ---- the cases ----

/// Never yields, never calls the runtime.
[[gnu::noinline]] void hog(const std::atomic<bool>& stop) {
  while (!stop.load(std::memory_order_relaxed)) {
  }
}

void slow_hogs() {
  weft::run([] {
    std::atomic<bool> stop{false};
    weft::WaitGroup hogs;
    const unsigned processors = weft::stats().processors;
    for (unsigned i = 0; i < processors; ++i) hogs.go([&] { hog(stop); });
    auto worst = 0ns;
    for (int i = 0; i < 100; ++i) {
      const auto start = std::chrono::steady_clock::now();
      weft::sleep_for(1ms);
      worst = std::max<std::chrono::nanoseconds>(worst, std::chrono::steady_clock::now() - start - 1ms);
    }
    stop.store(true, std::memory_order_relaxed);
    hogs.wait();
    const weft::Stats stats = weft::stats();
    std::printf(
        "%u endless loops on %u processors; meanwhile 100 sleeps of 1 ms returned %.1f ms late at worst.\n"
        "Processors taken from those who hogged them: %llu; threads: %u.\n",
        processors, processors, std::chrono::duration<double, std::milli>(worst).count(),
        static_cast<unsigned long long>(stats.handoffs), stats.threads);
  });
}

void slow_calls() {
  weft::run([] {
    const auto start = std::chrono::steady_clock::now();
    weft::WaitGroup calls;
    for (int i = 0; i < 50; ++i) {
      calls.go([] { weft::blocking([] { std::this_thread::sleep_for(50ms); }); });
    }
    calls.wait();
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    std::printf("50 calls that block a thread for 50 ms each, on %u processors: %.0f ms in all.\n",
                weft::stats().processors, elapsed.count());
  });
}

/// Computes without a look at anything else.
void compute(std::chrono::nanoseconds time) {
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < time) {
  }
}

/// Where `late` writes its trace; empty: into the folder for temporary files.
std::string trace_file;  // NOLINT: set by main before anything runs

/// Clients ask and workers answer, each within microseconds; but now and then two reports take both processors for 4 ms.
void slow_turns() {
  if (trace_file.empty()) trace_file = (std::filesystem::temp_directory_path() / "stuck_and_slow.%p.json").string();
  weft::trace::start({.keep = 1s, .runnable_limit = 2ms, .path = trace_file});
  weft::run({.processors = 2, .measure_latency = true}, [] {
    struct Request {
      weft::Chan<int> answer;
    };
    auto requests = weft::make_chan<Request>();
    weft::WaitGroup workers;
    for (int i = 0; i < 3; ++i) {
      workers.go(weft::GoOptions{.name = "worker"}, [&] {
        while (auto request = requests.recv()) {
          compute(30us);
          request->answer.send(1);
        }
      });
    }
    weft::WaitGroup clients;
    for (int i = 0; i < 3; ++i) {
      clients.go(weft::GoOptions{.name = "client"}, [&] {
        auto answer = weft::make_chan<int>();
        for (int k = 0; k < 40; ++k) {
          requests.send({answer});
          answer.recv();
          weft::sleep_for(200us);
        }
      });
    }
    weft::WaitGroup reports;
    for (int i = 0; i < 2; ++i) {
      reports.go(weft::GoOptions{.name = "report"}, [] {
        for (int k = 0; k < 2; ++k) {
          weft::sleep_for(3ms);
          weft::trace::log("a report begins");
          compute(4ms);
        }
      });
    }
    reports.wait();
    clients.wait();
    requests.close();
    workers.wait();
    const auto micros = [](std::chrono::nanoseconds time) {
      return std::chrono::duration<double, std::micro>(time).count();
    };
    const weft::SchedLatencies waits = weft::sched_latencies();
    std::printf(
        "Goroutines began to run %llu times. Half of them had waited for at most %.1f us, 99 of 100 for at most\n"
        "%.1f us, the one that had waited longest for %.1f us.\n",
        static_cast<unsigned long long>(waits.count), micros(waits.percentile(50)), micros(waits.percentile(99)),
        micros(waits.longest));
  });
  weft::trace::stop();
}

[[gnu::noinline]] void wait_for_order(const weft::RecvChan<int>& orders) { orders.recv(); }

void stuck_workers() {
  weft::run([] {
    auto orders = weft::make_chan<int>();
    auto invoices = weft::make_chan<int>();
    weft::WaitGroup workers;
    for (int i = 0; i < 3; ++i) workers.go([&] { wait_for_order(orders); });
    workers.go(weft::GoOptions{.name = "accounts"}, [&] { invoices.send(1); });
    while (weft::stats().waiting < 4) weft::yield();
    weft::dump_goroutines(STDOUT_FILENO);
    orders.close();
    invoices.recv();
    workers.wait();
  });
}

[[gnu::noinline]] void lock_both(weft::Mutex& first, weft::Mutex& second, weft::WaitGroup& ready) {
  first.lock();
  ready.done();
  ready.wait();
  second.lock();
}

void stuck_locks() {
  weft::run([] {
    weft::Mutex left;
    weft::Mutex right;
    weft::WaitGroup ready;
    ready.add(2);
    weft::WaitGroup both;
    both.go([&] { lock_both(left, right, ready); });
    both.go([&] { lock_both(right, left, ready); });
    both.wait();
  });
}

[[gnu::noinline]] int descend(int depth) {
  volatile char page[1024] = {};
  page[0] = static_cast<char>(depth);
  return depth == 0 ? page[0] : descend(depth + 1) + page[0];
}

void overflow() {
  weft::run([] {
    weft::WaitGroup group;
    group.go(weft::GoOptions{.name = "recursion", .stack_size = 64 * 1024}, [] { std::printf("%d\n", descend(1)); });
    group.wait();
  });
}

[[gnu::noinline]] void read_settings() { throw std::runtime_error("settings.json: no such file"); }

void uncaught() {
  weft::run([] {
    weft::WaitGroup group;
    group.go(weft::GoOptions{.name = "settings"}, [] { read_settings(); });
    group.wait();
  });
}

void stragglers() {
  weft::Runtime runtime;
  auto never = weft::make_chan<int>();
  runtime.go(weft::GoOptions{.name = "subscriber"}, [&] { wait_for_order(never); });
  const weft::ShutdownReport report = runtime.shutdown(20ms);
  for (const weft::GoroutineInfo& g : report.stragglers) {
    std::printf("still alive after a shutdown with 20 ms of grace: goroutine %llu \"%s\" [%s], created by %s\n%s",
                static_cast<unsigned long long>(g.id), g.name.c_str(),
                (g.wait_reason.empty() ? g.state : g.wait_reason).c_str(), g.spawn_site.c_str(), g.stack.c_str());
  }
}

struct Case {
  const char* name;
  const char* what;
  int status;  // that its process ends with
  void (*run)();
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"hogs", "every processor runs an endless loop", 0, slow_hogs},
      {"calls", "goroutines block their threads", 0, slow_calls},
      {"late", "goroutines that could run wait for those that compute", 0, slow_turns},
      {"dump", "what is everybody waiting for?", 0, stuck_workers},
      {"deadlock", "two mutexes, locked in opposite orders", 2, stuck_locks},
      {"overflow", "a recursion without an end", 2, overflow},
      {"uncaught", "an exception that nobody catches", 2, uncaught},
      {"stragglers", "a shutdown that somebody does not notice", 0, stragglers},
  };
  return all;
}

// ---- running them ----

/// Runs the case in a process of its own, which prints to our standard output; returns its exit status.
int run_apart(const Case& c) {
  std::string option = std::string("--here=") + c.name;
  std::string program = "stuck_and_slow";
  std::string trace = "--trace=" + trace_file;
  char* args[] = {program.data(), option.data(), trace_file.empty() ? nullptr : trace.data(), nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const int error = posix_spawn(&child, "/proc/self/exe", &actions, nullptr, args, environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::system_error(error, std::generic_category(), "posix_spawn");
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

const Case* find_case(const std::string& name) {
  for (const Case& c : cases()) {
    if (name == c.name) return &c;
  }
  return nullptr;
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line("stuck_and_slow",
                                     "Small programs with something wrong in them, and what weft says of each.");
  std::vector<std::string> names;
  for (const Case& c : cases()) names.emplace_back(c.name);
  std::vector<std::string> wanted = names;
  std::string here;
  command_line.texts("cases", wanted,
                     "Which ones, all by default: hogs calls late dump deadlock overflow uncaught stragglers", names);
  command_line.text("--trace", trace_file, "Where 'late' writes its trace (by default among the temporary files)");
  command_line.text("--here", here, "Run one case in this very process", names);

  return command_line.run(argc, argv, [&] {
    if (!here.empty()) {
      find_case(here)->run();
      return 0;
    }
    for (const std::string& name : wanted) {
      const Case& c = *find_case(name);
      std::printf("==== %s: %s\n\n", c.name, c.what);
      std::fflush(stdout);
      const int status = run_apart(c);
      std::printf("\n(exit status %d)\n\n", status);
      if (status != c.status) {
        std::fprintf(stderr, "stuck_and_slow: %s ended with status %d instead of %d\n", c.name, status, c.status);
        return examples::kFailed;
      }
    }
    return 0;
  });
}

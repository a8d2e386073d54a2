// graceful_shutdown: on SIGINT or SIGTERM a service stops taking jobs, finishes those it has, and reports

// Go original: signal.NotifyContext and http.Server.Shutdown, in miniature. Clients ask a WorkerPool for jobs until a
// signal ends a context; from then on nothing new is taken, what is queued is worked off, and what is still queued
// when the time for that is over is given up.

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include <weft/context.hpp>
#include <weft/future.hpp>
#include <weft/net/signal.hpp>
#include <weft/runtime.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>
#include <weft/worker_pool.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"

namespace {

using std::chrono::milliseconds;

struct Options {
  std::size_t clients = 24;
  std::size_t workers = 4;
  std::size_t queue = 16;
  milliseconds job{20};
  milliseconds drain{500};
  milliseconds signal_after{700};
};

/// What became of the jobs, counted by the clients.
struct Tally {
  std::atomic<std::size_t> done{0};
  std::atomic<std::size_t> given_up{0};  // taken, but not begun before the time was over
  std::atomic<std::size_t> refused{0};
};

/// Asks for one job after the other, as long as they are taken.
void client(const weft::Context& ctx, weft::WorkerPool& pool, milliseconds job, Tally& tally) {
  for (;;) {
    auto result = pool.submit(ctx, [job] { weft::sleep_for(job); });  // waits while the queue is full
    if (!result) {
      ++tally.refused;
      return;
    }
    try {
      result->get();
      ++tally.done;
    } catch (const std::system_error& error) {
      if (error.code() != weft::errc::canceled) {
        throw;
      }
      ++tally.given_up;
    }
  }
}

/// Waits for the clients, whose last jobs are worked off meanwhile; gives up those that have not begun when `drain` is
/// over. What has begun is always finished. The pool is closed last: to submit to a closed one is a bug, as is sending on
/// a closed channel. Returns whether time sufficed.
bool shut_down(weft::WorkerPool& pool, weft::WaitGroup& clients, milliseconds drain) {
  const auto [ctx, is_drained] = weft::with_timeout(weft::background(), drain);
  weft::WaitGroup watch;
  watch.go([&, ctx = ctx] {
    ctx.done().recv();
    if (ctx.err() == weft::errc::deadline_exceeded) {
      pool.cancel_pending();
    }
  });
  clients.wait();
  is_drained();
  watch.wait();
  pool.close_and_wait();
  return ctx.err() != weft::errc::deadline_exceeded;
}

std::string cause_of(const weft::Context& ctx) {
  try {
    std::rethrow_exception(ctx.cause());
  } catch (const std::exception& cause) {
    return cause.what();
  }
}

void serve(const Options& options, examples::Check& check) {
  const auto [ctx, stop_signals] = weft::net::notify_context(weft::background(), SIGINT, SIGTERM);
  weft::WorkerPool pool({.workers = options.workers, .queue = options.queue, .name = "service"});
  Tally tally;
  weft::WaitGroup clients;
  for (std::size_t i = 0; i < options.clients; ++i) {
    clients.go([&, ctx = ctx] { client(ctx, pool, options.job, tally); });
  }
  weft::WaitGroup signal_self;
  if (options.signal_after.count() > 0) {
    signal_self.go([&, ctx = ctx] {
      if (weft::sleep_for(ctx, options.signal_after)) {  // unless somebody else is faster
        ::kill(::getpid(), SIGTERM);
      }
    });
  }

  ctx.done().recv();
  signal_self.wait();
  stop_signals();  // a second one ends the process at once, for whoever does not want to wait
  const auto start = weft::Clock::now();
  const auto at_signal = pool.stats();
  std::printf("%s: %zu jobs done so far, %zu being worked on, %zu queued\n", cause_of(ctx).c_str(),
              static_cast<std::size_t>(at_signal.completed), static_cast<std::size_t>(at_signal.busy),
              static_cast<std::size_t>(at_signal.queued));
  std::fflush(stdout);

  const bool is_drained = shut_down(pool, clients, options.drain);
  const auto took = std::chrono::duration_cast<milliseconds>(weft::Clock::now() - start);
  std::printf("%s after %lld ms\n", is_drained ? "drained" : "the time to drain was over; closed",
              static_cast<long long>(took.count()));

  const auto stats = pool.stats();
  std::printf("%zu jobs taken: %zu done, %zu given up; %zu refused after the signal\n",
              static_cast<std::size_t>(stats.submitted), tally.done.load(), tally.given_up.load(),
              tally.refused.load());
  check.expect(tally.done + tally.given_up == stats.submitted, "every job that was taken has an end");
  check.expect(tally.done == stats.completed && tally.given_up == stats.canceled, "clients and pool agree");
  check.expect(!is_drained || tally.given_up == 0, "nothing is given up before its time");
  check.expect(tally.refused == options.clients, "every client was told that it is over");
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "graceful_shutdown",
      "Clients ask a worker pool for jobs until SIGINT or SIGTERM comes; press Ctrl-C, or wait: after a while it "
      "sends\n"
      "SIGTERM to itself. Then no more jobs are taken, those queued are done if time allows, and a report is printed.\n"
      "A second signal ends it at once.");
  Options options;
  unsigned job_ms = 20;
  unsigned drain_ms = 500;
  unsigned signal_after_ms = 700;
  command_line.number("--clients", options.clients, "How many clients ask for jobs", 1, 5'000);
  command_line.number("--workers", options.workers, "How many jobs are worked on at a time", 1, 1'000);
  command_line.number("--queue", options.queue, "How many jobs may be queued", 0, 100'000);
  command_line.number("--job-ms", job_ms, "Milliseconds that a job takes", 0, 60'000);
  command_line.number("--drain-ms", drain_ms, "Milliseconds that queued jobs are given after the signal", 0, 3'600'000);
  command_line.number("--signal-after-ms", signal_after_ms, "Milliseconds until it sends SIGTERM to itself; 0: never",
                      0, 3'600'000);

  return command_line.run(argc, argv, [&] {
    options.job = milliseconds(job_ms);
    options.drain = milliseconds(drain_ms);
    options.signal_after = milliseconds(signal_after_ms);
    return weft::run([&] {
      examples::Check check("graceful_shutdown");
      std::printf("%zu clients, %zu workers, a queue of %zu; Ctrl-C ends it\n", options.clients, options.workers,
                  options.queue);
      std::fflush(stdout);
      serve(options, check);
      std::printf("%llu goroutines left over\n", static_cast<unsigned long long>(check.left_over()));
      return check.exit_status();
    });
  });
}

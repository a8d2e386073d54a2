#include "trace_recorder.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <utility>

#include "deadlock.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"
#include "trace_file.hpp"

namespace weft::detail {

TraceRecorder::TraceRecorder(std::string path, std::int64_t pause_ns, Timeline timeline)
    : path_(std::move(path)), pause_ns_(pause_ns), timeline_(timeline) {
  TraceState::expect_slow();
  // Nobody's signals are for this thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { main(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TraceRecorder::~TraceRecorder() {
  is_stopping_.store(true, std::memory_order_seq_cst);
  TraceState::wake_recorder();
  pause_is_over_.store(1, std::memory_order_relaxed);  // the value is all there is to know
  futex_wake(pause_is_over_, 1);
  thread_.join();
}

void TraceRecorder::main() noexcept {
  WeftThreads::add();
  pthread_setname_np(pthread_self(), "weft-trace");
  for (;;) {
    const TraceState::Slow slow = TraceState::await_slow(is_stopping_);
    if (is_stopping_.load(std::memory_order_seq_cst)) break;
    report(slow);
    pause();
    TraceState::expect_slow();
  }
  WeftThreads::remove();
}

void TraceRecorder::report(const TraceState::Slow& slow) noexcept {
  std::string text;
  try {
    replace_trace(timeline_("trace"), "trace", path_);
    char what[128];
    std::snprintf(what, sizeof what, "weft: trace: goroutine %llu was runnable for %.1f ms before it ran: ",
                  static_cast<unsigned long long>(slow.goroutine), static_cast<double>(slow.waited_ns) / 1e6);
    text = what + path_ + "\n";
  } catch (const std::exception& error) {
    text = std::string(error.what()) + "\n";
  }
  write_all(STDERR_FILENO, text);
}

void TraceRecorder::pause() noexcept {
  const std::int64_t now = steady_time().now_ns();
  const std::int64_t until = pause_ns_ > kForever - now ? kForever : now + pause_ns_;
  while (pause_is_over_.load(std::memory_order_relaxed) == 0 && steady_time().now_ns() < until) {
    futex_wait(pause_is_over_, 0, until);
  }
}

}  // namespace weft::detail

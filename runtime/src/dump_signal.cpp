// dump_on_signal(): the handler wakes a thread, and that does the work; a handler could do next to nothing of it.

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>

#include "deadlock.hpp"
#include "keep_errno.hpp"
#include "photo.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"
#include "weft/detail/park.hpp"
#include "weft/stats.hpp"

namespace weft {
namespace detail {
namespace {

std::atomic<std::uint32_t> requests{0};  // futex: how many signals have come

void on_dump_signal(int) {
  const KeepErrno keep_errno;
  requests.fetch_add(1, std::memory_order_relaxed);
  futex_wake(requests, 1);
}

/// One thread for the life of the process. It counts as ours: it starts and ends no wait, so a deadlock is one with it too.
[[noreturn]] void serve() {
  WeftThreads::add();
  StoppedWorld::except_this_thread();
  pthread_setname_np(pthread_self(), "weft-dump");
  for (std::uint32_t seen = 0;;) {
    const std::uint32_t wanted = requests.load(std::memory_order_relaxed);
    if (wanted == seen) {
      futex_wait(requests, seen, kForever);
      continue;
    }
    seen = wanted;
    try {
      dump_goroutines(STDERR_FILENO);
    } catch (const std::exception&) {
      write_all(STDERR_FILENO, "weft: dump_goroutines: out of memory\n");
    }
  }
}

void start_server() {
  // Nobody's signals are for this thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread(&serve).detach();
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace detail

void dump_on_signal(int signal) {
  static std::mutex lock;
  static bool has_server = false;  // guarded by lock
  const detail::KeepErrno keep_errno;
  const std::lock_guard guard(lock);
  if (!has_server) detail::start_server();
  has_server = true;
  struct sigaction action = {};
  action.sa_handler = &detail::on_dump_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  if (sigaction(signal, &action, nullptr) != 0) {
    throw std::system_error(errno, std::generic_category(), "weft: dump_on_signal");
  }
}

void dump_on_signal() { dump_on_signal(SIGQUIT); }

}  // namespace weft

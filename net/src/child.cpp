#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include "child_state.hpp"
#include "last_error.hpp"
#include "signal_words.hpp"
#include "weft/error.hpp"
#include "weft/net/process.hpp"
#include "weft/net/readiness.hpp"

namespace weft::net {
namespace detail {
namespace {

/// Children that nobody waits for any more.
struct Abandoned {
  std::mutex lock;
  std::vector<std::shared_ptr<ChildState>> children;  // guarded by lock
};

Abandoned& abandoned_children() {
  static auto* instance = new Abandoned;  // children may be destroyed by whatever runs at exit
  return *instance;
}

bool is_gone(ChildState& child) {
  ExitStatus status;
  std::error_code error;
  return child.try_reap(status, error);
}

}  // namespace

ChildState::~ChildState() { ::close(pidfd); }

bool ChildState::try_reap(ExitStatus& result, std::error_code& error) {
  StopFunc watch;  // stopped without the lock
  {
    const std::lock_guard guard(lock);
    if (!is_reaped) {
      siginfo_t info{};
      int done = 0;
      do {
        done = ::waitid(P_PIDFD, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG);
      } while (done != 0 && errno == EINTR);
      if (done != 0) {
        reap_error = last_error();
      } else if (info.si_pid == 0) {
        return false;
      } else if (info.si_code == CLD_EXITED) {
        status.code = info.si_status;
      } else {
        status.signal = info.si_status;
        status.has_core = info.si_code == CLD_DUMPED;
      }
      is_reaped = true;
      watch = std::exchange(context_watch, {});
    }
    result = status;
    error = reap_error;
  }
  watch();  // P3
  return true;
}

std::error_code ChildState::send(int signal) const noexcept {
  return ::syscall(SYS_pidfd_send_signal, pidfd, signal, nullptr, 0) == 0 ? std::error_code() : last_error();
}

void ChildState::end(std::chrono::nanoseconds grace) const {
  if (grace.count() > 0 && !send(SIGTERM)) {
    const auto [ctx, cancel] = with_timeout(background(), grace);
    if (!wait_readable(pidfd, ctx)) return;
  }
  static_cast<void>(send(SIGKILL));
}

void sweep_children() {
  Abandoned& all = abandoned_children();
  const std::lock_guard guard(all.lock);
  std::erase_if(all.children, [](const std::shared_ptr<ChildState>& child) { return is_gone(*child); });
}

}  // namespace detail

std::string ExitStatus::to_string() const {
  if (signal == 0) return "exit status " + std::to_string(code);
  return "signal: " + describe_signal(signal) + (has_core ? " (core dumped)" : "");
}

Child& Child::operator=(Child&& other) noexcept {
  if (this == &other) return *this;
  abandon();
  state_ = std::move(other.state_);
  for (int which = 0; which < 3; ++which) streams_[which] = std::move(other.streams_[which]);
  return *this;
}

Child::~Child() { abandon(); }

void Child::abandon() noexcept {
  if (state_ == nullptr) return;
  detail::Abandoned& all = detail::abandoned_children();
  {
    const std::lock_guard guard(all.lock);
    all.children.push_back(std::move(state_));
  }
  detail::sweep_children();
}

detail::ChildState& Child::state() const {
  if (state_ == nullptr) weft::detail::throw_panic("weft: net: use of a child that was not started");
  return *state_;
}

int Child::id() const { return state().pid; }

Stream& Child::stream(int which) {
  static_cast<void>(state());
  if (!streams_[which].is_open())
    weft::detail::throw_panic("weft: net: no stream to or from the child: Command did not say Stdio::pipe()");
  return streams_[which];
}
Stream& Child::stdin_stream() { return stream(STDIN_FILENO); }
Stream& Child::stdout_stream() { return stream(STDOUT_FILENO); }
Stream& Child::stderr_stream() { return stream(STDERR_FILENO); }

ExitStatus Child::wait(const Context& ctx, std::error_code& error) {
  detail::ChildState& child = state();
  ExitStatus status;
  error.clear();
  while (!error && !child.try_reap(status, error)) error = wait_readable(child.pidfd, ctx);
  return status;
}

ExitStatus Child::wait(const Context& ctx) {
  std::error_code error;
  const ExitStatus status = wait(ctx, error);
  if (error) throw std::system_error(error, "weft: net: Child::wait");
  return status;
}

std::error_code Child::kill(int signal) { return state().send(signal); }

}  // namespace weft::net

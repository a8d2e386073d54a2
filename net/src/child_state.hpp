#pragma once

// What is known of a child that was started.
//
// P1 It is known by a pidfd, which stands for that process alone, whatever becomes of its number: waiting is waiting for a
//    readable file, and a signal cannot hit a stranger.
// P2 It is reaped once, under the lock: by whoever waits for it, or when nobody does any more, by whoever comes by.
// P3 The context's function keeps the state alive, and the state the means to stop that function; reaping cuts that circle.

#include <sys/types.h>

#include <chrono>
#include <mutex>
#include <system_error>

#include "weft/context.hpp"
#include "weft/net/process.hpp"

namespace weft::net::detail {

struct ChildState {
  ChildState(pid_t child, int descriptor) noexcept : pid(child), pidfd(descriptor) {}
  ChildState(const ChildState&) = delete;
  ChildState& operator=(const ChildState&) = delete;
  ~ChildState();

  /// P2. True if it has ended, or nobody can tell any more (then with an error).
  bool try_reap(ExitStatus& result, std::error_code& error);
  [[nodiscard]] std::error_code send(int signal) const noexcept;
  /// What the end of its context does.
  void end(std::chrono::nanoseconds grace) const;

  const pid_t pid;
  const int pidfd;
  StopFunc context_watch;  // set before anybody else has the state, taken by who reaps

  std::mutex lock;
  bool is_reaped = false;  // guarded by lock, as those below
  ExitStatus status;
  std::error_code reap_error;
};

/// Reaps those that have ended and that nobody waits for.
void sweep_children();

}  // namespace weft::net::detail

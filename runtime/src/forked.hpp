#pragma once

// A runtime belongs to the process that it was made in: fork() copies its memory, but of its threads at most the one that
// called. Nothing of it can go on in the child, and its locks may be held there for ever by threads that do not exist.
//
// What may be called in a child knows the runtime by its mark, and says what is wrong; what only tidies up (destructors,
// exit) leaves everything as it is. A runtime made in the child is like any other.

#include <atomic>
#include <cstdint>

#include "weft/detail/wait_reason.hpp"

namespace weft::detail {

/// How many forks lie between the process that made the first runtime and this one. Written in the child only, while it has
/// one thread; relaxed.
extern std::atomic<std::uint32_t> fork_count;

/// Remembers the process that it was made in.
class ProcessMark {
 public:
  [[nodiscard]] bool is_here() const noexcept { return mark_ == fork_count.load(std::memory_order_relaxed); }

 private:
  std::uint32_t mark_ = fork_count.load(std::memory_order_relaxed);
};

[[nodiscard]] inline bool is_forked_child() noexcept { return fork_count.load(std::memory_order_relaxed) != 0; }

/// "weft: <call>: the runtime does not survive fork(): ..." and what to do instead.
[[noreturn]] void throw_after_fork(const char* call);
[[noreturn]] void die_after_fork(const char* call) noexcept;

/// In a child, on a thread whose wait has begun: dies if there is no thread that could end it. `token` is not 0 once it has
/// been ended, perhaps by a thread that is gone since.
void check_wait_after_fork(WaitReason reason, const std::atomic<std::uint32_t>& token) noexcept;

/// From the first runtime on, a child of this process is told that it is one (fork.cpp).
void watch_forks() noexcept;

}  // namespace weft::detail

#pragma once

// Starting, leaving and naming goroutines.

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include "weft/detail/spawn.hpp"

namespace weft {
namespace detail {

/// While one lives on a goroutine's stack, the goroutine's processor may be given to another thread at once.
class BlockingSection {
 public:
  BlockingSection() noexcept;
  BlockingSection(const BlockingSection&) = delete;
  BlockingSection& operator=(const BlockingSection&) = delete;
  ~BlockingSection();
};

}  // namespace detail

/// Starts f(args...) as a goroutine of the calling goroutine's runtime, of the default runtime elsewhere. The callable
/// and its arguments are evaluated and decay-copied now; the result of f is discarded.
///
/// Blocks: never. Safe from: goroutines and threads.
/// Throws: std::system_error naming the limit when no stack or record can be had; what copying the arguments throws.
/// An exception that leaves f ends the process with a report (RuntimeOptions::on_uncaught).
/// Ordering: what the caller did before happens before f starts.
/// Cost: O(1); allocates only when the caches are empty, or for a closure of more than 64 bytes.
/// Go: the go statement.
template <class F, class... Args>
  requires detail::Spawnable<F, Args...>
[[gnu::always_inline]] inline void go(F&& f, Args&&... args) {
  detail::spawn(nullptr, nullptr, std::forward<F>(f), std::forward<Args>(args)...);
}

/// The same with a name (for reports) or a stack size of its own.
template <class F, class... Args>
  requires detail::Spawnable<F, Args...>
[[gnu::always_inline]] inline void go(const GoOptions& options, F&& f, Args&&... args) {
  detail::spawn(nullptr, &options, std::forward<F>(f), std::forward<Args>(args)...);
}

/// Lets other goroutines run; the caller stays runnable. On a plain thread: gives up the CPU.
/// Go: runtime.Gosched.
void yield() noexcept;

/// Runs f, which may block the thread: a system call, a library that waits by itself. If other goroutines wait meanwhile, they
/// get the processor, within some 20 us. (A goroutine that blocks without saying so, or computes, keeps it for 10 ms; for 2 ms
/// if somebody's sleep or time-out is over.) Returns f()'s result. What it throws passes through.
///
/// Blocks: for as long as f does, then until there is a processor again. On a plain thread: just calls f.
/// Cost: some ns, unless f blocks for long while others wait; then the wake-up of a thread, or a new one
/// (RuntimeOptions::max_threads).
/// Go: what the runtime does around each system call by itself.
template <class F>
auto blocking(F&& f) -> std::invoke_result_t<F> {
  const detail::BlockingSection section;
  return std::forward<F>(f)();
}

/// Ends the calling goroutine: its destructors run, `catch (std::exception&)` does not stop it, and a `catch (...)`
/// must rethrow. On a plain thread: throws Panic.
/// Go: runtime.Goexit.
[[noreturn]] void exit_goroutine();

namespace this_goroutine {
/// The goroutine's number, unique in the process; 0 on a plain thread.
std::uint64_t id() noexcept;
/// The name given in GoOptions; empty without one and on a plain thread. Valid until the goroutine ends.
std::string_view name() noexcept;
bool is_goroutine() noexcept;
}  // namespace this_goroutine

}  // namespace weft

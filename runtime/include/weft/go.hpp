#pragma once

// Starting, leaving and naming goroutines.

#include <cstdint>
#include <string_view>
#include <utility>

#include "weft/detail/spawn.hpp"

namespace weft {

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

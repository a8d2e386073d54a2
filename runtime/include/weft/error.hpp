#pragma once

// What can go wrong by the caller's doing. Outcomes that a correct program meets (closed, full, timed out) are values,
// not exceptions.

#include <stdexcept>
#include <string_view>

namespace weft {

/// A caller's bug that the goroutine can recover from, as Go's panic: a negative WaitGroup counter, say. what() is
/// Go's text.
class Panic : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// A panic that the runtime itself detects: send on a closed channel, close of a nil channel (Go: runtime.Error).
class RuntimePanic : public Panic {
 public:
  using Panic::Panic;
};

namespace detail {

[[noreturn]] void throw_panic(const char* what);
[[noreturn]] void throw_runtime_panic(const char* what);

/// Prints `fatal error: <what>` and ends the process with status 2 (WEFT_TRACEBACK=crash: aborts). Nothing can catch
/// it, no destructor runs. Safe from: any thread.
[[noreturn]] void fatal(std::string_view what) noexcept;

}  // namespace detail
}  // namespace weft

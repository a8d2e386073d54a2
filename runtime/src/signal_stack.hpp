#pragma once

// The stack on which a worker's thread runs signal handlers: a goroutine's own may be full (fault.hpp), or too small for a
// handler of the host's. Sole user of sigaltstack.

#include "stack.hpp"

namespace weft::detail {

/// Of the calling thread, as long as this object lives. One that the thread has already stays in use instead.
class SignalStack {
 public:
  explicit SignalStack(bool is_wanted) noexcept;
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  StackRange stack_;  // empty: none
};

}  // namespace weft::detail

#pragma once

// SIGSEGV and SIGBUS: tells a goroutine's stack overflow from other faults, and names the goroutine.
//
// The handler runs on the worker's alternate stack, since the goroutine's own may be full. It may have interrupted anything:
// it allocates nothing and takes no lock of ours, and reads only what its own thread owns.
//   U1 A hit on the guard of the goroutine that runs here is reported as a stack overflow. A handler that the host had
//      installed before is called then; without one the process ends as with any fatal error.
//   U2 Any other fault is the host's: its handler, or the default action, gets it as if we were not here, after one line
//      that names the goroutine (if one was running).
//   U3 The host may install a handler later: it stays on top. What is not ours any more is never taken back.
// Under the address and the thread sanitizer nothing is installed: they have handlers of their own, which say more.
// Sole user of sigaction. Answers to Go's runtime/signal_unix.go (sigfwdgo).

namespace weft::detail {

/// A runtime that wants its goroutines' overflows reported. Several may; the handler goes with the last one.
void retain_fault_handler() noexcept;
void release_fault_handler() noexcept;

/// In a forked child: who held the lock stayed behind.
void forget_fault_lock() noexcept;

}  // namespace weft::detail

#pragma once

// The context switch: machine context, C++ exception state, sanitizer bookkeeping.
//
// Entered by workers, on whatever stack is being left. Rules:
//   X1 An ExecutionState is saved by the side that lands (`land`), after its stack has been left.
//   X2 Nothing read from thread-local storage before switch_to is used after it: the landing side gets what it needs as
//      `data` of the transfer.
//   X3 The exception state (caught and uncaught exceptions of the Itanium ABI) moves with the stack, not with the thread.
// Sole user of Boost.Context and of the sanitizers' fiber interface.

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "stack.hpp"
#include "weft/detail/platform.hpp"

// The sanitizers' fiber interface, declared here so that a build without them needs none of their headers; used under
// `if constexpr` only.
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack_save, const void* bottom, std::size_t size);
void __sanitizer_finish_switch_fiber(void* fake_stack_save, const void** bottom_old, std::size_t* size_old);
void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
void* __tsan_get_current_fiber(void);
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
void __tsan_func_exit(void);
}

namespace weft::detail {

/// What __cxa_get_globals() points at: the same two words in libstdc++ and libc++abi.
struct ExceptionGlobals {
  void* caught;
  unsigned int uncaught;
};

/// Of the calling thread. Valid for as long as the thread lives, for that thread only.
ExceptionGlobals* thread_exception_globals() noexcept;

using Transfer = boost::context::detail::transfer_t;
using EntryPoint = void (*)(Transfer);

/// What is saved of a stack that is not running. Of one that runs, no exceptions are.
struct ExecutionState {
  void* context = nullptr;
  ExceptionGlobals exceptions{nullptr, 0};
  StackRange stack;            // bounds, for the address sanitizer
  void* fake_stack = nullptr;  // address sanitizer's
  void* tsan_fiber = nullptr;  // thread sanitizer's; kept with the stack, since dead ones cost it memory
};

/// Prepares `state` so that the first switch to it calls entry(transfer) with its stack ending at `hot_end`.
inline void prepare(ExecutionState& state, std::byte* hot_end, EntryPoint entry) noexcept {
  const auto size = static_cast<std::size_t>(hot_end - state.stack.low);
  state.context = boost::context::detail::make_fcontext(hot_end, size, entry);
  state.exceptions = {nullptr, 0};
  if constexpr (kAsan) {
    state.fake_stack = nullptr;
    __asan_unpoison_memory_region(state.stack.low, size);
  }
  if constexpr (kTsan) {
    if (state.tsan_fiber == nullptr) state.tsan_fiber = __tsan_create_fiber(0);
  }
}

/// How the processor rounds, and what it does with exceptional results: the part of the floating point's state that a switch keeps.
/// Goroutines begin with their thread's, whoever ran on their stack before. Boost has the two words at the begin of what it saves.
struct FloatControl {
  std::uint32_t mxcsr = 0;
  std::uint16_t x87 = 0;

  static FloatControl now() noexcept {
    FloatControl control;
#if defined(__x86_64__)
    asm volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(control.mxcsr), "=m"(control.x87));
#endif
    return control;
  }
  /// For the calling goroutine, as one begins in the place of another: all that sets the x87's sets the other word as well.
  void apply() const noexcept {
#if defined(__x86_64__)
    constexpr std::uint32_t kFlags = 0x3f;  // what has happened, which computing changes
    std::uint32_t current = 0;
    asm volatile("stmxcsr %0" : "=m"(current));
    if (((current ^ mxcsr) & ~kFlags) != 0) [[unlikely]] {
      asm volatile("ldmxcsr %0\n\tfldcw %1" ::"m"(mxcsr), "m"(x87));
    }
#endif
  }
  void apply([[maybe_unused]] ExecutionState& resting) const noexcept {
#if defined(__x86_64__)
    auto* saved = static_cast<std::byte*>(resting.context);
    std::memcpy(saved, &mxcsr, sizeof mxcsr);
    std::memcpy(saved + sizeof mxcsr, &x87, sizeof x87);
#endif
  }
};

/// The state of a thread's own stack, before the first switch away from it.
void adopt_thread(ExecutionState& state) noexcept;
/// Frees what a sanitizer keeps for a stack that will never run again.
void dispose(ExecutionState& state) noexcept;

/// What a context reaches after a switch to it. `left` is the state that was switched away from.
inline void land(ExecutionState& left, [[maybe_unused]] ExecutionState& self, void* left_context) noexcept {
  if constexpr (kAsan) __sanitizer_finish_switch_fiber(self.fake_stack, nullptr, nullptr);
  left.context = left_context;
}

/// In a fiber's first frame: stack walks end here.
[[gnu::always_inline]] inline void mark_end_of_stack() noexcept {
#if defined(__x86_64__)
  asm volatile(".cfi_undefined rip");
#endif
}

/// Before the last switch away from a stack: its frame, which never returns, leaves the thread sanitizer's own stack of calls. It is
/// kept with the fiber, and would overflow after some ten thousand goroutines on the same stack.
inline void forget_frame() noexcept {
  if constexpr (kTsan) __tsan_func_exit();
}

/// Where a signal has interrupted its thread; zeros where that is not known.
struct Interrupted {
  const void* pc = nullptr;
  std::uintptr_t sp = 0;
  std::uintptr_t frame = 0;  // the frame pointer, if the code keeps one
};
/// `context`: the third argument of the signal handler.
Interrupted interrupted_at(const void* context) noexcept;

/// Boost's switch, reached by a jump. It ends in a jump to where it came from, not in a return: a call would leave an address too
/// many in the processor's stack of return addresses, and all returns of whoever goes on would be mispredicted. Who goes on is
/// often the same functions deep as who left, and returns to the same places.
[[gnu::always_inline]] inline Transfer jump_to(void* context, void* data) noexcept {
#if defined(__x86_64__) && !defined(__ILP32__) && !defined(__CET__)  // shadow stacks need the call
  // Pushes below the frame, which has no red zone: it is that of a function that calls (land_after_switch).
  Transfer transfer;
  asm volatile(
      "leaq 1f(%%rip), %%rax\n\t"
      "pushq %%rax\n\t"
      "jmpq *%[jump]\n"
      "1:"
      : "=&a"(transfer.fctx), "=d"(transfer.data), "+D"(context), "+S"(data)
      : [jump] "r"(&boost::context::detail::jump_fcontext)
      : "rcx", "r8", "r9", "r10", "r11", "cc", "memory",                      // all that a call may change
        "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)",  //
#if defined(__AVX512F__)
        "k0", "k1", "k2", "k3", "k4", "k5", "k6", "k7", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22",
        "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31",  //
#endif
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
        "xmm13", "xmm14", "xmm15");
  return transfer;
#else
  return boost::context::detail::jump_fcontext(context, data);
#endif
}

/// What is saved in `from` is nothing: it is running.
void swap_exceptions(ExceptionGlobals& thread, ExecutionState& from, ExecutionState& to) noexcept;

/// Leaves `from` for `to`. Returns when somebody switches back, on whatever thread that is. `final`: `from` is never
/// switched to again before it is prepared anew.
[[gnu::always_inline]] inline Transfer switch_to(ExecutionState& from, ExecutionState& to, ExceptionGlobals& thread,
                                                 void* data, [[maybe_unused]] bool is_final) noexcept {
  if ((reinterpret_cast<std::uintptr_t>(thread.caught) | reinterpret_cast<std::uintptr_t>(to.exceptions.caught) |
       thread.uncaught | to.exceptions.uncaught) != 0) [[unlikely]]
    swap_exceptions(thread, from, to);
  if constexpr (kAsan) {
    __sanitizer_start_switch_fiber(is_final ? nullptr : &from.fake_stack, to.stack.low, to.stack.size);
  }
  if constexpr (kTsan) __tsan_switch_to_fiber(to.tsan_fiber, 0);
  return jump_to(to.context, data);
}

}  // namespace weft::detail

#include "switch.hpp"

#include <cxxabi.h>
#include <pthread.h>
#include <ucontext.h>

#include <utility>

namespace weft::detail {

// noipa would be the exact word; noinline and the barrier keep every compiler from sharing one call's result with
// another's over a switch.
[[gnu::noinline]] ExceptionGlobals* thread_exception_globals() noexcept {
  asm volatile("" ::: "memory");
  return reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
}

void swap_exceptions(ExceptionGlobals& thread, ExecutionState& from, ExecutionState& to) noexcept {
  from.exceptions = thread;
  thread = std::exchange(to.exceptions, {nullptr, 0});
}

Interrupted interrupted_at([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__)
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs;
  return {reinterpret_cast<const void*>(registers[REG_RIP]), static_cast<std::uintptr_t>(registers[REG_RSP]),
          static_cast<std::uintptr_t>(registers[REG_RBP])};
#elif defined(__aarch64__)
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
  return {reinterpret_cast<const void*>(machine.pc), machine.sp, machine.regs[29]};
#else
  return {};
#endif
}

void adopt_thread(ExecutionState& state) noexcept {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    void* low = nullptr;
    std::size_t size = 0;
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    state.stack = {static_cast<std::byte*>(low), size};
  }
  if constexpr (kTsan) state.tsan_fiber = __tsan_get_current_fiber();
}

void dispose([[maybe_unused]] ExecutionState& state) noexcept {
  if constexpr (kTsan) {
    if (state.tsan_fiber != nullptr) __tsan_destroy_fiber(state.tsan_fiber);
    state.tsan_fiber = nullptr;
  }
}

}  // namespace weft::detail

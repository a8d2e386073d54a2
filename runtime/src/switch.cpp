#include "switch.hpp"

#include <cxxabi.h>
#include <pthread.h>

namespace weft::detail {

// noipa would be the exact word; noinline and the barrier keep every compiler from sharing one call's result with
// another's over a switch.
[[gnu::noinline]] ExceptionGlobals* thread_exception_globals() noexcept {
  asm volatile("" ::: "memory");
  return reinterpret_cast<ExceptionGlobals*>(abi::__cxa_get_globals());
}

void swap_exceptions(ExceptionGlobals& thread, ExecutionState& from, const ExecutionState& to) noexcept {
  from.exceptions = thread;
  thread = to.exceptions;
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

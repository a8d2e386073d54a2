#include "switch_walk.hpp"

#include <unwind.h>

// weft_walk_resting(context, callback, argument) calls _Unwind_Backtrace(callback, argument), and says in its unwind table
// that its caller is the code whose context lies at `context`: so the walk goes from here on to the resting stack. The
// context is what Boost's jump_fcontext pushes (1.57 and later): [mxcsr, x87][guard][r12][r13][r14][r15][rbx][rbp][rip].
// rbx holds it in this frame; the unwinder knows the rbx of each frame that it comes to. Global for the sake of
// link-time optimisation, which may see its user in another unit.
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl weft_walk_resting
  .hidden weft_walk_resting
  .type weft_walk_resting, @function
weft_walk_resting:
  .cfi_startproc
  pushq %rbx
  .cfi_def_cfa_offset 16
  .cfi_offset rbx, -16
  movq %rdi, %rbx
  movq %rsi, %rdi
  movq %rdx, %rsi
  .cfi_remember_state
  .cfi_def_cfa rbx, 0x48
  .cfi_offset r12, -0x38
  .cfi_offset r13, -0x30
  .cfi_offset r14, -0x28
  .cfi_offset r15, -0x20
  .cfi_offset rbx, -0x18
  .cfi_offset rbp, -0x10
  .cfi_offset rip, -0x08
  call _Unwind_Backtrace@PLT
  .cfi_restore_state
  popq %rbx
  .cfi_def_cfa_offset 8
  ret
  .cfi_endproc
  .size weft_walk_resting, . - weft_walk_resting
)");
#endif

extern "C" {
#if defined(__x86_64__)
void weft_walk_resting(void* context, _Unwind_Reason_Code (*callback)(_Unwind_Context*, void*), void* argument);
#else
static void weft_walk_resting(void*, _Unwind_Reason_Code (*)(_Unwind_Context*, void*), void*) {}
#endif
}

namespace weft::detail {
namespace {

struct Walk {
  Frames& out;
  unsigned to_skip;        // frames of ours that come first
  std::uintptr_t low = 0;  // the stack that is walked, if it is known
  std::uintptr_t high = UINTPTR_MAX;
};

_Unwind_Reason_Code on_frame(_Unwind_Context* context, void* argument) {
  auto& walk = *static_cast<Walk*>(argument);
  if (walk.to_skip != 0) {
    --walk.to_skip;
    return _URC_NO_REASON;
  }
  int is_interrupted = 0;
  const std::uintptr_t pc = _Unwind_GetIPInfo(context, &is_interrupted);
  const std::uintptr_t stack = _Unwind_GetCFA(context);
  if (pc == 0) return _URC_END_OF_STACK;
  if (stack < walk.low || stack > walk.high) return _URC_END_OF_STACK;
  Frames& out = walk.out;
  if (is_interrupted != 0) out.count = 0;  // what came before is the signal's handler
  if (out.count == Frames::kMost) {
    out.is_cut = true;
    return _URC_END_OF_STACK;
  }
  out.pcs[out.count++] = reinterpret_cast<const void*>(pc + (is_interrupted != 0 ? 1 : 0));
  out.outermost_stack = stack;
  return _URC_NO_REASON;
}

}  // namespace

void walk_resting(const ExecutionState& state, Frames& out) noexcept {
  out.count = 0;
  out.is_cut = false;
  Walk walk{out, 1};
  walk.low = reinterpret_cast<std::uintptr_t>(state.stack.low);
  walk.high = reinterpret_cast<std::uintptr_t>(state.stack.top());
  weft_walk_resting(state.context, &on_frame, &walk);
  out.outermost_stack = 0;  // no address of a stack stays behind: leak_scan.hpp
}

[[gnu::noinline]] void walk_here(Frames& out) noexcept {
  out.count = 0;
  out.is_cut = false;
  Walk walk{out, 1};
  _Unwind_Backtrace(&on_frame, &walk);
}

}  // namespace weft::detail

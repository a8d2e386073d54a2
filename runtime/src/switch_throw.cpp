#include "switch_throw.hpp"

#include <unwind.h>

#include <new>

// weft_call_watched(f, argument, site) calls f(argument). Its frame has a personality routine of its own, and `site` in rbx.
#if defined(__x86_64__)
asm(R"(
  .text
  .p2align 4
  .globl weft_call_watched
  .hidden weft_call_watched
  .type weft_call_watched, @function
weft_call_watched:
  .cfi_startproc
  .cfi_personality 0x1b, weft_watch_throw
  pushq %rbp
  .cfi_def_cfa_offset 16
  .cfi_offset rbp, -16
  movq %rsp, %rbp
  .cfi_def_cfa_register rbp
  pushq %rbx
  .cfi_offset rbx, -24
  subq $8, %rsp
  movq %rdx, %rbx
  movq %rdi, %rax
  movq %rsi, %rdi
  call *%rax
  movq -8(%rbp), %rbx
  leave
  .cfi_def_cfa rsp, 8
  ret
  .cfi_endproc
  .size weft_call_watched, . - weft_call_watched
)");
#endif

extern "C" {

[[gnu::visibility("hidden"), gnu::used]] _Unwind_Reason_Code weft_watch_throw(int, _Unwind_Action actions,
                                                                              _Unwind_Exception_Class,
                                                                              _Unwind_Exception*,
                                                                              _Unwind_Context* context);
_Unwind_Reason_Code weft_watch_throw(int, _Unwind_Action actions, _Unwind_Exception_Class, _Unwind_Exception*,
                                     _Unwind_Context* context) {
  using weft::detail::Frames;
  using weft::detail::ThrowSite;
  constexpr int kRbx = 3;  // as the unwind tables count
  if ((actions & _UA_SEARCH_PHASE) != 0) {
    auto& site = *reinterpret_cast<ThrowSite*>(_Unwind_GetGR(context, kRbx));
    if (*site.is_ignored) return _URC_CONTINUE_UNWIND;
    if (site.frames == nullptr) site.frames = new (std::nothrow) Frames;
    if (site.frames != nullptr) weft::detail::walk_here(*site.frames);
  }
  return _URC_CONTINUE_UNWIND;
}

#if defined(__x86_64__)
void weft_call_watched(void (*f)(void*), void* argument, weft::detail::ThrowSite* site);
#else
static void weft_call_watched(void (*f)(void*), void* argument, weft::detail::ThrowSite*) { f(argument); }
#endif
}

namespace weft::detail {

void call_watched(void (*f)(void*), void* argument, ThrowSite& site) { weft_call_watched(f, argument, &site); }

}  // namespace weft::detail

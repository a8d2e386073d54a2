#include "signal_stack.hpp"

#include <csignal>
#include <system_error>

#include "keep_errno.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kBytes = std::size_t{64} * 1024;

}  // namespace

SignalStack::SignalStack(bool is_wanted) noexcept {
  stack_t now{};
  if (!is_wanted || sigaltstack(nullptr, &now) != 0 || (now.ss_flags & SS_DISABLE) == 0) return;
  const KeepErrno keep_errno;
  try {
    stack_ = map_single_stack(kBytes);
  } catch (const std::system_error&) {
    return;  // an overflow will end the process without a word
  }
  stack_t ours{};
  ours.ss_sp = stack_.low;
  ours.ss_size = stack_.size;
  sigaltstack(&ours, nullptr);
  // A host that blocks all signals in its threads means those that can wait.
  sigset_t faults;
  sigemptyset(&faults);
  for (const int signal : {SIGSEGV, SIGBUS}) sigaddset(&faults, signal);
  pthread_sigmask(SIG_UNBLOCK, &faults, nullptr);
}

SignalStack::~SignalStack() {
  if (stack_.low == nullptr) return;
  stack_t now{};
  if (sigaltstack(nullptr, &now) == 0 && now.ss_sp == stack_.low) {
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
  }
  unmap_single_stack(stack_);
}

}  // namespace weft::detail

#include "stack_use.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <string>
#include <utility>

#include "keep_errno.hpp"

namespace weft::detail {

[[gnu::noinline]] void StackUses::measure(StackRange stack, const void* site) noexcept {
  constexpr std::ptrdiff_t kOwnFrames = 2048;  // of this function and those that it calls; neither measured nor cleaned
  const KeepErrno keep_errno;
  auto* const here = static_cast<std::byte*>(__builtin_frame_address(0));
  std::byte* const end = here - std::min(here - stack.low, kOwnFrames);
  const std::size_t touched = touched_bytes(stack, end);
  try {
    const SpinGuard guard(lock_);
    Use& use = uses_[site];
    ++use.goroutines;
    use.most = std::max(use.most, touched);
    use.size = std::max(use.size, stack.size);
  } catch (const std::bad_alloc&) {
    // One goroutine is missing in the list.
  }
  clean_stack(stack, end);
}

std::vector<StackUse> StackUses::list(Describe describe) {
  std::vector<std::pair<const void*, Use>> uses;
  {
    const SpinGuard guard(lock_);
    uses.assign(uses_.begin(), uses_.end());
  }
  std::vector<StackUse> all;
  all.reserve(uses.size());
  for (const auto& [site, use] : uses) all.push_back({describe(site), use.goroutines, use.most, use.size});
  std::sort(all.begin(), all.end(), [](const StackUse& a, const StackUse& b) { return a.most_bytes > b.most_bytes; });
  return all;
}

void StackUses::print(Describe describe) {
  std::string text = "weft: stack use by spawn site\n      most       size  goroutines  created by\n";
  for (const StackUse& use : list(describe)) {
    char line[64];
    std::snprintf(line, sizeof line, "%10zu %10zu  %10llu  ", use.most_bytes, use.stack_size,
                  static_cast<unsigned long long>(use.goroutines));
    text += line + use.spawn_site + "\n";
  }
  static_cast<void>(write(STDERR_FILENO, text.data(), text.size()) < 0);
}

}  // namespace weft::detail

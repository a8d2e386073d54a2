#include "forked.hpp"

#include <string>

#include "weft/error.hpp"

namespace weft::detail {
namespace {

std::string text_after_fork(const char* call) {
  return "weft: " + std::string(call) +
         ": the runtime does not survive fork(): its threads and goroutines stayed in the parent; "
         "call exec or _exit in the child, or make a weft::Runtime there";
}

}  // namespace

std::atomic<std::uint32_t> fork_count{0};

void throw_after_fork(const char* call) { throw_panic(text_after_fork(call).c_str()); }
void die_after_fork(const char* call) noexcept { fatal(text_after_fork(call)); }

}  // namespace weft::detail

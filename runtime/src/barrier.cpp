#include "barrier.hpp"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "keep_errno.hpp"

namespace weft::detail {
namespace {

bool register_membarrier() noexcept {
  if (std::getenv("WEFT_NO_MEMBARRIER") != nullptr) return false;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace

// Before main, and false until then: with false on one side only, the other side's membarrier is still a full barrier.
const bool has_membarrier = register_membarrier();

constinit std::atomic<int> barrier_word{0};

void heavy_barrier() noexcept {
  barrier_word.fetch_add(0, std::memory_order_seq_cst);
  const KeepErrno keep_errno;
  if (has_membarrier) syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

}  // namespace weft::detail

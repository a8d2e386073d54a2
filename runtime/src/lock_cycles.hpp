#pragma once

// Goroutines that wait for each other's locks, found while all else runs.
//
// A lock that is waited for knows who holds it (WaitOps::targets), if that is asked for. To be sure of a cycle all its
// goroutines must be stuck at the same instant: so every goroutine that waits for a lock is held (traces.hpp) from before
// the first is looked at until after the last.
//   Argument. G waits for L, and L names H as its holder, while G and H both rest. H wrote its number into L, and all that H did
//   since is visible here, since H rests: so H has not unlocked L (mutex.cpp, X6). This holds for each member of the cycle at
//   one instant, and none can go on before another unlocks: they never will. (An unlock that another goroutine does in H's
//   place can only make it untrue afterwards.)
// Who waits with a deadline or a Context will go on, so nothing leads through it.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "deadlock.hpp"
#include "fiber.hpp"
#include "switch_walk.hpp"
#include "weft/stats.hpp"

namespace weft::detail {

class LockCycles {
 public:
  /// Looks at all goroutines of these runtimes, which stay meanwhile. Throws std::bad_alloc.
  explicit LockCycles(Schedulers schedulers);

  [[nodiscard]] bool empty() const noexcept { return cycles_.empty(); }
  /// A paragraph for each cycle, in Go's manner, an empty line between two; empty if there is none. Needs stack (symbols.hpp).
  [[nodiscard]] std::string text() const;
  [[nodiscard]] std::vector<std::vector<LockWait>> list() const;

 private:
  struct Member {
    std::uint64_t id;
    std::string name;
    WaitReason reason;
    std::int64_t waiting_ns;
    const void* spawn_site;
    const void* lock;
    Frames frames;
  };
  class Search;

  std::vector<std::vector<Member>> cycles_;
};

}  // namespace weft::detail

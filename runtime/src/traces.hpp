#pragma once

// Looking at every goroutine of a runtime while it runs: what each waits for, since when, and its stack.
//
// A goroutine must not be resumed while its stack is walked. Asymmetric Dekker on two fields of the fiber:
//   observer  O1 hold = kHeld    O2 heavy_barrier (once for a slab of 64 records)   O3 read status; if it is kWaiting or
//             kRunnable the stack is at rest: walk it    O4 hold = kNone
//   worker    R1 status = kRunning    R2 light_barrier    R3 read hold; wait until nobody has it    R4 switch
// Argument. Let O3 read a value V. Each resume whose R1 comes after V in the order of status's writes was not seen by O3, so
// by the barrier pair its R3 sees O1, and its R4 waits for O4. Each resume before V is over: V = kWaiting or kRunnable
// is written (release) after the stack had been left, and O3 (acquire) then sees the context that was saved. So the stack does not
// change between O3 and O4. R3 reads with acquire, O4 writes with release: the worker's next save of the context comes
// after the walk. No worker ever waits for more than the walks of one slab, and takes no lock for it.
//   Which goroutine? The record still names the fiber after O3. A record stops naming a fiber before the fiber gets another
//      goroutine, and O3 has seen all that came before.
//   Will the fiber stay? The observer holds the pool's lock from finding it to O4: see TaskPool::for_each.
//
// A goroutine that runs is asked by way of its thread (photo.hpp). Its answer is used only for the goroutine that gave it.

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "fiber.hpp"
#include "switch_walk.hpp"

namespace weft::detail {

class Scheduler;

enum class StackSeen : std::uint8_t {
  kYes,
  kNotStarted,  // it has none yet
  kNotAsked,    // so many like it were looked at that it was left out
  kNoAnswer,    // it ran on a thread that did not answer
};

/// What was seen of one goroutine. What it points at stays during the visit only.
struct Trace {
  std::uint64_t id = 0;
  std::string_view name;
  FiberStatus status = FiberStatus::kFree;  // kFree: has not started
  WaitReason reason = WaitReason::kNone;    // if it waits
  bool is_durable = false;
  std::int64_t waiting_ns = 0;
  const void* spawn_site = nullptr;
  StackSeen seen = StackSeen::kNotStarted;
  const Frames* frames = nullptr;  // if seen

  [[nodiscard]] bool is_waiting() const noexcept { return status == FiberStatus::kWaiting; }
};

/// "3 minutes", as Go says it; seconds below a minute; empty below a second.
std::string describe_wait(std::int64_t ns);
/// Go's words.
std::string_view to_string(FiberStatus status) noexcept;

/// Only one observer at a time: `hold` does not count. Taken after the registry's lock, before a pool's.
std::mutex& observers() noexcept;

class TraceVisitor {
 public:
  virtual ~TraceVisitor() = default;
  virtual void visit(const Trace& trace) = 0;
};

/// Visits every goroutine, those that run last. One call at a time (it waits for the one before). At most some ten thousand
/// stacks are walked: of many goroutines that wait alike, only the first.
/// Safe from: any thread, as long as the runtime is not destroyed meanwhile; throws std::bad_alloc.
void visit_traces(Scheduler& scheduler, bool with_stacks, TraceVisitor& visitor);

}  // namespace weft::detail

#include "fiber_pool.hpp"

#include <new>

#include "weft/error.hpp"

namespace weft::detail {
namespace {
// 16 positions, a cache line apart: the lines that every switch touches do not all fall on the same few sets.
constexpr std::size_t kColours = 16;
constexpr std::size_t kColourBytes = kCacheLine;
}  // namespace

Fiber* place_fiber(StackRange stack, std::size_t index) noexcept {
  std::byte* at = stack.top() - sizeof(Fiber) - (index % kColours) * kColourBytes;
  auto* fiber = ::new (static_cast<void*>(at)) Fiber();
  fiber->state.stack = stack;
  return fiber;
}

FiberPool::FiberPool(std::size_t stack_size, unsigned processors) noexcept
    : slabs_(stack_size, std::size_t{processors + 1} * (2 * 33 + kCarve)), known_faults_(page_faults()) {}

FiberPool::~FiberPool() {
  for (const StackRange stack : singles_) unmap_single_stack(stack);
  if constexpr (kTsan) {
    Chain<Fiber> chain;
    while (take(chain)) {
      while (Fiber* fiber = chain.pop()) dispose(fiber->state);
    }
  }
}

Fiber* FiberPool::carve(FiberCache& cache) noexcept {
  StackSlabs::Carved carved[kCarve];
  const std::size_t n = slabs_.carve(carved, kCarve);
  // K2: go() reserved a stack for every goroutine that lives.
  if (n == 0) fatal("weft: internal: no stack left for an accepted goroutine");
  Chain<Fiber> chain;
  known_faults_.fetch_add(n, std::memory_order_relaxed);  // place_fiber()'s
  for (std::size_t i = n; i-- > 1;) chain.push(place_fiber(carved[i].stack, carved[i].index));
  cache.adopt(chain);
  return place_fiber(carved[0].stack, carved[0].index);
}

StackRange FiberPool::get_single(std::size_t size) {
  const std::size_t bytes = round_stack_size(size);
  SpinGuard guard(singles_lock_);
  for (StackRange& stack : free_singles_) {
    if (stack.size != bytes) continue;
    const StackRange found = stack;
    stack = free_singles_.back();
    free_singles_.pop_back();
    forget_redzones(found);
    return found;
  }
  singles_.emplace_back();
  try {
    free_singles_.reserve(singles_.capacity());  // so that put_single cannot fail
    singles_.back() = map_single_stack(bytes);
  } catch (...) {
    singles_.pop_back();
    throw;
  }
  return singles_.back();
}

void FiberPool::put_single(StackRange stack) noexcept {
  release_cold_pages({&stack, 1}, 0);
  SpinGuard guard(singles_lock_);
  free_singles_.push_back(stack);
}

void FiberPool::put_single(Fiber* fiber) noexcept {
  dispose(fiber->state);
  put_single(StackRange(fiber->state.stack));
}

std::size_t FiberPool::resident_bytes() {
  std::vector<StackRange> singles;
  {
    SpinGuard guard(singles_lock_);
    singles = singles_;
  }
  std::size_t bytes = slabs_.resident_bytes();
  for (const StackRange stack : singles) bytes += detail::resident_bytes(stack);
  return bytes;
}

void FiberPool::retire(Chain<Fiber> chain) noexcept {
  unreleased_.give(chain);
  unreleased_count_.fetch_add(1, std::memory_order_relaxed);  // a hint
  has_looked_.store(false, std::memory_order_relaxed);        // likewise
  for (unsigned i = 0; i < kMostAtOnce; ++i) {
    const unsigned count = unreleased_count_.load(std::memory_order_relaxed);
    if (count <= kMostUnreleased || !release_cold(count > kFarTooMany)) return;
  }
}

bool FiberPool::may_have_cold_pages() const noexcept {
  const std::uint64_t faults = page_faults();
  return faults == 0 /* not counted here */ ||
         faults >= known_faults_.load(std::memory_order_relaxed) + kReleasedAtOnce;
}

bool FiberPool::take(Chain<Fiber>& out) noexcept { return take_unreleased(out) || depot_.take(out); }

bool FiberPool::take_unreleased(Chain<Fiber>& out) noexcept {
  if (!unreleased_.take(out)) return false;
  unreleased_count_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

bool FiberPool::release_cold(bool though_another_does) noexcept {
  // relaxed: only a policy. What is in a chain is handed over by the depots' locks.
  if (unreleased_count_.load(std::memory_order_relaxed) == 0 || has_looked_.load(std::memory_order_relaxed))
    return false;
  if (!may_have_cold_pages()) {
    has_looked_.store(true, std::memory_order_relaxed);
    return false;
  }
  const bool is_alone = !is_releasing_.exchange(true, std::memory_order_relaxed);
  if (!is_alone && !though_another_does) return false;
  Chain<Fiber> chain;
  const bool found = take_unreleased(chain);
  if (found) {
    StackRange stacks[kReleasedAtOnce];
    std::size_t n = 0;
    for (Fiber* fiber = chain.head; fiber != nullptr; fiber = static_cast<Fiber*>(fiber->next)) {
      stacks[n++] = fiber->state.stack;
      if (n < kReleasedAtOnce && fiber->next != nullptr) continue;
      release_cold_pages({stacks, n}, kKeptBytes);
      n = 0;
    }
    known_faults_.fetch_add(chain.count, std::memory_order_relaxed);
    depot_.give(chain);
  }
  if (is_alone) is_releasing_.store(false, std::memory_order_relaxed);
  return found;
}

}  // namespace weft::detail

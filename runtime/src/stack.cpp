#include "stack.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "keep_errno.hpp"
#include "weft/detail/platform.hpp"
#include "weft/error.hpp"

// NOLINTBEGIN(readability-identifier-naming): the sanitizers' names
extern "C" {
void __asan_unpoison_memory_region(const volatile void* address, std::size_t size);
void __lsan_register_root_region(const void* begin, std::size_t size);
void __lsan_unregister_root_region(const void* begin, std::size_t size);
}
// NOLINTEND(readability-identifier-naming)

namespace weft::detail {
namespace {

constexpr int kMadvGuardInstall = 102;  // MADV_GUARD_INSTALL: newer than the distribution's headers
constexpr std::size_t kGuarded = 16;    // stacks that get their guards by one call
constexpr std::size_t kFirstSlabStacks = 256;
constexpr std::size_t kLastSlabStacks = 16384;
constexpr std::size_t kLeastSlabStacks = 16;

std::string max_map_count() {
  std::ifstream file("/proc/sys/vm/max_map_count");
  std::string value;
  return std::getline(file, value) ? value : "unknown";
}

[[noreturn]] void throw_no_stack(int error, const char* what, std::size_t bytes) {
  throw std::system_error(
      error, std::generic_category(),
      "weft: go: no stack for another goroutine: " + std::string(what) + " of " + std::to_string(bytes) +
          " bytes of address space failed; the limit is one of vm.max_map_count (now " + max_map_count() +
          "), vm.overcommit_memory or RLIMIT_AS (ulimit -v): raise it, or have fewer goroutines or smaller stacks");
}

std::byte* map_bytes(std::size_t bytes) noexcept {
  void* base =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  // What lay here before may have left redzones.
  if constexpr (kAsan) __asan_unpoison_memory_region(base, bytes);
  // One goroutine's page must stay one page.
  madvise(base, bytes, MADV_NOHUGEPAGE);
  return static_cast<std::byte*>(base);
}

void unmap_bytes(std::byte* base, std::size_t bytes) noexcept {
  // Abandoned goroutines have left redzones. The next to live here may be a thread: the address sanitizer clears its stack
  // then, but not its thread-local variables above, and takes the first look at errno for a bad access.
  if constexpr (kAsan) __asan_unpoison_memory_region(base, bytes);
  munmap(base, bytes);
}

bool install_guard(std::byte* page) noexcept {
  if (guard_kind() == GuardKind::kMadvise) return madvise(page, page_size(), kMadvGuardInstall) == 0;
  return mprotect(page, page_size(), PROT_NONE) == 0;
}

/// madvise() of several ranges by one system call. False: not of all, or this kernel does not do that to the calling process.
bool advise(std::span<const iovec> ranges, int advice) noexcept {
  constexpr int kSelf = -10000;  // PIDFD_SELF_THREAD_GROUP: newer than the distribution's headers
  std::size_t bytes = 0;
  for (const iovec& range : ranges) bytes += range.iov_len;
  const KeepErrno keep_errno;
  return syscall(SYS_process_madvise, kSelf, ranges.data(), ranges.size(), advice, 0) == static_cast<long>(bytes);
}

/// For up to kGuarded stacks.
void install_guards(const StackSlabs::Carved* stacks, std::size_t count) noexcept {
  iovec pages[kGuarded];
  for (std::size_t i = 0; i < count; ++i) pages[i] = {stacks[i].stack.low - page_size(), page_size()};
  if (advise({pages, count}, kMadvGuardInstall)) return;
  for (std::size_t i = 0; i < count; ++i) {
    if (!install_guard(stacks[i].stack.low - page_size())) {
      fatal("weft: no memory for the guard page of a stack (madvise(MADV_GUARD_INSTALL) failed)");
    }
  }
}

GuardKind probe_guard_kind() noexcept {
  // The leak sanitizer reads what is mapped as readable, and faults on a guard marker.
  if constexpr (kAsan) return GuardKind::kMprotect;
  const char* forced = std::getenv("WEFT_STACK_GUARD");
  if (forced != nullptr && std::string_view(forced) == "mprotect") return GuardKind::kMprotect;
  std::byte* page = map_bytes(page_size());
  if (page == nullptr) return GuardKind::kMprotect;
  const bool works = madvise(page, page_size(), kMadvGuardInstall) == 0;
  unmap_bytes(page, page_size());
  return works ? GuardKind::kMadvise : GuardKind::kMprotect;
}

/// From one stack of a slab to the next: room for the guard, and an odd number of pages. With an even one all hot ends fall into few
/// sets of the caches of addresses (64 pages: 4 of 256), and a few hundred goroutines no longer fit in.
std::size_t stride_of(std::size_t stack_size) noexcept {
  const std::size_t pages = stack_size / page_size() + 1;
  return (pages | 1U) * page_size();
}

}  // namespace

std::size_t round_stack_size(std::size_t size) noexcept {
  const std::size_t page = page_size();
  // Frames are larger under the address sanitizer.
  const std::size_t scaled = std::max(size, std::size_t{16} * 1024) * (kAsan ? 2 : 1);
  return (scaled + page - 1) / page * page;
}

std::size_t page_size() noexcept {
  static const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

GuardKind guard_kind() noexcept {
  static const GuardKind kind = probe_guard_kind();
  return kind;
}

StackRange map_single_stack(std::size_t size) {
  const std::size_t bytes = size + page_size();
  std::byte* base = map_bytes(bytes);
  if (base == nullptr) throw_no_stack(errno, "mmap", bytes);
  if (!install_guard(base)) {
    const int error = errno;
    unmap_bytes(base, bytes);
    throw_no_stack(error, "guarding", page_size());
  }
  return {base + page_size(), bytes - page_size()};
}

void forget_redzones([[maybe_unused]] StackRange stack) noexcept {
  if constexpr (kAsan) __asan_unpoison_memory_region(stack.low, stack.size);
}

void unmap_single_stack(StackRange stack) noexcept { unmap_bytes(stack.low - page_size(), stack.size + page_size()); }

void release_cold_pages(std::span<const StackRange> stacks, std::size_t keep) noexcept {
  const std::size_t page = page_size();
  const std::size_t kept = (keep + page - 1) / page * page;
  iovec ranges[kReleasedAtOnce];
  std::size_t n = 0;
  for (const StackRange& stack : stacks) {
    if (kept < stack.size) ranges[n++] = {stack.low, stack.size - kept};
  }
  // By a call each, processors that do this at the same time interrupt one another at each: to be sure, the kernel clears the
  // address caches of all of them then, though there was nothing to release.
  if (n > 1 && advise({ranges, n}, MADV_DONTNEED)) return;
  for (std::size_t i = 0; i < n; ++i) madvise(ranges[i].iov_base, ranges[i].iov_len, MADV_DONTNEED);
}

std::uint64_t page_faults() noexcept {
  rusage usage{};
  return getrusage(RUSAGE_SELF, &usage) == 0 ? static_cast<std::uint64_t>(usage.ru_minflt) : 0;
}

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] std::size_t touched_bytes(StackRange stack,
                                                                                const std::byte* end) noexcept {
  constexpr std::size_t kBatch = 64;
  const std::size_t page = page_size();
  const auto bytes = static_cast<std::size_t>(end - stack.low);
  for (std::size_t offset = 0; offset < bytes; offset += kBatch * page) {
    unsigned char is_resident[kBatch];
    const std::size_t pages = std::min(kBatch, (bytes - offset + page - 1) / page);
    if (mincore(stack.low + offset, pages * page, is_resident) != 0) return 0;
    for (std::size_t i = 0; i < pages; ++i) {
      if ((is_resident[i] & 1U) == 0) continue;
      const std::byte* at = stack.low + offset + i * page;
      const std::byte* const page_end = std::min<const std::byte*>(at + page, end);
      while (at < page_end && *at == std::byte{0}) ++at;
      if (at < page_end) return static_cast<std::size_t>(stack.top() - at);
    }
  }
  return static_cast<std::size_t>(stack.top() - end);
}

std::size_t resident_bytes(StackRange range) {
  constexpr std::size_t kBatch = 16'384;
  const std::size_t page = page_size();
  std::vector<unsigned char> is_resident(std::min(kBatch, range.size / page));
  std::size_t pages = 0;
  for (std::size_t offset = 0; offset < range.size;) {
    const std::size_t bytes = std::min(is_resident.size() * page, range.size - offset);
    if (mincore(range.low + offset, bytes, is_resident.data()) == 0) {
      pages += static_cast<std::size_t>(std::count_if(is_resident.begin(),
                                                      is_resident.begin() + static_cast<std::ptrdiff_t>(bytes / page),
                                                      [](unsigned char flags) { return (flags & 1U) != 0; }));
    }
    offset += bytes;
  }
  return pages * page;
}

[[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void clean_stack(StackRange stack, std::byte* end) noexcept {
  const std::size_t page = page_size();
  const std::size_t whole = static_cast<std::size_t>(end - stack.low) / page * page;
  if (whole != 0) madvise(stack.low, whole, MADV_DONTNEED);
  // Byte by byte: a function that did it faster would have its frame there.
  for (volatile std::byte* at = stack.low + whole; at < end; ++at) *at = std::byte{0};
}

StackSlabs::StackSlabs(std::size_t stack_size, std::size_t slack) noexcept
    : size_(round_stack_size(stack_size)), stride_(stride_of(size_)), slack_(slack) {}

StackSlabs::~StackSlabs() {
  for (const Slab& slab : slabs_) {
    if constexpr (kAsan) __lsan_unregister_root_region(slab.base, slab.stacks * stride_);
    unmap_bytes(slab.base, slab.stacks * stride_);
  }
}

void StackSlabs::reserve(std::size_t count) {
  SpinGuard guard(lock_);
  while (capacity_ < promised_ + count + slack_) map_slab(promised_ + count + slack_ - capacity_);
  promised_ += count;
}

std::vector<StackRange> StackSlabs::ranges() {
  SpinGuard guard(lock_);
  std::vector<StackRange> all;
  all.reserve(slabs_.size());
  for (const Slab& slab : slabs_) all.push_back({slab.base, slab.stacks * stride_});
  return all;
}

std::size_t StackSlabs::resident_bytes() {
  std::vector<StackRange> used;
  {
    SpinGuard guard(lock_);
    for (std::size_t i = 0; i < slabs_.size() && i <= carve_slab_; ++i) {
      const std::size_t stacks = i == carve_slab_ ? carve_index_ : slabs_[i].stacks;
      used.push_back({slabs_[i].base, stacks * stride_});
    }
  }
  // Without the lock: slabs stay for as long as the runtime.
  std::size_t bytes = 0;
  for (const StackRange range : used) bytes += detail::resident_bytes(range);
  return bytes;
}

void StackSlabs::unreserve(std::size_t count) noexcept {
  SpinGuard guard(lock_);
  promised_ -= count;
}

void StackSlabs::map_slab(std::size_t wanted) {
  slabs_.reserve(slabs_.size() + 1);
  // Slabs double, so that a million stacks are a few hundred mappings; a failure is tried again with less.
  std::size_t stacks = std::clamp(std::bit_ceil(std::max(wanted, capacity_)), kFirstSlabStacks, kLastSlabStacks);
  std::byte* base = nullptr;
  while ((base = map_bytes(stacks * stride_)) == nullptr) {
    if (stacks == kLeastSlabStacks) throw_no_stack(errno, "mmap", stacks * stride_);
    stacks /= 2;
  }
  if (guard_kind() == GuardKind::kMprotect) {
    // Each guard splits a mapping and may fail: now, where go() can report it, not when the goroutine starts.
    for (std::size_t i = 0; i < stacks; ++i) {
      if (install_guard(base + (i + 1) * stride_ - size_ - page_size())) continue;
      const int error = errno;
      unmap_bytes(base + i * stride_, (stacks - i) * stride_);
      if (i == 0) throw_no_stack(error, "guarding", page_size());
      stacks = i;
    }
  }
  // What a parked goroutine holds is not a leak.
  if constexpr (kAsan) __lsan_register_root_region(base, stacks * stride_);
  slabs_.push_back({base, stacks});
  capacity_ += stacks;
}

std::size_t StackSlabs::carve(Carved* out, std::size_t count) noexcept {
  std::size_t n = 0;
  {
    SpinGuard guard(lock_);
    while (n < count && carve_slab_ < slabs_.size()) {
      const Slab& slab = slabs_[carve_slab_];
      if (carve_index_ == slab.stacks) {
        ++carve_slab_;
        carve_index_ = 0;
        continue;
      }
      std::byte* top = slab.base + ++carve_index_ * stride_;
      out[n++] = {{top - size_, size_}, carved_++};
    }
  }
  if (guard_kind() == GuardKind::kMadvise) {
    for (std::size_t i = 0; i < n; i += kGuarded) install_guards(out + i, std::min(n - i, kGuarded));
  }
  return n;
}

}  // namespace weft::detail

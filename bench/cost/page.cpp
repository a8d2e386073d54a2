// What the kernel takes for a goroutine that parks, at least: its stack's first page, and the guard below. Without weft; so it is
// the floor of park_1m and timers_1m. Wall time for each of 100,000 stacks of 256 KiB, with one thread and with two.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kStack = std::size_t{256} * 1024;
constexpr std::size_t kStacks = 100'000;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kAtOnce = 16;

void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

/// As the runtime has them: by one call for several. False: this kernel has no such guards.
bool install_guards(std::byte* slab, std::size_t first, std::size_t end) {
  constexpr int kMadvGuardInstall = 102;
  constexpr int kSelf = -10000;
  iovec pages[kAtOnce];
  for (std::size_t at = first; at < end; at += kAtOnce) {
    const std::size_t n = std::min(kAtOnce, end - at);
    for (std::size_t i = 0; i < n; ++i) pages[i] = {slab + (at + i) * kStack, kPage};
    if (syscall(SYS_process_madvise, kSelf, pages, n, kMadvGuardInstall, 0) != static_cast<long>(n * kPage))
      return false;
  }
  return true;
}

void touch(std::byte* slab, std::size_t first, std::size_t end) {
  for (std::size_t at = first; at < end; ++at) slab[(at + 1) * kStack - 1] = std::byte{1};
}

template <class Work>
double ns_for_each(unsigned threads, Work work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> workers;
  for (unsigned i = 0; i < threads; ++i) {
    workers.emplace_back([=] { work(kStacks * i / threads, kStacks * (i + 1) / threads); });
  }
  for (std::thread& worker : workers) worker.join();
  const std::chrono::duration<double, std::nano> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / kStacks;
}

void measure(unsigned threads) {
  void* const mapped = mmap(nullptr, kStack * kStacks, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (mapped == MAP_FAILED) fail("mmap");
  madvise(mapped, kStack * kStacks, MADV_NOHUGEPAGE);
  auto* const slab = static_cast<std::byte*>(mapped);
  const double page_ns = ns_for_each(threads, [=](std::size_t first, std::size_t end) { touch(slab, first, end); });
  bool has_guards = install_guards(slab, 0, 1);
  const double guard_ns = has_guards ? ns_for_each(threads,
                                                   [=](std::size_t first, std::size_t end) {
                                                     if (!install_guards(slab, first, end)) fail("process_madvise");
                                                   })
                                     : 0;
  munmap(mapped, kStack * kStacks);
  std::printf(R"({"threads":%u,"page_ns":%.0f,"guard_ns":%.0f})"
              "\n",
              threads, page_ns, guard_ns);
  std::fflush(stdout);
}

}  // namespace

int main() {
  for (int round = 0; round < 5; ++round) {
    for (const unsigned threads : {1U, 2U}) measure(threads);
  }
}

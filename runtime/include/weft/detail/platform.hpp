#pragma once

// What the compiler, the processor and the sanitizers are: the only header with `#if` on them.

#include <cstddef>
#include <cstdint>

namespace weft::detail {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kAsan = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif
#else
inline constexpr bool kAsan = false;
#endif

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kTsan = true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif
#else
inline constexpr bool kTsan = false;
#endif

/// Whether caller.hpp knows how to read a thread-local without a function for it.
#if defined(__x86_64__) && !defined(__ILP32__)
inline constexpr bool kReadsThreadInPlace = true;
#else
inline constexpr bool kReadsThreadInPlace = false;
#endif

inline constexpr std::size_t kCacheLine = 64;

/// Tells the processor that this is a spin loop.
inline void cpu_pause() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb" ::: "memory");
#else
  asm volatile("" ::: "memory");
#endif
}

/// The same for `times` rounds, at least one. Where the loop lies is not left to chance: on an AMD EPYC of family 26, in the second half of a
/// line, waiting for a lock that another processor has takes twice as long (worker_pool 25 and 50 to 60 ns, semaphore_4 14 and 18).
inline void cpu_pauses(unsigned times) noexcept {
#if defined(__x86_64__)
  asm volatile(
      ".p2align 6\n"
      "1:\tpause\n\t"
      "subl $1, %0\n\t"
      "jne 1b"
      : "+r"(times)
      :
      : "cc", "memory");
#else
  for (; times != 0; --times) cpu_pause();
#endif
}

#if defined(__x86_64__) || defined(__aarch64__)
inline constexpr bool kHasTicks = true;
#else
inline constexpr bool kHasTicks = false;
#endif
/// Of a clock that can be read in a few nanoseconds, and that all processors agree on to within less than a line takes from
/// one to another; read after all loads before it. 0 without kHasTicks.
inline std::uint64_t cheap_ticks() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_lfence();
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  std::uint64_t ticks = 0;
  asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(ticks)::"memory");
  return ticks;
#else
  return 0;
#endif
}

/// Whether they pass at one rate, whatever the processor does.
inline bool has_steady_ticks() noexcept {
#if defined(__x86_64__)
  constexpr std::uint32_t kPowerManagement = 0x80000007;
  constexpr std::uint32_t kInvariantTicks = 1U << 8U;
  std::uint32_t a = 0x80000000, b = 0, c = 0, d = 0;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (a < kPowerManagement) return false;
  a = kPowerManagement;
  asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  return (d & kInvariantTicks) != 0;
#else
  return kHasTicks;
#endif
}
/// The same, though perhaps before loads before it have come back: half the price.
inline std::uint64_t early_ticks() noexcept {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc();
#else
  return cheap_ticks();
#endif
}

/// A hint that the line will be wanted soon; any address will do.
inline void prefetch(const void* address) noexcept {
  __builtin_prefetch(address);
  asm volatile(""
               :
               : "r"(address));  // GCC takes a function that does no more for one without effect, and drops its calls
}

}  // namespace weft::detail

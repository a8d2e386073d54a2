// Built only with -Dheld_locks: takes the place of the lock functions of pthreads in the whole program.
//
// They may be called before main, in the middle of the loader, and by an unwinder that is at work for us: so a wrapper needs
// no initialisation, and does nothing but pass on unless a goroutine is running on its thread.

#include "held_locks.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "keep_errno.hpp"
#include "sched.hpp"
#include "symbols.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/error.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

// --- the list ---

bool is_on_goroutine() noexcept {
  const Worker* worker = current_worker();
  return worker != nullptr && worker->current != nullptr && worker->current != &worker->root;
}

[[gnu::noinline]] void note_locked(const void* mutex) noexcept {
  if (!is_on_goroutine()) return;
  HeldLocks& held = held_locks_of_thread();
  if (held.is_busy || held.count == HeldLocks::kMost) return;
  const KeepErrno keep_errno;
  held.is_busy = true;
  HeldLocks::Lock& lock = held.locks[held.count++];
  lock.mutex = mutex;
  lock.frame_count = backtrace(lock.frames, static_cast<int>(HeldLocks::kFrames));
  held.is_busy = false;
}

void note_unlocked(const void* mutex) noexcept {
  if (!is_on_goroutine()) return;
  HeldLocks& held = held_locks_of_thread();
  if (held.is_busy) return;
  for (std::size_t i = held.count; i-- > 0;) {
    if (held.locks[i].mutex != mutex) continue;
    std::move(held.locks + i + 1, held.locks + held.count, held.locks + i);
    --held.count;
    return;
  }
}

// --- the report ---

enum class Answer { kWarn, kFatal, kOff };

Answer answer() noexcept {
  const char* text = std::getenv("WEFT_HELD_LOCKS");
  if (text == nullptr) return Answer::kWarn;
  if (std::strcmp(text, "fatal") == 0) return Answer::kFatal;
  return std::strcmp(text, "off") == 0 ? Answer::kOff : Answer::kWarn;
}

/// True for the first time that these two sites meet.
bool is_new(std::uintptr_t locked, std::uintptr_t suspended) {
  static auto* lock = new Spinlock;  // outlive every static object
  static auto* seen = new std::vector<std::pair<std::uintptr_t, std::uintptr_t>>;
  const SpinGuard guard(*lock);
  const std::pair<std::uintptr_t, std::uintptr_t> sites(locked, suspended);
  if (std::find(seen->begin(), seen->end(), sites) != seen->end()) return false;
  seen->push_back(sites);
  return true;
}

/// Of weft, or of the library's way to a lock: nothing that tells one site from another.
bool is_plumbing(std::string_view name) {
  name = name.substr(0, name.find('('));
  return name.starts_with("weft::") || name.find("weft::detail::") != std::string_view::npos ||
         name.starts_with("pthread_mutex_") || name.starts_with("std::") || name.starts_with("__gthread");
}

bool is_first_of_goroutine(std::string_view name) { return name.find("fiber_main") != std::string_view::npos; }

/// "binary+0x12": a function whose name is not exported.
bool is_nameless(std::string_view name) {
  return name.find("::") == std::string_view::npos && name.find('(') == std::string_view::npos && !is_plumbing(name);
}

struct Site {
  std::uintptr_t key = 0;  // what tells it from others
  std::string lines;       // the innermost frame of the program's own, and those around it
};

Site site_of(void* const* frames, int count) {
  std::vector<std::string> names;
  names.reserve(static_cast<std::size_t>(count) + 1);
  for (int i = 0; i < count; ++i) names.push_back(describe_address(static_cast<const char*>(frames[i]) - 1));
  names.emplace_back();
  // What has no name is taken for ours if ours calls it.
  std::size_t own = 0;
  const auto is_ours = [&](const std::string& name, const std::string& caller) {
    return is_plumbing(name) || (is_nameless(name) && is_plumbing(caller) && !is_first_of_goroutine(caller));
  };
  while (own + 1 < names.size() && is_ours(names[own], names[own + 1])) ++own;
  Site site;
  for (std::size_t i = own; i + 1 < names.size(); ++i) site.lines += "\n\t" + names[i];
  if (own != 0 && own + 1 < names.size()) {
    site.key = reinterpret_cast<std::uintptr_t>(frames[own]);
  } else {
    for (int i = 0; i < count; ++i) site.key = site.key * 31 + reinterpret_cast<std::uintptr_t>(frames[i]);
  }
  return site;
}

void report(const HeldLocks& held, const Fiber& fiber, bool has_ended) {
  void* frames[HeldLocks::kFrames + 8];
  const int count = backtrace(frames, static_cast<int>(std::size(frames)));
  const Site here = has_ended ? Site() : site_of(frames, count);
  const GoroutineInfo goroutine = Scheduler::describe(*fiber.task);
  for (std::size_t i = 0; i < held.count; ++i) {
    const Site locked = site_of(held.locks[i].frames, held.locks[i].frame_count);
    if (!is_new(locked.key, here.key)) continue;
    std::string text =
        "goroutine " + std::to_string(goroutine.id) + (goroutine.name.empty() ? "" : " \"" + goroutine.name + "\"") +
        (has_ended ? " has ended" : " is suspended") +
        " while it holds a std::mutex: unlock it before, or use a weft::Mutex\nlocked in:" + locked.lines;
    if (!has_ended) text += "\nsuspended in:" + here.lines;
    text += "\ncreated by " + goroutine.spawn_site;
    if (answer() == Answer::kFatal) fatal("weft: " + text);
    text.insert(0, "weft: ");
    text += '\n';
    static_cast<void>(write(STDERR_FILENO, text.data(), text.size()) < 0);
  }
}

}  // namespace

void take_held_locks(HeldLocks& out, const Fiber& fiber, bool has_ended) noexcept {
  HeldLocks& held = held_locks_of_thread();
  out.count = held.count;
  if (held.count == 0) return;
  const KeepErrno keep_errno;
  std::copy_n(held.locks, held.count, out.locks);
  held.is_busy = true;
  // One that is pinned comes back to its thread.
  if (answer() != Answer::kOff && (!fiber.is_pinned || has_ended)) report(out, fiber, has_ended);
  held.is_busy = false;
  held.count = 0;
}

void give_held_locks_back(const HeldLocks& locks) noexcept {
  HeldLocks& held = held_locks_of_thread();
  std::copy_n(locks.locks, locks.count, held.locks);
  held.count = locks.count;
}

namespace {

/// The function that ours has taken the place of.
template <class Function>
Function* original(std::atomic<Function*>& cache, const char* name) noexcept {
  Function* found = cache.load(std::memory_order_relaxed);  // any thread finds the same
  if (found == nullptr) {
    found = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
    cache.store(found, std::memory_order_relaxed);
  }
  return found;
}

using OneMutex = int(pthread_mutex_t*);
using TimedLock = int(pthread_mutex_t*, const timespec*);
using ClockLock = int(pthread_mutex_t*, clockid_t, const timespec*);
constinit std::atomic<OneMutex*> lock_function{nullptr};
constinit std::atomic<OneMutex*> trylock_function{nullptr};
constinit std::atomic<OneMutex*> unlock_function{nullptr};
constinit std::atomic<TimedLock*> timedlock_function{nullptr};
constinit std::atomic<ClockLock*> clocklock_function{nullptr};

int noted(int result, const pthread_mutex_t* mutex) noexcept {
  if (result == 0) note_locked(mutex);
  return result;
}

}  // namespace
}  // namespace weft::detail

// NOLINTBEGIN(readability-identifier-naming, google-build-using-namespace): the library's names, in nobody's namespace
extern "C" {

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  using namespace weft::detail;
  return noted(original(lock_function, "pthread_mutex_lock")(mutex), mutex);
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  using namespace weft::detail;
  return noted(original(trylock_function, "pthread_mutex_trylock")(mutex), mutex);
}

int pthread_mutex_timedlock(pthread_mutex_t* mutex, const timespec* deadline) noexcept {
  using namespace weft::detail;
  return noted(original(timedlock_function, "pthread_mutex_timedlock")(mutex, deadline), mutex);
}

int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock, const timespec* deadline) noexcept {
  using namespace weft::detail;
  return noted(original(clocklock_function, "pthread_mutex_clocklock")(mutex, clock, deadline), mutex);
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  using namespace weft::detail;
  note_unlocked(mutex);
  return original(unlock_function, "pthread_mutex_unlock")(mutex);
}

}  // extern "C"
// NOLINTEND(readability-identifier-naming, google-build-using-namespace)

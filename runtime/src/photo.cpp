#include "photo.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "keep_errno.hpp"
#include "sched.hpp"
#include "thread_count.hpp"
#include "thread_parker.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kSlots = 32;  // threads asked at a time
constexpr std::int64_t kStopPatienceNs = 1'000'000'000;
constexpr std::int64_t kPatienceNs = kTsan ? 1'000'000'000 : 200'000'000;  // TSan holds signals back

// A slot's state. The asker: kIdle -> kAsked -> (kIdle, when out of patience). The handler: kAsked -> kAnswering -> kAnswered.
// Each question has a number of its own, so that a late answer finds another number or no question.
enum : std::uint32_t { kIdle, kAsked, kAnswering, kAnswered };
constexpr std::uint32_t kStates = 4;

struct Slot {
  std::atomic<std::uint32_t> word{kIdle};  // question * kStates + state
  Photo photo;                             // written by who made it kAnswering, until it is kAnswered
};

Slot slots[kSlots];
std::atomic<std::uint32_t> answers{0};  // futex: moves with each answer

bool is_on(const Fiber& fiber, const Frames& frames) noexcept {
  const auto low = reinterpret_cast<std::uintptr_t>(fiber.state.stack.low);
  return frames.outermost_stack >= low && frames.outermost_stack < low + fiber.state.stack.size;
}

/// Whose stack the frames are from; 0: the thread's own. While a switch is being made it is that of the goroutine that is
/// left, which is still the worker's then; at any other time nobody may look at `left`.
std::uint64_t goroutine_of(const Worker& worker, const Frames& frames) noexcept {
  if (is_on(worker.root, frames)) return 0;
  const Fiber* fiber = is_on(*worker.current, frames) ? worker.current : worker.left;
  if (fiber == nullptr || fiber->task == nullptr || !is_on(*fiber, frames)) return 0;
  return fiber->task->id.load(std::memory_order_relaxed);
}

void answer(Slot& slot, std::uint32_t question) noexcept {
  std::uint32_t expected = question * kStates + kAsked;
  // acquire [slot.word]: the photo is ours; pairs with the release that asked.
  if (!slot.word.compare_exchange_strong(expected, question * kStates + kAnswering, std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
    return;
  }
  slot.photo.id = 0;
  if (const Worker* worker = current_worker()) {
    walk_here(slot.photo.frames);
    slot.photo.id = goroutine_of(*worker, slot.photo.frames);
    slot.photo.frames.outermost_stack = 0;  // no address of a stack stays behind: leak_scan.hpp
  }
  slot.word.store(question * kStates + kAnswered, std::memory_order_release);  // [slot.word]: publishes the photo
  answers.fetch_add(1, std::memory_order_release);
  futex_wake(answers, 1);
}

// Stopping. `arrived` is round << 32 | how many have come; a thread that comes late finds another round and goes on. Its slot
// is the comer's from its compare-and-swap to its `answered`.
constexpr std::uintptr_t kStopToken = std::uintptr_t{1} << 63U;
constexpr std::size_t kMostThreads = StoppedWorld::kMostThreads;
std::atomic<std::uint64_t> arrived{0};
std::atomic<std::uint32_t> answered{0};  // futex
std::atomic<std::uint32_t> resting{0};   // futex: the round in which threads are to rest
std::atomic<int> excepted{0};            // a thread
StoppedThread stopped[kMostThreads];

[[gnu::noinline]] void rest(std::uint32_t round, void* context) noexcept {
  std::uint64_t word = arrived.load(std::memory_order_relaxed);
  do {
    if (word >> 32U != round || (word & UINT32_MAX) == kMostThreads) return;
    // acquire [photo.arrived]: the slot is ours.
  } while (!arrived.compare_exchange_weak(word, word + 1, std::memory_order_acquire, std::memory_order_relaxed));
  StoppedThread& here = stopped[word & UINT32_MAX];
  here.id = gettid();
  here.stack_pointer = interrupted_at(context).sp;
  here.frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const stack_t& signal_stack = static_cast<const ucontext_t*>(context)->uc_stack;
  const auto low = reinterpret_cast<std::uintptr_t>(signal_stack.ss_sp);
  here.signal_stack = here.frame >= low && here.frame < low + signal_stack.ss_size ? low : 0;
  answered.fetch_add(1, std::memory_order_release);  // release [photo.answered]: the slot, and all that this thread did
  futex_wake(answered, 1);
  // acquire [photo.resting]: pairs with the release that lets it go.
  while (resting.load(std::memory_order_acquire) == round) futex_wait(resting, round, kForever);
}

void on_signal(int, siginfo_t* info, void* context) {
  const KeepErrno keep_errno;
  if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
  const auto token = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
  if ((token & kStopToken) != 0) return rest(static_cast<std::uint32_t>(token), context);
  answer(slots[token % kSlots], static_cast<std::uint32_t>(token / kSlots));
}

bool has_our_handler(int signal) noexcept {
  struct sigaction current;
  return sigaction(signal, nullptr, &current) == 0 && (current.sa_flags & SA_SIGINFO) != 0 &&
         current.sa_sigaction == &on_signal;
}

/// The signal to ask with; 0: none is free.
int find_signal() noexcept {
  static int chosen = 0;
  if (chosen != 0 && has_our_handler(chosen)) return chosen;
  for (int signal = SIGRTMAX - 1; signal > SIGRTMIN; --signal) {
    struct sigaction current;
    if (sigaction(signal, nullptr, &current) != 0 || (current.sa_flags & SA_SIGINFO) != 0 ||
        current.sa_handler != SIG_DFL) {
      continue;
    }
    struct sigaction ours = {};
    ours.sa_sigaction = &on_signal;
    ours.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
    sigfillset(&ours.sa_mask);
    if (sigaction(signal, &ours, nullptr) != 0) continue;
    return chosen = signal;
  }
  return 0;
}

bool send(int signal, int thread, std::uintptr_t token) noexcept {
  siginfo_t info = {};
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = reinterpret_cast<void*>(token);
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), thread, signal, &info) == 0;
}

/// Waits for the answers to one question; takes back what is not answered in time.
void gather(std::uint32_t question, std::size_t count, std::vector<Photo>& out) {
  const std::int64_t deadline = steady_time().now_ns() + kPatienceNs;
  for (std::size_t i = 0; i < count; ++i) {
    Slot& slot = slots[i];
    for (;;) {
      const std::uint32_t seen = answers.load(std::memory_order_acquire);
      std::uint32_t word = slot.word.load(std::memory_order_acquire);  // [slot.word]: the photo is complete
      if (word % kStates == kAnswered || word % kStates == kIdle) break;
      if (word % kStates == kAsked && steady_time().now_ns() >= deadline) {
        slot.word.compare_exchange_strong(word, question * kStates + kIdle, std::memory_order_relaxed);
        continue;  // who has begun to answer is waited for
      }
      futex_wait(answers, seen, word % kStates == kAsked ? deadline : kForever);
    }
    if (slot.word.load(std::memory_order_relaxed) % kStates == kAnswered && slot.photo.id != 0)
      out.push_back(slot.photo);
  }
}

/// The kernel's numbers of all threads but the caller and the excepted one. A listing may end early if a thread ends just
/// then: who needs all of them counts.
template <class Visit>
void for_each_thread(int folder, Visit visit) noexcept {
  const int self = gettid();
  alignas(8) char entries[4096];
  lseek(folder, 0, SEEK_SET);
  for (;;) {
    const long bytes = syscall(SYS_getdents64, folder, entries, sizeof entries);
    if (bytes <= 0) return;
    for (long at = 0; at < bytes;) {
      std::uint16_t length = 0;  // of struct linux_dirent64: inode, offset, length, type, name
      std::memcpy(&length, entries + at + 16, sizeof length);
      const int thread = std::atoi(entries + at + 19);  // 0: "." and ".."
      if (thread != 0 && thread != self && thread != excepted.load(std::memory_order_relaxed)) visit(thread);
      at += length;
    }
  }
}

/// Who has been asked to stop.
class Asked {
 public:
  [[nodiscard]] bool has(int thread) const noexcept { return std::find(ids_, ids_ + count_, thread) != ids_ + count_; }
  [[nodiscard]] bool add(int thread) noexcept {
    if (count_ == kMostThreads) return false;
    ids_[count_++] = thread;
    return true;
  }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  void drop_the_dead() noexcept {
    count_ = static_cast<std::size_t>(
        std::remove_if(ids_, ids_ + count_, [](int id) { return syscall(SYS_tgkill, getpid(), id, 0) != 0; }) - ids_);
  }

 private:
  int ids_[kMostThreads];
  std::size_t count_ = 0;
};

/// Until as many have answered as were asked and live. False: some have not, in time.
bool await_answers(Asked& asked, std::int64_t deadline) noexcept {
  for (;;) {
    const std::uint32_t seen = answered.load(std::memory_order_acquire);  // [photo.answered]
    if (seen >= asked.count()) return true;
    const std::int64_t now = steady_time().now_ns();
    if (now >= deadline) return false;
    futex_wait(answered, seen, now + 10'000'000);
    if (answered.load(std::memory_order_relaxed) == seen) asked.drop_the_dead();
  }
}

}  // namespace

StoppedWorld::StoppedWorld() noexcept {
  const KeepErrno keep_errno;
  is_complete_ = !kTsan && stop_all();  // TSan holds signals back
  if (!is_complete_) let_go();
}

bool StoppedWorld::stop_all() noexcept {
  static std::uint32_t round = 0;
  static Asked asked;
  const int signal = find_signal();
  const int folder = open("/proc/self/task", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
  if (signal == 0 || folder < 0) return false;
  round = round % (UINT32_MAX - 1) + 1;
  asked = Asked();
  answered.store(0, std::memory_order_relaxed);
  resting.store(round, std::memory_order_relaxed);
  // release [photo.arrived]: publishes the two above.
  arrived.store(std::uint64_t{round} << 32U, std::memory_order_release);
  const std::int64_t deadline = steady_time().now_ns() + kStopPatienceNs;
  bool is_done = false;
  bool is_in_time = true;
  while (!is_done && is_in_time) {
    bool is_any_new = false;
    for_each_thread(folder, [&](int thread) {
      if (asked.has(thread) || !send(signal, thread, kStopToken | round)) return;
      is_any_new = true;
      is_in_time = asked.add(thread) && is_in_time;
    });
    is_in_time = is_in_time && await_answers(asked, deadline);
    // Nobody starts or ends a thread any more if those who rest, the caller and the excepted one are all that there are.
    const int other = excepted.load(std::memory_order_relaxed);
    const int others = other != 0 && syscall(SYS_tgkill, getpid(), other, 0) == 0 ? 2 : 1;
    is_done = !is_any_new && count_threads() == static_cast<int>(asked.count()) + others;
    is_in_time = is_in_time && steady_time().now_ns() < deadline;
  }
  close(folder);
  return is_done && is_in_time;
}

void StoppedWorld::let_go() noexcept {
  const KeepErrno keep_errno;
  const std::uint64_t last = arrived.exchange(0, std::memory_order_relaxed);  // nobody comes any more
  // Who has come is about to answer: the slots and the count are the next round's then.
  while (answered.load(std::memory_order_acquire) < (last & UINT32_MAX)) cpu_pause();
  resting.store(0, std::memory_order_release);  // [photo.resting]
  futex_wake(resting, INT_MAX);
}

std::span<const StoppedThread> StoppedWorld::threads() const noexcept {
  return {stopped, static_cast<std::size_t>(arrived.load(std::memory_order_relaxed) & UINT32_MAX)};
}

void StoppedWorld::except_this_thread() noexcept { excepted.store(gettid(), std::memory_order_relaxed); }

std::vector<Photo> take_photos(Scheduler& scheduler) {
  static std::uint32_t question = 0;  // one call at a time
  const KeepErrno keep_errno;
  std::vector<Photo> photos;
  const int signal = find_signal();
  if (signal == 0) return photos;
  const std::vector<int> threads = scheduler.thread_ids();
  const int self = static_cast<int>(syscall(SYS_gettid));
  for (std::size_t at = 0; at < threads.size();) {
    question = (question + 1) % (UINT32_MAX / kStates);
    std::size_t asked = 0;
    for (; at < threads.size() && asked < kSlots; ++at) {
      if (threads[at] == self) continue;
      // release [slot.word]: whoever answers may write the photo.
      slots[asked].word.store(question * kStates + kAsked, std::memory_order_release);
      if (send(signal, threads[at], std::uintptr_t{question} * kSlots + asked)) ++asked;
    }
    if (asked < kSlots) slots[asked].word.store(question * kStates + kIdle, std::memory_order_relaxed);
    gather(question, asked, photos);
  }
  return photos;
}

bool photograph_self(Photo& out) noexcept {
  const Worker* worker = current_worker();
  if (worker == nullptr || worker->current == &worker->root) return false;
  walk_here(out.frames);
  out.id = worker->current->task->id.load(std::memory_order_relaxed);
  return true;
}

}  // namespace weft::detail

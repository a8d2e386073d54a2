#include "photo.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "keep_errno.hpp"
#include "sched.hpp"
#include "thread_parker.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kSlots = 32;                                         // threads asked at a time
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
  }
  slot.word.store(question * kStates + kAnswered, std::memory_order_release);  // [slot.word]: publishes the photo
  answers.fetch_add(1, std::memory_order_release);
  futex_wake(answers, 1);
}

void on_signal(int, siginfo_t* info, void*) {
  const KeepErrno keep_errno;
  if (info->si_code != SI_QUEUE || info->si_pid != getpid()) return;
  const auto token = reinterpret_cast<std::uintptr_t>(info->si_value.sival_ptr);
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

bool send(int signal, int thread, std::size_t slot, std::uint32_t question) noexcept {
  siginfo_t info = {};
  info.si_signo = signal;
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = reinterpret_cast<void*>(std::uintptr_t{question} * kSlots + slot);
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

}  // namespace

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
      if (send(signal, threads[at], asked, question)) ++asked;
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

#include "weft/testing.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "bubble.hpp"
#include "deadlock.hpp"
#include "leak_scan.hpp"
#include "sched.hpp"
#include "traces.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "worker.hpp"

namespace weft {
namespace detail {
namespace {

Bubble* current_bubble_object() noexcept {
  const Worker* worker = current_worker();
  return worker == nullptr ? nullptr : worker->current->bubble;
}

Scheduler& current_scheduler() {
  const Worker* worker = current_worker();
  return worker == nullptr ? default_scheduler("testing") : worker->scheduler;
}

/// "goroutine 7 "name" [chan send]: created by f+0x12", a line for each.
std::string list_of(const std::vector<GoroutineInfo>& goroutines) {
  std::string text;
  for (const GoroutineInfo& g : goroutines) {
    text += "\n\tgoroutine " + std::to_string(g.id) + (g.name.empty() ? "" : " \"" + g.name + "\"") + " [" +
            (g.wait_reason.empty() ? g.state : g.wait_reason) + "]: created by " + g.spawn_site;
  }
  return text;
}

std::vector<GoroutineInfo> members_of(Scheduler& scheduler, const Bubble& bubble) {
  std::vector<GoroutineInfo> members;
  scheduler.tasks.for_each([&](const Task& task) {
    if (task.bubble.load(std::memory_order_relaxed) == &bubble) members.push_back(Scheduler::describe(task));
  });
  return members;
}

/// Bubbles whose goroutines are parked for ever, and point at them.
struct Graveyard {
  Spinlock lock;
  std::vector<std::unique_ptr<Bubble>> bubbles;  // guarded by lock
};

Graveyard& graveyard() {
  static auto* instance = new Graveyard;  // outlives every static object
  return *instance;
}

}  // namespace

BubbleRun::BubbleRun() : bubble_(nullptr) {
  if (current_bubble_object() != nullptr) throw_panic("testing::run called from within a bubble");
  bubble_ = new Bubble;
}

BubbleRun::~BubbleRun() { delete bubble_; }

void BubbleRun::join(Task* task) noexcept { task->bubble.store(bubble_, std::memory_order_relaxed); }

void BubbleRun::main_ended() noexcept { bubble_->main_ended(); }

void BubbleRun::await_end() {
  deadlock_ = bubble_->await_end();
  if (deadlock_ == nullptr) return;
  Scheduler& scheduler = current_scheduler();
  const std::string text = std::string(deadlock_) + list_of(members_of(scheduler, *bubble_)) + "\n";
  static_cast<void>(write(STDERR_FILENO, text.data(), text.size()) < 0);
  scheduler.abandon_bubble(*bubble_);
  bubble_->timers.forget_all(nullptr);
  Graveyard& dead = graveyard();
  SpinGuard guard(dead.lock);
  dead.bubbles.emplace_back(std::exchange(bubble_, nullptr));
}

void BubbleRun::check() const {
  if (deadlock_ != nullptr) throw_panic(deadlock_);
}

}  // namespace detail

namespace testing {
namespace {

constexpr detail::WaitOps kWaitOps{nullptr, nullptr, nullptr};

/// A goroutine that is not found has ended.
bool is_parked_or_gone(std::uint64_t id) {
  bool is_going = false;
  detail::DeadlockRegistry::for_each([&](detail::Scheduler& scheduler) {
    scheduler.tasks.for_each([&](detail::Task& task) {
      // acquire [task.id]: pairs with the release in free_task(): so too is what it did before it ended.
      if (task.id.load(std::memory_order_acquire) != id) return;
      const detail::Fiber* fiber = task.fiber.load(std::memory_order_acquire);
      // acquire: what the goroutine did before it parked is visible to who waited for it.
      if (fiber == nullptr || fiber->status.load(std::memory_order_acquire) != detail::FiberStatus::kWaiting)
        is_going = true;
    });
  });
  return !is_going;
}

std::vector<GoroutineInfo> leaked() {
  const detail::Bubble* bubble = detail::current_bubble_object();
  detail::Scheduler& scheduler = detail::current_scheduler();
  std::vector<GoroutineInfo> found =
      bubble != nullptr ? detail::members_of(scheduler, *bubble) : scheduler.goroutines(false);
  std::erase_if(found, [self = this_goroutine::id()](const GoroutineInfo& g) {
    return g.id == self || g.wait_reason.starts_with(detail::to_string(detail::WaitReason::kRun));
  });
  return found;
}

/// What calls before have left on the stack is not to be found in the frames to come.
[[gnu::noinline]] void clean_frames_to_come() noexcept {
  volatile std::byte room[2048];
  for (volatile std::byte& byte : room) byte = std::byte{0};
}

[[gnu::noinline]] std::vector<GoroutineInfo> look_for_leaks() {
  std::vector<GoroutineInfo> found;
  detail::DeadlockRegistry::with_all([&](detail::Schedulers all) {
    std::vector<std::uint64_t> numbers;
    {
      const std::lock_guard one_at_a_time(detail::observers());
      numbers = detail::find_leaked(all);
    }
    if (numbers.empty()) return;
    std::sort(numbers.begin(), numbers.end());
    for (detail::Scheduler* scheduler : all) {
      for (GoroutineInfo& info : scheduler->goroutines()) {
        if (std::binary_search(numbers.begin(), numbers.end(), info.id)) found.push_back(std::move(info));
      }
    }
  });
  return found;
}

}  // namespace

std::vector<GoroutineInfo> leak_hints() {
  clean_frames_to_come();
  return look_for_leaks();
}

void wait() {
  detail::Bubble* bubble = detail::current_bubble_object();
  if (bubble == nullptr) detail::throw_panic("goroutine is not in a bubble");
  detail::Sleeper self;
  if (!bubble->set_waiter(self.handle())) detail::throw_panic("wait already in progress");
  detail::WaitPoint point{&kWaitOps, detail::WaitReason::kTesting, true};
  detail::park(self, point);
}

void wait_parked(std::uint64_t goroutine_id) {
  while (!is_parked_or_gone(goroutine_id)) yield();
}

void verify_no_leaks() {
  using namespace std::chrono_literals;
  if (detail::current_bubble_object() != nullptr) wait();  // who can end, ends
  constexpr int kTries = 20;
  std::vector<GoroutineInfo> found = leaked();
  for (int i = 1; i < kTries && !found.empty() && detail::current_bubble_object() == nullptr; ++i) {
    sleep_for(std::min<std::chrono::nanoseconds>(1us * (1 << i), 100ms));
    found = leaked();
  }
  if (found.empty()) return;
  const std::string text = "weft: testing::verify_no_leaks: " + std::to_string(found.size()) +
                           (found.size() == 1 ? " goroutine is left:" : " goroutines are left:") +
                           detail::list_of(found);
  detail::throw_panic(text.c_str());
}

}  // namespace testing
}  // namespace weft

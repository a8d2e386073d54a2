#include "lock_cycles.hpp"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <utility>

#include "barrier.hpp"
#include "sched.hpp"
#include "stack_text.hpp"
#include "traces.hpp"
#include "weft/detail/wait_target.hpp"

namespace weft::detail {
namespace {

bool is_for_a_lock(WaitReason reason) noexcept {
  return reason == WaitReason::kMutexLock || reason == WaitReason::kRWMutexLock || reason == WaitReason::kRWMutexRLock;
}

/// What a goroutine waits for, if that is one lock and nothing else can end the wait.
struct OneLock final : WaitTargets {
  void add_lock(const void* what, std::uint32_t who) noexcept override {
    lock = what;
    holder = who;
  }
  void add_channel(const void*, std::size_t) noexcept override { has_way_out = true; }
  void add_way_out() noexcept override { has_way_out = true; }

  const void* lock = nullptr;
  std::uint32_t holder = 0;
  bool has_way_out = false;
};

std::string address_text(const void* address) {
  char text[32];
  std::snprintf(text, sizeof text, "%p", address);
  return text;
}

}  // namespace

/// One look. The pools' locks are held from finding a record to letting its goroutine go, as for_each demands.
class LockCycles::Search {
 public:
  Search(Schedulers schedulers, std::vector<std::vector<Member>>& out) : schedulers_(schedulers), out_(out) {
    with_pools(0);
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;
  ~Search() = default;

 private:
  struct Node {
    Task* task;
    Fiber* fiber;
    std::uint64_t id;
    std::uint32_t holder = 0;  // 0: nobody that is known, or it does not wait any more
    const void* lock = nullptr;
    std::uint32_t seen_from = 0;  // the walk that came here first, if any
  };
  /// Held goroutines, O1 to O4 of traces.hpp.
  struct Held {
    std::vector<Node> nodes;
    Held() = default;
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
      for (const Node& node : nodes) node.fiber->hold.store(no_hold(), std::memory_order_release);  // O4
    }
  };

  void with_pools(std::size_t next) {
    if (next == schedulers_.size()) return search();
    schedulers_[next]->tasks.visit_slabs([&](std::span<Task* const> slabs) {
      slabs_.insert(slabs_.end(), slabs.begin(), slabs.end());
      with_pools(next + 1);
    });
  }

  void search() {
    Held held;
    for (Task* slab : slabs_) {
      for (Task& task : std::span(slab, TaskPool::kSlabTasks)) hold(task, held.nodes);
    }
    if (held.nodes.empty()) return;
    heavy_barrier();                                           // O2
    std::unordered_map<std::uint32_t, std::uint32_t> waiters;  // by the low half of their number
    for (std::uint32_t i = 0; i < held.nodes.size(); ++i) {
      look_at(held.nodes[i]);
      if (held.nodes[i].holder != 0) waiters.emplace(static_cast<std::uint32_t>(held.nodes[i].id), i);
    }
    follow(held.nodes, waiters);
  }

  static void hold(Task& task, std::vector<Node>& nodes) {
    const std::uint64_t id = task.id.load(std::memory_order_acquire);  // [task.id]: pairs with commit_spawn()
    if (id == 0 || task.is_abandoned.load(std::memory_order_relaxed)) return;
    Fiber* fiber = task.fiber.load(std::memory_order_acquire);
    // relaxed: who begins to wait just now is missed.
    if (fiber == nullptr || fiber->status.load(std::memory_order_relaxed) != FiberStatus::kWaiting ||
        !is_for_a_lock(fiber->wait_reason.load(std::memory_order_relaxed))) {
      return;
    }
    nodes.push_back({&task, fiber, id});
    fiber->hold.store(Hold::kHeld, std::memory_order_relaxed);  // O1; ordered by the barriers
  }

  /// O3: whether it is at rest, and then what it waits for.
  static void look_at(Node& node) noexcept {
    if (node.fiber->status.load(std::memory_order_acquire) != FiberStatus::kWaiting) return;  // [fiber.status]
    if (node.task->fiber.load(std::memory_order_acquire) != node.fiber) return;
    if (node.task->id.load(std::memory_order_acquire) != node.id) return;
    const WaitPoint& point = *node.fiber->wait_point;
    if (point.ops->targets == nullptr) return;
    OneLock found;
    point.ops->targets(point, found);
    if (found.has_way_out) return;
    node.holder = found.holder;
    node.lock = found.lock;
  }

  /// Each waits for one, so from each there is one way: it ends, or comes to where somebody has been. If that was on the same
  /// way, it is a circle.
  void follow(std::vector<Node>& nodes, const std::unordered_map<std::uint32_t, std::uint32_t>& waiters) {
    const auto next = [&](std::uint32_t at) {
      const auto found = nodes[at].holder == 0 ? waiters.end() : waiters.find(nodes[at].holder);
      return found == waiters.end() ? UINT32_MAX : found->second;
    };
    for (std::uint32_t start = 0; start < nodes.size(); ++start) {
      std::uint32_t at = start;
      while (at != UINT32_MAX && nodes[at].seen_from == 0) {
        nodes[at].seen_from = start + 1;
        at = next(at);
      }
      if (at == UINT32_MAX || nodes[at].seen_from != start + 1) continue;
      std::vector<Member>& cycle = out_.emplace_back();
      const std::uint32_t first = at;
      do {
        note(nodes[at], cycle);
        at = next(at);
      } while (at != first);
    }
  }

  static void note(const Node& node, std::vector<Member>& cycle) {
    Member& member = cycle.emplace_back();
    member.id = node.id;
    if (node.task->extras != nullptr) member.name = node.task->extras->name;
    member.reason = node.fiber->wait_reason.load(std::memory_order_relaxed);
    const std::int64_t parked = node.fiber->parked_ns.load(std::memory_order_relaxed);
    member.waiting_ns = std::max<std::int64_t>(node.fiber->scheduler->now_ns() - parked, 0);
    member.spawn_site = node.task->spawn_site.load(std::memory_order_relaxed);
    member.lock = node.lock;
    walk_resting(node.fiber->state, member.frames);
  }

  Schedulers schedulers_;
  std::vector<std::vector<Member>>& out_;
  std::vector<Task*> slabs_;
};

LockCycles::LockCycles(Schedulers schedulers) {
  const std::lock_guard one_at_a_time(observers());
  const Search search(schedulers, cycles_);
}

std::string LockCycles::text() const {
  StackText stacks;
  std::string text;
  for (const std::vector<Member>& cycle : cycles_) {
    if (!text.empty()) text += '\n';
    text += cycle.size() == 1 ? "a goroutine waits for a lock that it holds itself:\n"
                              : std::to_string(cycle.size()) + " goroutines wait for each other's locks:\n";
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      const Member& member = cycle[i];
      const std::string since = describe_wait(member.waiting_ns);
      text += "goroutine " + std::to_string(member.id) + (member.name.empty() ? "" : " \"" + member.name + "\"") +
              " [" + std::string(to_string(member.reason)) + (since.empty() ? "" : ", " + since) + "]: lock " +
              address_text(member.lock) + ", held by goroutine " + std::to_string(cycle[(i + 1) % cycle.size()].id) +
              "\n";
      text += stacks.lines(std::span(member.frames.pcs, member.frames.count), member.frames.is_cut, "\t");
      text += "\tcreated by " + stacks.site(member.spawn_site) + "\n";
    }
  }
  return text;
}

std::string describe_lock_cycles(Schedulers schedulers) { return LockCycles(schedulers).text(); }

std::vector<std::vector<LockWait>> LockCycles::list() const {
  StackText stacks;
  std::vector<std::vector<LockWait>> all;
  for (const std::vector<Member>& cycle : cycles_) {
    std::vector<LockWait>& waits = all.emplace_back();
    for (const Member& member : cycle) {
      GoroutineInfo info;
      info.id = member.id;
      info.name = member.name;
      info.state = to_string(FiberStatus::kWaiting);
      info.wait_reason = to_string(member.reason);
      info.spawn_site = stacks.site(member.spawn_site);
      info.stack = stacks.lines(std::span(member.frames.pcs, member.frames.count), member.frames.is_cut, "");
      info.waiting_for = std::chrono::nanoseconds(member.waiting_ns);
      waits.push_back({std::move(info), member.lock});
    }
  }
  return all;
}

}  // namespace weft::detail

namespace weft {

std::vector<std::vector<LockWait>> find_lock_cycles() {
  struct Answer {
    std::optional<detail::LockCycles> cycles;
    std::vector<std::vector<LockWait>> list;
  } answer;
  detail::DeadlockRegistry::with_all([&](detail::Schedulers all) { answer.cycles.emplace(all); });
  if (answer.cycles->empty()) return {};
  detail::on_roomy_stack(
      [](void* argument) {
        auto& mine = *static_cast<Answer*>(argument);
        mine.list = mine.cycles->list();
      },
      &answer);
  return std::move(answer.list);
}

}  // namespace weft

#include "dump.hpp"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <map>
#include <optional>
#include <system_error>
#include <thread>
#include <tuple>

#include <poll.h>

#include "deadlock.hpp"
#include "keep_errno.hpp"
#include "lock_cycles.hpp"
#include "sched.hpp"
#include "stack_text.hpp"
#include "weft/stats.hpp"
#include "worker.hpp"

namespace weft {
namespace detail {

// --- sorting ---

bool Groups::Group::is_like(const Trace& t) const noexcept {
  if (status != t.status || reason != t.reason || is_durable != t.is_durable || seen != t.seen ||
      spawn_site != t.spawn_site || name != t.name) {
    return false;
  }
  return seen != StackSeen::kYes || (is_cut == t.frames->is_cut && std::equal(pcs.begin(), pcs.end(), t.frames->pcs,
                                                                              t.frames->pcs + t.frames->count));
}

std::uint64_t Groups::hash(const Trace& t) noexcept {
  std::uint64_t h = std::hash<std::string_view>()(t.name);
  const auto mix = [&h](std::uint64_t value) { h = (h ^ value) * 0x9e3779b97f4a7c15ULL ^ (h >> 29U); };
  mix(static_cast<std::uint64_t>(t.status) << 16U | static_cast<std::uint64_t>(t.reason) << 8U |
      static_cast<std::uint64_t>(t.seen));
  mix(reinterpret_cast<std::uintptr_t>(t.spawn_site));
  if (t.seen == StackSeen::kYes) {
    for (unsigned i = 0; i < t.frames->count; ++i) mix(reinterpret_cast<std::uintptr_t>(t.frames->pcs[i]));
  }
  return h;
}

void Groups::visit(const Trace& t) {
  ++count_;
  running_ += t.status == FiberStatus::kRunning ? 1 : 0;
  waiting_ += t.is_waiting() ? 1 : 0;
  const std::uint64_t key = hash(t);
  const auto [first, last] = index_.equal_range(key);
  const auto found = std::find_if(first, last, [&](const auto& entry) { return groups_[entry.second].is_like(t); });
  if (found == last && groups_.size() == kMostGroups) {
    ++left_out_;
    return;
  }
  Group* group = found != last ? &groups_[found->second] : nullptr;
  if (group == nullptr) {
    index_.emplace(key, groups_.size());
    group = &groups_.emplace_back();
    group->name = t.name;
    group->status = t.status;
    group->reason = t.reason;
    group->is_durable = t.is_durable;
    group->seen = t.seen;
    group->spawn_site = t.spawn_site;
    group->is_cut = t.seen == StackSeen::kYes && t.frames->is_cut;
    if (t.seen == StackSeen::kYes) group->pcs.assign(t.frames->pcs, t.frames->pcs + t.frames->count);
  }
  ++group->count;
  if (group->ids.size() < kMostIds || t.id < group->ids.back()) {
    if (group->ids.size() == kMostIds) group->ids.pop_back();
    group->ids.insert(std::upper_bound(group->ids.begin(), group->ids.end(), t.id), t.id);
  }
  group->shortest_ns = std::min(group->shortest_ns, t.waiting_ns);
  group->longest_ns = std::max(group->longest_ns, t.waiting_ns);
}

// --- writing ---

std::string Groups::Group::title() const {
  std::string text = count == 1 ? "goroutine " + std::to_string(ids.front()) : std::to_string(count) + " goroutines";
  if (!name.empty()) text += " \"" + name + "\"";
  text += " [";
  text += status == FiberStatus::kWaiting ? to_string(reason) : to_string(status);
  if (is_durable) text += " (durable)";
  const std::string longest = describe_wait(longest_ns);
  const std::string shortest = describe_wait(shortest_ns);
  if (!longest.empty()) text += (longest == shortest ? ", " : ", at most ") + longest;
  text += "]:";
  if (count == 1) return text;
  for (std::size_t i = 0; i < ids.size(); ++i) text += (i == 0 ? " " : ", ") + std::to_string(ids[i]);
  return text + (count > ids.size() ? ", ..." : "");
}

void Groups::Group::take_over(const Group& other) {
  count += other.count;
  const auto middle = static_cast<std::ptrdiff_t>(ids.size());
  ids.insert(ids.end(), other.ids.begin(), other.ids.end());
  std::inplace_merge(ids.begin(), ids.begin() + middle, ids.end());
  if (ids.size() > kMostIds) ids.resize(kMostIds);
  shortest_ns = std::min(shortest_ns, other.shortest_ns);
  longest_ns = std::max(longest_ns, other.longest_ns);
}

/// Stacks that differ in the runtime's own frames only, which nobody is shown. Asks for names only where that may be.
void Groups::merge_those_that_read_alike(StackText& stacks) {
  using Key = std::tuple<std::string_view, const void*, FiberStatus, WaitReason, bool>;
  std::map<Key, std::vector<Group*>> by_key;
  for (Group& group : groups_) {
    if (group.seen != StackSeen::kYes) continue;
    by_key[{group.name, group.spawn_site, group.status, group.reason, group.is_durable}].push_back(&group);
  }
  for (const auto& [key, groups] : by_key) {
    if (groups.size() == 1) continue;
    std::unordered_map<std::string, Group*> by_text;
    for (Group* group : groups) {
      const auto [same, is_new] = by_text.try_emplace(stacks.lines(group->pcs, group->is_cut, "\t"), group);
      if (is_new) continue;
      same->second->take_over(*group);
      group->count = 0;
    }
  }
}

std::string Groups::text() {
  StackText stacks;
  merge_those_that_read_alike(stacks);
  std::vector<const Group*> order;
  order.reserve(groups_.size());
  for (const Group& group : groups_) {
    if (group.count != 0) order.push_back(&group);
  }
  // Those that run first, then by age; if there are too many to show, the biggest.
  std::uint64_t hidden = left_out_;
  if (order.size() > kMostShown) {
    std::stable_sort(order.begin(), order.end(), [](const Group* a, const Group* b) { return a->count > b->count; });
    for (std::size_t i = kMostShown; i < order.size(); ++i) hidden += order[i]->count;
    order.resize(kMostShown);
  }
  std::sort(order.begin(), order.end(), [](const Group* a, const Group* b) {
    const bool a_runs = a->status == FiberStatus::kRunning;
    const bool b_runs = b->status == FiberStatus::kRunning;
    return a_runs != b_runs ? a_runs : a->ids.front() < b->ids.front();
  });
  std::string text;
  for (const Group* group : order) {
    text += (text.empty() ? "" : "\n") + group->title() + "\n";
    if (group->seen == StackSeen::kYes) text += stacks.lines(group->pcs, group->is_cut, "\t");
    if (group->seen == StackSeen::kNotAsked) text += "\t(stacks not looked at: there are too many)\n";
    if (group->seen == StackSeen::kNoAnswer) text += "\t(stack unknown: its thread did not answer)\n";
    text += "\tcreated by " + stacks.site(group->spawn_site) + "\n";
  }
  if (hidden != 0) text += "\n... and " + std::to_string(hidden) + " more goroutines\n";
  return text;
}

std::string Groups::summary() const {
  std::string text = std::to_string(count_) + (count_ == 1 ? " goroutine: " : " goroutines: ");
  text += std::to_string(running_) + " running, " + std::to_string(count_ - running_ - waiting_) + " runnable, ";
  return text + std::to_string(waiting_) + " waiting";
}

void on_roomy_stack(void (*f)(void*), void* argument) noexcept {
  const Worker* worker = current_worker();
  if (worker == nullptr || worker->current == &worker->root) return f(argument);
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // the thread handles nobody's signals
  try {
    std::thread thread([f, argument] {
      WeftThreads::add();
      f(argument);
      WeftThreads::remove();
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    thread.join();
  } catch (const std::system_error&) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    f(argument);
  }
}

std::string describe_all(Scheduler& scheduler) {
  Groups groups;
  visit_traces(scheduler, true, groups);
  return groups.text();
}

void write_all(int fd, std::string_view text) noexcept {
  constexpr int kPatienceMs = 1000;
  const KeepErrno keep_errno;
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (n < 0 && errno == EAGAIN) {
      pollfd wait{fd, POLLOUT, 0};
      if (poll(&wait, 1, kPatienceMs) == 0) return;
    } else if (n == 0 || errno != EINTR) {
      return;
    }
  }
}

namespace {

struct Dump {
  std::vector<Groups> runtimes;
  std::optional<LockCycles> cycles;
  std::string text;
};

void write_dump(void* argument) {
  auto& dump = *static_cast<Dump*>(argument);
  try {
    for (Groups& groups : dump.runtimes) {
      dump.text += "weft: " + groups.summary() + "\n\n" + groups.text() + "\n";
    }
    if (!dump.cycles->empty()) dump.text += "weft: " + dump.cycles->text() + "\n";
  } catch (const std::exception&) {
    dump.text += "weft: dump_goroutines: out of memory\n";
  }
}

}  // namespace
}  // namespace detail

void dump_goroutines(int fd) {
  const detail::KeepErrno keep_errno;
  detail::Dump dump;
  detail::DeadlockRegistry::with_all([&](detail::Schedulers all) {
    for (detail::Scheduler* scheduler : all) detail::visit_traces(*scheduler, true, dump.runtimes.emplace_back());
    dump.cycles.emplace(all);
  });
  detail::on_roomy_stack(&detail::write_dump, &dump);
  detail::write_all(fd, dump.text);
}

}  // namespace weft

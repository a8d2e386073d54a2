// Everything from StoppedWorld's constructor to its end allocates nothing and takes no lock. What this looks for must not be
// found where this remembers it: so it has one piece of memory (Workshop) for its tables and its own stack, and leaves that out.

#include "leak_scan.hpp"

#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <span>
#include <system_error>
#include <utility>

#include "photo.hpp"
#include "process_memory.hpp"
#include "sched.hpp"
#include "weft/detail/platform.hpp"
#include "weft/detail/wait_target.hpp"
#include "worker.hpp"

namespace weft::detail {
namespace {

Word word_of(const void* address) noexcept { return reinterpret_cast<Word>(address); }

constexpr std::size_t kStackBytes = std::size_t{1} << 20U;
constexpr std::size_t kRedZone = 128;  // below the stack pointer, in use nevertheless
constexpr std::uint32_t kNone = UINT32_MAX;

/// A piece of memory that leads to an owner, who is a candidate; of a channel, to each who waits for it: one entry for each.
/// Into a frame or a closure any address may lead. A channel is known by its first byte's: whoever uses it has a handle, or
/// has got it from one that lives meanwhile.
struct Territory : Region {
  std::uint32_t owner = 0;
  bool is_channel = false;
  bool is_reached = false;  // of the first entry of several
};

/// A fixed array that fills up.
template <class T>
class Table {
 public:
  void use(std::span<T> memory) noexcept { memory_ = memory; }
  void add(const T& value) noexcept {
    if (size_ < memory_.size()) memory_[size_] = value;
    ++size_;
  }
  void shrink(std::size_t size) noexcept { size_ = size; }
  [[nodiscard]] bool has_overflown() const noexcept { return size_ > memory_.size(); }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::span<T> all() const noexcept { return memory_.first(std::min(size_, memory_.size())); }
  [[nodiscard]] T& operator[](std::size_t i) const noexcept { return memory_[i]; }
  [[nodiscard]] T pop() noexcept { return memory_[--size_]; }

 private:
  std::span<T> memory_;
  std::size_t size_ = 0;
};

/// How many entries the tables have.
struct Sizes {
  std::size_t tasks = 0;
  std::size_t territories = 0;
  std::size_t gaps = 0;
};

/// Memory of its own for tables, with a stack above them.
class Workshop {
 public:
  explicit Workshop(std::size_t table_bytes)
      : memory_(map_single_stack((table_bytes + kStackBytes + page_size() - 1) / page_size() * page_size())) {}
  ~Workshop() { unmap_single_stack(memory_); }
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;

  [[nodiscard]] StackRange stack() const noexcept { return {memory_.top() - kStackBytes, kStackBytes}; }
  [[nodiscard]] Region region() const noexcept { return {word_of(memory_.low), word_of(memory_.top())}; }
  template <class T>
  std::span<T> take(std::size_t count) noexcept {
    auto* first = reinterpret_cast<T*>(memory_.low + used_);
    used_ += (count * sizeof(T) + 15) / 16 * 16;
    return {first, count};
  }

 private:
  StackRange memory_;
  std::size_t used_ = 0;
};

/// What is known before the threads are stopped.
struct Ground {
  struct Pool {
    Scheduler* scheduler;
    std::size_t slabs;  // of records
  };
  std::vector<Pool> pools;
  std::vector<Region> stack_slabs;
  std::vector<std::size_t> strides;  // of each
  std::vector<Worker*> workers;
  std::size_t records = 0;

  explicit Ground(Schedulers schedulers) {
    for (Scheduler* scheduler : schedulers) {
      std::size_t slabs = 0;
      scheduler->tasks.visit_slabs([&](std::span<Task* const> all) { slabs = all.size(); });
      pools.push_back({scheduler, slabs});
      records += slabs * TaskPool::kSlabTasks;
      for (const StackRange range : scheduler->fibers.slabs().ranges()) {
        stack_slabs.push_back({word_of(range.low), word_of(range.top())});
        strides.push_back(scheduler->fibers.slabs().stride());
      }
      for (Worker* worker : scheduler->workers()) workers.push_back(worker);
    }
  }
};

enum class Verdict : std::uint8_t { kDone, kMoreRoom, kTryAgain, kNotStopped };

/// One look, on a stack in the workshop.
class Scan {
 public:
  Scan(const Ground& ground, Workshop& workshop, const Sizes& sizes) noexcept : ground_(ground) {
    candidate_of_.use(workshop.take<std::uint32_t>(sizes.tasks));
    candidates_.use(workshop.take<Candidate>(sizes.tasks));
    territories_.use(workshop.take<Territory>(sizes.territories));
    reached_.use(workshop.take<std::uint32_t>(sizes.territories + sizes.tasks));
    gaps_.use(workshop.take<Region>(sizes.gaps));
    gaps_.add(workshop.region());
    filter_ = workshop.take<std::uint64_t>(filter_words(sizes));
  }

  static std::size_t filter_words(const Sizes& sizes) noexcept {
    std::size_t words = 1024;
    while (words * 64 < 8 * sizes.territories) words *= 2;
    return words;
  }
  static std::size_t bytes(const Sizes& sizes) noexcept {
    return sizes.tasks * (2 * sizeof(std::uint32_t) + sizeof(Candidate)) +
           sizes.territories * (sizeof(Territory) + sizeof(std::uint32_t)) + sizes.gaps * sizeof(Region) +
           filter_words(sizes) * sizeof(std::uint64_t) + 256;
  }

  void run() noexcept {
    const StoppedWorld world;
    if (!world.is_complete()) {
      verdict = Verdict::kNotStopped;
      return;
    }
    threads_ = world.threads();
    if (!find_candidates()) {
      verdict = Verdict::kTryAgain;
      return;
    }
    if (territories_.has_overflown()) {
      wanted_territories = territories_.size();
      verdict = Verdict::kMoreRoom;
      return;
    }
    if (candidates_.size() != 0) mark();
    verdict = Verdict::kDone;
  }

  /// After run().
  [[nodiscard]] std::vector<std::uint64_t> numbers() const {
    std::vector<std::uint64_t> all;
    for (const Candidate& candidate : candidates_.all()) {
      if (!candidate.is_reached) all.push_back(candidate.id);
    }
    return all;
  }

  Verdict verdict = Verdict::kNotStopped;
  std::size_t wanted_territories = 0;

 private:
  struct Candidate {
    Task* task;
    std::uint64_t id;
    bool is_reached;
  };

  // --- who is a candidate, and where its territory is ---

  /// A goroutine's channels, if nothing else can end its wait.
  struct Channels final : WaitTargets {
    Channels(Table<Territory>& table, std::uint32_t candidate) noexcept : out(table), owner(candidate) {}
    void add_lock(const void*, std::uint32_t) noexcept override { has_way_out = true; }
    void add_channel(const void* core, std::size_t bytes) noexcept override {
      out.add({{word_of(core), word_of(core) + bytes}, owner, true});
    }
    void add_way_out() noexcept override { has_way_out = true; }
    Table<Territory>& out;
    const std::uint32_t owner;
    bool has_way_out = false;
  };

  template <class Visit>
  bool for_each_record(Visit visit) noexcept {
    std::size_t index = 0;
    bool is_same = true;
    for (const Ground::Pool& pool : ground_.pools) {
      const bool is_free = pool.scheduler->tasks.try_visit_slabs([&](std::span<Task* const> slabs) {
        is_same = is_same && slabs.size() == pool.slabs;
        if (!is_same) return;
        for (Task* slab : slabs) {
          for (Task& task : std::span(slab, TaskPool::kSlabTasks)) visit(task, index++);
        }
      });
      if (!is_free || !is_same) return false;
    }
    return true;
  }

  /// False: not the moment, somebody is just adding records.
  bool find_candidates() noexcept {
    for (std::size_t i = 0; i < ground_.records; ++i) candidate_of_.add(kNone);
    return for_each_record([this](Task& task, std::size_t index) { consider(task, index); });
  }

  void consider(Task& task, std::size_t index) noexcept {
    const std::uint64_t id = task.id.load(std::memory_order_relaxed);
    Fiber* fiber = task.fiber.load(std::memory_order_relaxed);
    if (id == 0 || fiber == nullptr || task.is_abandoned.load(std::memory_order_relaxed)) return;
    if (fiber->status.load(std::memory_order_relaxed) != FiberStatus::kWaiting) return;
    const WaitPoint& point = *fiber->wait_point;
    if (point.ops->targets == nullptr) return;
    const std::size_t before = territories_.size();
    const auto owner = static_cast<std::uint32_t>(candidates_.size());
    Channels channels(territories_, owner);
    point.ops->targets(point, channels);
    if (channels.has_way_out) return territories_.shrink(before);
    candidate_of_[index] = owner;
    candidates_.add({&task, id, false});
    territories_.add({stack_of(*fiber), owner, false});
    territories_.add({record_of(task), owner, false});
    if (task.closure != task.storage) {
      territories_.add({{word_of(task.closure), word_of(task.closure) + task.closure_bytes}, owner, false});
    }
  }

  /// What is saved of a goroutine that rests; the control block above is the runtime's, which has its address in many places.
  static Region stack_of(Fiber& fiber) noexcept { return {word_of(fiber.state.context), word_of(fiber.hot_end())}; }
  /// Likewise: its closure.
  static Region record_of(const Task& task) noexcept {
    return {word_of(task.storage), word_of(task.storage) + sizeof task.storage};
  }

  // --- marking ---

  void mark() noexcept {
    const std::span<Territory> all = territories_.all();
    std::sort(all.begin(), all.end(), [](const Territory& a, const Territory& b) { return a.low < b.low; });
    for (const Territory& t : all) {
      for (Word page = t.low >> 12U; page <= (t.high - 1) >> 12U; ++page) {
        filter_[slot_of(page) / 64] |= std::uint64_t{1} << slot_of(page) % 64;
      }
      // Records and stacks are not read as plain memory anyway.
      gaps_.add(t);
    }
    // Records and stacks that nobody uses are full of what was; the others are read one by one.
    for (const Region& slab : ground_.stack_slabs) gaps_.add(slab);
    for_each_record([this](Task& task, std::size_t index) {
      if (index % TaskPool::kSlabTasks == 0) gaps_.add({word_of(&task), word_of(&task + TaskPool::kSlabTasks)});
    });
    find_dead_stacks();
    const std::span<Region> gaps = gaps_.all();
    std::sort(gaps.begin(), gaps.end(), [](const Region& a, const Region& b) { return a.low < b.low; });
    read_goroutines();
    read_threads();
    read_mappings();
    follow();
  }

  [[nodiscard]] std::size_t slot_of(Word page) const noexcept {
    return static_cast<std::size_t>((page * 0x9e3779b97f4a7c15ULL) >> 20U) & (filter_.size() * 64 - 1);
  }

  void see(Word word) noexcept {
    const std::size_t slot = slot_of(word >> 12U);
    if ((filter_[slot / 64] >> slot % 64 & 1U) == 0) return;
    const std::span<Territory> all = territories_.all();
    const auto after =
        std::upper_bound(all.begin(), all.end(), word, [](Word w, const Territory& t) { return w < t.low; });
    if (after == all.begin()) return;
    const Territory& any = *(after - 1);
    if (!any.has(word) || (any.is_channel && any.low != word)) return;
    // The first of those who wait for the same channel, which may be very many.
    const auto first =
        std::lower_bound(all.begin(), after, any.low, [](const Territory& t, Word w) { return t.low < w; });
    if (first->is_reached) return;
    first->is_reached = true;
    reached_.add(static_cast<std::uint32_t>(first - all.begin()));
  }

  void follow() noexcept {
    while (reached_.size() != 0) {
      const std::span<Territory> all = territories_.all();
      const std::uint32_t at = reached_.pop();
      const Territory& first = all[at];
      if (first.is_channel) see_all({first.low, first.high});
      for (std::size_t i = at; i < all.size() && all[i].low == first.low; ++i) reach(candidates_[all[i].owner]);
    }
  }

  void reach(Candidate& candidate) noexcept {
    if (candidate.is_reached) return;
    candidate.is_reached = true;
    Task& task = *candidate.task;
    see_all(stack_of(*task.fiber.load(std::memory_order_relaxed)));
    see_all(record_of(task));
    if (task.closure != task.storage) see_all({word_of(task.closure), word_of(task.closure) + task.closure_bytes});
  }

  /// Memory of which it is known that it can be read.
  [[gnu::no_sanitize_address, gnu::no_sanitize_thread]] void see_all(Region region) noexcept {
    for (Word at = (region.low + 7) / 8 * 8; at + 8 <= region.high; at += 8) see(*reinterpret_cast<const Word*>(at));
  }

  // --- roots: goroutines ---

  void read_goroutines() noexcept {
    for_each_record([this](Task& task, std::size_t index) {
      // A closure is there from before the goroutine has its number. The abandoned never go on.
      if (candidate_of_[index] != kNone || task.closure == nullptr) return;
      if (task.is_abandoned.load(std::memory_order_relaxed)) return;
      see_all({word_of(&task), word_of(&task + 1)});
      Fiber* fiber = task.fiber.load(std::memory_order_relaxed);
      if (fiber == nullptr) return;
      const FiberStatus status = fiber->status.load(std::memory_order_relaxed);
      if (status == FiberStatus::kWaiting || status == FiberStatus::kRunnable) {
        see_all({word_of(fiber->state.context), word_of(fiber + 1)});
      } else if (!is_on_a_thread(*fiber)) {
        // In the middle of a switch: nobody knows where its stack ends.
        see_memory({word_of(fiber->state.stack.low), word_of(fiber->state.stack.top())});
      }
    });
  }

  [[nodiscard]] bool is_on_a_thread(const Fiber& fiber) const noexcept {
    const Region stack{word_of(fiber.state.stack.low), word_of(fiber.state.stack.top())};
    return std::any_of(threads_.begin(), threads_.end(),
                       [&](const StoppedThread& thread) { return stack.has(thread.stack_pointer); });
  }

  // --- roots: threads ---

  /// Where what a thread has on its stack begins: its registers lie there too, unless the handler has a stack of its own.
  static Word begin_of(const StoppedThread& thread) noexcept {
    return thread.signal_stack == 0 ? std::min(thread.frame, thread.stack_pointer - kRedZone)
                                    : thread.stack_pointer - kRedZone;
  }

  /// Threads that are on goroutines' stacks. Others' are plain memory.
  void read_threads() noexcept {
    for (const StoppedThread& thread : threads_) {
      for (std::size_t i = 0; i < ground_.stack_slabs.size(); ++i) {
        const Region& slab = ground_.stack_slabs[i];
        if (!slab.has(thread.stack_pointer)) continue;
        const Word low = slab.low + (thread.stack_pointer - slab.low) / ground_.strides[i] * ground_.strides[i];
        see_memory({begin_of(thread), low + ground_.strides[i]});
      }
    }
  }

  /// Parts of stacks below what is in use.
  void find_dead_stacks() noexcept {
    for (const StoppedThread& thread : threads_) {
      if (thread.signal_stack != 0) gaps_.add({thread.signal_stack, thread.frame - kRedZone});
    }
    // Of a worker that is on a goroutine's stack, its own one rests.
    for (const Worker* worker : ground_.workers) {
      const Region own{word_of(worker->root.state.stack.low), word_of(worker->root.state.stack.top())};
      Word bound = worker->current == &worker->root ? 0 : word_of(worker->root.state.context);
      if (!own.has(bound)) continue;
      for (const StoppedThread& thread : threads_) {
        if (own.has(thread.stack_pointer)) bound = std::min(bound, begin_of(thread));
      }
      if (own.has(bound)) gaps_.add({own.low, bound});
    }
  }

  // --- roots: everything else ---

  void read_mappings() noexcept {
    Mapping before;
    memory_.for_each_mapping([&](const Mapping& mapping) {
      read_mapping(mapping, before);
      before = mapping;
    });
  }

  void read_mapping(const Mapping& mapping, const Mapping& before) noexcept {
    // The address sanitizer's shadow.
    if (kAsan && mapping.high - mapping.low > std::uint64_t{1} << 36U) return;
    if (!mapping.is_writable || mapping.is_device) return;
    Region region{mapping.low, mapping.high};
    // The stack of a thread, if a guard lies below it: nothing else can.
    const bool is_stack = mapping.is_main_stack || (before.is_guard && before.high == mapping.low);
    Word bound = 0;
    for (const StoppedThread& thread : threads_) {
      if (is_stack && region.has(thread.stack_pointer))
        bound = bound == 0 ? begin_of(thread) : std::min(bound, begin_of(thread));
    }
    if (region.has(bound)) region.low = bound;
    const std::span<Region> gaps = gaps_.all();
    Word at = region.low;
    for (const Region& gap : gaps) {
      if (gap.high <= at) continue;
      if (gap.low >= region.high) break;
      if (gap.low > at) see_memory({at, gap.low});
      at = std::max(at, gap.high);
    }
    if (at < region.high) see_memory({at, region.high});
  }

  /// Memory that may have holes: pages that were never touched, or must not be.
  void see_memory(Region region) noexcept {
    memory_.for_each_word(region, [this](Word word) { see(word); });
  }

  const Ground& ground_;
  std::span<const StoppedThread> threads_;
  Table<std::uint32_t> candidate_of_;  // by the record's place; kNone
  Table<Candidate> candidates_;
  Table<Territory> territories_;  // sorted by `low` for marking
  Table<std::uint32_t> reached_;  // territories whose owners are still to be followed
  Table<Region> gaps_;            // not read as plain memory; sorted by `low`
  std::span<std::uint64_t> filter_;
  ProcessMemory memory_;
};

/// The thread that looks.
struct Look {
  const Ground& ground;
  Workshop& workshop;
  const Sizes& sizes;
  Verdict verdict = Verdict::kNotStopped;
  std::size_t wanted_territories = 0;
  std::vector<std::uint64_t> numbers;
  std::exception_ptr error;

  static void* main(void* argument) {
    auto& look = *static_cast<Look*>(argument);
    WeftThreads::add();
    try {
      Scan scan(look.ground, look.workshop, look.sizes);
      scan.run();
      look.verdict = scan.verdict;
      look.wanted_territories = scan.wanted_territories;
      if (scan.verdict == Verdict::kDone) look.numbers = scan.numbers();
    } catch (...) {
      look.error = std::current_exception();
    }
    WeftThreads::remove();
    return nullptr;
  }

  void run() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    const StackRange stack = workshop.stack();
    pthread_attr_setstack(&attributes, stack.low, stack.size);
    sigset_t every;
    sigset_t before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);  // the thread handles nobody's signals
    pthread_t thread{};
    const int failure = pthread_create(&thread, &attributes, &main, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    pthread_attr_destroy(&attributes);
    if (failure != 0) throw std::system_error(failure, std::generic_category(), "weft: leak_hints: no thread");
    pthread_join(thread, nullptr);
    if (error != nullptr) std::rethrow_exception(error);
  }
};

}  // namespace

std::vector<std::uint64_t> find_leaked(Schedulers schedulers) {
  constexpr int kTries = 20;
  std::size_t territories = 0;
  Verdict verdict = Verdict::kTryAgain;
  for (int i = 0; i < kTries && verdict != Verdict::kNotStopped; ++i) {
    const Ground ground(schedulers);
    Sizes sizes;
    sizes.tasks = ground.records;
    sizes.territories = std::max(territories, 4 * ground.records);
    sizes.gaps = sizes.territories + ground.records / TaskPool::kSlabTasks + ground.stack_slabs.size() +
                 ground.workers.size() + StoppedWorld::kMostThreads + 1;
    Workshop workshop(Scan::bytes(sizes));
    Look look{ground, workshop, sizes, {}, 0, {}, nullptr};
    look.run();
    verdict = look.verdict;
    if (verdict == Verdict::kDone) return std::move(look.numbers);
    territories = look.wanted_territories + look.wanted_territories / 4;
  }
  throw std::system_error(std::make_error_code(std::errc::timed_out),
                          verdict == Verdict::kNotStopped
                              ? "weft: leak_hints: a thread of the process could not be stopped (blocked signals?)"
                              : "weft: leak_hints: too much was going on");
}

}  // namespace weft::detail

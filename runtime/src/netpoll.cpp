#include "netpoll.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <new>
#include <span>
#include <thread>

#include "task.hpp"
#include "weft/detail/platform.hpp"

namespace weft::detail {
namespace {

constexpr std::size_t kAhead = 6;   // events whose descriptors are on their way to the cache
constexpr unsigned kTagBits = 16;   // addresses of the process have 48
std::atomic<int> waiting_count{0};  // seq_cst, as all that the deadlock verdict counts

std::uint64_t pack(const PollDescriptor& descriptor) noexcept {
  return (reinterpret_cast<std::uintptr_t>(&descriptor) << kTagBits) | (descriptor.generation & ((1U << kTagBits) - 1));
}

PollDescriptor* unpack(std::uint64_t data) noexcept {
  return reinterpret_cast<PollDescriptor*>(static_cast<std::uintptr_t>(data >> kTagBits));
}

}  // namespace

/// Never freed (poll_descriptor.hpp).
struct Netpoll::Slab {
  Slab* next = nullptr;
  PollDescriptor descriptors[64];
};

/// P2. With the lock held.
void Netpoll::Ready::take(PollDescriptor::Side& side) noexcept {
  if (Waiter* waiter = side.waiters.claim_front()) {
    waiter->is_ok = true;
    ::new (sleepers_ + sizeof(SleeperHandle) * sleeper_count_++) SleeperHandle(waiter->sleeper);
  } else if (Task* task = take_starter(side)) {
    task->prefetch();
    tasks_[task_count_++] = task;
  } else if (!side.is_ready) {
    side.is_ready = true;
  }
}

std::atomic<Netpoll*> Netpoll::instance{nullptr};

Netpoll& Netpoll::get_or_make() {
  static std::mutex lock;
  Netpoll* poller = get();
  if (poller != nullptr) return *poller;
  const std::scoped_lock guard(lock);
  poller = get();
  if (poller == nullptr) {
    poller = new Netpoll;
    // release [netpoll.instance]: publishes the poller.
    instance.store(poller, std::memory_order_release);
  }
  return *poller;
}

void Netpoll::forget() noexcept {
  instance.store(nullptr, std::memory_order_release);
  waiting_count.store(0, std::memory_order_seq_cst);
}

int Netpoll::waiting() noexcept { return waiting_count.load(std::memory_order_seq_cst); }

void Netpoll::poll(std::int64_t deadline_ns, Ready& ready) noexcept {
  PollEvent events[kEvents];
  const auto [n, is_interrupted] = epoll_.wait(events, kEvents, deadline_ns);
  // N4. Its sender has seen the sleeper in; if it is not any more, it needs none.
  if (is_interrupted && deadline_ns <= 0 && is_occupied()) [[unlikely]]
    interrupt();
  static_cast<void>(opened_.load(std::memory_order_acquire));  // acquire [netpoll.opened]
  if (n != 0) ready.begin(*this);
  for (std::size_t i = 0; i < n; ++i) {
    if (i + kAhead < n) prefetch(unpack(events[i + kAhead].data));
    PollDescriptor& descriptor = *unpack(events[i].data);
    const SpinGuard guard(descriptor.lock);  // P1
    if (pack(descriptor) != events[i].data) continue;
    if (events[i].is_over) descriptor.side(PollSide::kRead).is_over.store(true, std::memory_order_relaxed);
    if (events[i].is_readable) ready.take(descriptor.side(PollSide::kRead));
    if (events[i].is_writable) ready.take(descriptor.side(PollSide::kWrite));
  }
}

void Netpoll::interrupt() noexcept { epoll_.interrupt(); }

PollDescriptor* Netpoll::open(int fd) {
  PollDescriptor* descriptor = nullptr;
  {
    const SpinGuard guard(free_lock_);
    descriptor = free_;
    if (descriptor != nullptr) free_ = descriptor->next;
  }
  if (descriptor == nullptr) {
    auto* slab = new Slab;
    descriptor = &slab->descriptors[0];
    const SpinGuard guard(free_lock_);
    slab->next = slabs_;
    slabs_ = slab;
    for (PollDescriptor& one : std::span(slab->descriptors).subspan(1)) {
      one.next = free_;
      free_ = &one;
    }
  }
  std::uint64_t data = 0;
  {
    const SpinGuard guard(descriptor->lock);
    descriptor->fd = fd;
    descriptor->is_closing = false;
    descriptor->has_started = false;
    for (PollDescriptor::Side& side : descriptor->sides) {
      side.deadline_ns.store(kForever, std::memory_order_relaxed);
      side.is_ready = false;
      side.is_over.store(false, std::memory_order_relaxed);
    }
    data = pack(*descriptor);
  }
  // release [netpoll.opened]: publishes the descriptor to who is told of it by way of the kernel.
  opened_.fetch_add(1, std::memory_order_release);
  if (epoll_.add(fd, data)) return descriptor;
  const int error = errno;
  const SpinGuard guard(free_lock_);
  descriptor->next = free_;
  free_ = descriptor;
  errno = error;
  return nullptr;
}

void Netpoll::close(PollDescriptor& descriptor) noexcept {
  epoll_.remove(descriptor.fd);
  {
    const SpinGuard guard(descriptor.lock);
    ++descriptor.generation;
    if (descriptor.has_started) add_waiting(-1);
  }
  const SpinGuard guard(free_lock_);
  descriptor.next = free_;
  free_ = &descriptor;
}

void Netpoll::drop_starters(const Scheduler& scheduler) noexcept {
  Slab* first = nullptr;
  {
    const SpinGuard guard(free_lock_);
    first = slabs_;
  }
  for (Slab* slab = first; slab != nullptr; slab = slab->next) {
    for (PollDescriptor& descriptor : slab->descriptors) {
      const SpinGuard guard(descriptor.lock);
      for (PollDescriptor::Side& side : descriptor.sides) {
        if (side.starter != nullptr && side.starter->scheduler == &scheduler) side.starter = nullptr;
      }
    }
  }
  // Who took one before has counted itself before, with the descriptor's lock held in between.
  while (hands_over_.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

void Netpoll::add_waiting(int n) noexcept { waiting_count.fetch_add(n, std::memory_order_seq_cst); }

}  // namespace weft::detail

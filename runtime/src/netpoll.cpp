#include "netpoll.hpp"

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <type_traits>

namespace weft::detail {
namespace {

constexpr std::size_t kEvents = Netpoll::Ready::kCapacity / 2;  // each may end a wait in either direction
constexpr unsigned kTagBits = 16;                               // addresses of the process have 48
constexpr std::size_t kSlab = 64;

std::atomic<int> waiting_count{0};  // seq_cst, as all that the deadlock verdict counts

std::uint64_t pack(const PollDescriptor& descriptor) noexcept {
  return (reinterpret_cast<std::uintptr_t>(&descriptor) << kTagBits) | (descriptor.generation & ((1U << kTagBits) - 1));
}

PollDescriptor* unpack(std::uint64_t data) noexcept {
  return reinterpret_cast<PollDescriptor*>(static_cast<std::uintptr_t>(data >> kTagBits));
}

/// P2. With the lock held.
void change(PollDescriptor::Side& side, Netpoll::Ready& ready) noexcept {
  if (Waiter* waiter = side.waiters.claim_front()) {
    waiter->is_ok = true;
    ready.sleepers[ready.count++] = waiter->sleeper;
  } else {
    side.is_ready = true;
  }
}

}  // namespace

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
  const std::size_t n = epoll_.wait(events, kEvents, deadline_ns);
  for (std::size_t i = 0; i < n; ++i) {
    PollDescriptor& descriptor = *unpack(events[i].data);
    const SpinGuard guard(descriptor.lock);  // P1
    if (pack(descriptor) != events[i].data) continue;
    if (events[i].is_readable) change(descriptor.side(PollSide::kRead), ready);
    if (events[i].is_writable) change(descriptor.side(PollSide::kWrite), ready);
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
    // Never freed (poll_descriptor.hpp).
    auto* slab = new PollDescriptor[kSlab];
    descriptor = &slab[0];
    const SpinGuard guard(free_lock_);
    for (std::size_t i = 1; i < kSlab; ++i) {
      slab[i].next = free_;
      free_ = &slab[i];
    }
  }
  std::uint64_t data = 0;
  {
    const SpinGuard guard(descriptor->lock);
    descriptor->fd = fd;
    descriptor->is_closing = false;
    for (PollDescriptor::Side& side : descriptor->sides) {
      side.deadline_ns.store(kForever, std::memory_order_relaxed);
      side.is_ready = false;
    }
    data = pack(*descriptor);
  }
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
  }
  const SpinGuard guard(free_lock_);
  descriptor.next = free_;
  free_ = &descriptor;
}

void Netpoll::add_waiting(int n) noexcept { waiting_count.fetch_add(n, std::memory_order_seq_cst); }

}  // namespace weft::detail

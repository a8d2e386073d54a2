#include "netpoll_epoll.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <system_error>

#include "keep_errno.hpp"
#include "weft/detail/park.hpp"

namespace weft::detail {
namespace {

constexpr std::uint64_t kInterrupt = 0;  // no descriptor has this
constexpr std::size_t kMost = 128;

std::atomic<bool> has_pwait2{true};  // relaxed: found out by trying

int wait_for(int epoll, epoll_event* events, int capacity, std::int64_t ns) noexcept {
  if (ns != kForever && ns > 0 && has_pwait2.load(std::memory_order_relaxed)) {
    timespec timeout{};
    timeout.tv_sec = static_cast<time_t>(ns / 1'000'000'000);
    timeout.tv_nsec = static_cast<long>(ns % 1'000'000'000);
    const int n = ::epoll_pwait2(epoll, events, capacity, &timeout, nullptr);
    if (n >= 0 || errno != ENOSYS) return n;
    has_pwait2.store(false, std::memory_order_relaxed);
  }
  // In milliseconds, and never too short: who waits would come back a moment too early again and again.
  int ms = -1;
  if (ns != kForever) ms = ns <= 0 ? 0 : static_cast<int>(std::min<std::int64_t>(ns / 1'000'000 + 1, 1'000'000'000));
  return ::epoll_wait(epoll, events, capacity, ms);
}

}  // namespace

Epoll::Epoll() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;  // never read: each write is a change
  event.data.u64 = kInterrupt;
  if (epoll_ >= 0 && event_ >= 0 && ::epoll_ctl(epoll_, EPOLL_CTL_ADD, event_, &event) == 0) return;
  const int error = errno;
  if (epoll_ >= 0) ::close(epoll_);
  if (event_ >= 0) ::close(event_);
  throw std::system_error(error, std::generic_category(), "weft: no poller for files and sockets");
}

bool Epoll::add(int fd, std::uint64_t data) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET;
  event.data.u64 = data;
  return ::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void Epoll::remove(int fd) noexcept {
  const KeepErrno keep_errno;
  epoll_event unused{};
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
}

Epoll::Found Epoll::wait(PollEvent* events, std::size_t capacity, std::int64_t deadline_ns) noexcept {
  const KeepErrno keep_errno;
  epoll_event got[kMost];
  std::int64_t ns = deadline_ns;
  if (deadline_ns != kForever)
    ns = deadline_ns <= 0
             ? 0
             : std::max<std::int64_t>(0, deadline_ns - std::chrono::steady_clock::now().time_since_epoch().count());
  const int n = wait_for(epoll_, got, static_cast<int>(std::min(capacity, kMost)), ns);
  std::size_t count = 0;
  bool is_interrupted = false;
  for (int i = 0; i < n; ++i) {
    if (got[i].data.u64 == kInterrupt) {
      is_interrupted = true;
      continue;
    }
    const std::uint32_t what = got[i].events;
    // An error or the peer's going is for both to see, as in Go.
    const bool is_broken = (what & (EPOLLERR | EPOLLHUP)) != 0;
    events[count++] = {got[i].data.u64, is_broken || (what & (EPOLLIN | EPOLLRDHUP)) != 0,
                       is_broken || (what & EPOLLOUT) != 0, is_broken || (what & (EPOLLRDHUP | EPOLLPRI)) != 0};
  }
  return {count, is_interrupted};
}

void Epoll::interrupt() noexcept {
  const KeepErrno keep_errno;
  const std::uint64_t one = 1;
  // It fails only if the counter is full: then it is emptied first.
  if (::write(event_, &one, sizeof one) == static_cast<::ssize_t>(sizeof one)) return;
  std::uint64_t all = 0;
  static_cast<void>(::read(event_, &all, sizeof all));
  static_cast<void>(::write(event_, &one, sizeof one));
}

}  // namespace weft::detail

// Who wants which signal, the handler, and the thread that hands signals out. Answers to Go's os/signal and runtime/sigqueue.go.
//
// G1 The handler takes no lock: it sets the signal's bit and wakes the thread.
// G2 Bits are taken and handed out under the lock. So stop(), which first hands out what has come, can promise that nothing
//    comes after it and nothing was lost before.
// G3 The thread ends, under the lock, when there is no receiver. A handler may have been on its way since before the
//    disposition was restored, and its signal must not be lost: it would have ended the process. Handler: bit, then is_serving.
//    Thread: is_serving, then the bits. So one of the two sees the other, and whoever takes the bit sends the signal once more.

#include "weft/net/signal.hpp"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "signal_words.hpp"
#include "weft/detail/bubble.hpp"
#include "weft/detail/park.hpp"
#include "weft/error.hpp"

namespace weft::net {
namespace {

constexpr std::size_t kSignalRoom = 16;
constexpr int kLastSignal = 31;
using SignalSet = std::uint32_t;  // bit n: signal n

constexpr SignalSet bit_of(int signal) noexcept { return SignalSet{1} << static_cast<unsigned>(signal); }

template <class F>
void for_each_signal(SignalSet set, F f) {
  for (; set != 0; set &= set - 1) f(std::countr_zero(set));
}

// --- what the handler may touch ---

std::atomic<SignalSet> pending_signals{0};
std::atomic<bool> is_serving{false};
sem_t signal_bell;

void on_signal(int signal);

bool is_caught(int signal) noexcept {
  struct sigaction now = {};
  return ::sigaction(signal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == &on_signal;
}

/// One that nobody wants. If it would come here again, somebody has put our handler back after we had let go.
void send_again(int signal) noexcept {
  if (is_caught(signal)) ::signal(signal, SIG_DFL);
  ::kill(::getpid(), signal);
}

void on_signal(int signal) {
  const int saved = errno;
  // seq_cst [signals.late]: G3, all three.
  pending_signals.fetch_or(bit_of(signal), std::memory_order_seq_cst);
  if (is_serving.load(std::memory_order_seq_cst)) {
    ::sem_post(&signal_bell);
  } else if ((pending_signals.fetch_and(~bit_of(signal), std::memory_order_seq_cst) & bit_of(signal)) != 0) {
    send_again(signal);
  }
  errno = saved;
}

// --- who wants what ---

struct Receiver {
  SignalSet wanted = 0;
  Chan<int> channel = {};  // of a channel
  Context ctx = {};        // of a context
  CancelFunc cancel = {};
};

/// How the process deals with one signal.
struct Disposition {
  enum class Ours : std::uint8_t { kNo, kCaught, kIgnored };
  Ours ours = Ours::kNo;
  struct sigaction before = {};  // written before ours is installed, read by a forked child that finds it installed
};

struct Signals {
  [[nodiscard]] Disposition& disposition(int signal) noexcept { return dispositions[static_cast<std::size_t>(signal)]; }

  std::mutex lock;
  std::vector<Receiver> receivers;                          // guarded by lock
  std::array<Disposition, kLastSignal + 1> dispositions{};  // guarded by lock
  std::vector<Receiver> parents;  // in a forked child: what was there; may be broken, and is never touched
};

Signals& all_signals() {
  static auto* instance = new Signals;  // the thread may outlive every static object
  return *instance;
}

/// Contexts that signals have ended. Cancelled without the lock: that may run code of the user's.
using Ended = std::vector<std::pair<CancelFunc, int>>;

void cancel_all(const Ended& ended) {
  for (const auto& [cancel, signal] : ended) cancel(SignalReceived(signal));
}

/// With the lock held.
void hand_out(Signals& all, Ended& ended) {
  const weft::detail::NoChaos under_lock;
  // seq_cst [signals.late]: G3, as at the end of the thread.
  for_each_signal(pending_signals.exchange(0, std::memory_order_seq_cst), [&](int signal) {
    bool is_wanted = false;
    for (const Receiver& receiver : all.receivers) {
      if ((receiver.wanted & bit_of(signal)) == 0) continue;
      is_wanted = true;
      if (receiver.channel != nullptr) {
        static_cast<void>(receiver.channel.try_send(signal));
      } else {
        ended.emplace_back(receiver.cancel, signal);
      }
    }
    if (!is_wanted) send_again(signal);
  });
}

/// True: nobody wants anything any more, and the thread may go.
bool serve_once(Signals& all, Ended& ended) {
  const std::lock_guard guard(all.lock);
  hand_out(all, ended);
  if (!all.receivers.empty()) return false;
  // seq_cst [signals.late]: G3, both.
  is_serving.store(false, std::memory_order_seq_cst);
  for_each_signal(pending_signals.exchange(0, std::memory_order_seq_cst), &send_again);
  return true;
}

void serve_signals() {
  ::pthread_setname_np(::pthread_self(), "weft-signals");
  for (;;) {
    while (::sem_wait(&signal_bell) != 0) {
    }
    Ended ended;
    const bool is_over = serve_once(all_signals(), ended);
    cancel_all(ended);
    if (is_over) return;
  }
}

/// With the lock held. The thread handles nobody's signals itself.
void start_serving() {
  // relaxed: written under the lock.
  if (is_serving.load(std::memory_order_relaxed)) return;
  sigset_t every;
  sigset_t before;
  ::sigfillset(&every);
  ::pthread_sigmask(SIG_SETMASK, &every, &before);
  try {
    std::thread(&serve_signals).detach();
  } catch (...) {
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  is_serving.store(true, std::memory_order_seq_cst);  // seq_cst [signals.late]: before any handler is there
}

// --- dispositions, with the lock held ---

/// Nobody has set anything else since we did.
bool is_still_ours(int signal, const Disposition& disposition) noexcept {
  switch (disposition.ours) {
    case Disposition::Ours::kNo:
      return false;
    case Disposition::Ours::kCaught:
      return is_caught(signal);
    case Disposition::Ours::kIgnored:
      return ignored(signal);
  }
  return false;
}

void set_disposition(Signals& all, int signal, Disposition::Ours what) {
  Disposition& disposition = all.disposition(signal);
  if (!is_still_ours(signal, disposition)) ::sigaction(signal, nullptr, &disposition.before);
  disposition.ours = what;
  struct sigaction action = {};
  action.sa_handler = what == Disposition::Ours::kCaught ? &on_signal : SIG_IGN;
  action.sa_flags = SA_RESTART | SA_ONSTACK;
  ::sigfillset(&action.sa_mask);
  ::sigaction(signal, &action, nullptr);
}

/// What somebody else has set meanwhile stays.
void restore_disposition(Signals& all, int signal) {
  Disposition& disposition = all.disposition(signal);
  if (is_still_ours(signal, disposition)) ::sigaction(signal, &disposition.before, nullptr);
  disposition.ours = Disposition::Ours::kNo;
}

/// Receivers without a signal go, and signals without a receiver are let go of.
void tidy(Signals& all) {
  SignalSet wanted = 0;
  std::erase_if(all.receivers, [](const Receiver& receiver) { return receiver.wanted == 0; });
  for (const Receiver& receiver : all.receivers) wanted |= receiver.wanted;
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    if (all.disposition(signal).ours == Disposition::Ours::kCaught && (wanted & bit_of(signal)) == 0)
      restore_disposition(all, signal);
  }
  if (all.receivers.empty()) ::sem_post(&signal_bell);  // the thread ends
}

// --- the calls ---

[[noreturn]] void refuse(const char* call, const std::string& why) {
  weft::detail::throw_panic(("weft: net: " + std::string(call) + ": " + why).c_str());
}

SignalSet checked(const char* call, std::initializer_list<int> signals) {
  SignalSet set = 0;
  for (const int signal : signals) {
    if (signal < 1 || signal > kLastSignal) refuse(call, std::to_string(signal) + " is none of the signals 1 to 31");
    if (signal == SIGKILL || signal == SIGSTOP)
      refuse(call, name_of_signal(signal) + " can be neither caught nor ignored");
    if (signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL)
      refuse(call, name_of_signal(signal) + " says that the program is broken: it cannot be had as a value");
    set |= bit_of(signal);
  }
  if (set == 0) refuse(call, "no signals");
  if (weft::detail::current_bubble() != 0) refuse(call, "not in a bubble");
  return set;
}

/// In a forked child, which has one thread: gives everything a new start.
void forget_signals() noexcept {
  Signals& all = all_signals();
  for (int signal = 1; signal <= kLastSignal; ++signal) {
    if (is_caught(signal)) ::sigaction(signal, &all.disposition(signal).before, nullptr);
  }
  std::construct_at(&all.lock);
  std::construct_at(&all.parents, std::move(all.receivers));
  std::construct_at(&all.receivers);
  for (Disposition& disposition : all.dispositions) disposition.ours = Disposition::Ours::kNo;
  pending_signals.store(0, std::memory_order_relaxed);
  is_serving.store(false, std::memory_order_relaxed);
  ::sem_init(&signal_bell, 0, 0);
}

Signals& ready_signals() {
  static const int once = [] {
    static_cast<void>(all_signals());
    ::sem_init(&signal_bell, 0, 0);
    return ::pthread_atfork(nullptr, nullptr, &forget_signals);
  }();
  static_cast<void>(once);
  return all_signals();
}

void add_receiver(Receiver receiver) {
  Signals& all = ready_signals();
  const std::lock_guard guard(all.lock);
  start_serving();
  const SignalSet wanted = receiver.wanted;
  const auto known = std::find_if(all.receivers.begin(), all.receivers.end(), [&](const Receiver& other) {
    return receiver.channel != nullptr && other.channel == receiver.channel;
  });
  if (known != all.receivers.end()) {
    known->wanted |= wanted;
  } else {
    all.receivers.push_back(std::move(receiver));
  }
  for_each_signal(wanted, [&](int signal) { set_disposition(all, signal, Disposition::Ours::kCaught); });
}

/// Hands out what has come, then `change(all)`.
template <class Change>
void change_receivers(Change change) {
  Signals& all = ready_signals();
  Ended ended;
  std::vector<Receiver> before;  // destroyed without the lock
  {
    const std::lock_guard guard(all.lock);
    hand_out(all, ended);
    before = all.receivers;
    change(all);
    tidy(all);
  }
  cancel_all(ended);
}

}  // namespace

void notify(const Chan<int>& channel, std::initializer_list<int> signals) {
  if (channel == nullptr) refuse("notify", "a nil channel");
  add_receiver({.wanted = checked("notify", signals), .channel = channel});
}

RecvChan<int> notify(std::initializer_list<int> signals) {
  Chan<int> channel = make_chan<int>(kSignalRoom);
  notify(channel, signals);
  return channel;
}

void stop(const RecvChan<int>& channel) {
  if (channel == nullptr) return;
  change_receivers([&](Signals& all) {
    std::erase_if(all.receivers, [&](const Receiver& receiver) { return receiver.channel == channel; });
  });
}

void ignore(std::initializer_list<int> signals) {
  const SignalSet set = checked("ignore", signals);
  change_receivers([set](Signals& all) {
    for (Receiver& receiver : all.receivers) receiver.wanted &= ~set;
    for_each_signal(set, [&](int signal) { set_disposition(all, signal, Disposition::Ours::kIgnored); });
  });
}

bool ignored(int signal) noexcept {
  struct sigaction now = {};
  return ::sigaction(signal, nullptr, &now) == 0 && (now.sa_flags & SA_SIGINFO) == 0 && now.sa_handler == SIG_IGN;
}

void reset(std::initializer_list<int> signals) {
  const SignalSet set = checked("reset", signals);
  change_receivers([set](Signals& all) {
    for (Receiver& receiver : all.receivers) receiver.wanted &= ~set;
    for_each_signal(set, [&](int signal) { restore_disposition(all, signal); });
  });
}

SignalReceived::SignalReceived(int signal)
    : std::runtime_error(describe_signal(signal) + " signal received (" + name_of_signal(signal) + ")"),
      signal_(signal) {}

struct SignalStop::State {
  Context ctx;
  CancelFunc cancel;
  std::atomic<bool> stops_at_end{true};

  void stop() const {
    change_receivers([this](Signals& all) {
      std::erase_if(all.receivers, [this](const Receiver& receiver) { return receiver.ctx == ctx; });
    });
    cancel();
  }
  ~State() {
    // relaxed: the last copy's end comes after every use.
    if (stops_at_end.load(std::memory_order_relaxed)) {
      stop();
    } else {
      cancel.release();
    }
  }
};

void SignalStop::operator()() const {
  if (state_ != nullptr) state_->stop();
}

void SignalStop::release() const noexcept {
  if (state_ != nullptr) state_->stops_at_end.store(false, std::memory_order_relaxed);  // relaxed: as in the destructor
}

std::pair<Context, SignalStop> notify_context(const Context& parent, std::initializer_list<int> signals) {
  const SignalSet set = checked("notify_context", signals);
  auto [ctx, cancel] = with_cancel(parent);
  auto state = std::make_shared<SignalStop::State>();
  state->ctx = ctx;
  state->cancel = cancel;
  add_receiver({.wanted = set, .ctx = ctx, .cancel = cancel});
  return {std::move(ctx), SignalStop(std::move(state))};
}

}  // namespace weft::net

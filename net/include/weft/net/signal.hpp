#pragma once

// Signals as values of a channel, and as the end of a context. Go: os/signal.
//
// While anybody wants a signal, its default action (to end the process, mostly) is off. The handler only notes the signal's
// number; a thread of weft's own, which exists only meanwhile, hands it out. That thread is one that may wake goroutines
// at any time, so no deadlock is reported while signals are wanted, as in Go.
//
// Signals are 1 to 31. Not to be had: SIGKILL and SIGSTOP, which nobody can catch; SIGSEGV, SIGBUS, SIGFPE and SIGILL, which
// say that the program itself is broken, and are weft's and the host's to report; and real-time signals, whose queue of
// values a channel that drops some would break. To ask for one of these throws Panic. SIGQUIT and others may also be
// given to weft::dump_on_signal: who asks last has the signal, and stop() and reset() undo nothing that came after.
//
// Everything here is safe from any goroutine and thread, but not in a bubble (weft::testing::run), where nothing from
// outside may happen: Panic. A forked child has the dispositions that were there before, and none of the receivers; it
// may have its own. A program that is started by exec has the defaults.

#include <concepts>
#include <csignal>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <utility>

#include "weft/chan.hpp"
#include "weft/context.hpp"

namespace weft::net {

/// From now on each of these signals is sent to the channel as well, beside all others that want it. Delivery never waits: if
/// there is no room at that moment, this receiver misses the signal. So give the channel room, for one value at least. Again
/// with the same channel: more signals for it. The channel must not be closed before stop().
/// Throws: Panic (see above); std::system_error if no thread can be had. Go: signal.Notify.
void notify(const Chan<int>& channel, std::initializer_list<int> signals);
/// The same with a new channel, which has room for 16: auto signals = notify(SIGINT, SIGTERM); signals.recv();
/// It gets them until stop(signals), also when nobody has the channel any more.
[[nodiscard]] RecvChan<int> notify(std::initializer_list<int> signals);
template <std::same_as<int>... Signals>
  requires(sizeof...(Signals) > 0)
[[nodiscard]] RecvChan<int> notify(Signals... signals) {
  return notify({signals...});
}

/// The channel gets no more signals, but has all that came before the call (as far as there was room). The channel stays
/// open. A signal that nobody wants any more does again what it did before it was asked for. Go: signal.Stop.
void stop(const RecvChan<int>& channel);

/// Nobody gets these signals any more, and the process ignores them, until somebody wants them again, or reset().
/// Go: signal.Ignore.
void ignore(std::initializer_list<int> signals);
template <std::same_as<int>... Signals>
  requires(sizeof...(Signals) > 0)
void ignore(Signals... signals) {
  ignore({signals...});
}
/// Whether the process ignores the signal, by whoever's doing. Go: signal.Ignored.
[[nodiscard]] bool ignored(int signal) noexcept;

/// Undoes what notify(), notify_context() and ignore() did to these signals, for everybody. Go: signal.Reset.
void reset(std::initializer_list<int> signals);
template <std::same_as<int>... Signals>
  requires(sizeof...(Signals) > 0)
void reset(Signals... signals) {
  reset({signals...});
}

/// The cause of a context that a signal has ended: "interrupt signal received (SIGINT)".
class SignalReceived : public std::runtime_error {
 public:
  explicit SignalReceived(int signal);
  [[nodiscard]] int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

/// Ends a context of notify_context(), which gets no more signals from then on. Copies do the same; the last one that is
/// destroyed does it too (as if by `defer stop()`). Calling it again does nothing.
class [[nodiscard]] SignalStop {
 public:
  SignalStop() noexcept = default;
  void operator()() const;
  /// The end of the last copy does nothing any more: for helpers that hand out only the context.
  void release() const noexcept;

  struct State;
  explicit SignalStop(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}  // for weft only

 private:
  std::shared_ptr<State> state_;
};

/// A context that ends when one of these signals comes, with SignalReceived as its cause; when its SignalStop is called; or
/// with its parent. The signals stay without their default action until SignalStop, also when the context has ended: call
/// it first thing then, and a second Ctrl-C ends a program that takes too long to finish.
/// What runs in whoever cancels (a stop_token's callbacks) runs on weft's thread, and holds up other signals.
/// Go: signal.NotifyContext.
[[nodiscard]] std::pair<Context, SignalStop> notify_context(const Context& parent, std::initializer_list<int> signals);
template <std::same_as<int>... Signals>
  requires(sizeof...(Signals) > 0)
[[nodiscard]] std::pair<Context, SignalStop> notify_context(const Context& parent, Signals... signals) {
  return notify_context(parent, {signals...});
}

}  // namespace weft::net

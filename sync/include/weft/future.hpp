#pragma once

// Future: a result that somebody else is working on. async: runs a function in a goroutine and hands out its result.

#include <chrono>
#include <concepts>
#include <type_traits>
#include <utility>

#include "weft/chan.hpp"
#include "weft/context.hpp"
#include "weft/detail/future_state.hpp"
#include "weft/go.hpp"
#include "weft/select.hpp"
#include "weft/time.hpp"

namespace weft {

/// The result, a value or an exception, of a function that runs elsewhere: of async(), or of a WorkerPool's job. Move-only.
/// T may be void or a reference.
///
/// Dropping a Future neither waits nor stops the work; a result that nobody collects is destroyed, an exception too. The
/// const members may be used from several goroutines and threads at once, get() and moves by one alone.
/// Ordering: the end of the function, and of its captures' destructors, happens before each return that says it is ready.
/// If the runtime on which the function runs is stopped before its end, the Future never becomes ready.
/// Go: a goroutine that sends its result into a channel of capacity 1.
template <class T>
class Future {
 public:
  /// Empty: valid() is false.
  Future() noexcept = default;
  Future(Future&&) noexcept = default;
  Future& operator=(Future&&) noexcept = default;
  Future(const Future&) = delete;
  Future& operator=(const Future&) = delete;
  ~Future() = default;

  /// Whether it has a result to wait for: false if default-constructed, moved from, or consumed by get().
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }

  /// Waits, and consumes: returns the value or rethrows the exception. Afterwards the Future is empty.
  /// Blocks: until the function has ended. Throws: what the function threw; Panic if the function ended by exit_goroutine,
  /// or if the Future is empty; std::system_error with errc::canceled for a WorkerPool's job that was cancelled.
  T get() {
    detail::StateRef<State> state = std::exchange(state_, detail::StateRef<State>());
    check(state, "weft: Future::get: the future is empty, or get() was called before");
    static_cast<void>(state->wait({}));
    return state->outcome.get();
  }

  /// Blocks until the result is there. Throws: Panic if the Future is empty.
  void wait() const { static_cast<void>(checked("weft: Future::wait: the future is empty").wait({})); }
  /// The same for at most d: whether it is there.
  template <class Rep, class Period>
  bool wait_for(std::chrono::duration<Rep, Period> d) const {
    State& state = checked("weft: Future::wait_for: the future is empty");
    return state.wait({.deadline_ns = detail::deadline_after(detail::saturated_ns(d))});
  }
  /// The same unless ctx is done, or is done first: whether it is there. A context that is done already always wins.
  bool wait(const Context& ctx) const {
    State& state = checked("weft: Future::wait: the future is empty");
    return !ctx.is_done() && state.wait({.done = ctx.done_core()});
  }
  /// Whether the result is there. Never blocks. Throws: Panic if the Future is empty.
  [[nodiscard]] bool ready() const { return checked("weft: Future::ready: the future is empty").is_ready(); }

  /// A select case that goes once the result is there: handler() or nothing. It does not consume: get() follows. The case
  /// of an empty Future never goes, as that of a nil channel. Throws: std::bad_alloc; the first call allocates a channel.
  template <class Handler = detail::NoHandler>
    requires std::invocable<std::decay_t<Handler>&>
  [[nodiscard]] RecvCase<Unit, std::decay_t<Handler>> on_ready(Handler&& handler = {}) const {
    return {state_ ? state_->done() : nullptr, std::forward<Handler>(handler)};
  }

  // For weft only.
  using State = detail::FutureState<T>;
  explicit Future(detail::StateRef<State> state) noexcept : state_(std::move(state)) {}

 private:
  static void check(const detail::StateRef<State>& state, const char* what) {
    if (!state) detail::throw_panic(what);
  }
  State& checked(const char* what) const {
    check(state_, what);
    return *state_;
  }
  detail::StateRef<State> state_;
};

namespace detail {
template <class F>
[[gnu::always_inline]] inline auto async_with(const GoOptions* options, F&& f) -> Future<FutureResult<F>> {
  auto job = detail::make_function_state(current_bubble(), std::forward<F>(f));
  Future<FutureResult<F>> future(job.second());
  detail::spawn_job(options, std::move(job));
  return future;
}
}  // namespace detail

/// Starts f as a goroutine, as go() does, and returns its result-to-be. f is moved or copied now; it is destroyed before the
/// Future is ready. An exception that leaves f goes to the Future; it does not end the process.
/// Blocks: never. Throws: as go(). Cost: one allocation, for function, result and waiters together.
template <class F>
  requires detail::Spawnable<F>
[[nodiscard, gnu::always_inline]] inline auto async(F&& f) -> Future<detail::FutureResult<F>> {
  return detail::async_with(nullptr, std::forward<F>(f));
}
/// The same with a name (for reports) or a stack size of its own.
template <class F>
  requires detail::Spawnable<F>
[[nodiscard, gnu::always_inline]] inline auto async(const GoOptions& options, F&& f)
    -> Future<detail::FutureResult<F>> {
  return detail::async_with(&options, std::forward<F>(f));
}

}  // namespace weft

#pragma once

// Once: something that is done once, whoever comes first; and functions that are called once.

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/detail/spawn.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/error.hpp"

namespace weft {

/// Runs one function, once. Unlike with std::call_once a function that throws (or calls exit_goroutine) counts as done.
/// Safe from: any number of goroutines and threads. It may be destroyed when a call() has returned and nobody else is about
/// to call. Ordering: the function's end happens before the return of every call(). Go: sync.Once.
class Once {
 public:
  constexpr Once() noexcept = default;
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  /// Runs f, unless some function has been run or is being run. Blocks: until that has ended; so f must not call this again
  /// (it would wait for itself for ever). Throws: what f throws, if it is f that is run; Panic if f is null, which counts as
  /// done too. Cost: one load once it is done.
  template <class F>
    requires std::is_invocable_v<F>
  void call(F&& f) {
    // acquire [once]: pairs with the release in finish().
    if (state_.load(std::memory_order_acquire) == kDone || !begin()) return;
    const Finish finish{*this};
    if (detail::is_nil_callable<std::remove_cvref_t<F>>(f)) detail::throw_panic(kNilFunction);
    static_cast<void>(detail::invoke(std::forward<F>(f)));
  }

 private:
  struct Wait;
  struct Finish {
    Once& once;
    ~Finish() { once.finish(); }
  };
  static constexpr const char* kNilFunction = "weft: Once: call of a null function";
  static constexpr std::uint32_t kNew = 0;
  static constexpr std::uint32_t kRunning = 1;
  static constexpr std::uint32_t kLocked = 2;  // running, and somebody is at waiters_
  static constexpr std::uint32_t kDone = 3;

  bool begin() noexcept;
  void finish() noexcept;
  bool lock_queue() noexcept;

  std::atomic<std::uint32_t> state_{kNew};
  detail::WaitQueue waiters_;  // guarded by kLocked
};

namespace detail {

/// The exception being handled, for others to rethrow; a Panic in the place of what ends a goroutine.
std::exception_ptr keep_exception() noexcept;

struct Nothing {};

/// A function and what became of it, shared by all copies of an OnceFunc.
template <class F, class R>
class OnceCall {
 public:
  template <class G>
  explicit OnceCall(G&& f) : f_(std::in_place, std::forward<G>(f)) {}

  /// Runs it unless it has been run; rethrows what it threw.
  const R& get() {
    once_.call([this] { run(); });
    if (error_ != nullptr) std::rethrow_exception(error_);
    return *value_;
  }

 private:
  void run() {
    struct Drop {
      std::optional<F>& f;
      ~Drop() { f.reset(); }
    } drop{f_};
    try {
      if (detail::is_nil_callable<F>(*f_)) detail::throw_panic("weft: once_func: call of a null function");
      if constexpr (std::is_same_v<R, Nothing>) {
        static_cast<void>(detail::invoke(*f_));
        value_.emplace();
      } else if constexpr (std::is_reference_v<std::invoke_result_t<F&>>) {
        value_.emplace(std::addressof(detail::invoke(*f_)));
      } else {
        value_.emplace(detail::invoke(*f_));
      }
    } catch (...) {
      error_ = detail::keep_exception();
      throw;
    }
  }

  Once once_;
  std::optional<F> f_;  // whoever runs it; gone when once_ is done
  std::optional<R> value_;
  std::exception_ptr error_;
};

}  // namespace detail

/// What once_func returns. Copies share the one call.
template <class F>
class OnceFunc {
 public:
  /// Runs the function unless it has been run. Blocks: until it has ended. Throws: what it threw, each time.
  void operator()() const { static_cast<void>(call_->get()); }

  template <class G>
  explicit OnceFunc(std::in_place_t, G&& f) : call_(std::make_shared<Call>(std::forward<G>(f))) {}

 private:
  using Call = detail::OnceCall<F, detail::Nothing>;
  std::shared_ptr<Call> call_;
};

/// What once_value returns. Copies share the one call and its value.
template <class F>
class OnceValue {
  using Result = std::invoke_result_t<F&>;
  static constexpr bool kIsReference = std::is_reference_v<Result>;
  using Stored = std::conditional_t<kIsReference, std::remove_reference_t<Result>*, std::remove_cv_t<Result>>;

 public:
  using Value = std::conditional_t<kIsReference, Result, const Stored&>;
  /// The function's result: what it refers to if that is a reference, else a reference to the one that is kept with this object
  /// and its copies. Runs the function unless it has been run. Blocks: until it has ended. Throws: what it threw, each time.
  Value operator()() const {
    if constexpr (kIsReference) {
      return static_cast<Value>(*call_->get());
    } else {
      return call_->get();
    }
  }

  template <class G>
  explicit OnceValue(std::in_place_t, G&& f) : call_(std::make_shared<Call>(std::forward<G>(f))) {}

 private:
  using Call = detail::OnceCall<F, Stored>;
  std::shared_ptr<Call> call_;
};

/// A function object that calls f the first time, and does nothing from then on; if f threw, every call throws the same
/// exception object (share it as const). f is destroyed as soon as it has been run, before any call returns. Safe from: any
/// number of goroutines and threads. If f ends its goroutine (exit_goroutine), later calls throw Panic. Go: sync.OnceFunc.
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&>
[[nodiscard]] OnceFunc<std::decay_t<F>> once_func(F&& f) {
  return OnceFunc<std::decay_t<F>>(std::in_place, std::forward<F>(f));
}

/// The same for a function with a result, which is kept. Go: sync.OnceValue (for OnceValues, return a tuple).
template <class F>
  requires std::is_invocable_v<std::decay_t<F>&> && (!std::is_void_v<std::invoke_result_t<std::decay_t<F>&>>)
[[nodiscard]] OnceValue<std::decay_t<F>> once_value(F&& f) {
  return OnceValue<std::decay_t<F>>(std::in_place, std::forward<F>(f));
}

}  // namespace weft

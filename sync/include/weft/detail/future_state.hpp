#pragma once

// What a Future waits for: a result that comes once. Also what a WorkerPool queues: the function, its result and those who
// wait for it are one allocation.
//
// F1 The state is counted. Whoever brings the result holds a reference until it has woken everybody, so a Future may go the
//    moment its wait has ended (HZ-5).
// F2 The outcome is written before complete(), once, and read only by those who saw is_ready().
// F3 A function is destroyed, with all it captured, before complete().

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <type_traits>
#include <utility>

#include "weft/detail/bubble.hpp"
#include "weft/detail/chan_core.hpp"
#include "weft/detail/limited_park.hpp"
#include "weft/detail/spawn.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/detail/waiter.hpp"
#include "weft/runtime.hpp"

namespace weft::detail {

class FutureCore {
 public:
  explicit FutureCore(std::uint32_t bubble = current_bubble()) noexcept : bubble_(bubble) {}
  FutureCore(const FutureCore&) = delete;
  FutureCore& operator=(const FutureCore&) = delete;

  void retain() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has a reference
  }
  /// The same for the first of them, while nobody else knows this state.
  void retain_unshared() noexcept { references_.store(2, std::memory_order_relaxed); }
  void release() noexcept {
    // acquire, acq_rel [future.refs]: what each holder did happens before the last one destroys. Who has the only reference
    // is the last already: nobody else can make another.
    if (references_.load(std::memory_order_acquire) == 1 || references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete this;
    }
  }

  /// Once it is true, the done channel is closed as well.
  [[nodiscard]] bool is_ready() const noexcept;
  /// True if it is ready, false if the limit came first.
  bool wait(const Limit& limit) noexcept;
  /// Closed when it is ready; made on first use. Lives as long as the state. Throws: std::bad_alloc.
  ChanCore* done();
  /// By whoever brings the result, after the outcome was written. Called once.
  void complete() noexcept;

 protected:
  virtual ~FutureCore();

 private:
  Spinlock lock_;
  std::atomic<bool> is_complete_{false};  // written under lock_. release [future.complete]: publishes the outcome
  WaitQueue waiters_;                     // guarded by lock_
  std::atomic<ChanCore*> done_{nullptr};  // written under lock_. release [future.done]: publishes the channel
  std::atomic<std::uint32_t> references_{1};
  const std::uint32_t bubble_;  // of whoever brings the result; 0: somebody outside
};

/// A counted reference to a state.
template <class State>
class StateRef {
 public:
  StateRef() noexcept = default;
  explicit StateRef(State* adopted) noexcept : state_(adopted) {}
  StateRef(const StateRef& other) noexcept : state_(other.state_) {
    if (state_ != nullptr) state_->retain();
  }
  StateRef(StateRef&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  template <class Derived>
    requires std::is_base_of_v<State, Derived>
  StateRef(StateRef<Derived> other) noexcept : state_(other.give_up()) {}
  StateRef& operator=(StateRef other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~StateRef() {
    if (state_ != nullptr) state_->release();
  }

  /// A second reference to a state that nobody else knows yet: without an atomic operation.
  [[nodiscard]] StateRef second() const noexcept {
    state_->retain_unshared();
    return StateRef(state_);
  }
  [[nodiscard]] State* get() const noexcept { return state_; }
  [[nodiscard]] State* give_up() noexcept { return std::exchange(state_, nullptr); }
  State* operator->() const noexcept { return state_; }
  State& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }
  friend bool operator==(const StateRef& a, const StateRef& b) noexcept { return a.state_ == b.state_; }

 private:
  State* state_ = nullptr;
};

/// Whether a function ran to its end, and how.
enum class JobEnd : std::uint8_t { kReturned, kThrew, kExited };

/// A function whose result somebody may wait for. Exactly one of execute() and cancel() is called; complete() follows.
class Job : public FutureCore {
 public:
  using FutureCore::FutureCore;
  /// Runs the function and destroys it. kExited: it ended by exit_goroutine, which this call has stopped: whoever made the
  /// goroutine ends it or goes on with other work.
  virtual JobEnd execute() noexcept = 0;
  /// Destroys the function; the result is this error.
  virtual void cancel(std::exception_ptr error) noexcept = 0;
};

/// The result of a future whose function ended by exit_goroutine.
std::exception_ptr exited_error();

template <class T>
class FutureState : public Job {
 public:
  using Job::Job;
  Outcome<T> outcome;  // F2
};

template <class T, class F>
class FunctionState final : public FutureState<T> {
 public:
  template <class From>
  explicit FunctionState(std::uint32_t bubble, From&& f) : FutureState<T>(bubble), f_(std::forward<From>(f)) {}

  JobEnd execute() noexcept override {
    JobEnd end = JobEnd::kReturned;
    try {
      this->outcome.run([this]() -> decltype(auto) { return detail::invoke(std::move(f_)); });
    } catch (const GoroutineExit&) {
      this->outcome.fail(exited_error());
      end = JobEnd::kExited;
    } catch (...) {
      this->outcome.fail(std::current_exception());
      end = JobEnd::kThrew;
    }
    drop();
    return end;
  }
  void cancel(std::exception_ptr error) noexcept override {
    drop();
    this->outcome.fail(std::move(error));
  }
  /// Moves the function back to where it came from: nobody took the job.
  void give_back(F& from) noexcept {
    std::destroy_at(&from);
    std::construct_at(&from, std::move(f_));
    drop();
  }

 private:
  ~FunctionState() override {
    if (has_function_) drop();
  }
  void drop() noexcept {
    has_function_ = false;
    std::destroy_at(&f_);
  }
  // In a union: it goes when it has run, where it is (to move it away would leave its const captures behind).
  union {
    F f_;
  };
  bool has_function_ = true;
};

/// What f() results in, as a Future's argument.
template <class F>
using FutureResult = std::remove_cv_t<std::invoke_result_t<std::decay_t<F>>>;

template <class F>
[[nodiscard]] auto make_function_state(std::uint32_t bubble, F&& f) {
  using State = FunctionState<FutureResult<F>, std::decay_t<F>>;
  if (detail::is_nil_callable<std::decay_t<F>>(f)) detail::fatal("go of nil func value");
  return StateRef<State>(new State(bubble, std::forward<F>(f)));
}

/// Runs the job in a goroutine of its own.
template <class State>
[[gnu::always_inline]] inline void spawn_job(const GoOptions* options, StateRef<State> job) {
  detail::spawn(nullptr, options, [job = StateRef<Job>(std::move(job))]() noexcept {
    static_cast<void>(job->execute());  // after exit_goroutine too there is nothing more for this goroutine to do
    job->complete();
  });
}

}  // namespace weft::detail

#pragma once

// Context: says to everything that works on one request that it is over, why, and by when; and carries its values.

#include <chrono>
#include <concepts>
#include <exception>
#include <optional>
#include <stop_token>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

#include "weft/chan.hpp"
#include "weft/detail/context_node.hpp"
#include "weft/errc.hpp"
#include "weft/time.hpp"

namespace weft {

/// A handle on one node of a tree of contexts; copies refer to the same node. A node is done when its own CancelFunc was
/// called, its deadline has passed, or its parent is done: then everything below it is done too, and stays so.
///
/// Default-constructed it is nil: never done, without values, and nothing can be derived from it (Panic).
/// Safe from: any number of goroutines and threads at once. Starts no goroutine, but that an expired deadline is carried out
/// by one. Go: context.Context.
class Context {
 public:
  Context() noexcept = default;
  Context(const Context& other) noexcept : node_(other.node_) {
    if (node_ != nullptr) node_->retain();
  }
  Context(Context&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  Context& operator=(Context other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~Context() {
    if (node_ != nullptr) detail::ContextNode::release(node_);
  }

  /// The channel that is closed when the context is done; the same one each time. The nil channel if it can never be done.
  /// Throws: std::bad_alloc; the first call allocates. Go: ctx.Done().
  [[nodiscard]] RecvChan<Unit> done() const;
  /// Whether it is done. Cost: one load.
  [[nodiscard]] bool is_done() const noexcept { return err_code() != errc::none; }
  /// errc::canceled or errc::deadline_exceeded once it is done, and never before done() is closed; false until then.
  [[nodiscard]] std::error_code err() const noexcept { return make_error_code(err_code()); }
  /// Why it is done: what was given to the CancelFunc or to a _cause form, else err() as a std::system_error. Null until
  /// then, never null afterwards. Go: context.Cause(ctx).
  [[nodiscard]] std::exception_ptr cause() const;
  /// When it will be done at the latest, if that is known. The answer never changes.
  [[nodiscard]] std::optional<TimePoint> deadline() const noexcept;
  /// The value stored nearest under this key; null if none is. Lives as long as any context below the one that stores it.
  /// Cost: linear in the depth. Go: ctx.Value(key).
  template <class Key>
  [[nodiscard]] const typename Key::type* value() const noexcept {
    if (node_ == nullptr) return nullptr;
    return static_cast<const typename Key::type*>(node_->find(&detail::kContextKey<Key>));
  }
  /// A token that is asked to stop when the context is done. Its callbacks run in whoever cancels, after every context
  /// below is done. Throws: std::bad_alloc.
  [[nodiscard]] std::stop_token stop_token() const;
  /// Throws std::system_error(err()) if it is done.
  void throw_if_done() const;

  /// A select case: goes once the context is done. handler() or nothing.
  template <class Handler = detail::NoHandler>
    requires std::invocable<std::decay_t<Handler>&>
  [[nodiscard]] RecvCase<Unit, std::decay_t<Handler>> on_done(Handler&& handler = {}) const {
    return {done_core(), std::forward<Handler>(handler)};
  }

  /// "context.Background", "context.Background.WithCancel" ... for logs.
  [[nodiscard]] std::string name() const;

  /// The same node, or both nil.
  friend bool operator==(const Context& a, const Context& b) noexcept { return a.node_ == b.node_; }
  /// Whether it is nil.
  friend bool operator==(const Context& a, std::nullptr_t) noexcept { return a.node_ == nullptr; }

  // For weft only.
  explicit Context(detail::ContextNode* adopted) noexcept : node_(adopted) {}
  [[nodiscard]] detail::ContextNode* node() const noexcept { return node_; }
  /// Null: can never be done. Lives as long as the context.
  [[nodiscard]] detail::ChanCore* done_core() const;

 private:
  [[nodiscard]] errc err_code() const noexcept {
    if (node_ == nullptr || node_->canceller() == nullptr) return errc::none;
    return node_->canceller()->reason();
  }
  detail::ContextNode* node_ = nullptr;
};

/// Ends a context and everything below it. Copies refer to the same context; when the last one is destroyed, the context
/// ends too (as if by `defer cancel()`). Calling it again does nothing. It does not wait for anybody's work to stop.
/// Safe from: any goroutine or thread. Throws: Panic from outside the bubble (weft::testing::run) it was made in.
/// Cost: linear in what hangs below. Go: context.CancelFunc, context.CancelCauseFunc.
class [[nodiscard]] CancelFunc {
 public:
  CancelFunc() noexcept = default;
  CancelFunc(const CancelFunc& other) noexcept;
  CancelFunc(CancelFunc&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
  CancelFunc& operator=(CancelFunc other) noexcept {
    std::swap(node_, other.node_);
    return *this;
  }
  ~CancelFunc();

  void operator()() const { cancel(nullptr); }
  /// With a cause, for Context::cause(); null: errc::canceled.
  void operator()(const std::exception_ptr& cause) const { cancel(cause); }
  /// With a copy of this exception as the cause.
  template <std::derived_from<std::exception> E>
  void operator()(const E& cause) const {
    cancel(std::make_exception_ptr(cause));
  }

  /// The context does not end any more with the last copy: for helpers that hand out only the context.
  void release() const noexcept {
    if (node_ != nullptr) node_->keep_after_handles();
  }

  // For weft only: the first handle, which the node has counted.
  explicit CancelFunc(detail::CancelNode& node) noexcept;

 private:
  void cancel(const std::exception_ptr& cause) const;
  detail::CancelNode* node_ = nullptr;
};

/// Never done, without values: where a tree begins. Go: context.Background.
[[nodiscard]] Context background() noexcept;
/// The same, where it is not clear yet which context to use. Go: context.TODO.
[[nodiscard]] Context todo() noexcept;

using CancelPair = std::pair<Context, CancelFunc>;

namespace detail {
CancelPair make_deadline(const Context& parent, std::int64_t deadline_ns, std::exception_ptr cause);
/// That long from now, which may be in the past.
std::int64_t timeout_deadline(std::int64_t timeout_ns) noexcept;
bool sleep_until_ns(const Context& ctx, std::int64_t deadline_ns);
/// Throws Panic "cannot create context from nil parent".
ContextNode& check_parent(const Context& parent);

/// A function that hangs in a context's list of listeners until the context is done. The list holds a reference.
class AfterDone : public CancelListener {
 public:
  explicit AfterDone(const Context& context) : context_(context) {}
  void start();
  /// True if this call kept it from running.
  bool stop() noexcept;
  void retain() noexcept {
    references_.fetch_add(1, std::memory_order_relaxed);
  }  // relaxed: the caller has a reference
  void let_go() noexcept override {
    // acq_rel [after_done.refs]: what each holder did happens before the last one destroys.
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  enum class State : std::uint8_t { kPending, kStarted, kStopped };
  struct Run;

  /// Runs the function and destroys it.
  virtual void call() = 0;
  /// Destroys it without running it.
  virtual void drop() noexcept = 0;
  bool try_begin(State state) noexcept;
  bool launch() noexcept;
  bool try_keep() noexcept override { return true; }  // the list's reference goes to whoever took the list
  bool hear(CancelWalk& walk) noexcept override;
  void finish() noexcept override;

  const Context context_;
  std::atomic<State> state_{State::kPending};
  std::atomic<std::uint32_t> references_{1};
};

template <class F>
class AfterDoneFunction final : public AfterDone {
 public:
  template <class G>
  AfterDoneFunction(const Context& context, G&& f) : AfterDone(context), f_(std::in_place, std::forward<G>(f)) {}

 private:
  void call() override {
    struct Drop {
      std::optional<F>& f;
      ~Drop() { f.reset(); }
    } drop{f_};
    static_cast<void>(detail::invoke(std::move(*f_)));
  }
  void drop() noexcept override { f_.reset(); }
  std::optional<F> f_;
};
}  // namespace detail

/// A context that ends with its parent or when its CancelFunc is called, whichever comes first.
/// Throws, as all that derive: Panic "cannot create context from nil parent"; std::bad_alloc. Go: context.WithCancel.
[[nodiscard]] CancelPair with_cancel(const Context& parent);
/// The same: any CancelFunc takes a cause. Go: context.WithCancelCause.
[[nodiscard]] inline CancelPair with_cancel_cause(const Context& parent) { return with_cancel(parent); }

/// Ends at t as well, with errc::deadline_exceeded; at once if t has passed. If the parent's deadline is earlier this is
/// with_cancel(parent). The runtime of the caller keeps the time, and the deadline is lost if it is destroyed before.
/// Go: context.WithDeadline.
[[nodiscard]] inline CancelPair with_deadline(const Context& parent, TimePoint t) {
  return detail::make_deadline(parent, t.time_since_epoch().count(), nullptr);
}
/// With a cause for the case that the deadline ends it; an earlier deadline of the parent's drops it. Null: none.
[[nodiscard]] inline CancelPair with_deadline_cause(const Context& parent, TimePoint t, std::exception_ptr cause) {
  return detail::make_deadline(parent, t.time_since_epoch().count(), std::move(cause));
}
template <std::derived_from<std::exception> E>
[[nodiscard]] CancelPair with_deadline_cause(const Context& parent, TimePoint t, const E& cause) {
  return with_deadline_cause(parent, t, std::make_exception_ptr(cause));
}

/// with_deadline, d from now. Go: context.WithTimeout.
template <class Rep, class Period>
[[nodiscard]] CancelPair with_timeout(const Context& parent, std::chrono::duration<Rep, Period> d) {
  return detail::make_deadline(parent, detail::timeout_deadline(detail::saturated_ns(d)), nullptr);
}
template <class Rep, class Period>
[[nodiscard]] CancelPair with_timeout_cause(const Context& parent, std::chrono::duration<Rep, Period> d,
                                            std::exception_ptr cause) {
  return detail::make_deadline(parent, detail::timeout_deadline(detail::saturated_ns(d)), std::move(cause));
}
template <class Rep, class Period, std::derived_from<std::exception> E>
[[nodiscard]] CancelPair with_timeout_cause(const Context& parent, std::chrono::duration<Rep, Period> d,
                                            const E& cause) {
  return with_timeout_cause(parent, d, std::make_exception_ptr(cause));
}

/// A context that has v under Key, which is a type with a member `type`: struct UserId { using type = int; };
/// It hides a value that the parent has under the same key. Go: context.WithValue.
template <class Key>
[[nodiscard]] Context with_value(const Context& parent, typename Key::type v) {
  return Context(
      new detail::ValueNode<typename Key::type>(detail::check_parent(parent), &detail::kContextKey<Key>, std::move(v)));
}

/// The parent's values, but never done. Go: context.WithoutCancel.
[[nodiscard]] Context without_cancel(const Context& parent);

/// A context that is done when the token's source is asked to stop; whoever asks carries it out. While it lives no deadlock
/// is reported, for the stop may come from outside.
[[nodiscard]] Context from_stop_token(std::stop_token token);

/// Keeps the function of an after_func from running. A handle; dropping it changes nothing.
class StopFunc {
 public:
  StopFunc() noexcept = default;
  StopFunc(const StopFunc& other) noexcept : call_(other.call_) {
    if (call_ != nullptr) call_->retain();
  }
  StopFunc(StopFunc&& other) noexcept : call_(std::exchange(other.call_, nullptr)) {}
  StopFunc& operator=(StopFunc other) noexcept {
    std::swap(call_, other.call_);
    return *this;
  }
  ~StopFunc() {
    if (call_ != nullptr) call_->let_go();
  }
  /// True if f will not run because of this call. False if it was started (this does not wait for it) or had been stopped.
  bool operator()() const noexcept { return call_ != nullptr && call_->stop(); }

  // For weft only.
  explicit StopFunc(detail::AfterDone* adopted) noexcept : call_(adopted) {}
  void start() const { call_->start(); }

 private:
  detail::AfterDone* call_ = nullptr;
};

/// Runs f once, in a goroutine of its own, after ctx is done; at once if it is. What f refers to must live until then: the
/// call does not wait, nor does whoever cancels. The goroutine belongs to the runtime of whoever cancels; if none can be had,
/// f runs in whoever cancels. ctx stays alive until f has run or was stopped. Go: context.AfterFunc.
template <class F>
  requires detail::Spawnable<F>
StopFunc after_func(const Context& ctx, F&& f) {
  if (detail::is_nil_callable<std::decay_t<F>>(f)) detail::fatal("go of nil func value");
  StopFunc stop(new detail::AfterDoneFunction<std::decay_t<F>>(ctx, std::forward<F>(f)));
  stop.start();
  return stop;
}

/// Sleeps for d, or until ctx is done. True if it slept for d. d <= 0: true, unless ctx is done.
template <class Rep, class Period>
bool sleep_for(const Context& ctx, std::chrono::duration<Rep, Period> d) {
  return detail::sleep_until_ns(ctx, detail::deadline_after(detail::saturated_ns(d)));
}
inline bool sleep_until(const Context& ctx, TimePoint t) {
  return detail::sleep_until_ns(ctx, t.time_since_epoch().count());
}

}  // namespace weft

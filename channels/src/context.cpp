#include "weft/context.hpp"

#include <optional>
#include <string_view>

#include "weft/detail/external_waker.hpp"
#include "weft/detail/select_case.hpp"
#include "weft/go.hpp"

namespace weft {

// --- errors ---

namespace {

class ErrorCategory final : public std::error_category {
 public:
  [[nodiscard]] const char* name() const noexcept override { return "weft"; }
  [[nodiscard]] std::string message(int code) const override {
    switch (static_cast<errc>(code)) {
      case errc::none:
        break;
      case errc::canceled:
        return "context canceled";
      case errc::deadline_exceeded:
        return "context deadline exceeded";
    }
    return "unknown error";
  }
  [[nodiscard]] std::error_condition default_error_condition(int code) const noexcept override {
    switch (static_cast<errc>(code)) {
      case errc::none:
        break;
      case errc::canceled:
        return std::errc::operation_canceled;
      case errc::deadline_exceeded:
        return std::errc::timed_out;
    }
    return {code, *this};
  }
};

std::exception_ptr default_cause(errc reason) {
  static const std::exception_ptr canceled = std::make_exception_ptr(std::system_error(errc::canceled));
  static const std::exception_ptr exceeded = std::make_exception_ptr(std::system_error(errc::deadline_exceeded));
  return reason == errc::canceled ? canceled : exceeded;
}

}  // namespace

const std::error_category& error_category() noexcept {
  static const ErrorCategory category;
  return category;
}

std::error_code make_error_code(errc code) noexcept {
  return code == errc::none ? std::error_code() : std::error_code(static_cast<int>(code), error_category());
}

namespace detail {

// --- nodes ---

namespace {

/// The channel of all nodes that ended before anybody asked for theirs.
ChanCore* closed_channel() {
  static ChanCore* const channel = [] {
    ChanCore* made = ChanCore::make(kElementType<Unit>, 0, 0);
    made->shut();
    return made;
  }();
  return channel;
}

class Root final : public ContextNode {
 public:
  explicit Root(Kind kind) noexcept : ContextNode(kind) {}
};

class WithoutCancelNode final : public ContextNode {
 public:
  explicit WithoutCancelNode(ContextNode& parent) noexcept
      : ContextNode(Kind::kWithoutCancel, parent, nullptr, kForever) {}
};

ContextNode& root(ContextNode::Kind kind) {
  // Never destroyed: handles may be used by whatever runs at exit.
  static auto* const background = new Root(ContextNode::Kind::kBackground);
  static auto* const todo = new Root(ContextNode::Kind::kTodo);
  return kind == ContextNode::Kind::kTodo ? *todo : *background;
}

}  // namespace

void ContextNode::release(ContextNode* node) noexcept {
  while (node->parent_ != nullptr) {
    // acq_rel [context.refs]: what each holder did happens before the last one destroys.
    if (node->references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    ContextNode* parent = node->parent_;
    delete node;
    node = parent;
  }
}

bool ContextNode::try_retain() noexcept {
  std::uint32_t count = references_.load(std::memory_order_relaxed);  // re-checked by the swap
  while (count != 0) {
    if (references_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed)) return true;
  }
  return false;
}

const void* ContextNode::find(const void* key) const noexcept {
  for (const ContextNode* node = this; node != nullptr; node = node->parent_) {
    if (node->key_ == key) return node->value_;
  }
  return nullptr;
}

void CancelList::add(CancelListener& listener) noexcept {
  listener.prev_ = nullptr;
  listener.next_ = first_;
  if (first_ != nullptr) first_->prev_ = &listener;
  first_ = &listener;
  listener.is_listed_ = true;
}

void CancelList::remove(CancelListener& listener) noexcept {
  (listener.prev_ != nullptr ? listener.prev_->next_ : first_) = listener.next_;
  if (listener.next_ != nullptr) listener.next_->prev_ = listener.prev_;
  listener.is_listed_ = false;
}

// --- the end of a node ---

/// One cancel(): who is still to hear of it, and who is to finish afterwards.
class CancelWalk {
 public:
  CancelWalk(errc why, const std::exception_ptr& because) noexcept : reason(why), cause(because) {}
  const errc reason;
  const std::exception_ptr& cause;

  void append(CancelListener& listener) noexcept {
    listener.next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = &listener;
    last_ = &listener;
  }

  /// Everybody hears.
  void spread() noexcept {
    while (CancelListener* listener = first_) {
      first_ = listener->next_;
      if (first_ == nullptr) last_ = nullptr;
      CancelListener*& heard = listener->hear(*this) ? to_finish_ : to_let_go_;
      listener->next_ = heard;
      heard = listener;
    }
    for (CancelListener* listener = to_finish_; listener != nullptr; listener = listener->next_) listener->spread();
    for (CancelListener* listener = to_let_go_; listener != nullptr; listener = listener->next_) listener->spread();
  }

  /// May run code of the user's, destructors too: so all of them have spread() behind them.
  void finish() noexcept {
    while (CancelListener* listener = to_let_go_) {
      to_let_go_ = listener->next_;
      listener->let_go();
    }
    while (CancelListener* listener = to_finish_) {
      to_finish_ = listener->next_;
      listener->finish();
      listener->let_go();
    }
  }

 private:
  CancelListener* first_ = nullptr;
  CancelListener* last_ = nullptr;
  CancelListener* to_finish_ = nullptr;  // those who have heard
  CancelListener* to_let_go_ = nullptr;
};

CancelNode::CancelNode(Kind kind, ContextNode& parent, std::int64_t deadline_ns)
    : ContextNode(kind, parent, this, deadline_ns),
      bubble_(kind != Kind::kStopToken &&
                      (parent.canceller() == nullptr || parent.canceller()->bubble_ == current_bubble())
                  ? current_bubble()
                  : 0) {}

CancelNode::~CancelNode() {
  // relaxed: the last reference, see release(). A settled node is off its parent's list: cancel() and the walk took it off.
  if (reason_.load(std::memory_order_relaxed) == errc::none) {
    if (CancelNode* above = parent()->canceller()) static_cast<void>(above->unlisten(*this));
  }
  ChanCore* done = done_.load(std::memory_order_relaxed);  // the last reference: see release()
  if (done != nullptr && done != closed_channel()) done->release();
}

void CancelNode::check_bubble() const {
  if (bubble_ != 0 && bubble_ != current_bubble()) throw_panic("close of synctest channel from outside bubble");
}

/// False: it had been settled before.
bool CancelNode::settle(CancelWalk& walk) noexcept {
  ChanCore* const closed = closed_channel();
  lock_.lock();
  if (reason_.load(std::memory_order_relaxed) != errc::none) {  // guarded by lock_
    lock_.unlock();
    return false;
  }
  cause_ = walk.cause;
  ChanCore* const done = done_.load(std::memory_order_relaxed);  // guarded by lock_
  if (done == nullptr) done_.store(closed, std::memory_order_release);
  reason_.store(walk.reason, std::memory_order_release);
  DelayedCallRef timer = std::move(timer_);
  for (CancelListener* listener = listeners_.take(); listener != nullptr;) {
    CancelListener* const next = listener->next_;
    listener->is_listed_ = false;
    if (listener->try_keep()) walk.append(*listener);
    listener = next;
  }
  lock_.unlock();
  if (done != nullptr) done->shut();
  if (timer) {
    try {
      timer->stop();
    } catch (const Panic&) {
      // Cancelled from outside the timer's bubble: there it will find the node settled.
    }
  }
  return true;
}

void CancelNode::cancel(errc reason, const std::exception_ptr& cause) noexcept {
  CancelWalk walk(reason, cause);
  {
    const NoChaos no_detours;  // somebody may wait for this without parking (N7)
    if (!settle(walk)) return await_spread();
    walk.spread();
    spread();
  }
  walk.finish();
  // Only now (CTX-4). With a handle of the caller's: the node stays alive.
  if (CancelNode* above = parent()->canceller()) static_cast<void>(above->unlisten(*this));
  finish();
}

bool CancelNode::hear(CancelWalk& walk) noexcept {
  if (!settle(walk)) {
    await_spread();
    return false;
  }
  const SpinGuard guard(lock_);
  return stop_.stop_possible();
}

void CancelNode::spread() noexcept { is_spread_.store(true, std::memory_order_release); }

void CancelNode::await_spread() const noexcept {
  Backoff backoff;
  // acquire [context.spread]: pairs with the release in spread().
  while (!is_spread_.load(std::memory_order_acquire)) backoff.pause();
}

void CancelNode::finish() noexcept {
  lock_.lock();
  std::stop_source stop = stop_;
  lock_.unlock();
  if (stop.stop_possible()) stop.request_stop();
}

errc CancelNode::reason() const noexcept {
  // acquire [context.reason]: pairs with the release in settle().
  const errc reason = reason_.load(std::memory_order_acquire);
  if (reason == errc::none) return reason;
  // acquire [context.done]: written before the reason.
  const ChanCore& done = *done_.load(std::memory_order_acquire);
  Backoff backoff;
  while (!done.is_closed()) backoff.pause();  // N4
  return reason;
}

std::exception_ptr CancelNode::cause() const {
  const errc why = reason();
  if (why == errc::none) return nullptr;
  return cause_ ? cause_ : default_cause(why);
}

ChanCore* CancelNode::done() {
  if (ChanCore* made = done_.load(std::memory_order_acquire)) return made;
  ChanCore* fresh = ChanCore::make(kElementType<Unit>, 0, bubble_);
  lock_.lock();
  ChanCore* current = done_.load(std::memory_order_relaxed);  // guarded by lock_
  if (current == nullptr) done_.store(fresh, std::memory_order_release);
  lock_.unlock();
  if (current == nullptr) return fresh;
  fresh->release();
  return current;
}

std::stop_token CancelNode::stop_token() {
  std::stop_source fresh;
  lock_.lock();
  if (!stop_.stop_possible()) std::swap(stop_, fresh);
  std::stop_source stop = stop_;
  lock_.unlock();
  // Settled before the source was there: nobody else may ask it to stop.
  if (is_settled()) stop.request_stop();
  return stop.get_token();
}

bool CancelNode::listen(CancelListener& listener) noexcept {
  const SpinGuard guard(lock_);
  if (reason_.load(std::memory_order_relaxed) != errc::none) return false;  // guarded by lock_
  listeners_.add(listener);
  return true;
}

bool CancelNode::unlisten(CancelListener& listener) noexcept {
  const SpinGuard guard(lock_);
  if (!listener.is_listed_) return false;
  listeners_.remove(listener);
  return true;
}

void CancelNode::adopt_timer(DelayedCallRef timer) noexcept {
  lock_.lock();
  if (reason_.load(std::memory_order_relaxed) == errc::none) {  // guarded by lock_
    timer_ = std::move(timer);
    lock_.unlock();
    return;
  }
  lock_.unlock();
  timer->stop();  // by whoever set it: in the same bubble
}

void CancelNode::add_handle() noexcept {
  retain();
  handles_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has a handle, or makes the first
}

void CancelNode::drop_handle() noexcept {
  // acq_rel [context.handles]: what each holder did happens before the last one cancels.
  const bool is_last = handles_.fetch_sub(1, std::memory_order_acq_rel) == 1;
  // relaxed: written by a holder of a handle.
  if (is_last && ends_with_handles_.load(std::memory_order_relaxed) && (bubble_ == 0 || bubble_ == current_bubble())) {
    cancel(errc::canceled, nullptr);
  }
  release(this);
}

std::size_t CancelNode::listeners() const noexcept {
  const SpinGuard guard(lock_);
  std::size_t count = 0;
  for (const CancelListener* listener = listeners_.first(); listener != nullptr; listener = listener->next_) ++count;
  return count;
}

// --- deriving ---

namespace {

struct NewNode {
  Context context;
  CancelNode& node;
};

/// Listed with whatever can cancel it, or born done.
template <class Node, class... Args>
NewNode derive(Args&&... args) {
  auto* node = new Node(std::forward<Args>(args)...);
  Context context(node);
  CancelNode* above = node->parent()->canceller();
  if (above != nullptr && !above->listen(*node)) node->cancel(above->reason(), above->cause());
  return {std::move(context), *node};
}

/// The timer of a deadline. It keeps its node alive, and the node it: until the node's end, or that of the runtime or bubble
/// in which the deadline was set. With those the deadline is lost.
class Expiry final : public DelayedCall {
 public:
  // NOLINTNEXTLINE(bugprone-throw-keyword-missing): it is kept, not thrown
  Expiry(Context context, std::exception_ptr cause) : context_(std::move(context)), cause_(std::move(cause)) {}

 private:
  void call() override { static_cast<CancelNode*>(context_.node())->cancel(errc::deadline_exceeded, cause_); }
  void forgotten() noexcept override { context_ = Context(); }

  Context context_;
  const std::exception_ptr cause_;
};

class StopTokenNode final : public CancelNode {
 public:
  explicit StopTokenNode(ContextNode& parent) : CancelNode(Kind::kStopToken, parent, kForever) {}
  void attach(std::stop_token token) {
    if (token.stop_possible()) {
      callback_.emplace(std::move(token), Callback{this});
    } else {
      waker_.end();  // nobody can ask it to stop: no reason to keep a deadlock quiet
    }
  }

 private:
  struct Callback {
    StopTokenNode* node;
    // On the thread that asks to stop, perhaps while the last handle is being dropped elsewhere: that waits for this.
    void operator()() const noexcept {
      const NoChaos no_detours;  // the library tells its own thread from others by the thread's number
      if (!node->try_retain()) return;
      const Context kept(node);
      node->cancel(errc::canceled, nullptr);
      node->waker_.end();
    }
  };
  ExternalWaker waker_;
  std::optional<std::stop_callback<Callback>> callback_;
};

}  // namespace

ContextNode& check_parent(const Context& parent) {
  if (parent == nullptr) throw_panic("cannot create context from nil parent");
  return *parent.node();
}

CancelPair make_deadline(const Context& parent, std::int64_t deadline_ns, std::exception_ptr cause) {
  if (check_parent(parent).deadline_ns() < deadline_ns) return with_cancel(parent);
  const std::int64_t deadline = std::min(deadline_ns, kLastDeadline);
  NewNode made = derive<CancelNode>(ContextNode::Kind::kDeadline, *parent.node(), deadline);
  CancelPair pair(made.context, CancelFunc(made.node));
  const std::int64_t now = now_ns();
  if (deadline <= now) {
    made.node.cancel(errc::deadline_exceeded, cause);
  } else if (!made.node.is_settled()) {
    DelayedCallRef timer(new Expiry(std::move(made.context), std::move(cause)));
    timer->reset(deadline - now);
    made.node.adopt_timer(std::move(timer));
  }
  return pair;
}

std::int64_t timeout_deadline(std::int64_t timeout_ns) noexcept {
  const std::int64_t now = now_ns();
  if (timeout_ns > 0) return saturating_deadline(now, timeout_ns);
  return timeout_ns < INT64_MIN + now ? INT64_MIN : now + timeout_ns;
}

// --- after_func ---

void AfterDone::start() {
  CancelNode* node = context_.node() == nullptr ? nullptr : context_.node()->canceller();
  if (node == nullptr) return;  // will never be done
  retain();                     // the list's
  if (node->listen(*this)) return;
  if (launch()) finish();
  let_go();
}

bool AfterDone::try_begin(State state) noexcept {
  State expected = State::kPending;
  // acq_rel [after_done.state]: whoever wins has the function to itself.
  return state_.compare_exchange_strong(expected, state, std::memory_order_acq_rel, std::memory_order_relaxed);
}

/// What the goroutine runs, with a reference of its own.
struct AfterDone::Run {
  explicit Run(AfterDone& of) noexcept : self(&of) { of.retain(); }
  Run(Run&& other) noexcept : self(std::exchange(other.self, nullptr)) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  Run& operator=(Run&&) = delete;
  ~Run() {
    if (self != nullptr) self->let_go();
  }
  void operator()() const { self->call(); }
  AfterDone* self;
};

/// True: no goroutine can be had, so it is to run right here.
bool AfterDone::launch() noexcept {
  if (!try_begin(State::kStarted)) return false;
  try {
    go(Run(*this));
    return false;
  } catch (...) {
    return true;
  }
}

bool AfterDone::hear(CancelWalk& /*walk*/) noexcept { return launch(); }

void AfterDone::finish() noexcept { call(); }

bool AfterDone::stop() noexcept {
  if (!try_begin(State::kStopped)) return false;
  drop();
  CancelNode* node = context_.node() == nullptr ? nullptr : context_.node()->canceller();
  if (node != nullptr && node->unlisten(*this)) let_go();  // the list's
  return true;
}

// --- waiting ---

ChanStatus chan_send_with(ChanCore* chan, void* value, const Context& ctx) {
  if (ctx.is_done()) return ChanStatus::cancelled;
  ChanCore* done = ctx.done_core();
  if (done == nullptr) {
    chan_send(chan, value);
    return ChanStatus::ok;
  }
  SelectEntry entries[] = {{.kind = CaseKind::kSend, .chan = chan, .slot = value},
                           {.kind = CaseKind::kRecv, .chan = done}};
  return run_select(entries, 2) == 0 ? ChanStatus::ok : ChanStatus::cancelled;
}

ChanStatus chan_recv_with(ChanCore* chan, void* slot, const Context& ctx) {
  if (ctx.is_done()) return ChanStatus::cancelled;
  ChanCore* done = ctx.done_core();
  if (done == nullptr) return chan_recv(chan, slot);
  SelectEntry entries[] = {{.kind = CaseKind::kRecv, .chan = chan, .slot = slot},
                           {.kind = CaseKind::kRecv, .chan = done}};
  return run_select(entries, 2) == 0 ? entries[0].status : ChanStatus::cancelled;
}

bool sleep_until_ns(const Context& ctx, std::int64_t deadline_ns) {
  if (ctx.is_done()) return false;
  ChanCore* done = ctx.done_core();
  if (done == nullptr) {
    sleep_until_ns(deadline_ns);
    return true;
  }
  const std::int64_t now = now_ns();
  if (deadline_ns <= now) return true;
  SelectEntry entries[] = {{.kind = CaseKind::kRecv, .chan = done},
                           {.kind = CaseKind::kTimeout, .timeout_ns = deadline_ns - now}};
  return run_select(entries, 2) == 1;
}

}  // namespace detail

// --- the public types ---

Context background() noexcept { return Context(&detail::root(detail::ContextNode::Kind::kBackground)); }
Context todo() noexcept { return Context(&detail::root(detail::ContextNode::Kind::kTodo)); }

detail::ChanCore* Context::done_core() const {
  if (node_ == nullptr || node_->canceller() == nullptr) return nullptr;
  return node_->canceller()->done();
}

RecvChan<Unit> Context::done() const {
  detail::ChanCore* core = done_core();
  if (core == nullptr) return nullptr;
  core->retain();
  return RecvChan<Unit>(core);
}

std::exception_ptr Context::cause() const {
  if (node_ == nullptr || node_->canceller() == nullptr) return nullptr;
  return node_->canceller()->cause();
}

std::optional<TimePoint> Context::deadline() const noexcept {
  if (node_ == nullptr || node_->deadline_ns() == detail::kForever) return std::nullopt;
  return TimePoint(TimePoint::duration(node_->deadline_ns()));
}

std::stop_token Context::stop_token() const {
  if (node_ == nullptr || node_->canceller() == nullptr) return {};
  return node_->canceller()->stop_token();
}

void Context::throw_if_done() const {
  if (const std::error_code code = err()) throw std::system_error(code);
}

std::string Context::name() const {
  if (node_ == nullptr) return "nil";
  std::string text;
  for (const detail::ContextNode* node = node_; node != nullptr; node = node->parent()) {
    std::string_view part;
    switch (node->kind()) {
      using enum detail::ContextNode::Kind;
      case kBackground:
        part = "context.Background";
        break;
      case kTodo:
        part = "context.TODO";
        break;
      case kCancel:
        part = ".WithCancel";
        break;
      case kDeadline:
        part = ".WithDeadline";
        break;
      case kStopToken:
        part = ".FromStopToken";
        break;
      case kValue:
        part = ".WithValue";
        break;
      case kWithoutCancel:
        part = ".WithoutCancel";
        break;
    }
    text.insert(0, part);
  }
  return text;
}

CancelFunc::CancelFunc(detail::CancelNode& node) noexcept : node_(&node) { node.add_handle(); }
CancelFunc::CancelFunc(const CancelFunc& other) noexcept : node_(other.node_) {
  if (node_ != nullptr) node_->add_handle();
}
CancelFunc::~CancelFunc() {
  if (node_ != nullptr) node_->drop_handle();
}

void CancelFunc::cancel(const std::exception_ptr& cause) const {
  if (node_ == nullptr) return;
  node_->check_bubble();
  node_->cancel(errc::canceled, cause);
}

CancelPair with_cancel(const Context& parent) {
  detail::ContextNode& above = detail::check_parent(parent);
  detail::NewNode made =
      detail::derive<detail::CancelNode>(detail::ContextNode::Kind::kCancel, above, above.deadline_ns());
  return {std::move(made.context), CancelFunc(made.node)};
}

Context without_cancel(const Context& parent) {
  return Context(new detail::WithoutCancelNode(detail::check_parent(parent)));
}

Context from_stop_token(std::stop_token token) {
  auto made = detail::derive<detail::StopTokenNode>(detail::root(detail::ContextNode::Kind::kBackground));
  static_cast<detail::StopTokenNode&>(made.node).attach(std::move(token));
  return std::move(made.context);
}

}  // namespace weft

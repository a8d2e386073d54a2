// What hangs on the tree: how nodes come about, functions that run after an end, waits that it ends.

#include "weft/context.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

#include "weft/detail/external_waker.hpp"
#include "weft/detail/select_case.hpp"
#include "weft/go.hpp"

namespace weft {
namespace detail {

// --- deriving ---

namespace {

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
  explicit StopTokenNode(ContextNode& parent) : CancelNode(Kind::kStopToken, parent, kForever, 0) {}
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
  NewNode made = derive<CancelNode>(ContextNode::Kind::kDeadline, *parent.node(), deadline, 1U);
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

CancelFunc::CancelFunc(detail::CancelNode& node) noexcept : node_(&node) {}
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
      detail::derive<detail::CancelNode>(detail::ContextNode::Kind::kCancel, above, above.deadline_ns(), 1U);
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

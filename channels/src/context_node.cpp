// The tree itself; its rules are in the header.

#include "weft/detail/context_node.hpp"

#include "weft/chan.hpp"
#include "weft/error.hpp"

namespace weft::detail {
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

std::exception_ptr default_cause(errc reason) {
  static const std::exception_ptr canceled = std::make_exception_ptr(std::system_error(errc::canceled));
  static const std::exception_ptr exceeded = std::make_exception_ptr(std::system_error(errc::deadline_exceeded));
  return reason == errc::canceled ? canceled : exceeded;
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

CancelNode::CancelNode(Kind kind, ContextNode& parent, std::int64_t deadline_ns, std::uint32_t handles)
    : ContextNode(kind, parent, this, deadline_ns, 1 + handles),
      bubble_(kind != Kind::kStopToken &&
                      (parent.canceller() == nullptr || parent.canceller()->bubble_ == current_bubble())
                  ? current_bubble()
                  : 0),
      handles_(handles) {
  static_cast<void>(closed_channel());  // made here, where it may throw: settle() may not
}

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

/// A stop source that comes later is asked to stop by whoever makes it.
CancelNode::Settled CancelNode::settle(CancelWalk& walk) noexcept {
  ChanCore* const closed = closed_channel();
  lock_.lock();
  if (reason_.load(std::memory_order_relaxed) != errc::none) {  // guarded by lock_
    lock_.unlock();
    return Settled::kBefore;
  }
  const bool has_stop = stop_.stop_possible();
  cause_ = walk.cause;
  ChanCore* const done = done_.load(std::memory_order_relaxed);  // guarded by lock_
  reason_.store(walk.reason, std::memory_order_release);
  if (done == nullptr) done_.store(closed, std::memory_order_release);  // after the reason (N4)
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
  return has_stop ? Settled::kNowWithStop : Settled::kNow;
}

void CancelNode::cancel(errc reason, const std::exception_ptr& cause) noexcept {
  CancelWalk walk(reason, cause);
  Settled settled{};
  {
    const NoChaos no_detours;  // somebody may wait for this without parking (N7)
    settled = settle(walk);
    if (settled == Settled::kBefore) return await_spread();
    walk.spread();
    spread();
  }
  walk.finish();
  // Only now (CTX-4). With a handle of the caller's: the node stays alive.
  if (CancelNode* above = parent()->canceller()) static_cast<void>(above->unlisten(*this));
  if (settled == Settled::kNowWithStop) finish();
}

bool CancelNode::hear(CancelWalk& walk) noexcept {
  const Settled settled = settle(walk);
  if (settled == Settled::kBefore) await_spread();
  return settled == Settled::kNowWithStop;
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
  stop.request_stop();
}

errc CancelNode::reason() const noexcept {
  // acquire [context.reason]: pairs with the release in settle().
  const errc reason = reason_.load(std::memory_order_acquire);
  if (reason == errc::none) return reason;
  Backoff backoff;
  // acquire [context.done]: pairs with the release in settle() and done().
  const ChanCore* done = nullptr;
  while ((done = done_.load(std::memory_order_acquire)) == nullptr || !done->is_closed()) backoff.pause();  // N4
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
  handles_.fetch_add(1, std::memory_order_relaxed);  // relaxed: the caller has a handle
}

void CancelNode::drop_handle() noexcept {
  // acq_rel [context.handles]: what each holder did happens before the last one cancels. The holder of the only handle need not
  // count it down: nobody else could count up.
  const bool is_last =
      handles_.load(std::memory_order_acquire) == 1 || handles_.fetch_sub(1, std::memory_order_acq_rel) == 1;
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

}  // namespace weft::detail

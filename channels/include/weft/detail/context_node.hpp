#pragma once

// The tree behind Context. A node keeps its parent alive; a parent does not keep its children.
//
// N1 Nodes are immutable but for what CancelNode guards. Every node knows its canceller: the nearest CancelNode on the way
//    to the root, itself included; null if nothing can ever cancel it.
// N2 A CancelNode lists what hears of its end: the CancelNodes below it, and calls made by after_func. A listed child is not
//    kept alive: its destructor takes it off, under the parent's lock. Whoever cancels takes the list as a whole under that
//    lock, with a reference to each of those that are not being destroyed, and goes on without any lock.
// N3 A node is settled once: reason and cause are written first, then the channel is closed; then the listeners hear of it,
//    breadth first, without recursion; then the stop source. cancel() returns after all of that (CTX-3, CTX-4).
// N4 err() says nothing before the channel is closed, and something as soon as it is seen closed (CTX-7). So the reason comes
//    first, also where a channel that is closed already is put in; and who reads the reason before there is a closed channel
//    waits for it, a few instructions of whoever cancels, which does not yield there.
// N5 Lock order: none. No two of these locks are held at once, and none while user code runs.
// N6 A node with a deadline is kept alive by its timer, which the end of the node, however it comes, stops.
// N7 Who finds a node settled by another call waits until everything below it has heard (is_spread_), since its own cancel()
//    promises that too (CTX-3). Waits go down the tree only, so they do not meet; and whoever is waited for neither yields nor
//    runs user code until then.
// Answers to Go's context/context.go.

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <stop_token>
#include <utility>

#include "weft/detail/after_func.hpp"
#include "weft/detail/chan_core.hpp"
#include "weft/detail/park.hpp"
#include "weft/detail/spinlock.hpp"
#include "weft/errc.hpp"

namespace weft::detail {

class CancelNode;

class ContextNode {
 public:
  enum class Kind : std::uint8_t { kBackground, kTodo, kCancel, kDeadline, kStopToken, kValue, kWithoutCancel };

  ContextNode(const ContextNode&) = delete;
  ContextNode& operator=(const ContextNode&) = delete;
  virtual ~ContextNode() = default;

  void retain() noexcept {
    // relaxed: the caller has a reference. The roots are never destroyed, and not counted.
    if (parent_ != nullptr) references_.fetch_add(1, std::memory_order_relaxed);
  }
  /// Gives a reference back, and with the last one also that to the parent; without recursion.
  static void release(ContextNode* node) noexcept;

  [[nodiscard]] Kind kind() const noexcept { return kind_; }
  [[nodiscard]] ContextNode* parent() const noexcept { return parent_; }
  [[nodiscard]] CancelNode* canceller() const noexcept { return canceller_; }
  /// Steady nanoseconds; kForever: none.
  [[nodiscard]] std::int64_t deadline_ns() const noexcept { return deadline_ns_; }
  /// The value stored nearest under this key; null if none is.
  [[nodiscard]] const void* find(const void* key) const noexcept;

 protected:
  /// Of a root.
  explicit ContextNode(Kind kind) noexcept : kind_(kind) {}
  /// Takes a reference to the parent.
  ContextNode(Kind kind, ContextNode& parent, CancelNode* canceller, std::int64_t deadline_ns,
              std::uint32_t references = 1) noexcept
      : kind_(kind), references_(references), parent_(&parent), canceller_(canceller), deadline_ns_(deadline_ns) {
    parent.retain();
  }
  /// False: it is being destroyed.
  bool try_retain() noexcept;

  const void* key_ = nullptr;  // of a value node
  const void* value_ = nullptr;

 private:
  const Kind kind_;
  std::atomic<std::uint32_t> references_{1};
  ContextNode* const parent_ = nullptr;
  CancelNode* const canceller_ = nullptr;
  const std::int64_t deadline_ns_ = kForever;
};

class CancelWalk;

/// What wants to hear that a CancelNode has ended. prev, next and is_listed are guarded by that node's lock; next belongs to
/// whoever took the list.
class CancelListener {
 public:
  CancelListener() = default;
  CancelListener(const CancelListener&) = delete;
  CancelListener& operator=(const CancelListener&) = delete;
  virtual ~CancelListener() = default;

 private:
  friend class CancelNode;
  friend class CancelList;
  friend class CancelWalk;
  /// Under the lock: makes sure that it lives until let_go(). False: it is being destroyed.
  virtual bool try_keep() noexcept = 0;
  /// Without locks. A CancelNode settles, and hands over its own listeners. True: finish() is to be called as well.
  virtual bool hear(CancelWalk& walk) noexcept = 0;
  /// Everything below it has heard as well.
  virtual void spread() noexcept {}
  /// After that: may run code of the user's.
  virtual void finish() noexcept = 0;
  virtual void let_go() noexcept = 0;

  CancelListener* prev_ = nullptr;
  CancelListener* next_ = nullptr;
  bool is_listed_ = false;
};

class CancelList {
 public:
  void add(CancelListener& listener) noexcept;
  void remove(CancelListener& listener) noexcept;
  [[nodiscard]] CancelListener* take() noexcept { return std::exchange(first_, nullptr); }
  [[nodiscard]] CancelListener* first() const noexcept { return first_; }

 private:
  CancelListener* first_ = nullptr;
};

class CancelNode : public ContextNode, public CancelListener {
 public:
  /// With one reference, and one more for each handle.
  CancelNode(Kind kind, ContextNode& parent, std::int64_t deadline_ns, std::uint32_t handles);
  CancelNode(const CancelNode&) = delete;
  CancelNode& operator=(const CancelNode&) = delete;
  ~CancelNode() override;

  /// Settles this node and everything below it (N3). If another call has settled it: waits until that one is through (N7).
  /// cause may be null.
  void cancel(errc reason, const std::exception_ptr& cause) noexcept;

  [[nodiscard]] errc reason() const noexcept;
  [[nodiscard]] bool is_settled() const noexcept { return reason() != errc::none; }
  /// Null before the end.
  [[nodiscard]] std::exception_ptr cause() const;
  /// The node's channel, made on first use. Throws: std::bad_alloc.
  ChanCore* done();
  [[nodiscard]] std::stop_token stop_token();

  /// Lists it, and takes over a reference that let_go() gives back. False: the node has been settled, nothing was done.
  bool listen(CancelListener& listener) noexcept;
  /// True if it was listed: the reference is the caller's again.
  bool unlisten(CancelListener& listener) noexcept;

  /// The timer of a node with a deadline: set, unless the node has been settled meanwhile.
  void adopt_timer(DelayedCallRef timer) noexcept;

  /// Copies of the CancelFunc. The last one cancels, unless told not to.
  void add_handle() noexcept;
  void drop_handle() noexcept;
  void keep_after_handles() noexcept { ends_with_handles_.store(false, std::memory_order_relaxed); }
  /// Throws Panic from outside the bubble (weft::testing::run) that the node belongs to.
  void check_bubble() const;

  /// For tests: how many children and calls are listed.
  [[nodiscard]] std::size_t listeners() const noexcept;

 private:
  friend class CancelWalk;
  bool try_keep() noexcept override { return try_retain(); }
  bool hear(CancelWalk& walk) noexcept override;
  void spread() noexcept override;
  void finish() noexcept override;
  enum class Settled : std::uint8_t { kBefore, kNow, kNowWithStop };
  Settled settle(CancelWalk& walk) noexcept;
  void await_spread() const noexcept;
  void let_go() noexcept override { release(this); }

  mutable Spinlock lock_;
  // Written once, under lock_. release [context.reason]: publishes cause_.
  std::atomic<errc> reason_{errc::none};
  std::exception_ptr cause_;                 // guarded by lock_ until the reason is set, constant after it
  std::atomic<ChanCore*> done_{nullptr};     // release [context.done]: publishes the channel; written under lock_
  CancelList listeners_;                     // guarded by lock_
  std::stop_source stop_{std::nostopstate};  // guarded by lock_
  DelayedCallRef timer_;                     // guarded by lock_
  const std::uint32_t bubble_;               // that nobody outside can cancel it; 0: somebody can
  std::atomic<std::uint32_t> handles_;
  std::atomic<bool> ends_with_handles_{true};
  std::atomic<bool> is_spread_{false};  // release [context.spread]: everything below has been settled
};

/// One address for each key.
template <class Key>
inline constexpr char kContextKey = 0;

template <class T>
class ValueNode final : public ContextNode {
 public:
  template <class U>
  ValueNode(ContextNode& parent, const void* key, U&& value)
      : ContextNode(Kind::kValue, parent, parent.canceller(), parent.deadline_ns()), stored_(std::forward<U>(value)) {
    key_ = key;
    value_ = std::addressof(stored_);
  }

 private:
  T stored_;
};

}  // namespace weft::detail

#pragma once

// Selector: a select whose cases are known only at run time.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "weft/detail/select_case.hpp"

namespace weft {

template <class T>
class Chan;
template <class T>
class SendChan;
template <class T>
class RecvChan;

namespace detail {

/// Whether a case has what it takes to go.
enum class Supply : std::uint8_t {
  kReady,
  kRefill,  ///< refill() first
  kSpent,   ///< its value is gone and cannot be had again
};

/// A case of a Selector. It lives on the heap: its slot keeps its address whatever is added later.
class SelectorCase {
 public:
  SelectorCase() = default;
  SelectorCase(const SelectorCase&) = delete;
  SelectorCase& operator=(const SelectorCase&) = delete;
  virtual ~SelectorCase() = default;

  /// What select is to do. Asked once, when the case is added.
  virtual SelectEntry entry() noexcept = 0;
  [[nodiscard]] virtual Supply initial_supply() const noexcept { return Supply::kReady; }
  /// The channel's element type if this is a case that sends.
  [[nodiscard]] virtual const ElementType* sends() const noexcept { return nullptr; }
  /// Makes the value for the next win; may throw, and changes nothing then.
  virtual void refill() {}
  /// Called after each win, before fire().
  virtual Supply settle() noexcept { return Supply::kReady; }
  /// Runs the handler, which may use the Selector, this case included.
  virtual void fire(const SelectEntry& won) = 0;
};

/// If the case received a value: moves it into raw storage and destroys what is left of it. All of it is compiled, since GCC
/// would warn of a value that may not be there when it sees through this and a handler does not ask.
void take_received(const ElementType& type, const SelectEntry& won, void* to, void* from) noexcept;

template <class T, class Handler>
class SelectorRecv final : public SelectorCase {
 public:
  explicit SelectorRecv(RecvCase<T, Handler>&& added)
      : chan_(SelectorAccess::chan(added)), handler_(SelectorAccess::take_handler(added)) {}

  SelectEntry entry() noexcept override {
    return {.kind = CaseKind::kRecv, .chan = chan_, .slot = ReceivedAccess::slot(slot_)};
  }
  void fire(const SelectEntry& won) override {
    // Nothing stays in the slot: the handler may select again, and what it leaves must not live until the next win.
    Received<T> received;
    take_received(kElementType<T>, won, ReceivedAccess::slot(received), ReceivedAccess::slot(slot_));
    ReceivedAccess::fill(received, won.status);
    if constexpr (std::invocable<Handler&, Received<T>>) {
      handler_(std::move(received));
    } else {
      handler_();
    }
  }

 private:
  ChanCore* chan_;
  Handler handler_;
  Received<T> slot_;  // storage only: what a win puts here, fire() takes out
};

/// The value of a case that sends. What is copied as bytes is not changed by being sent; of any other copyable value a
/// master is kept, and a copy made of it only after the one before is gone; a move-only value goes once.
template <class T>
class SelectorSend : public SelectorCase {
 public:
  SelectorSend(ChanCore* chan, T value) : chan_(chan) { static_cast<void>(set_value(std::move(value))); }

  SelectEntry entry() noexcept override {
    return {.kind = CaseKind::kSend, .chan = chan_, .slot = ReceivedAccess::slot(outgoing_)};
  }
  [[nodiscard]] Supply initial_supply() const noexcept override {
    return kHasMaster ? Supply::kRefill : Supply::kReady;
  }
  [[nodiscard]] const ElementType* sends() const noexcept override { return &kElementType<T>; }

  /// What the case is to send from now on, and in which state it is then.
  Supply set_value(T value) noexcept {
    (kHasMaster ? master_ : outgoing_) = Received<T>(std::move(value));
    if (!kHasMaster) return Supply::kReady;
    outgoing_ = Received<T>();
    return Supply::kRefill;
  }
  void refill() override {
    if constexpr (kHasMaster) outgoing_ = Received<T>(T(*std::as_const(master_)));
  }
  Supply settle() noexcept override {
    if (kIsUnchanged) return Supply::kReady;
    outgoing_ = Received<T>();
    return kHasMaster ? Supply::kRefill : Supply::kSpent;
  }

 private:
  static constexpr bool kIsUnchanged = std::copy_constructible<T> && std::is_trivially_copyable_v<T>;
  static constexpr bool kHasMaster = std::copy_constructible<T> && !kIsUnchanged;

  ChanCore* chan_;
  Received<T> outgoing_;  // what the winner's peer moves from
  Received<T> master_;    // kHasMaster: never sent itself
};

template <class T, class Handler>
class SelectorSendTo final : public SelectorSend<T> {
 public:
  SelectorSendTo(ChanCore* chan, T value, Handler handler)
      : SelectorSend<T>(chan, std::move(value)), handler_(std::move(handler)) {}
  void fire(const SelectEntry& /*won*/) override { handler_(); }

 private:
  Handler handler_;
};

/// on_timeout, on_default, and whatever else is a case and has no value of its own.
template <class Case>
class SelectorOther final : public SelectorCase {
 public:
  explicit SelectorOther(Case&& added) : case_(std::move(added)) {}
  SelectEntry entry() noexcept override { return case_.entry(); }
  void fire(const SelectEntry& won) override { case_.fire(won); }

 private:
  Case case_;
};

/// The class that keeps a case of this type.
template <class Case>
struct SelectorCaseFor {
  using type = SelectorOther<Case>;
};
template <class T, class Handler>
struct SelectorCaseFor<RecvCase<T, Handler>> {
  using type = SelectorRecv<T, Handler>;
};

template <class Case>
inline constexpr bool kIsSendCase = false;
template <class T, class Handler>
inline constexpr bool kIsSendCase<SendCase<T, Handler>> = true;
template <class T, class Handler>
inline constexpr bool kIsSendCase<OwningSendCase<T, Handler>> = true;

class SelectorCases;

}  // namespace detail

/// A select whose cases are put together at run time and used again and again. Cases are named by the index that adding
/// them returned; a disabled case keeps its index and never wins. The Selector keeps the channels of its cases alive.
///
/// Safe from: one goroutine or thread at a time. A handler may add, enable and disable cases of the Selector it is called
/// from, give them values, and select on it.
/// Go: reflect.Select.
class Selector {
 public:
  Selector() noexcept;
  Selector(Selector&& other) noexcept;
  Selector& operator=(Selector&& other) noexcept;
  Selector(const Selector&) = delete;
  Selector& operator=(const Selector&) = delete;
  ~Selector();

  /// Adds what ch.on_recv(...), on_timeout(...), on_default(...) return; the result is its index: 0, 1, 2 ... A Received<T>
  /// to fill, and whatever the handler refers to, must outlive the case. A timeout counts anew from the start of each
  /// select.
  /// Throws: std::bad_alloc, what moving the handler throws; then nothing has been added.
  template <class Case>
  std::size_t add(Case added) {
    if constexpr (detail::kIsSendCase<Case>) {
      static_assert(!detail::kIsSendCase<Case>,
                    "weft::Selector::add: a case that sends must own its value: use add_send(ch, value, handler)");
    } else if constexpr (!detail::SelectCase<Case>) {
      static_assert(
          detail::SelectCase<Case>,
          "weft::Selector::add: takes a case: what ch.on_recv(...), on_timeout(...) or on_default(...) return");
    } else {
      return add_case(std::make_unique<typename detail::SelectorCaseFor<Case>::type>(std::move(added)));
    }
  }

  /// Adds a case that sends `value` to ch and then calls handler(). A copyable value is kept: each win sends a copy of it,
  /// made by the first select() after the win before. A move-only value is sent once; then the case is disabled
  /// until set_value().
  /// Throws: as add().
  template <class T, class Handler = detail::NoHandler>
    requires std::invocable<std::decay_t<Handler>&>
  std::size_t add_send(const SendChan<T>& ch, std::type_identity_t<T> value, Handler&& handler = {}) {
    return add_send_to<T, std::decay_t<Handler>>(ch.core_of(), std::move(value), std::forward<Handler>(handler));
  }
  template <class T, class Handler = detail::NoHandler>
    requires std::invocable<std::decay_t<Handler>&>
  std::size_t add_send(const Chan<T>& ch, std::type_identity_t<T> value, Handler&& handler = {}) {
    return add_send_to<T, std::decay_t<Handler>>(ch.core_of(), std::move(value), std::forward<Handler>(handler));
  }
  /// Only the sending end of a channel can be sent to.
  template <class T, class... Rest>
  std::size_t add_send(const RecvChan<T>& ch, Rest&&...) = delete;

  /// What the sending case is to send from now on; enables it.
  /// Throws: Panic when there is no such case, when it does not send, or when its channel carries another type than T
  /// (name it where the argument has another: set_value<std::string>(i, "text")).
  template <class T>
  void set_value(std::size_t index, T value) {
    auto& target = static_cast<detail::SelectorSend<T>&>(sender(index, detail::kElementType<T>));
    supply(index, target.set_value(std::move(value)));
  }

  /// From now on the case cannot win. Its handler and its value are kept. Throws: Panic for a bad index.
  void disable(std::size_t index);
  /// The case takes part again. Throws: Panic for a bad index, and when its move-only value has been sent.
  void enable(std::size_t index);
  /// Cases added, the disabled ones included.
  [[nodiscard]] std::size_t size() const noexcept;

  /// As select(): blocks until one of the enabled cases can go, chooses uniformly among those that can, does its
  /// communication, runs its handler, and returns its index. With no case enabled: blocks for ever.
  ///
  /// Blocks: unless a case is ready or an on_default is enabled. A nil channel's case is never ready.
  /// Throws: RuntimePanic "send on closed channel" if that case is chosen; what copying a value to send throws, before
  /// anything has happened; what the handler throws; Panic for two defaults, and for more than 65,536 cases.
  /// Ordering: as the chosen operation.
  /// Cost: O(n log n) for n cases; allocates nothing.
  std::size_t select();
  /// The same without ever blocking: std::nullopt when nothing can go at once and no default is enabled.
  std::optional<std::size_t> try_select();

 private:
  template <class T, class Handler>
  std::size_t add_send_to(detail::ChanCore* chan, T value, Handler handler) {
    detail::check_element<T>();
    return add_case(std::make_unique<detail::SelectorSendTo<T, Handler>>(chan, std::move(value), std::move(handler)));
  }
  std::size_t add_case(std::unique_ptr<detail::SelectorCase> added);
  detail::SelectorCase& sender(std::size_t index, const detail::ElementType& type);
  void supply(std::size_t index, detail::Supply supply) noexcept;

  std::unique_ptr<detail::SelectorCases> cases_;  // null: no case yet
};

}  // namespace weft

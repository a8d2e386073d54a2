#pragma once

// map, map_ordered, for_each: one function over a stream or a range of values, in a bounded number of goroutines.

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "weft/chan.hpp"
#include "weft/context.hpp"
#include "weft/detail/spawn.hpp"
#include "weft/err_group.hpp"
#include "weft/go.hpp"
#include "weft/runtime.hpp"

namespace weft {
namespace detail {

/// As many as the caller's runtime has processors.
std::size_t default_workers();

/// What the goroutines of one map share.
template <class In, class F>
class MapStage {
 public:
  using Out = std::decay_t<std::invoke_result_t<F&, In>>;
  static_assert(!std::is_void_v<Out>, "weft::map: f must return a value (for_each is for functions that do not)");

  template <class From>
  MapStage(const Context& ctx, RecvChan<In> in, std::size_t workers, From&& f)
      : ctx_(ctx), in_(std::move(in)), f_(std::forward<From>(f)), left_(workers) {}

  [[nodiscard]] RecvChan<Out> output() const { return out_; }
  void work() {
    while (Received<In> value = in_.recv(ctx_)) {
      std::optional<Out> result = apply(*value);
      if (!deliver(result)) break;
    }
    leave();
  }

 protected:
  /// Nothing if f ended by exit_goroutine: there is no result for this value, and the worker goes on with the next.
  std::optional<Out> apply(In& value) {
    try {
      return std::optional<Out>(std::in_place, detail::invoke(f_, std::move(value)));
    } catch (const GoroutineExit&) {
      return std::nullopt;
    }
  }
  /// False: the context is done.
  bool deliver(std::optional<Out>& result) const {
    return !result || out_.send(ctx_, std::move(*result)) == ChanStatus::ok;
  }
  /// The last one out closes the output. Not by a destructor: while an exception ends the process nobody should take that
  /// for the end of the values.
  void leave() {
    // acq_rel [map.left]: what each worker did happens before the close.
    if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1) out_.close();
  }

  const Context ctx_;
  const RecvChan<In> in_;
  const Chan<Out> out_ = make_chan<Out>();
  F f_;

 private:
  std::atomic<std::size_t> left_;
};

/// Who may receive next, and with what number, goes round in a channel of capacity 1 (no mutex: in a bubble a wait for one is
/// not durable). So does the right to send, in one such channel for each worker: the numbers that are under way are
/// consecutive and no more than there are workers, so number n has channel n % workers to itself.
template <class In, class F>
class OrderedStage : public MapStage<In, F> {
 public:
  using typename MapStage<In, F>::Out;

  template <class From>
  OrderedStage(const Context& ctx, RecvChan<In> in, std::size_t workers, From&& f)
      : MapStage<In, F>(ctx, std::move(in), workers, std::forward<From>(f)) {
    turns_.reserve(workers);
    for (std::size_t i = 0; i < workers; ++i) turns_.push_back(make_chan<Unit>(1));
    turns_.front().send({});
    next_.send(0);
  }
  void work() {
    while (const Received<std::uint64_t> number = next_.recv(this->ctx_)) {
      Received<In> value = this->in_.recv(this->ctx_);
      if (!value) {
        next_.close();
        break;
      }
      next_.send(*number + 1);
      std::optional<Out> result = this->apply(*value);
      if (!turn(*number).recv(this->ctx_) || !this->deliver(result)) break;
      turn(*number + 1).send({});
    }
    this->leave();
  }

 private:
  [[nodiscard]] const Chan<Unit>& turn(std::uint64_t number) const { return turns_[number % turns_.size()]; }

  const Chan<std::uint64_t> next_ = make_chan<std::uint64_t>(1);
  std::vector<Chan<Unit>> turns_;
};

template <template <class, class> class Stage, class In, class F>
auto start_map(const Context& ctx, RecvChan<In> in, std::size_t workers, F&& f) {
  if (workers == 0) workers = default_workers();
  const auto stage = std::make_shared<Stage<In, std::decay_t<F>>>(ctx, std::move(in), workers, std::forward<F>(f));
  for (std::size_t i = 0; i < workers; ++i) weft::go([stage] { stage->work(); });
  return stage->output();
}

template <class Range>
auto range_begin(Range& range) {
  using std::begin;
  return begin(range);
}
template <class Range>
auto range_end(Range& range) {
  using std::end;
  return end(range);
}

/// Calls start(element) for each element until it returns false or ctx is done: whether it came to the end. An element is
/// a reference where elements stay where they are, else a value.
template <class Range, class Start>
bool walk(const Context& ctx, Range& range, Start start) {
  if constexpr (requires { range.recv(ctx); }) {  // a channel: a wait for a value ends with ctx
    for (;;) {
      auto value = range.recv(ctx);
      if (value.status() == ChanStatus::closed) return true;
      if (!value || !start(std::move(*value))) return false;
    }
  } else {
    auto it = detail::range_begin(range);
    using Iterator = decltype(it);
    for (auto last = detail::range_end(range); it != last; ++it) {
      if constexpr (std::forward_iterator<Iterator> && std::is_lvalue_reference_v<std::iter_reference_t<Iterator>>) {
        if (!start(*it)) return false;
      } else {
        if (!start(std::iter_value_t<Iterator>(*it))) return false;
      }
    }
    return true;
  }
}

}  // namespace detail

/// Sends f(v) for each v that comes from `in`, as the results come, into the channel that it returns. Up to `workers`
/// goroutines (0: as many as there are processors) call the same f, at the same time. After `in` was closed and drained the
/// output is closed.
///
/// An exception that leaves f ends the process, as that of any goroutine: let f return its errors as values, or see for_each.
/// (If RuntimeOptions::on_uncaught keeps the process alive, that worker is gone and the output is never closed.) Of a value
/// for which f ends by exit_goroutine there is no result. A reader that stops before the end leaves the goroutines behind,
/// parked: the overload with a Context is for that. Blocks: never. Throws: as go(). Cost: no allocation for a value.
/// Go: the fan-out, fan-in pipeline.
template <class In, class F>
auto map(RecvChan<In> in, std::size_t workers, F f) {
  return detail::start_map<detail::MapStage>(Context(), std::move(in), workers, std::move(f));
}
/// The same until ctx is done: then the goroutines stop receiving and sending, and the output is closed as soon as the last
/// call of f has ended. Whether it was closed for that or at the end of the values says ctx. Whoever sends into `in` has to
/// heed ctx too.
template <class In, class F>
auto map(const Context& ctx, RecvChan<In> in, std::size_t workers, F f) {
  return detail::start_map<detail::MapStage>(ctx, std::move(in), workers, std::move(f));
}
template <class In, class F>
auto map(const Chan<In>& in, std::size_t workers, F f) {
  return detail::start_map<detail::MapStage>(Context(), RecvChan<In>(in), workers, std::move(f));
}
template <class In, class F>
auto map(const Context& ctx, const Chan<In>& in, std::size_t workers, F f) {
  return detail::start_map<detail::MapStage>(ctx, RecvChan<In>(in), workers, std::move(f));
}

/// map, with the results in the order of the input. A slow value holds up those behind it: up to workers - 1 finished results
/// wait for it, and no more values are taken meanwhile.
template <class In, class F>
auto map_ordered(RecvChan<In> in, std::size_t workers, F f) {
  return detail::start_map<detail::OrderedStage>(Context(), std::move(in), workers, std::move(f));
}
template <class In, class F>
auto map_ordered(const Context& ctx, RecvChan<In> in, std::size_t workers, F f) {
  return detail::start_map<detail::OrderedStage>(ctx, std::move(in), workers, std::move(f));
}
template <class In, class F>
auto map_ordered(const Chan<In>& in, std::size_t workers, F f) {
  return detail::start_map<detail::OrderedStage>(Context(), RecvChan<In>(in), workers, std::move(f));
}
template <class In, class F>
auto map_ordered(const Context& ctx, const Chan<In>& in, std::size_t workers, F f) {
  return detail::start_map<detail::OrderedStage>(ctx, RecvChan<In>(in), workers, std::move(f));
}

/// The same until ctx is done: then no further element is started. Throws also std::system_error(ctx.err()) if elements were
/// left out.
template <class Range, class F>
void for_each(const Context& ctx, Range&& range, std::size_t limit, F f) {
  ErrGroup group(ctx);
  group.set_limit(static_cast<std::int64_t>(limit == 0 ? detail::default_workers() : limit));
  const Context group_ctx = group.context();
  const bool is_complete = detail::walk(group_ctx, range, [&]<class Element>(Element&& element) {
    // An element that stays where it is is named, any other one is moved along.
    if constexpr (std::is_lvalue_reference_v<Element>) {
      return group.go(group_ctx, [&f, &group_ctx, at = std::addressof(element)] {
        if (!group_ctx.is_done()) static_cast<void>(detail::invoke(f, *at));
      });
    } else {
      // NOLINTNEXTLINE(bugprone-move-forwarding-reference)
      return group.go(group_ctx, [&f, &group_ctx, value = std::move(element)]() mutable {
        if (group_ctx.is_done()) return;
        if constexpr (std::is_invocable_v<F&, Element&&>) {
          static_cast<void>(detail::invoke(f, std::move(value)));
        } else {
          static_cast<void>(detail::invoke(f, value));
        }
      });
    }
  });
  group.wait();
  if (!is_complete) ctx.throw_if_done();
}

/// Calls f for each element of a range, or for each value that comes from a channel until it is closed: each call in a
/// goroutine of its own, at most `limit` at once (0: as many as there are processors), all of the same f. The elements of a
/// container are passed by reference, values of a channel or of an input range as rvalues.
///
/// Blocks: until every call has ended. Throws: the first exception, in time, that left f or the range; after it no further
/// element is started, and values stay in their channel. A call that ends by exit_goroutine has just ended.
/// Go: an errgroup with a limit.
template <class Range, class F>
void for_each(Range&& range, std::size_t limit, F f) {
  weft::for_each(background(), range, limit, std::move(f));
}

}  // namespace weft

#pragma once

// select: waits for several channel operations at once and does exactly one of them. Selector, which comes with it, does
// the same for cases that are known only at run time.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "weft/detail/select_case.hpp"
#include "weft/selector.hpp"
#include "weft/time.hpp"

namespace weft {

/// The case that goes when `d` has passed and no other could; d <= 0: when no other case is ready at once.
template <class Rep, class Period, class Handler = detail::NoHandler>
  requires std::invocable<std::decay_t<Handler>&>
TimeoutCase<std::decay_t<Handler>> on_timeout(std::chrono::duration<Rep, Period> d, Handler&& handler = {}) {
  return {detail::saturated_ns(d), std::forward<Handler>(handler)};
}

/// The case that goes when no other is ready at once. At most one in a select.
template <class Handler = detail::NoHandler>
  requires std::invocable<std::decay_t<Handler>&>
DefaultCase<std::decay_t<Handler>> on_default(Handler&& handler = {}) {
  return DefaultCase<std::decay_t<Handler>>(std::forward<Handler>(handler));
}

/// Blocks until one case can go, chooses uniformly among those that can, does its communication, runs its handler, and
/// returns its index (from 0, in the order of the arguments). Without cases: blocks for ever.
///
/// Blocks: unless a case is ready or there is an on_default. A nil channel's case is never ready.
/// Safe from: goroutines and threads; the same channel may appear in several cases.
/// Throws: RuntimePanic "send on closed channel" if that case is chosen; what the handler throws; Panic for two defaults.
/// Ordering: as the chosen operation. The readiness of all cases is judged at one instant.
/// Cost: O(n log n) for n cases; allocates nothing. The order in which C++ evaluates the arguments is unspecified.
/// Go: the select statement.
template <detail::SelectCase... Cases>
std::size_t select(Cases&&... cases) {
  if constexpr (sizeof...(Cases) == 0) {
    return detail::run_select(nullptr, 0);
  } else {
    detail::SelectEntry entries[] = {cases.entry()...};
    const std::size_t chosen = detail::run_select(entries, sizeof...(Cases));
    std::size_t index = 0;
    ((index++ == chosen ? cases.fire(entries[chosen]) : void()), ...);
    return chosen;
  }
}

/// One operation and a default: the try_ form of the operation (SEL-14), which needs no entries, and no call when a look
/// without a lock says that it cannot go.
template <detail::ChannelCase Case, detail::DefaultOnly Default>
std::size_t select(Case&& only, Default&& otherwise) {
  if (only.try_fire()) return 0;
  otherwise.fire();
  return 1;
}
template <detail::DefaultOnly Default, detail::ChannelCase Case>
std::size_t select(Default&& otherwise, Case&& only) {
  if (only.try_fire()) return 1;
  otherwise.fire();
  return 0;
}

}  // namespace weft

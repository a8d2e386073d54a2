#pragma once

// How a callable becomes a goroutine: the typed half. It is packed into the storage of a record; a stack is attached
// when a worker first runs it.

#include <cstddef>
#include <memory>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

#include "weft/error.hpp"

namespace weft {

/// Options of one goroutine; may come first in every call that starts one.
struct GoOptions {
  std::string_view name = {};  ///< shown in reports; copied
  std::size_t stack_size = 0;  ///< bytes; 0: the runtime's default
};

namespace detail {

class Scheduler;
struct Task;

/// Where a new goroutine's callable goes. Exactly one of commit_spawn and cancel_spawn follows.
struct SpawnSlot {
  Task* task;
  void* storage;
};

SpawnSlot begin_spawn(Scheduler* scheduler, std::size_t size, std::size_t align);
SpawnSlot begin_spawn(Scheduler* scheduler, std::size_t size, std::size_t align, const GoOptions& options);
/// Makes the goroutine runnable. `run` calls and destroys the closure at its argument.
void commit_spawn(Task* task, void (*run)(void*)) noexcept;
void cancel_spawn(Task* task) noexcept;
/// The goroutine will be in no bubble, though its starter is in one.
void leave_bubble(Task* task) noexcept;

/// What a pointer to a member of Class applies to: the object, what a reference wrapper refers to, what a pointer points at.
template <class Class, class Target>
constexpr decltype(auto) member_target(Target&& target) {
  if constexpr (std::is_base_of_v<Class, std::remove_cvref_t<Target>>) {
    return std::forward<Target>(target);
  } else if constexpr (requires { requires std::is_base_of_v<Class, std::remove_cvref_t<decltype(target.get())>>; }) {
    return target.get();
  } else {
    return *std::forward<Target>(target);
  }
}

template <class Class, class Member, class Target, class... Rest>
constexpr decltype(auto) invoke_member(Member Class::*member, Target&& target, Rest&&... rest) {
  if constexpr (std::is_function_v<Member>) {
    return (detail::member_target<Class>(std::forward<Target>(target)).*member)(std::forward<Rest>(rest)...);
  } else {
    return detail::member_target<Class>(std::forward<Target>(target)).*member;
  }
}

/// std::invoke without <functional>.
template <class F, class... Args>
constexpr decltype(auto) invoke(F&& f, Args&&... args) {
  if constexpr (std::is_member_pointer_v<std::decay_t<F>>) {
    return detail::invoke_member(f, std::forward<Args>(args)...);
  } else {
    return std::forward<F>(f)(std::forward<Args>(args)...);
  }
}

template <class F>
constexpr bool is_nil_callable(const F& f) noexcept {
  if constexpr (std::is_pointer_v<F> || std::is_member_pointer_v<F> || std::is_constructible_v<F, std::nullptr_t>) {
    if constexpr (requires { static_cast<bool>(f == nullptr); }) return static_cast<bool>(f == nullptr);
  }
  return false;
}

template <class Closure>
void run_and_destroy(void* storage) {
  auto* closure = static_cast<Closure*>(storage);
  struct Destroy {
    Closure* closure;
    ~Destroy() { closure->~Closure(); }
  } destroy{closure};
  static_cast<void>(std::move(*closure)());
}

// From here to go() everything is inlined, without optimisation too: the address that begin_spawn returns to is the spawn
// site of reports, and has to lie in the function that called go().

/// A goroutine that will run the closure, once commit_spawn is called with run_and_destroy<Closure>.
template <class Closure, class... Options>
[[gnu::always_inline]] inline Task* prepare_closure(Scheduler* scheduler, Closure&& closure,
                                                    const Options&... options) {
  using Stored = std::decay_t<Closure>;
  SpawnSlot slot = detail::begin_spawn(scheduler, sizeof(Stored), alignof(Stored), options...);
  if constexpr (std::is_nothrow_constructible_v<Stored, Closure>) {
    ::new (slot.storage) Stored(std::forward<Closure>(closure));
  } else {
    try {
      ::new (slot.storage) Stored(std::forward<Closure>(closure));
    } catch (...) {
      detail::cancel_spawn(slot.task);
      throw;
    }
  }
  return slot.task;
}

template <class Closure, class... Options>
[[gnu::always_inline]] inline void spawn_closure(Scheduler* scheduler, Closure&& closure, const Options&... options) {
  Task* task = detail::prepare_closure(scheduler, std::forward<Closure>(closure), options...);
  detail::commit_spawn(task, &run_and_destroy<std::decay_t<Closure>>);
}

/// Evaluates and decay-copies f and args now, in the calling goroutine, and starts them.
template <class F, class... Args>
[[gnu::always_inline]] inline void spawn(Scheduler* scheduler, const GoOptions* options, F&& f, Args&&... args) {
  if (detail::is_nil_callable<std::decay_t<F>>(f)) fatal("go of nil func value");
  auto start = [&](auto&& closure) __attribute__((always_inline)) {
    using Closure = decltype(closure);
    if (options == nullptr) {
      detail::spawn_closure(scheduler, std::forward<Closure>(closure));
    } else {
      detail::spawn_closure(scheduler, std::forward<Closure>(closure), *options);
    }
  };
  if constexpr (sizeof...(Args) == 0 && std::is_nothrow_constructible_v<std::decay_t<F>, F>) {
    start(std::forward<F>(f));  // made where it will stay
  } else {
    start([f = std::decay_t<F>(std::forward<F>(f)), ... args = std::decay_t<Args>(std::forward<Args>(args))]() mutable {
      static_cast<void>(detail::invoke(std::move(f), std::move(args)...));
    });
  }
}

template <class F, class... Args>
concept Spawnable = std::is_invocable_v<std::decay_t<F>, std::decay_t<Args>...>;

}  // namespace detail
}  // namespace weft

// What a channel can carry: types that must be refused, with the reason (tools/check_compile_fail.py says how to read this).
// Rules: CH-8, HZ-8
#include <memory>

#include <weft/chan.hpp>
#include <weft/select.hpp>

struct MoveMayThrow {
  MoveMayThrow() = default;
  MoveMayThrow(MoveMayThrow&&) noexcept(false) {}
};
struct CannotMove {
  CannotMove() = default;
  CannotMove(CannotMove&&) = delete;
};
struct DestructorMayThrow {
  ~DestructorMayThrow() noexcept(false) {}
};
struct Incomplete;

//! all kinds of elements: compiles
struct Node {
  weft::Chan<Node> next;
};
struct MoveOnly {
  MoveOnly(MoveOnly&&) noexcept = default;
  void operator=(MoveOnly&&) = delete;
};
void all_kinds(weft::Chan<Incomplete>, const weft::RecvChan<MoveMayThrow>&) {
  (void)weft::make_chan<Node>();
  (void)weft::make_chan<MoveOnly>();
  (void)weft::make_chan<std::unique_ptr<MoveMayThrow>>();
  (void)weft::make_chan<std::unique_ptr<DestructorMayThrow>>();
  (void)weft::make_chan<const int*>();
  (void)weft::make_chan<weft::Chan<weft::Chan<int>>>();
}

//! a move constructor that may throw: T must have a noexcept move constructor; wrap it in std::unique_ptr
auto move_may_throw() { return weft::make_chan<MoveMayThrow>(); }

//! no move constructor: T must have a noexcept move constructor
auto cannot_move() { return weft::make_chan<CannotMove>(); }

//! a destructor that may throw: T must have a noexcept destructor
auto destructor_may_throw() { return weft::make_chan<DestructorMayThrow>(); }

//! a reference: T must be an object type. no reference
auto reference() { return weft::make_chan<int&>(); }

//! a reference, in a handle: T must be an object type. no reference
weft::Chan<int&> reference_in_a_handle;

//! an array: T must be an object type. no reference, array
auto array() { return weft::make_chan<int[3]>(); }

//! a const type: T must be an object type. no reference, array, const type
auto const_type() { return weft::make_chan<const int>(); }

//! void: T must be an object type. no reference, array, const type or void
auto nothing() { return weft::make_chan<void>(); }

//! void, in one end of a channel: T must be an object type. no reference, array, const type or void
weft::RecvChan<void> nothing_to_receive;

//! a Selector that sends what may throw: T must have a noexcept move constructor
void selector_sends(weft::Selector& selector, const weft::Chan<MoveMayThrow>& ch) {
  selector.add_send(ch, MoveMayThrow());
}

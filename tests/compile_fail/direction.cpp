// Directions are checked by the compiler: each row of the contract's CH-7, and the same for select cases.
// Rules: CH-7, SEL-19
#include <memory>

#include <weft/chan.hpp>
#include <weft/select.hpp>

using weft::Chan;
using weft::RecvChan;
using weft::SendChan;

//! everything that is allowed: compiles
void allowed(const Chan<int>& both) {
  const SendChan<int> in = both;
  const RecvChan<int> out = both;
  SendChan<int> other;
  other = both;
  in.send(1);
  (void)out.recv();
  for (const int value : out) (void)value;
  for (const int value : both) (void)value;
  weft::select(in.on_send(1), out.on_recv());
  (void)(in == out);
  (void)(in.size() + out.capacity());
  in.close();
}

//! receive from a sending end: no member named 'recv'
void receive(const SendChan<int>& in) { (void)in.recv(); }

//! try_recv on a sending end: no member named 'try_recv'
void try_receive(const SendChan<int>& in) { (void)in.try_recv(); }

//! range over a sending end: (deleted|explicitly deleted).*begin|begin.*deleted
void range(const SendChan<int>& in) {
  for (const int value : in) (void)value;
}

//! send to a receiving end: no member named 'send'
void send(const RecvChan<int>& out) { out.send(1); }

//! try_send to a receiving end: no member named 'try_send'
void try_send(const RecvChan<int>& out) { (void)out.try_send(1); }

//! close a receiving end: no member named 'close'
void close(const RecvChan<int>& out) { out.close(); }

//! a receiving end is not the channel: conversion from '(const )?(weft::)?RecvChan<int>' to
Chan<int> receiver_to_both(const RecvChan<int>& out) {
  Chan<int> both = out;
  return both;
}

//! a sending end is not the channel: conversion from '(const )?(weft::)?SendChan<int>' to
Chan<int> sender_to_both(const SendChan<int>& in) {
  Chan<int> both = in;
  return both;
}

//! a sending end is no receiving end: conversion from '(const )?(weft::)?SendChan<int>' to
RecvChan<int> sender_to_receiver(const SendChan<int>& in) {
  RecvChan<int> out = in;
  return out;
}

//! a receiving end is no sending end: conversion from '(const )?(weft::)?RecvChan<int>' to
SendChan<int> receiver_to_sender(const RecvChan<int>& out) {
  SendChan<int> in = out;
  return in;
}

//! assign a receiving end to a sending end: (no match for|no viable overloaded) '(operator)?='
void assign_across(SendChan<int>& in, const RecvChan<int>& out) { in = out; }

//! assign an end to the channel: (no match for|no viable overloaded) '(operator)?='
void assign_back(Chan<int>& both, const SendChan<int>& in) { both = in; }

//! convert between elements: conversion from '(const )?(weft::)?Chan<int>' to
Chan<long> other_element(const Chan<int>& both) {
  Chan<long> other = both;
  return other;
}

//! a case that sends to a receiving end: no member named 'on_send'
void case_sends(const RecvChan<int>& out) { weft::select(out.on_send(1)); }

//! a case that receives from a sending end: no member named 'on_recv'
void case_receives(const SendChan<int>& in) { weft::select(in.on_recv()); }

//! copy a move-only value to send it: copy_constructible|is_constructible
void copy_move_only(const Chan<std::unique_ptr<int>>& ch, const std::unique_ptr<int>& value) {
  (void)ch.try_send(value);
}

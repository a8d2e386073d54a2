// What may stand in a select, and what may be added to a Selector.
// Rules: SEL-19
#include <chrono>
#include <string>

#include <weft/chan.hpp>
#include <weft/select.hpp>

using namespace std::chrono_literals;
using weft::Chan;

//! everything that is allowed: compiles
void allowed(const Chan<std::string>& ch, weft::Received<std::string>& target) {
  weft::select(ch.on_recv(), ch.on_recv([] {}), ch.on_recv([](const weft::Received<std::string>&) {}));
  weft::select(ch.on_recv(target), ch.on_send("text", [] {}), weft::on_timeout(1s, [] {}), weft::on_default([] {}));
  weft::Selector selector;
  selector.add(ch.on_recv(target));
  selector.add(weft::on_timeout(1s));
  selector.add(weft::on_default());
  selector.add_send(weft::SendChan<std::string>(ch), "text");
  selector.set_value<std::string>(3, "other");
  weft::Selector moved = std::move(selector);
}

//! a channel instead of a case: SelectCase
void channel(const Chan<int>& ch) { weft::select(ch); }

//! a value that was received already: SelectCase
void value(const Chan<int>& ch) { weft::select(ch.recv()); }

//! a handler of a receive that takes something else: no matching (member )?function for call to '.*on_recv
void recv_handler(const Chan<std::string>& ch) {
  weft::select(ch.on_recv([](int) {}));
}

//! a handler of a send that takes something: no matching (member )?function for call to '.*on_send
void send_handler(const Chan<int>& ch) {
  weft::select(ch.on_send(1, [](int) {}));
}

//! a handler of a timeout that takes something: no matching function for call to '.*on_timeout
void timeout_handler() {
  weft::select(weft::on_timeout(1s, [](int) {}));
}

//! a handler of a default that cannot be called: no matching function for call to '.*on_default
void default_handler() { weft::select(weft::on_default(5)); }

//! a timeout without a unit: no matching function for call to '.*on_timeout
void unit() { weft::select(weft::on_timeout(5)); }

//! add a case that sends: Selector::add: a case that sends must own its value: use add_send
void add_send_case(weft::Selector& selector, const Chan<int>& ch) { selector.add(ch.on_send(1)); }

//! add a case that sends a copy: Selector::add: a case that sends must own its value: use add_send
void add_copying_send_case(weft::Selector& selector, const Chan<std::string>& ch) { selector.add(ch.on_send("text")); }

//! add a channel: Selector::add: takes a case
void add_channel(weft::Selector& selector, const Chan<int>& ch) { selector.add(ch); }

//! add_send to a receiving end: deleted.*add_send|add_send.*deleted
void add_send_to_receiver(weft::Selector& selector, const weft::RecvChan<int>& out) { selector.add_send(out, 1); }

//! add_send of a value that the channel does not carry: no matching (member )?function for call to '.*add_send
void add_send_other(weft::Selector& selector, const Chan<int>& ch) { selector.add_send(ch, "text"); }

//! add_send with a handler that takes something: no matching (member )?function for call to '.*add_send
void add_send_handler(weft::Selector& selector, const Chan<int>& ch) {
  selector.add_send(ch, 1, [](int) {});
}

//! copy a Selector: (use of deleted function|call to deleted constructor of) 'weft::Selector
void copy(const weft::Selector& selector) { weft::Selector other = selector; }

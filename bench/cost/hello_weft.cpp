#include <cstdio>

#include <weft/weft.hpp>

int main() {
  weft::run([] {
    const auto greeting = weft::make_chan<const char*>();
    weft::go([=] { greeting.send("hello"); });
    std::puts(*greeting.recv());
  });
}

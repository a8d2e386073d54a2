// A user of weft-net: a byte over loopback and back.

#include <cstddef>
#include <span>
#include <string>

#include <weft/net/stream.hpp>
#include <weft/net/tcp.hpp>
#include <weft/weft.hpp>

int main() {
  return weft::run([] {
    weft::net::Listener listener = weft::net::listen_tcp("127.0.0.1:0");
    weft::WaitGroup wg;
    wg.go([&] { listener.accept().write("x"); });
    weft::net::Stream client = weft::net::dial_tcp(listener.local().to_string());
    std::byte byte{};
    client.read_full(std::span(&byte, 1));
    wg.wait();
    return static_cast<char>(byte) == 'x' ? 0 : 1;
  });
}

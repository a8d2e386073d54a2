// A server that sends back what it reads, by a goroutine for each connection; echo/go_net/main.go is its twin.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <weft/go.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>

#include "../support/server.hpp"

namespace {

// Until the peer has closed, or is gone.
void echo(weft::net::Stream stream) {
  std::array<std::byte, 1024> buffer;
  for (std::error_code error; !error;) {
    const std::size_t count = stream.read_some(buffer, error);
    if (!error) stream.write(std::span(buffer).first(count), error);
  }
}

void serve(std::uint16_t port) {
  weft::run([port] {
    weft::net::Listener listener = weft::net::listen_tcp("127.0.0.1:" + std::to_string(port));
    for (;;) weft::go(echo, listener.accept());
  });
}

}  // namespace

int main(int argc, char** argv) { return servers::run_program(argc, argv, WEFT_BENCH_VERSION, serve); }

// A user of weft-tls: dials somebody who does not speak it.

#include <cstdio>
#include <system_error>

#include <weft/net/tcp.hpp>
#include <weft/net/tls.hpp>
#include <weft/weft.hpp>

int main() {
  return weft::run([] {
    weft::net::Listener listener = weft::net::listen_tcp("127.0.0.1:0");
    weft::WaitGroup wg;
    wg.go([&] { listener.accept().write("plain text"); });
    std::error_code error;
    weft::net::dial_tls(listener.local().to_string(), weft::net::TlsConfig::client(), error);
    wg.wait();
    std::printf("%s\n", error.message().c_str());
    return error == weft::net::tls_errc::not_tls ? 0 : 1;
  });
}

// What weft-http needs to answer with a JSON that is made for each request; http/go_net_http/main.go is its twin.
#include <cstdint>
#include <string>
#include <system_error>

#include <weft/http/json.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/runtime.hpp>

#include "../support/server.hpp"

namespace {

void serve(std::uint16_t port) {
  weft::run([port] {
    weft::http::Router router;
    router.get("/json", [](weft::http::Request&, weft::http::ResponseWriter& response) {
      unsigned char buffer[512];
      boost::json::monotonic_resource memory(buffer, sizeof buffer);
      boost::json::object reply(&memory);
      reply.reserve(3);
      reply.emplace("message", "Hello, World!");
      reply.emplace("id", 42);
      reply.emplace("new", true);
      weft::http::write_json(response, weft::http::Status::ok, reply);
    });
    weft::http::Server server(router);
    throw std::system_error(server.listen_and_serve("127.0.0.1:" + std::to_string(port)), "serve");
  });
}

}  // namespace

int main(int argc, char** argv) { return servers::run_program(argc, argv, WEFT_BENCH_VERSION, serve); }

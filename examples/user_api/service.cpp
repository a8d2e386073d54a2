#include "service.hpp"

#include <cstdint>
#include <cstdio>
#include <utility>

#include <weft/http/error.hpp>

namespace user_api {

namespace {

constexpr std::uint64_t kMostBodyBytes = 16 * 1024;  // no user is that big

}  // namespace

Service::Service(weft::net::Listener listener, const ServiceOptions& options)
    : address_(listener.local().to_string()),
      users_(options.database),
      passwords_(options.hash_cost),
      handler_(users_, passwords_),
      server_(make_router(handler_, options.log), {.max_body_bytes = kMostBodyBytes, .log = options.log}) {
  serving_.go([this, listener = std::move(listener)]() mutable {
    const std::error_code error = server_.serve(std::move(listener));
    if (error == weft::http::errc::server_closed) return;
    std::fprintf(stderr, "user_api: it accepts nothing any more: %s\n", error.message().c_str());
  });
}

Service::~Service() {
  server_.close();
  serving_.wait();
}

}  // namespace user_api

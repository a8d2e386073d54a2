// Everything together: the database, the handlers and a server for them, which runs as long as this object lives.

#pragma once

#include <string>
#include <system_error>

#include <weft/context.hpp>
#include <weft/http/server.hpp>
#include <weft/net/stream.hpp>
#include <weft/wait_group.hpp>

#include "api.hpp"
#include "secrets.hpp"
#include "users.hpp"

namespace user_api {

struct ServiceOptions {
  std::string database;
  unsigned hash_cost = PasswordHasher::kDefaultCost;
  Log log;  // to standard error if there is none
};

/// Made and destroyed by a goroutine.
class Service {
 public:
  /// Serves what the listener accepts. Throws if the database cannot be used.
  Service(weft::net::Listener listener, const ServiceOptions& options);
  /// Ends what still runs.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  /// "127.0.0.1:8080"
  [[nodiscard]] const std::string& address() const { return address_; }
  /// Takes no more requests and waits for those that are being served, until the context is done.
  std::error_code shut_down(const weft::Context& ctx) { return server_.shutdown(ctx); }

 private:
  std::string address_;
  UserStore users_;
  PasswordHasher passwords_;
  UserHandler handler_;
  weft::http::Server server_;
  weft::WaitGroup serving_;
};

}  // namespace user_api

#pragma once

// Which handler serves which path.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "weft/http/handler.hpp"

namespace weft::http {

/// Patterns: "/users", "/users/{id}" (one segment), "/files/{path...}" (the rest, also none). A literal segment goes before {name},
/// that before {name...}; a pattern that has no handler for the method is passed over. "/users/" is another path than "/users".
/// GET serves HEAD too. What is not found gets a 404; what is, but only for other methods, a 405 with Allow.
/// A copy is another name of the same router. To be filled before it serves. Go: http.ServeMux; groups as Gin's.
class Router {
 public:
  Router();

  /// Around everything of this router, also its 404 and 405, or around the routes that a group gets from now on (so answers to
  /// preflight requests are for the router); the first one outermost. A group's are inside of its parent's.
  Router& use(Middleware middleware);
  /// Throws std::invalid_argument for a pattern that is wrong, or is there already.
  Router& handle(std::string_view method, std::string_view pattern, Handler handler);
  Router& get(std::string_view pattern, Handler handler) { return handle("GET", pattern, std::move(handler)); }
  Router& post(std::string_view pattern, Handler handler) { return handle("POST", pattern, std::move(handler)); }
  Router& put(std::string_view pattern, Handler handler) { return handle("PUT", pattern, std::move(handler)); }
  Router& patch(std::string_view pattern, Handler handler) { return handle("PATCH", pattern, std::move(handler)); }
  Router& del(std::string_view pattern, Handler handler) { return handle("DELETE", pattern, std::move(handler)); }
  /// By any method that has no handler of its own there.
  Router& any(std::string_view pattern, Handler handler) { return handle("*", pattern, std::move(handler)); }
  /// Instead of the plain 404. Only of the router, not of a group.
  Router& not_found(Handler handler);
  /// Instead of the plain 405; "Allow" is set. Likewise.
  Router& method_not_allowed(Handler handler);

  /// Routes below the prefix, which may have parameters.
  [[nodiscard]] Router group(std::string_view prefix);

  /// As a handler.
  void operator()(Request& request, ResponseWriter& response) const;

 private:
  struct Node;
  struct Table;
  Router(std::shared_ptr<Table> table, std::string prefix, std::vector<Middleware> around);

  std::shared_ptr<Table> table_;
  std::string prefix_;
  std::vector<Middleware> around_;  // a group's, inside of the table's
  bool is_group_ = false;
};

}  // namespace weft::http

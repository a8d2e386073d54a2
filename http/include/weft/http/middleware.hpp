#pragma once

// Middleware that most servers want.

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "weft/http/handler.hpp"

namespace weft::http {

/// One line for each request: method, path, status, bytes, time. To standard error if no other place is given, which is called
/// from many goroutines.
Middleware logging(std::function<void(std::string_view line)> sink = {});

/// An exception of a handler becomes a reply of status 500 (StatusError: its own) within this middleware, so that what stands
/// around it (logging, CORS) sees it; and a line in the log. Without it the server does the same at the very outside. The reply is
/// plain text if no other is given: recovery({}, write_json_error).
Middleware recovery(std::function<void(std::string_view line)> sink = {}, ErrorReply reply = {});

struct CorsOptions {
  std::vector<std::string> origins = {"*"};
  std::vector<std::string> methods = {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
  std::vector<std::string> headers = {"Origin", "Content-Type", "Authorization"};
  bool allow_credentials = false;
  std::chrono::seconds max_age{600};
};
/// Tells browsers what other sites may ask; answers their preflight requests with 204. Throws std::invalid_argument for
/// credentials together with origin "*", which browsers refuse.
Middleware cors(CorsOptions options = {});

/// Lets those through whose "Authorization: Bearer <token>" is accepted; 401 with WWW-Authenticate for others.
Middleware bearer_auth(std::function<bool(Request& request, std::string_view token)> accepts);

/// Gives the request's Context a deadline, and replies 503 if the handler returns after it without having replied. The handler
/// must look at the context. Go: http.TimeoutHandler.
Middleware timeout(std::chrono::nanoseconds limit);

}  // namespace weft::http

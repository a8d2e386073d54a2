// The API itself: what the article's UserHandler and main() are, side by side with them.

#pragma once

#include <functional>
#include <string_view>

#include <weft/http/request.hpp>
#include <weft/http/response_writer.hpp>
#include <weft/http/router.hpp>

#include "secrets.hpp"
#include "users.hpp"

namespace user_api {

/// Handlers run in many goroutines at once, so there is no state here but what the store keeps. A handler replies, or
/// throws weft::http::StatusError, which becomes {"error": "..."}; any other exception becomes a 500 and a line in the log.
class UserHandler {
 public:
  UserHandler(UserStore& users, PasswordHasher& passwords) : users_(users), passwords_(passwords) {}

  void create_user(weft::http::Request& request, weft::http::ResponseWriter& response);
  void log_in(weft::http::Request& request, weft::http::ResponseWriter& response);
  void list_users(weft::http::Request& request, weft::http::ResponseWriter& response);
  void get_user(weft::http::Request& request, weft::http::ResponseWriter& response);
  void update_user(weft::http::Request& request, weft::http::ResponseWriter& response);
  void delete_user(weft::http::Request& request, weft::http::ResponseWriter& response);
  /// Who is logged in.
  void current_user(weft::http::Request& request, weft::http::ResponseWriter& response);

  /// The article's verifyToken: whether somebody is logged in with it. Notes in the request's context who it is.
  bool verify_token(weft::http::Request& request, std::string_view token);

 private:
  UserStore& users_;
  PasswordHasher& passwords_;
};

/// Where log lines go; called from many goroutines.
using Log = std::function<void(std::string_view line)>;

/// The routes, with logging, recovery and CORS around them. Both must outlive what serves it.
weft::http::Router make_router(UserHandler& handler, const Log& log);

}  // namespace user_api

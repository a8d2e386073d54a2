#include "api.hpp"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include <weft/context.hpp>
#include <weft/http/json.hpp>
#include <weft/http/middleware.hpp>

#include "input.hpp"
#include "page.hpp"

namespace user_api {

namespace http = weft::http;
namespace json = boost::json;
using http::Request;
using http::ResponseWriter;
using http::Status;
using http::StatusError;

namespace {

/// The key of the user in a request's context; gin's c.Set("user", user).
struct CurrentUser {
  using type = User;
};

/// The article's toUserResponse. The password's hash is not even read from the database.
json::object to_json(const User& user) {
  return {{"id", user.id},
          {"email", user.email},
          {"name", user.name},
          {"created_at", user.created_at},
          {"is_active", user.is_active}};
}

User found(std::optional<User> user) {
  if (!user) throw StatusError(Status::not_found, "User not found");
  return *std::move(user);
}

}  // namespace

void UserHandler::create_user(Request& request, ResponseWriter& response) {
  const weft::Context& ctx = request.context();
  const UserCreate wanted = read_user_create(request);
  const auto refuse = [] { throw StatusError(Status::bad_request, "Email already registered"); };
  if (users_.has_email(ctx, wanted.email)) refuse();  // before the hash, which is dear
  const std::string hash = passwords_.hash(ctx, wanted.password);
  const std::optional<User> user = users_.create(ctx, wanted.email, wanted.name, hash);
  if (!user) refuse();  // somebody else was faster
  response.header("Location", "/users/" + std::to_string(user->id));
  http::write_json(response, Status::created, to_json(*user));
}

void UserHandler::log_in(Request& request, ResponseWriter& response) {
  const weft::Context& ctx = request.context();
  const Login login = read_login(request);
  const auto credentials = users_.credentials(ctx, login.email);
  const std::string token = make_token();
  if (!credentials || !passwords_.matches(ctx, login.password, credentials->password_hash) ||
      !users_.add_session(ctx, credentials->user_id, hash_token(token))) {
    throw StatusError(Status::unauthorized, "Wrong e-mail or password");
  }
  response.header("Cache-Control", "no-store");
  http::write_json(response, Status::ok, json::object{{"access_token", token}, {"token_type", "bearer"}});
}

void UserHandler::list_users(Request& request, ResponseWriter& response) {
  const Page page = read_page(request);
  json::array users;
  for (const User& user : users_.list(request.context(), page.skip, page.limit)) users.push_back(to_json(user));
  http::write_json(response, Status::ok, std::move(users));
}

void UserHandler::get_user(Request& request, ResponseWriter& response) {
  http::write_json(response, Status::ok, to_json(found(users_.find(request.context(), read_user_id(request)))));
}

void UserHandler::update_user(Request& request, ResponseWriter& response) {
  const std::int64_t id = read_user_id(request);
  const UserUpdate changes = read_user_update(request);
  http::write_json(response, Status::ok, to_json(found(users_.update(request.context(), id, changes))));
}

void UserHandler::delete_user(Request& request, ResponseWriter& response) {
  if (!users_.remove(request.context(), read_user_id(request))) {
    throw StatusError(Status::not_found, "User not found");
  }
  response.status(Status::no_content);
}

void UserHandler::current_user(Request& request, ResponseWriter& response) {
  http::write_json(response, Status::ok, to_json(*request.context().value<CurrentUser>()));
}

bool UserHandler::verify_token(Request& request, std::string_view token) {
  std::optional<User> user = users_.find_by_session(request.context(), hash_token(token));
  if (!user) return false;
  request.set_context(weft::with_value<CurrentUser>(request.context(), *std::move(user)));
  return true;
}

http::Router make_router(UserHandler& handler, const Log& log) {
  // A member function as a handler.
  const auto to = [&handler](void (UserHandler::*method)(Request&, ResponseWriter&)) {
    return [&handler, method](Request& request, ResponseWriter& response) { (handler.*method)(request, response); };
  };

  http::Router router;
  router.use(http::logging(log));
  router.use(http::cors());
  router.use(http::recovery(log, http::write_json_error));
  router.not_found([](Request&, ResponseWriter&) { throw StatusError(Status::not_found, "There is nothing here"); });
  router.method_not_allowed([](Request& request, ResponseWriter&) {
    throw StatusError(Status::method_not_allowed, std::string(request.method()) + " is not possible here");
  });

  // Public routes
  router.post("/users", to(&UserHandler::create_user));
  router.post("/login", to(&UserHandler::log_in));
  router.get("/health", [](Request&, ResponseWriter& response) {
    http::write_json(response, Status::ok, json::object{{"status", "healthy"}});
  });
  router.get("/",
             [](Request&, ResponseWriter& response) { response.send(Status::ok, "text/html; charset=utf-8", kPage); });

  // Protected routes
  http::Router is_protected = router.group("/users");
  is_protected.use(http::bearer_auth(
      [&handler](Request& request, std::string_view token) { return handler.verify_token(request, token); }));
  is_protected.get("", to(&UserHandler::list_users));
  is_protected.get("/me", to(&UserHandler::current_user));
  is_protected.get("/{id}", to(&UserHandler::get_user));
  is_protected.patch("/{id}", to(&UserHandler::update_user));
  is_protected.del("/{id}", to(&UserHandler::delete_user));
  return router;
}

}  // namespace user_api

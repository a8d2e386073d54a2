#include "client.hpp"

#include <stdexcept>

#include <weft/http/response.hpp>
#include <weft/http/status.hpp>

namespace user_api {

namespace {

namespace http = weft::http;
namespace json = boost::json;

}  // namespace

Reply Client::ask(std::string_view method, std::string_view path, std::string_view body, http::Headers headers) const {
  if (!token_.empty() && !headers.contains("Authorization")) headers.set("Authorization", "Bearer " + token_);
  if (!body.empty() && !headers.contains("Content-Type")) headers.set("Content-Type", "application/json");
  http::Response response = http_->send({.url = url_ + std::string(path),
                                         .method = std::string(method),
                                         .headers = std::move(headers),
                                         .body = std::string(body)});
  std::string text = response.text();
  return {.status = http::code(response.status()), .headers = response.headers(), .body = std::move(text)};
}

void Client::log_in(std::string_view email, std::string_view password) {
  const Reply reply = ask("POST", "/login", login_of(email, password));
  if (reply.status != 200) throw std::runtime_error("cannot log in: " + reply.body);
  token_ = json::value_to<std::string>(reply.json().at("access_token"));
}

std::string new_user(std::string_view email, std::string_view name, std::string_view password) {
  return json::serialize(json::object{{"email", json::string_view(email)},
                                      {"name", json::string_view(name)},
                                      {"password", json::string_view(password)}});
}

std::string login_of(std::string_view email, std::string_view password) {
  return json::serialize(json::object{{"email", json::string_view(email)}, {"password", json::string_view(password)}});
}

}  // namespace user_api

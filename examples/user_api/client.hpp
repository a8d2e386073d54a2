// A client of the API, for the tour and for tests.

#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <boost/json.hpp>

#include <weft/http/client.hpp>
#include <weft/http/headers.hpp>

namespace user_api {

struct Reply {
  int status = 0;
  weft::http::Headers headers;
  std::string body;

  [[nodiscard]] boost::json::value json() const { return boost::json::parse(body); }
  /// The text of {"error": ...}
  [[nodiscard]] std::string error() const { return boost::json::value_to<std::string>(json().at("error")); }
};

/// A copy shares its connections. Safe from: any number of goroutines, while nobody changes the token.
class Client {
 public:
  /// "127.0.0.1:8080"
  explicit Client(std::string_view address) : url_("http://" + std::string(address)) {}

  /// Throws std::system_error if there is no reply.
  [[nodiscard]] Reply ask(std::string_view method, std::string_view path, std::string_view body = {},
                          weft::http::Headers headers = {}) const;
  /// What stands in the Authorization field from now on; "" for none.
  void set_token(std::string token) { token_ = std::move(token); }
  /// Logs in, and is that user from now on. Throws if that is refused.
  void log_in(std::string_view email, std::string_view password);

 private:
  std::string url_;
  std::string token_;
  std::shared_ptr<weft::http::Client> http_ = std::make_shared<weft::http::Client>();
};

/// Bodies of requests.
std::string new_user(std::string_view email, std::string_view name, std::string_view password);
std::string login_of(std::string_view email, std::string_view password);

}  // namespace user_api

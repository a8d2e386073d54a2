#include "input.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <string_view>
#include <system_error>

#include <boost/json.hpp>

#include <weft/http/error.hpp>
#include <weft/http/json.hpp>

namespace user_api {

namespace {

namespace http = weft::http;

constexpr std::size_t kMostEmail = 254;  // bytes: what mail itself can address
constexpr std::size_t kMostName = 200;   // characters
constexpr std::size_t kLeastPassword = 8;
constexpr std::size_t kMostPassword = 200;
constexpr std::int64_t kMostUsers = 100;  // in one page

/// The length of text in UTF-8, which the JSON parser has checked.
std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80; }));
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

/// Something, one @, and a name with a dot in it. Whether mail arrives there, only sending some can tell.
bool is_email(std::string_view text) {
  const std::size_t at = text.find('@');
  if (at == 0 || at == std::string_view::npos || text.size() > kMostEmail) return false;
  if (has_control(text) || text.find_first_of(" \"(),:;<>[]\\") != std::string_view::npos) return false;
  const std::string_view host = text.substr(at + 1);
  return host.find('@') == std::string_view::npos && host.find('.') != std::string_view::npos &&
         host.find("..") == std::string_view::npos && host.front() != '.' && host.back() != '.';
}

/// The members of a request's body, taken out one by one. What is wrong with them is collected, so that a client learns all
/// of it at once.
class Fields {
 public:
  explicit Fields(http::Request& request) {
    boost::json::value body = http::read_json(request);
    if (!body.is_object()) throw http::StatusError(http::Status::bad_request, "the body must be a JSON object");
    members_ = std::move(body.get_object());
  }

  std::optional<std::string> text(const char* name) {
    const boost::json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (const auto* text = value->if_string()) return std::string(text->data(), text->size());
    refuse(name, "must be a string");
    return std::nullopt;
  }

  std::string required_text(const char* name) {
    if (find(name) == nullptr) refuse(name, "is required");
    return text(name).value_or("");
  }

  std::optional<bool> boolean(const char* name) {
    const boost::json::value* value = find(name);
    if (value == nullptr) return std::nullopt;
    if (const bool* is_true = value->if_bool()) return *is_true;
    refuse(name, "must be true or false");
    return std::nullopt;
  }

  /// Unless something else is wrong with it already.
  void expect(bool holds, const char* name, const char* what) {
    if (!holds && refused_.find(std::string(name) + ": ") == std::string::npos) refuse(name, what);
  }

  void throw_if_refused() const {
    if (!refused_.empty()) throw http::StatusError(http::Status::bad_request, refused_);
  }

 private:
  const boost::json::value* find(const char* name) const {
    const boost::json::value* value = members_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  void refuse(const char* name, const char* what) {
    refused_.append(refused_.empty() ? "" : "; ").append(name).append(": ").append(what);
  }

  boost::json::object members_;
  std::string refused_;
};

void expect_name(Fields& fields, std::string_view name) {
  fields.expect(!name.empty() && characters(name) <= kMostName && !has_control(name), "name",
                "must have 1 to 200 characters, none of them a control character");
}

/// A whole number of `text`, if it is nothing else.
std::optional<std::int64_t> to_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

std::int64_t read_query(const http::Request& request, const char* name, std::int64_t usual, std::int64_t least) {
  const std::optional<std::string> text = request.query(name);
  if (!text) return usual;
  const std::optional<std::int64_t> number = to_number(*text);
  if (number && *number >= least) return *number;
  throw http::StatusError(http::Status::bad_request,
                          std::string(name) + ": must be a whole number from " + std::to_string(least));
}

}  // namespace

UserCreate read_user_create(http::Request& request) {
  Fields fields(request);
  UserCreate user{.email = fields.required_text("email"),
                  .name = fields.required_text("name"),
                  .password = fields.required_text("password")};
  fields.expect(is_email(user.email), "email", "must be an e-mail address such as ada@example.com");
  expect_name(fields, user.name);
  const std::size_t length = characters(user.password);
  fields.expect(length >= kLeastPassword && length <= kMostPassword, "password", "must have 8 to 200 characters");
  fields.throw_if_refused();
  return user;
}

UserUpdate read_user_update(http::Request& request) {
  Fields fields(request);
  UserUpdate changes{.name = fields.text("name"), .is_active = fields.boolean("is_active")};
  if (changes.name) expect_name(fields, *changes.name);
  fields.throw_if_refused();
  return changes;
}

Login read_login(http::Request& request) {
  Fields fields(request);
  Login login{.email = fields.required_text("email"), .password = fields.required_text("password")};
  fields.throw_if_refused();
  return login;
}

Page read_page(const http::Request& request) {
  return {.skip = read_query(request, "skip", 0, 0),
          .limit = std::min(read_query(request, "limit", 10, 1), kMostUsers)};
}

std::int64_t read_user_id(const http::Request& request) {
  const std::optional<std::int64_t> id = to_number(request.param("id"));
  if (!id) throw http::StatusError(http::Status::bad_request, "Invalid user ID");
  return *id;
}

}  // namespace user_api

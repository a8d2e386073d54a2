// What clients send, checked: what comes out of here is as the program wants it, and what is not is a reply of status 400
// that names each field with what it must be.

#pragma once

#include <cstdint>
#include <string>

#include <weft/http/request.hpp>

#include "users.hpp"

namespace user_api {

/// `binding:"required,email"`, `"required,min=1"`, `"required,min=8"` in the article.
struct UserCreate {
  std::string email;
  std::string name;
  std::string password;
};

struct Login {
  std::string email;
  std::string password;
};

struct Page {
  std::int64_t skip = 0;
  std::int64_t limit = 10;
};

/// All throw weft::http::StatusError. Members that nobody asks for are passed over, and null is as good as none, as in Go.
UserCreate read_user_create(weft::http::Request& request);
UserUpdate read_user_update(weft::http::Request& request);
Login read_login(weft::http::Request& request);
/// Of the query; a limit above 100 becomes 100.
Page read_page(const weft::http::Request& request);
/// Of the path.
std::int64_t read_user_id(const weft::http::Request& request);

}  // namespace user_api

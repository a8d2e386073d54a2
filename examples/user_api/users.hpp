// The users and their sessions, as the database keeps them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <weft/context.hpp>

#include "database.hpp"

namespace user_api {

struct User {
  std::int64_t id = 0;
  std::string email;
  std::string name;
  std::string created_at;  // RFC 3339, UTC
  bool is_active = true;
};

/// What is to change; nullopt stays as it is.
struct UserUpdate {
  std::optional<std::string> name;
  std::optional<bool> is_active;
};

/// The article's Database. Every call ends with its context, as Go's database/sql does, and throws SqliteError when the
/// database fails. Safe from: any number of goroutines at once.
class UserStore {
 public:
  /// Keeps them in that file, which is made if it is not there.
  explicit UserStore(const std::string& file);

  /// nullopt: the e-mail is taken, in whatever case. Of those who come with one e-mail at the same time one gets it.
  std::optional<User> create(const weft::Context& ctx, std::string_view email, std::string_view name,
                             std::string_view password_hash);
  bool has_email(const weft::Context& ctx, std::string_view email);
  std::vector<User> list(const weft::Context& ctx, std::int64_t skip, std::int64_t limit);
  std::optional<User> find(const weft::Context& ctx, std::int64_t id);
  std::optional<User> update(const weft::Context& ctx, std::int64_t id, const UserUpdate& changes);
  /// With the user's sessions. False: there is no such user.
  bool remove(const weft::Context& ctx, std::int64_t id);

  struct Credentials {
    std::int64_t user_id;
    std::string password_hash;
  };
  /// Of an active user.
  std::optional<Credentials> credentials(const weft::Context& ctx, std::string_view email);
  /// Lasts a day. Sessions that are over are cleared away. False: there is no such user any more, or not an active one.
  bool add_session(const weft::Context& ctx, std::int64_t user_id, std::string_view token_hash);
  /// Whose session it is, if it still lasts and the user is active.
  std::optional<User> find_by_session(const weft::Context& ctx, std::string_view token_hash);

 private:
  Database database_;
};

}  // namespace user_api

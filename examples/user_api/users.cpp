#include "users.hpp"

namespace user_api {

namespace {

// A new version of the program that needs other tables would look at PRAGMA user_version and change them here.
constexpr const char* kSchema = R"(
  CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- a deleted user's id is not given out again
    email TEXT NOT NULL UNIQUE COLLATE NOCASE,
    name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    is_active INTEGER NOT NULL DEFAULT 1
  ) STRICT;
  CREATE TABLE IF NOT EXISTS sessions (
    token_hash TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS sessions_of_user ON sessions (user_id);
)";

/// The columns id, email, name, created_at, is_active.
User read_user(const Statement& row) {
  return {.id = row.integer(0),
          .email = row.text(1),
          .name = row.text(2),
          .created_at = row.text(3),
          .is_active = row.integer(4) != 0};
}

/// Of a statement that has one row, or none.
std::optional<User> only_user(Statement& statement) {
  if (!statement.step()) return std::nullopt;
  User user = read_user(statement);
  statement.step();  // to its end: what it changes is committed then
  return user;
}

}  // namespace

UserStore::UserStore(const std::string& file) : database_(file) {
  database_.write(weft::background(), [](Connection& db) { db.run(kSchema); });
}

std::optional<User> UserStore::create(const weft::Context& ctx, std::string_view email, std::string_view name,
                                      std::string_view password_hash) {
  return database_.write(ctx, [&](Connection& db) -> std::optional<User> {
    Statement insert = db.prepare(
        "INSERT INTO users (email, name, password_hash) VALUES (?, ?, ?) "
        "RETURNING id, email, name, created_at, is_active");
    try {
      return only_user(insert.bind(email).bind(name).bind(password_hash));
    } catch (const SqliteError& error) {
      if (error.is_duplicate()) return std::nullopt;
      throw;
    }
  });
}

bool UserStore::has_email(const weft::Context& ctx, std::string_view email) {
  return database_.read(
      ctx, [&](Connection& db) { return db.prepare("SELECT 1 FROM users WHERE email = ?").bind(email).step(); });
}

std::vector<User> UserStore::list(const weft::Context& ctx, std::int64_t skip, std::int64_t limit) {
  return database_.read(ctx, [&](Connection& db) {
    Statement select =
        db.prepare("SELECT id, email, name, created_at, is_active FROM users ORDER BY id LIMIT ? OFFSET ?");
    select.bind(limit).bind(skip);
    std::vector<User> users;
    while (select.step()) users.push_back(read_user(select));
    return users;
  });
}

std::optional<User> UserStore::find(const weft::Context& ctx, std::int64_t id) {
  return database_.read(ctx, [&](Connection& db) {
    Statement select = db.prepare("SELECT id, email, name, created_at, is_active FROM users WHERE id = ?");
    return only_user(select.bind(id));
  });
}

std::optional<User> UserStore::update(const weft::Context& ctx, std::int64_t id, const UserUpdate& changes) {
  return database_.write(ctx, [&](Connection& db) {
    Statement update = db.prepare(
        "UPDATE users SET name = coalesce(?, name), is_active = coalesce(?, is_active) WHERE id = ? "
        "RETURNING id, email, name, created_at, is_active");
    return only_user(update.bind(changes.name).bind(changes.is_active).bind(id));
  });
}

bool UserStore::remove(const weft::Context& ctx, std::int64_t id) {
  return database_.write(ctx, [&](Connection& db) {
    db.prepare("DELETE FROM users WHERE id = ?").bind(id).step();
    return db.changes() > 0;
  });
}

std::optional<UserStore::Credentials> UserStore::credentials(const weft::Context& ctx, std::string_view email) {
  return database_.read(ctx, [&](Connection& db) -> std::optional<Credentials> {
    Statement select = db.prepare("SELECT id, password_hash FROM users WHERE email = ? AND is_active");
    if (!select.bind(email).step()) return std::nullopt;
    return Credentials{.user_id = select.integer(0), .password_hash = select.text(1)};
  });
}

bool UserStore::add_session(const weft::Context& ctx, std::int64_t user_id, std::string_view token_hash) {
  return database_.write(ctx, [&](Connection& db) {
    db.prepare("DELETE FROM sessions WHERE expires_at <= unixepoch()").step();
    db.prepare(
          "INSERT INTO sessions (token_hash, user_id, expires_at) "
          "SELECT ?, id, unixepoch('now', '+1 day') FROM users WHERE id = ? AND is_active")
        .bind(token_hash)
        .bind(user_id)
        .step();
    return db.changes() > 0;
  });
}

std::optional<User> UserStore::find_by_session(const weft::Context& ctx, std::string_view token_hash) {
  return database_.read(ctx, [&](Connection& db) {
    Statement select = db.prepare(
        "SELECT users.id, email, name, created_at, is_active FROM sessions JOIN users ON users.id = user_id "
        "WHERE token_hash = ? AND expires_at > unixepoch() AND is_active");
    return only_user(select.bind(token_hash));
  });
}

}  // namespace user_api

#include "sqlite.hpp"

#include <new>
#include <utility>

#include <sqlite3.h>

namespace user_api {

namespace {

constexpr int kLockTimeoutMs = 5'000;  // another process may be writing

[[noreturn]] void fail(sqlite3* connection, const std::string& what) {
  throw SqliteError("database: " + what + ": " + sqlite3_errmsg(connection), sqlite3_extended_errcode(connection));
}

}  // namespace

bool SqliteError::is_duplicate() const noexcept { return code_ == SQLITE_CONSTRAINT_UNIQUE; }

// --- Statement ---

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), bound_(other.bound_) {}

Statement::~Statement() {
  sqlite3_reset(statement_);  // says once more what step() has thrown, if it has
  sqlite3_clear_bindings(statement_);
}

void Statement::must(int code) const {
  if (code != SQLITE_OK) fail(sqlite3_db_handle(statement_), sqlite3_sql(statement_));
}

Statement& Statement::bind(std::int64_t value) {
  must(sqlite3_bind_int64(statement_, ++bound_, value));
  return *this;
}

Statement& Statement::bind(std::string_view text) {
  must(sqlite3_bind_text64(statement_, ++bound_, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}

Statement& Statement::bind_null() {
  must(sqlite3_bind_null(statement_, ++bound_));
  return *this;
}

bool Statement::step() {
  const int code = sqlite3_step(statement_);
  if (code != SQLITE_ROW && code != SQLITE_DONE) must(code);
  return code == SQLITE_ROW;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_, column); }

std::string Statement::text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return {};  // NULL
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

// --- Connection ---

void Connection::Close::operator()(sqlite3* connection) const noexcept { sqlite3_close_v2(connection); }
void Connection::Close::operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }

Connection::Connection(const std::string& file) {
  sqlite3* connection = nullptr;
  // NOMUTEX: whoever has the connection is alone with it, so SQLite need not lock it once more.
  const int code = sqlite3_open_v2(file.c_str(), &connection,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  connection_.reset(connection);
  if (connection == nullptr) throw std::bad_alloc();
  if (code != SQLITE_OK) fail(connection, "cannot open " + file);
  sqlite3_extended_result_codes(connection, 1);
  sqlite3_busy_timeout(connection, kLockTimeoutMs);
  // WAL: readers see what is committed, and go on while somebody writes.
  constexpr const char* kSettings = "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON";
  if (sqlite3_exec(connection, kSettings, nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail(connection, "cannot use " + file);
  }
}

void Connection::run(const char* sql) {
  if (sqlite3_exec(connection_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    fail(connection_.get(), sql);
  }
}

Statement Connection::prepare(const char* sql) {
  auto found = prepared_.find(sql);
  if (found == prepared_.end()) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(connection_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
      fail(connection_.get(), sql);
    }
    found = prepared_.emplace(sql, statement).first;
  }
  return Statement(found->second.get());
}

std::int64_t Connection::changes() const { return sqlite3_changes64(connection_.get()); }

}  // namespace user_api

// SQLite as C++: a connection, its prepared statements, and the errors as exceptions.
//
// Every call here may block the thread (for a disk, for a lock of another process), so goroutines make them inside
// weft::blocking(); Database (database.hpp) sees to that.

#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace user_api {

class SqliteError : public std::runtime_error {
 public:
  SqliteError(const std::string& text, int code) : std::runtime_error(text), code_(code) {}
  /// A value that must be unique is there already.
  [[nodiscard]] bool is_duplicate() const noexcept;

 private:
  int code_;  // SQLite's extended result code
};

/// A statement on its way: bind what it asks for, then step through its rows. Values are bound, never pasted into the
/// text, so no text of a client's is ever read as SQL. Made by Connection::prepare().
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) noexcept : statement_(statement) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();  // makes it ready for its next use

  /// The next one of the statement's parameters; nullopt is NULL. The text must outlive the statement.
  Statement& bind(std::int64_t value);
  Statement& bind(std::string_view text);
  template <class T>
  Statement& bind(const std::optional<T>& value) {
    return value ? bind(*value) : bind_null();
  }

  /// Whether there is a(nother) row. What a statement changes is in the database once this has returned false.
  bool step();
  [[nodiscard]] std::int64_t integer(int column) const;
  [[nodiscard]] std::string text(int column) const;

 private:
  Statement& bind_null();
  void must(int code) const;

  sqlite3_stmt* statement_;
  int bound_ = 0;
};

/// For one goroutine at a time, on whatever thread.
class Connection {
 public:
  /// Makes the file if there is none. Throws SqliteError that names it.
  explicit Connection(const std::string& file);

  /// Statements without parameters and rows.
  void run(const char* sql);
  /// Compiles it at the first call and keeps it for later ones. `sql` is one statement.
  Statement prepare(const char* sql);
  /// How many rows the last statement has changed.
  [[nodiscard]] std::int64_t changes() const;

 private:
  struct Close {
    void operator()(sqlite3* connection) const noexcept;
    void operator()(sqlite3_stmt* statement) const noexcept;
  };
  std::unique_ptr<sqlite3, Close> connection_;
  std::map<std::string, std::unique_ptr<sqlite3_stmt, Close>, std::less<>> prepared_;  // goes before the connection
};

}  // namespace user_api

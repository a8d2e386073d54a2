#pragma once

// The header fields of a message: few, in order, looked up without regard to case.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::http {

namespace detail {
bool equal_letters(const char* one, const char* other, std::size_t size) noexcept;
}

/// ASCII letters of either case are equal.
[[nodiscard]] inline bool equal_ignoring_case(std::string_view one, std::string_view other) noexcept {
  return one.size() == other.size() && (one == other || detail::equal_letters(one.data(), other.data(), one.size()));
}

/// Go: http.Header. Text that is returned is valid until the fields are changed.
class Headers {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
  };

  /// The first of that name; "" if there is none.
  [[nodiscard]] std::string_view get(std::string_view name) const noexcept;
  [[nodiscard]] bool contains(std::string_view name) const noexcept;
  [[nodiscard]] std::vector<std::string_view> values(std::string_view name) const;

  /// Instead of all of that name. Throws std::invalid_argument for what cannot stand in a header: a name that is no token, a
  /// value with a line break. Nothing has changed then. Both may be text of these very fields.
  Headers& set(std::string_view name, std::string_view value);
  /// Beside others of that name. Throws as set().
  Headers& add(std::string_view name, std::string_view value);
  Headers& remove(std::string_view name);
  void clear() noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }
  [[nodiscard]] Field operator[](std::size_t index) const noexcept { return field(entries_[index]); }

  class Iterator {
   public:
    Iterator(const Headers& headers, std::size_t index) noexcept : headers_(&headers), index_(index) {}
    Field operator*() const noexcept { return (*headers_)[index_]; }
    Iterator& operator++() noexcept {
      ++index_;
      return *this;
    }
    bool operator==(const Iterator& other) const noexcept { return index_ == other.index_; }

   private:
    const Headers* headers_;
    std::size_t index_;
  };
  [[nodiscard]] Iterator begin() const noexcept { return {*this, 0}; }
  [[nodiscard]] Iterator end() const noexcept { return {*this, size()}; }

  /// As set(), for a name that is known to be one.
  Headers& set_value(std::string_view name, std::string_view value);
  /// For parsers, which have checked both.
  void append_parsed(std::string_view name, std::string_view value);

 private:
  struct Entry {
    std::uint32_t name_at, name_size, value_size;  // the value follows the name
  };
  [[nodiscard]] bool is_own(std::string_view text) const noexcept;
  [[nodiscard]] Field field(const Entry& entry) const noexcept {
    const char* name = text_.data() + entry.name_at;
    return {{name, entry.name_size}, {name + entry.name_size, entry.value_size}};
  }

  std::string text_;
  std::vector<Entry> entries_;
};

}  // namespace weft::http

#include "weft/http/headers.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace weft::http {
namespace {

constexpr char to_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

/// RFC 9110: tchar.
constexpr bool is_token_char(char c) noexcept {
  return (c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

constexpr bool is_value_char(char c) noexcept {
  const auto byte = static_cast<unsigned char>(c);
  return c == '\t' || (byte >= 0x20 && byte != 0x7f);
}

void check(std::string_view name, std::string_view value) {
  if (name.empty() || !std::all_of(name.begin(), name.end(), &is_token_char)) {
    throw std::invalid_argument("weft: http: Headers: \"" + std::string(name) + "\" is no name of a header field");
  }
  if (!std::all_of(value.begin(), value.end(), &is_value_char)) {
    throw std::invalid_argument("weft: http: Headers: the value of " + std::string(name) +
                                " has a line break or another control character");
  }
}

}  // namespace

bool equal_ignoring_case(std::string_view one, std::string_view other) noexcept {
  return one.size() == other.size() &&
         std::equal(one.begin(), one.end(), other.begin(), [](char a, char b) { return to_lower(a) == to_lower(b); });
}

std::string_view Headers::get(std::string_view name) const noexcept {
  for (const Entry& entry : entries_) {
    if (entry.name_size == name.size() && equal_ignoring_case(field(entry).name, name)) return field(entry).value;
  }
  return {};
}

bool Headers::contains(std::string_view name) const noexcept {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return equal_ignoring_case(field(entry).name, name); });
}

std::vector<std::string_view> Headers::values(std::string_view name) const {
  std::vector<std::string_view> found;
  for (const Field& one : *this) {
    if (equal_ignoring_case(one.name, name)) found.push_back(one.value);
  }
  return found;
}

Headers& Headers::set(std::string_view name, std::string_view value) {
  check(name, value);
  const std::string kept(value);  // it may be a view of what is removed
  remove(name);
  append_parsed(name, kept);
  return *this;
}

Headers& Headers::add(std::string_view name, std::string_view value) {
  check(name, value);
  append_parsed(name, value);
  return *this;
}

Headers& Headers::remove(std::string_view name) noexcept {
  std::erase_if(entries_, [&](const Entry& entry) { return equal_ignoring_case(field(entry).name, name); });
  if (entries_.empty()) text_.clear();
  return *this;
}

void Headers::clear() noexcept {
  text_.clear();
  entries_.clear();
}

void Headers::append_parsed(std::string_view name, std::string_view value) {
  const Entry entry{static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(name.size()),
                    static_cast<std::uint32_t>(value.size())};
  text_.append(name).append(value);
  entries_.push_back(entry);
}

}  // namespace weft::http

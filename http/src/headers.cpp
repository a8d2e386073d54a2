#include "weft/http/headers.hpp"

#include <algorithm>
#include <array>
#include <functional>
#include <stdexcept>
#include <string>

namespace weft::http {
namespace {

constexpr char to_lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

enum Use : unsigned char { kInName = 1, kInValue = 2 };

/// Where each byte may stand. RFC 9110: tchar; field-vchar, space and tab.
constexpr auto kUses = [] {
  std::array<unsigned char, 256> uses{};
  for (std::size_t byte = 0; byte < uses.size(); ++byte) {
    const auto c = to_lower(static_cast<char>(byte));
    const bool is_token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                          std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
    if (is_token) uses[byte] |= kInName;
    if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) uses[byte] |= kInValue;
  }
  return uses;
}();

bool is_all(std::string_view text, Use use) noexcept {
  unsigned common = use;
  for (const char c : text) common &= kUses[static_cast<unsigned char>(c)];
  return common != 0;
}

void check_name(std::string_view name) {
  if (name.empty() || !is_all(name, kInName)) {
    throw std::invalid_argument("weft: http: Headers: \"" + std::string(name) + "\" is no name of a header field");
  }
}

void check_value(std::string_view name, std::string_view value) {
  if (!is_all(value, kInValue)) {
    throw std::invalid_argument("weft: http: Headers: the value of " + std::string(name) +
                                " has a line break or another control character");
  }
}

}  // namespace

bool detail::equal_letters(const char* one, const char* other, std::size_t size) noexcept {
  return std::equal(one, one + size, other, [](char a, char b) { return to_lower(a) == to_lower(b); });
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
  check_name(name);
  return set_value(name, value);
}

Headers& Headers::set_value(std::string_view name, std::string_view value) {
  check_value(name, value);
  if (is_own(name) || is_own(value)) return set(std::string(name), std::string(value));
  remove(name);
  append_parsed(name, value);
  return *this;
}

Headers& Headers::add(std::string_view name, std::string_view value) {
  check_name(name);
  check_value(name, value);
  if (is_own(name) || is_own(value)) return add(std::string(name), std::string(value));
  append_parsed(name, value);
  return *this;
}

Headers& Headers::remove(std::string_view name) {
  if (is_own(name)) return remove(std::string(name));
  std::uint32_t gone = 0;
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    entry->name_at -= gone;
    if (!equal_ignoring_case(field(*entry).name, name)) {
      ++entry;
      continue;
    }
    const std::uint32_t size = entry->name_size + entry->value_size;
    text_.erase(entry->name_at, size);
    gone += size;
    entry = entries_.erase(entry);
  }
  return *this;
}

/// Views of it end when it changes.
bool Headers::is_own(std::string_view text) const noexcept {
  const std::less<> less;
  return !less(text.data(), text_.data()) && less(text.data(), text_.data() + text_.size());
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

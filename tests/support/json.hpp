#pragma once

// JSON for tests: a strict reader (RFC 8259) of what the library writes by hand.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace weft::test {

struct Json {
  enum class Kind { kNull, kBool, kNumber, kString, kArray, kObject };
  Kind kind = Kind::kNull;
  bool truth = false;
  double number = 0;
  std::string text;
  std::vector<Json> items;
  std::map<std::string, Json> members;

  bool has(const std::string& name) const { return members.count(name) != 0; }
  /// Throws std::out_of_range.
  const Json& operator[](const std::string& name) const { return members.at(name); }
  std::uint64_t count() const { return static_cast<std::uint64_t>(number); }
  /// Microseconds with three digits behind the point, as nanoseconds.
  std::int64_t nanos() const { return std::llround(number * 1000); }
};

/// Throws std::runtime_error that tells where the text is not JSON.
class JsonReader {
 public:
  static Json read(std::string_view text) {
    JsonReader reader(text);
    Json value = reader.value();
    reader.skip_space();
    if (reader.at_ != text.size()) reader.fail("something follows the value");
    return value;
  }

 private:
  explicit JsonReader(std::string_view text) : text_(text) {}

  [[noreturn]] void fail(const char* what) const {
    throw std::runtime_error(std::string(what) + " at " + std::to_string(at_) + ": " +
                             std::string(text_.substr(at_, 40)));
  }
  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  char peek() {
    if (at_ == text_.size()) fail("the text ends");
    return text_[at_];
  }
  bool take(char c) {
    skip_space();
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!take(c)) fail("another character was expected");
  }

  Json value() {
    skip_space();
    Json json;
    switch (peek()) {
      case '{':
        json.kind = Json::Kind::kObject;
        ++at_;
        if (take('}')) return json;
        do {
          skip_space();
          std::string name = string();
          need(':');
          if (!json.members.emplace(std::move(name), value()).second) fail("a name comes twice");
        } while (take(','));
        need('}');
        return json;
      case '[':
        json.kind = Json::Kind::kArray;
        ++at_;
        if (take(']')) return json;
        do {
          json.items.push_back(value());
        } while (take(','));
        need(']');
        return json;
      case '"':
        json.kind = Json::Kind::kString;
        json.text = string();
        return json;
      case 't':
      case 'f':
      case 'n':
        return word();
      default:
        return number();
    }
  }

  Json word() {
    for (const auto& [name, kind, truth] :
         {std::tuple{"true", Json::Kind::kBool, true}, std::tuple{"false", Json::Kind::kBool, false},
          std::tuple{"null", Json::Kind::kNull, false}}) {
      if (!text_.substr(at_).starts_with(name)) continue;
      at_ += std::string_view(name).size();
      Json json;
      json.kind = kind;
      json.truth = truth;
      return json;
    }
    fail("no such word");
  }

  Json number() {
    const std::size_t begin = at_;
    const auto digits = [&] {
      const std::size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      if (at_ == first) fail("a digit was expected");
      return at_ - first;
    };
    if (peek() == '-') ++at_;
    const std::size_t first = at_;
    if (digits() > 1 && text_[first] == '0') fail("a number begins with 0");
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      digits();
    }
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      digits();
    }
    Json json;
    json.kind = Json::Kind::kNumber;
    json.number = std::strtod(std::string(text_.substr(begin, at_ - begin)).c_str(), nullptr);
    return json;
  }

  std::string string() {
    if (peek() != '"') fail("a string was expected");
    ++at_;
    std::string out;
    for (;;) {
      const char c = peek();
      ++at_;
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20) fail("a control character in a string");
      if (c != '\\') {
        out += c;
        continue;
      }
      const char escape = peek();
      ++at_;
      constexpr std::string_view kNames = "\"\\/bfnrt";
      constexpr std::string_view kValues = "\"\\/\b\f\n\r\t";
      if (const std::size_t known = kNames.find(escape); known != std::string_view::npos) {
        out += kValues[known];
      } else if (escape == 'u') {
        add_utf8(out, hex4());
      } else {
        fail("no such escape");
      }
    }
  }

  unsigned hex4() {
    unsigned code = 0;
    for (int i = 0; i < 4; ++i, ++at_) {
      const std::size_t digit = std::string_view("0123456789abcdef").find(peek());
      if (digit == std::string_view::npos) fail("a hexadecimal digit was expected");
      code = code * 16 + static_cast<unsigned>(digit);
    }
    return code;
  }
  static void add_utf8(std::string& out, unsigned code) {
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0U | code >> 6U);
      out += static_cast<char>(0x80U | (code & 0x3fU));
    } else {
      out += static_cast<char>(0xe0U | code >> 12U);
      out += static_cast<char>(0x80U | (code >> 6U & 0x3fU));
      out += static_cast<char>(0x80U | (code & 0x3fU));
    }
  }

  const std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace weft::test

#include "json_text.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace weft::http::detail {
namespace {

constexpr int kMostNested = 64;      // deeper values are left to Boost, which needs no stack for them
constexpr std::size_t kLongest = 6;  // of what stands for a byte: \u001f
constexpr std::size_t kInteger = 24;
constexpr std::size_t kAroundText = 2;  // quotes; or a colon or comma, and a bracket

constexpr auto kIsPlain = [] {
  std::array<bool, 256> is_plain{};
  for (std::size_t byte = 0x20; byte < is_plain.size(); ++byte) is_plain[byte] = byte != '"' && byte != '\\';
  return is_plain;
}();

char* put_escaped(char* at, char c) noexcept {
  constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
  constexpr std::string_view kNames = "\"\\bfnrt";
  constexpr std::string_view kHex = "0123456789abcdef";
  *at++ = '\\';
  if (const std::size_t i = kNamed.find(c); i != kNamed.npos) {
    *at++ = kNames[i];
    return at;
  }
  const auto byte = static_cast<unsigned char>(c);
  for (const char one : {'u', '0', '0', kHex[byte / 16], kHex[byte % 16]}) *at++ = one;
  return at;
}

std::string_view view(boost::json::string_view text) noexcept { return {text.data(), text.size()}; }

}  // namespace

void JsonText::grow(std::size_t bytes) {
  const auto size = static_cast<std::size_t>(at_ - begin_);
  const std::size_t capacity = std::max(2 * static_cast<std::size_t>(end_ - begin_), size + bytes);
  auto bigger = std::make_unique_for_overwrite<char[]>(capacity);
  std::memcpy(bigger.get(), begin_, size);
  bigger_ = std::move(bigger);
  begin_ = bigger_.get();
  at_ = begin_ + size;
  end_ = begin_ + capacity;
}

void JsonText::put_text(std::string_view text) {
  reserve(text.size());
  std::memcpy(at_, text.data(), text.size());
  at_ += text.size();
}

void JsonText::put_string(std::string_view string) {
  reserve(kLongest * string.size() + kAroundText);
  char* at = at_;
  *at++ = '"';
  const char* from = string.data();
  for (const char* const end = from + string.size();;) {
    while (from != end && kIsPlain[static_cast<unsigned char>(*from)]) *at++ = *from++;
    if (from == end) break;
    at = put_escaped(at, *from++);
  }
  *at++ = '"';
  at_ = at;
}

template <class Integer>
void JsonText::put_integer(Integer number) {
  reserve(kInteger);
  at_ = std::to_chars(at_, end_, number).ptr;
}

void JsonText::put(const boost::json::object& object, int depth) {
  char before = '{';
  for (const auto& member : object) {
    reserve(kAroundText);
    *at_++ = before;
    put_string(view(member.key()));
    reserve(kAroundText);
    *at_++ = ':';
    put(member.value(), depth + 1);
    before = ',';
  }
  put_text(object.empty() ? "{}" : "}");
}

void JsonText::put(const boost::json::array& array, int depth) {
  char before = '[';
  for (const auto& element : array) {
    reserve(kAroundText);
    *at_++ = before;
    put(element, depth + 1);
    before = ',';
  }
  put_text(array.empty() ? "[]" : "]");
}

void JsonText::put(const boost::json::value& value, int depth) {
  switch (value.kind()) {
    case boost::json::kind::null:
      return put_text("null");
    case boost::json::kind::bool_:
      return put_text(value.get_bool() ? "true" : "false");
    case boost::json::kind::int64:
      return put_integer(value.get_int64());
    case boost::json::kind::uint64:
      return put_integer(value.get_uint64());
    case boost::json::kind::string:
      return put_string(view(value.get_string()));
    case boost::json::kind::array:
      if (depth < kMostNested) return put(value.get_array(), depth);
      break;
    case boost::json::kind::object:
      if (depth < kMostNested) return put(value.get_object(), depth);
      break;
    case boost::json::kind::double_:
      break;
  }
  put_text(boost::json::serialize(value));
}

}  // namespace weft::http::detail

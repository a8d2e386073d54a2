#include "reply_head.hpp"

#include <charconv>
#include <cstddef>
#include <cstring>

namespace weft::http::detail {
namespace {

constexpr std::size_t kNumber = 20;      // the longest one
constexpr std::size_t kAroundField = 4;  // line end, ": "
constexpr std::size_t kFixed = 160;      // all that put() is given as a literal

/// What the server says itself.
bool is_own(std::string_view name) noexcept {
  if (name.size() == sizeof "Content-Type" - 1) return false;
  return equal_ignoring_case(name, "Connection") || equal_ignoring_case(name, "Content-Length") ||
         equal_ignoring_case(name, "Transfer-Encoding") || equal_ignoring_case(name, "Date");
}

/// Into memory that is there. One growth of the text for all its pieces.
class Writer {
 public:
  explicit Writer(char* at) noexcept : at_(at) {}
  void put(std::string_view piece) noexcept {
    std::memcpy(at_, piece.data(), piece.size());
    at_ += piece.size();
  }
  void put_number(std::uint64_t number) noexcept { at_ = std::to_chars(at_, at_ + kNumber, number).ptr; }
  [[nodiscard]] char* at() const noexcept { return at_; }

 private:
  char* at_;
};

}  // namespace

void append_head(std::string& text, const ReplyHead& head) {
  const std::string_view phrase = reason(head.status);
  std::size_t most =
      kFixed + 2 * kNumber + phrase.size() + head.date.size() + head.default_type.size() + head.connection.size();
  for (const Headers::Field& field : head.headers) most += field.name.size() + field.value.size() + kAroundField;
  const std::size_t size = text.size();
  text.resize(size + most);

  Writer writer(text.data() + size);
  writer.put("HTTP/1.1 ");
  writer.put_number(static_cast<std::uint64_t>(code(head.status)));
  writer.put(" ");
  writer.put(phrase);
  writer.put("\r\nDate: ");
  writer.put(head.date);
  bool has_type = head.default_type.empty();
  for (const Headers::Field& field : head.headers) {
    if (is_own(field.name)) continue;
    writer.put("\r\n");
    writer.put(field.name);
    writer.put(": ");
    writer.put(field.value);
    has_type = has_type || equal_ignoring_case(field.name, "Content-Type");
  }
  if (!has_type) {
    writer.put("\r\nContent-Type: ");
    writer.put(head.default_type);
  }
  if (head.length) {
    writer.put("\r\nContent-Length: ");
    writer.put_number(*head.length);
  }
  if (head.is_chunked) writer.put("\r\nTransfer-Encoding: chunked");
  if (!head.connection.empty()) {
    writer.put("\r\nConnection: ");
    writer.put(head.connection);
  }
  writer.put("\r\n\r\n");
  text.resize(static_cast<std::size_t>(writer.at() - text.data()));
}

}  // namespace weft::http::detail

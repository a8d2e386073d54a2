#pragma once

// JSON as text, from Boost.JSON's values. Boost's own serializer can stop and go on after every byte, and takes twice as long
// for a short reply.

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <cstddef>
#include <memory>
#include <string_view>

namespace weft::http::detail {

/// What boost::json::serialize() makes of a value. A short text needs no memory but the object's own.
class JsonText {
 public:
  explicit JsonText(const boost::json::value& value) { put(value, 0); }
  explicit JsonText(const boost::json::object& object) { put(object, 0); }
  JsonText(const JsonText&) = delete;
  JsonText& operator=(const JsonText&) = delete;

  [[nodiscard]] std::string_view text() const noexcept { return {begin_, static_cast<std::size_t>(at_ - begin_)}; }

 private:
  void put(const boost::json::value& value, int depth);
  void put(const boost::json::object& object, int depth);
  void put(const boost::json::array& array, int depth);
  void put_string(std::string_view string);
  void put_text(std::string_view text);
  template <class Integer>
  void put_integer(Integer number);
  void reserve(std::size_t bytes) {
    if (static_cast<std::size_t>(end_ - at_) < bytes) [[unlikely]]
      grow(bytes);
  }
  void grow(std::size_t bytes);

  char usual_[1024];  // not initialised
  std::unique_ptr<char[]> bigger_;
  char* begin_ = usual_;
  char* at_ = usual_;
  char* end_ = usual_ + sizeof usual_;
};

}  // namespace weft::http::detail

#pragma once

// The head of a server's reply, as text.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "weft/http/headers.hpp"
#include "weft/http/status.hpp"

namespace weft::http::detail {

struct ReplyHead {
  Status status;
  std::string_view date;
  const Headers& headers;               // those that the server says itself are left out
  std::string_view default_type;        // unless the headers have one; "": none
  std::optional<std::uint64_t> length;  // of the body
  bool is_chunked;
  std::string_view connection;  // "": not said
};

/// Appends it, with the empty line.
void append_head(std::string& text, const ReplyHead& head);

}  // namespace weft::http::detail

#pragma once

// What serves requests, and what stands around it.

#include <functional>
#include <string_view>

#include "weft/http/error.hpp"
#include "weft/http/request.hpp"
#include "weft/http/response_writer.hpp"

namespace weft::http {

/// Runs in a goroutine of its own; many at the same time. What it throws becomes a reply (StatusError), or a 500 and a line in the
/// log. Go: http.HandlerFunc.
using Handler = std::function<void(Request&, ResponseWriter&)>;

/// Makes a handler that does something before and after the next one, or in its stead.
using Middleware = std::function<Handler(Handler next)>;

/// Replies with an error whose text is for the client, as ResponseWriter::error and write_json_error do.
using ErrorReply = std::function<void(ResponseWriter& response, Status status, std::string_view text)>;

}  // namespace weft::http

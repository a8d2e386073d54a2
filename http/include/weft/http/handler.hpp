#pragma once

// What serves requests, and what stands around it.

#include <functional>

#include "weft/http/error.hpp"
#include "weft/http/request.hpp"
#include "weft/http/response_writer.hpp"

namespace weft::http {

/// Runs in a goroutine of its own; many at the same time. What it throws becomes a reply (StatusError), or a 500 and a line in the
/// log. Go: http.HandlerFunc.
using Handler = std::function<void(Request&, ResponseWriter&)>;

/// Makes a handler that does something before and after the next one, or in its stead.
using Middleware = std::function<Handler(Handler next)>;

}  // namespace weft::http

#pragma once

// JSON in requests and replies, by Boost.JSON.

#include <boost/json.hpp>

#include <string_view>
#include <system_error>

#include "weft/http/handler.hpp"
#include "weft/http/response.hpp"

namespace weft::http {

/// The request's body. Throws StatusError: 415 if its Content-Type is something else, 400 with the place if it is no JSON; and as
/// Request::body().
boost::json::value read_json(Request& request);

/// The body that a client got, whatever its Content-Type: errors of Boost.JSON, and those of Response::body().
boost::json::value read_json(Response& response, std::error_code& error);
/// Throws std::system_error that names the URL.
boost::json::value read_json(Response& response);

/// The whole reply.
std::error_code write_json(ResponseWriter& response, Status status, const boost::json::value& value);
std::error_code write_json(ResponseWriter& response, Status status, const boost::json::object& object);

/// {"error": text}, in the stead of what was written so far. For recovery().
std::error_code write_json_error(ResponseWriter& response, Status status, std::string_view text);

}  // namespace weft::http

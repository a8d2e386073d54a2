#include "weft/http/json.hpp"

#include <string>

#include "json_text.hpp"

namespace weft::http {

boost::json::value read_json(Request& request) {
  const std::string_view type = request.header("Content-Type");
  std::string_view kind = type.substr(0, type.find(';'));
  kind = kind.substr(0, kind.find_last_not_of(" \t") + 1);
  const bool is_other_json = kind.size() > 5 && equal_ignoring_case(kind.substr(kind.size() - 5), "+json");
  if (!type.empty() && !equal_ignoring_case(kind, "application/json") && !is_other_json) {
    throw StatusError(Status::unsupported_media_type, "the body must be application/json, not " + std::string(kind));
  }
  boost::system::error_code error;
  boost::json::stream_parser parser;
  const std::string& body = request.body();
  std::size_t used = 0;
  used = parser.write_some(body.data(), body.size(), error);
  if (!error && used < body.size()) error = boost::json::error::extra_data;
  if (!error) parser.finish(error);
  if (error) {
    throw StatusError(Status::bad_request,
                      "the body is no JSON: " + error.message() + " at byte " + std::to_string(used));
  }
  return parser.release();
}

namespace {

template <class Json>
std::error_code write(ResponseWriter& response, Status status, const Json& json) {
  const detail::JsonText json_text(json);
  return response.send(status, "application/json", json_text.text());
}

}  // namespace

std::error_code write_json(ResponseWriter& response, Status status, const boost::json::value& value) {
  return write(response, status, value);
}

std::error_code write_json(ResponseWriter& response, Status status, const boost::json::object& object) {
  return write(response, status, object);
}

std::error_code write_json_error(ResponseWriter& response, Status status, std::string_view text) {
  const boost::json::object error{{"error", boost::json::string_view(text.data(), text.size())}};
  return response.error(status, "application/json", boost::json::serialize(error));
}

}  // namespace weft::http

#include <string>

#include "weft/http/json.hpp"

namespace weft::http {

boost::json::value read_json(Response& response, std::error_code& error) {
  const std::string& text = response.body(error);
  if (error) return nullptr;
  boost::system::error_code no_json;
  boost::json::value value = boost::json::parse({text.data(), text.size()}, no_json);
  error = no_json;
  return value;
}

boost::json::value read_json(Response& response) {
  response.body();
  std::error_code error;
  boost::json::value value = read_json(response, error);
  if (error) throw std::system_error(error, "weft: http: \"" + response.url() + "\": the body is no JSON");
  return value;
}

}  // namespace weft::http

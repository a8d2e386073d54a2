#include "weft/http/response_writer.hpp"

#include <string>

#include "exchange.hpp"
#include "weft/error.hpp"
#include "weft/http/error.hpp"

namespace weft::http {

ResponseWriter& ResponseWriter::status(Status status) {
  if (has_begun_) weft::detail::throw_panic("http: ResponseWriter::status after the head of the reply was sent");
  if (code(status) < 200 || code(status) > 999) {
    weft::detail::throw_panic("http: ResponseWriter::status: a reply's status is 200 to 999");
  }
  status_ = status;
  return *this;
}

std::error_code ResponseWriter::write(std::string_view text) { return exchange_.write(text); }
std::error_code ResponseWriter::flush() { return exchange_.flush(); }

std::error_code ResponseWriter::send(Status status, std::string_view content_type, std::string_view body) {
  this->status(status);
  headers_.set_value("Content-Type", content_type);
  return exchange_.send(body);
}

std::error_code ResponseWriter::error(Status status, std::string_view text) {
  return error(status, "text/plain; charset=utf-8", std::string(text) + "\n");
}

std::error_code ResponseWriter::error(Status status, std::string_view content_type, std::string_view body) {
  if (has_begun_) return errc::wrong_length;
  pending_.clear();
  body_bytes_ = 0;
  headers_.remove("Content-Length").remove("Content-Encoding");
  return send(status, content_type, body);
}

std::error_code ResponseWriter::redirect(std::string_view location, Status status) {
  headers_.set("Location", location);
  return send(status, "text/plain; charset=utf-8", std::string(reason(status)) + ": " + std::string(location) + "\n");
}

}  // namespace weft::http

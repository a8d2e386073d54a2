#include "weft/http/response.hpp"

#include <utility>

#include "reply.hpp"
#include "weft/error.hpp"

namespace weft::http {

Response::Response() noexcept = default;
Response::Response(std::unique_ptr<detail::Reply> reply) noexcept : reply_(std::move(reply)) {}
Response::Response(Response&& other) noexcept = default;
Response& Response::operator=(Response&& other) noexcept = default;
Response::~Response() = default;

detail::Reply& Response::reply() const {
  if (reply_ == nullptr) weft::detail::throw_panic("http: use of a response that is not there");
  return *reply_;
}

Status Response::status() const { return reply().status(); }
std::string_view Response::reason() const { return reply().reason(); }
int Response::version() const { return reply().version(); }
const Headers& Response::headers() const { return reply().headers(); }
const std::string& Response::url() const { return reply().url(); }
std::optional<std::uint64_t> Response::content_length() const { return reply().content_length(); }

std::size_t Response::read_some(std::span<std::byte> buffer, std::error_code& error) {
  return reply().read_some(buffer, error);
}

std::size_t Response::read_some(std::span<std::byte> buffer) {
  std::error_code error;
  const std::size_t n = read_some(buffer, error);
  if (error && error != errc::eof) reply().fail(error, "reading the body");
  return n;
}

const std::string& Response::body(std::error_code& error) { return reply().body(error); }

const std::string& Response::body() {
  std::error_code error;
  const std::string& all = body(error);
  if (error) reply().fail(error, "reading the body");
  return all;
}

std::string Response::text(std::error_code& error) { return reply().text(error); }

std::string Response::text() {
  std::error_code error;
  std::string all = text(error);
  if (error) reply().fail(error, "reading the body");
  return all;
}

void Response::close() noexcept {
  if (reply_ != nullptr) reply_->close();
}

}  // namespace weft::http

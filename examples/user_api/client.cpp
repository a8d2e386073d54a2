#include "client.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <system_error>

#include <weft/net/error.hpp>
#include <weft/net/tcp.hpp>

namespace user_api {

Reply Client::ask(std::string_view method, std::string_view path, std::string_view body, std::string_view more) const {
  std::string request =
      std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nHost: " + address_ + "\r\nConnection: close\r\n";
  if (!token_.empty()) request += "Authorization: Bearer " + token_ + "\r\n";
  if (!body.empty() && more.find("Content-Type") == more.npos) request += "Content-Type: application/json\r\n";
  request += std::string(more) + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
  weft::net::Stream stream = weft::net::dial_tcp(address_);
  stream.write(request);
  std::string text;
  std::array<std::byte, 4096> piece{};
  std::error_code error;
  for (;;) {
    const std::size_t n = stream.read_some(piece, error);
    if (n == 0) break;
    text.append(reinterpret_cast<const char*>(piece.data()), n);
  }
  if (error != weft::net::errc::eof) throw std::system_error(error);
  Reply reply;
  reply.status = std::stoi(text.substr(9, 3));
  std::size_t at = text.find("\r\n") + 2;
  for (;;) {
    const std::size_t end = text.find("\r\n", at);
    if (end == at) break;
    const std::size_t colon = text.find(": ", at);
    reply.headers.add(text.substr(at, colon - at), text.substr(colon + 2, end - colon - 2));
    at = end + 2;
  }
  reply.body = text.substr(at + 2);
  return reply;
}

void Client::log_in(std::string_view email, std::string_view password) {
  const boost::json::object login{{"email", boost::json::string_view(email)},
                                  {"password", boost::json::string_view(password)}};
  const Reply reply = ask("POST", "/login", boost::json::serialize(login));
  if (reply.status != 200) throw std::runtime_error("cannot log in: " + reply.body);
  token_ = boost::json::value_to<std::string>(reply.json().at("access_token"));
}

std::string new_user(std::string_view email, std::string_view name, std::string_view password) {
  return boost::json::serialize(boost::json::object{{"email", boost::json::string_view(email)},
                                                    {"name", boost::json::string_view(name)},
                                                    {"password", boost::json::string_view(password)}});
}

}  // namespace user_api

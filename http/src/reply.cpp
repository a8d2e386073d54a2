#include "reply.hpp"

#include <algorithm>
#include <array>
#include <charconv>

#include "weft/error.hpp"
#include "weft/net/error.hpp"

namespace weft::http::detail {
namespace {

constexpr std::size_t kSentAtOnce = 16'384;  // head and body in one write, up to this
constexpr std::size_t kSourcePiece = 16'384;
constexpr int kMostInformational = 5;  // replies of 1xx before the one that counts
constexpr std::size_t kFirstRead = 4'096;
constexpr std::size_t kTrustedLength = std::size_t{1} << 20U;  // room made for what a server announces

/// What the client says itself, or not as it stands among the headers.
bool is_clients_own(std::string_view name) noexcept {
  return equal_ignoring_case(name, "Host") || equal_ignoring_case(name, "User-Agent") ||
         equal_ignoring_case(name, "Content-Length") || equal_ignoring_case(name, "Transfer-Encoding");
}

void append_field(std::string& text, std::string_view name, std::string_view value) {
  text.append(name).append(": ").append(value).append("\r\n");
}

std::string head_of(const Outgoing& request) {
  std::string head;
  head.append(request.method).append(" ").append(request.url.target).append(" HTTP/1.1\r\n");
  const std::string_view host = request.headers.get("Host");
  append_field(head, "Host", host.empty() ? request.url.host_and_port() : host);
  const bool names_agent = request.headers.contains("User-Agent");
  const std::string_view agent = names_agent ? request.headers.get("User-Agent") : "weft";
  if (!agent.empty()) append_field(head, "User-Agent", agent);
  if (!request.url.authorization.empty() && !request.headers.contains("Authorization")) {
    append_field(head, "Authorization", request.url.authorization);
  }
  for (const Headers::Field& field : request.headers) {
    if (!is_clients_own(field.name)) append_field(head, field.name, field.value);
  }
  const bool is_expected = request.method == "POST" || request.method == "PUT" || request.method == "PATCH";
  if (request.source != nullptr && !request.source_length) {
    append_field(head, "Transfer-Encoding", "chunked");
  } else if (request.source != nullptr) {
    append_field(head, "Content-Length", std::to_string(*request.source_length));
  } else if (!request.body.empty() || is_expected) {
    append_field(head, "Content-Length", std::to_string(request.body.size()));
  }
  return head + "\r\n";
}

void append_chunk(std::string& text, std::string_view data) {
  std::array<char, 16> size{};
  text.append(size.data(), std::to_chars(size.data(), size.data() + size.size(), data.size(), 16).ptr);
  text.append("\r\n").append(data).append("\r\n");
}

/// Go's, too: PUT and DELETE may be repeated by the protocol, but perhaps not by the server.
bool is_safe(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "TRACE";
}

}  // namespace

// --- the request ---

std::error_code Reply::exchange(Outgoing& request) {
  method_ = request.method;
  url_ = request.url.text();
  parser_.emplace(status_, reason_, headers_, pool_->options().max_header_bytes);
  const std::error_code sending = send(request);
  std::error_code error = sending;
  // Who does not want the rest of a body says so, and closes.
  if (!sending || (has_sent_ && is_peer_gone_)) error = read_head(request.method == "HEAD");
  if (sending && error) error = sending;
  may_reuse_ = !error && !sending && parser_->keep_alive() && status_ != Status::switching_protocols &&
               !equal_ignoring_case(request.headers.get("Connection"), "close");
  if (error || parser_->is_done()) end(error ? error : errc::eof);
  return error;
}

std::error_code Reply::send(Outgoing& request) {
  std::string text = head_of(request);
  const bool is_small = text.size() + request.body.size() <= kSentAtOnce;
  if (request.source == nullptr && is_small) text += request.body;
  if (const std::error_code error = write(text)) return error;
  if (request.source != nullptr) return send_source(request);
  return is_small ? std::error_code() : write(request.body);
}

std::error_code Reply::send_source(Outgoing& request) {
  request.has_used_source = true;
  std::string piece(kSourcePiece, '\0');
  std::string text;
  for (std::uint64_t left = request.source_length.value_or(0);;) {
    std::error_code error;
    const std::size_t n = (*request.source)(std::as_writable_bytes(std::span(piece)), error);
    if (n > piece.size()) weft::detail::throw_panic("http: a BodySource has returned more than its buffer holds");
    if (error && error != errc::eof && error != net::errc::eof) return error;
    const bool is_end = n == 0 || error;
    const std::string_view data = std::string_view(piece).substr(0, n);
    text.clear();
    if (request.source_length) {
      if (n > left || (is_end && n < left)) return errc::wrong_length;
      left -= n;
      text = data;
    } else {
      if (n > 0) append_chunk(text, data);
      if (is_end) text += "0\r\n\r\n";
    }
    error = text.empty() ? std::error_code() : write(text);
    if (error || is_end) return error;
  }
}

std::error_code Reply::write(std::string_view text) {
  std::error_code error;
  if (connection_->wire->write(text, ctx_, error) > 0) has_sent_ = true;
  is_peer_gone_ = error && !ctx_.is_done();
  return error;
}

bool Reply::may_be_repeated(const Outgoing& request) const noexcept {
  if (ctx_.is_done() || has_received_ || request.has_used_source) return false;
  return !has_sent_ || is_safe(request.method);
}

// --- status and headers ---

std::error_code Reply::read_head(bool is_head) {
  for (int heads = 0; heads <= kMostInformational; ++heads) {
    headers_.clear();
    parser_.emplace(status_, reason_, headers_, pool_->options().max_header_bytes);
    parser_->skip(is_head);
    if (const std::error_code error = parse_head()) return error;
    if (code(status_) >= 200 || status_ == Status::switching_protocols) return {};
  }
  return errc::bad_message;
}

std::error_code Reply::parse_head() {
  InputBuffer& input = connection_->input;
  const std::size_t most = pool_->options().max_header_bytes;
  std::size_t used = 0;
  for (;;) {
    while (!input.empty()) {
      std::error_code error;
      const std::size_t n = parser_->parse(input.bytes(), error);
      input.consume(n);
      used += n;
      if (error) return error;
      if (parser_->is_header_done()) return used > most ? errc::header_too_large : std::error_code();
      if (n == 0) break;
    }
    if (used + input.bytes().size() >= most) return errc::header_too_large;
    if (const std::error_code error = read_more()) return error == net::errc::eof ? errc::truncated : error;
  }
}

std::error_code Reply::read_more() {
  InputBuffer& input = connection_->input;
  std::error_code error;
  const std::size_t n = connection_->wire->read_some(input.room(), ctx_, error);
  input.commit(n);
  if (n > 0) has_received_ = true;
  return error;
}

std::optional<std::uint64_t> Reply::content_length() const {
  const auto length = parser_->content_length();
  return length ? std::optional<std::uint64_t>(*length) : std::nullopt;
}

// --- the body ---

std::size_t Reply::read_some(std::span<std::byte> buffer, std::error_code& error) {
  error = end_;
  if (error || buffer.empty()) return 0;
  parser_->set_sink(buffer);
  for (std::error_code wrong = ctx_.err(); !end_ && (wrong || parser_->got() == 0);) {
    if (!wrong) wrong = parse_body();
    if (!wrong && parser_->got() == 0 && !parser_->is_done()) wrong = read_body(buffer);
    if (wrong || parser_->is_done()) end(wrong ? wrong : errc::eof);
  }
  if (parser_->got() == 0) error = end_;
  return parser_->got();
}

/// What is here already, as far as it has room.
std::error_code Reply::parse_body() {
  InputBuffer& input = connection_->input;
  std::error_code error;
  while (!input.empty() && !parser_->is_done() && !error) {
    const std::size_t n = parser_->parse(input.bytes(), error);
    input.consume(n);
    if (n == 0) break;
  }
  return error;
}

/// Waits for more, of which plain bytes go right to where they are wanted.
std::error_code Reply::read_body(std::span<std::byte> buffer) {
  std::error_code error;
  if (parser_->chunked()) {
    error = read_more();
  } else if (const std::size_t n = connection_->wire->read_some(buffer, ctx_, error)) {
    const std::size_t used = parser_->parse({reinterpret_cast<const char*>(buffer.data()), n}, error);
    if (used < n) may_reuse_ = false;  // it has sent more than it announced
  }
  if (error == net::errc::eof) error = parser_->parse_end() ? std::error_code() : errc::truncated;
  return error;
}

const std::string& Reply::body(std::error_code& error) {
  if (!body_) {
    std::string all = read_all(error);
    if (error) {
      static const std::string kNothing;
      return kNothing;
    }
    body_ = std::move(all);
  }
  error.clear();
  return *body_;
}

std::string Reply::text(std::error_code& error) {
  static_cast<void>(body(error));
  return error ? std::string() : std::exchange(*body_, {});
}

std::string Reply::read_all(std::error_code& error) {
  const std::uint64_t most = pool_->options().max_body_bytes;
  const std::uint64_t announced = content_length().value_or(0);
  if (!end_ && announced > most) end(errc::body_too_large);
  std::string all;
  std::size_t size = 0;
  while (!end_) {
    if (size == all.size()) {
      const std::uint64_t expected = size == 0 ? std::min<std::uint64_t>(announced, kTrustedLength) : 2 * size;
      all.resize(std::max<std::size_t>(expected, kFirstRead));
    }
    size += read_some(std::as_writable_bytes(std::span(all)).subspan(size), error);
    if (size > most) end(errc::body_too_large);
  }
  all.resize(size);
  error = end_ == errc::eof ? std::error_code() : end_;
  return all;
}

// --- its end ---

void Reply::skip_body(std::size_t most) {
  std::array<std::byte, 1'024> waste{};
  std::error_code error;
  while (!end_ && most > 0 && content_length().value_or(0) <= most) {
    most -= read_some(std::span(waste).first(std::min(most, waste.size())), error);
  }
  close();
}

void Reply::close() noexcept {
  if (end_) return;
  std::array<std::byte, 1'024> waste;
  std::error_code error;
  do {
    parser_->set_sink(waste);
    error = parse_body();
  } while (!error && !parser_->is_done() && parser_->got() > 0);
  end(parser_->is_done() ? make_error_code(errc::eof) : make_error_code(net::errc::closed));
  end_ = net::errc::closed;
}

/// The connection has done its service.
void Reply::end(const std::error_code& how) noexcept {
  end_ = how;
  end_context_ = {};
  if (how == errc::eof && may_reuse_ && connection_->input.empty()) {
    pool_->put(std::move(connection_));
  }
  connection_.reset();
}

void Reply::fail(const std::error_code& error, const char* doing) const {
  throw std::system_error(error, "weft: http: " + method_ + " \"" + url_ + "\": " + doing);
}

}  // namespace weft::http::detail

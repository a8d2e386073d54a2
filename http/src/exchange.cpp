#include "exchange.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <exception>
#include <utility>

#include "weft/net/error.hpp"
#include "weft/runtime.hpp"

namespace weft::http::detail {
namespace {

constexpr std::uint64_t kMostSkipped = 262'144;  // of a body that the handler has not read
constexpr std::chrono::milliseconds kParting(500);

}  // namespace

Status status_of(const std::error_code& error) noexcept {
  if (error == errc::header_too_large) return Status::request_header_fields_too_large;
  if (error == errc::target_too_long) return Status::uri_too_long;
  if (error == errc::unknown_encoding) return Status::not_implemented;
  if (error == errc::body_too_large) return Status::content_too_large;
  if (error == errc::bad_version) return Status::http_version_not_supported;
  if (error == net::errc::timed_out) return Status::request_timeout;
  return Status::bad_request;
}

// --- a connection's requests ---

Exchange::End Exchange::serve(Service& service, Transport& transport) {
  service_ = &service;
  transport_ = &transport;
  input_.reset();
  output_.clear();
  output_error_.clear();
  keeps_alive_ = true;
  bool has_served = false;
  while (keeps_alive_ && serve_one()) has_served = true;
  // In the pool it keeps no more than is usual.
  request_.body_.reset();
  input_.reset();
  if (output_.capacity() > 2 * kMostOutput) std::string().swap(output_);
  if (!keeps_alive_) return End::kClosed;
  return has_served ? End::kIdle : End::kSilent;
}

/// False: there is none. keeps_alive_ tells whether there may be another one.
bool Exchange::serve_one() {
  begin();
  Header header = read_header();
  if (header == Header::kComplete) header = check_header();
  switch (header) {
    case Header::kIdle:
      return false;
    case Header::kClosed:
      keeps_alive_ = false;
      return false;
    case Header::kBad:
      service_->bad_requests.fetch_add(1, std::memory_order_relaxed);
      keeps_alive_ = false;
      fail(status_of(body_error_), body_error_.message());
      break;
    case Header::kComplete:
      service_->requests.fetch_add(1, std::memory_order_relaxed);
      run_handler();
      break;
  }
  finish();
  if (output_.size() >= kMostOutput) static_cast<void>(send_out());
  if (!keeps_alive_ && !send_out()) part_politely();
  return true;
}

void Exchange::begin() {
  request_.headers_.clear();
  request_.route_ = {};
  request_.params_.clear();
  request_.body_.reset();
  parser_.emplace(request_.method_, request_.target_, request_.headers_, service_->options.max_header_bytes);
  max_body_bytes_ = service_->options.max_body_bytes;
  body_read_ = 0;
  body_error_.clear();
  must_continue_ = false;

  response_.status_ = Status::ok;
  response_.headers_.clear();
  response_.pending_.clear();
  response_.body_bytes_ = 0;
  response_.has_begun_ = false;
  response_.left_.reset();
  response_.is_chunked_ = false;
  is_head_ = false;
}

Exchange::Header Exchange::read_header() {
  std::optional<std::int64_t> deadline;
  for (;;) {
    while (!input_.empty()) {
      if (!parser_->got_some() && (input_.bytes().front() == '\r' || input_.bytes().front() == '\n')) {
        input_.consume(1);  // empty lines between requests: RFC 9112, 2.2
        continue;
      }
      const std::size_t n = parser_->parse(input_.bytes(), body_error_);
      input_.consume(n);
      if (body_error_) return Header::kBad;
      if (parser_->is_header_done()) return Header::kComplete;
      if (n == 0) break;
    }
    if (send_out()) return Header::kClosed;
    std::error_code error;
    std::size_t n = 0;
    if (!parser_->got_some()) {
      n = transport_->read_now(input_.room(), service_->options.header_timeout, error);
      if (error == net::errc::would_block) return Header::kIdle;
    } else {
      const std::int64_t now = weft::detail::now_ns();
      if (!deadline) deadline = weft::detail::deadline_after(service_->options.header_timeout.count());
      n = transport_->read_some(input_.room(), std::chrono::nanoseconds(std::max<std::int64_t>(*deadline - now, 0)),
                                error);
    }
    input_.commit(n);
    if (error == net::errc::timed_out && parser_->got_some()) {
      body_error_ = error;
      return Header::kBad;
    }
    if (error) return Header::kClosed;
  }
}

/// What the parser lets pass and a server must not.
Exchange::Header Exchange::check_header() {
  request_.version_ = parser_->version();
  is_head_ = request_.method_ == "HEAD";
  keeps_alive_ = parser_->keep_alive();
  must_continue_ = parser_->expects_continue() && request_.version_ == 11;
  const int hosts = parser_->hosts();
  if (!parser_->is_encoding_known()) {
    body_error_ = errc::unknown_encoding;
  } else if (hosts > 1 || !parser_->is_host_valid() || (hosts == 0 && request_.version_ != 10) ||
             (parser_->chunked() && request_.version_ == 10) || !find_path()) {
    body_error_ = errc::bad_message;
  }
  return body_error_ ? Header::kBad : Header::kComplete;
}

/// Path and query, which are views of the target. False: it is no target of a request.
bool Exchange::find_path() {
  std::string_view target = request_.target_;
  if (target == "*" && request_.method_ == "OPTIONS") {
    request_.path_ = target;
    request_.query_ = {};
    return true;
  }
  if (!target.starts_with('/')) {
    const auto url = boost::urls::parse_uri({target.data(), target.size()});
    if (!url || (url->scheme() != "http" && url->scheme() != "https") || url->encoded_host().empty()) return false;
    const auto path = url->encoded_path();
    absolute_path_.assign(path.data(), path.size());
    if (absolute_path_.empty()) absolute_path_ = "/";
    const auto host = url->encoded_host_and_port();  // it goes before that of the header
    request_.headers_.set("Host", {host.data(), host.size()});
    if (url->has_query()) absolute_path_.append("?").append(url->encoded_query().data(), url->encoded_query().size());
    target = absolute_path_;
  }
  const std::size_t mark = target.find('?');
  request_.path_ = target.substr(0, mark);
  request_.query_ = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  return true;
}

// --- the handler ---

void Exchange::run_handler() {
  struct EndContext {
    Exchange& exchange;
    ~EndContext() {
      if (exchange.peer_watch_ != nullptr) exchange.peer_watch_->end();
      exchange.peer_watch_.reset();
      exchange.context_.reset();
      if (exchange.cancel_) (*exchange.cancel_)();
      exchange.cancel_.reset();
    }
  } end_context{*this};
  try {
    service_->handler(request_, response_);
  } catch (const StatusError& error) {
    if (code(error.status()) >= 500) service_->log(request_.method_ + " " + request_.target_ + ": " + error.what());
    fail(error.status(), code(error.status()) >= 500 ? reason(error.status()) : error.what());
  } catch (const std::exception& error) {
    service_->log(request_.method_ + " " + request_.target_ + ": " + error.what());
    fail(Status::internal_server_error, reason(Status::internal_server_error));
  } catch (const weft::detail::GoroutineExit&) {
    keeps_alive_ = false;  // it was told to end, and so does its connection
    static_cast<void>(send_out());
    throw;
  } catch (...) {
    service_->log(request_.method_ + " " + request_.target_ + ": an exception that is no std::exception");
    fail(Status::internal_server_error, reason(Status::internal_server_error));
  }
}

/// A reply in the handler's stead; if that has begun one, the connection ends, so that it is not taken for whole.
void Exchange::fail(Status status, std::string_view text) {
  if (response_.has_begun_) {
    static_cast<void>(send_out());
    output_error_ = errc::truncated;
    keeps_alive_ = false;
    return;
  }
  static_cast<void>(response_.error(status, text));
}

/// If somebody wants to know, and there is nothing to be read of this request.
void Exchange::watch_peer() {
  if (!cancel_ || peer_watch_ != nullptr || !parser_->is_done() || !input_.empty()) return;
  peer_watch_ = PeerWatch::start(transport_->file(), *cancel_);
}

const Context& Exchange::context() {
  if (!context_) {
    CancelPair pair = with_cancel(service_->requests_end.first);
    context_ = std::move(pair.first);
    cancel_ = std::move(pair.second);
    watch_peer();
  }
  return *context_;
}

// --- the request's body ---

std::optional<std::uint64_t> Exchange::content_length() const {
  if (parser_->chunked()) return std::nullopt;
  const auto length = parser_->content_length();
  return length ? *length : 0;
}

std::size_t Exchange::read_body(std::span<std::byte> buffer, std::error_code& error) {
  error = body_error_;
  if (error || buffer.empty()) return 0;
  const auto fail_with = [&](const std::error_code& why) {
    error = body_error_ = why;
    return std::size_t{0};
  };
  if (body_read_ == 0 && content_length().value_or(0) > max_body_bytes_) return fail_with(errc::body_too_large);
  parser_->set_sink(buffer);
  for (;;) {
    if (parser_->is_done()) {
      watch_peer();
      return fail_with(errc::eof);
    }
    std::error_code wrong;
    while (!input_.empty() && !parser_->is_done() && parser_->got() == 0 && !wrong) {
      const std::size_t n = parser_->parse(input_.bytes(), wrong);
      input_.consume(n);
      if (n == 0) break;
    }
    if (wrong) return fail_with(wrong);
    if (const std::size_t got = parser_->got()) {
      body_read_ += got;
      return body_read_ > max_body_bytes_ ? fail_with(errc::body_too_large) : got;
    }
    if (parser_->is_done()) continue;
    if (!tell_to_continue()) return fail_with(output_error_);
    input_.commit(transport_->read_some(input_.room(), service_->options.read_timeout, wrong));
    if (wrong == net::errc::eof) return fail_with(errc::truncated);
    if (wrong) return fail_with(wrong);
  }
}

/// Also: what is still to be sent goes out before the peer is waited for.
bool Exchange::tell_to_continue() {
  if (std::exchange(must_continue_, false) && !response_.has_begun_) output_ += "HTTP/1.1 100 Continue\r\n\r\n";
  return !send_out();
}

/// What the handler has left of the body, if that is known.
bool Exchange::is_rest_short() const {
  return parser_->is_header_done() && !must_continue_ &&
         content_length().value_or(body_read_) - body_read_ <= kMostSkipped;
}

/// So that the next request can be read. False: that is not worth it.
bool Exchange::skip_rest_of_body() {
  if (!is_rest_short()) return false;
  set_max_body_bytes(body_read_ + kMostSkipped);
  std::byte waste[4096];
  std::error_code error;
  while (!error) static_cast<void>(read_body(waste, error));
  return error == errc::eof;
}

/// Closing with unread input would have the peer's system throw the reply away.
void Exchange::part_politely() {
  if (parser_->is_done() && input_.empty()) return;
  transport_->shutdown_write();
  const std::int64_t deadline = weft::detail::deadline_after(std::chrono::nanoseconds(kParting).count());
  std::byte waste[4096];
  std::error_code error;
  for (std::uint64_t left = kMostSkipped; left > 0 && !error;) {
    const std::int64_t now = weft::detail::now_ns();
    if (now >= deadline) return;
    left -=
        std::min<std::uint64_t>(left, transport_->read_some(waste, std::chrono::nanoseconds(deadline - now), error));
  }
}

}  // namespace weft::http::detail

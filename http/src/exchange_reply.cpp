// The half of an exchange that replies: when the head goes out, with what length, in chunks or not.

#include "exchange.hpp"

#include <charconv>

#include "reply_head.hpp"
#include "weft/net/error.hpp"

namespace weft::http::detail {
namespace {

constexpr std::size_t kHeldBack = 4096;  // of a body, until its length is known

}  // namespace

bool Exchange::may_have_body() const noexcept {
  const int number = code(response_.status_);
  return number >= 200 && number != 204 && number != 304;
}

/// What the handler has said of the length.
std::optional<std::uint64_t> Exchange::promised_length() const noexcept {
  const std::string_view text = response_.headers_.get("Content-Length");
  std::uint64_t length = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (length < response_.body_bytes_) return std::nullopt;  // said too late to be true
  return length;
}

std::error_code Exchange::write(std::string_view text) {
  if (output_error_ || text.empty()) return output_error_;
  if (!may_have_body()) return errc::no_body_allowed;
  if (!response_.has_begun_) {
    const std::optional<std::uint64_t> promised = promised_length();
    if (!promised && response_.body_bytes_ + text.size() <= kHeldBack) {
      response_.body_bytes_ += text.size();
      if (!is_head_) response_.pending_ += text;
      return {};
    }
    begin_body(promised);
  }
  if (response_.left_) {
    if (text.size() > *response_.left_) return errc::wrong_length;
    *response_.left_ -= text.size();
  }
  response_.body_bytes_ += text.size();
  if (!is_head_) append_body(text);
  return output_error_;
}

std::error_code Exchange::send(std::string_view body) {
  if (output_error_ || response_.has_begun_ || response_.body_bytes_ != 0) return write(body);
  if (!may_have_body()) return body.empty() ? std::error_code() : errc::no_body_allowed;
  begin_body(body.size());
  response_.left_ = 0;
  response_.body_bytes_ = body.size();
  if (!is_head_) append_body(body);
  return output_error_;
}

std::error_code Exchange::flush() {
  if (!response_.has_begun_) may_have_body() ? begin_body(promised_length()) : append_head(std::nullopt);
  return send_out();
}

/// The head, and what was held back. Without a length the body comes in chunks, or lasts until the connection ends.
void Exchange::begin_body(std::optional<std::uint64_t> length) {
  response_.left_ = length;
  if (length) *response_.left_ -= response_.body_bytes_;  // held back
  response_.is_chunked_ = !length && request_.version_ == 11;
  if (!length && request_.version_ == 10) keeps_alive_ = false;
  append_head(length);
  if (!response_.pending_.empty()) append_body(response_.pending_);
  response_.pending_.clear();
}

void Exchange::append_body(std::string_view text) {
  if (response_.is_chunked_) {
    char digits[20];
    output_.append(digits, std::to_chars(digits, digits + sizeof digits, text.size(), 16).ptr).append("\r\n");
  }
  if (text.size() < kMostOutput) {
    output_ += text;
  } else if (!send_out()) {
    output_error_ = transport_->write(text, service_->options.write_timeout);
  }
  if (response_.is_chunked_) output_ += "\r\n";
  if (output_.size() >= kMostOutput) static_cast<void>(send_out());
}

void Exchange::append_head(std::optional<std::uint64_t> length) {
  response_.has_begun_ = true;
  const bool is_broken = body_error_ && body_error_ != errc::eof;
  if (is_broken || (!parser_->is_done() && !is_rest_short()) || service_->is_draining.load(std::memory_order_relaxed)) {
    keeps_alive_ = false;
  }
  for (const Headers::Field& field : response_.headers_) {
    if (equal_ignoring_case(field.name, "Connection") && equal_ignoring_case(field.value, "close"))
      keeps_alive_ = false;
  }
  detail::append_head(output_, {.status = response_.status_,
                                .date = date_.now(),
                                .headers = response_.headers_,
                                .default_type = may_have_body() && length != 0U ? "text/plain; charset=utf-8" : "",
                                .length = length,
                                .is_chunked = response_.is_chunked_,
                                .connection = !keeps_alive_             ? "close"
                                              : request_.version_ == 10 ? "keep-alive"
                                                                        : ""});
}

/// The rest of the reply, once the handler is through.
void Exchange::finish() {
  if (!response_.has_begun_) {
    const std::optional<std::uint64_t> promised = promised_length();
    if (may_have_body()) {
      append_head(promised.value_or(response_.body_bytes_));
      output_ += response_.pending_;
      response_.left_ = promised.value_or(response_.body_bytes_) - response_.body_bytes_;
    } else {
      append_head(std::nullopt);
    }
  } else if (response_.is_chunked_ && !is_head_) {
    output_ += "0\r\n\r\n";
  }
  if (response_.left_.value_or(0) != 0 && !is_head_) {
    service_->log(request_.method_ + " " + request_.target_ + ": the handler has written less than its Content-Length");
    static_cast<void>(send_out());
    output_error_ = errc::wrong_length;
  }
  if (service_->is_draining.load(std::memory_order_relaxed)) keeps_alive_ = false;
  if (output_error_ || (keeps_alive_ && !parser_->is_done() && !skip_rest_of_body())) keeps_alive_ = false;
}

std::error_code Exchange::send_out() {
  // The server is closed: nothing more is sent, if that can still be helped. Asked of the context, so that a handler that learns of
  // it here finds its own context done.
  if (service_->requests_end.first.is_done()) output_error_ = net::errc::timed_out;
  if (!output_error_ && !output_.empty()) {
    output_error_ = transport_->write(output_, service_->options.write_timeout);
    output_.clear();
  }
  return output_error_;
}

}  // namespace weft::http::detail

#include "weft/http/client.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "client_pool.hpp"
#include "redirect.hpp"
#include "reply.hpp"
#include "request_url.hpp"

namespace weft::http {
namespace {

constexpr std::size_t kMostSkippedOfRedirect = 2'048;  // of its body, for the sake of the connection

/// A token: RFC 9110.
bool is_method(std::string_view text) noexcept {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
  });
}

/// In the place of the password, in what people read.
std::string without_password(std::string_view url) {
  const std::size_t begin = url.find("://");
  if (begin == std::string_view::npos) return std::string(url);
  const std::string_view authority = url.substr(begin + 3, url.find_first_of("/?#", begin + 3) - begin - 3);
  const std::size_t at = authority.rfind('@');
  const std::size_t colon = authority.find(':');
  if (at == std::string_view::npos || colon > at) return std::string(url);
  return std::string(url.substr(0, begin + 3 + colon)) + ":***" + std::string(url.substr(begin + 3 + at));
}

/// One call of the client, with its redirects.
class Call {
 public:
  Call(std::shared_ptr<detail::ClientPool> pool, const ClientRequest& request)
      : pool_(std::move(pool)), given_(request), what_(request.method + " \"" + without_password(request.url) + "\"") {}

  Response run(const Context& ctx, std::error_code& error) {
    error = {};
    if (!prepare(error)) return Response();
    const ClientOptions& options = pool_->options();
    Context bounded = ctx;
    CancelFunc end;
    if (options.timeout > std::chrono::nanoseconds(0)) {
      std::tie(bounded, end) = with_timeout(ctx == nullptr ? background() : ctx, options.timeout);
    }
    detail::Redirects redirects(request_.url, options.max_redirects);
    for (;;) {
      std::unique_ptr<detail::Reply> reply = ask(bounded, error);
      if (error) return Response();
      if (!redirects.follow(*reply, request_, error)) {
        reply->hold(std::move(end));
        return Response(std::move(reply));
      }
      if (error) {
        what_ += ": Location \"" + without_password(reply->headers().get("Location")) + "\"";
        return Response();
      }
      reply->skip_body(kMostSkippedOfRedirect);
      what_ = request_.method + " \"" + request_.url.text() + "\"";
    }
  }

  /// What an error was about.
  [[nodiscard]] const std::string& what() const noexcept { return what_; }

 private:
  bool prepare(std::error_code& error) {
    request_.url = detail::parse_url(given_.url, error);
    if (!error && !is_method(given_.method)) error = std::make_error_code(std::errc::invalid_argument);
    if (error) return false;
    request_.method = given_.method;
    request_.headers = given_.headers;
    for (const Headers::Field& field : pool_->options().headers) {
      if (!given_.headers.contains(field.name)) request_.headers.add(field.name, field.value);
    }
    request_.body = given_.body;
    if (given_.source) request_.source = &given_.source;
    request_.source_length = given_.source_length;
    return true;
  }

  /// One request and its reply; a second time if the connection was stale.
  std::unique_ptr<detail::Reply> ask(const Context& ctx, std::error_code& error) {
    for (bool is_again = false;; is_again = true) {
      std::unique_ptr<detail::ClientConnection> connection = pool_->get(request_.url, is_again, ctx, error);
      if (error) return nullptr;
      const bool may_be_stale = connection->is_reused;
      auto reply = std::make_unique<detail::Reply>(pool_, std::move(connection), ctx);
      error = reply->exchange(request_);
      if (!error) return reply;
      if (!may_be_stale || !reply->may_be_repeated(request_)) return nullptr;
    }
  }

  const std::shared_ptr<detail::ClientPool> pool_;
  const ClientRequest& given_;
  detail::Outgoing request_;
  std::string what_;
};

ClientRequest make_request(std::string_view method, std::string_view url) {
  return {.url = std::string(url), .method = std::string(method)};
}

ClientRequest make_post(std::string_view url, std::string_view content_type, std::string body) {
  ClientRequest request = make_request("POST", url);
  request.headers.set("Content-Type", content_type);
  request.body = std::move(body);
  return request;
}

}  // namespace

Client::Client(ClientOptions options) : pool_(std::make_shared<detail::ClientPool>(std::move(options))) {}

Client::~Client() { close_idle(); }

void Client::close_idle() { pool_->close_idle(); }

Response Client::send(const ClientRequest& request, const Context& ctx, std::error_code& error) {
  return Call(pool_, request).run(ctx, error);
}

Response Client::send(const ClientRequest& request, const Context& ctx) {
  std::error_code error;
  Call call(pool_, request);
  Response response = call.run(ctx, error);
  if (error) throw std::system_error(error, "weft: http: " + call.what());
  return response;
}

Response Client::get(std::string_view url, const Context& ctx, std::error_code& error) {
  return send(make_request("GET", url), ctx, error);
}
Response Client::get(std::string_view url, const Context& ctx) { return send(make_request("GET", url), ctx); }

Response Client::head(std::string_view url, const Context& ctx, std::error_code& error) {
  return send(make_request("HEAD", url), ctx, error);
}
Response Client::head(std::string_view url, const Context& ctx) { return send(make_request("HEAD", url), ctx); }

Response Client::post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx,
                      std::error_code& error) {
  return send(make_post(url, content_type, std::move(body)), ctx, error);
}
Response Client::post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx) {
  return send(make_post(url, content_type, std::move(body)), ctx);
}

Client& default_client() {
  // Never destroyed: it may be used by whatever runs at exit.
  static auto* const client = new Client;
  return *client;
}

Response get(std::string_view url, const Context& ctx, std::error_code& error) {
  return default_client().get(url, ctx, error);
}
Response get(std::string_view url, const Context& ctx) { return default_client().get(url, ctx); }

Response head(std::string_view url, const Context& ctx, std::error_code& error) {
  return default_client().head(url, ctx, error);
}
Response head(std::string_view url, const Context& ctx) { return default_client().head(url, ctx); }

Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx,
              std::error_code& error) {
  return default_client().post(url, content_type, std::move(body), ctx, error);
}
Response post(std::string_view url, std::string_view content_type, std::string body, const Context& ctx) {
  return default_client().post(url, content_type, std::move(body), ctx);
}

}  // namespace weft::http

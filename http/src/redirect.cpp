#include "redirect.hpp"

#include <string_view>
#include <utility>

namespace weft::http::detail {
namespace {

/// The same host, or one below it.
bool is_within(std::string_view host, std::string_view domain) noexcept {
  if (host == domain) return true;
  return host.size() > domain.size() && host.ends_with(domain) && host[host.size() - domain.size() - 1] == '.' &&
         !domain.starts_with('[') && domain.find_first_not_of("0123456789.") != std::string_view::npos;
}

void remove_credentials(Headers& headers) noexcept {
  for (const char* name :
       {"Authorization", "Www-Authenticate", "Cookie", "Cookie2", "Proxy-Authorization", "Proxy-Authenticate"}) {
    headers.remove(name);
  }
}

void remove_body(Outgoing& request) noexcept {
  request.body = {};
  request.source = nullptr;
  for (const char* name : {"Content-Type", "Content-Encoding", "Content-Language", "Content-Location"}) {
    request.headers.remove(name);
  }
}

}  // namespace

bool Redirects::follow(const Reply& reply, Outgoing& request, std::error_code& error) {
  const Status status = reply.status();
  const bool keeps_method = status == Status::temporary_redirect || status == Status::permanent_redirect;
  const bool changes_method =
      status == Status::moved_permanently || status == Status::found || status == Status::see_other;
  const std::string_view location = reply.headers().get("Location");
  if (most_ == 0 || (!keeps_method && !changes_method) || location.empty()) return false;
  if (keeps_method && request.source != nullptr) return false;  // it cannot be sent again
  if (++count_ > most_) {
    error = errc::too_many_redirects;
    return true;
  }
  RequestUrl next = resolve_url(request.url, location, error);
  if (error) return true;
  // Once they are gone they stay so, should a later redirect lead back.
  if (!is_within(next.host, first_.host) || (first_.is_tls && !next.is_tls)) remove_credentials(request.headers);
  if (is_absolute_url(location)) request.headers.remove("Host");
  if (changes_method) {
    if (request.method != "HEAD") request.method = "GET";
    remove_body(request);
  }
  request.url = std::move(next);
  return true;
}

}  // namespace weft::http::detail

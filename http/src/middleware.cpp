#include "weft/http/middleware.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <utility>

#include "weft/runtime.hpp"
#include "weft/time.hpp"

namespace weft::http {
namespace {

using Sink = std::function<void(std::string_view line)>;

Sink or_stderr(Sink sink) {
  if (sink) return sink;
  return [](std::string_view line) {
    const std::string whole = std::string(line) + "\n";
    std::fwrite(whole.data(), 1, whole.size(), stderr);
  };
}

/// Text of the peer's, in one line whatever it is.
std::string printable(std::string_view text) {
  std::string shown(text);
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return shown;
}

std::string join(const std::vector<std::string>& parts) {
  std::string joined;
  for (const std::string& part : parts) joined.append(joined.empty() ? "" : ", ").append(part);
  return joined;
}

}  // namespace

Middleware logging(Sink sink) {
  return [sink = or_stderr(std::move(sink))](Handler next) -> Handler {
    return [sink, next = std::move(next)](Request& request, ResponseWriter& response) {
      const auto start = Clock::now();
      const auto write = [&](int status) {
        const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start);
        char tail[80];
        std::snprintf(tail, sizeof tail, " %d %llu bytes %lld us", status,
                      static_cast<unsigned long long>(response.body_bytes()), static_cast<long long>(took.count()));
        sink(printable(request.method()) + " " + printable(request.target()) + tail);
      };
      try {
        next(request, response);
      } catch (const StatusError& error) {
        write(code(error.status()));
        throw;
      } catch (const weft::detail::GoroutineExit&) {
        throw;
      } catch (...) {
        write(code(Status::internal_server_error));
        throw;
      }
      write(code(response.status()));
    };
  };
}

Middleware recovery(Sink sink, ErrorReply reply) {
  if (!reply)
    reply = [](ResponseWriter& response, Status status, std::string_view text) { response.error(status, text); };
  return [sink = or_stderr(std::move(sink)), reply = std::move(reply)](Handler next) -> Handler {
    return [sink, reply, next = std::move(next)](Request& request, ResponseWriter& response) {
      const auto recover = [&](Status status, std::string_view what, std::string_view text) {
        if (code(status) >= 500)
          sink(printable(request.method()) + " " + printable(request.target()) + ": " + std::string(what));
        if (response.has_begun()) throw;  // the server ends the connection
        reply(response, status, text);
      };
      try {
        next(request, response);
      } catch (const StatusError& error) {
        recover(error.status(), error.what(), code(error.status()) >= 500 ? reason(error.status()) : error.what());
      } catch (const std::exception& error) {
        recover(Status::internal_server_error, error.what(), reason(Status::internal_server_error));
      }
    };
  };
}

Middleware cors(CorsOptions options) {
  const bool takes_any = std::find(options.origins.begin(), options.origins.end(), "*") != options.origins.end();
  if (takes_any && options.allow_credentials) {
    throw std::invalid_argument(
        "weft: http: cors: credentials need a list of origins; browsers refuse them with \"*\"");
  }
  return [options = std::move(options), takes_any](Handler next) -> Handler {
    return [options, takes_any, next = std::move(next)](Request& request, ResponseWriter& response) {
      const std::string_view origin = request.header("Origin");
      const bool is_taken =
          takes_any || std::find(options.origins.begin(), options.origins.end(), origin) != options.origins.end();
      Headers& headers = response.headers();
      if (!takes_any) headers.add("Vary", "Origin");
      if (is_taken && (takes_any || !origin.empty())) {
        headers.set("Access-Control-Allow-Origin", takes_any ? "*" : origin);
        if (options.allow_credentials) headers.set("Access-Control-Allow-Credentials", "true");
      }
      const bool is_preflight =
          request.method() == "OPTIONS" && !request.header("Access-Control-Request-Method").empty();
      if (!is_preflight) return next(request, response);
      if (is_taken) {
        headers.set("Access-Control-Allow-Methods", join(options.methods));
        headers.set("Access-Control-Allow-Headers", join(options.headers));
        headers.set("Access-Control-Max-Age", std::to_string(options.max_age.count()));
      }
      response.status(Status::no_content);
    };
  };
}

Middleware bearer_auth(std::function<bool(Request& request, std::string_view token)> accepts) {
  return [accepts = std::move(accepts)](Handler next) -> Handler {
    return [accepts, next = std::move(next)](Request& request, ResponseWriter& response) {
      constexpr std::string_view kScheme = "Bearer ";
      std::string_view token = request.header("Authorization");
      const bool is_bearer =
          token.size() > kScheme.size() && equal_ignoring_case(token.substr(0, kScheme.size()), kScheme);
      if (is_bearer) token.remove_prefix(kScheme.size());
      if (is_bearer && accepts(request, token)) return next(request, response);
      response.headers().set("WWW-Authenticate", is_bearer ? "Bearer error=\"invalid_token\"" : "Bearer");
      throw StatusError(Status::unauthorized, is_bearer ? "the token is not valid" : "a bearer token is needed");
    };
  };
}

Middleware timeout(std::chrono::nanoseconds limit) {
  return [limit](Handler next) -> Handler {
    return [limit, next = std::move(next)](Request& request, ResponseWriter& response) {
      const CancelPair bounded = with_timeout(request.context(), limit);
      request.set_context(bounded.first);
      next(request, response);
      if (bounded.first.is_done() && !response.has_begun() && response.body_bytes() == 0) {
        throw StatusError(Status::service_unavailable, "the handler has not replied in time");
      }
    };
  };
}

}  // namespace weft::http

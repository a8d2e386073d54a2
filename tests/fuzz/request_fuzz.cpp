// Everything that a client may send, against the server's whole way from bytes to replies, on a connection in memory.
//
// What must hold, besides that nothing crashes: the requests that are served are the same in whatever pieces the bytes come (or
// one of two servers would see a request where the other sees a body), and what goes out is whole replies.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <weft/http/json.hpp>
#include <weft/http/router.hpp>

#include "../http/http_support.hpp"

namespace {

using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Status;
using weft::test::Serving;

[[noreturn]] void fail(const char* what, std::string_view one, std::string_view other) {
  std::fprintf(stderr, "%s\n--- one:\n%.*s\n--- other:\n%.*s\n", what, static_cast<int>(one.size()), one.data(),
               static_cast<int>(other.size()), other.data());
  std::abort();
}

/// What was served of an input.
struct Seen {
  std::string requests;
  std::vector<bool> are_heads;
};

/// All that a handler may ask; then one of the ways to reply.
void look(Request& request, ResponseWriter& response, Seen& seen) {
  seen.are_heads.push_back(request.method() == "HEAD");
  seen.requests.append(request.method()).append(" ").append(request.target()).append(" ").append(request.path());
  for (const auto& field : request.headers())
    seen.requests.append("|").append(field.name).append("=").append(field.value);
  for (const auto& [name, value] : request.queries()) seen.requests.append("&").append(name).append("=").append(value);
  seen.requests.append("|").append(request.param("name")).append("|").append(request.param("rest"));
  try {
    if (request.path().ends_with("/json")) {
      seen.requests += serialize(weft::http::read_json(request));
    } else {
      seen.requests += request.body();
    }
  } catch (const std::exception& error) {
    seen.requests.append("!").append(error.what()).append("\n");
    throw;
  }
  seen.requests += "\n";
  if (request.path().ends_with("/chunks")) {
    for (int i = 0; i < 3; ++i) {
      response.write(request.target());
      response.flush();
    }
  } else if (request.path().ends_with("/none")) {
    response.status(Status::no_content);
  } else if (request.path().ends_with("/throw")) {
    response.write("half");
    throw weft::http::StatusError(Status::conflict, "thrown");
  } else {
    response.send(request.target());
  }
}

Seen serve(std::string_view input, std::size_t piece) {
  Seen seen;
  const auto handler = [&seen](Request& request, ResponseWriter& response) { look(request, response, seen); };
  weft::http::Router router;
  router.any("/", handler).post("/json", handler).any("/{name}/x", handler).any("/a/{rest...}", handler);
  router.any("/{name}", handler).handle("OPTIONS", "/a", handler).get("/only/get", handler);
  std::vector<bool> are_heads;
  const auto noting = [&](Request& request, ResponseWriter& response) {
    are_heads.push_back(request.method() == "HEAD");
    router(request, response);
  };
  Serving serving{.options = {}, .piece = piece};
  serving.options.max_header_bytes = 600;  // so that limits are met
  serving.options.max_body_bytes = 400;
  serving.options.log = [](std::string_view) {};
  std::string output = weft::test::serve(noting, input, serving).output;
  for (std::size_t i = 0; !output.empty();) {
    const bool is_head = i < are_heads.size() && are_heads[i];
    const auto reply = weft::test::take_reply(
        output, [](std::string&) { return false; }, is_head);
    // A HEAD that was refused has met no handler; its reply is the last one, and says how long its body would be.
    const bool may_be_heads = i >= are_heads.size() && reply->status >= 400 && reply->body.empty() && output.empty() &&
                              input.find("HEAD ") != input.npos;
    if (!reply->is_whole && !may_be_heads) fail("a reply that is cut off", input, reply->body);
    if (reply->status >= 200) ++i;
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const Seen whole = serve(input, 0);
  for (const std::size_t piece : {std::size_t{1}, 2 + size % 31}) {
    const Seen other = serve(input, piece);
    if (other.requests != whole.requests) fail("pieces make a difference", whole.requests, other.requests);
  }
  return 0;
}

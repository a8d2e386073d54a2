// user_api: the article's User API: an HTTP server with a database, log-in, validation and a page to use it

// Go original: the article's Gin program (router, middleware, UserHandler); its files here are in examples/user_api/, best read
// in this order:
//
//   api       routes and handlers, as in the article
//   input     what clients send, checked
//   users     the statements; database, a pool of connections; sqlite, SQLite as C++
//   secrets   passwords and tokens
//   service   all of it together, with a server
//   page      what a browser gets; client and tour: what this program does when it is told nothing
//
// What the article leaves open is filled in: verifyToken, for which there is POST /login, GET /users/me, and a database, which
// is SQLite in a file. As in the article, whoever is logged in may change everybody.
//
//   ./dev run user_api --listen 127.0.0.1:8080 --database users.db      and in another terminal, or in a browser:
//
//   curl -i localhost:8080/users --json '{"email": "ada@example.com", "name": "Ada", "password": "analytical engine"}'
//   curl -s localhost:8080/login --json '{"email": "ada@example.com", "password": "analytical engine"}'
//   AUTH='Authorization: Bearer ...'                                    with the access_token of that reply
//   curl -i 'localhost:8080/users?skip=0&limit=10' -H "$AUTH"
//   curl -i localhost:8080/users/1 -H "$AUTH"
//   curl -i -X PATCH localhost:8080/users/1 -H "$AUTH" --json '{"name": "Ada Lovelace"}'
//   curl -i -X DELETE localhost:8080/users/1 -H "$AUTH"
//   curl -i localhost:8080/health

#include <csignal>

#include <chrono>
#include <cstdio>
#include <string>
#include <system_error>

#include <weft/context.hpp>
#include <weft/net/signal.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>

#include "support/check.hpp"
#include "support/command_line.hpp"
#include "support/temporary_folder.hpp"
#include "user_api/secrets.hpp"
#include "user_api/service.hpp"
#include "user_api/tour.hpp"

namespace {

/// Until SIGINT or SIGTERM; then requests may take ten more seconds. A second signal ends the program at once.
void serve(const std::string& address, const user_api::ServiceOptions& options) {
  const auto [signalled, stop_signals] = weft::net::notify_context(weft::background(), SIGINT, SIGTERM);
  user_api::Service service(weft::net::listen_tcp(address), options);
  std::printf("serving on %s; users are in %s; Ctrl-C ends it\n", service.address().c_str(), options.database.c_str());
  std::fflush(stdout);
  signalled.done().recv();
  stop_signals();
  const auto [grace, cancel] = weft::with_timeout(weft::background(), std::chrono::seconds(10));
  const std::error_code error = service.shut_down(grace);
  std::printf("%s\n", error ? "some requests took too long and are ended" : "all requests have ended");
}

}  // namespace

int main(int argc, char** argv) {
  examples::CommandLine command_line(
      "user_api",
      "The article's User API. Told nothing, it starts the server, shows what each request is answered, restarts it\n"
      "and ends. With --listen it serves until Ctrl-C: look at it with a browser or curl.");
  std::string address;
  user_api::ServiceOptions options;
  command_line.text("--listen", address, "Serve there: 127.0.0.1:8080, or :8080 for every address of this machine");
  command_line.text("--database", options.database,
                    "The file of the users; made if it is not there (default: a temporary one)");
  command_line.number("--hash-cost", options.hash_cost, "Each step doubles the time that a password's hash takes", 1,
                      20);

  return command_line.run(argc, argv, [&] {
    return weft::run([&] {
      examples::Check check("user_api");
      const examples::TemporaryFolder folder;
      if (options.database.empty()) options.database = folder.path() / "users.db";
      if (address.empty()) {
        user_api::show_tour(options, check);
      } else {
        serve(address, options);
      }
      std::printf("\n%llu goroutines left over\n", static_cast<unsigned long long>(check.left_over()));
      return check.exit_status();
    });
  });
}

#include "tour.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include <weft/context.hpp>
#include <weft/http/headers.hpp>
#include <weft/mutex.hpp>
#include <weft/net/tcp.hpp>
#include <weft/wait_group.hpp>

#include "client.hpp"

namespace user_api {

namespace {

constexpr int kCrowd = 50;

class Tour {
 public:
  Tour(ServiceOptions options, examples::Check& check) : options_(std::move(options)), check_(check) {
    options_.log = [this](std::string_view line) {
      const std::scoped_lock guard(mutex_);
      log_.emplace_back(line);
    };
    start();
  }

  void run() {
    register_users();
    refuse_input();
    log_in();
    read_users();
    change_users();
    restart();
    rush();
    miss_the_way();
    show_log();
  }

 private:
  void start() {
    service_.emplace(weft::net::listen_tcp("127.0.0.1:0"), options_);
    client_.emplace(service_->address());
    client_->set_token(token_);
  }

  /// What fits on a line or two.
  static std::string start_of(const std::string& text) {
    constexpr std::size_t kMost = 400;
    const std::string line = text.substr(0, text.find('\n'));
    return line.size() <= kMost ? line : line.substr(0, 60) + "...";
  }

  static weft::http::Headers field(std::string_view name, std::string_view value) {
    return weft::http::Headers().set(name, value);
  }

  static void heading(const char* text) { std::printf("\n--- %s ---\n\n", text); }

  /// Asks, shows both, and expects that status and that part of the reply.
  Reply ask(int status, std::string_view part, std::string_view method, const std::string& path,
            const std::string& body = {}, const weft::http::Headers& more = {}) {
    const Reply reply = client_->ask(method, path, body, more);
    std::printf("%s %s %s\n  %d %s\n", std::string(method).c_str(), path.c_str(), start_of(body).c_str(), reply.status,
                start_of(reply.body).c_str());
    check_.expect(
        reply.status == status && reply.body.find(part) != std::string::npos,
        std::string(method) + " " + path + " is answered by " + std::to_string(status) + " " + std::string(part));
    return reply;
  }

  void register_users() {
    heading("create");
    ask(201, R"("id":1)", "POST", "/users", new_user("ada@example.com", "Ada Lovelace", "analytical engine"));
    ask(201, "Ō", "POST", "/users", new_user("kenzaburo@example.com", "Ōe Kenzaburō 大江", "healing tower"));
    ask(201, "", "POST", "/users", new_user("bobby@example.com", "Robert'); DROP TABLE users;--", "little tables"));
    ask(400, "Email already registered", "POST", "/users", new_user("ADA@example.com", "Another", "another password"));
  }

  void refuse_input() {
    heading("what is wrong is named");
    ask(400, "email: must be", "POST", "/users", new_user("nobody", "", "short"));
    ask(400, "name: is required", "POST", "/users", R"({"email": "a@example.com", "password": 12345678})");
    ask(400, "no JSON", "POST", "/users", R"({"email": )");
    ask(415, "application/json", "POST", "/users", "email=a@example.com", field("Content-Type", "text/plain"));
    ask(400, "object", "POST", "/users", "[]");
  }

  void log_in() {
    heading("log in");
    ask(401, "token", "GET", "/users");
    client_->set_token("guessed");
    ask(401, "token", "GET", "/users");
    client_->set_token("");
    ask(401, "Wrong", "POST", "/login", R"({"email": "ada@example.com", "password": "difference engine"})");
    const Reply reply =
        ask(200, "bearer", "POST", "/login", R"({"email": "ada@example.com", "password": "analytical engine"})");
    token_ = boost::json::value_to<std::string>(reply.json().at("access_token"));
    client_->set_token(token_);
    std::printf("\nFrom here on with Authorization: Bearer %.8s...\n\n", token_.c_str());
    ask(200, "ada@example.com", "GET", "/users/me");
  }

  void read_users() {
    heading("list and get");
    ask(200, "Robert');", "GET", "/users");
    ask(200, R"([{"id":2)", "GET", "/users?skip=1&limit=1");
    ask(400, "limit: must be", "GET", "/users?limit=many");
    ask(200, "kenzaburo", "GET", "/users/2");
    ask(404, "User not found", "GET", "/users/1000");
    ask(400, "Invalid user ID", "GET", "/users/first");
  }

  void change_users() {
    heading("patch and delete");
    ask(200, "Countess", "PATCH", "/users/1", R"({"name": "Ada, Countess of Lovelace"})");
    ask(200, R"("is_active":false)", "PATCH", "/users/2", R"({"is_active": false})");
    ask(400, "is_active: must be", "PATCH", "/users/2", R"({"is_active": "no"})");
    ask(404, "User not found", "PATCH", "/users/1000", R"({"name": "Nobody"})");
    ask(204, "", "DELETE", "/users/3");
    ask(404, "User not found", "DELETE", "/users/3");
    ask(401, "Wrong", "POST", "/login", R"({"email": "kenzaburo@example.com", "password": "healing tower"})");
  }

  void restart() {
    heading("the server ends and another one starts: users and the log-in are still there");
    check_.expect(!service_->shut_down(weft::background()), "the server shuts down in order");
    service_.reset();
    start();
    const Reply reply = ask(200, "Countess", "GET", "/users");
    check_.expect(reply.json().as_array().size() == 2, "the two users that are left have survived");
  }

  void rush() {
    heading("fifty clients want the same e-mail at the same time");
    std::atomic<int> created = 0;
    std::atomic<int> refused = 0;
    weft::WaitGroup clients;
    for (int i = 0; i < kCrowd; ++i) {
      clients.go([&, i] {
        const std::string body = new_user("grace@example.com", "Client " + std::to_string(i), "compile all of it");
        const int status = client_->ask("POST", "/users", body).status;
        created += status == 201 ? 1 : 0;
        refused += status == 400 ? 1 : 0;
      });
    }
    clients.wait();
    std::printf("%d got 201, %d got 400\n", created.load(), refused.load());
    check_.expect(created == 1 && refused == kCrowd - 1, "exactly one of them gets it");
  }

  void miss_the_way() {
    heading("the rest");
    ask(200, "healthy", "GET", "/health");
    ask(200, "<!doctype html>", "GET", "/");
    ask(404, "There is nothing here", "GET", "/user");
    ask(405, "PUT is not possible", "PUT", "/users/1", "{}");
    ask(413, "too large", "POST", "/users", new_user("long@example.com", std::string(20'000, 'x'), "a long password"));
    weft::http::Headers preflight = field("Origin", "https://elsewhere.example");
    preflight.set("Access-Control-Request-Method", "POST");
    const Reply reply = ask(204, "", "OPTIONS", "/users", {}, preflight);
    for (const auto& field : reply.headers) {
      if (!field.name.starts_with("Access-Control-")) continue;
      std::printf("    %s: %s\n", std::string(field.name).c_str(), std::string(field.value).c_str());
    }
    check_.expect(reply.headers.get("Access-Control-Allow-Origin") == "*", "pages of other sites may ask");
  }

  void show_log() {
    heading("the log's last lines");
    service_.reset();  // nobody writes to it any more
    for (std::size_t i = log_.size() - std::min<std::size_t>(log_.size(), 3); i < log_.size(); ++i) {
      std::printf("%s\n", log_[i].c_str());
    }
  }

  ServiceOptions options_;
  examples::Check& check_;
  weft::Mutex mutex_;
  std::vector<std::string> log_;  // guarded by mutex_ while there is a service
  std::optional<Service> service_;
  std::optional<Client> client_;
  std::string token_;
};

}  // namespace

void show_tour(const ServiceOptions& options, examples::Check& check) { Tour(options, check).run(); }

}  // namespace user_api

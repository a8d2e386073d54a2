// The example user_api where its own tour does not go: crowds, hostile and odd text, limits, what the database holds, and
// what happens when it fails.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <latch>
#include <memory>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json.hpp>

#include <weft/context.hpp>
#include <weft/errc.hpp>
#include <weft/mutex.hpp>
#include <weft/net/tcp.hpp>
#include <weft/runtime.hpp>
#include <weft/wait_group.hpp>

#include "../support/support.hpp"
#include "support/temporary_folder.hpp"
#include "user_api/client.hpp"
#include "user_api/database.hpp"
#include "user_api/secrets.hpp"
#include "user_api/service.hpp"

namespace {

using examples::TemporaryFolder;
using testing::HasSubstr;
using user_api::Client;
using user_api::Connection;
using user_api::login_of;
using user_api::new_user;
using user_api::PasswordHasher;
using user_api::Reply;
using user_api::Service;
namespace json = boost::json;

constexpr unsigned kCheapHash = 4;
constexpr const char* kPassword = "a long password";

/// A service in a folder of its own. For a goroutine.
class Api {
 public:
  Api() { start(); }

  void restart() {
    service_.reset();
    start();
  }

  [[nodiscard]] Client client() const { return Client(service_->address()); }
  /// Of a user of its own.
  [[nodiscard]] Client logged_in() const {
    Client made = client();
    EXPECT_EQ(made.ask("POST", "/users", new_user("self@example.com", "Self", kPassword)).status, 201);
    made.log_in("self@example.com", kPassword);
    return made;
  }
  [[nodiscard]] std::string database() const { return folder_.path() / "users.db"; }
  [[nodiscard]] std::string log() {
    const std::scoped_lock guard(mutex_);
    return log_;
  }

 private:
  void start() {
    const auto log = [this](std::string_view line) {
      const std::scoped_lock guard(mutex_);
      log_.append(line).append("\n");
    };
    service_ = std::make_unique<Service>(
        weft::net::listen_tcp("127.0.0.1:0"),
        user_api::ServiceOptions{.database = database(), .hash_cost = kCheapHash, .log = log});
  }

  TemporaryFolder folder_;
  weft::Mutex mutex_;
  std::string log_;  // guarded by mutex_
  std::unique_ptr<Service> service_;
};

std::string created_path(const Reply& reply) {
  EXPECT_EQ(reply.status, 201) << reply.body;
  return std::string(reply.headers.get("Location"));
}

std::string text_of(const Reply& reply, const char* member) {
  return json::value_to<std::string>(reply.json().at(member));
}

json::array users_of(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return reply.json().as_array();
}

weft::http::Headers authorization(std::string_view value) { return weft::http::Headers().set("Authorization", value); }

std::string object(const char* member, std::string_view value) {
  return json::serialize(json::object{{member, json::string_view(value)}});
}

std::string repeated(std::string_view text, int times) {
  std::string whole;
  for (int i = 0; i < times; ++i) whole += text;
  return whole;
}

// --- crowds ---

TEST(UserApiTest, OfManyWhoWantOneEmailExactlyOneGetsIt) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    for (int round = 0; round < weft::test::rounds(20); ++round) {
      const std::string number = std::to_string(round);
      std::atomic<int> created = 0;
      std::atomic<int> refused = 0;
      weft::WaitGroup clients;
      for (int i = 0; i < 20; ++i) {
        clients.go([&, i] {
          const std::string email = (i % 2 == 0 ? "wanted" : "WANTED") + number + "@example.com";
          const Reply reply = client.ask("POST", "/users", new_user(email, "Client", kPassword));
          created += reply.status == 201 ? 1 : 0;
          refused += reply.status == 400 && reply.error() == "Email already registered" ? 1 : 0;
        });
      }
      clients.wait();
      EXPECT_EQ(created, 1);
      EXPECT_EQ(refused, 19);
    }
  });
}

TEST(UserApiTest, TwoHundredClientsAtOnceEachWithAUserOfItsOwn) {
  weft::run([] {
    Api api;
    const Client all = api.logged_in();
    std::atomic<int> fine = 0;
    weft::WaitGroup clients;
    for (int i = 0; i < 200; ++i) {
      clients.go([&, i] {
        const std::string email = "user" + std::to_string(i) + "@example.com";
        Client client = api.client();
        const std::string path = created_path(client.ask("POST", "/users", new_user(email, "Before", kPassword)));
        client.log_in(email, kPassword);
        const bool is_changed = client.ask("PATCH", path, object("name", email)).status == 200;
        const Reply seen = client.ask("GET", path);
        const bool is_right = text_of(seen, "email") == email && text_of(seen, "name") == email;
        const bool is_deleted = i % 2 == 0 || client.ask("DELETE", path).status == 204;
        fine += is_changed && is_right && is_deleted ? 1 : 0;
      });
    }
    clients.wait();
    EXPECT_EQ(fine, 200);
    const json::array left = users_of(all.ask("GET", "/users?skip=1&limit=100"));
    std::set<std::string> names;
    for (const json::value& user : left) names.insert(json::value_to<std::string>(user.at("name")));
    EXPECT_EQ(names.size(), 100U);
  });
}

TEST(UserApiTest, WhoChangesOneUserAtOnceLeavesAWholeOne) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    weft::WaitGroup clients;
    for (int i = 0; i < 30; ++i) {
      clients.go([&, i] {
        const std::string body = json::serialize(json::object{{"name", std::to_string(i)}, {"is_active", true}});
        EXPECT_EQ(client.ask("PATCH", "/users/1", body).status, 200);
        EXPECT_EQ(text_of(client.ask("GET", "/users/1"), "email"), "self@example.com");
      });
    }
    clients.wait();
    EXPECT_NE(text_of(client.ask("GET", "/users/1"), "name"), "Self");
  });
}

// --- text ---

TEST(UserApiTest, TextThatLooksLikeSqlIsText) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    int number = 0;
    for (const std::string& name :
         {std::string("'; DROP TABLE users; --"), std::string("\" OR \"\"=\""), std::string("%_*?"),
          std::string("NULL"), std::string("x', 'y', 'z'); DELETE FROM sessions; --"),
          std::string("?1 :name @name $name"), std::string("\\'; SELECT 1 /* "), std::string("1e999")}) {
      const std::string email = "o'brien+--" + std::to_string(++number) + "@example.com";
      const std::string path = created_path(client.ask("POST", "/users", new_user(email, name, kPassword)));
      EXPECT_EQ(text_of(client.ask("GET", path), "name"), name);
      EXPECT_EQ(text_of(client.ask("GET", path), "email"), email);
      EXPECT_EQ(client.ask("PATCH", "/users/1", object("name", name)).status, 200);
      EXPECT_EQ(text_of(client.ask("GET", "/users/1"), "name"), name);
    }
    const std::string login = login_of("' OR 1=1 --", kPassword);
    EXPECT_EQ(client.ask("POST", "/login", login).status, 401);
    EXPECT_EQ(client.ask("GET", "/users/1%20OR%201=1").status, 400);
    EXPECT_EQ(client.ask("DELETE", "/users/1;DELETE%20FROM%20users").status, 400);
    EXPECT_EQ(client.ask("GET", "/users?limit=1;DROP%20TABLE%20users").status, 400);
    EXPECT_EQ(users_of(client.ask("GET", "/users?limit=100")).size(), 9U);
    Client thief = api.client();
    thief.set_token("' OR '1'='1");
    EXPECT_EQ(thief.ask("GET", "/users").status, 401);
  });
}

TEST(UserApiTest, NamesInEveryScriptComeBackAsTheyWere) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    for (const std::string& name :
         {std::string("Ōe Kenzaburō"), std::string("大江 健三郎"), std::string("مريم ميرزاخانی"),
          std::string("👩‍🔬 Ada"), std::string("e\xcc\x81"), repeated("\xf0\x9f\x92\xa1", 200),
          std::string("<script>alert(1)</script>"), std::string("quote \" slash \\ / end")}) {
      EXPECT_EQ(text_of(client.ask("PATCH", "/users/1", object("name", name)), "name"), name);
      EXPECT_EQ(text_of(client.ask("GET", "/users/1"), "name"), name);
    }
    EXPECT_EQ(text_of(client.ask("PATCH", "/users/1", R"({"name": "\ud83d\ude00"})"), "name"), "\xf0\x9f\x98\x80");
  });
}

TEST(UserApiTest, TextThatIsNoTextIsRefused) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    for (const char* body :
         {"{\"name\": \"\xff\xfe\"}", "{\"name\": \"\xc3\"}", "{\"name\": \"\xed\xa0\x80\"}", R"({"name": "\ud83d"})",
          R"({"name": "a\u0000b"})", R"({"name": "two\nlines"})", R"({"name": "x"} {"name": "y"})", R"({'name': 'x'})",
          R"({"name": })", "name=x", "\"x\""}) {
      EXPECT_EQ(client.ask("PATCH", "/users/1", body).status, 400) << body;
    }
    EXPECT_EQ(text_of(client.ask("GET", "/users/1"), "name"), "Self");
  });
}

// --- limits ---

TEST(UserApiTest, EachFieldHasItsLimits) {
  weft::run([] {
    Api api;
    const Client client = api.client();
    int number = 0;
    const auto create = [&](std::string_view name, std::string_view password) {
      return client.ask("POST", "/users", new_user("user" + std::to_string(++number) + "@example.com", name, password));
    };
    EXPECT_EQ(create(repeated("ö", 200), repeated("ü", 8)).status, 201);
    EXPECT_EQ(create("x", repeated("ü", 200)).status, 201);
    EXPECT_THAT(create(repeated("ö", 201), kPassword).error(), testing::StartsWith("name: "));
    EXPECT_THAT(create("", kPassword).error(), testing::StartsWith("name: "));
    EXPECT_THAT(create("x", repeated("ü", 7)).error(), testing::StartsWith("password: "));
    EXPECT_THAT(create("x", repeated("x", 201)).error(), testing::StartsWith("password: "));
    EXPECT_EQ(create(repeated("x", 20'000), kPassword).status, 413);
    EXPECT_EQ(client.ask("GET", "/health").status, 200);
  });
}

TEST(UserApiTest, AnEmailIsLikeAnEmail) {
  weft::run([] {
    Api api;
    const Client client = api.client();
    const std::string longest = repeated("x", 254 - 12) + "@example.com";
    for (const std::string& email : {std::string("a@b.c"), std::string("first.last+tag@mail.example.com"),
                                     std::string("jörg@müller.example"), longest}) {
      EXPECT_EQ(client.ask("POST", "/users", new_user(email, "x", kPassword)).status, 201) << email;
    }
    for (const std::string& email :
         {std::string(""), std::string("@"), std::string("a@"), std::string("@example.com"), std::string("a@b"),
          std::string("a@b@example.com"), std::string("a b@example.com"), std::string("a@example..com"),
          std::string("a@.example.com"), std::string("a@example.com."),
          std::string("a@example.com\r\nBcc: b@example.com"), "x" + longest}) {
      const Reply reply = client.ask("POST", "/users", new_user(email, "x", kPassword));
      EXPECT_EQ(reply.status, 400) << email;
      EXPECT_THAT(reply.error(), testing::StartsWith("email: ")) << email;
    }
  });
}

TEST(UserApiTest, PagesAreAsLongAsAskedForAndHaveEveryUserOnce) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    for (int i = 1; i < 120; ++i) {
      created_path(client.ask("POST", "/users", new_user(std::to_string(i) + "@example.com", "x", kPassword)));
    }
    const auto ids = [&](const std::string& query) {
      std::vector<std::int64_t> found;
      const json::array users = users_of(client.ask("GET", "/users" + query));
      for (const json::value& user : users) found.push_back(user.at("id").as_int64());
      return found;
    };
    EXPECT_EQ(ids("").size(), 10U);
    EXPECT_EQ(ids("?limit=100").size(), 100U);
    EXPECT_EQ(ids("?limit=101").size(), 100U);
    EXPECT_EQ(ids("?limit=9223372036854775807&skip=110").size(), 10U);
    EXPECT_TRUE(ids("?skip=9223372036854775807").empty());
    std::vector<std::int64_t> all;
    for (int skip = 0; skip < 120; skip += 7) {
      const auto page = ids("?limit=7&skip=" + std::to_string(skip));
      all.insert(all.end(), page.begin(), page.end());
    }
    EXPECT_EQ(all.size(), 120U);
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_EQ(std::adjacent_find(all.begin(), all.end()), all.end());
    for (const char* query : {"?limit=0", "?limit=-1", "?skip=-1", "?limit=", "?limit=1.5",
                              "?limit=9223372036854775808", "?skip=%00", "?skip=1e3"}) {
      EXPECT_EQ(client.ask("GET", std::string("/users") + query).status, 400) << query;
    }
    EXPECT_EQ(client.ask("GET", "/users/9223372036854775808").status, 400);
    EXPECT_EQ(client.ask("GET", "/users/9223372036854775807").status, 404);
    EXPECT_EQ(client.ask("GET", "/users/-1").status, 404);
  });
}

TEST(UserApiTest, WhatIsNullOrUnknownChangesNothing) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    const std::string before = client.ask("GET", "/users/1").body;
    for (const char* body : {"{}", R"({"name": null, "is_active": null})", R"({"id": 7, "email": "x@example.com"})"}) {
      const Reply reply = client.ask("PATCH", "/users/1", body);
      EXPECT_EQ(reply.status, 200);
      EXPECT_EQ(reply.body, before);
    }
  });
}

// --- who may ---

TEST(UserApiTest, AProtectedRouteWantsATokenThatIsGood) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    const Client nobody = api.client();
    for (const char* method : {"GET", "PATCH", "DELETE"}) {
      const Reply reply = nobody.ask(method, "/users/1");
      EXPECT_EQ(reply.status, 401) << method;
      EXPECT_EQ(reply.headers.get("WWW-Authenticate"), "Bearer") << method;
    }
    EXPECT_EQ(nobody.ask("GET", "/users").status, 401);
    EXPECT_EQ(nobody.ask("GET", "/users", {}, authorization("Basic c2VsZjpzZWxm")).status, 401);
    EXPECT_EQ(nobody.ask("GET", "/users", {}, authorization("Bearer ")).status, 401);
    EXPECT_EQ(client.ask("GET", "/users/1").status, 200);  // nothing has happened to it
  });
}

TEST(UserApiTest, ATokenEndsWithItsUserAndItsTime) {
  weft::run([] {
    Api api;
    const Client admin = api.logged_in();
    const auto newcomer = [&](const std::string& email) {
      created_path(admin.ask("POST", "/users", new_user(email, "x", kPassword)));
      Client client = api.client();
      client.log_in(email, kPassword);
      EXPECT_EQ(client.ask("GET", "/users/me").status, 200);
      return client;
    };
    const Client deactivated = newcomer("deactivated@example.com");  // user 2
    EXPECT_EQ(admin.ask("PATCH", "/users/2", R"({"is_active": false})").status, 200);
    EXPECT_EQ(deactivated.ask("GET", "/users/me").status, 401);
    EXPECT_EQ(admin.ask("PATCH", "/users/2", R"({"is_active": true})").status, 200);
    EXPECT_EQ(deactivated.ask("GET", "/users/me").status, 200);

    const Client deleted = newcomer("deleted@example.com");  // user 3
    EXPECT_EQ(deleted.ask("DELETE", "/users/3").status, 204);
    EXPECT_EQ(deleted.ask("GET", "/users/me").status, 401);
    // A new user does not get the id, and with it what somebody still keeps under it.
    EXPECT_EQ(created_path(admin.ask("POST", "/users", new_user("deleted@example.com", "x", kPassword))), "/users/4");

    const Client late = newcomer("late@example.com");  // user 5
    Connection(api.database()).run("UPDATE sessions SET expires_at = unixepoch() WHERE user_id = 5");
    EXPECT_EQ(late.ask("GET", "/users/me").status, 401);
    EXPECT_EQ(admin.ask("GET", "/users/me").status, 200);
  });
}

// --- what is kept ---

TEST(UserApiTest, NeitherPasswordsNorTokensAreInTheDatabase) {
  weft::run([] {
    Api api;
    Client client = api.client();
    for (const char* email : {"one@example.com", "two@example.com"}) {
      created_path(client.ask("POST", "/users", new_user(email, "x", "correct horse battery")));
    }
    const Reply login = client.ask("POST", "/login", login_of("one@example.com", "correct horse battery"));
    const std::string token = text_of(login, "access_token");
    EXPECT_EQ(token.size(), 64U);
    std::string content;
    for (const char* part : {"", "-wal"}) {
      std::ifstream file(api.database() + part, std::ios::binary);
      content.append(std::istreambuf_iterator<char>(file), {});
    }
    EXPECT_THAT(content, HasSubstr("one@example.com"));  // this is where users are
    EXPECT_EQ(content.find("correct horse"), std::string::npos);
    EXPECT_EQ(content.find(token), std::string::npos);

    Connection db(api.database());
    auto hashes = db.prepare("SELECT count(DISTINCT password_hash) FROM users");  // salted: not alike
    ASSERT_TRUE(hashes.step());
    EXPECT_EQ(hashes.integer(0), 2);
    EXPECT_EQ(api.log().find("correct horse"), std::string::npos);
    EXPECT_EQ(api.log().find(token), std::string::npos);
  });
}

TEST(UserApiTest, UsersAndTokensSurviveARestart) {
  weft::run([] {
    Api api;
    const Client before = api.logged_in();
    const Reply login = before.ask("POST", "/login", login_of("self@example.com", kPassword));
    const std::string users = before.ask("GET", "/users").body;
    api.restart();
    Client after = api.client();
    after.set_token(text_of(login, "access_token"));
    EXPECT_EQ(after.ask("GET", "/users").body, users);
  });
}

/// Where the child of the next test has its database.
constexpr const char* kFolderVariable = "USER_API_TEST_FOLDER";

TEST(UserApiTest, WhatWasRepliedSurvivesTheSuddenEndOfTheProcess) {
  const TemporaryFolder folder;
  if (std::getenv(kFolderVariable) == nullptr) ::setenv(kFolderVariable, folder.path().c_str(), 1);
  const std::string database = std::string(std::getenv(kFolderVariable)) + "/users.db";
  const auto child = weft::test::in_child([&] {
    weft::run([&] {
      const Service service(weft::net::listen_tcp("127.0.0.1:0"),
                            {.database = database, .hash_cost = kCheapHash, .log = {}});
      const Client client(service.address());
      for (int i = 0; i < 10; ++i) {
        created_path(client.ask("POST", "/users", new_user(std::to_string(i) + "@example.com", "x", kPassword)));
      }
      std::_Exit(7);
    });
  });
  ::unsetenv(kFolderVariable);
  EXPECT_EQ(child.exit_code, 7) << child.err;
  weft::run([&] {
    user_api::UserStore users(database);
    EXPECT_EQ(users.list(weft::background(), 0, 100).size(), 10U);
  });
}

// --- when something is wrong ---

TEST(UserApiTest, AFailingDatabaseIsA500WithoutDetailsAndALineInTheLog) {
  weft::run([] {
    Api api;
    const Client client = api.logged_in();
    Connection(api.database()).run("ALTER TABLE users RENAME TO gone");
    const Reply reply = client.ask("POST", "/users", new_user("x@example.com", "x", kPassword));
    EXPECT_EQ(reply.status, 500);
    EXPECT_EQ(reply.body, R"({"error":"Internal Server Error"})");
    EXPECT_THAT(api.log(), HasSubstr("POST /users: database: "));
    EXPECT_THAT(api.log(), HasSubstr("no such table"));
    Connection(api.database()).run("ALTER TABLE gone RENAME TO users");
    EXPECT_EQ(client.ask("POST", "/users", new_user("x@example.com", "x", kPassword)).status, 201);
  });
}

TEST(UserApiTest, AFileThatIsNoDatabaseIsNamed) {
  weft::run([] {
    const TemporaryFolder folder;
    const std::string file = folder.path() / "letter.txt";
    std::ofstream(file) << repeated("Dear Sir or Madam, ", 100);
    const auto message = [](const std::string& name) {
      try {
        user_api::UserStore users(name);
      } catch (const user_api::SqliteError& error) {
        return std::string(error.what());
      }
      return std::string();
    };
    EXPECT_THAT(message(file), testing::AllOf(HasSubstr(file), HasSubstr("not a database")));
    EXPECT_THAT(message(folder.path() / "missing" / "users.db"), HasSubstr("missing/users.db"));
  });
}

TEST(UserApiTest, WhoWaitsForTheDatabaseGivesUpWithItsContext) {
  weft::run([] {
    const TemporaryFolder folder;
    user_api::Database database(folder.path() / "users.db", 1);
    std::latch is_held(1);
    std::latch may_end(1);
    weft::WaitGroup holders;
    holders.go([&] {
      database.write(weft::background(), [&](Connection&) {
        is_held.count_down();
        may_end.wait();
      });
    });
    while (!is_held.try_wait()) weft::yield();
    const auto [ctx, cancel] = weft::with_timeout(weft::background(), std::chrono::milliseconds(5));
    try {
      database.write(ctx, [](Connection&) { ADD_FAILURE() << "somebody else has it"; });
      ADD_FAILURE() << "it did not wait";
    } catch (const std::system_error& error) {
      EXPECT_EQ(error.code(), weft::errc::deadline_exceeded);
    }
    database.read(weft::background(), [](Connection& db) { db.run("SELECT 1"); });  // readers go on meanwhile
    may_end.count_down();
    holders.wait();
    database.write(weft::background(), [](Connection& db) { db.run("CREATE TABLE t (x)"); });
  });
}

TEST(UserApiTest, AConnectionIsGivenBackByWhoFails) {
  weft::run([] {
    const TemporaryFolder folder;
    user_api::Database database(folder.path() / "users.db", 1);
    for (int i = 0; i < 3; ++i) {
      EXPECT_THROW(database.read(weft::background(), [](Connection& db) { db.run("SELECT nothing FROM nowhere"); }),
                   user_api::SqliteError);
    }
    EXPECT_EQ(database.read(weft::background(), [](Connection&) { return 7; }), 7);
  });
}

TEST(UserApiTest, APasswordMatchesItsHashOnly) {
  weft::run([] {
    PasswordHasher hasher(kCheapHash);
    const weft::Context ctx = weft::background();
    const std::string hash = hasher.hash(ctx, "secret");
    EXPECT_THAT(hash, testing::MatchesRegex(R"(scrypt\$4\$[0-9a-f]{32}\$[0-9a-f]{64})"));
    EXPECT_TRUE(hasher.matches(ctx, "secret", hash));
    EXPECT_FALSE(hasher.matches(ctx, "Secret", hash));
    EXPECT_FALSE(hasher.matches(ctx, "", hash));
    EXPECT_TRUE(PasswordHasher(kCheapHash + 1).matches(ctx, "secret", hash));  // by the cost that it was made with
    EXPECT_FALSE(hasher.matches(ctx, "secret", hash.substr(0, hash.size() - 1)));
    for (const char* other :
         {"", "secret", "scrypt$", "scrypt$4", "scrypt$4$salt", "scrypt$x$salt$key", "scrypt$99$salt$key"}) {
      EXPECT_THROW(hasher.matches(ctx, "secret", other), std::invalid_argument) << other;
    }
    const auto [ended, cancel] = weft::with_cancel(ctx);
    cancel();
    EXPECT_THROW(hasher.hash(ended, "secret"), std::system_error);
  });
}

}  // namespace

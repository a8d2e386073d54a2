// Which handler a path leads to, with which parameters, and what stands around it.

#include <stdexcept>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <weft/http/router.hpp>

#include "http_support.hpp"

namespace {

using weft::http::Handler;
using weft::http::Request;
using weft::http::ResponseWriter;
using weft::http::Router;
using weft::http::Status;
using weft::test::get;
using weft::test::Reply;
using weft::test::serve;

/// Replies its name, the route and the parameters it is asked for.
Handler named(std::string name, std::vector<std::string> params = {}) {
  return [name, params](Request& request, ResponseWriter& response) {
    std::string text = name + " " + std::string(request.route());
    for (const std::string& param : params) text += " " + param + "=" + std::string(request.param(param));
    response.send(text);
  };
}

std::string ask(const Router& router, std::string_view target, std::string_view method = "GET") {
  return serve(router, std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n\r\n")
      .reply()
      .body;
}

int status_of(const Router& router, std::string_view target, std::string_view method = "GET") {
  return serve(router, std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: test\r\n\r\n").status();
}

TEST(HttpRouterTest, LiteralsGoBeforeParametersAndThoseBeforeTheRest) {
  Router router;
  router.get("/users/{id}", named("one", {"id"}));
  router.get("/users/me", named("me"));
  router.get("/users/{path...}", named("rest", {"path"}));
  router.get("/users", named("all"));
  router.get("/users/", named("slash"));
  router.get("/", named("root"));
  EXPECT_EQ(ask(router, "/users/me"), "me /users/me");
  EXPECT_EQ(ask(router, "/users/17"), "one /users/{id} id=17");
  EXPECT_EQ(ask(router, "/users/17/x/y"), "rest /users/{path...} path=17/x/y");
  EXPECT_EQ(ask(router, "/users/me/"), "rest /users/{path...} path=me/");
  EXPECT_EQ(ask(router, "/users"), "all /users");
  EXPECT_EQ(ask(router, "/users/"), "slash /users/");
  EXPECT_EQ(ask(router, "/"), "root /");
  EXPECT_EQ(ask(router, "/?a=/users"), "root /");
  EXPECT_EQ(status_of(router, "/user"), 404);
  EXPECT_EQ(status_of(router, "//users"), 404);
}

TEST(HttpRouterTest, TheRestMayBeEmpty) {
  Router router;
  router.get("/files/{path...}", named("file", {"path"}));
  EXPECT_EQ(ask(router, "/files/"), "file /files/{path...} path=");
  EXPECT_EQ(ask(router, "/files//a"), "file /files/{path...} path=/a");
  EXPECT_EQ(status_of(router, "/files"), 404);
}

TEST(HttpRouterTest, AWayThatEndsIsGoneBack) {
  Router router;
  router.get("/a/b/c", named("literal"));
  router.get("/a/{x}/d", named("parameter", {"x"}));
  router.get("/{y}/b/e", named("first", {"y"}));
  router.get("/{rest...}", named("rest", {"rest"}));
  EXPECT_EQ(ask(router, "/a/b/c"), "literal /a/b/c");
  EXPECT_EQ(ask(router, "/a/b/d"), "parameter /a/{x}/d x=b");
  EXPECT_EQ(ask(router, "/a/b/e"), "first /{y}/b/e y=a");
  EXPECT_EQ(ask(router, "/a/b/f"), "rest /{rest...} rest=a/b/f");
}

TEST(HttpRouterTest, AParameterIsNeverEmpty) {
  Router router;
  router.get("/users/{id}/posts", named("posts", {"id"}));
  EXPECT_EQ(status_of(router, "/users//posts"), 404);
  EXPECT_EQ(ask(router, "/users/%20/posts"), "posts /users/{id}/posts id= ");
}

TEST(HttpRouterTest, PathsAreDecodedSegmentBySegment) {
  Router router;
  router.get("/a b/{name}", named("one", {"name"}));
  router.get("/files/{path...}", named("file", {"path"}));
  EXPECT_EQ(ask(router, "/a%20b/x%2Fy"), "one /a b/{name} name=x/y");
  EXPECT_EQ(ask(router, "/%61%20b/100%25"), "one /a b/{name} name=100%");
  EXPECT_EQ(ask(router, "/files/a%2fb/%C3%A4"), "file /files/{path...} path=a/b/\xc3\xa4");
  EXPECT_EQ(ask(router, "/files/a+b"), "file /files/{path...} path=a+b");
  for (const char* target : {"/files/%", "/files/%4", "/files/%zz", "/a%20b/%"}) {
    EXPECT_EQ(status_of(router, target), 400) << target;
  }
  EXPECT_EQ(status_of(router, "/a%2x/b"), 404);
  EXPECT_EQ(status_of(router, "/a%20b%2Fx"), 404);  // one segment
}

TEST(HttpRouterTest, AnotherMethodGetsA405ThatSaysWhichThereAre) {
  Router router;
  router.get("/x", named("get")).post("/x", named("post")).del("/y", named("delete"));
  EXPECT_EQ(ask(router, "/x", "POST"), "post /x");
  Reply reply = serve(router, "PUT /x HTTP/1.1\r\nHost: test\r\n\r\n").reply();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("Allow"), "GET, POST, HEAD");
  reply = serve(router, get("/y")).reply();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("Allow"), "DELETE");
  EXPECT_EQ(status_of(router, "/x", "get"), 405);  // methods have a case
}

TEST(HttpRouterTest, AMethodThatAMoreSpecificPatternLacksIsLookedForInTheOthers) {
  Router router;
  router.post("/users/me", named("post me"));
  router.get("/users/{id}", named("get one", {"id"}));
  router.any("/{rest...}", named("any"));
  router.put("/users/{id}/{more...}", named("put"));
  EXPECT_EQ(ask(router, "/users/me", "POST"), "post me /users/me");
  EXPECT_EQ(ask(router, "/users/me"), "get one /users/{id} id=me");
  EXPECT_EQ(ask(router, "/users/me", "DELETE"), "any /{rest...}");
  EXPECT_EQ(ask(router, "/users/7/x"), "any /{rest...}");

  Router two;
  two.post("/users/me", named("post me"));
  two.get("/users/{id}", named("get one"));
  const Reply reply = serve(two, "PUT /users/me HTTP/1.1\r\nHost: test\r\n\r\n").reply();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("Allow"), "POST, GET, HEAD");
}

TEST(HttpRouterTest, HeadIsServedByGetUnlessItHasItsOwn) {
  Router router;
  router.get("/a", named("get"));
  router.get("/b", named("get")).handle("HEAD", "/b", [](Request&, ResponseWriter& response) {
    response.header("X-Own", "yes").status(Status::no_content);
  });
  std::string output = serve(router, "HEAD /a HTTP/1.1\r\nHost: test\r\n\r\n").output;
  EXPECT_NE(output.find("HTTP/1.1 200 OK\r\n"), std::string::npos);
  EXPECT_NE(output.find("\r\nContent-Length: 6\r\n"), std::string::npos);
  EXPECT_TRUE(output.ends_with("\r\n\r\n"));
  output = serve(router, "HEAD /b HTTP/1.1\r\nHost: test\r\n\r\n").output;
  EXPECT_NE(output.find("HTTP/1.1 204 No Content\r\n"), std::string::npos);
  EXPECT_NE(output.find("\r\nX-Own: yes\r\n"), std::string::npos);
}

TEST(HttpRouterTest, AnyServesTheMethodsThatHaveNoHandler) {
  Router router;
  router.any("/x", named("any")).put("/x", named("put"));
  EXPECT_EQ(ask(router, "/x", "PUT"), "put /x");
  EXPECT_EQ(ask(router, "/x", "BREW"), "any /x");
  EXPECT_EQ(ask(router, "/x"), "any /x");
}

TEST(HttpRouterTest, PatternsThatAreWrongAreRefused) {
  Router router;
  const Handler handler = named("x");
  router.get("/there/{a}", handler);
  for (const std::string_view pattern : {"", "x", "/{}", "/{...}", "/{a", "/a}", "/x{a}", "/{a}x", "/{a}{b}", "/{a{b}",
                                         "/{a...}/x", "/{a}/{a}", "/{a}/{a...}", "/there/{b}"}) {
    EXPECT_THROW(router.get(pattern, handler), std::invalid_argument) << pattern;
  }
  try {
    router.get("/there/{b}", handler);
    FAIL();
  } catch (const std::invalid_argument& refused) {
    EXPECT_STREQ(refused.what(),
                 "weft: http: Router: the pattern \"/there/{b}\" has this handler already, by /there/{a}");
  }
  EXPECT_THROW(router.get("/x", Handler()), std::invalid_argument);
  EXPECT_THROW(router.use({}), std::invalid_argument);
  for (const std::string_view prefix : {"", "/", "x", "/x/"}) {
    EXPECT_THROW(static_cast<void>(router.group(prefix)), std::invalid_argument) << prefix;
  }
  EXPECT_EQ(status_of(router, "/x"), 404);
}

TEST(HttpRouterTest, OptionsOfTheWholeServerIsNotFound) {
  Router router;
  router.any("/{rest...}", named("any"));
  EXPECT_EQ(status_of(router, "*", "OPTIONS"), 404);
}

weft::http::Middleware note(std::string name) {
  return [name](Handler next) -> Handler {
    return [name, next = std::move(next)](Request& request, ResponseWriter& response) {
      const std::string before(response.headers().get("X-Way"));
      response.headers().set("X-Way", before + name + ">");
      next(request, response);
    };
  };
}

std::string way(const Router& router, std::string_view target) {
  return serve(router, get(target)).reply().field("X-Way");
}

TEST(HttpRouterTest, MiddlewareGoesFromTheOutsideIn) {
  Router router;
  router.use(note("1")).use(note("2"));
  router.get("/plain", named("plain"));
  Router api = router.group("/api/{version}");
  api.use(note("3"));
  api.get("/users", named("users", {"version"}));
  Router admin = api.group("/admin");
  admin.use(note("4")).get("", named("admin"));
  api.use(note("5")).get("/late", named("late"));
  EXPECT_EQ(way(router, "/plain"), "1>2>");
  EXPECT_EQ(way(router, "/api/v1/users"), "1>2>3>");
  EXPECT_EQ(way(router, "/api/v1/admin"), "1>2>3>4>");
  EXPECT_EQ(way(router, "/api/v1/late"), "1>2>3>5>");
  EXPECT_EQ(way(router, "/nothing"), "1>2>");  // also around the 404
  EXPECT_EQ(way(router, "/api/v1/nothing"), "1>2>");
  EXPECT_EQ(ask(router, "/api/v1/users"), "users /api/{version}/users version=v1");
  EXPECT_THROW(api.not_found(named("x")), std::invalid_argument);
  EXPECT_THROW(api.method_not_allowed(named("x")), std::invalid_argument);
}

TEST(HttpRouterTest, NotFoundMayBeOnesOwn) {
  Router router;
  router.not_found([](Request& request, ResponseWriter& response) {
    response.send(Status::not_found, "text/plain", "nothing at " + std::string(request.path()));
  });
  const Reply reply = serve(router, get("/x")).reply();
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.body, "nothing at /x");
}

TEST(HttpRouterTest, MethodNotAllowedMayBeOnesOwn) {
  Router router;
  router.post("/x", named("x"));
  router.method_not_allowed([](Request& request, ResponseWriter& response) {
    response.send(Status::method_not_allowed, "text/plain", "no " + std::string(request.method()) + " here");
  });
  const Reply reply = serve(router, get("/x")).reply();
  EXPECT_EQ(reply.status, 405);
  EXPECT_EQ(reply.field("Allow"), "POST");
  EXPECT_EQ(reply.body, "no GET here");
  EXPECT_EQ(serve(router, get("/y")).reply().status, 404);
}

TEST(HttpRouterTest, MiddlewareMayAnswerInsteadOfTheHandler) {
  Router router;
  router.use([](Handler) -> Handler {
    return [](Request&, ResponseWriter& response) { response.error(Status::service_unavailable, "closed"); };
  });
  router.get("/x", named("x"));
  EXPECT_EQ(serve(router, get("/x")).reply().body, "closed\n");
}

}  // namespace

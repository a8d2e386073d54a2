// A small site on loopback for examples that fetch pages: quick, slow, stuck, broken and missing ones.

#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include <weft/http/json.hpp>
#include <weft/http/router.hpp>
#include <weft/http/server.hpp>
#include <weft/net/tcp.hpp>
#include <weft/time.hpp>
#include <weft/wait_group.hpp>

namespace examples {

/// Serves while it exists. To be made in a goroutine.
class DemoSite {
 public:
  struct Page {
    std::string url;
    bool is_whole;  // whether all of a reply comes, of whatever status
  };

  DemoSite() : server_(make_router(), {.log = [](std::string_view) {}}) {  // what goes wrong here is meant to
    weft::net::Listener listener = weft::net::listen_tcp("127.0.0.1:0");
    root_ = "http://" + listener.local().to_string();
    running_.go([this, listener = std::move(listener)]() mutable {
      static_cast<void>(server_.serve(std::move(listener)));  // until it is closed
    });
  }
  DemoSite(const DemoSite&) = delete;
  DemoSite& operator=(const DemoSite&) = delete;
  ~DemoSite() {
    server_.close();
    running_.wait();
  }

  [[nodiscard]] std::vector<Page> pages() const {
    const std::string nobody = "127.0.0.1:1";
    return {
        {root_ + "/users/1", true},  {root_ + "/users/2", true},  {root_ + "/slow", true},
        {root_ + "/stuck", false},   {root_ + "/moved", true},    {root_ + "/page.html", true},
        {root_ + "/missing", true},  {root_ + "/broken", true},   {root_ + "/cut-short", false},
        {root_ + "/endless", false}, {"http://" + nobody, false}, {"htp://mistyped", false},
        {root_ + "/users/3", true},
    };
  }

 private:
  static weft::http::Router make_router() {
    namespace http = weft::http;
    using std::chrono::milliseconds;
    http::Router router;
    router.get("/users/{id}", [](http::Request& request, http::ResponseWriter& response) {
      const std::string_view id = request.param("id");
      const boost::json::object user{{"id", std::string(id)}, {"name", "user " + std::string(id)}};
      write_json(response, http::Status::ok, user);
    });
    router.get("/slow", [](http::Request&, http::ResponseWriter& response) {
      weft::sleep_for(milliseconds(300));
      write_json(response, http::Status::ok, boost::json::object{{"slow", true}});
    });
    router.get("/stuck", [](http::Request& request, http::ResponseWriter&) { request.context().done().recv(); });
    router.get("/moved", [](http::Request&, http::ResponseWriter& response) { response.redirect("/users/1"); });
    router.get("/page.html", [](http::Request&, http::ResponseWriter& response) {
      response.send(http::Status::ok, "text/html", "<!doctype html><title>a page</title><p>for people");
    });
    router.get("/broken", [](http::Request&, http::ResponseWriter&) { throw std::runtime_error("out of order"); });
    router.get("/cut-short", [](http::Request&, http::ResponseWriter& response) {
      response.write("{\"whole\": ");
      response.flush();
      throw std::runtime_error("out of order");
    });
    router.get("/endless", [](http::Request&, http::ResponseWriter& response) {
      const std::string more(16'384, ' ');
      while (!response.write(more)) continue;
    });
    return router;
  }

  weft::http::Server server_;
  std::string root_;
  weft::WaitGroup running_;
};

}  // namespace examples

#include "weft/http/router.hpp"

#include <boost/url/pct_string_view.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <stdexcept>
#include <utility>

namespace weft::http {
namespace {

struct Route {
  std::string method;  // "*": any
  std::string pattern;
  std::vector<std::string> names;  // of its parameters, in order
  Handler handler;
};

/// "a" of "a/b/c"; the rest is left in `path`, nullopt after the last one.
std::string_view take_segment(std::optional<std::string_view>& path) noexcept {
  const std::size_t slash = path->find('/');
  const std::string_view segment = path->substr(0, slash);
  if (slash == std::string_view::npos) {
    path.reset();
  } else {
    path->remove_prefix(slash + 1);
  }
  return segment;
}

/// False: a percent sign that stands for nothing.
bool decode(std::string_view text, std::string& decoded) {
  if (text.find('%') == std::string_view::npos) {
    decoded = text;
    return true;
  }
  const auto checked = boost::urls::make_pct_string_view({text.data(), text.size()});
  if (!checked) return false;
  decoded = checked->decode();
  return true;
}

[[noreturn]] void refuse(std::string_view pattern, const char* why) {
  throw std::invalid_argument("weft: http: Router: the pattern \"" + std::string(pattern) + "\" " + why);
}

Handler wrap(Handler handler, const std::vector<Middleware>& around) {
  for (auto it = around.rbegin(); it != around.rend(); ++it) handler = (*it)(std::move(handler));
  return handler;
}

}  // namespace

/// What may follow a segment.
struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter;
  std::vector<Route> ends;   // of paths that end here
  std::vector<Route> rests;  // of those that go on anyhow
};

struct Router::Table {
  Node root;
  Handler missing = [](Request&, ResponseWriter& response) {
    static_cast<void>(response.send(Status::not_found, "text/plain; charset=utf-8", "404 page not found\n"));
  };
  Handler by_other_method = [](Request&, ResponseWriter& response) {
    static_cast<void>(
        response.send(Status::method_not_allowed, "text/plain; charset=utf-8", "405 method not allowed\n"));
  };
  std::vector<Middleware> around;
  Handler whole;  // dispatch, with what is around it; empty: there is nothing around it

  /// What a method and a path have led to.
  struct Match {
    std::string_view method;
    const Route* route = nullptr;
    std::vector<std::string_view> values;   // of its parameters, as sent
    std::vector<std::string_view> allowed;  // the methods of those that were passed over
  };
  static bool choose(const std::vector<Route>& routes, Match& match);
  static bool find(const Node& node, std::optional<std::string_view> rest, Match& match);
  void dispatch(Request& request, ResponseWriter& response) const;
  static void serve(const Match& match, Request& request, ResponseWriter& response);
  void refuse_method(const Match& match, Request& request, ResponseWriter& response) const;
};

Router::Router() : table_(std::make_shared<Table>()) {}

Router::Router(std::shared_ptr<Table> table, std::string prefix, std::vector<Middleware> around)
    : table_(std::move(table)), prefix_(std::move(prefix)), around_(std::move(around)), is_group_(true) {}

Router& Router::use(Middleware middleware) {
  if (!middleware) throw std::invalid_argument("weft: http: Router::use: no middleware");
  if (is_group_) {
    around_.push_back(std::move(middleware));
    return *this;
  }
  table_->around.push_back(std::move(middleware));
  // Not the shared pointer: the table would keep itself alive.
  table_->whole =
      wrap([table = table_.get()](Request& request, ResponseWriter& response) { table->dispatch(request, response); },
           table_->around);
  return *this;
}

Router Router::group(std::string_view prefix) {
  if (!prefix.starts_with('/') || prefix.ends_with('/'))
    refuse(prefix, "of a group must begin with / and not end with it");
  return {table_, prefix_ + std::string(prefix), around_};
}

Router& Router::not_found(Handler handler) {
  if (is_group_) throw std::invalid_argument("weft: http: Router::not_found: of a group; give it to the router");
  table_->missing = std::move(handler);
  return *this;
}

Router& Router::method_not_allowed(Handler handler) {
  if (is_group_)
    throw std::invalid_argument("weft: http: Router::method_not_allowed: of a group; give it to the router");
  table_->by_other_method = std::move(handler);
  return *this;
}

Router& Router::handle(std::string_view method, std::string_view pattern, Handler handler) {
  const std::string whole = prefix_ + std::string(pattern);
  if (!whole.starts_with('/')) refuse(whole, "must begin with /");
  if (!handler) refuse(whole, "has no handler");
  Route route{std::string(method), whole, {}, wrap(std::move(handler), around_)};
  Node* node = &table_->root;
  std::vector<Route>* ends = nullptr;
  for (std::optional<std::string_view> rest = std::string_view(whole).substr(1); rest;) {
    const std::string_view segment = take_segment(rest);
    if (ends != nullptr) refuse(whole, "goes on after {name...}");
    const bool is_parameter = segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
    if (!is_parameter) {
      if (segment.find_first_of("{}") != std::string_view::npos) refuse(whole, "has a brace within a segment");
      std::unique_ptr<Node>& next = node->literals[std::string(segment)];
      if (next == nullptr) next = std::make_unique<Node>();
      node = next.get();
      continue;
    }
    std::string name(segment.substr(1, segment.size() - 2));
    if (name.ends_with("...")) {
      name.resize(name.size() - 3);
      ends = &node->rests;
    } else {
      if (node->parameter == nullptr) node->parameter = std::make_unique<Node>();
      node = node->parameter.get();
    }
    if (name.empty() || name.find_first_of("{}") != std::string::npos) refuse(whole, "has a parameter without a name");
    if (std::find(route.names.begin(), route.names.end(), name) != route.names.end()) refuse(whole, "has a name twice");
    route.names.push_back(std::move(name));
  }
  if (ends == nullptr) ends = &node->ends;
  for (const Route& other : *ends) {
    if (other.method == route.method) refuse(whole, ("has this handler already, by " + other.pattern).c_str());
  }
  ends->push_back(std::move(route));
  return *this;
}

/// The one of the method, if there is one.
bool Router::Table::choose(const std::vector<Route>& routes, Match& match) {
  const std::string_view other = match.method == "HEAD" ? "GET" : match.method;
  for (const std::string_view method : {match.method, other, std::string_view("*")}) {
    for (const Route& route : routes) {
      if (route.method != method) continue;
      match.route = &route;
      return true;
    }
  }
  for (const Route& route : routes) {
    if (std::find(match.allowed.begin(), match.allowed.end(), route.method) == match.allowed.end())
      match.allowed.emplace_back(route.method);
  }
  return false;
}

/// Literal before parameter before rest; goes back where a way ends. At the slash before `rest`, which is nullopt after the
/// path's end.
bool Router::Table::find(const Node& node, std::optional<std::string_view> rest, Match& match) {
  if (!rest) return choose(node.ends, match);
  const std::string_view whole = *rest;
  const std::string_view segment = take_segment(rest);
  auto literal = node.literals.find(segment);
  std::string decoded;
  if (literal == node.literals.end() && segment.find('%') != std::string_view::npos && decode(segment, decoded)) {
    literal = node.literals.find(decoded);
  }
  if (literal != node.literals.end() && find(*literal->second, rest, match)) return true;
  if (node.parameter != nullptr && !segment.empty()) {
    match.values.push_back(segment);
    if (find(*node.parameter, rest, match)) return true;
    match.values.pop_back();
  }
  match.values.push_back(whole);
  if (choose(node.rests, match)) return true;
  match.values.pop_back();
  return false;
}

void Router::Table::dispatch(Request& request, ResponseWriter& response) const {
  Match match{.method = request.method(), .values = {}, .allowed = {}};
  if (request.path().starts_with('/') && find(root, request.path().substr(1), match)) {
    serve(match, request, response);
  } else if (match.allowed.empty()) {
    missing(request, response);
  } else {
    refuse_method(match, request, response);
  }
}

void Router::Table::refuse_method(const Match& match, Request& request, ResponseWriter& response) const {
  const auto has = [&](std::string_view method) {
    return std::find(match.allowed.begin(), match.allowed.end(), method) != match.allowed.end();
  };
  std::string allowed;
  for (const std::string_view method : match.allowed) allowed.append(allowed.empty() ? "" : ", ").append(method);
  if (has("GET") && !has("HEAD")) allowed += ", HEAD";
  response.headers().set("Allow", allowed);
  by_other_method(request, response);
}

void Router::Table::serve(const Match& match, Request& request, ResponseWriter& response) {
  request.route_ = match.route->pattern;
  request.params_.resize(match.values.size());
  for (std::size_t i = 0; i < match.values.size(); ++i) {
    request.params_[i].first = match.route->names[i];
    if (!decode(match.values[i], request.params_[i].second)) {
      throw StatusError(Status::bad_request, "a percent sign in the path stands for nothing");
    }
  }
  match.route->handler(request, response);
}

void Router::operator()(Request& request, ResponseWriter& response) const {
  table_->whole ? table_->whole(request, response) : table_->dispatch(request, response);
}

}  // namespace weft::http

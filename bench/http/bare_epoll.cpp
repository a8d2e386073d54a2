// An HTTP server that answers every request with the same bytes: the yardstick, see support/epoll_server.hpp.
//
// It knows as much of HTTP as the load needs: a request ends with an empty line (none has a body), several may come at once, and
// one may come in pieces. Built by compare/servers.py:
//
//     g++ -std=c++20 -O2 -DNDEBUG -pthread -o http_bare http/bare_epoll.cpp
#include "../support/epoll_server.hpp"
#include "../support/server.hpp"

namespace {

constexpr std::string_view kReply =
    "HTTP/1.1 200 OK\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: 46\r\n"
    "\r\n"
    R"({"message":"Hello, World!","id":42,"new":true})";

std::size_t answer(std::string_view received, std::string& replies) {
  constexpr std::string_view kEmptyLine = "\r\n\r\n";
  std::size_t used = 0;
  for (std::size_t end; (end = received.find(kEmptyLine, used)) != received.npos;) {
    replies += kReply;
    used = end + kEmptyLine.size();
  }
  return used;
}

}  // namespace

int main(int argc, char** argv) {
  return servers::run_program(argc, argv, "epoll, fixed bytes, g++ " __VERSION__ ", -O2",
                              [](std::uint16_t port) { bare::serve(port, answer); });
}

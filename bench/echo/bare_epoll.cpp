// A server that sends back what it reads: the yardstick, see support/epoll_server.hpp. Built by compare/servers.py:
//
//     g++ -std=c++20 -O2 -DNDEBUG -pthread -o echo_bare echo/bare_epoll.cpp
#include "../support/epoll_server.hpp"
#include "../support/server.hpp"

int main(int argc, char** argv) {
  return servers::run_program(argc, argv, "epoll, g++ " __VERSION__ ", -O2", [](std::uint16_t port) {
    bare::serve(port, [](std::string_view received, std::string& replies) {
      replies += received;
      return received.size();
    });
  });
}

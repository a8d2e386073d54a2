// What the C++ servers of the benchmarks share: how they are called. No runtime in it.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string_view>

namespace servers {

/// `<program> <port>` serves on that port of 127.0.0.1 until the process is ended; `<program> --version` tells what the
/// figures have to be read with. Returns what main() returns.
inline int run_program(int argc, char** argv, const char* version, void (*serve)(std::uint16_t port)) {
  const std::string_view argument = argc == 2 ? argv[1] : "";
  if (argument == "--version") {
    std::puts(version);
    return 0;
  }
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(argument.data(), argument.data() + argument.size(), port);
  if (error != std::errc() || end != argument.data() + argument.size() || port == 0) {
    std::fprintf(stderr, "usage: %s <port> | --version\n", argv[0]);
    return 2;
  }
  try {
    serve(port);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 1;
  }
  return 0;
}

}  // namespace servers

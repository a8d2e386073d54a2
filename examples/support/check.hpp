// What an example checks about itself: each expectation that fails is a line on stderr and makes the exit status 1.

#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <string>

#include <weft/runtime.hpp>
#include <weft/stats.hpp>
#include <weft/time.hpp>

#include "command_line.hpp"

namespace examples {

/// For one goroutine, which makes it before it starts any other.
class Check {
 public:
  explicit Check(const char* program) : program_(program) {}

  void expect(bool holds, const std::string& what) {
    if (!holds) {
      std::fprintf(stderr, "%s: it does not hold that %s\n", program_, what.c_str());
      status_ = kFailed;
    }
  }

  /// How many goroutines live that did not live when this was made; expects none. Whoever has said that it is done may
  /// still be on its way out, so this looks again for a while before it believes in a leak.
  std::uint64_t left_over() {
    const auto start = weft::Clock::now();
    std::uint64_t count = newcomers();
    while (count > 0 && weft::Clock::now() - start < std::chrono::seconds(2)) {
      weft::sleep_for(std::chrono::milliseconds(1));
      count = newcomers();
    }
    expect(count == 0, "no goroutine is left over");
    return count;
  }

  [[nodiscard]] int exit_status() const { return status_; }

 private:
  [[nodiscard]] std::uint64_t newcomers() const {
    const std::uint64_t live = weft::stats().live;
    return live > live_before_ ? live - live_before_ : 0;
  }

  const char* program_;
  std::uint64_t live_before_ = weft::stats().live;
  int status_ = 0;
};

}  // namespace examples
